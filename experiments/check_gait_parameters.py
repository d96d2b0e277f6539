"""Gait parameters of a labelled data set against what its labels imply, and their agreement between sensors.

    python -m experiments.check_gait_parameters --dataset PARQUET_FOLDER [--name gait_parameters_gist]

In: a folder of Parquet in the package's schema (datasets_scripts/gist.py), several sensors a walk.
Out: model_cards/results/NAME.json (one row a parameter: class medians, share measured, sensor agreement) and
model_cards/figures/NAME.png. Parameters are computed anew from the joints, on one core.
"""

import argparse
import json
import os
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]

from modeling_gait.evaluation.metrics import bone_length_variation, foot_skate, joint_limit_violations  # noqa: E402
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters  # noqa: E402
from modeling_gait.training.results import write_result  # noqa: E402

PARAMETERS = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)
NAMES = [p.name for p in PARAMETERS]
SHOWN = ("speed", "cadence", "knee_range_right", "stance_asymmetry", "foot_height_right", "trunk_lean_range_sagittal")


def measure(data: datasets.Dataset) -> tuple[pd.DataFrame, float]:
    """One line a file (class, walk, sensor and all parameters), and the milliseconds of processor time a file took."""
    classes = data.features["pathology"].names
    lines, seconds = [], 0.0
    for number, row in enumerate(data.with_format("numpy")):
        joints, fps = row["joints"], float(row["fps"])
        start = time.process_time()
        line = compute_gait_parameters(joints, fps)
        seconds += time.process_time() - start
        line["speed_whole_walk"] = float(joints[-1, 0, 1] - joints[0, 0, 1]) / max(len(joints) - 1, 1) * fps
        if number % 10 == 0:  # what the motion metrics say about measured walks
            line["foot_skate"] = foot_skate(joints, fps)
            line["joint_limit_violations"] = joint_limit_violations(joints)
            line["bone_length_variation"] = bone_length_variation(joints)
        lines.append(
            {"pathology": classes[int(row["pathology"])], "walk": str(row["walk_id"]), "sensor": str(row["sensor"]), **line}
        )
    return pd.DataFrame(lines), 1000 * seconds / len(lines)


def sensor_agreement(table: pd.DataFrame, name: str) -> tuple[float, float]:
    """Pooled standard deviation between the sensors of one walk, and ICC(1,1) (Shrout and Fleiss 1979), of walks seen twice."""
    groups = [g.to_numpy() for _, g in table[["walk", name]].dropna().groupby("walk")[name] if len(g) > 1]
    if len(groups) < 2:
        return float("nan"), float("nan")
    sizes, values = np.array([len(g) for g in groups]), np.concatenate(groups)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (sizes - 1).sum()
    between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups) / (len(groups) - 1)
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(groups) - 1)
    return float(np.sqrt(within)), float((between - within) / (between + (size - 1) * within))


def plausibility(table: pd.DataFrame) -> dict[str, float]:
    """Shares (0 to 1) and ratios that a wrong event detection would spoil."""
    stride = table[["stride_length_left", "stride_length_right"]].mean(axis=1)
    ratio = (stride * table["cadence"] / 120 / table["speed"]).dropna()
    against_walk = (table["cadence"] / table.groupby("walk")["cadence"].transform("median")).dropna()
    double = table[["double_support_percent_left", "double_support_percent_right"]].mean(axis=1).dropna()
    support = table[[f"{k}_support_percent_{s}" for k in ("single", "double") for s in ("left", "right")]].dropna()
    return {
        "stride_times_cadence_over_speed_median": float(ratio.median()),
        "stride_times_cadence_over_speed_within_10_percent": float(((ratio > 0.9) & (ratio < 1.1)).mean()),
        "cadence_within_15_percent_of_the_walk": float(((against_walk > 0.85) & (against_walk < 1.15)).mean()),
        "cadence_doubled_or_halved": float(((against_walk > 1.6) | (against_walk < 0.625)).mean()),
        "double_support_10_to_50_percent": float(double.between(10, 50).mean()),
        "double_support_median_percent_normal": float(double[table.loc[double.index, "pathology"] == "normal"].median()),
        "any_negative_support": float((support < 0).any(axis=1).mean()),
    }


def rows_of(table: pd.DataFrame) -> list[dict]:
    medians = table.groupby("pathology")[NAMES].median()
    rows = []
    for parameter in PARAMETERS:
        deviation, icc = sensor_agreement(table, parameter.name)
        row = {"parameter": parameter.name, "unit": parameter.unit, "measured": float(table[parameter.name].notna().mean())}
        row |= {"sensor_sd": deviation, "sensor_icc": icc, **medians[parameter.name].to_dict()}
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if v == v})
    return rows


def draw(table: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    classes = sorted(table["pathology"].unique(), key=lambda c: (c != "normal", c))
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for axis, name in zip(axes.flat, SHOWN, strict=True):
        values = [table.loc[table["pathology"] == c, name].dropna() for c in classes]
        axis.boxplot(values, showfliers=False, whis=(5, 95), medianprops={"color": "tab:red"})
        axis.set_xticks(range(1, len(classes) + 1), [c.replace("_", "\n") for c in classes], fontsize=7)
        axis.set_title(f"{name.replace('_', ' ')} [{PARAMETERS[NAMES.index(name)].unit}]", fontsize=10)
        axis.grid(axis="y", alpha=0.3)
    figure.suptitle("Gait parameters by class: median, quartiles, 5th to 95th percentile over files")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".tmp.png"), dpi=110)
    plt.close(figure)
    os.replace(path.with_suffix(".tmp.png"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder of Parquet files in the package's schema")
    parser.add_argument("--name", default="gait_parameters_gist", help="name of the result and of the figure")
    arguments = parser.parse_args()
    data = datasets.load_dataset(arguments.dataset, split="train").select_columns(
        ["walk_id", "sensor", "pathology", "fps", "joints"]
    )
    table, milliseconds = measure(data)
    rows = rows_of(table)
    metrics = {"files": len(table), "walks": int(table["walk"].nunique()), "milliseconds_per_file": round(milliseconds, 3)}
    for name in ("speed", "speed_whole_walk", "knee_range_right"):
        metrics |= {f"{name}_{c}": round(float(v), 3) for c, v in table.groupby("pathology")[name].median().items()}
    metrics |= {k: round(v, 4) for k, v in plausibility(table).items()}
    for name in ("foot_skate", "joint_limit_violations", "bone_length_variation"):
        metrics[f"{name}_every_tenth_file"] = round(float(table[name].mean()), 4)
    folder = Path(arguments.dataset).name
    json.dumps([metrics, rows], allow_nan=False)  # ValueError where a number is not finite
    write_result(
        arguments.name,
        folder,
        "medians over files; sensor_sd and sensor_icc over the sensors of one walk; nothing is fitted",
        metrics,
        rows,
        ("python", "numpy", "scipy"),
        command=f"python -m experiments.check_gait_parameters --dataset {folder} --name {arguments.name}",
        seeds=[],
    )
    draw(table, ROOT / "model_cards" / "figures" / f"{arguments.name}.png")
    print(pd.DataFrame(rows).drop(columns="unit").to_string(index=False))
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
