"""Keypoints of pose estimators and depth cameras: `read_json` and `read_ntu`.

In: JSON of OpenPose (a folder of one file a frame, or one file), COCO, MediaPipe, MMPose; NTU RGB+D's `.skeleton`.
Out: `Points`. Keypoints in 2D (x, y, confidence) are refused: what they measure is the picture.
"""

import json
import re
from pathlib import Path

import numpy as np

from .files import check_growth, read_text
from .points import BODY_25, COCO_17, MAX_FRAMES, MEDIAPIPE_33, TWO_D, Points, joint_name, words
from .skeletons import KINECT_V2

_LAYOUTS = {25: BODY_25, 17: COCO_17, 33: MEDIAPIPE_33}
_LISTS = ("frames", "annotations", "predictions", "instance_info", "data", "results", "poses")  # where frames are
_PEOPLE = ("people", "instances", "predictions", "persons", "annotations")
_POINTS = ("pose_keypoints_3d", "world_landmarks", "poseWorldLandmarks", "pose_world_landmarks", "worldLandmarks")
_FLAT = ("pose_keypoints_2d", "keypoints", "landmarks", "pose_landmarks", "poseLandmarks", "keypoints_3d", "joints")


def read_json(path: Path, _=None) -> Points:
    """Keypoints of one JSON file, or of a folder with one file a frame. Raises ValueError."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.json"), key=lambda f: [int(n) for n in re.findall(r"\d+", f.stem)] or [0])
        if not files:
            raise ValueError(f"{path}: is a folder without .json files; expected OpenPose's, one a frame")
        frames = [_parse(f) for f in files[: MAX_FRAMES + 1]]
    else:
        frames = _frames(_parse(path), path)
    if len(frames) > MAX_FRAMES:
        raise ValueError(f"{path}: holds more than {MAX_FRAMES} frames")
    found = [_person(frame, f"{path}, frame {n}") for n, frame in enumerate(frames)]
    shapes = {f.shape for f in found if f is not None}
    if not shapes:
        raise ValueError(f"{path}: no keypoints of a person found; expected OpenPose's people, COCO's annotations or landmarks")
    if len(shapes) > 1:
        raise ValueError(f"{path}: the number of keypoints changes: {', '.join(str(s[0]) for s in sorted(shapes))}")
    (count, width) = shapes.pop()
    if width == 2:
        raise ValueError(f"{path}: {count} keypoints of x and y: {TWO_D}")
    if count not in _LAYOUTS:
        raise ValueError(f"{path}: {count} keypoints; expected 25 (OpenPose), 17 (COCO) or 33 (MediaPipe)")
    size = sum(f.stat().st_size for f in (files if path.is_dir() else [path]))
    check_growth(path, size, len(found) * count * width * 8)
    joints = np.stack([np.full((count, width), np.nan) if f is None else f for f in found])
    if width == 4:
        joints[joints[..., 3] <= 0] = np.nan
    points = {name: joints[:, j, :3] for j, title in enumerate(_LAYOUTS[count]) if (name := joint_name(words(title)))}
    return Points(points)


def _parse(path: Path) -> object:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{where}: is not readable JSON ({error})") from None


def _frames(data: object, path: Path) -> list:
    if isinstance(data, dict):
        data = next((data[k] for k in _LISTS if isinstance(data.get(k), list)), [data])
    if not isinstance(data, list):
        raise ValueError(f"{path}: expected a list of frames, got {type(data).__name__}")
    if data and isinstance(data[0], dict) and "image_id" in data[0]:  # COCO results: several people of a picture
        by_image: dict = {}
        for row in data:
            if isinstance(row, dict):
                by_image.setdefault(str(row.get("image_id")), []).append(row)
        most = max(map(len, by_image.values()))
        if most > 1:
            raise ValueError(f"{path}: {most} people in one picture; expected the keypoints of one")
        return [rows[0] for rows in by_image.values()]
    return data


def _person(frame: object, where: str) -> np.ndarray | None:
    """Keypoints (K, 2 to 4) of the person in a frame; None where nobody was found. Raises ValueError for 2D and two people."""
    for key in _PEOPLE:
        if isinstance(frame, dict) and isinstance(frame.get(key), list):
            frame = frame[key]
    if isinstance(frame, list) and frame and isinstance(frame[0], dict) and not {"x", "y"} <= frame[0].keys():
        if len(frame) > 1:
            raise ValueError(f"{where}: {len(frame)} people; expected the keypoints of one")
        frame = frame[0]
    name = "keypoints"
    if isinstance(frame, dict):
        name = next((k for k in (*_POINTS, *_FLAT) if frame.get(k)), None)
        if name is None:
            return None
        frame = frame[name]
    if isinstance(frame, list) and len(frame) == 1 and isinstance(frame[0], list):  # MediaPipe: a list of people
        frame = frame[0]
    if not isinstance(frame, list) or not frame:
        return None
    try:
        if isinstance(frame[0], dict):
            keys = [k for k in "xyz" if k in frame[0]]
            points = np.array([[row[k] for k in keys] for row in frame], np.float64)
        else:
            points = np.array(frame, np.float64)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{where}: {name}: expected numbers x, y, z a keypoint ({str(error)[:80]})") from None
    if points.ndim == 1:  # flat: x, y, confidence, or x, y, z, confidence
        width = 4 if name == "pose_keypoints_3d" else 3
        if len(points) % width:
            raise ValueError(f"{where}: {name}: {len(points)} numbers, expected {width} a keypoint")
        points = points.reshape(-1, width)
        if width == 3:
            points = points[:, :2]  # confidence, or COCO's visibility
    if points.ndim != 2 or points.shape[1] not in (2, 3, 4):
        raise ValueError(f"{where}: {name}: expected keypoints (K, 3), got {points.shape}")
    if name == "pose_keypoints_2d" or points.shape[1] == 2:
        raise ValueError(f"{where}: {name}: {TWO_D}")
    return points


def read_ntu(path: Path, _=None) -> Points:
    """NTU RGB+D: frames, bodies, for each 10 numbers, 25, and 25 lines of x y z [m, y up] and 9 numbers more; 30 Hz."""
    text = read_text(path)
    lines, at = text.split("\n"), 0

    def numbers(least: int, what: str) -> list[str]:
        nonlocal at
        row = lines[at].split() if at < len(lines) else []
        at += 1
        if len(row) < least:
            raise ValueError(
                f"{path}, line {at}: expected {what}, got {lines[at - 1][:40]!r}" if row else f"{path}, line {at}: cut off"
            )
        return row

    def whole(what: str, most: int) -> int:
        text = numbers(1, what)[0]
        if not text.isdecimal() or len(text) > 9 or int(text) > most:
            raise ValueError(f"{path}, line {at}: expected {what} up to {most}, got {text[:40]!r}")
        return int(text)

    frames = whole("the number of frames", MAX_FRAMES)
    check_growth(path, len(text), frames * 25 * 3 * 8)
    bodies: dict[str, dict[int, list]] = {}
    for frame in range(frames):
        for _body in range(whole("the number of bodies", 20)):
            identity = numbers(1, "the body's id and 9 numbers")[0]
            if (count := whole("the number of joints", 25)) != 25:
                raise ValueError(f"{path}, line {at}: expected 25 joints, got {count}")
            rows = []
            for _joint in range(count):
                try:
                    rows.append([float(v) for v in numbers(3, "x y z")[:3]])
                except ValueError as error:
                    raise ValueError(
                        str(error) if str(error).startswith(str(path)) else f"{path}, line {at}: {error}"
                    ) from None
            bodies.setdefault(identity, {})[frame] = rows
    if not bodies:
        raise ValueError(f"{path}: holds no body")
    seen = max(bodies.values(), key=len)
    joints = np.full((frames, 25, 3), np.nan)
    for frame, rows in seen.items():
        joints[frame] = rows
    notes = ["30 frames a second, as all of NTU RGB+D"]
    if len(bodies) > 1:
        notes.append(f"of {len(bodies)} bodies the one that is seen longest")
    points = {n: joints[:, j] for j, n in enumerate(KINECT_V2.joint_names)}
    return Points(points, fps=30.0, skeleton=KINECT_V2, metres=1.0, notes=notes)
