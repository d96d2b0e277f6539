"""New people from parts of others: other bones, another's normal cycle, another's way of showing a class, more of it or less.

    people = NewPeople().fit(train)                          # rows of the walk schema, training people only
    more = train.map(people, batched=True, with_indices=True, remove_columns=["gait_parameters", "captions"])
    DataLoader(train, 32, collate_fn=lambda rows: tensors_of(people.rows(rows)))          # new people in every epoch

In: walks of people who were fitted to, joints (T, J, 3) [m] along +y. Out: new joints of the same shapes. No network is needed.

With T[p, c] the mean cycle of person p's walks of class c, and W[p, c] = T[p, c] - T[p, normal], a walk of B becomes

    walk + a (T[A, normal] - T[B, normal]) + u (W[C, c] - W[B, c]) + v W[B, c]

at its own phase, A and C people drawn at random, a in 0..`person`, u in 0..`way`, v in -`severity`..`severity`, and then other
bones and postures (`bodies`). Its own change from stride to stride and its sensor's noise stay.

`learn` puts normal cycles and pathologies of people who never walked, such as a language model writes, in the place of T[A,
normal] and W[C, c]: real walks then take what words ask for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .augmentation import NEW_PEOPLE, Augmentation
from .gait_waves import GaitWaves, clock, cycle_waves, fit_waves, from_channels, phase_of, to_channels
from .skeletons import KINECT_V2, Skeleton

_BATCH = 128


@dataclass
class NewPeople:
    """See the head of this file.

    Args:
        person: largest share of another person's normal cycle; way: of another's way of showing the class.
        severity: largest change of severity, either way, as a share.
        bodies: random bones and postures, None: none.
        fps: frames a second of the walks; normal: name of the class without pathology.
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

    def fit(self, rows) -> "NewPeople":
        """Mean cycles of the people of these rows (a data set of the walk schema). Raises ValueError where nobody walks
        normally."""
        classes, total = rows.features["pathology"].names, {}
        for part in rows.iter(_BATCH):
            waves, _, _ = self._waves(part["joints"])
            for cell, cycle in zip(self._cells(part, classes), waves.cycle):
                count, cycles = total.get(cell, (0, 0))
                total[cell] = count + 1, cycles + cycle
        self.cycles = {cell: cycle / count for cell, (count, cycle) in total.items()}
        self.classes = classes
        self.normals = {s: self.cycles[s, name, left] for s, name, left in self.cycles if name == self.normal and not left}
        if not self.normals:
            raise ValueError(f"nobody in these rows has a walk of class {self.normal!r}, which a pathology is measured from")
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

    def __call__(self, batch: dict, indices: Sequence[int] = (0,)) -> dict:
        """A batch of rows, lists by column, with new joints; for `datasets.Dataset.map` (batched). The same indices draw the
        same people.

        Numbers and words that were measured on the old joints do not hold any more: remove those columns. Raises ValueError for
        people who were not fitted to.
        """
        rng = np.random.default_rng([self.seed, int(indices[0])])
        waves, channels, mask = self._waves(batch["joints"])
        change = torch.stack([self._change(*cell, rng) for cell in self._cells(batch, self.classes)])
        frames = channels.shape[1]
        phase = phase_of(waves.rhythm, clock(mask, frames), frames / 2 / self.fps)
        joints = from_channels(channels + cycle_waves(phase, change.shape[1] // 2) @ change, self.skeleton)
        if self.bodies is not None:
            joints = self.bodies(joints, torch.Generator().manual_seed(int(rng.integers(2**31))))
        return {**batch, "joints": [j[: int(m.sum())].numpy() for j, m in zip(joints, mask)]}

    def rows(self, rows: list[dict], seed: int | None = None) -> list[dict]:
        """Rows of a batch as a loader collects them, with new joints; new people each time, or by `seed`."""
        batch = {key: [row[key] for row in rows] for key in rows[0]}
        made = self(batch, [np.random.randint(2**31) if seed is None else seed])
        return [dict(zip(made, values)) for values in zip(*made.values())]

    def _waves(self, walks) -> tuple[GaitWaves, torch.Tensor, torch.Tensor]:
        """Waves, channels and mask of walks of any lengths, the longest the window."""
        walks = [np.asarray(w, np.float32) for w in walks]
        longest = max(map(len, walks))
        joints = torch.from_numpy(np.stack([np.concatenate((w, np.repeat(w[-1:], longest - len(w), axis=0))) for w in walks]))
        mask = (torch.arange(longest) < torch.tensor([len(w) for w in walks])[:, None]).float()
        return fit_waves(joints, mask, self.skeleton, self.fps, longest), to_channels(joints, self.skeleton), mask

    def _cells(self, batch: dict, classes: list[str]) -> list[tuple[str, str, bool]]:
        """(person, class, is the left side affected) of each row."""
        sides = [json.loads(str(a)).get("side") for a in batch["attributes"]]
        return [(str(s), classes[int(p)], side == "left") for s, p, side in zip(batch["subject_id"], batch["pathology"], sides)]

    def _change(self, person: str, name: str, left: bool, rng: np.random.Generator) -> torch.Tensor:
        """What is added to the cycle (R, C) of a walk of this person and class."""
        if person not in self.normals or (person, name, left) not in self.cycles:
            raise ValueError(f"subject {person}, class {name}: not among the people fitted to, or without a normal walk")
        a, u, v = rng.uniform(0, self.person), rng.uniform(0, self.way), rng.uniform(-self.severity, self.severity)
        own = self.cycles[person, name, left] - self.normals[person]
        ways = self.ways.get((name, left), own[None])
        other, way = self.persons[rng.integers(len(self.persons))], ways[rng.integers(len(ways))]
        change = a * (other - self.normals[person]) + u * (way - own) + v * own
        change[:, 3 * self.skeleton.root : 3 * self.skeleton.root + 2] = 0  # the path stays
        return change


__all__ = ["NewPeople"]
