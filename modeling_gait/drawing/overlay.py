"""The skeleton that was found, drawn over the pictures of its film: `write_overlay`, `overlay_strip`.

In: the poses of a film (`PoseTrack`, or `Recording.poses` of what `read_recording` read from one), whose `name` is the file.
Out: a film, or one picture uint8 (H, W, 3) of several moments. Left is blue, right is orange, as in all pictures of walks.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..files import atomic_path
from ..points import MEDIAPIPE_33
from ..pose_estimation import MAX_SIDE, PoseTrack
from ..video import VideoReader, write_video
from .rendering import SIDE_COLOURS

_TRUNK = ("left_shoulder right_shoulder", "left_hip right_hip", "left_shoulder left_hip", "right_shoulder right_hip")
_LIMB = ("shoulder elbow", "elbow wrist", "hip knee", "knee ankle", "ankle heel", "heel foot_index", "ankle foot_index")
_LINES = tuple((tuple(map(MEDIAPIPE_33.index, line.split())), "centre") for line in _TRUNK) + tuple(
    (tuple(MEDIAPIPE_33.index(f"{side}_{end}") for end in line.split()), side) for line in _LIMB for side in ("left", "right")
)


def draw_pose(image: np.ndarray, keypoints: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8, made `scale` times as large, with the lines of keypoints (33, 2) [pixels of the
    picture as it was]; those that are nan are left out."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw, points = ImageDraw.Draw(picture), keypoints * scale
    tall = np.nanmax(points[:, 1], initial=0) - np.nanmin(points[:, 1], initial=0) if np.isfinite(points).any() else 0
    width = max(2, round(0.012 * tall))
    for (a, b), side in _LINES:
        if np.isfinite(points[[a, b]]).all():
            draw.line([*points[a], *points[b]], fill=SIDE_COLOURS[side], width=width)
    return np.asarray(picture)


def overlay_frames(track: PoseTrack, side: int = 640) -> Iterator[np.ndarray]:
    """The pictures in which the person is followed, uint8 (H, W, 3) of at most `side` pixels, one by one.

    Raises OSError where the film is no longer there, and what `VideoReader` raises."""
    reader = VideoReader(track.name, None, max_seconds=120.0, max_side=MAX_SIDE)
    scale = min(1.0, side / max(track.size))
    for number, image in enumerate(reader):
        if number - track.start >= len(track.keypoints):
            return
        if number >= track.start:
            yield draw_pose(image, track.keypoints[number - track.start], scale)


def write_overlay(track: PoseTrack, path: str | Path, side: int = 640) -> None:
    """The part of the film in which the person is followed, with the skeleton, as .mp4, .webm or .avi."""
    write_video(overlay_frames(track, side), path, track.fps)


def plot_overlay(track: PoseTrack, path: str | Path) -> None:
    """The picture of `overlay_strip` as a PNG file."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(overlay_strip(track)).save(temporary, format="png")


def overlay_strip(track: PoseTrack, count: int = 6, height: int = 360) -> np.ndarray:
    """`count` moments side by side, each cut around the person: uint8 (height, W, 3)."""
    from PIL import Image

    seen = np.flatnonzero(np.isfinite(track.keypoints).all((1, 2)))
    chosen = set(seen[np.linspace(0, len(seen) - 1, count).round().astype(int)].tolist())
    tall = np.median(np.ptp(track.keypoints[seen, :, 1], axis=1))
    reach = np.percentile(np.ptp(track.keypoints[seen, :, 0], axis=1), 95) / 2 + 0.15 * tall
    pieces = []
    for number, image in enumerate(overlay_frames(track, MAX_SIDE)):
        if number not in chosen:
            continue
        points = track.keypoints[number]
        middle, top = points[:, 0].mean(), points[:, 1].min()
        box = middle - reach, top - 0.2 * tall, middle + reach, points[:, 1].max() + 0.15 * tall
        edge = np.array([*image.shape[1::-1]] * 2)
        piece = Image.fromarray(image).crop(np.clip(np.round(box), 0, edge).astype(int).tolist())
        pieces.append(np.asarray(piece.resize((max(1, round(piece.width * height / piece.height)), height))))
    return np.concatenate(pieces, axis=1)


__all__ = ["draw_pose", "overlay_frames", "overlay_strip", "plot_overlay", "write_overlay"]
