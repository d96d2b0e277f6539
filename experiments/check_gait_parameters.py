"""Gait parameters of a labelled data set against what its labels imply, and their agreement between sensors.

    python -m experiments.check_gait_parameters --dataset PARQUET_FOLDER [--name gait_parameters_gist]

In: a folder of Parquet in the package's schema (datasets_scripts/gist.py), several sensors a walk.
Out: model_cards/results/NAME.json (one row a parameter: class medians, share measured, sensor agreement) and
model_cards/figures/NAME.png. Parameters are computed anew from the joints, on one core.
"""

import argparse
import time

import datasets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.runner import rounded, save_figure, write_result
from modeling_gait.evaluation.metrics import bone_length_variation, foot_skate, joint_limit_violations
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters

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
    """A row a parameter: share measured, agreement between sensors, medians of the classes."""
    medians, rows = table.groupby("pathology")[NAMES].median(), []
    for p in PARAMETERS:
        deviation, icc = sensor_agreement(table, p.name)
        row = {"parameter": p.name, "unit": p.unit, "measured": float(table[p.name].notna().mean())}
        rows.append(rounded(row | {"sensor_sd": deviation, "sensor_icc": icc, **medians[p.name].to_dict()}, 4))
    return rows


def draw(table: pd.DataFrame, name: str) -> None:
    """Boxes of six parameters by class: median, quartiles, 5th to 95th percentile over files."""
    classes = sorted(table["pathology"].unique(), key=lambda c: (c != "normal", c))
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    for axis, shown in zip(figure.subplots(2, 3).flat, SHOWN, strict=True):
        values = [table.loc[table["pathology"] == c, shown].dropna() for c in classes]
        axis.boxplot(values, showfliers=False, whis=(5, 95), medianprops={"color": "tab:red"})
        axis.set_xticks(range(1, len(classes) + 1), [c.replace("_", "\n") for c in classes], fontsize=7)
        axis.set_title(f"{shown.replace('_', ' ')} [{PARAMETERS[NAMES.index(shown)].unit}]", fontsize=10)
        axis.grid(axis="y", alpha=0.3)
    save_figure(figure, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder of Parquet files in the package's schema")
    parser.add_argument("--name", default="gait_parameters_gist", help="name of the result and of the figure")
    args = parser.parse_args()
    data = datasets.load_dataset(args.dataset, split="train")
    table, milliseconds = measure(data.select_columns(["walk_id", "sensor", "pathology", "fps", "joints"]))
    metrics = {"files": len(table), "walks": int(table["walk"].nunique()), "milliseconds_per_file": milliseconds}
    for name in ("speed", "speed_whole_walk", "knee_range_right"):
        metrics |= {f"{name}_{c}": v for c, v in table.groupby("pathology")[name].median().items()}
    metrics |= plausibility(table)
    for name in ("foot_skate", "joint_limit_violations", "bone_length_variation"):
        metrics[f"{name}_every_tenth_file"] = table[name].mean()
    protocol = "medians over files; sensor_sd and sensor_icc over the sensors of one walk; nothing is fitted"
    packages = ("python", "numpy", "scipy")
    print(write_result(args.name, args.dataset, protocol, rounded(metrics, 4), rows_of(table), packages, seeds=[]))
    draw(table, args.name)


if __name__ == "__main__":
    main()
