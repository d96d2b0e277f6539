"""Configuration of `GaitVQModel`."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class GaitVQConfig(PreTrainedConfig):
    r"""Configuration of the pathology VQ tokeniser.

    Args:
        skeleton (`str`): name in `modeling_gait.skeletons.SKELETONS`.
        num_features (`int`): channels a frame; 3 a joint.
        hidden_size (`int`): width of the convolutions.
        num_layers (`int`): residual blocks an encoder or decoder.
        downsampling (`int`): frames a latent step.
        code_dim (`int`): size of a code.
        spatial_codebook_size, temporal_codebook_size, pathological_codebook_size (`int`): codes a codebook.
        num_spatial_quantizers, num_temporal_quantizers (`int`): residual codebooks a latent step.
        num_body_tokens, body_codebook_size (`int`): residual spatial codes a *window*, for what does not change within it
            (bone lengths, posture, mean speed); each of the `num_body_tokens` stages has a codebook of its own.
        num_pathological_tokens (`int`): pathological codes a window.
        num_labels (`int`): pathologies of the class head.
        num_gait_parameters (`int`): gait parameters that the pathological codes must carry (regression head).
        commitment_weight, velocity_weight, class_weight, parameter_weight, adversary_weight (`float`): of the losses.
    """

    model_type = "gait_vq"

    skeleton: str = "kinect_v2"
    num_features: int = 75
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
    num_gait_parameters: int = 0
    codebook_decay: float = 0.9
    commitment_weight: float = 0.5
    velocity_weight: float = 0.5
    class_weight: float = 0.1
    parameter_weight: float = 0.05
    adversary_weight: float = 0.01

    @property
    def num_codebooks(self) -> int:
        """Motion codes a latent step: the spatial ones first, then the temporal ones."""
        return self.num_spatial_quantizers + self.num_temporal_quantizers


GaitVQConfig.register_for_auto_class()

__all__ = ["GaitVQConfig"]
