"""Configuration of `GaitDecoderModel`."""

from huggingface_hub.dataclasses import strict

from .configuration_gait_vq import GaitVQConfig


@strict
class GaitDecoderConfig(GaitVQConfig):
    r"""Configuration of the decoder from gait codes to joints: that of the tokeniser (`GaitVQConfig`) whose codes it reads.

    Args:
        constrained (`bool`): False leaves out joint limits and the floor (ablation).
    """

    model_type = "gait_decoder"

    constrained: bool = True


GaitDecoderConfig.register_for_auto_class()

__all__ = ["GaitDecoderConfig"]
