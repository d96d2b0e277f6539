"""IMU recordings as training windows, and sentences for their activities.

In: recordings (`recording_id`, `subject_id`, `activity` (T,), `values` (T, C), `channel_mask` (C,), `sampling_rate`).
Out: windows (B, num_frames, C), nan where a channel is corrupted, and `DESCRIPTIONS` of their activities.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modeling_gait.training.data import open_rows

# What sensors on feet, shins and thighs notice of each activity of HuGaDB; written before any model was trained on it.
DESCRIPTIONS: dict[str, list[str]] = json.loads(Path(__file__).with_name("activities.json").read_text(encoding="utf-8"))
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
        self.descriptions = self.classes = recordings.labels
        self.people = recordings.subjects

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
