"""IMU recordings as training windows, and sentences for their activities.

In: recordings (`recording_id`, `subject_id`, `activity` (T,), `values` (T, C), `channel_mask` (C,), `sampling_rate`).
Out: windows (B, num_frames, C), nan where a channel is corrupted, and `DESCRIPTIONS` of their activities.
"""

from dataclasses import dataclass

import numpy as np
import torch

from modeling_gait.training.data import open_rows

# What sensors on feet, shins and thighs notice of each activity of HuGaDB; written before any model was trained on it.
DESCRIPTIONS = {
    "walking": (
        "a person walks on level ground with alternating steps at a steady rhythm",
        "walking: the legs swing forward in turn, the heel strikes the floor once a step, the thighs stay upright on average",
        "rhythmic, moderate leg movement with medium impacts, both feet never off the floor together",
    ),
    "running": (
        "a person runs: fast strides with a flight phase in which both feet are off the floor",
        "running: quick, strong swings of both legs, hard impacts and high accelerations, a fast rhythm",
        "very vigorous, rhythmic leg movement with the knees bent high behind",
    ),
    "going_up": (
        "a person goes up the stairs, step by step",
        "climbing stairs: each knee and thigh is lifted high in turn and the body is pushed upward",
        "rhythmic stepping with strongly bent hips and knees, slower than walking, soft foot contacts on higher steps",
    ),
    "going_down": (
        "a person goes down the stairs, step by step",
        "descending stairs: each leg is lowered in turn, the foot lands hard with the toes first, the knee yields",
        "rhythmic stepping with sharp impacts as the body drops to each lower step",
    ),
    "sitting": (
        "a person sits still on a chair",
        "sitting: the thighs lie horizontal, the shins hang upright, the legs hardly move",
        "no movement, hips and knees bent at a right angle",
    ),
    "sitting_down": (
        "a person sits down on a chair from standing",
        "sitting down: the thighs turn once from upright to horizontal while the feet stay on the floor",
        "a single slow movement from standing to sitting, hips and knees bend",
    ),
    "standing_up": (
        "a person stands up from a chair",
        "standing up: the thighs turn once from horizontal to upright while the feet stay on the floor",
        "a single slow movement from sitting to standing, hips and knees straighten",
    ),
    "standing": (
        "a person stands still on the floor",
        "standing: thighs and shins are upright, the legs hardly move",
        "no movement, hips and knees straight, the weight on both feet",
    ),
    "bicycling": (
        "a person rides a bicycle",
        "bicycling: the legs pedal round in turn, smooth and rhythmic, without impacts, the thighs near horizontal",
        "seated, circular, rhythmic leg movement with bent knees and vibration from the road",
    ),
    "up_by_elevator": (
        "a person stands still in an elevator that goes up",
        "riding an elevator up: the legs are upright and still, the body is heavier for a moment and lighter at the end",
        "no leg movement, standing, a slow upward acceleration",
    ),
    "down_by_elevator": (
        "a person stands still in an elevator that goes down",
        "riding an elevator down: the legs are upright and still, the body is lighter for a moment and heavier at the end",
        "no leg movement, standing, a slow downward acceleration",
    ),
    "sitting_in_car": (
        "a person sits in a moving car",
        "sitting in a car: the thighs lie horizontal, the legs are still but vibrate and sway with the car",
        "seated with bent knees, no movement of one's own, vibration from the road",
    ),
}  # fmt: skip
ACTIVITIES = tuple(DESCRIPTIONS)


@dataclass
class Recordings:
    """IMU windows: `values` (M, C) of all recordings end to end, nan where a channel is corrupted; a window is the samples from
    `starts` (N,) on; `labels` (N,) index ACTIVITIES, `subjects` (N,) str; `fps`."""

    values: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    num_frames: int
    fps: float

    def select(self, keep: np.ndarray) -> "Recordings":
        """The windows where `keep` (N,) is True."""
        return Recordings(self.values, self.starts[keep], self.labels[keep], self.subjects[keep], self.num_frames, self.fps)

    def __len__(self) -> int:
        return len(self.starts)

    def windows(self, rows: np.ndarray) -> np.ndarray:
        """(B, num_frames, C)."""
        return self.values[self.starts[rows][:, None] + np.arange(self.num_frames)]


def load_recordings(dataset: str, num_frames: int = 144, hop: int = 48, centre: int = 36, channels: int = 36) -> Recordings:
    """Windows of all recordings, named by the activity in their middle.

    A window counts where its `centre` middle samples are of one activity, whatever is around them. Copies of a recording are
    left out; gyroscopes that the authors list as corrupted are nan. Raises ValueError where a column is missing.
    """
    data = open_rows(dataset)
    missing = {"recording_id", "subject_id", "activity", "values", "channel_mask", "sampling_rate"} - set(data.column_names)
    if missing:
        raise ValueError(f"{dataset}: columns missing: {', '.join(sorted(missing))}; expected a data set of recordings")
    parts, starts, labels, subjects, at, fps = [], [], [], [], 0, 0.0
    for row in data.with_format("arrow").iter(batch_size=1):
        if row.column("duplicate_of")[0].as_py() if "duplicate_of" in data.column_names else None:
            continue
        storage = row.column("values").combine_chunks()
        storage = getattr(storage, "storage", storage)
        activity = row.column("activity").combine_chunks().flatten().to_numpy()
        values = storage.flatten().flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(activity), -1)
        valid = np.array(row.column("channel_mask")[0].as_py(), bool)
        values = np.where(valid, values, np.nan)[:, :channels]
        fps = float(row.column("sampling_rate")[0].as_py())
        first = np.arange(0, len(values) - num_frames + 1, hop)
        middle = activity[(first[:, None] + (num_frames - centre) // 2) + np.arange(centre)]
        pure = (middle == middle[:, :1]).all(1) if len(first) else np.zeros(0, bool)
        parts.append(values)
        starts.append(first[pure] + at)
        labels.append(middle[pure, 0] if len(first) else np.zeros(0, int))
        subjects += [str(row.column("subject_id")[0].as_py())] * int(pure.sum())
        at += len(values)
    names = data.features["activity"].feature.names
    order = np.array([ACTIVITIES.index(n) if n in ACTIVITIES else -1 for n in names])
    found = Recordings(
        np.concatenate(parts),
        np.concatenate(starts),
        order[np.concatenate(labels).astype(int)],
        np.array(subjects),
        num_frames,
        fps,
    )
    unknown = found.labels < 0
    if unknown.any():
        raise ValueError(f"{dataset}: an activity without a description; known: {', '.join(ACTIVITIES)}")
    return found


class RecordingWindows:
    """Training batches of `Recordings`: activities drawn equally often, gyroscopes hidden at random."""

    def __init__(self, recordings: Recordings, hidden: float = 0.2):
        self.recordings, self.hidden = recordings, hidden
        self.texts = [list(DESCRIPTIONS[ACTIVITIES[i]]) for i in recordings.labels]
        self.descriptions = recordings.labels

    def __len__(self) -> int:
        return len(self.recordings)

    def balanced(self, size: int, seed: int) -> np.ndarray:
        """Rows of a batch, each activity as likely as another, each subject of it as likely as another."""
        rng = np.random.default_rng(seed)
        if not hasattr(self, "_groups"):
            key = [(int(l), s) for l, s in zip(self.recordings.labels, self.recordings.subjects)]
            groups: dict = {}
            for i, (label, subject) in enumerate(key):
                groups.setdefault(label, {}).setdefault(subject, []).append(i)
            self._groups = [[np.array(rows) for rows in people.values()] for people in groups.values()]
        picks = []
        for _ in range(size):
            people = self._groups[rng.integers(len(self._groups))]
            rows = people[rng.integers(len(people))]
            picks.append(rows[rng.integers(len(rows))])
        return np.array(picks)

    def batch(self, rows: np.ndarray, seed: int | None) -> dict[str, torch.Tensor]:
        values = torch.from_numpy(self.recordings.windows(rows))
        if seed is not None and self.hidden and values.shape[-1] % 6 == 0:
            lost = torch.rand(len(values), values.shape[-1] // 6, generator=torch.Generator().manual_seed(seed)) < self.hidden
            gyroscope = (torch.arange(values.shape[-1]) % 6 >= 3) & lost.repeat_interleave(6, 1)
            values = values.masked_fill(gyroscope[:, None], torch.nan)
        return {"input_values": values, "attention_mask": torch.ones(values.shape[:2])}


def is_recordings(dataset: str) -> bool:
    """Whether a data set holds IMU recordings, by its columns."""
    return {"activity", "values"} <= set(open_rows(dataset).column_names)
