"""What people have in common, fitted to training people: the buffers of `GaitPrior`.

In: cycles (N, P, C) of training people, standardised, with the channels that were measured (N, C), and tasks, their rows by
person and activity. Out: the model's prior, in place.
Fifty people-activities cannot tell the covariance of 3,600 numbers. So it is stationary in phase; activities share
correlations; those between channels are shrunk, `shrink_between`, `shrink_within` of them stay; left and right are alike after
half a cycle (`mirror`), which doubles the people; and a rigid group of channels, a sensor, may be turned (`rigid`).
"""

from dataclasses import dataclass

import torch

from modeling_gait.gait_posterior import GaitPrior, spectrum
from modeling_gait.skeletons import KINECT_V2

POOLED = 0.25  # share of what all activities have in common in the variances of one
PER_TASK = 60  # cycles of a person's activity that are looked at
LEAST = 2  # cycles of a channel from which a person's mean is known
IMU_SIGNS = (1, -1, 1, -1, 1, -1)  # of x, y, z accelerations and rates, seen in a mirror


@dataclass
class Layout:
    """What channels are: `rigid` neighbours turn together, in triads x, y, z; `mirror` (C,) is the channel on the other side,
    `signs` (C,) its sign there; a channel that is its own mirror image is in the middle."""

    rigid: int
    mirror: torch.Tensor
    signs: torch.Tensor


def layout_of(channels: int) -> Layout | None:
    """HuGaDB's six leg sensors (36), the skeleton of Kinect (75), None for any other."""
    if channels == 36:
        mirror = torch.cat((torch.arange(18, 36), torch.arange(18)))
        return Layout(6, mirror, torch.tensor(IMU_SIGNS * 6, dtype=torch.float64))
    if channels == 3 * len(KINECT_V2):
        mirror = (3 * torch.tensor(KINECT_V2.mirror)[:, None] + torch.arange(3)).flatten()
        return Layout(channels, mirror, torch.tensor((-1.0, 1.0, 1.0), dtype=torch.float64).repeat(len(KINECT_V2)))
    return None


@torch.no_grad()
def fit_prior(
    prior: GaitPrior,
    cycles: torch.Tensor,
    observed: torch.Tensor,
    tasks: list[tuple[int, torch.Tensor]],
    scale: torch.Tensor,
    offset: torch.Tensor,
    layout: Layout | None = None,
    shrink_between: float = 0.3,
    shrink_within: float = 0.6,
) -> dict[str, torch.Tensor]:
    """Fit to tasks, (activity, rows) of one person each; scale, offset (C,) turn standardised channels into units.

    Returns what `shrink` needs, to shrink otherwise. Raises ValueError where nobody has two cycles of one activity.
    """
    activities = len(prior.mean) - 1
    observed, scale = observed.double(), scale.double()
    nobody = f"nobody has {LEAST} cycles of one activity; a person's mean cycle needs that many"
    if not tasks:
        raise ValueError(nobody)
    counts = torch.stack([observed[rows].sum(0) for _, rows in tasks])
    means = torch.stack([cycles[rows].sum(0).double() for _, rows in tasks]) / counts.clamp(min=1)[:, None]
    known = (counts >= LEAST).double()
    if not known.any():
        raise ValueError(nobody)
    label = torch.tensor([a for a, _ in tasks])
    groups = [torch.arange(len(tasks))[label == a] for a in range(activities)]
    mirrored = lambda v: v if layout is None else (v + v[..., layout.mirror] * (scale[layout.mirror] / scale) ** 2) / 2  # noqa: E731

    average = lambda x, k: (x * k[:, None]).sum(0) / k.sum(0).clamp(min=1)  # noqa: E731
    mean = torch.stack([average(means[g], known[g]) for g in groups])
    everything = torch.stack([(known[g].sum(0) > 0).double() for g in groups])
    mean = torch.cat((mean, average(mean, everything)[None]))

    residuals, seen = zip(*[_residuals(cycles, observed, rows, means[i], known[i]) for i, (_, rows) in enumerate(tasks)])
    spectra = [spectrum(r) for r in residuals]
    within = []
    for g in groups:
        weight = torch.stack([seen[i].sum(0) for i in g])
        power = torch.stack([spectra[i].abs().square().sum(0) for i in g])
        within.append(mirrored(power.sum(0) / weight.sum(0).clamp(min=1)[None]))
    within = torch.stack(within).clamp(min=1e-6)
    within = torch.cat((within, within.mean(0, keepdim=True)))
    share = torch.stack([average(1 / counts[g][:, None].clamp(min=1), known[g]) for g in groups])  # of `within`, in a mean

    off = torch.stack([spectrum((means[i] - mean[label[i]]) * known[i]) for i in range(len(tasks))])
    square = torch.stack([off[g].abs().square().sum(0) for g in groups])
    free = torch.stack([(known[g].sum(0) - 1).clamp(min=0) for g in groups])[:, None]
    each = square / free.clamp(min=1) - share * within[:-1]
    pooled = (each * free).sum(0) / free.sum(0).clamp(min=1)
    between = torch.where(free > 0, (1 - POOLED) * each + POOLED * pooled, pooled)
    between = mirrored(between).clamp(min=1e-5)
    apart = spectrum(mean[:-1] - mean[-1]).abs().square().mean(0)
    between = torch.cat((between, (mirrored(pooled).clamp(min=1e-5) + apart)[None]))
    mixed = (1 - POOLED) * within + POOLED * within[-1]

    total = (between[:-1] + share * within[:-1]).sqrt()
    stretch = torch.tensor([(n / max(n - 1, 1)) ** 0.5 for n in (len(groups[a]) for a in label)])
    people = off / total[label] * stretch[:, None, None]
    noise = torch.cat([s / within[a].sqrt() for s, a in zip(spectra, label)])
    products = {
        name: torch.einsum("nhc,nhd->hcd", z, z.conj()) / (k.T @ k).clamp(min=1)
        for name, z, k in (("between", people, known), ("within", noise, torch.cat(seen)))
    }
    shrink(prior, products, layout, shrink_between, shrink_within)
    prior.mean.copy_(mean)
    prior.between.copy_(between)
    prior.within.copy_(mixed)
    prior.shape.copy_(_shape(residuals, seen, groups))
    if layout is not None:
        turns = torch.stack([_turns(m, layout.rigid, scale, offset.double()) for m in mean])
        size = _turned(turns[label], means - mean[label], known, between[label], counts, mixed[label])
        prior.directions.copy_(turns * size)
    return products


@torch.no_grad()
def shrink(prior: GaitPrior, products: dict, layout: Layout | None, shrink_between: float, shrink_within: float) -> None:
    """Set the prior's correlations from what `fit_prior` found."""
    for name, keep in (("between", shrink_between), ("within", shrink_within)):
        correlation = getattr(prior, f"{name}_correlation")
        correlation.copy_(torch.view_as_real(_shrunk(products[name], keep, layout))[: len(correlation)])


def _residuals(cycles, observed, rows, mean, known) -> tuple[torch.Tensor, torch.Tensor]:
    """Cycles less the person's mean, and the channels that count (n, C), of evenly chosen rows."""
    rows = torch.as_tensor(rows)
    some = rows[torch.linspace(0, len(rows) - 1, min(PER_TASK, len(rows))).long()]
    seen = observed[some] * known
    return (cycles[some].double() - mean) * seen[:, None] * (len(rows) / max(len(rows) - 1, 1)) ** 0.5, seen


def _shrunk(product: torch.Tensor, keep: float, layout: Layout | None) -> torch.Tensor:
    """Covariances (H, C, C) -> correlations; off the diagonal a part of them stays, and all of left and right's."""
    deviation = product.diagonal(dim1=-2, dim2=-1).real.clamp(min=1e-6).sqrt()
    correlation = product / deviation[..., None] / deviation[..., None, :]
    eye = torch.eye(product.shape[-1], dtype=torch.float64)
    out = keep * correlation + (1 - keep) * eye
    if layout is not None:
        turned = correlation[:, layout.mirror][:, :, layout.mirror] * layout.signs[:, None] * layout.signs
        correlation = (correlation + turned) / 2
        out = keep * correlation + (1 - keep) * eye
        own, other = torch.arange(len(layout.mirror)), layout.mirror
        side = own[own != other]
        half = (-1.0) ** torch.arange(len(product))[:, None] * layout.signs[side]
        pair = correlation[:, side, other[side]].real * half
        pair = (0.5 * pair + 0.5 * pair.mean(1, keepdim=True)) * half
        out[:, side, other[side]] = pair.to(out)
    values, vectors = torch.linalg.eigh((out + out.mH) / 2)
    return vectors @ (values.clamp(min=0.02)[..., None] * vectors.mH)


def _shape(residuals, seen, groups) -> torch.Tensor:
    """Standard deviation of single cycles at each phase, by their mean over phases (A + 1, P, C), smooth."""
    phases, channels = residuals[0].shape[1:]
    out = torch.ones(len(groups) + 1, phases, channels, dtype=torch.float64)
    smooth = torch.exp(-(torch.arange(phases // 2 + 1) ** 2) / (2 * 8.0**2))[:, None]
    for a, g in enumerate(groups):
        power = sum(residuals[i].square().sum(0) for i in g) / sum(seen[i].sum(0) for i in g).clamp(min=1)
        power = torch.fft.irfft(torch.fft.rfft(power, dim=0) * smooth, n=phases, dim=0).clamp(min=0)
        power = power + 0.05 * power.mean(0) + 1e-9
        out[a] = (power / power.mean(0)).sqrt()
    out[-1] = out[:-1].square().mean(0).sqrt()
    return out


def _turns(mean: torch.Tensor, rigid: int, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """How a mean cycle (P, C) changes as each rigid group turns about x, y, z (R, P, C), a radian."""
    phases, channels = mean.shape
    units = (mean * scale + offset).reshape(phases, channels // rigid, rigid // 3, 3)
    out = torch.zeros(channels // rigid, 3, *units.shape, dtype=mean.dtype)
    axes = torch.eye(3, dtype=mean.dtype)
    for group in range(channels // rigid):
        for axis in range(3):
            own = units[:, group]
            out[group, axis, :, group] = torch.linalg.cross(axes[axis].expand_as(own), own, dim=-1)
    return out.reshape(-1, phases, channels) / scale


def _turned(turns, off, known, between, counts, within, rounds: int = 3) -> float:
    """Standard deviation of people's turns [rad], by EM."""
    phases, variance = off.shape[1], 0.01
    noise = (between + within / counts.clamp(min=1)[:, None]).mean(1).clamp(min=1e-6)
    for _ in range(rounds):
        found = []
        for t, x, k, n in zip(turns, off, known, noise):
            t, weight = (t * k).flatten(1), (k / n).expand(phases, -1).flatten()
            spread = torch.linalg.inv((t * weight) @ t.T + torch.eye(len(t), dtype=t.dtype) / variance)
            found.append(((spread @ (t * weight) @ x.flatten()).square() + spread.diagonal()).mean())
        variance = float(torch.stack(found).mean())
    return variance**0.5
