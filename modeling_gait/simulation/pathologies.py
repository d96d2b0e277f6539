"""No patient needed: a person's own normal walks, walked with the pathologies of the simulator.

    from modeling_gait.simulation.pathologies import Pathologies
    make = Pathologies().fit(normal)                  # rows of the walk schema, all of them normal
    data = normal.map(make, batched=True, with_indices=True, remove_columns=normal.column_names, features=walk_features())

In: normal walks (T, J, 3) [m] along +y of the 25 joints of Kinect v2. Out: `copies` walks of each, the classes in turn, with
severity and side. What is added is the simulator's change from normal to the class, x + severity (S[q, class] - S[q, normal])
at the walk's own phase, S the mean cycle of a simulated person q with q's ways of showing the class (`gait_curves.DEGREES`),
scaled to the legs of who walks; rhythm and speed change as the class has it, and the walk goes on by whole strides over the
same way. The person's own body, posture, arm swing and sensor stay.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..gait_waves import _polynomials, clock, cycle_waves, from_channels, phase_of
from ..new_people import NewPeople, check_rates
from ..skeletons import KINECT_V2
from .simulator import PATHOLOGIES, pace_factors, simulate_walks

_LEGS = [KINECT_V2.index(f"{side}_{name}") for side in ("left", "right") for name in ("hip", "knee", "ankle")]


def _leg(joints: np.ndarray) -> float:
    """Length of the legs [m] of walks (..., 25, 3)."""
    legs = joints[..., _LEGS, :].reshape(-1, 2, 3, 3)
    return float(2 * np.median(np.linalg.norm(np.diff(legs, axis=2), axis=-1)))


@dataclass
class Pathologies:
    """See the head of this file.

    Args:
        classes: of `PATHOLOGIES`, taken in turn; normal walks stay as they are.
        copies: walks made of each walk.
        severity: range that it is drawn from; side: left, right, or by chance.
        people: simulated people whose changes are drawn from, for each class.
        fps: frames a second of the walks.
    """

    classes: tuple[str, ...] = tuple(c for c in PATHOLOGIES if c != "parkinsonian")
    copies: int = 6
    severity: tuple[float, float] = (0.5, 1.0)
    side: str | None = None
    people: int = 60
    fps: float = 30.0
    seed: int = 0
    changes: dict = field(default_factory=dict, repr=False)

    def fit(self, rows) -> "Pathologies":
        """Simulate people who walk as fast as those of these rows; in chunks of 256 rows. Raises ValueError where a walk is not
        normal or of another rate, or a class is not of `PATHOLOGIES`."""
        if unknown := set(self.classes) - set(PATHOLOGIES):
            raise ValueError(f"classes: expected some of {', '.join(PATHOLOGIES)}, got {min(unknown)!r}")
        names = rows.features["pathology"].names
        if other := {names[p] for p in rows["pathology"]} - {"normal"}:
            raise ValueError(f"expected normal walks alone, got {min(other)}")
        parts = []
        for k, part in enumerate(rows.iter(256)):
            check_rates(part, self.fps, [f"row {256 * k + i}" for i in range(len(part["joints"]))])
            parts.append(self._reader()._waves(part["joints"])[0].rhythm.numpy())
        frequency, speed = np.median(np.concatenate(parts)[:, :2], axis=0)
        cycles = {}
        for name in self.classes:
            v, c = pace_factors(name, 1.0)
            walks = simulate_walks(
                self.people,
                frames=180,
                seed=self.seed,
                pathology=name,
                severity=1.0,
                side="none" if name in ("normal", "parkinsonian") else self.side or ["left", "right"] * (self.people // 2),
                speed=max(speed * v, 0.1),
                cadence=np.clip(120 * frequency * c, 20, 200),
                attributes={"load": "none", "footwear": "trainers"},
            )
            cycle = self._reader(30.0)._waves(walks.joints)[0].cycle.numpy() / _leg(walks.joints)
            cycle[..., :3] = 0  # the path stays
            cycles[name] = cycle, walks.side
        normal = cycles.get("normal", (0, None))[0]
        self.changes = {name: (cycle - normal, sides) for name, (cycle, sides) in cycles.items()}
        return self

    def __call__(self, batch: dict, indices: Sequence[int]) -> dict:
        """Columns joints, pathology, severity, attributes, subject_id, walk_id, sensor, fps of `copies` times as many rows.

        A row and its index draw the same walks in any batch. Raises ValueError before `fit`, and for another rate.
        """
        if not self.changes:
            raise ValueError("fit it to the normal walks first")
        check_rates(batch, self.fps, [f"row {int(i)}" for i in indices])
        waves, channels, mask = self._reader()._waves(batch["joints"])
        frames = mask.sum(1, keepdim=True)
        s = clock(mask, frames)
        phase, drift = phase_of(waves.rhythm, s, frames / 2 / self.fps), _polynomials(s) @ waves.drift
        out: dict[str, list] = {k: [] for k in ("joints", "pathology", "severity", "attributes")}
        out |= {k: [] for k in ("subject_id", "walk_id", "sensor", "fps") if k in batch}
        for i, (walk, index) in enumerate(zip(batch["joints"], indices, strict=True)):
            walk, rng = np.asarray(walk, np.float32), np.random.default_rng([self.seed, int(index)])
            for k in range(self.copies):
                name = self.classes[(int(index) + k) % len(self.classes)]
                severity, person = float(rng.uniform(*self.severity)), int(rng.integers(self.people))
                side, joints = "none", walk
                if name != "normal":
                    change, sides = self.changes[name]
                    side = sides[person]
                    wanted = severity * _leg(walk) * torch.from_numpy(change[person])
                    own = (channels[i], phase[i], drift[i], waves.rhythm[i], len(walk))
                    joints = self._walk(wanted, *own, *pace_factors(name, severity))
                out["joints"].append(joints)
                out["pathology"].append(PATHOLOGIES.index(name))
                out["severity"].append(0.0 if name == "normal" else severity)
                out["attributes"].append(json.dumps({"side": side}))
                for key in ("subject_id", "sensor", "fps"):
                    if key in out:
                        out[key].append(batch[key][i])
                if "walk_id" in out:
                    out["walk_id"].append(f"{batch['walk_id'][i]}_{name}{k}")
        return out

    def _reader(self, fps: float | None = None) -> NewPeople:
        return NewPeople(fps=fps or self.fps)

    def _walk(self, change, channels, phase, drift, rhythm, frames: int, speed: float, cadence: float) -> np.ndarray:
        """Joints (T', 25, 3) of one walk, `speed` and `cadence` as shares of its own."""
        root = slice(3 * KINECT_V2.root, 3 * KINECT_V2.root + 2)
        x = channels[:frames] - drift[:frames] + cycle_waves(phase[None, :frames], change.shape[0] // 2)[0] @ change
        way = rhythm[[5, 1]] / self.fps  # [m a frame]
        x[:, root] -= way * torch.arange(frames)[:, None]
        count = min(int(frames / speed), 3 * frames)
        at = np.arange(count) * cadence  # of its frames, going on from a whole number of strides before its end
        period = self.fps / float(rhythm[0])
        back = max(1, int((frames - 1) / period)) * period
        at = at - np.ceil(np.maximum(at - (frames - 1), 0) / back) * back
        at = np.clip(at, 0, frames - 1)
        before = np.minimum(at.astype(int), frames - 2)
        share = torch.from_numpy(at - before).float()[:, None]
        out = x[before] * (1 - share) + x[before + 1] * share
        slow = torch.from_numpy(np.linspace(0, frames - 1, count)).round().long()
        out = out + drift[slow]
        out[:, root] += way * speed * torch.arange(count)[:, None]
        return from_channels(out[None], KINECT_V2)[0].numpy().astype(np.float32)


__all__ = ["Pathologies"]
