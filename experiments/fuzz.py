"""Good files of all formats, broken at random: does each end in a result or in an error that says what is wrong?

    python -m experiments.fuzz --inputs 10000

One simulated walk of 96 frames in the layouts of `good_files`; each input is one of them after one to three changes: cut, noise
bytes, a piece left out or doubled, numbers replaced (huge, nan, text, another sign or digit), columns exchanged, rows
exchanged or left out, counts raised. It is read by `recording.read_recording`, as the commands and pipelines do, and measured.
Seeds 0 to 3 and 11 to 14 showed what had to be mended; those of the result, 21 to 24, were not looked at before.

- A crash is anything but a result, a ValueError or OSError whose one line names the file, within 30 s.
- Silently wrong is a number of `JUDGED` more than 10 % (and `LEAST`) off the unbroken file's, while no sentence of the
  recording says more than the unbroken one's. `restated` of them are inputs in which the file's only statement of its rate was
  changed (a rate of 30 for one of 50 frames a second): another recording, which nothing in the file contradicts.
Writes model_cards/results/fuzz.json.
"""

import argparse
import json
import multiprocessing
import re
import resource
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from experiments.runner import write_result
from modeling_gait.export import save_walk
from modeling_gait.file_formats import FORMATS
from modeling_gait.kinematics import joint_angles
from modeling_gait.points import BODY_25, MEDIAPIPE_33, joint_name, words
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SMPL_22, convert_joints

JUDGED = ("speed", "cadence", "step_length_left", "step_length_right", "knee_range_left", "knee_range_right", "step_width")
LEAST = {"step_width": 0.03, "speed": 0.05, "step_length_left": 0.03, "step_length_right": 0.03}  # m: 10 % of a width is noise
LEGS = ["pelvis", *(f"{side}_{n}" for side in ("left", "right") for n in ("hip", "knee", "ankle", "foot"))]
SECONDS = 30
BASE_MB = 32  # that any walk may take; beyond it, memory goes with the size of the file


def good_files(folder: Path, frames: int = 96) -> list[Path]:
    """One walk in every format and most layouts that are read."""
    walk = simulate_walks(1, frames=frames, fps=30, seed=3, pathology="normal", speed=1.2)
    joints = np.asarray(walk.joints[0], np.float64)
    paths = [folder / f"walk{suffix}" for suffix in (".csv", ".npz", ".bvh", ".trc", ".c3d")]
    for path in paths:
        save_walk(path, joints.astype(np.float32), 30)
    times, at = np.arange(frames) / 30, {n: joints[:, j] for j, n in enumerate(KINECT_V2.joint_names)}
    smpl = convert_joints(joints, KINECT_V2, SMPL_22)[..., [0, 2, 1]] * [-1, 1, 1]

    def table(name: str, heads: list[str], numbers: np.ndarray, separator: str = ",") -> None:
        lines = [*heads, *(separator.join(f"{v:.6g}" for v in row) for row in numbers)]
        (folder / name).write_text("\n".join(lines) + "\n")
        paths.append(folder / name)

    legs = np.concatenate([at[n] for n in LEGS], axis=1)
    table("bare.txt", [], np.column_stack([times, joints.reshape(frames, -1)]), " ")
    table("legs.csv", ["time," + ",".join(f"{n}_{a}" for n in LEGS for a in "xyz")], np.column_stack([times, legs]))
    heads = ["scorer" + ",net" * 27, ",".join(["bodyparts", *(n for n in LEGS for _ in "xyz")]), "coords" + ",x,y,z" * 9]
    table("deeplabcut.csv", heads, np.column_stack([np.arange(frames), legs]))
    heads = ["Trajectories", "30", ",,A:" + ",,,A:".join(LEGS) + ",,", "Frame,Sub Frame" + ",X,Y,Z" * 9, "," + ",mm" * 27]
    table("vicon.csv", heads, np.column_stack([np.arange(frames), np.zeros(frames), 1000 * legs]))
    heads = [f"NO_OF_FRAMES\t{frames}", "FREQUENCY\t30", "MARKER_NAMES\t" + "\t".join(LEGS)]
    table("qualisys.tsv", heads, 1000 * legs, "\t")
    np.save(folder / "humanml3d.npy", smpl.astype(np.float32))

    def seen(titles: list[str]) -> np.ndarray:
        """(T, K, 3), y down, z forward; what the walk has not is where the head is."""
        names = [joint_name(words(title)) for title in titles]
        return np.stack([at.get(n, at["head"]) for n in names], axis=1)[..., [0, 2, 1]] * [1, -1, 1]

    world = seen(MEDIAPIPE_33)
    (folder / "openpose").mkdir(exist_ok=True)
    for n, frame in enumerate(seen(BODY_25)):
        flat = np.column_stack([frame, np.ones(25)]).round(5).ravel().tolist()
        (folder / "openpose" / f"walk_{n:06d}_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_3d": flat}]}))
    said = [{"world_landmarks": [dict(zip("xyz", p), visibility=1.0) for p in frame.round(5).tolist()]} for frame in world]
    (folder / "mediapipe.json").write_text(json.dumps(said))
    lines = [str(frames)]
    for frame in joints[..., [0, 2, 1]] * [-1, 1, 1]:
        lines += ["1", "72057594037931101 0 1 1 1 1 0 0.02 0.19 2", "25"]
        lines += [" ".join(f"{v:.5f}" for v in p) + " 200 200 900 500 0 0 0 1 2" for p in frame]
    (folder / "ntu.skeleton").write_text("\n".join(lines) + "\n")
    paths += [folder / n for n in ("humanml3d.npy", "mediapipe.json", "ntu.skeleton", "openpose")]
    return paths + _angle_files(folder, times, joints)


def _angle_files(folder: Path, times: np.ndarray, joints: np.ndarray) -> list[Path]:
    """AMASS and MOT of the walk's planar angles, its pelvis as high as the generic body's lower ankle needs it."""
    angles, pelvis = joint_angles(joints), joints[:, KINECT_V2.index("pelvis")]
    hips, knees, ankles = (
        {side[0]: angles[f"{n}_{side}"] for side in ("left", "right")}
        for n in ("hip_flexion", "knee_flexion", "ankle_dorsiflexion")
    )
    list_, poses = angles["pelvic_obliquity"], np.zeros((len(times), 156))
    for side, hip, knee in (("l", 1, 4), ("r", 2, 5)):
        poses[:, 3 * hip], poses[:, 3 * knee] = -np.radians(hips[side]), np.radians(knees[side])
    trans = np.stack([0 * times, pelvis[:, 2] + 0.1, pelvis[:, 1]], axis=1)
    np.savez(folder / "amass.npz", poses=poses, trans=trans, mocap_framerate=30.0)
    columns = {"time": times, "pelvis_tilt": 0 * times, "pelvis_tx": pelvis[:, 1], "pelvis_ty": pelvis[:, 2]}
    columns |= {"pelvis_list": list_} | {f"hip_flexion_{s}": hips[s] for s in "rl"}
    columns |= {f"knee_angle_{s}": knees[s] for s in "rl"} | {f"ankle_angle_{s}": ankles[s] for s in "rl"}
    lines = ["Coordinates", "version=1", f"nRows={len(times)}", f"nColumns={len(columns)}", "inDegrees=yes", "endheader"]
    lines += ["\t".join(columns), *("\t".join(f"{v:.6f}" for v in row) for row in np.stack(list(columns.values()), axis=1))]
    (folder / "opensim.mot").write_text("\n".join(lines) + "\n")
    return [folder / "amass.npz", folder / "opensim.mot"]


# ---------------------------------------------------------------- changes

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_WRONG = (b"1e300", b"-1e9", b"nan", b"inf", b"0", b"1e31", b"999999999999", b"x", b"", b"1_0", b"--1", b"\xff")


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` after one change."""
    return CHANGES[rng.integers(len(CHANGES))](bytearray(data), rng)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    top = min(len(data), 1500) if rng.random() < 0.4 else len(data)  # headers are short, and what matters
    return int(rng.integers(max(1, top)))


def _cut(data, rng):
    return bytes(data[: rng.integers(len(data) + 1)])


def _noise(data, rng):
    for _ in range(rng.integers(1, 12)):
        if data:
            data[_place(data, rng)] = rng.integers(256)
    return bytes(data)


def _leave_out(data, rng):
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 200))]
    return bytes(data)


def _double(data, rng):
    at, many = _place(data, rng), int(rng.integers(1, 3000))
    return bytes(data[: at + many] + data[at:])


def _numbers(data, rng):
    found = [m.span() for m in _NUMBER.finditer(bytes(data))]
    for _ in range(rng.integers(1, 6) if found else 0):
        found = [m.span() for m in _NUMBER.finditer(bytes(data[: 2000 if rng.random() < 0.4 else len(data)]))]
        if found:
            start, end = found[rng.integers(len(found))]
            data[start:end] = _WRONG[rng.integers(len(_WRONG))]
    return bytes(data)


def _digits(data, rng):
    """Other digits in some numbers: 0.91 becomes 0.51."""
    for _ in range(rng.integers(1, 6)):
        at = _place(data, rng)
        if at < len(data) and chr(data[at]).isdigit():
            data[at] = ord("0") + int(rng.integers(10))
    return bytes(data)


def _lines(data: bytearray) -> tuple[list[bytes], bytes]:
    lines = bytes(data).split(b"\n")
    middle = lines[len(lines) // 2]
    return lines, max((b"\t", b",", b" "), key=middle.count)


def _exchange_columns(data, rng):
    lines, separator = _lines(data)
    width = lines[len(lines) // 2].count(separator) + 1
    a, b = rng.integers(width, size=2)
    out = []
    for line in lines:
        cells = line.split(separator)
        if len(cells) == width and (parse := _NUMBER.fullmatch(cells[a].strip() or b"x")) is not None and parse:
            cells[a], cells[b] = cells[b], cells[a]
        out.append(separator.join(cells))
    return b"\n".join(out)


def _rows(data, rng):
    """Rows exchanged, left out or doubled."""
    lines, _ = _lines(data)
    a, b = sorted(rng.integers(len(lines), size=2))
    kind = rng.integers(3)
    if kind == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == 1:
        del lines[a : a + int(rng.integers(1, 20))]
    else:
        lines[a:a] = lines[b : b + int(rng.integers(1, 20))]
    return b"\n".join(lines)


def _counts(data, rng):
    """A count in the head becomes huge: frames, joints, shapes; in binary files 16 and 32 bit integers."""
    head = bytes(data[:1500])
    found = [m.span() for m in re.finditer(rb"\d+", head)]
    if found and rng.random() < 0.7:
        start, end = found[rng.integers(len(found))]
        data[start:end] = str(int(10 ** rng.uniform(3, 12))).encode()
    elif data:
        at = int(rng.integers(min(len(data), 600)))
        data[at : at + 4] = int(rng.integers(2**31)).to_bytes(4, "little")
    return bytes(data)


CHANGES = (_cut, _noise, _leave_out, _double, _numbers, _digits, _exchange_columns, _rows, _counts)


# ---------------------------------------------------------------- one input


class TooSlow(Exception):
    pass


def _alarm(*_):
    raise TooSlow(f"more than {SECONDS} s")


def measure(path: Path) -> tuple[dict[str, float], set[str], float]:
    """Numbers of `JUDGED`, sentences without their numbers, and the frame rate."""
    recording = read_recording(path, fps=30 if path.stem in ("humanml3d", "mediapipe", "deeplabcut", "openpose") else None)
    numbers = {name: recording.gait_parameters[name] for name in JUDGED}
    return numbers, {re.sub(r"[\d.]+", "#", s) for s in recording.sentences()}, recording.fps


def try_input(path: Path, good: tuple) -> tuple[str, str]:
    """("error" | "result" | "doubted" | "silently wrong" | "restated" | "crash", detail) of a changed file."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(SECONDS)
    try:
        numbers, sentences, fps = measure(path)
    except (ValueError, OSError) as error:
        said = str(error)
        return ("error", said) if path.name in said and "\n" not in said else ("crash", f"does not name the file: {said[:300]}")
    except Exception:
        return "crash", traceback.format_exc()[-600:]
    finally:
        signal.alarm(0)
    off = {
        name: (round(value, 3), round(good[0][name], 3))
        for name, value in numbers.items()
        if np.isfinite(value) and abs(value - good[0][name]) > max(0.1 * abs(good[0][name]), LEAST.get(name, 0))
    }
    if not off:
        return "result", ""
    if sentences - good[1]:
        return "doubted", ""
    return ("restated" if abs(fps - good[2]) > 0.05 * good[2] else "silently wrong"), str(off)


def run(folder: Path, inputs: int, seed: int, keep: Path | None = None, frames: int = 96) -> list[dict]:
    """Rows (file, outcome, detail) of `inputs` changed files; what is crash or silently wrong is copied to `keep`."""
    rng = np.random.default_rng(seed)
    rows, files = [], good_files(folder, frames)
    goods = {path: measure(path) for path in files}
    for n in range(inputs):
        path = part = files[rng.integers(len(files))]
        if path.is_dir():  # one of its files
            parts = sorted(path.iterdir())
            part = parts[rng.integers(len(parts))]
        original = part.read_bytes()
        data = original
        for _ in range(rng.integers(1, 4)):
            data = changed(data, rng)
        try:
            part.write_bytes(data)
            outcome, detail = try_input(path, goods[path])
        finally:
            part.write_bytes(original)
        rows.append({"file": path.name, "outcome": outcome, "detail": detail, "seed": seed})
        if keep and outcome in ("crash", "silently wrong", "restated"):
            (keep / f"{outcome.replace(' ', '_')}_{seed}_{n}_{path.name}").write_bytes(data)
            (keep / f"{outcome.replace(' ', '_')}_{seed}_{n}_{path.name}.said").write_text(detail)
    return rows


def memory_factor(folder: Path, frames: int = 10_000) -> float:
    """The most memory beyond `BASE_MB` that reading and measuring a good file of `frames` takes, over the file's size; each in
    a process of its own, so that the peak is that file's."""
    folder.mkdir()
    most = 0.0
    for path in good_files(folder, frames):
        size = sum(p.stat().st_size for p in (path.iterdir() if path.is_dir() else [path]))
        with multiprocessing.get_context("fork").Pool(1) as pool:
            most = max(most, (pool.apply(_peak, (path,)) / 2**20 - BASE_MB) / (size / 2**20))
    return round(most, 1)


def _peak(path: Path) -> int:
    """Bytes by which the peak of the memory of this process grows."""
    before = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measure(path)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24])
    parser.add_argument("--keep", type=Path, help="folder for the inputs that crash or are silently wrong")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for path in good_files(Path(folder)):
            measure(path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = [row for seed in args.seeds for row in run(Path(folder), args.inputs // len(args.seeds), seed, args.keep)]
        largest = max(p.stat().st_size for p in Path(folder).iterdir())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        factor = memory_factor(Path(folder) / "large")
    outcomes = Counter(row["outcome"] for row in rows)
    metrics = {
        "inputs": len(rows),
        "crashes": outcomes["crash"],
        "silently_wrong": outcomes["silently wrong"] + outcomes["restated"],
        "restated": outcomes["restated"],
        "errors": outcomes["error"],
        "right": outcomes["result"],
        "doubted": outcomes["doubted"],
        "more_memory_mb": round(peak / 1024, 1),
        "largest_file_mb": round(largest / 1e6, 2),
        "memory_factor": factor,
        "memory_base_mb": BASE_MB,
    }
    names = sorted({row["file"] for row in rows})
    by_file = {name: Counter(row["outcome"] for row in rows if row["file"] == name) for name in names}
    table = [{"file": name, **counts} for name, counts in by_file.items()]
    suffixes = len({s for f in FORMATS for s in f.suffixes})
    protocol = f"{len(by_file)} files of {suffixes} suffixes, 1 to 3 of {len(CHANGES)} changes; see experiments/fuzz.py"
    write_result("fuzz", "simulated", protocol, metrics, table, ("numpy", "pandas", "scipy", "c3d"), seeds=args.seeds)
    print(metrics)


if __name__ == "__main__":
    main()
