"""The person cut out of a film for a video model: `find_person`, `crop_person`, `windows`, `prepare_video`.

In: a video file, or frames uint8 (T, H, W, 3). Out: boxes (T, 4) of the one who moves, pixel values uint8 (N, 70, 3, H, W). A
`pose_estimation` follows people better and gives their skeleton; this is for models that read pictures.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter1d, label, maximum_filter, median_filter

from .camera_motion import Background, camera_path
from .video import MIN_FRAMES, VideoReader, given_box

WINDOW = 70  # frames of a clip at 30 fps: two gait cycles
MARGIN = 1.15  # of a crop's height over the person's


def find_person(frames: np.ndarray, name: str = "video") -> np.ndarray:
    """Where the one moving person is, for a camera that stands still.

    1. The background is the median over up to 60 frames; what differs from it moves.
    2. Moving pixels that touch, or are one above the other within 5 % of the height, are a blob; the largest one of a frame is
       the person.
    3. Corners are interpolated where nothing is found, then smoothed over time (running median of 15, Gaussian of 5 frames).

    A person who stays in one place (treadmill) or fills the picture is part of the background: give a box instead.

    Args:
        frames: uint8 (T, H, W, 3).
        name: of the file, for the errors.

    Returns: float (T, 4), left, top, right, bottom [pixels]; nan before the person comes into view and after they left it.

    Raises ValueError: nothing moves, the camera moves, or two people.
    """
    small, shrink = _reduced(frames)
    background = Background()
    for frame in small:
        background.add(frame)
    if moves := camera_path(background.shifts, small.shape[2]):
        raise ValueError(f"{name}: {moves}; give box=")
    moving = _moving(small)
    share = float(np.median(moving.mean((1, 2))))
    if share > 0.5:
        raise ValueError(f"{name}: {share:.0%} of the picture changes: the camera moves or the person fills it; give box=")
    rows, columns = moving.shape[1:]
    joined = maximum_filter(moving, size=(1, max(3, round(0.05 * rows) | 1), 3))
    labels, count = label(joined, structure=np.array([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]))
    labels[~moving] = 0
    areas = sum(np.bincount(frame.ravel(), minlength=count + 1) for frame in labels)
    boxes = np.full((len(frames), 2, 4), np.nan)  # of the two largest blobs of every frame
    largest = np.zeros((len(frames), 2))
    for i, place in enumerate(find_objects(labels), start=1):
        t, y, x = place or (None,) * 3
        if t is None or areas[i] < 0.002 * rows * columns or y.stop - y.start < 0.1 * rows:
            continue
        rank = 0 if areas[i] > largest[t.start, 0] else 1
        if areas[i] <= largest[t.start, rank]:
            continue
        if rank == 0:
            boxes[t.start, 1], largest[t.start, 1] = boxes[t.start, 0], largest[t.start, 0]
        boxes[t.start, rank], largest[t.start, rank] = (x.start, y.start, x.stop, y.stop), areas[i]
    seen = np.flatnonzero(largest[:, 0])
    if len(seen) < max(MIN_FRAMES, 0.1 * len(frames)):
        raise ValueError(f"{name}: no person found: nothing of a person's size moves in {len(frames)} frames")
    middle = boxes[seen, 0][:, [0, 2]].mean(1)
    leaps = int((np.abs(np.diff(middle)) > 0.25 * columns).sum())
    if leaps >= 3:  # what is behind the person comes in on one side, goes out on the other, and the next thing comes in
        raise ValueError(
            f"{name}: what moves leaps through the picture {leaps} times: the camera moves, as one that follows; give box="
        )
    double = _two_people(boxes, largest)
    if double.sum() > 0.5 * len(seen):
        raise ValueError(f"{name}: two people found in {double.sum()} of {len(frames)} frames; give box= or cut one out")
    return _smooth(boxes[:, 0], seen) * shrink


def _reduced(frames: np.ndarray, side: int = 160) -> tuple[np.ndarray, int]:
    """Frames scaled down by a whole number to about `side` pixels, and that number."""
    from PIL import Image

    shrink = max(1, round(max(frames.shape[1:3]) / side))
    return np.stack([np.asarray(Image.fromarray(frame).reduce(shrink)) for frame in frames]), shrink


def _moving(frames: np.ndarray) -> np.ndarray:
    """bool (T, H, W): pixels that differ from the background by more than the noise of the video."""
    background = np.median(frames[:: max(1, len(frames) // 60)], axis=0).astype(np.int16)
    difference = np.stack([np.abs(frame - background).max(-1) for frame in frames]).astype(np.uint8)
    return difference > np.clip(5 * 1.4826 * float(np.median(difference)), 20, 60)


def _two_people(boxes: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """bool (T,): the two largest blobs (T, 2, 4) are of comparable size and stand apart from left to right."""
    height = boxes[..., 3] - boxes[..., 1]
    gap = np.maximum(boxes[:, 0, 0], boxes[:, 1, 0]) - np.minimum(boxes[:, 0, 2], boxes[:, 1, 2])
    comparable = (areas.min(1) > 0.35 * areas.max(1)) & (
        np.nanmin(height, 1, initial=np.inf) > 0.5 * np.nanmax(height, 1, initial=0)
    )
    return comparable & (gap > 0.1 * height[:, 0])


def _smooth(boxes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Boxes (T, 4) interpolated from the frames `seen` and smoothed; nan before the first and after the last."""
    inside = np.arange(seen[0], seen[-1] + 1)
    out = np.full_like(boxes, np.nan)
    filled = np.stack([np.interp(inside, seen, boxes[seen, k]) for k in range(4)], axis=-1)
    out[inside] = gaussian_filter1d(median_filter(filled, size=(15, 1), mode="nearest"), 5, axis=0, mode="nearest")
    return out


def crop_person(frames: np.ndarray, boxes: np.ndarray, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Cut the person out: the box grown to the shape of `size` and by 15 %, edges repeated outside of the picture.

    Args:
        frames: uint8 (T, H, W, 3).
        boxes: (T, 4) or (1, 4), finite.
        size: height and width of the crops [pixels].

    Returns: uint8 (T, height, width, 3).
    """
    from PIL import Image

    boxes = np.broadcast_to(np.asarray(boxes, float), (len(frames), 4))
    if not np.isfinite(boxes).all():
        raise ValueError("boxes: nan where the person is out of view; cut these frames off")
    span = boxes[:, 2:] - boxes[:, :2]
    height = np.maximum(MARGIN * np.maximum(span[:, 1], span[:, 0] * size[0] / size[1]), 2)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.stack([height * size[1] / size[0], height], axis=-1) / 2
    corners = np.round(np.concatenate([centre - half, centre + half], axis=-1)).astype(int)
    out = np.empty((len(frames), *size, 3), np.uint8)
    for t, (frame, (left, top, right, bottom)) in enumerate(zip(frames, corners)):
        rows = np.clip(np.arange(top, max(bottom, top + 1)), 0, frame.shape[0] - 1)
        columns = np.clip(np.arange(left, max(right, left + 1)), 0, frame.shape[1] - 1)
        crop = Image.fromarray(frame[rows[:, None], columns])
        out[t] = np.asarray(crop.resize(size[::-1], Image.Resampling.BILINEAR))
    return out


def windows(frames: np.ndarray, length: int = WINDOW, stride: int = WINDOW // 2) -> np.ndarray:
    """Cut (T, ...) into (N, length, ...), one every `stride` frames; the last one ends with the last frame.

    A clip of `MIN_FRAMES` or more but less than `length` frames is one window that holds its last frame: playing it back and
    forth would show a person walking backwards. Raises ValueError for a shorter one.
    """
    if len(frames) < min(MIN_FRAMES, length):
        raise ValueError(f"too short: {len(frames)} frames; expected at least {min(MIN_FRAMES, length)}")
    if len(frames) < length:
        frames = np.concatenate([frames, np.repeat(frames[-1:], length - len(frames), axis=0)])
    starts = sorted({*range(0, len(frames) - length + 1, stride), len(frames) - length})
    return np.stack([frames[start : start + length] for start in starts])


def read_crops(
    path: str | Path,
    size: tuple[int, int] = (64, 64),
    fps: float = 30.0,
    box: tuple[float, ...] | str | None = None,
    max_seconds: float = 60.0,
) -> tuple[np.ndarray, list[str]]:
    """The person of a video, cut out frame by frame, and notes.

    The file is decoded twice unless a box is given: first small, to find the person, then to cut them out; no frame is kept.
    Args as of `read_video` and `crop_person`. Returns: uint8 (T, height, width, 3) of the frames in which the person is in
    view; what was skipped, a sentence each. Raises what `read_video` and `find_person` raise.
    """
    most, boxes = int(max_seconds * fps) + 2, None
    if box is None:
        shrink = 1

        def reduced() -> Iterator[np.ndarray]:
            nonlocal shrink
            for frame in VideoReader(path, fps, max_seconds):
                (small,), shrink = _reduced(frame[None])
                yield small

        boxes = find_person(_filled(reduced(), most), str(path)) * shrink
    reader = VideoReader(path, fps, max_seconds)

    def cut() -> Iterator[np.ndarray]:
        for t, frame in enumerate(reader):
            place = given_box(box, frame.shape[:2], reader.scale, Path(path)) if boxes is None else boxes[t : t + 1]
            if np.isfinite(place).all():
                yield crop_person(frame[None], place, size)[0]

    return _filled(cut(), most), reader.notes


def _filled(images: Iterator[np.ndarray], most: int) -> np.ndarray:
    """At most `most` images of one shape as one array, which is there from the start: small arrays that are kept between large
    ones that are freed leave holes into which no large one fits again, so that memory would grow by all frames."""
    out, count = None, 0
    for image in images:
        out = np.empty((most, *image.shape), np.uint8) if out is None else out
        out[count] = image
        count += 1
    return np.zeros((0, 1, 1, 3), np.uint8) if out is None else out[:count]


def prepare_video(
    path: str | Path,
    size: tuple[int, int] = (64, 64),
    fps: float = 30.0,
    box: tuple[float, ...] | str | None = None,
    length: int = WINDOW,
    stride: int = WINDOW // 2,
    max_seconds: float = 60.0,
    count: int | None = None,
) -> tuple[np.ndarray, list[str]]:
    """From a file to what a video model reads: `read_crops`, cut into windows; of each `count` frames (default: all).

    Returns: pixel values uint8 (N, count, 3, height, width), and notes. Raises what `read_crops` raises.
    """
    crops, notes = read_crops(path, size, fps, box, max_seconds)
    try:
        places = windows(np.arange(len(crops)), length, stride)
    except ValueError as error:
        raise ValueError(f"{path}: the person is in view only for a moment; {error}") from None
    if count is not None and count < length:
        places = places[:, np.linspace(0, length - 1, count).round().astype(int)]
    return crops[places].transpose(0, 1, 4, 2, 3), notes
