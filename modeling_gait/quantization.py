"""Vector quantisation with exponential-moving-average codebooks.

In: latents (B, N, D) and an optional mask (B, N). Out: quantised latents (B, N, D), indices (B, N) and a commitment loss.
All state lives in buffers (saved, resumed, moved with the module). In training each process adds its statistics with the
others' (all-reduce), so codebooks stay equal on every process; codes that nobody uses any more are moved onto latents of the
current batch.

Sources: van den Oord et al. 2017 (arXiv 1711.00937, appendix A.1: EMA updates); Zeghidour et al. 2021 (arXiv 2107.03312:
residual quantisation, revival of dead codes).
"""

import torch
import torch.distributed as dist
from torch import nn


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class VectorQuantizer(nn.Module):
    """One codebook.

    Args:
        codebook_size: K codes.
        dim: D, size of a code.
        decay: of the moving averages.
        revive_below: a code whose average use per step falls below this many latents is moved onto a random latent.
    """

    def __init__(self, codebook_size: int, dim: int, decay: float = 0.97, revive_below: float = 0.1):
        super().__init__()
        self.codebook_size, self.dim, self.decay, self.revive_below = codebook_size, dim, decay, revive_below
        self.register_buffer("codebook", torch.zeros(codebook_size, dim))
        self.register_buffer("code_usage", torch.zeros(codebook_size))
        self.register_buffer("code_sum", torch.zeros(codebook_size, dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def forward(
        self, latents: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Quantise.

        Returns: straight-through quantised latents (B, N, D), indices (B, N) int64, commitment loss (scalar, masked mean).
        """
        with torch.autocast(latents.device.type, enabled=False):
            z = latents.float()
            flat = z.reshape(-1, self.dim)
            valid = None if mask is None else mask.reshape(-1).bool()
            if self.training:
                kept = flat.detach().to(self.codebook.dtype)
                kept = kept if valid is None else kept[valid]
                if not self.fitted:
                    self._start(kept)
                indices = self.nearest(flat)
                quantized = self.codebook[indices].reshape(z.shape)
                self._update(kept, indices if valid is None else indices[valid])
            else:
                indices = self.nearest(flat)
                quantized = self.codebook[indices].reshape(z.shape)
            error = (z - quantized).square().mean(-1)
            loss = error.mean() if mask is None else (error * mask).sum() / mask.sum().clamp(min=1)
            quantized = rotate_to(z, quantized).to(latents.dtype)
        return quantized, indices.reshape(z.shape[:-1]), loss

    def nearest(self, flat: torch.Tensor) -> torch.Tensor:
        """Index (M,) of the nearest code (Euclidean) of each latent (M, D)."""
        book = self.codebook.float()
        return (book.square().sum(-1) - 2 * flat.float() @ book.T).argmin(-1)

    def lookup(self, indices: torch.Tensor) -> torch.Tensor:
        """Codes (..., D) of indices (...). Raises ValueError where an index is outside the codebook."""
        if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= self.codebook_size):
            raise ValueError(f"code {int(indices.min())}..{int(indices.max())} outside a codebook of {self.codebook_size}")
        return self.codebook[indices]

    @torch.no_grad()
    def _draw(self, flat: torch.Tensor) -> torch.Tensor:
        """K latents (K, D) drawn with repetition from those of all processes, the same on each."""
        drawn = flat[torch.randint(len(flat), (self.codebook_size,), device=flat.device)]
        if _distributed():
            dist.broadcast(drawn, src=0)
        return drawn

    @torch.no_grad()
    def _start(self, flat: torch.Tensor) -> None:
        drawn = self._draw(flat)
        spread = flat.std(0, correction=0).mean() * 0.05
        noise = torch.randn_like(drawn) * spread
        if _distributed():
            dist.broadcast(noise, src=0)
        self._set_codes(torch.ones_like(self.code_usage, dtype=torch.bool), drawn + noise)
        self.fitted.fill_(True)

    @torch.no_grad()
    def _set_codes(self, which: torch.Tensor, codes: torch.Tensor) -> None:
        keep = ~which
        self.codebook.copy_(torch.where(keep[:, None], self.codebook, codes))
        self.code_sum.copy_(torch.where(keep[:, None], self.code_sum, codes))
        self.code_usage.copy_(torch.where(keep, self.code_usage, torch.ones_like(self.code_usage)))

    @torch.no_grad()
    def _update(self, flat: torch.Tensor, indices: torch.Tensor) -> None:
        usage = torch.zeros_like(self.code_usage).index_add_(0, indices, torch.ones_like(indices, dtype=self.code_usage.dtype))
        total = torch.zeros_like(self.code_sum).index_add_(0, indices, flat)
        if _distributed():
            dist.all_reduce(usage)
            dist.all_reduce(total)
        self.code_usage.lerp_(usage, 1 - self.decay)
        self.code_sum.lerp_(total, 1 - self.decay)
        self.codebook.copy_(self.code_sum / self.code_usage.clamp(min=1e-5)[:, None])
        dead = self.code_usage < self.revive_below
        drawn = self._draw(flat)  # drawn at every step, so that the random stream does not depend on the codes
        if dead.any():
            self._set_codes(dead, drawn)


def rotate_to(latents: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """`codes`, with the gradient passed to `latents` through the rotation and scaling that takes one to the other.

    The rotation trick of Fifty et al. 2024 (arXiv 2410.06424, section 4.2), in place of the straight-through estimator.
    """
    z, q = latents, codes.detach()
    z_norm, q_norm = (v.detach().norm(dim=-1, keepdim=True).clamp(min=1e-6) for v in (z, q))
    z_unit, q_unit = z.detach() / z_norm, q / q_norm
    half = torch.nn.functional.normalize(z_unit + q_unit, dim=-1)
    turned = z - 2 * half * (half * z).sum(-1, keepdim=True) + 2 * q_unit * (z_unit * z).sum(-1, keepdim=True)
    return turned * (q_norm / z_norm)


class ResidualVectorQuantizer(nn.Module):
    """Q codebooks in turn, each coding what the ones before it left over. Indices (B, N, Q)."""

    def __init__(self, num_quantizers: int, codebook_size: int, dim: int, decay: float = 0.97, revive_below: float = 0.1):
        super().__init__()
        self.layers = nn.ModuleList(VectorQuantizer(codebook_size, dim, decay, revive_below) for _ in range(num_quantizers))

    def forward(
        self, latents: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `VectorQuantizer.forward`, with indices (B, N, Q) and the mean of the commitment losses."""
        residual, total, indices, losses = latents, torch.zeros_like(latents), [], []
        for layer in self.layers:
            quantized, index, loss = layer(residual, mask)
            residual = residual - quantized.detach()
            total = total + quantized
            indices.append(index)
            losses.append(loss)
        return (
            rotate_to(latents.float(), total.float()).to(latents.dtype),
            torch.stack(indices, dim=-1),
            torch.stack(losses).mean(),
        )

    def lookup(self, indices: torch.Tensor) -> torch.Tensor:
        """Sum of the codes (..., D) of indices (..., Q)."""
        return sum(layer.lookup(indices[..., q]) for q, layer in enumerate(self.layers))
