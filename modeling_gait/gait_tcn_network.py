"""The network that may add to the linear rule of GaitTCNModel, and its gradient steps on a person's cycles (MAML).

In: standardised gait cycles (B, P, C), what the linear rule says of them, which samples were measured. Out: the expected cycle
and the reconstruction (B, P, C), standardised. A gait cycle is periodic, and so are the convolutions.
"""

import torch
from torch import nn
from torch.func import functional_call, grad

from .configuration_gait_tcn import GaitTCNConfig


class PhaseConv(nn.Module):
    """Periodic convolution over phase, (..., P, C) -> (..., P, D), as one matrix product: fast where `vmap` gives each task
    its own weights."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int):
        super().__init__()
        self.shifts = [dilation * (i - kernel_size // 2) for i in range(kernel_size)]
        self.linear = nn.Linear(inputs * kernel_size, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.cat([x.roll(s, dims=-2) for s in self.shifts], dim=-1))


class GaitTCNBlock(nn.Module):
    """Residual block: norm, periodic convolution, activation, linear."""

    def __init__(self, width: int, kernel_size: int, dilation: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = PhaseConv(width, width, kernel_size, dilation)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.out(nn.functional.silu(self.conv(self.norm(x))))


class GaitTCNHead(nn.Linear):
    """What is added to the linear rule."""


class GaitTCNNetwork(nn.Module):
    """What is added to the linear rule, on standardised cycles; everything that gradient steps may change is a parameter here.

    generation, reconstruction: (B, P, C) of the linear rule, reconstruction None where there is nothing to reconstruct;
    values, observed: (B, P, C), values 0 where `observed` is 0; context: (B, P, 3 C) of `support_context`.
    Returns generation and reconstruction (B, P, C).
    """

    def __init__(self, config: GaitTCNConfig):
        super().__init__()
        self.config = config
        width, patch, channels = config.hidden_size, config.patch_size, config.num_channels
        self.stem = nn.Linear(patch * 7 * channels + 2 * config.num_harmonics, width)
        self.blocks = nn.ModuleList(GaitTCNBlock(width, config.kernel_size, d) for d in config.dilations)
        self.norm = nn.LayerNorm(width)
        self.generation_head = GaitTCNHead(width, patch * channels)
        self.reconstruction_head = GaitTCNHead(width, patch * channels)

    def forward(self, generation, reconstruction, values, observed, context) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        reconstruction = generation if reconstruction is None else reconstruction
        surprise = (values - reconstruction) * observed
        x = torch.cat((generation, reconstruction, surprise, observed, context), dim=-1)
        x = x.reshape(*x.shape[:-2], config.num_phases // config.patch_size, -1)
        phase = self._phase(x).expand(*x.shape[:-1], -1)
        x = self.stem(torch.cat((x, phase), dim=-1))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        generation = generation + self.generation_head(x).reshape(generation.shape)
        reconstruction = reconstruction + self.reconstruction_head(x).reshape(generation.shape)
        return generation, torch.where(observed > 0, values, reconstruction)

    def _phase(self, like: torch.Tensor) -> torch.Tensor:
        """Sines and cosines of the phase of each patch (P / patch, 2 harmonics)."""
        patches = self.config.num_phases // self.config.patch_size
        angle = torch.arange(patches, device=like.device, dtype=like.dtype)[:, None] * (2 * torch.pi / patches)
        angle = angle * torch.arange(1, self.config.num_harmonics + 1, device=like.device, dtype=like.dtype)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


def support_context(total: torch.Tensor, square: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Sum, sum of squares and number of the support's values at each sample (..., P, C) -> (..., P, 3 C): mean, certainty
    n / (n + 1), standard deviation (0 for fewer than two)."""
    mean = total / count.clamp(min=1)
    variance = (square - count * mean.square()).clamp(min=0) / (count - 1).clamp(min=1)
    return torch.cat((mean, count / (count + 1), (variance + 1e-8).sqrt() * (count > 1)), dim=-1)


def masked_mse(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error where the mask is 1."""
    return ((prediction - target).square() * mask).sum() / mask.expand_as(target).sum().clamp(min=1)


def support_loss(network: nn.Module, parameters: dict, cycles, observed, linear, context) -> torch.Tensor:
    """What the adaptation minimises on a person's cycles (K, P, C), standardised, 0 where `observed` (K, P, C) is 0.

    Each cycle is to be generated from the other ones (a lone cycle from nothing): linear (K, P, C) and context (K, P, 3 C) are
    theirs (`GaitTCNModel.left_out`).
    """
    nothing = torch.zeros_like(cycles)
    generation, _ = functional_call(network, parameters, (linear, None, nothing, nothing, context))
    return masked_mse(generation, cycles, observed)


def adapt(network, fast: dict, slow: dict, rates: dict, support: tuple, first_order=False, steps=0) -> dict[str, torch.Tensor]:
    """Gradient steps on the `fast` parameters, each with its rate; differentiable, and can be mapped by `vmap` over tasks.

    Args: fast, slow: the parameters of `network` that change and that do not; support: what `support_loss` takes;
    first_order: the steps are constants for whoever differentiates the result. Returns the new fast parameters.
    """
    for _ in range(steps):
        gradient = grad(lambda changing: support_loss(network, slow | changing, *support))(fast)
        fast = {k: p - rates[k] * (gradient[k].detach() if first_order else gradient[k]) for k, p in fast.items()}
    return fast
