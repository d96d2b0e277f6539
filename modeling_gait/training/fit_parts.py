"""Fits the buffers of `GaitVQModel` to training people: the means and ways of classes, codebooks, the sensor's noise.

In: windows joints (N, T, J, 3) [m], masks, labels (class, plus the number of classes where the left side is affected; below 0:
unknown) and people. Out: nothing; the model's buffers are filled. Everything is a function of what is given and the seed.
"""

import torch
from torch.nn.functional import pad

from ..augmentation import Augmentation
from ..gait_classes import GaitClasses
from ..gait_waves import GaitWaves, clock, fit_drift, footing, mirror_cycle, phase_of, synthesise, to_channels
from ..generation_gait import shown_signs
from ..modeling_gait_decoder import GaitDecoderModel
from ..modeling_gait_vq import GaitVQModel

# Other people, so that the codebooks hold more than those who walked.
OTHERS = Augmentation(mirror=0, yaw=3, scale=0, window=0, jitter=0, posture=4.0, posture_bone=3.0, body=0.1, bone=0.05)
SPEEDS, FREQUENCIES = (0.0, 2.5), (0.3, 1.7)  # m/s, Hz of strides: the grids of the rhythm
_SEVERITIES = (0.0, 2.2)
_BATCH = 720
_SIGNED = 100  # walks of a class whose sign is measured
_FEWEST = 20  # walks at least, for a share of them to be told


@torch.no_grad()
def fit_parts(
    model: GaitVQModel,
    joints: torch.Tensor,
    mask: torch.Tensor,
    labels: torch.Tensor,
    subjects: list[str],
    severity: torch.Tensor | None = None,
    pathology: bool = True,
    seed: int = 0,
    classes: GaitClasses | None = None,
) -> None:
    """Fit all but the class head. `severity` (N,), 0..1 or nan; `classes` say what clinical sign it is of.
    Without `pathology` that part stays empty (an ablation).

    Raises ValueError for fewer than two walks, and where no label is known.
    """
    if len(joints) < 2:
        raise ValueError(f"a tokeniser learns how walks differ and needs two or more walks, got {len(joints)}; give more walks")
    generator = torch.Generator().manual_seed(seed)
    books, count = model.codebooks, model.config.num_labels
    waves = waves_of(model, joints, mask)
    others = torch.cat([OTHERS(part, generator) for part in joints.split(_BATCH)])
    other = waves_of(model, others, mask)
    ratio = footing(waves, books.skeleton)
    if ratio.isfinite().sum() >= _FEWEST:
        model.config.footing = ratio[ratio.isfinite()].quantile(ratio.new_tensor([0.05, 0.95])).tolist()
    known = labels >= 0
    if not known.any():
        raise ValueError("no walk has a known class, which the pathological codes are to carry")
    left, label = labels >= count, torch.where(known, labels % count, -1)
    turned = [books.to_vector(books.turned(w.cycle, left)) for w in (waves, other)]
    seen = label if pathology else torch.where(label == books.normal, label, -1)
    normal = _pathologies(model, *turned, seen, subjects)
    own = torch.zeros(len(labels), model.config.pathological_components)
    for i, base in enumerate(normal):
        where = slice(i, i + 1)
        given = None if base is None else books.turned(books.to_cycle(base[None]), left[where])
        own[where] = model.own_way(waves.cycle[where], labels[where].clamp(min=0), given)
    amount = torch.rand(len(own), 1, generator=generator) * (_SEVERITIES[1] - _SEVERITIES[0]) + _SEVERITIES[0]
    mean = books.class_means[label.clamp(min=0)] @ books.pathological_basis
    affected = known & (label != books.normal) & pathology
    if affected.any():
        graded = amount * (own + mean) - mean
        books.pathological.fit(torch.cat((own, graded))[affected.repeat(2)], seed=seed)
    persons = []
    for cycle, way in ((waves.cycle, own), (other.cycle, model.own_way(other.cycle, labels.clamp(min=0)))):
        codes = torch.cat((labels.clamp(min=0)[:, None], books.pathological.encode(way)), dim=1)
        persons.append(books.person_of(cycle, books.pathology_cycle(codes)))
    persons.insert(1, mirror_cycle(persons[0], books.skeleton))
    books.spatial.fit(books.to_vector(torch.cat(persons)), seed=seed)
    _rhythm(model, waves, seed)
    _sensor(model, waves, persons[0], joints, mask, seed)
    if classes is not None and pathology:
        _signs(model, classes, waves, own, labels, severity)
    _head_input(model, books.to_vector(torch.cat((waves.cycle, mirror_cycle(waves.cycle, books.skeleton), other.cycle))), waves)


def waves_of(model: GaitVQModel, joints: torch.Tensor, mask: torch.Tensor) -> GaitWaves:
    """`GaitVQModel.waves` in parts."""
    parts = [model.waves(j, m) for j, m in zip(joints.split(_BATCH), mask.split(_BATCH))]
    return GaitWaves(*(torch.cat([getattr(p, name) for p in parts]) for name in ("cycle", "drift", "rhythm")))


def normal_templates(vectors: torch.Tensor, label: torch.Tensor, subjects: list[str], normal: int) -> dict[str, torch.Tensor]:
    """Mean vector (D,) of the normal walks of each person who has any."""
    people = {}
    for subject in sorted(set(subjects)):
        rows = torch.tensor([s == subject for s in subjects]) & (label == normal)
        if normal >= 0 and rows.any():
            people[subject] = vectors[rows].mean(0)
    return people


def _pathologies(model: GaitVQModel, vectors, others, label: torch.Tensor, subjects: list[str]) -> list[torch.Tensor | None]:
    """Class means, their ways and the gains; returns the normal vector of each walk's person, None where there is none.

    A walk affected on the left is mirrored before. y = S B' (B S B' + N)^-1 (walk - person - class mean), B the basis of how
    people differ within a class, S the covariance of y, N that of what is no pathology.
    """
    books, config = model.codebooks, model.config
    people = normal_templates(vectors, label, subjects, books.normal)
    bases = [people.get(s) for s in subjects]
    names = torch.tensor([sorted(set(subjects)).index(s) for s in subjects])
    model.person_mean.copy_(torch.stack(list(people.values())).mean(0) if people else vectors.mean(0))
    cells, classes, within = [], [], torch.zeros_like(vectors)
    for cell in torch.unique(torch.stack((names, label), dim=1), dim=0):
        rows = ((names == cell[0]) & (label == cell[1])).nonzero()[:, 0]
        mean = vectors[rows].mean(0)
        within[rows] = vectors[rows] - mean
        base = bases[int(rows[0])] if people else model.person_mean
        if cell[1] >= 0 and cell[1] != books.normal and base is not None:
            cells.append(mean - base)
            classes.append(int(cell[1]))
    if not cells:
        return bases
    cells, classes = torch.stack(cells), torch.tensor(classes)
    for c in classes.unique():
        books.class_means[c] = cells[classes == c].mean(0)
    means, ways = books.class_means[classes.unique()], cells - books.class_means[classes]
    number = config.pathological_components
    basis = torch.linalg.svd(torch.cat((means * len(ways) ** 0.5, ways)), full_matrices=False)[2][:number]
    basis = pad(basis, (0, 0, 0, number - len(basis)))
    books.pathological_basis.copy_(basis.T)
    basis, ways, means = basis.double(), ways.double() @ basis.double().T, means.double() @ basis.double().T
    spread = ways.T @ ways / len(ways) + 0.1 * means.T @ means / len(means)  # the second: severity by a third
    noise = torch.cov(within.T.double()) + 1e-6 * torch.eye(within.shape[1], dtype=torch.double)
    person = torch.cov((others - vectors).T.double())
    if len(people) > 1:
        person = person + torch.cov(torch.stack(list(people.values())).T.double())
    for buffer, beside in ((model.gain_known, noise), (model.gain, noise + person)):
        buffer.copy_(torch.linalg.solve(basis.T @ spread @ basis + beside, basis.T @ spread).T)
    return bases


def _rhythm(model: GaitVQModel, waves: GaitWaves, seed: int) -> None:
    """Even grids of cadence, speed and phase; k-means of the rest."""
    size, rhythm = model.config.codebook_size, waves.rhythm
    quantizer = model.codebooks.temporal
    quantizer.fit(rhythm, groups=[0, 1, 2, 3, 3, 3], seed=seed)
    quantizer.codebook[:, 0] = torch.linspace(*FREQUENCIES, size)
    quantizer.codebook[:, 1] = torch.linspace(*SPEEDS, size)
    quantizer.codebook[:, 2] = (torch.arange(size) + 0.5) / size * 2 * torch.pi - torch.pi


def _sensor(model: GaitVQModel, waves: GaitWaves, person: torch.Tensor, joints, mask, seed: int) -> None:
    """Codebooks of drift and levels, and the noise."""
    books, window = model.codebooks, model.config.num_frames
    cycle = waves.cycle - person + books.to_cycle(books.spatial.lookup(books.spatial.encode(books.to_vector(person))))
    rhythm = books.temporal.lookup(books.temporal.encode(waves.rhythm))
    place = slice(3 * books.skeleton.root, 3 * books.skeleton.root + 2)
    drifts, residuals = [], []
    for i in range(0, len(joints), _BATCH):
        at = slice(i, i + _BATCH)
        x = to_channels(joints[at].float(), books.skeleton)
        drift = fit_drift(x, mask[at], cycle[at], rhythm[at], window, model.half)
        drift[:, 0, place] = 0
        drifts.append(drift.flatten(1))
        part = GaitWaves(waves.cycle[at], waves.drift[at], waves.rhythm[at])
        fitted = synthesise(part, mask[at], books.skeleton, window, model.half)
        missed = (x - fitted).unflatten(2, (-1, 3))
        missed[:, :, books.skeleton.root, :2] -= missed[:, :1, books.skeleton.root, :2]
        residuals.append(missed.flatten(2) * mask[at][..., None])
    books.drift.fit(torch.cat(drifts), seed=seed)
    residual = torch.cat(residuals)
    books.level.fit(books.noise.levels(residual, mask), groups=[0] * books.level.basis.shape[0], seed=seed)
    rows = torch.linspace(0, len(residual) - 1, min(len(residual), 2000)).long()
    some = GaitWaves(waves.cycle[rows], waves.drift[rows], waves.rhythm[rows])
    phase = phase_of(some.rhythm, clock(mask[rows], window), model.half)
    books.noise.fit(residual[rows], mask[rows], phase)


def _signs(
    model: GaitVQModel, classes: GaitClasses, waves: GaitWaves, own: torch.Tensor, labels: torch.Tensor, severity
) -> None:
    """`sign_range` of each class that has a clinical sign, measured on a hundred training walks decoded without a sensor.

    Where severities are known, the line of the sign on them; else the 10th and the 80th percentile, since not everybody can
    show what the severest do.
    """
    books, decoder, count = model.codebooks, GaitDecoderModel.from_vq(model), model.config.num_labels
    for label, name in model.config.id2label.items():
        rows = (labels % count == label).nonzero()[:, 0][labels[labels % count == label] >= 0]
        if name not in classes or not classes[name].shown or not len(rows):
            continue
        rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), _SIGNED)).long()]
        cycle = books.turned(waves.cycle[rows], labels[rows] >= count)
        pathological = torch.cat((torch.full((len(rows), 1), label), books.pathological.encode(own[rows])), dim=1)
        person = books.person_of(cycle, books.pathology_cycle(pathological))
        codes = {"pathological_codes": pathological, "spatial_codes": books.spatial.encode(books.to_vector(person))}
        codes["temporal_codes"] = books.temporal.encode(waves.rhythm[rows])
        sign = torch.from_numpy(shown_signs(decoder, codes, [classes[name]] * len(rows)))
        known = sign.isfinite()
        rated = known & severity[rows].isfinite() if severity is not None else known & False
        if rated.sum() > 20 and severity[rows][rated].std() > 0.05:
            line = torch.stack((torch.ones(int(rated.sum())), severity[rows][rated]), dim=1)
            low, slope = torch.linalg.lstsq(line, sign[rated, None].float()).solution[:, 0]
            books.sign_range[label] = torch.stack((low, low + slope))
        elif known.sum() > 5:
            books.sign_range[label] = torch.quantile(sign[known].float(), torch.tensor([0.1, 0.8]))


def _head_input(model: GaitVQModel, vectors: torch.Tensor, waves: GaitWaves) -> None:
    """Whitened components of cycles, and the scale of cadence and speed."""
    values, basis = torch.linalg.eigh(torch.cov((vectors - model.person_mean).T.double()))
    number = model.config.head_components
    model.head_basis.copy_((basis / values.clamp(min=1e-8).sqrt()).flip(1)[:, :number])
    rhythm = waves.rhythm[:, :2]
    model.head_rhythm.copy_(torch.stack((rhythm.mean(0), 1 / rhythm.std(0).clamp(min=1e-3))))


__all__ = ["fit_parts", "normal_templates", "waves_of"]
