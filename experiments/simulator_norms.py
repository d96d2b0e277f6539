"""The simulator against published norms: a picture, numbers, and the time it takes.

    python -m experiments.simulator_norms                  # about a minute on one core

In: nothing (everything is simulated). Out: figures/simulator_norms.png and results/simulator_norms.json in model_cards.
All simulated values are measured on the joint positions by `joint_angles` and `compute_gait_parameters`, between the heel
strikes that `detect_gait_events` finds, as on real walks. The norms stand, with their sources, in gait_norms.py and
simulation/gait_curves.py of the package.
"""

import time

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.runner import rounded, save_figure, write_result
from modeling_gait.gait_events import detect_gait_events
from modeling_gait.gait_norms import NORM_RANGES
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.kinematics import joint_angles
from modeling_gait.simulation import PATHOLOGIES, SimulatedWalks, simulate_walks
from modeling_gait.simulation.gait_curves import NORM_ANGLES

SEED, ADULTS = 0, 200
PLAIN = {"load": "none", "footwear": "trainers"}
LABELS = {"hip_flexion": "Thigh against vertical", "knee_flexion": "Knee flexion", "ankle_dorsiflexion": "Ankle dorsiflexion"}
PERCENT = np.arange(0, 100, 2)
SIGNS = (  # the parameters that show each class, affected side = right
    ("speed", "cadence", "step_length_left", "step_length_right", "step_time_left", "step_time_right")
    + ("single_support_percent_left", "single_support_percent_right", "double_support_percent_left")
    + ("hip_range_left", "hip_range_right", "knee_range_left", "knee_range_right", "ankle_range_left", "ankle_range_right")
    + ("foot_height_left", "foot_height_right", "pelvic_obliquity_range", "trunk_lean_sagittal")
    + ("trunk_lean_range_frontal", "trunk_lean_range_sagittal", "step_width")
)


def cycle_curves(walks: SimulatedWalks, sides: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Angles of `NORM_ANGLES` over every cycle of the sides: name -> (cycles, len(PERCENT)) [deg]."""
    out = {name: [] for name in NORM_ANGLES}
    for joints in walks.joints:
        angles, events = joint_angles(joints), detect_gait_events(joints, walks.fps)
        for side in sides:
            strikes = getattr(events, f"{side}_heel_strikes")
            for a, b in zip(strikes[:-1], strikes[1:]):
                for name, rows in out.items():
                    rows.append(np.interp(a + (b - a) * PERCENT / 100, np.arange(len(joints)), angles[f"{name}_{side}"]))
    return {name: np.array(rows) for name, rows in out.items()}


def parameters(walks: SimulatedWalks) -> dict[str, np.ndarray]:
    """Gait parameters of each walk: name -> (n,)."""
    rows = [compute_gait_parameters(joints, walks.fps) for joints in walks.joints]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def seconds_per_1000_walks() -> tuple[float, float]:
    """Wall-clock and processor time of 1,000 walks of 96 frames of all classes, medians of five."""
    simulate_walks(10)
    wall, processor = [], []
    for seed in range(5):
        start = time.perf_counter(), time.process_time()
        simulate_walks(1000, frames=96, seed=seed)
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return float(np.median(wall)), float(np.median(processor))


def compare_with_norms(walks: SimulatedWalks, curves: dict, found: dict) -> tuple[dict, list[dict]]:
    """Metrics and rows for the healthy adults."""
    metrics, rows = {}, []
    for name, norm in NORM_ANGLES.items():
        mean, deviation = np.array(norm)
        got = curves[name][:, ::5].mean(0)
        metrics[f"{name}_rms_difference_deg"] = float(np.sqrt(np.mean((got - mean) ** 2)))
        metrics[f"{name}_largest_difference_in_sd"] = float(np.abs((got - mean) / deviation).max())
        metrics[f"{name}_correlation"] = float(np.corrcoef(got, mean)[0, 1])
    inside = []
    for sex, ranges in NORM_RANGES.items():
        mine = np.array([a["sex"] == sex for a in walks.attributes])
        for name, (low, high) in ranges.items():
            values = found["stride_length_left" if name == "stride_length" else name][mine]
            inside.append((values >= low) & (values <= high))
            rows.append({"group": f"healthy adults 18-49, {sex}", "parameter": name, "n": int(mine.sum())})
            rows[-1] |= {"mean": float(values.mean()), "sd": float(values.std()), "norm_low": low, "norm_high": high}
            rows[-1]["inside"] = float(inside[-1].mean())
    metrics["inside_95_percent_limits"] = float(np.concatenate(inside).mean())
    for name in (
        "speed",
        "cadence",
        "stride_length_left",
        "double_support_percent_left",
        "step_width",
        "pelvic_obliquity_range",
    ):
        metrics[f"adults_{name}"] = float(np.nanmean(found[name]))
    return metrics, rows


def draw(adults: SimulatedWalks, curves: dict, found: dict, sick: dict, by_speed: list[dict]) -> None:
    """Three rows: healthy joint angles on norms; classes on the affected side; spatiotemporal parameters."""
    figure = Figure(figsize=(13, 11), layout="constrained")
    axes = figure.subplots(3, 3)
    for ax, (name, norm) in zip(axes[0], NORM_ANGLES.items()):
        mean, deviation = np.array(norm)
        ax.errorbar(np.arange(0, 100, 10), mean, deviation, fmt="ko", capsize=3, label="Schwartz et al. 2008, mean and SD")
        m, s = curves[name].mean(0), curves[name].std(0)
        ax.plot(PERCENT, m, "tab:blue", label=f"simulated, {len(adults)} adults")
        ax.fill_between(PERCENT, m - s, m + s, color="tab:blue", alpha=0.25)
        ax.set(title=f"{LABELS[name]}, healthy", xlabel="gait cycle [%]", ylabel="[deg]")
    axes[0, 0].legend(fontsize=8)
    for ax, name in zip(axes[1], NORM_ANGLES):
        for pathology, (lines, _) in sick.items():
            ax.plot(PERCENT, lines[name].mean(0), label=pathology, color="k" if pathology == "normal" else None)
        ax.set(title=f"{LABELS[name]}, affected side, severity 1", xlabel="gait cycle [%]", ylabel="[deg]")
    axes[1, 0].legend(fontsize=7)
    for ax, (name, label) in zip(axes[2], (("cadence", "cadence [steps/min]"), ("stride_length", "stride length [m]"))):
        measured = found["stride_length_left" if name == "stride_length" else name]
        for sex, colour in (("female", "tab:purple"), ("male", "tab:green")):
            mine = np.array([a["sex"] == sex for a in adults.attributes])
            ax.scatter(found["speed"][mine], measured[mine], s=8, color=colour, label=f"simulated, {sex}")
            (x0, x1), (y0, y1) = NORM_RANGES[sex]["speed"], NORM_RANGES[sex][name]
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=colour, label=f"Whittle 95 %, {sex}"))
        ax.set(title="Healthy adults 18-49", xlabel="speed [m/s]", ylabel=label)
        ax.autoscale_view()
    axes[2, 0].legend(fontsize=7)
    ax = axes[2, 2]
    ax.plot([r["speed"] for r in by_speed], [r["double_support_percent_left"] for r in by_speed], "o-", label="simulated")
    ax.axhspan(20, 24, color="k", alpha=0.15, label="Perry & Burnfield, comfortable speed")
    ax.set(title="Double support falls with speed", xlabel="speed [m/s]", ylabel="[% of the cycle]")
    ax.legend(fontsize=8)
    save_figure(figure, "simulator_norms", dpi=80)


def main() -> None:
    ages = np.random.default_rng(SEED).integers(18, 50, ADULTS)
    people = [{**PLAIN, "age": int(a)} for a in ages]
    adults = simulate_walks(ADULTS, frames=150, seed=SEED, pathology="normal", attributes=people)
    curves, found = cycle_curves(adults, ("left", "right")), parameters(adults)
    metrics, rows = compare_with_norms(adults, curves, found)

    sick = {}
    for name in PATHOLOGIES:
        settings = {"pathology": name, "severity": 1.0, "side": "right", "attributes": {**PLAIN, "age": 45}}
        walks = simulate_walks(30, frames=150, seed=SEED, **settings)
        sick[name] = cycle_curves(walks, ("right",)), parameters(walks)
        rows.append({"group": f"{name}, severity {walks.severity[0]:g}", "n": len(walks)})
        rows[-1] |= {k: float(np.nanmean(sick[name][1][k])) for k in SIGNS}
    by_speed = []
    for speed in (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8):
        walks = simulate_walks(20, frames=240, seed=SEED, pathology="normal", speed=speed, attributes={**PLAIN, "age": 35})
        means = {k: float(np.nanmean(v)) for k, v in parameters(walks).items()}
        keys = ("speed", "cadence", "stride_length_left", "double_support_percent_left", "hip_range_left", "knee_range_left")
        by_speed.append({"group": f"asked speed {speed} m/s", "n": len(walks)} | {k: means[k] for k in keys})
    metrics["seconds_per_1000_walks"], metrics["processor_seconds_per_1000_walks"] = seconds_per_1000_walks()

    draw(adults, curves, found, sick, by_speed)
    protocol = (
        f"{ADULTS} healthy adults of 18-49 years, 30 walks a class at severity 1 (right side), 150 frames at 30 "
        "fps, no sensor noise; measured by compute_gait_parameters and joint_angles; norms: see"
        " modeling_gait/simulation/gait_curves.py"
    )
    rows = [rounded(r, 4) for r in rows + by_speed]
    print(write_result("simulator_norms", "simulated", protocol, rounded(metrics, 4), rows, ("python", "numpy", "scipy")))


if __name__ == "__main__":
    main()
