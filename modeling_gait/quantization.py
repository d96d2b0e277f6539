"""Product quantisation of vectors: principal components in groups, a codebook a group.

In: vectors (B, D). Out: codes (B, tokens), and vectors again. Nothing is trained by gradients: `fit` fills it.

The components of a group are quantised together by k-means. Groups get about equal rates by reverse water-filling (Cover and
Thomas 2006, Elements of Information Theory, 10.3.3): a component of variance v carries log2(v / distortion) / 2 bits.
"""

import torch
from torch import nn


class ProductQuantizer(nn.Module):
    """Codes of vectors.

    Args:
        dim: D.
        components: n, principal components that are kept at most.
        tokens: groups, so codes a vector.
        codebook_size: K.

    State: `mean` (D,), `basis` (D, n), `group` (n,), the token of each component (-1: of none), `codebook` (K, n): row k holds
    the k-th code of every group side by side.
    """

    def __init__(self, dim: int, components: int, tokens: int, codebook_size: int):
        super().__init__()
        self.tokens, self.codebook_size = tokens, codebook_size
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("basis", torch.zeros(dim, components))
        self.register_buffer("group", torch.zeros(components, dtype=torch.long))
        self.codebook = nn.Parameter(torch.zeros(codebook_size, components), requires_grad=False)

    @torch.no_grad()
    def fit(self, vectors: torch.Tensor, groups: list[int] | None = None, seed: int = 0) -> None:
        """Mean, components, groups and codebooks of vectors (N, D). With `groups`, the token of each of the D dimensions, the
        components are the dimensions themselves."""
        components = self.basis.shape[1]
        if groups is None:
            self.mean.copy_(vectors.mean(0))
            values, basis = torch.linalg.eigh(torch.cov(vectors.T.double()))
            self.basis.copy_(basis.flip(1)[:, :components].to(self.basis))
            self.group.copy_(equal_rates(values.flip(0)[:components], self.tokens, self.codebook_size))
        else:
            self.mean.zero_()
            self.basis.copy_(torch.eye(*self.basis.shape))
            self.group.copy_(torch.tensor(groups))
        z = (vectors - self.mean) @ self.basis
        self.codebook.zero_()
        for token in range(self.tokens):
            own = self.group == token
            if own.any():
                self.codebook[:, own] = k_means(z[:, own], self.codebook_size, seed=seed + token)

    def encode(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (B, D) -> codes (B, tokens)."""
        z = (vectors - self.mean) @ self.basis
        member = torch.nn.functional.one_hot(self.group + 1, self.tokens + 1)[:, 1:].to(z)  # (n, tokens)
        cross = torch.einsum("bn,kn,nt->bkt", z, self.codebook, member)
        return (self.codebook.square() @ member - 2 * cross).argmin(1)

    def lookup(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (B, tokens) -> vectors (B, D). Raises ValueError for another number of codes, or one outside the codebook."""
        if codes.ndim != 2 or codes.shape[1] != self.tokens:
            raise ValueError(f"expected codes (B, {self.tokens}), got {tuple(codes.shape)}")
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= self.codebook_size):
            raise ValueError(f"codes {int(codes.min())}..{int(codes.max())} outside a codebook of {self.codebook_size}")
        z = self.codebook.gather(0, codes[:, self.group.clamp(min=0)])  # 0 for what has no group
        return self.mean + z @ self.basis.T


def equal_rates(variances: torch.Tensor, tokens: int, codebook_size: int) -> torch.Tensor:
    """Group (n,) of each component, variances (n,) falling: neighbours together, about log2(codebook_size) bits a group;
    -1: none."""
    variances = variances.double().clamp(min=1e-18)
    bits = tokens * torch.log2(torch.tensor(float(codebook_size)))
    low, high = float(variances[-1]) * 1e-6, float(variances[0])
    for _ in range(100):
        middle = (low * high) ** 0.5
        rate = 0.5 * torch.log2((variances / middle).clamp(min=1))
        low, high = (middle, high) if rate.sum() > bits else (low, middle)
    before = rate.cumsum(0) - rate / 2
    group = (before / rate.sum() * tokens).long().clamp(max=tokens - 1)
    return torch.where(rate > 0, group, -1)


def k_means(x: torch.Tensor, codes: int, iterations: int = 15, seed: int = 0) -> torch.Tensor:
    """Centres (codes, D) of points (N, D) (Lloyd 1982). A centre that nobody is nearest to is moved onto a random point."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    centres = x[order[torch.arange(codes) % len(x)]].clone()
    for _ in range(iterations):
        nearest = torch.cat([(centres.square().sum(1) - 2 * part @ centres.T).argmin(1) for part in x.split(20000)])
        count = torch.bincount(nearest, minlength=codes)
        total = torch.zeros_like(centres).index_add_(0, nearest, x)
        anywhere = x[torch.randint(len(x), (codes,), generator=generator)]
        centres = torch.where(count[:, None] > 0, total / count[:, None].clamp(min=1), anywhere)
    return centres


__all__ = ["ProductQuantizer", "equal_rates", "k_means"]
