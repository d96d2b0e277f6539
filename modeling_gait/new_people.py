"""New people from parts of others: other bones, another's normal cycle, another's way of showing a class, more of it or less.

    people = NewPeople().fit(train)                          # rows of the walk schema, training people only
    more = train.map(people, batched=True, with_indices=True, remove_columns=["gait_parameters", "captions"])
    DataLoader(train, 32, collate_fn=lambda rows: tensors_of(people.rows(rows)))          # new people in every epoch

In: walks of people who were fitted to, joints (T, J, 3) [m] along +y. Out: new joints of the same shapes. No network is needed.

With T[p, c] the mean cycle of person p's walks of class c, and W[p, c] = T[p, c] - T[p, normal], a walk of B becomes

    walk + a (T[A, normal] - T[B, normal]) + u (W[C, c] - W[B, c]) + v W[B, c]

at its own phase, A and C people drawn at random, a in 0..`person`, u in 0..`way`, v in -`severity`..`severity`, and then other
bones and postures (`bodies`). Its own change from stride to stride, its cadence and its sensor's noise stay; its speed becomes
that of its new legs. Nothing bounds the bones or keeps left and right alike: over 600 walks of gist a new shank is 0.79 to 1.33
times the old one (5th and 95th percentile; least 0.58, most 1.61), a new walk 0.75 to 1.45 times as fast (0.52, 2.57). The
attributes stay, and so may say another height. More of a class is not always slower: at v = -0.5, 0, 0.5 walks of gist (120 a
class, one sensor, nothing else changed) go on average 0.79, 0.64, 0.54 m/s in antalgic gait, but 0.55, 0.56, 0.65 in lurch.

`learn` puts normal cycles and pathologies of people who never walked, such as a language model writes, in the place of T[A,
normal] and W[C, c]: real walks then take what words ask for.
"""

import math
import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch

from .augmentation import NEW_PEOPLE, Augmentation
from .caption_words import stated_attributes
from .gait_events import SIDES
from .gait_parameters import odd_input
from .gait_waves import GaitWaves, clock, cycle_waves, fit_waves, footing, from_channels, phase_of, to_channels
from .kinematics import joint_track
from .skeletons import KINECT_V2, Skeleton
from .walk_checks import MIN_SPREAD, leg_length

LEAST_LEG = 0.3  # m, hip to knee to ankle, of a child of a year; those of gist have 0.59 to 0.87
_BATCH = 128
_FASTER = (0.5, 2.0)  # how far a walk's speed follows its legs at most
_NEEDED = ("joints", "pathology", "subject_id", "attributes")
_OF_THE_OLD_WALK = ("gait_parameters", "captions")


@dataclass
class NewPeople:
    """See the head of this file.

    Args:
        person: largest share of another person's normal cycle; way: of another's way of showing the class.
        severity: largest change of severity, either way, as a share.
        bodies: random bones and postures, None: none.
        fps: frames a second of the walks; normal: name of the class without pathology.

    Raises ValueError for a share that is negative or no number.
    """

    person: float = 1.0
    way: float = 1.0
    severity: float = 0.5
    bodies: Augmentation | None = NEW_PEOPLE
    fps: float = 30.0
    normal: str = "normal"
    skeleton: Skeleton = KINECT_V2
    seed: int = 0
    cycles: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        for name in ("person", "way", "severity"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a number of 0 or more, got {getattr(self, name)}")

    def fit(self, rows) -> "NewPeople":
        """Mean cycles of the people of these rows (a `datasets.Dataset` of the walk schema). Raises ValueError, with the row's
        number, for what is no walk in metres along +y at `fps`, and where nobody walks normally. Warns where one person alone
        does: there is nobody else to draw until others are learnt."""
        if not isinstance(getattr(rows, "column_names", None), list):
            raise ValueError(f"expected a datasets.Dataset, one split of it, got {type(rows).__name__}")
        _check_columns(rows.column_names)
        classes, total, first = getattr(rows.features["pathology"], "names", None), {}, 0
        if classes is None:
            raise ValueError("column pathology: expected datasets.ClassLabel, whose names are the classes")
        for part in rows.iter(_BATCH):
            names = [f"row {first + i}" for i in range(len(part["joints"]))]
            waves, _, _ = self._waves(self._walks(part, names))
            for cell, cycle in zip(_cells(part, classes, names), waves.cycle):
                count, cycles = total.get(cell, (0, 0))
                total[cell] = count + 1, cycles + cycle
            first += len(names)
        self.cycles = {cell: cycle / count for cell, (count, cycle) in total.items()}
        self.classes = classes
        self.normals = {s: self.cycles[s, name, left] for s, name, left in self.cycles if name == self.normal and not left}
        if not self.normals:
            raise ValueError(f"nobody in these rows has a walk of class {self.normal!r}, which a pathology is measured from")
        if len(self.normals) == 1 and (self.person or self.way):
            warnings.warn(f"only subject {next(iter(self.normals))} walks normally: nobody else can be drawn", stacklevel=2)
        ways: dict = {}
        for (person, name, left), cycle in sorted(self.cycles.items()):
            if person in self.normals:
                ways.setdefault((name, left), []).append(cycle - self.normals[person])
        self.learn(torch.stack([self.normals[s] for s in sorted(self.normals)]), {k: torch.stack(w) for k, w in ways.items()})
        return self

    def learn(self, persons: torch.Tensor, ways: dict[tuple[str, bool], torch.Tensor]) -> "NewPeople":
        """Draw other people from these instead: normal cycles (K, R, C) [m], and of (class, is the left side affected) what
        cycles have that the person's normal cycle has not (M, R, C). A class and side that is not among them keeps its way."""
        self.persons, self.ways = persons, ways
        return self

    def __call__(self, batch: dict, indices: Sequence[int]) -> dict:
        """A batch of rows, lists by column, with new joints; for `datasets.Dataset.map` (batched, with indices). A row and its
        index draw the same walk in any batch.

        Severity becomes nan, unknown, but for normal gait. Numbers and words that were measured on the old joints
        (`gait_parameters`, `captions`) are left out; `map` keeps such columns all the same, unless `remove_columns` names them.
        Raises ValueError, with the row's index, for what is no walk at `fps` and for people who were not fitted to.
        """
        _check_columns(batch)
        if np.shape(indices) != (len(batch["joints"]),) or not len(indices):
            raise ValueError("expected lists of rows and an index of each: map with batched=True, with_indices=True")
        return self._made(batch, indices, [f"row {int(i)}" for i in indices])

    def rows(self, rows: list[dict], seed: int | None = None) -> list[dict]:
        """Rows of a batch as a loader collects them, changed as by `map`; new people each time, or by `seed` and the place in
        the list."""
        if not rows:
            raise ValueError("expected rows of the walk schema, got an empty list")
        _check_columns(rows[0])
        batch = {key: [row[key] for row in rows] for key in rows[0]}
        randint = np.random.randint if seed is None else np.random.RandomState(seed).randint
        made = self._made(batch, randint(2**31, size=len(rows)), [f"row {i} of the batch" for i in range(len(rows))])
        return [dict(zip(made, values)) for values in zip(*made.values())]

    def _made(self, batch: dict, seeds: Sequence[int], names: list[str]) -> dict:
        """`__call__` with walk i drawn by (`self.seed`, `seeds[i]`) and called `names[i]` in errors."""
        if not self.cycles:
            raise ValueError("fit it to rows of training people first")
        rngs = [np.random.default_rng([self.seed, int(s)]) for s in seeds]
        waves, channels, mask = self._waves(self._walks(batch, names))
        cells = _cells(batch, self.classes, names)
        for name, (person, label, left) in zip(names, cells):
            if person not in self.normals or (person, label, left) not in self.cycles:
                raise ValueError(
                    f"{name}: subject {person}, class {label}: not among the people fitted to, or without a normal walk"
                )
        change = torch.stack([self._change(*cell, rng) for cell, rng in zip(cells, rngs)])
        frames = mask.sum(1, keepdim=True)
        phase = phase_of(waves.rhythm, clock(mask, frames), frames / 2 / self.fps)
        channels[..., 3 * self.skeleton.root + 1] *= self._faster(waves, change)
        joints = from_channels(channels + cycle_waves(phase, change.shape[1] // 2) @ change, self.skeleton)
        walks = [walk[None, : int(count)] for walk, count in zip(joints, frames)]
        if self.bodies is not None:  # one by one: padding would move the floor
            bodies = replace(self.bodies, skeleton=self.skeleton)
            walks = [bodies(w, torch.Generator().manual_seed(int(r.integers(2**31)))) for w, r in zip(walks, rngs)]
        made = {k: v for k, v in batch.items() if k not in _OF_THE_OLD_WALK} | {"joints": [w[0].numpy() for w in walks]}
        if "severity" in batch:
            normal = [name == self.normal for _, name, _ in cells]
            made["severity"] = [s if same else math.nan for s, same in zip(batch["severity"], normal)]
        return made

    def _walks(self, batch: dict, names: list[str]) -> list[np.ndarray]:
        """Joints (T, J, 3) [m] of each row. Raises ValueError for another shape, less than a second, another fps, unit or other
        axes, joints that are not finite, and where nobody walks: one such row would spoil everybody's cycles."""
        walks, joints = [np.asarray(w, np.float32) for w in batch["joints"]], len(self.skeleton)
        check_rates(batch, self.fps, names)
        for name, walk in zip(names, walks):
            if walk.shape[1:] != (joints, 3) or len(walk) < self.fps:
                raise ValueError(f"{name}: expected joints (T, {joints}, 3) of {self.fps:g} frames or more, got {walk.shape}")
            if not np.isfinite(walk).all():
                raise ValueError(f"{name}: has joints that are not finite")
            if odd := odd_input(walk, self.skeleton):
                raise ValueError(f"{name}: {'; '.join(odd)}")
            if (leg := leg_length(walk, self.skeleton)) < LEAST_LEG:
                raise ValueError(f"{name}: legs of {leg:.2f} m, expected {LEAST_LEG} m or more: what is the unit?")
            left, right = (joint_track(walk, self.skeleton, f"{side}_ankle")[:, 1] for side in SIDES)
            if np.ptp(left - right) < MIN_SPREAD:
                raise ValueError(f"{name}: nobody walks: the feet do not pass each other")
        return walks

    def _waves(self, walks) -> tuple[GaitWaves, torch.Tensor, torch.Tensor]:
        """Waves, channels and mask of walks of any lengths, each its own window."""
        walks = [np.asarray(w, np.float32) for w in walks]
        longest = max(map(len, walks))
        joints = torch.from_numpy(np.stack([np.concatenate((w, np.repeat(w[-1:], longest - len(w), axis=0))) for w in walks]))
        frames = torch.tensor([len(w) for w in walks])
        mask, parts = (torch.arange(longest) < frames[:, None]).float(), []
        order = frames.argsort()
        for some in order.chunk(3):  # walks of about one length together: padding takes time
            count = int(frames[some].max())
            window = frames[some, None].float()
            parts.append(fit_waves(joints[some, :count], mask[some, :count], self.skeleton, self.fps, window))
        back = order.argsort()
        waves = GaitWaves(*(torch.cat([getattr(p, f.name) for p in parts])[back] for f in fields(GaitWaves)))
        return waves, to_channels(joints, self.skeleton), mask

    def _faster(self, waves: GaitWaves, change: torch.Tensor) -> torch.Tensor:
        """(B, 1): how much faster the changed legs go back while they stand, so that feet slide no more than they did."""
        changed = GaitWaves(waves.cycle + change, waves.drift, waves.rhythm)
        faster = footing(waves, self.skeleton) / footing(changed, self.skeleton)
        return faster.nan_to_num(1.0).clamp(*_FASTER)[:, None]

    def _change(self, person: str, name: str, left: bool, rng: np.random.Generator) -> torch.Tensor:
        """What is added to the cycle (R, C) of a walk of this person and class."""
        a, u, v = rng.uniform(0, self.person), rng.uniform(0, self.way), rng.uniform(-self.severity, self.severity)
        own = self.cycles[person, name, left] - self.normals[person]
        ways = self.ways.get((name, left), own[None])
        other, way = self.persons[rng.integers(len(self.persons))], ways[rng.integers(len(ways))]
        change = a * (other - self.normals[person]) + u * (way - own) + v * own
        change[:, 3 * self.skeleton.root : 3 * self.skeleton.root + 2] = 0  # the path keeps its shape
        return change


def check_rates(batch: dict, fps: float, names: list[str]) -> None:
    """Raise ValueError for rows of another rate, where there is a column `fps`."""
    for name, own in zip(names, batch.get("fps", ())):
        if own is None or not math.isclose(own, fps, rel_tol=1e-3):
            raise ValueError(f"{name}: has {own} frames a second, expected {fps:g}: resample it, or set fps")


def _check_columns(columns) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}; expected rows of the walk schema")


def _cells(batch: dict, classes: list[str], names: list[str]) -> list[tuple[str, str, bool]]:
    """(person, class, is the left side affected) of each row; without attributes no side is."""
    cells = []
    for name, subject, label, attributes in zip(names, batch["subject_id"], batch["pathology"], batch["attributes"]):
        try:
            of = operator.index(label)
        except TypeError:
            of = -1
        if not 0 <= of < len(classes):
            raise ValueError(f"{name}: class {label!r}, expected 0 to {len(classes) - 1}")
        left = stated_attributes(attributes, name).get("side") == "left"
        cells.append((str(subject), classes[of], left))
    return cells


__all__ = ["NewPeople"]
