"""DenseGait: 18-joint pose tracklets with 42 appearance attributes -> Parquet shards and a data card.

    python datasets_scripts/densegait.py --data_dir DENSEGAIT --output_dir data/densegait
    python datasets_scripts/densegait.py --data_dir DENSEGAIT --fps 24 --on_error skip --output_dir OUT

In: DENSEGAIT/data-2.02/annotations.csv (or annotations.csv itself in the folder): `file_name`, `track_id` and 42 columns of
attribute probabilities, a row a tracklet; `file_name` is an .npy array (T, 18, 3): x, y (image, y down) and score of a joint.
Out: one row a tracklet in the walk schema with 18 joints (`OPENPOSE_18`), plus `confidence` (T, 18); attributes as words.

Cosma, Radoi (2022): Learning Gait Representations with Noisy Multi-Task Learning. Sensors 22:6803. The format is read off their
code, https://github.com/cosmaadrian/gaitformer (datasets/uwg_dense.py, uwg_features.py, models/utils/graph.py); the data are
given on request only and were not seen here. Not verified: that the third channel is a score (their augmentation leaves it
alone; negative values are refused), the frame rate (no file states it; `--fps` is an assumption that the card repeats), and
what `file_name` is relative to (both folders are tried). Arrays are read without unpickling; a pickle is refused with advice.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import yaml

from modeling_gait import schema as common
from modeling_gait.cleaning import bridged, floor_height
from modeling_gait.skeletons import OPENPOSE_18

REPOSITORY = "https://github.com/cosmaadrian/gaitformer"
FPS = 24.0
MIN_FRAMES = 8

ATTRIBUTES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
EXCLUSIVE = ("body", "viewpoint", "age_group")  # at most one word each


def read_annotations(data_dir: Path) -> tuple[Path, pd.DataFrame]:
    """annotations.csv and its rows. Raises ValueError naming the file, column or row that is wrong."""
    candidates = [data_dir / "annotations.csv", data_dir / "data-2.02" / "annotations.csv"]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        pickles = sorted(p.name for p in data_dir.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".joblib"))[:3]
        hint = f"; {', '.join(pickles)} would have to be unpickled, which runs code: convert to CSV and .npy" if pickles else ""
        raise ValueError(f"{data_dir}: no annotations.csv (nor data-2.02/annotations.csv){hint}")
    try:
        table = pd.read_csv(path, dtype={"file_name": str, "track_id": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from error
    missing = [name for name in ("file_name", "track_id", *ATTRIBUTES) if name not in table]
    if missing:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}; expected file_name, track_id and 42 attributes")
    for name in ("file_name", "track_id"):
        if table[name].isna().any():
            raise ValueError(f"{path}, line {int(table[name].isna().argmax()) + 2}: {name} is empty")
    for name in ATTRIBUTES:
        values = pd.to_numeric(table[name], errors="coerce")
        bad = ~values.between(0, 1)
        if bad.any():
            at = int(bad.argmax())
            raise ValueError(f"{path}, line {at + 2}: {name} is {str(table[name][at])!r}, expected a probability from 0 to 1")
        table[name] = values
    return path, table


def attribute_words(scores: dict[str, float]) -> dict[str, str]:
    """Probabilities of the 42 columns -> attribute -> word, several words joined by ", ".

    A probability of at least 0.5 counts (the authors' evaluation rounds, too); of exclusive words the likeliest. The sex is
    always given: female from 0.5.
    """
    out: dict[str, list[str]] = {"sex": ["female" if scores["Female"] >= 0.5 else "male"]}
    for name, (key, word) in sorted(ATTRIBUTES.items(), key=lambda item: -scores[item[0]]):
        if name != "Female" and word and scores[name] >= 0.5 and not (key in EXCLUSIVE and key in out):
            out.setdefault(key, []).append(word)
    if "load" not in out and scores["No carrying"] >= 0.5:
        out["load"] = ["none"]
    return {key: ", ".join(words) for key, words in out.items()}


def read_tracklet(path: Path) -> np.ndarray:
    """float64 (T, 18, 3): x, y, score; two channels get score 1. Raises ValueError naming the file and what is wrong."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{path}: holds pickled objects, which are not read because that runs code; "
                "save it as a plain array (T, 18, 3) with numpy.save(..., allow_pickle=False)"
            ) from error
        raise ValueError(f"{path}: not an .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected an .npy array of numbers, got {getattr(array, 'dtype', type(array).__name__)}")
    if array.ndim != 3 or array.shape[1] != 18 or array.shape[2] not in (2, 3):
        raise ValueError(f"{path}: shape {array.shape}, expected (frames, 18, 3): x, y, score")
    if len(array) < MIN_FRAMES:
        raise ValueError(f"{path}: {len(array)} frames, at least {MIN_FRAMES} are needed")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        frame, joint, _ = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{path}: frame {frame}, joint {OPENPOSE_18.joint_names[joint]}: not a finite number")
    if array.shape[2] == 3 and array[..., 2].min() < 0:
        raise ValueError(f"{path}: the third channel has negative values, expected the pose estimator's score (0: not found)")
    return array if array.shape[2] == 3 else np.concatenate((array, np.ones((*array.shape[:2], 1))), axis=2)


def to_joints(tracklet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image coordinates -> joints float32 (T, 18, 3) (x right, y = 0, z up) and confidence float32 (T, 18).

    The image plane becomes the x-z plane: depth is unknown. Sizes are scaled so that the median neck-to-hips distance is that
    of `OPENPOSE_18`'s rest pose (0.57 m), so "metres" are a body's own; walking towards the camera still changes them.
    A joint that was not found (score 0) is interpolated over time; one that was never found lies on its parent.
    """
    found = tracklet[..., 2] > 0
    neck = OPENPOSE_18.root
    if not found[:, neck].any():
        raise ValueError("the neck was found in no frame")
    flat = bridged(np.where(found[..., None], tracklet[..., :2], np.nan))
    for j in OPENPOSE_18.order:
        if not found[:, j].any():
            flat[:, j] = flat[:, OPENPOSE_18.parents[j]]
    hips = [OPENPOSE_18.index("left_hip"), OPENPOSE_18.index("right_hip")]
    trunk = float(np.median(np.linalg.norm(flat[:, neck] - flat[:, hips].mean(1), axis=1)))
    if trunk < 1e-9:
        raise ValueError("neck and hips lie on one point")
    rest = OPENPOSE_18.rest_positions
    scale = np.linalg.norm(rest[neck] - rest[hips].mean(0)) / trunk
    joints = np.zeros((*found.shape, 3))
    joints[..., 0] = (flat[..., 0] - flat[0, hips, 0].mean()) * scale
    joints[..., 2] = -flat[..., 1] * scale
    joints[..., 2] -= floor_height(joints, OPENPOSE_18)
    return joints.astype(np.float32), np.where(found, tracklet[..., 2], 0).astype(np.float32)


def make_row(record: dict, folders: list[Path], fps: float) -> dict:
    """One row."""
    name = Path(record["file_name"])
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"file_name {str(name)!r} leaves the data folder")
    path = next((f / name for f in folders if (f / name).is_file()), folders[0] / name)
    try:
        joints, confidence = to_joints(read_tracklet(path))
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    scores = {column: float(record[column]) for column in ATTRIBUTES}
    words = attribute_words(scores)
    return {
        "subject_id": record["track_id"],
        "walk_id": str(name.with_suffix("")),
        "sensor": "pose estimation",
        "pathology": -1,
        "severity": math.nan,
        "attributes": json.dumps(words | {"scores": {k: round(v, 4) for k, v in scores.items()}}, sort_keys=True),
        "fps": fps,
        "joints": joints,
        "gait_parameters": common.NOT_MEASURED,
        "captions": [", ".join(w for key, w in words.items() if w != "none")],
        "confidence": confidence,
    }


def features() -> datasets.Features:
    """The walk schema with 18 joints and `confidence`."""
    return datasets.Features({**common.walk_features(18), "confidence": datasets.Array2D((None, 18), "float32")})


@dataclass
class Report:
    """What was read: rows, tracks, words of each attribute, messages of what was skipped."""

    rows: int = 0
    tracks: set = field(default_factory=set)
    words: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


def prepare(data_dir: Path, output_dir: Path, fps: float = FPS, num_proc: int = 2, on_error: str = "raise") -> Report:
    """annotations.csv and .npy files -> Parquet and card. Raises ValueError naming the file, line or field that is wrong."""
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    common.check_output(Path(output_dir))
    path, table = read_annotations(Path(data_dir))
    folders = list(dict.fromkeys((Path(data_dir), path.parent, path.parent.parent)))
    make = functools.partial(make_row, folders=folders, fps=fps)
    report = Report()

    def rows() -> Iterable[dict]:
        for row in common.readable(make, on_error, table.to_dict("records"), num_proc, "tracklets", report.skipped):
            report.tracks.add(row["subject_id"])
            words = json.loads(row["attributes"])
            report.words.update((k, w) for k, v in words.items() if k != "scores" for w in v.split(", "))
            yield row

    body = functools.partial(card_body, report, fps)
    card = {"pretty_name": "DenseGait tracklets", "license": "other"}
    report.rows = common.write_dataset(rows(), Path(output_dir), body, columns=features(), **card)
    return report


def card_body(report: Report, fps: float) -> str:
    """The data card below its metadata."""
    total = sum(n for (key, _), n in report.words.items() if key == "sex")
    table = "\n".join(f"| {key} | {word} | {n} |" for (key, word), n in sorted(report.words.items()))
    skipped = "".join(f"\n- {message}" for message in report.skipped[:50]) or " none."
    return common.card_text(
        __file__, total=total, tracks=len(report.tracks), repository=REPOSITORY, fps=fps, skipped=skipped, table=table
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder that holds data-2.02/annotations.csv")
    parser.add_argument("--fps", type=float, default=FPS, help="frames a second, an assumption (default %(default)s)")
    args = parser.parse_args(argv)
    with common.errors_told():
        report = prepare(**vars(args))
    print(f"{report.rows:,} tracklets in {args.output_dir}, {len(report.skipped)} skipped")


if __name__ == "__main__":
    main()
