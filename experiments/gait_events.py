"""Gait events against annotated and simulated contacts, beside other detectors.

    python -m experiments.gait_events RECORDINGS [--rivals] [--name gait_events]

In: a folder of C3D files with heel strikes and toe offs in their EVENT group (or two plates of a split-belt treadmill) and of
gaitkit's example JSON files. Needs ezc3d; `--rivals` needs gaitkit, whose detectors then run on the same frames.
Out: model_cards/results/NAME.json. Every recording weighs the same: bias is the mean of the recordings' mean errors (found less
true, ms), SD the root of their mean squared distance from it. The shares of the walking speed are chosen for each recording on
all others (least bias squared plus SD squared); the rows say what the package's constants give.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from experiments.runner import write_result
from modeling_gait import gait_events
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2

KINDS = {"heel_strike": "heel_strikes", "toe_off": "toe_offs"}
MARKERS = {  # of several laboratories; {} is L or R
    "ankle": ("{}.Ankle", "{}LML", "{}ANK"),
    "heel": ("{}.Heel", "{}CAL", "{}HEE"),
    "foot": ("{}.MT1", "{}5TH", "{}TOE"),
    "knee": ("{}.Knee", "{}LEP", "{}KNE"),
    "hip": ("{}.GTR", "{}GTR", "{}FEP"),
}
PELVIS = ("L.ASIS", "R.ASIS", "L.PSIS", "R.PSIS", "LASI", "RASI", "LPSI", "RPSI", "SACR")
# A right toe off stands in the middle of right stance, and left ones where the toes are at their highest.
CONTRADICTORY = ("example_healthy",)
GRID = {
    "HEEL_STRIKE": np.arange(0.3, 0.81, 0.05),
    "TOE_OFF": np.arange(0.65, 1.16, 0.05),
    "ANKLE_OFF": np.arange(0.85, 1.36, 0.05),
}
CUTOFFS = (3.0, 4.0, 5.0, 6.0)


# --- recordings: {"name", "fps", "tracks": name -> (T, 3) [m], "truth": "left_heel_strikes" ... -> frames} --------------------


def read(path: Path) -> dict | None:
    """One recording, in the package's axes; None without events."""
    case = _read_json(path) if path.suffix == ".json" else _read_c3d(path)
    if not any(map(len, case["truth"].values())):
        return None
    tracks = case["tracks"]
    feet = [(tracks[f"{s}_foot"] - tracks[f"{s}_ankle"]) for s in gait_events.SIDES]
    upward = np.nanmean(tracks["pelvis"] - (tracks["left_ankle"] + tracks["right_ankle"]) / 2, axis=0)
    up = np.eye(3)[np.argmax(np.abs(upward))] * np.sign(upward[np.argmax(np.abs(upward))])
    whole = tracks["pelvis"][np.isfinite(tracks["pelvis"]).all(axis=1)]
    forward = whole[-1] - whole[0] if np.linalg.norm(whole[-1] - whole[0]) > 1 else np.nanmean(feet, axis=(0, 1))
    forward = forward - up * (forward @ up)
    forward /= np.linalg.norm(forward)
    turn = np.stack([np.cross(forward, up), forward, up], axis=1)
    case["tracks"] = {name: track @ turn for name, track in tracks.items()}
    known = np.flatnonzero(
        np.all([np.isfinite(tracks[n]).all(axis=1) for n in ("pelvis", "left_ankle", "right_ankle")], axis=0)
    )
    case["asked"] = known[0], known[-1]
    return case


def _truth() -> dict[str, list]:
    return {f"{s}_{kind}": [] for s in gait_events.SIDES for kind in KINDS.values()}


def _read_json(path: Path) -> dict:
    content = json.loads(path.read_text())
    frames = content["angle_frames"]
    tracks = {}
    for name in frames[0]["landmark_positions"]:
        track = np.array([f["landmark_positions"][name] for f in frames], float) / 1000
        tracks[name.replace("toe", "foot")] = np.where((track == 0).all(axis=1, keepdims=True), np.nan, track)
    tracks["pelvis"] = (tracks["left_hip"] + tracks["right_hip"]) / 2
    truth = _truth()
    for key, kind in (("hs_frames", "heel_strikes"), ("to_frames", "toe_offs")):
        for side, found in (content["ground_truth"].get(key) or {}).items():
            truth[f"{side}_{kind}"] = found
    return {
        "name": path.stem,
        "fps": float(content["fps"]),
        "tracks": tracks,
        "truth": {k: np.sort(v) for k, v in truth.items()},
    }


def _read_c3d(path: Path) -> dict:
    import ezc3d

    file = ezc3d.c3d(str(path))
    parameters, points = file["parameters"], file["data"]["points"][:3] / 1000
    points = np.where((points == 0).all(axis=0), np.nan, points)
    fps = float(parameters["POINT"]["RATE"]["value"][0])
    labels = [label.strip() for label in parameters["POINT"]["LABELS"]["value"]]
    track = {label: points[:, i].T for i, label in enumerate(labels)}
    tracks = {}
    for joint, names in MARKERS.items():
        for side in gait_events.SIDES:
            found = [n for n in (name.format(side[0].upper()) for name in names) if n in track]
            if found:
                tracks[f"{side}_{joint}"] = track[found[0]]
    for side, outer in (("left", "L.MT5"), ("right", "R.MT5")):
        if outer in track:
            tracks[f"{side}_foot"] = (tracks[f"{side}_foot"] + track[outer]) / 2
    tracks["pelvis"] = np.mean([track[n] for n in PELVIS if n in track], axis=0)
    truth = _truth()
    events = parameters.get("EVENT", {})
    if "TIMES" in events:
        minutes, seconds = np.array(events["TIMES"]["value"])
        texts = events["LABELS"]["value"]
        sides = events["CONTEXTS"]["value"] if "CONTEXTS" in events else [""] * len(texts)
        first = file["header"]["points"]["first_frame"]
        for text, side, time in zip(texts, sides, 60 * minutes + seconds):
            code = {"Foot Strike": "HS", "Foot Off": "TO"}.get(text.strip(), text.strip() or side.strip())
            if len(code) == 2:
                code = side.strip()[:1] + code
            if code in ("LHS", "RHS", "LTO", "RTO"):
                kind = "heel_strikes" if code.endswith("HS") else "toe_offs"
                truth[f"{'left' if code[0] == 'L' else 'right'}_{kind}"].append(time * fps - first)
    elif parameters.get("FORCE_PLATFORM", {}).get("USED", {}).get("value", [0])[0] == 2:
        _treadmill(path, tracks, fps, truth)
    return {"name": path.stem, "fps": fps, "tracks": tracks, "truth": {k: np.sort(v) for k, v in truth.items()}}


def _treadmill(path: Path, tracks: dict, fps: float, truth: dict) -> None:
    """Contacts of a split-belt treadmill: a plate carries over 20 N for 0.2 s or more; not those that two feet share."""
    import ezc3d

    file = ezc3d.c3d(str(path), extract_forceplat_data=True)
    rate = file["parameters"]["ANALOG"]["RATE"]["value"][0] / fps
    contacts = []
    for plate in file["data"]["platform"]:
        force = np.nan_to_num(plate["force"][2])
        force *= np.sign(force[np.abs(force).argmax()])
        force -= np.percentile(force, 5)  # the plate's drift, told while nobody stands on it
        edges = np.flatnonzero(np.diff(np.concatenate(([False], force > 20, [False])))).reshape(-1, 2)
        middle = plate["corners"].mean(axis=1)[:2] / 1000
        contacts += [(a / rate, b / rate, force[a:b].max(), middle) for a, b in edges if b - a > 0.2 * fps * rate and a > 0]
    usual = np.median([peak for _, _, peak, _ in contacts])
    for start, end, peak, middle in contacts:
        at = int((start + end) / 2)
        if peak < 1.3 * usual and at < len(tracks["pelvis"]) and end < len(tracks["pelvis"]):
            side = min(gait_events.SIDES, key=lambda s: np.linalg.norm(tracks[f"{s}_ankle"][at, :2] - middle))
            truth[f"{side}_heel_strikes"].append(start)
            truth[f"{side}_toe_offs"].append(end)


def simulated(pathology: str, fps: float, noise: float, number: int = 40, speed=None) -> list[dict]:
    """Walks of 6 s of the simulator with their planned contacts."""
    walks = simulate_walks(number, frames=int(6 * fps), fps=fps, seed=1, pathology=pathology, noise=noise, speed=speed)
    out = []
    for joints, phase, stance in zip(walks.joints, walks.phase, walks.stance):
        truth = _truth()
        for number, side in enumerate(gait_events.SIDES):
            way = np.unwrap(phase[number] * 2 * np.pi) / (2 * np.pi)
            for kind, at in (("heel_strikes", 0.0), ("toe_offs", stance[number])):
                whole = np.arange(np.ceil(way[0] - at), np.floor(way[-1] - at) + 1) + at
                truth[f"{side}_{kind}"] = np.interp(whole, way, np.arange(len(way)))
        names = ("hip", "knee", "ankle", "foot")
        tracks = {f"{s}_{n}": joints[:, KINECT_V2.index(f"{s}_{n}")] for s in gait_events.SIDES for n in names}
        out.append({"name": pathology, "fps": fps, "tracks": {**tracks, "pelvis": joints[:, 0]}, "truth": truth})
    return out


def depth_camera(case: dict, seed: int, fps: float = 30.0, noise: float = 0.004) -> dict:
    """The recording at 30 fps with noise as of the simulator's sensor: half white, half drift, 2.5 times that at the feet."""
    rng, old = np.random.default_rng(seed), np.arange(len(case["tracks"]["pelvis"]))
    new = np.arange(0, len(old) - 1, case["fps"] / fps)
    tracks = {}
    for name, track in case["tracks"].items():
        track = np.stack([np.interp(new, old, track[:, i]) for i in range(3)], axis=1)
        drift = gaussian_filter1d(rng.standard_normal(track.shape), fps / 4, axis=0) * np.sqrt(2 * np.sqrt(np.pi) * fps / 4)
        level = noise * np.sqrt(0.5) * (2.5 if name.endswith(("ankle", "foot", "heel")) else 1)
        tracks[name] = track + level * (drift + rng.standard_normal(track.shape))
    scaled = {"fps": fps, "asked": [v * fps / case["fps"] for v in case["asked"]]}
    return {**case, **scaled, "tracks": tracks, "truth": {k: v * fps / case["fps"] for k, v in case["truth"].items()}}


# --- detectors: case -> events as in "truth" ----------------------------------------------------------------------------------


def ours(case: dict, toes: bool = True) -> dict[str, np.ndarray]:
    joints = np.full((len(case["tracks"]["pelvis"]), len(KINECT_V2), 3), np.nan)
    for name, track in case["tracks"].items():
        if KINECT_V2.has(name) and (toes or not name.endswith("foot")):
            joints[:, KINECT_V2.index(name)] = track
    return vars(gait_events.detect_gait_events(joints, case["fps"]))


def gaitkit_detector(method: str):
    import gaitkit

    def run(case: dict) -> dict[str, np.ndarray]:
        found = gaitkit.detect(
            {"angle_frames": _angle_frames(case), "fps": case["fps"]}, method=method, auto_install_deps=False
        )
        short = {"heel_strikes": "hs", "toe_offs": "to"}
        return {key: np.array([e["frame"] for e in getattr(found, f"{key.split('_')[0]}_{short[key.split('_', 1)[1]]}")], float)
                for key in _truth()}  # fmt: skip

    return run


def _angle_frames(case: dict) -> list[dict]:
    """The recording as gaitkit takes it: landmarks [mm], zeros where missing, sagittal angles of hip, knee, ankle [deg]."""
    tracks = {k.replace("foot", "toe"): np.nan_to_num(v) * 1000 for k, v in case["tracks"].items()}
    nothing = np.zeros_like(tracks["pelvis"])
    for side in gait_events.SIDES:
        tracks |= {f"{side}_{n}": tracks.get(f"{side}_{n}", nothing) for n in ("hip", "knee", "heel", "shoulder")}

    def angle(a, b, c):
        u, v = a - b, c - b
        return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(axis=1)))

    angles = {"trunk_angle": nothing[:, 0], "pelvis_tilt": nothing[:, 0]}
    for s in gait_events.SIDES:
        hip, knee, ankle, toe = (tracks[f"{s}_{n}"] for n in ("hip", "knee", "ankle", "toe"))
        angles[f"{s}_knee_angle"] = 180 - angle(hip, knee, ankle)
        angles[f"{s}_ankle_angle"] = angle(knee, ankle, toe) - 90
        angles[f"{s}_hip_angle"] = np.degrees(np.arctan2((knee - hip)[:, 1], (hip - knee)[:, 2]))
    return [
        {"frame_index": i, "is_valid": 1, "landmark_positions": {k: v[i].tolist() for k, v in tracks.items()}}
        | {k: float(v[i]) for k, v in angles.items()}
        for i in range(len(nothing))
    ]


# --- errors -------------------------------------------------------------------------------------------------------------------


def errors(case: dict, found: dict, kind: str, within: float = 0.25, edge: float = 0.15) -> tuple[np.ndarray, int]:
    """Errors [ms] of the events found nearest to true ones, one to one, at most `within` s apart; and how many were missed.

    True events within `edge` s of the ends of what was measured are not asked for.
    """
    fps, out, missed = case["fps"], [], 0
    first, last = case.get("asked", (0, len(case["tracks"]["pelvis"]) - 1))
    for side in gait_events.SIDES:
        true = case["truth"][f"{side}_{KINDS[kind]}"]
        true = true[(true > first + edge * fps) & (true < last - edge * fps)]
        apart = np.asarray(found[f"{side}_{KINDS[kind]}"], float)[:, None] - true
        while apart.size and np.abs(apart).min() <= within * fps:
            i, j = np.unravel_index(np.abs(apart).argmin(), apart.shape)
            out.append(1000 * apart[i, j] / fps)
            apart = np.delete(np.delete(apart, i, 0), j, 1)
        missed += apart.shape[1]
    return np.array(out), missed


def pooled(parts: list[tuple[np.ndarray, int]]) -> dict[str, float]:
    """Bias and SD [ms] with equal weight of every recording, the events compared and the share of those that were missed."""
    with_errors = [e for e, _ in parts if len(e)]
    bias = float(np.mean([e.mean() for e in with_errors])) if with_errors else float("nan")
    sd = float(np.sqrt(np.mean([np.mean((e - bias) ** 2) for e in with_errors]))) if with_errors else float("nan")
    events, missed = sum(len(e) for e in with_errors), sum(m for _, m in parts)
    return {
        "bias_ms": round(bias, 2),
        "sd_ms": round(sd, 2),
        "events": events,
        "missed": round(missed / max(events + missed, 1), 4),
    }


def measure(cases: list[dict], detector) -> dict[str, dict]:
    found = []
    for case in cases:
        try:
            found.append(detector(case))
        except (ValueError, IndexError, KeyError, RuntimeError, ImportError):
            found.append({key: [] for key in _truth()})
    return {kind: pooled([errors(c, f, kind) for c, f in zip(cases, found)]) for kind in KINDS}


def left_out(cases: list[dict], constant: str, kind: str, toes: bool) -> tuple[dict, list]:
    """Errors of every recording with the share and cutoff that are best on all others, and what was chosen how often."""
    before = getattr(gait_events, constant), gait_events._CUTOFF_HZ
    table = {}
    for cutoff in CUTOFFS:
        for share in GRID[constant]:
            setattr(gait_events, constant, float(share))
            gait_events._CUTOFF_HZ = cutoff
            table[cutoff, round(float(share), 2)] = [errors(c, ours(c, toes), kind) for c in cases]
    setattr(gait_events, constant, before[0])
    gait_events._CUTOFF_HZ = before[1]

    def loss(setting, without):
        result = pooled([part for i, part in enumerate(table[setting]) if i != without])
        return result["bias_ms"] ** 2 + result["sd_ms"] ** 2

    chosen = [min(table, key=lambda s: loss(s, i)) for i in range(len(cases))]
    kinds = sorted({c: chosen.count(c) for c in chosen}.items(), key=lambda item: -item[1])
    return pooled([table[c][i] for i, c in enumerate(chosen)]), [
        {"cutoff_hz": c[0], "share": c[1], "times": n} for c, n in kinds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="folder of annotated C3D and JSON files")
    parser.add_argument("--rivals", action="store_true", help="run gaitkit's detectors as well")
    parser.add_argument("--name", default="gait_events", help="name of the result")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    files = sorted(f for f in arguments.recordings.rglob("*") if f.suffix.lower() in (".c3d", ".json"))
    cases = [case for case in map(read, files) if case]
    doubtful, cases = [c for c in cases if c["name"] in CONTRADICTORY], [c for c in cases if c["name"] not in CONTRADICTORY]
    alone = lambda case: ours(case, toes=False)  # noqa: E731
    rows, metrics = [], {"cases": len(cases)}

    def note(data, detector, result, **more):
        rows.append(
            {"data": data, "detector": detector, **more} | {f"{k}_{n}": v for k, r in result.items() for n, v in r.items()}
        )
        print(rows[-1], flush=True)

    for prefix, toes in (("", True), ("ankles_", False)):
        for kind, constant in (("heel_strike", "HEEL_STRIKE"), ("toe_off", "TOE_OFF" if toes else "ANKLE_OFF")):
            result, chosen = left_out(cases, constant, kind, toes)
            metrics |= {f"{prefix}{kind}_{n}": result[n] for n in ("bias_ms", "sd_ms", "missed")}
            note("annotated, left out", "ours" if toes else "ours, ankles alone", {kind: result}, chosen=chosen)
    for name, detector in (("ours", ours), ("ours, ankles alone", alone)):
        note("annotated", name, measure(cases, detector))
        note(
            "annotated, 30 fps, depth camera's noise",
            name,
            measure([depth_camera(c, i) for i, c in enumerate(cases)], detector),
        )
    for case in cases:
        note(case["name"], "ours", measure([case], ours))
    for case in doubtful:
        note(f"{case['name']} (events contradict each other, not counted)", "ours", measure([case], ours))
    walks = {f: simulated("normal", f, 0.001) for f in (30.0, 100.0, 150.0)}
    for fps, some in walks.items():
        for name, detector in (("ours", ours), ("ours, ankles alone", alone)):
            note(f"simulated, normal, {fps:g} fps, markers' noise", name, measure(some, detector))
    result = measure(sum(walks.values(), []), ours)
    metrics |= {f"simulated_{kind}_{n}": result[kind][n] for kind in KINDS for n in ("bias_ms", "sd_ms", "missed")}
    note("simulated, normal, 30 fps, depth camera's noise", "ours", measure(simulated("normal", 30.0, 0.01), ours))
    note(
        "simulated, normal, 0.4 to 0.8 m/s, 30 fps",
        "ours",
        measure(simulated("normal", 30.0, 0.001, 20, np.linspace(0.4, 0.8, 20)), ours),
    )
    for pathology in ("antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg", "parkinsonian"):
        note(f"simulated, {pathology}, 30 fps, markers' noise", "ours", measure(simulated(pathology, 30.0, 0.001, 20), ours))
    versions = ("numpy", "scipy", "ezc3d")
    protocol = (
        "each recording with constants chosen on all others; every recording weighs the same; one-to-one matches within 250 ms"
    )
    protocol += "; simulated: planned contacts of normal walks at their own speed, 30, 100 and 150 fps, noise of markers"
    if arguments.rivals:
        import gaitkit

        versions += ("gaitkit",)
        rivals = {}
        for method in [m for m in gaitkit.list_methods() if m != "deepevent"] + ["bayesian_bis"]:  # no weights in the package
            rivals[method] = measure(cases, gaitkit_detector(method))
            note("annotated", f"gaitkit {method}", rivals[method])
            note(
                "simulated, normal, 100 fps, markers' noise",
                f"gaitkit {method}",
                measure(walks[100.0][:20], gaitkit_detector(method)),
            )
        complete = [m for m, r in rivals.items() if max(r[k]["missed"] for k in KINDS) < 0.05]
        best = min(complete, key=lambda m: sum(rivals[m][k][n] ** 2 for k in KINDS for n in ("bias_ms", "sd_ms")))
        metrics |= {f"rival_{kind}_{n}": rivals[best][kind][n] for kind in KINDS for n in ("bias_ms", "sd_ms", "missed")}
        protocol += f"; rival: {best} of gaitkit, the least bias squared plus SD squared of those that miss under 5 %"
        protocol += "; deepevent's weights could not be had; walks of the simulator have no heel, which three detectors need"
    write_result(arguments.name, "annotated walks of other laboratories", protocol, metrics, rows, versions)


if __name__ == "__main__":
    main()
