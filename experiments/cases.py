"""Small inputs with known answers: is each read right, or refused with a reason?

    python -m experiments.cases --cases ../shared/cases

In: the folder of cases. Out: model_cards/results/cases.json, a row a case: what was asked, what came out, whether it is right.
A case is right if its numbers are within 2 % (the real one 3 %) and, where something is odd, a sentence says so; or if it is
refused for the reason that it should be.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from experiments.runner import write_result
from modeling_gait.recording import read_recording

WALKER = {
    **{"speed": 1.2, "cadence": 110.0, "step_length_left": 0.655, "step_length_right": 0.655, "stride_length_left": 1.309},
    **{"step_width": 0.12, "foot_height_left": 0.12, "knee_range_left": 71.4},
}
LEAN = {"trunk_lean_sagittal": 1.2}
NULL = dict.fromkeys(("trunk_lean_sagittal", "trunk_lean_range_frontal", "trunk_lean_range_sagittal"))
# case: options of reading; numbers that it must have (None: null); words that must be said; or words of the refusal
CASES: dict[str, tuple[dict, dict | None, str]] = {
    "out_and_back.csv": ({}, WALKER | LEAN, "turns"),
    "openpose_body25_x_y_confidence.npy": ({"fps": 30}, None, "2D keypoints"),
    "cmu_rig_LHipJoint.bvh": ({}, WALKER | {"hip_range_left": 70.9}, ""),
    "root_at_origin_over_hips.bvh": ({}, WALKER, ""),
    "biovision_inches.bvh": ({}, WALKER, "inches"),
    "kinect_camera_pitched_11_degrees.csv": ({}, WALKER | LEAN, "sloped by 11"),
    "legs_exchanged_in_25_frames.csv": ({}, WALKER | LEAN, "exchanged in 25"),
    "treadmill_1.2_mps.csv": ({}, WALKER | LEAN, "treadmill"),
    "walks_backwards.csv": ({}, WALKER | {"foot_progression_angle_left": 0.0} | LEAN, "backwards"),
    "legs_and_head_only_blank_columns.csv": ({}, WALKER | NULL, "not measured: spine"),
    "real_lower_body_markers_150hz.csv": ({"up": "y"}, {"cadence": 110.4, "speed": 1.26} | NULL, "not measured"),
    "timestamp_100ns_ticks.csv": ({}, WALKER | LEAN, "100 ns"),
    "lab_origin_15_m_away.csv": ({}, WALKER | LEAN, ""),
    "kinect_18_joints.csv": ({"fps": 30}, WALKER, ""),
    "header_joint_X_Y_Z.csv": ({"fps": 30}, WALKER, ""),
    "walk_mm_y_up.trc": ({}, WALKER | LEAN, ""),
    "stands_still.csv": ({}, None, "nobody walks in it"),
    "video_camera_follows.mp4": ({}, None, "camera moves"),
}


def run(folder: Path) -> list[dict]:
    """A row for each case of the folder."""
    return [try_case(folder / name, *CASES[name]) for name in CASES]


def try_case(path: Path, options: dict, numbers: dict | None, words: str) -> dict:
    """Read one case: {"case", "got", "right"}."""
    got: dict = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".mp4":
                from modeling_gait.video_crops import prepare_video

                got["frames"] = len(prepare_video(path)[0])
            else:
                walk = read_recording(path, **options)
                got |= {name: walk.gait_parameters[name] for name in numbers or WALKER}
                got["said"] = walk.sentences()
    except ValueError as error:
        refused = str(error).removeprefix(f"{path}: ").replace(str(path), path.name)
        return {"case": path.name, "got": {"refused": refused}, "right": numbers is None and words in refused}
    right = numbers is not None and words in " ".join(got["said"])
    for name, value in (numbers or {}).items():
        close = np.isnan(got[name]) if value is None else abs(got[name] - value) <= max(0.03 * abs(value), 0.05)
        right = right and bool(close)
    plain = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in got.items()}
    return {"case": path.name, "got": plain, "right": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=Path("../shared/cases"))
    rows = run(parser.parse_args().cases)
    metrics = {"cases": len(rows), "cases_right": sum(row["right"] for row in rows)}
    write_result(
        "cases", "cases", "each input read by recording.read_recording, the video by video.prepare_video", metrics, rows
    )
    for row in rows:
        print("right" if row["right"] else "WRONG", row["case"], row["got"].get("refused", row["got"].get("said")))
    print(metrics)


if __name__ == "__main__":
    main()
