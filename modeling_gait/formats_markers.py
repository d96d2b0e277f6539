"""Joints from the markers on a person's skin: `from_markers`.

In: markers (T, 3) by name. Out: `Points` with joints. Joint centres are those that the file's own model computed (Plug-in
Gait's LFEP, LFEO, LTIO) where it has them. Else hips by the regression of Harrington et al. 2007 (doi
10.1016/j.jbiomech.2006.02.003, the equations with pelvic depth and width) from the iliac spines of Plug-in Gait, Visual3D,
Qualisys or OpenCap; knees and ankles in the middle of their lateral and medial markers, or beside the lateral one by half the
width that the file states, or that the thigh and shank let expect.
"""

import re
from pathlib import Path

import numpy as np
import yaml

from .points import LEGS, MAX_POINTS, Points, joint_name, words

_MARKERS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_SIDED = {alias: point for point, aliases in _MARKERS.items() for alias in aliases.split()}
_MIDDLE = {"sacr": "sacrum", "sacrum": "sacrum", "vsac": "sacrum", "sac": "sacrum", "c7": "c7", "clav": "clavicle", "cv7": "c7"}
_MIDDLE |= {"sjn": "clavicle", "stern": "clavicle"}
SIDES = ("left", "right")


def from_markers(markers: dict[str, np.ndarray], out: Points, path: Path, widths: dict[str, float] | None = None) -> Points:
    """`out` with the joints found among markers (T, 3), by their names as joints or as one of the known marker sets.

    `widths`: `left_knee`, `right_ankle`, ... in the markers' units, where the file states them.
    Raises ValueError naming what lacks.
    """
    if len(markers) > MAX_POINTS:
        raise ValueError(f"{path}: has {len(markers)} markers, at most {MAX_POINTS} are read")
    markers = {name.split(":")[-1].strip(): values for name, values in reversed(markers.items())}
    joints = named(dict(reversed(markers.items())))
    if set(LEGS) <= joints.keys():
        out.points = joints
        return out
    found: dict[str, np.ndarray] = {}
    for name, values in markers.items():
        if (point := _anatomy(name)) and np.isfinite(values).any():
            found[point] = values
    hips = _hips(found, out, path, sorted(markers))
    joints = hips | _legs(found, hips, widths or {}, out, path, sorted(markers)) | _trunk(found)
    out.points = joints
    return out


def _anatomy(name: str) -> str | None:
    """'LKNE', 'R.Knee', 'r_mknee_study' -> 'left_knee_lateral', 'right_knee_lateral', 'right_knee_medial'."""
    key = re.sub("[^a-z0-9]", "", name.lower()).removesuffix("study")
    return _MIDDLE.get(key) or joint_name([key], _SIDED)


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _hips(found: dict, out: Points, path: Path, names: list[str]) -> dict[str, np.ndarray]:
    if {"left_hip", "right_hip"} <= found.keys():
        out.notes.append(
            "hips, and knees and ankles where it has them, are the joint centres that the file's own model computed"
        )
        return {side: found[side] for side in ("left_hip", "right_hip")}
    back = [found[p] for p in ("left_psis", "right_psis", "sacrum") if p in found][:2]
    missing = [p for p in ("left_asis", "right_asis") if p not in found] + ([] if back else ["sacrum or both psis"])
    if missing or (len(back) == 1 and "sacrum" not in found):
        raise ValueError(
            f"{path}: no hips: neither joints named left_hip, right_hip, nor markers on the pelvis "
            f"({', '.join(missing) or 'one psis'} not recognised) among {', '.join(names)[:300]}"
        )
    left, right = found["left_asis"], found["right_asis"]
    front, back = (left + right) / 2, np.mean(back, axis=0)
    width = float(np.nanmedian(np.linalg.norm(left - right, axis=1)))
    millimetre = next((u for low, high, u in ((120, 450, 1.0), (12, 45, 0.1), (0.12, 0.45, 0.001)) if low < width < high), None)
    if millimetre is None:
        raise ValueError(f"{path}: the front iliac spines are {width:.3g} apart, which no pelvis is in mm, cm or m")
    side = _unit(right - left)
    forward = front - back
    forward = _unit(forward - np.sum(forward * side, axis=1, keepdims=True) * side)
    up = np.cross(side, forward)
    depth = float(np.nanmedian(np.linalg.norm(front - back, axis=1)))
    ahead = -0.24 * depth - 9.9 * millimetre  # Harrington et al. 2007, from the middle of the front spines
    above = -0.30 * width - 10.9 * millimetre
    out_ = 0.33 * width + 7.3 * millimetre
    out.notes.append("hip joint centres by the regression of Harrington et al. 2007 from the markers on the pelvis")
    centre = front + ahead * forward + above * up
    return {"left_hip": centre - out_ * side, "right_hip": centre + out_ * side}


def _legs(
    found: dict, hips: dict, widths: dict[str, float], out: Points, path: Path, names: list[str]
) -> dict[str, np.ndarray]:
    joints, guessed = {}, False
    across = _unit(hips["right_hip"] - hips["left_hip"])
    for side in SIDES:
        above = hips[f"{side}_hip"]
        for joint, share in (("knee", 0.25), ("ankle", 0.18)):  # of the segment above, where the file states no width
            key = f"{side}_{joint}"
            if key in found:
                centre = found[key]
            elif f"{key}_lateral" not in found:
                raise ValueError(
                    f"{path}: no {side} {joint}: neither joint nor marker recognised among {', '.join(names)[:300]}"
                )
            elif f"{key}_medial" in found and np.isfinite(found[f"{key}_medial"]).mean() > 0.5:
                centre = (found[f"{key}_lateral"] + found[f"{key}_medial"]) / 2
            else:
                lateral = found[f"{key}_lateral"]
                length = float(np.nanmedian(np.linalg.norm(above - lateral, axis=1)))
                if key not in widths:
                    guessed = True
                axis = _unit(above - lateral)
                medial = _unit(across - np.sum(across * axis, axis=1, keepdims=True) * axis) * (1 if side == "left" else -1)
                centre = lateral + medial * widths.get(key, share * length) / 2
            joints[key] = above = centre
        toes = [found[p] for p in (f"{side}_toe_inner", f"{side}_toe_outer") if p in found]
        if f"{side}_foot" in found or len(toes) == 2:
            joints[f"{side}_foot"] = found.get(f"{side}_foot", sum(toes) / 2 if toes else None)
    if guessed:
        out.notes.append("the widths of knees or ankles are taken as 0.25 of the thigh and 0.18 of the shank")
    return joints


def _trunk(found: dict) -> dict[str, np.ndarray]:
    joints = {f"{side}_{n}": found[f"{side}_{n}"] for side in SIDES for n in ("shoulder", "elbow") if f"{side}_{n}" in found}
    if {"c7", "clavicle"} <= found.keys():
        joints["neck"] = (found["c7"] + found["clavicle"]) / 2
    for side in SIDES:
        if wrists := [found[p] for p in (f"{side}_wrist_a", f"{side}_wrist_b") if p in found]:
            joints[f"{side}_wrist"] = np.mean(wrists, axis=0)
    head = [found.get(f"{side}_head_{end}") for side in SIDES for end in ("front", "back")]
    if all(h is not None for h in head):
        joints["head"] = np.mean(head, axis=0)
    return joints


def named(points: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Points under a file's names as points under joint names; others are left out, of equal names the first counts."""
    found: dict[str, np.ndarray] = {}
    for title, values in points.items():
        if (name := joint_name(words(title))) is not None:
            found.setdefault(name, values)
    return found
