"""Configuration of `GaitTCNModel`. In: keyword arguments. Out: a validated `GaitTCNConfig`."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class GaitTCNConfig(PreTrainedConfig):
    r"""Configuration of the temporal convolutional network that adapts to a person from a few gait cycles.

    Args:
        num_channels (`int`): C, channels of a cycle: 36 for six leg IMUs, 75 for 25 joints x 3.
        num_phases (`int`): P, phase points of a cycle, a multiple of `patch_size`.
        patch_size (`int`): neighbouring phase points that the network reads as one.
        hidden_size (`int`): width.
        dilations (`list[int]`): one residual block for each, in patches.
        kernel_size (`int`): patches a convolution sees, odd.
        num_harmonics (`int`): sines and cosines of the phase that the network reads.
        activities (`list[str]`): names of what people do in the cycles that were trained on.
        num_directions (`int`): directions along which people may differ beside what is stationary in phase: turns of sensors.
        correlated_harmonics (`int`): lowest harmonics of a cycle whose channels are correlated, 0: all. At 30 Hz those up to 15
            times the length of a cycle in seconds are measured.
        channels_per_sensor (`int`): neighbouring channels that fail together: 6 for an IMU, 3 for a joint.
        adapted (`str`): what personalisation changes: "all" weights, or the "heads" alone (ANIL, and the smallest adapter).
        inner_steps (`int`): gradient steps of a personalisation.
        inner_lr (`float`): their learning rate at the start of meta-training, which then learns one for each tensor.

    Raises:
        huggingface_hub.errors.StrictDataclassError: sizes that are not positive or do not fit each other.
    """

    model_type = "gait_tcn"

    num_channels: int = 36
    num_phases: int = 100
    patch_size: int = 2
    hidden_size: int = 64
    dilations: list[int] | tuple[int, ...] = (1, 3, 9)
    kernel_size: int = 5
    num_harmonics: int = 4
    activities: list[str] | tuple[str, ...] = ()
    num_directions: int = 1
    correlated_harmonics: int = 0
    channels_per_sensor: int = 6
    adapted: Literal["all", "heads"] = "all"
    inner_steps: int = 0
    inner_lr: float = 0.05

    def validate_architecture(self):
        """Part of the `strict` validation."""
        for name in ("num_channels", "num_phases", "patch_size", "hidden_size", "num_harmonics", "num_directions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.channels_per_sensor < 1 or self.num_channels % self.channels_per_sensor:
            raise ValueError(
                f"num_channels ({self.num_channels}) must be a multiple of channels_per_sensor ({self.channels_per_sensor})"
            )
        if self.num_phases % self.patch_size:
            raise ValueError(f"num_phases ({self.num_phases}) must be a multiple of patch_size ({self.patch_size})")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, got {self.kernel_size}")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"dilations must be positive, one or more, got {self.dilations}")
        if self.inner_steps < 0 or self.inner_lr <= 0:
            raise ValueError(f"inner_steps must be 0 or more and inner_lr positive, got {self.inner_steps}, {self.inner_lr}")


GaitTCNConfig.register_for_auto_class()

__all__ = ["GaitTCNConfig"]
