"""How far gait parameters read from a film are off: real walks of gist as a camera and a pose estimator would see them.

    python -m experiments.film_accuracy --dataset data/gist           # three minutes of one core

In: a walk of each person and class (sensor 3) before a camera at its side (within 20 degrees), obliquely (35 to 55 degrees from
the side) and in front or behind, with 0.6 of the errors of `training.filmed` (real films of two people who balance; landmarks
of a woman who walks, in Sports2D's demo, jitter so much less); stature as it is. Out: model_cards/results/film_accuracy.json.
Truth is what is measured of the walk as recorded. Errors of people 1 to 5 (`fitted_...`) gave what `video_walk.ERRORS` states;
`covered` is the share of errors within 1.96 SD as stated, of people 6 to 10.
"""

import argparse
from pathlib import Path

import numpy as np
from pyarrow import parquet
from tqdm import tqdm

from experiments.runner import rounded, write_result
from modeling_gait.recording import Recording, read_recording
from modeling_gait.training.filmed import film_walk, landmarks_of
from modeling_gait.video_walk import accuracy, stature, walk_from_poses

# Of these errors a walk has, by its second differences: ankles 38 mm across the picture, 71 into it (59, 101 measured).
NOISE = 0.6
VIEWS = {"side": (0, 20), "oblique": (35, 55), "front": (70, 90)}  # degrees between the way and the plane of the picture


def filmed(walk: Recording, view: str, rng: np.random.Generator) -> Recording:
    """The walk as read of a film of it."""
    joints = walk.straight()
    azimuth = rng.choice([-90, 90]) + rng.choice([-1, 1]) * rng.uniform(*VIEWS[view])
    distance = rng.uniform(4, 8) + (0 if view == "side" else np.ptp(joints[:, 0, 1]) / 2)
    track = film_walk(joints, walk.fps, azimuth, distance, rng.uniform(0.8, 1.6), rng, NOISE)
    return read_recording(walk_from_poses(track, stature(landmarks_of(joints))))


def seen_from(film: Recording) -> str:
    """The view that `video_walk` takes it for."""
    return "side" if "step_width" in film.unseen else "front" if "speed" in film.unseen else "oblique"


def walks(dataset: Path, each: int = 1):
    """(person, `Recording`) of the first walks of each person and class as sensor 3 saw them."""
    for file in sorted((dataset / "data").glob("*.parquet")):
        for batch in parquet.ParquetFile(file).iter_batches(60, columns=["subject_id", "walk_id", "sensor", "joints", "fps"]):
            names = batch.column("walk_id").to_pylist()
            numbers = [int(n.rstrip("0123456789") and n[len(n.rstrip("0123456789")) :]) for n in names]
            for i, sensor in enumerate(batch.column("sensor").to_pylist()):
                if sensor == "3" and numbers[i] <= each:
                    row = batch.slice(i, 1).to_pylist()[0]
                    yield (
                        row["subject_id"],
                        read_recording({"joints": row["joints"], "fps": row["fps"], "name": row["walk_id"]}),
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", type=Path, required=True)
    dataset, rng = parser.parse_args().dataset, np.random.default_rng(0)
    found: dict[tuple, list] = {}  # view, parameter -> (person, error, value)
    for person, walk in tqdm(walks(dataset), desc="walks"):
        truth = walk.gait_parameters
        for view in VIEWS:
            try:
                film = filmed(walk, view, rng)
                values = film.gait_parameters
            except ValueError:
                continue
            for name, true in truth.items():
                if np.isfinite([true, values[name]]).all():
                    found.setdefault((seen_from(film), name), []).append((int(person), values[name] - true, values[name]))
    write(found, str(dataset))


def write(found: dict[tuple, list], dataset: str) -> None:
    """The result file; found: view, parameter -> (person, error, value) of each film."""
    rows, metrics = [], {}
    for (view, name), each in found.items():
        person, error, value = np.array(each).T
        a, b = person <= 5, person > 5
        row = {"view": view, "parameter": name, "films": len(each), "fitted_sd": float(np.sqrt(np.mean(error[a] ** 2)))}
        row |= {"fitted_bias": float(error[a].mean()), "mean": float(value[a].mean())}
        row["sd"] = float(np.sqrt(np.mean(error[b] ** 2)))
        if name in (known := accuracy(view, 1.7)):
            share, amount = known[name]
            sd = np.hypot(share * value, amount)
            row |= {"stated_sd": float(sd[b].mean()), "covered": float(np.mean(np.abs(error[b]) <= 1.96 * sd[b]))}
        rows.append(row)
    for view in VIEWS:
        covered = [r["covered"] for r in rows if r["view"] == view and "covered" in r]
        metrics |= {f"covered_{view}": float(np.mean(covered)), f"parameters_{view}": len(covered)}
    protocol = " ".join(__doc__.split("\n\n")[-1].split())
    write_result("film_accuracy", dataset, protocol, rounded(metrics), [rounded(r) for r in rows], ("numpy", "scipy"))
    print(metrics)


if __name__ == "__main__":
    main()
