"""Configuration of `GaitDecoderModel`."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class GaitDecoderConfig(PreTrainedConfig):
    r"""Configuration of the decoder from gait codes to joints.

    Args:
        skeleton (`str`): name in `modeling_gait.skeletons.SKELETONS`.
        fps (`float`): frames a second of the joints.
        hidden_size, num_layers, downsampling, code_dim: as in `GaitVQConfig`; so are the numbers and sizes of codebooks.
        velocity_weight, root_weight, contact_weight, limit_weight, height_weight (`float`): of the losses.
        constrained (`bool`): False leaves out the joint-limit, foot-contact and pelvis-height losses (ablation).
    """

    model_type = "gait_decoder"

    skeleton: str = "kinect_v2"
    fps: float = 30.0
    hidden_size: int = 192
    num_layers: int = 3
    downsampling: int = 4
    code_dim: int = 32
    spatial_codebook_size: int = 1024
    temporal_codebook_size: int = 1024
    pathological_codebook_size: int = 64
    num_spatial_quantizers: int = 1
    num_temporal_quantizers: int = 1
    num_body_tokens: int = 20
    body_codebook_size: int = 256
    num_pathological_tokens: int = 4
    velocity_weight: float = 0.5
    root_weight: float = 0.3
    contact_weight: float = 0.05
    limit_weight: float = 0.05
    height_weight: float = 0.3
    constrained: bool = True

    @property
    def num_codebooks(self) -> int:
        """Motion codes a latent step."""
        return self.num_spatial_quantizers + self.num_temporal_quantizers


GaitDecoderConfig.register_for_auto_class()

__all__ = ["GaitDecoderConfig"]
