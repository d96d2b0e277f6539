"""BABEL: action labels of AMASS motion capture -> one labelled segment a row, as Parquet shards and a data card.

    python datasets_scripts/babel.py --annotations babel_v1.0_release --data_dir AMASS --output_dir data/babel
    python datasets_scripts/babel.py --annotations babel_v1.0_release --data_dir joint_pos --splits val --output_dir OUT

In: babel_v1.0_release/{train,val}.json (also extra_train, extra_val): sequence id -> babel_sid, feat_p (AMASS path), dur [s],
seq_ann and frame_ann (extra files: lists seq_anns, frame_anns), each with labels of raw_label, proc_label, act_cat, seg_id and,
in frame annotations, start_t and end_t [s]. DATA_DIR holds the motions under the paths of feat_p, either
- AMASS: npz with poses (T, 66 or more; axis-angle of the SMPL joints), trans (T, 3) [m], mocap_framerate, gender; or
- joint positions as BABEL's authors made them: npz with joint_pos (T, 3 K), the first 22 joints SMPL's; frame rates are in
  featp_2_fps.json of the authors' repository, which must lie beside the annotations or in DATA_DIR.
Out: one row a segment of at most `--max_seconds` (5, as BABEL's benchmark cuts them) in the walk schema with 22 joints
(`SMPL_22`) at 30 frames a second, plus `actions`, `label`, `split`, `segment_id`, `start`, `end`, `annotation`.

Punnakkal et al. (2021): BABEL: Bodies, Action and Behavior with English Labels, arXiv 2106.09696,
https://github.com/abhinanda-punnakkal/BABEL; Mahmood et al. (2019): AMASS, https://amass.is.tue.mpg.de. The JSON was checked
against extra_val.json and test.json as published (test.json has no labels); train.json and the motions could not be had here.
Joint positions from AMASS poses use SMPL's mean body as rounded in points.py, not the licensed model and the person's betas:
directions of the bones are the person's, their lengths are not. That joint_pos is z up, as AMASS is, was not verified.
Nothing is unpickled; BABEL's preprocessed features (label .pkl) are refused with what to use instead.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import datasets
import numpy as np

from modeling_gait import schema as common
from modeling_gait.cleaning import canonicalise, floor_height
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.points import from_arrays
from modeling_gait.skeletons import SMPL_22

REPOSITORY = "https://github.com/abhinanda-punnakkal/BABEL"
SPLITS = ("train", "val", "extra_train", "extra_val")
FPS = 30.0
MIN_FRAMES = 8
RENAMED = {"BioMotionLab_NTroje": "BMLrub", "DFaust_67": "DFaust"}  # folders of newer downloads, as in BABEL's loader


# --- annotations -------------------------------------------------------------------------------------------------------------


def read_annotations(folder: Path, split: str) -> list[dict]:
    """The sequences of one split: sid, feat_p, dur, segments (see `segments_of`).

    Raises ValueError naming the file, the sequence and the field that is wrong.
    """
    path = folder / f"{split}.json"
    if not path.is_file():
        pickles = sorted(p.name for p in folder.glob("*.pkl"))[:3]
        hint = f"; {', '.join(pickles)} is pickled, which is not read: use the JSON of babel_v1.0_release" if pickles else ""
        raise ValueError(f"{path}: no such file{hint}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, sequence id -> annotation, got {type(content).__name__}")
    sequences = []
    for sid, entry in content.items():
        try:
            sequences.append(_sequence(sid, entry) | {"split": split})
        except ValueError as error:
            raise ValueError(f"{path}, sequence {sid}: {error}") from error
    return sequences


def _sequence(sid: str, entry: object) -> dict:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {type(entry).__name__}")
    feat_p, dur = entry.get("feat_p"), entry.get("dur")
    if not isinstance(feat_p, str) or not feat_p.endswith(".npz"):
        raise ValueError(f"feat_p is {feat_p!r}, expected the path of an .npz file")
    if Path(feat_p).is_absolute() or ".." in Path(feat_p).parts or len(Path(feat_p).parts) < 3:
        raise ValueError(f"feat_p is {feat_p!r}, expected a relative path .../data set/subject/file.npz")
    if not isinstance(dur, int | float) or isinstance(dur, bool) or not 0 < dur < math.inf:
        raise ValueError(f"dur is {dur!r}, expected seconds")
    return {"sid": str(sid), "feat_p": feat_p, "dur": float(dur), "segments": segments_of(entry, float(dur))}


def segments_of(entry: dict, dur: float) -> list[dict]:
    """Labelled segments: start, end [s], actions, label, segment_id, annotation ("frame" or "sequence").

    Where there are frame annotations, the sequence's are left out, as in BABEL's benchmark. A sequence annotation does not say
    when its actions happen: it is one segment with all of them (the benchmark repeats the sequence for each). Segments without
    act_cat have no row. Raises ValueError naming the field.
    """
    frame = entry.get("frame_anns", entry.get("frame_ann"))
    sequence = entry.get("seq_anns", entry.get("seq_ann"))
    kind, annotations = ("frame", frame) if frame else ("sequence", sequence)
    if annotations is None:
        raise ValueError("neither seq_ann nor frame_ann")
    out = []
    for annotation in annotations if isinstance(annotations, list) else [annotations]:
        labels = annotation.get("labels") if isinstance(annotation, dict) else None
        if not isinstance(labels, list):
            raise ValueError(f"{kind} annotation without a list of labels")
        found = [f for f in (_label(i, label, kind, dur) for i, label in enumerate(labels)) if f]
        if kind == "sequence" and found:
            actions = list(dict.fromkeys(a for f in found for a in f["actions"]))
            found = [found[0] | {"actions": actions, "label": ", ".join(dict.fromkeys(f["label"] for f in found))}]
        out += found
    return out


def _label(i: int, label: object, kind: str, dur: float) -> dict | None:
    """One label as a segment; None where it has no category."""
    actions = label.get("act_cat") if isinstance(label, dict) else 0
    if actions is None or actions == []:
        return None
    if not isinstance(actions, list) or not all(isinstance(a, str) for a in actions):
        raise ValueError(f"label {i}: act_cat is {actions!r}, expected a list of categories or null")
    start, end = (label.get("start_t"), label.get("end_t")) if kind == "frame" else (0.0, dur)
    if not all(isinstance(t, int | float) for t in (start, end)) or not 0 <= start < end:
        raise ValueError(f"label {i}: start_t {start!r} and end_t {end!r}, expected seconds, start before end")
    text = label.get("raw_label") or label.get("proc_label") or ", ".join(actions)
    found = {"start": float(start), "end": min(float(end), dur), "actions": actions, "label": str(text)}
    return found | {"segment_id": str(label.get("seg_id", i)), "annotation": kind}


# --- motions -----------------------------------------------------------------------------------------------------------------


def find_motion(feat_p: str, data_dir: Path) -> Path:
    """The file of a sequence: feat_p under `data_dir`, with or without its first folder, with old or new data set names."""
    parts = Path(feat_p).parts
    tried = [Path(*parts), Path(*parts[1:]), Path(RENAMED.get(parts[-3], parts[-3]), *parts[-2:])]
    for candidate in tried:
        if (data_dir / candidate).is_file():
            return data_dir / candidate
    raise ValueError(f"{data_dir}: holds none of {', '.join(map(str, dict.fromkeys(tried)))}")


def _field(archive: np.lib.npyio.NpzFile, path: Path, name: str) -> np.ndarray:
    try:
        return archive[name]
    except ValueError as error:
        if "pickle" not in str(error) and "Object" not in str(error):
            raise ValueError(f"{path}: field {name!r} cannot be read ({error})") from error
        raise ValueError(
            f"{path}: field {name!r} is a pickled object, which is not read because that runs code; "
            "load it where you trust it and save it as a plain array of numbers"
        ) from error
    except (BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path}: field {name!r} cannot be read ({error})") from error


def read_motion(path: Path, fps: float | None = None) -> tuple[np.ndarray, float, str]:
    """Positions float64 (T, 22, 3) [m], z up; frames a second; gender ("" where not stated).

    `fps`: of a file of joint positions, which states none. Raises ValueError naming the file and field.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        advice = "a pickle is not read, because that runs code; " if "pickle" in str(error) else ""
        raise ValueError(f"{path}: {advice}expected an .npz archive ({error})") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: expected an .npz archive, got a single array")
    with archive:
        if "joint_pos" in archive:
            joints, gender = _field(archive, path, "joint_pos"), ""
            if joints.dtype.kind != "f" or joints.ndim not in (2, 3) or joints[0].size % 3 or joints[0].size < 66:
                raise ValueError(f"{path}: joint_pos {joints.dtype} {joints.shape}, expected (frames, 3 K), at least 22 joints")
            if fps is None:
                raise ValueError(
                    f"{path}: a file of joint positions states no frame rate; featp_2_fps.json of {REPOSITORY} does"
                )
            joints = joints.reshape(len(joints), -1, 3)[:, :22].astype(np.float64)
        else:
            missing = [n for n in ("poses", "trans") if n not in archive]
            rate = next((n for n in ("mocap_framerate", "mocap_frame_rate") if n in archive), None)
            if missing or rate is None:
                wanted = ", ".join([*missing, *([] if rate else ["mocap_framerate"])])
                raise ValueError(f"{path}: fields missing: {wanted}; it has {', '.join(archive.files)}")
            arrays = {name: _field(archive, path, name) for name in ("poses", "trans", rate)}
            if arrays["poses"].dtype.kind == "f" and not np.isfinite(arrays["poses"]).all():
                frame = int(np.argwhere(~np.isfinite(arrays["poses"]))[0][0])
                raise ValueError(f"{path}: frame {frame}: not a finite number")
            found = from_arrays(arrays, SMPL_22, path)
            joints, fps = np.stack([found.points[name] for name in SMPL_22.joint_names], axis=1), found.fps
            try:
                said = _field(archive, path, "gender").item() if "gender" in archive else ""
                gender = (said.decode("ascii", "ignore") if isinstance(said, bytes) else str(said)).lower()
            except ValueError:
                gender = ""
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: frame {int(np.argwhere(~np.isfinite(joints))[0][0])}: not a finite number")
    if not 0 < fps < math.inf:
        raise ValueError(f"{path}: frame rate {fps!r}")
    return joints, fps, gender if gender in ("female", "male") else ""


def resample(joints: np.ndarray, fps: float) -> np.ndarray:
    """(T, J, 3) at `fps` -> (T', J, 3) at FPS, linearly interpolated."""
    at = np.arange(int((len(joints) - 1) / fps * FPS + 1e-6) + 1) * fps / FPS
    before = np.clip(at.astype(int), 0, max(len(joints) - 2, 0))
    weight = (at - before)[:, None, None]
    return joints[before] * (1 - weight) + joints[np.minimum(before + 1, len(joints) - 1)] * weight


# --- rows --------------------------------------------------------------------------------------------------------------------


def make_rows(sequence: dict, data_dir: Path, rates: dict, max_seconds: float) -> list[dict]:
    """Rows of one sequence."""
    if not sequence["segments"]:
        return []
    joints, fps, gender = read_motion(find_motion(sequence["feat_p"], data_dir), rates.get(sequence["feat_p"]))
    joints = resample(joints, fps)
    joints[..., 2] -= floor_height(joints, SMPL_22)
    size, rows = int(max_seconds * FPS), []
    for segment in sequence["segments"]:
        first, last = int(segment["start"] * FPS), min(int(segment["end"] * FPS), len(joints))
        for chunk, begin in enumerate(range(first, last, size)):
            piece = joints[begin : min(begin + size, last)]
            if len(piece) >= MIN_FRAMES:
                rows.append(_row(sequence, segment, piece, begin, chunk, gender))
    return rows


def _row(sequence: dict, segment: dict, piece: np.ndarray, begin: int, chunk: int, gender: str) -> dict:
    turned = canonicalise(piece, SMPL_22)
    turned[..., 2] = piece[..., 2]  # the floor is the whole sequence's: in a jump or on a chair the feet do not rest on it
    parameters = common.NOT_MEASURED
    if "walk" in segment["actions"]:
        measured = compute_gait_parameters(turned, FPS, SMPL_22)
        parameters = json.dumps({k: round(v, 5) if math.isfinite(v) else None for k, v in measured.items()})
    return {
        "subject_id": "/".join(Path(sequence["feat_p"]).parts[-3:-1]),
        "walk_id": sequence["sid"],
        "sensor": "motion capture",
        "pathology": -1,
        "severity": math.nan,
        "attributes": json.dumps({"sex": gender} if gender else {}),
        "fps": FPS,
        "joints": turned,
        "gait_parameters": parameters,
        "captions": [segment["label"]],
        "actions": segment["actions"],
        "label": segment["label"],
        "split": sequence["split"],
        "segment_id": f"{segment['segment_id']}/{chunk}",
        "start": begin / FPS,
        "end": (begin + len(piece)) / FPS,
        "annotation": segment["annotation"],
    }


def features() -> datasets.Features:
    """The walk schema with 22 joints and the columns of the segment."""
    text, real = datasets.Value("string"), datasets.Value("float32")
    extra = {"actions": datasets.Sequence(text), "label": text, "split": text, "segment_id": text}
    return datasets.Features({**common.walk_features(22), **extra, "start": real, "end": real, "annotation": text})


@dataclass
class Report:
    """What was read: rows, sequences, subjects, rows of each action, unlabelled sequences, messages of what was skipped."""

    rows: int = 0
    sequences: int = 0
    unlabelled: int = 0
    subjects: set = field(default_factory=set)
    actions: Counter = field(default_factory=Counter)
    splits: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


def frame_rates(*folders: Path) -> dict[str, float]:
    """featp_2_fps.json (feat_p -> frames a second) of the first folder that has it, else {}."""
    path = next((f / "featp_2_fps.json" for f in folders if (f / "featp_2_fps.json").is_file()), None)
    if path is None:
        return {}
    try:
        return {str(k): float(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected an object, path -> frames a second ({error})") from error


def prepare(
    annotations: Path,
    data_dir: Path,
    output_dir: Path,
    splits: Iterable[str] = ("train", "val"),
    max_seconds: float = 5.0,
    num_proc: int = 2,
    on_error: str = "raise",
) -> Report:
    """JSON and npz files -> Parquet and card. Raises ValueError naming the file, sequence and field that is wrong."""
    if int(max_seconds * FPS) < MIN_FRAMES:
        raise ValueError(f"max_seconds {max_seconds} is too short, at least {MIN_FRAMES / FPS:.2f} are needed")
    common.check_output(Path(output_dir))
    sequences = [s for split in splits for s in read_annotations(Path(annotations), split)]
    rates = frame_rates(Path(annotations), Path(data_dir))
    report = Report(sequences=len(sequences), unlabelled=sum(not s["segments"] for s in sequences))
    make = functools.partial(make_rows, data_dir=Path(data_dir), rates=rates, max_seconds=max_seconds)

    def rows() -> Iterable[dict]:
        for found in common.readable(make, on_error, sequences, num_proc, "sequences", report.skipped):
            for row in found:
                report.subjects.add(row["subject_id"])
                report.actions.update(row["actions"])
                report.splits[row["split"]] += 1
                yield row

    body = functools.partial(card_body, report, max_seconds)
    card = {"pretty_name": "BABEL actions over AMASS", "license": "other"}
    report.rows = common.write_dataset(rows(), Path(output_dir), body, columns=features(), **card)
    return report


def card_body(report: Report, max_seconds: float) -> str:
    """The data card below its metadata."""
    table = "\n".join(f"| {action} | {n} |" for action, n in report.actions.most_common())
    skipped = "".join(f"\n- {message}" for message in report.skipped[:50]) or " none."
    splits = ", ".join(f"{name} {n:,}" for name, n in report.splits.items())
    return common.card_text(
        __file__,
        segments=sum(report.splits.values()),
        splits=splits,
        report=report,
        subjects=len(report.subjects),
        repository=REPOSITORY,
        fps=FPS,
        max_seconds=max_seconds,
        skipped=skipped,
        table=table,
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__)
    parser.add_argument("--annotations", type=Path, required=True, help="folder of train.json, val.json ...")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of AMASS, or of joint positions")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], choices=SPLITS, help="annotation files to read")
    parser.add_argument("--max_seconds", type=float, default=5.0, help="longer segments are cut (default %(default)s)")
    args = parser.parse_args(argv)
    with common.errors_told():
        report = prepare(**vars(args))
    print(f"{report.rows:,} segments in {args.output_dir}, {len(report.skipped)} sequences skipped")


if __name__ == "__main__":
    main()
