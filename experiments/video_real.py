"""Gait parameters from films of real people against references of others.

    python -m experiments.video_real CLIPS                 # some seconds a clip on two cores; needs the extra `video`

In: a folder with films and `references.json`, a list of {"clip": file, "height": m or null, "person": number or null, "source":
where the reference comes from, and either "reference": {gait parameter: value} or "trc": file of a triangulated person, whose
knees are compared frame by frame where nobody walks}. The films and results of Sports2D and Pose2Sim (both BSD-3) are in their
wheels and repositories. Out: model_cards/results/video_real.json.

cadence_error [steps/min], speed_error [m/s], knee_range_error_deg: means of absolute errors over clips (knees: over sides);
`seconds_per_10_s` is the wall clock of reading all films, for 10 s of film, on this machine as it was,
shared with others; `processor_seconds_per_10_s` is the work of all threads.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from experiments.runner import rounded, write_result
from modeling_gait.kinematics import joint_angles
from modeling_gait.loading import load_walk
from modeling_gait.pose_estimation import estimate_poses
from modeling_gait.recording import read_recording
from modeling_gait.video import VideoReader
from modeling_gait.video_walk import walk_from_poses


def knee_error(walk, reference: Path) -> dict[str, float]:
    """Root mean square error [deg] of both knees' flexion, at the times of the film, and the errors of their ranges."""
    truth = load_walk(reference)
    there = np.arange(len(truth.joints)) / truth.fps
    inside = (walk.times >= there[0]) & (walk.times <= there[-1]) & np.isfinite(walk.joints).any(-1).any(-1)
    found, known = joint_angles(walk.joints[inside], walk.skeleton), joint_angles(truth.joints, truth.skeleton)
    out = {}
    for side in ("left", "right"):
        angle = found[f"knee_flexion_{side}"]
        true = np.interp(walk.times[inside], there, known[f"knee_flexion_{side}"])
        out[f"knee_rms_{side}"] = float(np.sqrt(np.nanmean((angle - true) ** 2)))
    return out


def measure(folder: Path, row: dict) -> dict:
    """One clip: what is measured beside its reference, errors, seconds of film and of work, what is doubted."""
    start, work = time.perf_counter(), time.process_time()
    out = {k: row.get(k) for k in ("clip", "person", "height", "source")}

    def taken() -> dict[str, float]:
        return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - work}

    try:
        track = estimate_poses(folder / row["clip"], row.get("person"), progress=False)
        walk = walk_from_poses(track, row.get("height"))
        out["film_seconds"] = len(VideoReader(folder / row["clip"], 30.0)) / 30
        if "trc" in row:
            return out | knee_error(walk, folder / row["trc"]) | taken()
        recording = read_recording(walk)
    except ValueError as error:
        return out | {"refused": str(error).replace(f"{folder}/", ""), **taken()}
    values = recording.gait_parameters
    out |= taken() | {"doubts": recording.sentences()}
    for name, true in row["reference"].items():
        out |= {name: values[name], f"{name}_reference": true, f"{name}_error": values[name] - true}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path)
    folder = parser.parse_args().clips
    table = json.loads((folder / "references.json").read_text(encoding="utf-8"))
    rows = [measure(folder, row) for row in table]

    def mean(*names: str) -> float | None:
        errors = [abs(r[f"{n}_error"]) for r in rows for n in names if np.isfinite(r.get(f"{n}_error", np.nan))]
        return float(np.mean(errors)) if errors else None

    done = [r for r in rows if "film_seconds" in r]
    metrics = {
        "cadence_error": mean("cadence"),
        "speed_error": mean("speed"),
        "knee_range_error_deg": mean("knee_range_left", "knee_range_right"),
        "hip_range_error_deg": mean("hip_range_left", "hip_range_right"),
        "step_time_error": mean("step_time_left", "step_time_right"),
        "clips": sum("doubts" in r for r in rows),
        "seconds_per_10_s": 10 * sum(r["seconds"] for r in done) / sum(r["film_seconds"] for r in done),
        "processor_seconds_per_10_s": 10 * sum(r["processor_seconds"] for r in done) / sum(r["film_seconds"] for r in done),
    }
    knees = [r[k] for r in rows for k in ("knee_rms_left", "knee_rms_right") if k in r]
    if knees:
        metrics |= {"knee_rms_deg_no_walk": float(np.mean(knees)), "clips_no_walk": len(knees) // 2}
    metrics = {k: v for k, v in metrics.items() if v is not None}
    protocol = " ".join(__doc__.split("\n\n")[-1].split())
    packages = ("mediapipe", "av", "numpy", "scipy")
    write_result("video_real", "films of real people", protocol, rounded(metrics), [rounded(r) for r in rows], packages)
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
