"""What a few gait cycles say about a person, as far as a linear rule can: the Gaussian posterior of their mean cycle.

A cycle is m + b + w: m the mean of an activity, b ~ N(0, B) what makes the person, w ~ N(0, W) what makes the single cycle. B
and W are stationary in phase: a matrix over channels (C, C) at each harmonic; b may besides go along a few `directions`
(R, P, C), as a sensor that is mounted askew does. Everything is in standard deviations of a channel.

In: the mean of a person's cycles (B, P, C) and how many cycles measured each channel (B, C). Out: `GaitPerson`, their expected
cycle (B, P, C), its doubt, and the rest of a cycle of which a part was measured. Rasmussen, Williams (2006), eqs. 2.23-2.24.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init

UNSEEN = 1e6  # variance of the noise of what was not measured
LOWEST = 4  # harmonics by which an activity is read


def adjoint(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.mH if matrix.is_complex() else matrix.mT


def spectrum(cycles: torch.Tensor) -> torch.Tensor:
    """Cycles (..., P, C) -> harmonics (..., H, C), complex, unitary."""
    return torch.fft.rfft(cycles.double(), dim=-2, norm="ortho")


def weights(phases: int, like: torch.Tensor) -> torch.Tensor:
    """How often each harmonic (H, 1) stands in the whole spectrum: once the first and, of an even number, the last."""
    out = torch.full((phases // 2 + 1, 1), 2.0, dtype=torch.float64, device=like.device)
    out[0] = 1
    if phases % 2 == 0:
        out[-1] = 1
    return out


def stationary(covariance: torch.Tensor, phases: int) -> torch.Tensor:
    """Harmonics' covariances (..., H, C, C) -> covariance of samples that are some phases apart (..., P, C, C), real."""
    return torch.fft.irfft(covariance, n=phases, dim=-3)


@dataclass
class GaitPerson:
    """Posterior of B people: `mean` (B, P, C); its covariance `doubt` (B, H, C, C) beside `directions` (B, R, P, C); that of
    single cycles, `within` (B, H, C, C), times `shape` (B, P, C) at both phases, a standard deviation about 1."""

    mean: torch.Tensor
    doubt: torch.Tensor
    directions: torch.Tensor
    within: torch.Tensor
    shape: torch.Tensor

    def one(self, i: int) -> "GaitPerson":
        """The i-th of these people."""
        return GaitPerson(*(getattr(self, name)[i : i + 1] for name in self.__dataclass_fields__))

    def deviations(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Standard deviations (B, P, C) of the expected cycle, and of a single cycle about it."""
        phases = self.mean.shape[-2]
        at_once = lambda m: stationary(m, phases)[..., 0, :, :].diagonal(dim1=-2, dim2=-1)[..., None, :]  # noqa: E731
        doubt = at_once(self.doubt) + self.directions.square().sum(-3)
        return doubt.clamp(min=0).sqrt(), (doubt + at_once(self.within) * self.shape.square()).clamp(min=0).sqrt()

    def sample(self, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """What `count` single cycles differ by from the expected one (B, count, P, C)."""
        phases, (people, harmonics, channels) = self.mean.shape[-2], self.within.shape[:3]
        draw = torch.randn(2, people, count, harmonics, channels, generator=generator, dtype=torch.float64)
        z = torch.complex(*draw.to(self.mean.device)) / math.sqrt(2)
        edges = [0, harmonics - 1] if phases % 2 == 0 else [0]
        z[:, :, edges] = z[:, :, edges].real * math.sqrt(2) + 0j
        root = torch.linalg.cholesky(self.within + 1e-9 * torch.eye(channels, device=z.device))
        z = (root[:, None] @ z[..., None])[..., 0]
        return torch.fft.irfft(z, n=phases, dim=-2, norm="ortho") * self.shape[:, None]

    def fill(self, values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """The expected rest (N, P, C) of cycles whose `values` were measured where `observed` (N, P, C) is 1; B is N or 1."""
        out = []
        for i, (x, seen) in enumerate(zip(values.double(), observed > 0)):
            p = i if len(self.mean) > 1 else 0
            if (seen == seen[:1]).all():
                out.append(self._fill_channels(p, x, seen[0]))
            else:
                out.append(self._fill_samples(p, x, seen))
        return torch.stack(out)

    def _fill_channels(self, p: int, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Where the same channels were measured at every phase: harmonic by harmonic (`shape` is left out)."""
        noise = torch.where(seen, 0.0, UNSEEN)[None]
        known = torch.where(seen, x - self.mean[p], 0.0)[None]
        gone = condition(known, self.doubt[p : p + 1] + self.within[p : p + 1], self.directions[p : p + 1], noise)[0]
        return self.mean[p] + gone[0]

    def _fill_samples(self, p: int, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """mean + K[:, seen] (K[seen, seen])^-1 (x - mean)[seen]; only K[seen, seen] is made, K is applied by harmonics."""
        phases, shape, u = len(x), self.shape[p], self.directions[p]
        at, channel = seen.nonzero(as_tuple=True)
        lag = (at[:, None] - at) % phases
        doubt, within = (stationary(c[p], phases)[lag, channel[:, None], channel] for c in (self.doubt, self.within))
        own, along = shape[at, channel], u[:, at, channel]
        inner = doubt + within * own[:, None] * own + along.T @ along + 1e-4 * torch.eye(len(at), device=x.device)
        part = torch.zeros_like(x)
        known = (x - self.mean[p])[at, channel, None]
        part[at, channel] = torch.cholesky_solve(known, torch.linalg.cholesky(inner))[:, 0]
        applied = lambda c, y: torch.fft.irfft((c @ torch.fft.rfft(y, dim=0)[..., None])[..., 0], n=phases, dim=0)  # noqa: E731
        whole = applied(self.doubt[p], part) + shape * applied(self.within[p], shape * part)
        return self.mean[p] + whole + torch.einsum("rpc,r->pc", u, (u * part).sum((1, 2)))


def condition(known: torch.Tensor, prior: torch.Tensor, directions: torch.Tensor, noise: torch.Tensor) -> tuple:
    """Posterior of b ~ N(0, prior + directions) from known (B, P, C) = b + noise.

    prior (B, H, C, C), directions (B, R, P, C); noise (B, C) a variance, or (B, H, C, C).
    Returns mean (B, P, C), covariance (B, H, C, C), directions (B, R, P, C), and log p(known) less what does not depend on the
    prior (B,).
    """
    phases = known.shape[-2]
    noise = torch.diag_embed(noise)[:, None] if noise.ndim == 2 else noise
    total = prior + noise + 1e-9 * torch.eye(known.shape[-1], device=known.device)
    weight = weights(phases, known)
    x, u = spectrum(known), spectrum(directions)
    solved = torch.linalg.solve(total, torch.cat((x[..., None], prior, u.permute(0, 2, 3, 1)), dim=-1))
    channels = known.shape[-1]
    y, gain, gu = solved[..., 0], adjoint(solved[..., 1 : channels + 1]), solved[..., channels + 1 :].permute(0, 3, 1, 2)
    inner = torch.einsum("brhc,bqhc,hi->brq", u.conj(), gu, weight.to(u)).real
    inner = inner + torch.eye(inner.shape[-1], dtype=inner.dtype, device=known.device)
    along = torch.einsum("brhc,bhc,hi->br", gu.conj(), x, weight.to(u)).real
    share = torch.linalg.solve(inner, along[..., None])[..., 0].to(gu)
    y = y - torch.einsum("br,brhc->bhc", share, gu)
    mean = (prior @ y[..., None])[..., 0] + torch.einsum("br,brhc->bhc", share, u)
    left = prior - gain @ prior
    root = torch.linalg.cholesky(torch.linalg.inv(inner))
    moved = u - torch.einsum("bhcd,brhd->brhc", gain, u)
    moved = torch.einsum("brq,brhc->bqhc", root.to(u), moved)
    quadratic = (weight * (x.conj() * y).real).sum((-1, -2))
    logdet = (weight[:, 0] * torch.linalg.slogdet(total)[1]).sum(-1) + torch.linalg.slogdet(inner)[1]
    back = lambda s: torch.fft.irfft(s, n=phases, dim=-2, norm="ortho")  # noqa: E731
    return back(mean), (left + adjoint(left)) / 2, back(moved), -0.5 * (quadratic + logdet)


def noise_of(count: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
    """Covariance (B, H, C, C) of the mean of `count` (B, C) cycles that vary by `within` (B, H, C, C); 0: not measured."""
    count = count.double()
    share = torch.where(count > 0, count.clamp(min=1e-9).rsqrt(), 0.0)
    unseen = torch.diag_embed(torch.where(count > 0, 0.0, UNSEEN).double())[:, None]
    return share[:, None, :, None] * within * share[:, None, None, :] + unseen


class GaitPrior(nn.Module):
    """What is known of people before one is seen, for each activity and, last, for any; training/fit_prior.py fits it.

    `mean`, `shape` (A + 1, P, C); variances `between`, `within` (A + 1, H, C); correlations `between_correlation`,
    `within_correlation` (K, C, C, 2) over channels, real and imaginary parts, of the lowest K harmonics, those above are
    independent (`correlated`, 0: all); `directions` (A + 1, R, P, C).
    """

    def __init__(self, activities: int, phases: int, channels: int, directions: int, correlated: int = 0):
        super().__init__()
        harmonics = phases // 2 + 1
        for name in ("mean", "shape"):
            self.register_buffer(name, torch.zeros(activities + 1, phases, channels))
        for name in ("between", "within"):
            self.register_buffer(name, torch.zeros(activities + 1, harmonics, channels))
            self.register_buffer(
                f"{name}_correlation", torch.zeros(min(correlated or harmonics, harmonics), channels, channels, 2)
            )
        self.register_buffer("directions", torch.zeros(activities + 1, directions, phases, channels))
        self.reset()

    def reset(self) -> None:
        """People and cycles as different as each other, channels and harmonics independent."""
        init.zeros_(self.mean)
        init.zeros_(self.directions)
        for buffer in (self.shape, self.between, self.within):
            init.ones_(buffer)
        for buffer in (self.between_correlation, self.within_correlation):
            init.copy_(
                buffer, torch.stack((torch.eye(buffer.shape[1]), torch.zeros(buffer.shape[1:3])), -1).expand(buffer.shape)
            )

    def covariance(self, name: str, activity: torch.Tensor) -> torch.Tensor:
        """`between` or `within` of activities (B,) as matrices (B, H, C, C)."""
        scale = getattr(self, name).double()[activity].sqrt()
        correlation = torch.view_as_complex(getattr(self, f"{name}_correlation").double().contiguous())
        alone = torch.eye(scale.shape[-1], dtype=correlation.dtype).expand(scale.shape[-2] - len(correlation), -1, -1)
        correlation = torch.cat((correlation, alone.to(correlation.device)))
        return scale[..., :, None] * correlation * scale[..., None, :]

    def of(
        self, activity: torch.Tensor, mean: torch.Tensor, count: torch.Tensor, noise: torch.Tensor | float = 1.0
    ) -> GaitPerson:
        """People (B,) whose activity is `activity` (B,), from the mean (B, P, C) of `count` (B, C) cycles, 0: not measured.

        noise: how much more their cycles vary than other people's do, a factor of the variance (B,).
        """
        within = self.covariance("within", activity) * torch.as_tensor(noise).double().reshape(-1, 1, 1, 1)
        found = self._condition(activity, mean, count, within)
        return GaitPerson(self.mean.double()[activity] + found[0], *found[1:3], within, self.shape.double()[activity])

    def activity(self, mean: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        """The likeliest activity (B,) of cycles with this mean (B, P, C); the last, any, where nothing was measured.

        By the lowest harmonics, and covariances that activities share: above them stands a sensor's noise, and an activity
        whose cycles vary more would be likely for whatever is measured less well.
        """
        known = len(self.mean) - 1
        out = torch.full((len(mean),), known, dtype=torch.long, device=mean.device)
        if not known:
            return out
        each = torch.arange(known, device=mean.device)
        within, between = (self.covariance(name, each)[:, :LOWEST].mean(0, keepdim=True) for name in ("within", "between"))
        low = lambda c: torch.fft.irfft(spectrum(c)[..., :LOWEST, :], n=2 * within.shape[1] - 1, dim=-2, norm="ortho")  # noqa: E731
        between = between.expand(known, -1, -1, -1)
        means, directions = self.mean.double()[:-1], low(self.directions.double()[:-1])
        for i, (m, n) in enumerate(zip(mean, count)):
            if (n > 0).any():
                off = torch.where(n > 0, m.double() - means, 0.0)
                evidence = condition(low(off), between, directions, noise_of(n[None], within))[3]
                out[i] = evidence.argmax()
        return out

    def _condition(self, activity: torch.Tensor, mean: torch.Tensor, count: torch.Tensor, within: torch.Tensor) -> tuple:
        noise = noise_of(count, within)
        known = torch.where(count[:, None] > 0, mean.double() - self.mean.double()[activity], 0.0)
        return condition(known, self.covariance("between", activity), self.directions.double()[activity], noise)


__all__ = ["GaitPerson", "GaitPrior"]
