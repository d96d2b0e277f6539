"""From a camera video to the pose of one person in every frame: `estimate_poses`.

In: a video file (MP4, MOV, WebM, AVI, GIF, ...; any frame rate, upright as the telephone marks it). Out: a `PoseTrack`, the 33
landmarks of MediaPipe Pose in pixels and, body-centred, in metres. Frames are read one by one and never kept. `video_walk`
makes a walk of it.

The estimator is MediaPipe's BlazePose GHUM (Bazarevsky et al. 2020; Grishchenko et al. 2022), whose wheel holds its weights, so
that nothing is downloaded. It finds one person in a picture: others are found by painting over those that are known, and each
is followed by an estimator of its own. Any object with a method `follower()`, which gives a function image -> `Pose` | None,
can take its place.
"""

import os
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_closing, median_filter, uniform_filter1d

from .camera_motion import Background, camera_path
from .points import MEDIAPIPE_33
from .video import VideoReader

MOST_PEOPLE = 4  # who are followed at once
MAX_SIDE = 960  # pixels of the pictures that are read
SMALLEST = 48  # pixels, of a person from head to heel
SEEN = 0.7  # mean visibility of a person; things taken for people have less
FASTEST = 1.2  # heights a second, of who walks
FOCAL = 0.85  # of the longer side of a picture, of a telephone
SCAN = 0.5  # s between two looks for further people
LEGS = [MEDIAPIPE_33.index(f"{side}_{n}") for side in ("left", "right") for n in ("hip", "knee", "ankle")]
ANKLES = [MEDIAPIPE_33.index(f"{side}_ankle") for side in ("left", "right")]
HIPS = [MEDIAPIPE_33.index(f"{side}_hip") for side in ("left", "right")]
NOSE = MEDIAPIPE_33.index("nose")
FEET = [MEDIAPIPE_33.index(f"{side}_{n}") for side in ("left", "right") for n in ("ankle", "heel", "foot_index")]


class Pose(NamedTuple):
    """keypoints (33, 2) [pixels]; landmarks (33, 3) [m] from between the hips, x right, y down, z away from the camera;
    visibility (33,) in 0..1."""

    keypoints: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray


@dataclass(frozen=True)
class PoseTrack:
    """The pose of one person in a film.

    Attributes:
        keypoints: float (T, 33, 2), x right, y down [pixels of pictures of `size`]; nan where the person is not seen whole.
        landmarks: float (T, 33, 3) [m] from between the hips: x right, y down, z away from the camera; of a body of usual size.
        visibility: float (T, 33) in 0..1.
        fps: frames a second.
        start: frame of the film with which it begins.
        size: width and height of the pictures [pixels].
        camera: float (T, 2), shift of the background [pixels]; zeros where the camera stands still.
        camera_moves: the camera turns or goes along, so that the path of the person is not that in the picture.
        name: of the film.
        notes: what was seen and left out, with the frames, a sentence each.
    """

    keypoints: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    fps: float
    start: int
    size: tuple[int, int]
    camera: np.ndarray
    camera_moves: bool = False
    name: str = "video"
    notes: tuple[str, ...] = ()


class _Silence:
    """Without what C++ writes to stderr: MediaPipe's loggers tell of every model that starts. The file descriptor is the
    process's: of several threads the first that comes in turns it off, and the last that goes out turns it on."""

    def __init__(self):
        self.lock, self.inside, self.kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                sys.stderr.flush()
                self.kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 2)
                os.close(null)
            self.inside += 1

    def __exit__(self, *_) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                os.dup2(self.kept, 2)
                os.close(self.kept)


_silence = _Silence()


class MediaPipe:
    """MediaPipe Pose, the full model of the wheel. Raises ImportError without it."""

    def __init__(self):
        os.environ.setdefault("GLOG_minloglevel", "3")
        warnings.filterwarnings("ignore", "SymbolDatabase.GetPrototype", UserWarning)
        try:
            with _silence:
                from mediapipe.python.solutions import pose
        except ImportError as error:
            hint = 'pip install "modeling_gait[video]"; MediaPipe 0.10.14 needs Python 3.12 or older'
            raise ImportError(f"poses from a video need MediaPipe: {hint} ({error})") from None
        self._new = lambda: pose.Pose(
            static_image_mode=False, model_complexity=1, smooth_landmarks=False, min_detection_confidence=0.5
        )

    def follower(self) -> Callable[[np.ndarray], Pose | None]:
        """A function of frames uint8 (H, W, 3) in order, which follows whom it finds first."""
        with _silence:
            model = self._new()
        calls = 0

        def follow(image: np.ndarray) -> Pose | None:
            nonlocal calls
            calls += 1
            with _silence if calls < 3 else nullcontext():
                found = model.process(np.ascontiguousarray(image))
            if found.pose_landmarks is None:
                return None
            flat = np.array([[p.x, p.y, p.visibility] for p in found.pose_landmarks.landmark])
            space = np.array([[p.x, p.y, p.z] for p in found.pose_world_landmarks.landmark])
            return Pose(flat[:, :2] * (image.shape[1], image.shape[0]), space, flat[:, 2])

        return follow


def estimate_poses(
    video: str | Path, person: int | None = None, progress: bool = True, backend=None, fps: float | None = None
) -> PoseTrack:
    """Poses of one person in a film.

    Args:
        video: the file.
        person: which of several people, counted from 1 from left to right where they are first seen; default: the one who
            walks farthest, or takes most steps in place.
        progress: show a bar on a terminal.
        backend: instead of `MediaPipe()`.
        fps: with which the film was taken, where it is shown in slow motion or time lapse; default: as it is shown.

    Raises:
        ValueError: no film (see `video.read_video`), nobody in it, nobody large enough or whole for a second; no such person.
        ImportError: without MediaPipe. OSError: the file cannot be opened.
    """
    from tqdm import tqdm

    if person is not None and person < 1:
        raise ValueError(f"{video}: person {person}: people are counted from 1, from left to right")
    reader = VideoReader(video, None, max_seconds=120.0, max_side=MAX_SIDE)
    crowd, background = Crowd((backend or MediaPipe()).follower, reader.fps), Background()
    size, pictures = (0, 0), iter(reader)

    def coming() -> tuple[np.ndarray, bool] | None:
        """The next picture and whether the film is cut before it; PyAV and numpy work while MediaPipe does."""
        if (image := next(pictures, None)) is None:
            return None
        background.add(image)
        return image, background.cuts[-1:] == [len(background.shifts) - 1]

    with (
        ThreadPoolExecutor(1) as reading,
        tqdm(total=len(reader), desc="poses", unit="frame", leave=False, disable=None if progress else True) as bar,
    ):
        ahead = reading.submit(coming)
        while (picture := ahead.result()) is not None:
            ahead = reading.submit(coming)
            image, cut = picture
            size = (image.shape[1], image.shape[0])
            crowd.add(image, cut)
            bar.update()
    track = choose(crowd, background, reader.fps, size, person, str(video))
    notes, faster = (*track.notes, *reader.notes), 1.0 if fps is None else fps / reader.source_fps
    if abs(faster - 1) > 0.02:
        notes += (f"the film shows {reader.source_fps:.3g} frames a second and was taken with {fps:g}, as given",)
    return replace(track, notes=notes, fps=track.fps * faster)


# ---------------------------------------------------------------- following people


@dataclass
class Track:
    """Poses of one person by frame."""

    follow: Callable | None
    poses: dict[int, Pose] = field(default_factory=dict)
    lost: int = 0

    @property
    def first(self) -> int:
        return min(self.poses)

    @property
    def last(self) -> int:
        return max(self.poses)

    def expected(self, frame: int) -> np.ndarray:
        """Middle of the hips (2,) [pixels] as it would go on from the last frames."""
        known = sorted(self.poses)[-6:]
        middle = np.array([_middle(self.poses[k]) for k in known])
        pace = (middle[-1] - middle[0]) / max(1, known[-1] - known[0])
        return middle[-1] + pace * (frame - known[-1])


def _middle(pose: Pose) -> np.ndarray:
    return pose.keypoints[HIPS].mean(0)


def _box(pose: Pose) -> np.ndarray:
    """left, top, right, bottom [pixels] around a person, with a margin for head, hands and clothes."""
    low, high = pose.keypoints.min(0), pose.keypoints.max(0)
    margin = 0.12 * (high[1] - low[1])
    return np.concatenate([low - margin, high + margin])


def _height(pose: Pose) -> float:
    return float(np.ptp(pose.keypoints[:, 1]))


class Crowd:
    """Everybody in a film, each followed in pictures in which the others are painted over."""

    def __init__(self, follower: Callable, fps: float):
        self.follower, self.fps = follower, fps
        self.frame, self.tracks, self.active, self.spare = 0, [], [], None
        self.small, self.looks = 0, 0  # frames with somebody too small, looks for further people
        self.pool = ThreadPoolExecutor(MOST_PEOPLE)  # estimators compute outside of Python's lock

    def add(self, image: np.ndarray, cut: bool = False) -> None:
        """The next frame, uint8 (H, W, 3); `cut`: of another scene than the one before."""
        if cut:
            self.active, self.spare = [], None
        found = {}
        pictures = [_painted(image, [o for o in self.active if o is not track], track) for track in self.active]
        poses = self.pool.map(lambda track, picture: track.follow(picture), self.active, pictures)
        for track, pose in zip(self.active, poses):
            if pose is not None and np.linalg.norm(_middle(pose) - track.expected(self.frame)) < 0.35 * _height(pose) * (
                1 + track.lost / 5
            ):
                found[id(track)] = pose
        for track in list(self.active):
            twin = next((o for o in self.active if o is not track and self._same(found, track, o)), None)
            if twin is not None:  # two follow one: the one that jumped has lost its own
                off = [np.linalg.norm(_middle(found[id(o)]) - o.expected(self.frame)) for o in (track, twin)]
                found.pop(id(track if off[0] > off[1] else twin))
        for track in list(self.active):
            pose = found.get(id(track))
            if pose is not None:
                track.poses[self.frame], track.lost = pose, 0
                continue
            track.lost += 1
            if track.lost > 0.3 * self.fps:
                self.active.remove(track)
        wait = max(1, round(SCAN * self.fps)) if self.active else 3
        if self.frame % wait == 0 and len(self.active) < MOST_PEOPLE:
            self._look(image)
        self.frame += 1

    def _same(self, found: dict, a: Track, b: Track) -> bool:
        if id(a) not in found or id(b) not in found:
            return False
        a, b = found[id(a)], found[id(b)]
        return float(np.linalg.norm(a.keypoints - b.keypoints, axis=-1).mean()) < 0.1 * _height(a)

    def _look(self, image: np.ndarray) -> None:
        """Somebody further in the picture without those who are followed, in all of it or in one of its parts in turn?"""
        self.spare, self.looks = self.spare or self.follower(), self.looks + 1
        image = _painted(image, self.active)
        whole, *parts = views(image.shape[1], image.shape[0])
        for view in (whole, parts[self.looks % len(parts)]):
            pose = _seen_in(self.spare, image, view)
            if pose is not None:
                break
        else:
            return
        for share in (0.75, 0.5, 0.25, 0.0) if view.any() else ():  # zooming out it holds whom it has
            pose = pose and _seen_in(self.spare, image, share * view)
        if pose is None:
            return
        if _height(pose) < SMALLEST:
            self.small += 1
        elif pose.visibility.mean() > 0.3 and not any(
            np.linalg.norm(_middle(pose) - _middle(t.poses[t.last])) < 0.25 * _height(pose) for t in self.active
        ):
            track = Track(self.spare, {self.frame: pose})
            self.tracks.append(track)
            self.active.append(track)
        self.spare = None


def views(width: int, height: int) -> list[np.ndarray]:
    """What is cut off a picture at its left, top, right and bottom [pixels] to look for somebody: nothing, then all but squares
    of half its longer side that overlap, since MediaPipe finds nobody who is smaller than a fifth of the longer side."""
    side = max(width, height) // 2

    def along(length: int) -> list[tuple[float, float]]:
        count = round(2 * length / side - 1)
        return [(a, length - side - a) for a in np.linspace(0, length - side, count)] if count > 1 else [(0, 0)]

    parts = [np.array([left, top, right, bottom]) for left, right in along(width) for top, bottom in along(height)]
    return [np.zeros(4), *parts]


def _seen_in(follow: Callable, image: np.ndarray, cut: np.ndarray) -> Pose | None:
    """The pose that is found in a part of a picture, in pixels of the picture."""
    left, top, right, bottom = np.round(cut).astype(int)
    pose = follow(image[top : image.shape[0] - bottom, left : image.shape[1] - right])
    return pose and pose._replace(keypoints=pose.keypoints + (left, top))


def _painted(image: np.ndarray, others: list[Track], own: Track | None = None) -> np.ndarray:
    """A copy with grey over the last boxes of `others`, but not over that of `own`."""
    if not others:
        return image
    out, (rows, columns) = image.copy(), image.shape[:2]

    def part(track: Track) -> tuple[slice, slice]:
        box = np.clip(np.round(_box(track.poses[track.last])), 0, [columns, rows, columns, rows]).astype(int)
        return slice(box[1], box[3]), slice(box[0], box[2])

    for other in others:
        out[part(other)] = 128
    if own is not None:
        out[part(own)] = image[part(own)]
    return out


def linked(tracks: list[Track], fps: float, cuts: list[int] = ()) -> list[Track]:
    """Tracks of one person who was lost for up to a second joined: where one ends another goes on, of like size."""
    out: list[Track] = []
    for track in sorted(tracks, key=lambda t: t.first):
        for old in out:
            gap = track.first - old.last
            size = _height(track.poses[track.first]) / _height(old.poses[old.last])
            near = np.linalg.norm(_middle(track.poses[track.first]) - old.expected(track.first))
            between = any(old.last < c <= track.first for c in cuts)
            if 0 < gap <= 1.0 * fps and 0.75 < size < 1.33 and not between and near < 0.4 * _height(old.poses[old.last]):
                old.poses |= track.poses
                break
        else:
            out.append(Track(None, dict(track.poses)))
    return out


def walked(track: Track, camera: np.ndarray, width: int, fps: float) -> tuple[float, int]:
    """How far a person goes, in their heights (0 if under one: who stands, jumps, or walks in place), and how often one ankle
    passes the other by 5 % of the height to each side. `camera`: shift of the background (T, 2) [pixels].

    Into the picture a person goes as the size upright says, the 90th percentile of either half of the track, so that no crouch
    is a way; and no farther than `FASTEST` allows, as what is taken for a person may jump.
    """
    known = sorted(track.poses)
    points = np.array([track.poses[k].keypoints for k in known])
    tall = points[:, FEET, 1].mean(1) - points[:, NOSE, 1]
    halves = [max(1.0, np.percentile(half, 90)) for half in np.array_split(tall, 2)]
    usual = max(halves)
    across = np.ptp(uniform_filter1d(points[:, HIPS, 0].mean(1) - camera[known, 0], 15, mode="nearest")) / usual
    into = 2 * FOCAL * width * abs(1 / halves[0] - 1 / halves[1])
    way = min(np.hypot(across, into), FASTEST * len(known) / fps)
    apart = uniform_filter1d((points[:, ANKLES[0]] - points[:, ANKLES[1]]) / usual, 5, axis=0)
    passes = max(int((np.diff(np.sign(a[np.abs(a) > 0.05])) != 0).sum()) for a in apart.T)
    return way if way > 1 else 0.0, passes


def choose(crowd: Crowd, background: Background, fps: float, size: tuple[int, int], person: int | None, name: str) -> PoseTrack:
    """The poses of one of a crowd and what has to be said of the film; args and errors as `estimate_poses`."""
    notes, frames = [], crowd.frame
    people = [t for t in linked(crowd.tracks, fps, background.cuts) if len(t.poses) >= 0.5 * fps]
    sure = [t for t in people if np.mean([p.visibility.mean() for p in t.poses.values()]) > SEEN]
    people = sure or people
    people.sort(key=lambda t: _middle(t.poses[t.first])[0])
    if not people:
        if crowd.small:
            raise ValueError(f"{name}: the person is too small: under {SMALLEST} of {size[1]} pixels from head to heel")
        moves = camera_path(background.shifts, size[0])
        raise ValueError(f"{name}: nobody found in {frames} frames of {size[0]} x {size[1]} pixels" + (moves and f"; {moves}"))
    if person is not None and not 1 <= person <= len(people):
        raise ValueError(f"{name}: person {person} of {len(people)} found; expected 1 to {len(people)}, from left to right")
    done = [walked(t, np.array(background.shifts), size[0], fps) for t in people]
    number = done.index(max(done)) if person is None else person - 1
    track = people[number]
    if len(people) > 1:
        who = f"person {number + 1} from the left" + (", who walks farthest" if person is None else "")
        notes.append(f"{len(people)} people are seen: measured is {who}; choose another by its number")
    first, last = track.first, track.last
    if background.cuts:
        notes.append(f"the film is cut at frame {', '.join(map(str, background.cuts[:5]))}: measured is one part of it")
    span = range(first, last + 1)
    keypoints, landmarks = np.full((len(span), 33, 2), np.nan), np.full((len(span), 33, 3), np.nan)
    visibility, whole = np.zeros((len(span), 33)), np.zeros(len(span), bool)
    cut_off, sizes = [], {f: _height(p) for f, p in track.poses.items()}
    usual = dict(zip(sizes, median_filter(list(sizes.values()), max(3, round(fps)), mode="nearest")))
    for n, frame in enumerate(span):
        pose = track.poses.get(frame)
        if pose is None:
            continue
        visibility[n] = pose.visibility
        inside = ((pose.keypoints[FEET] > 1) & (pose.keypoints[FEET] < np.array(size) - 1)).all()
        inside &= ((pose.keypoints[LEGS] > 1) & (pose.keypoints[LEGS] < np.array(size) - 1)).all()
        if not inside:
            cut_off.append(frame)
        elif pose.visibility[LEGS].reshape(2, 3).mean(1).max() > 0.5 and sizes[frame] >= SMALLEST:
            if abs(sizes[frame] - usual[frame]) > 0.3 * usual[frame]:  # another shape than before and after
                continue
            keypoints[n], landmarks[n], whole[n] = pose.keypoints, pose.landmarks, True
    out = np.isin(np.arange(first, last + 1), cut_off)
    whole &= ~binary_closing(np.pad(out, len(out)), np.ones(max(3, round(0.3 * fps))))[len(out) : -len(out)]  # a moment between
    if whole.sum() < 0.8 * fps:
        if len(cut_off) > 0.5 * len(track.poses):
            raise ValueError(f"{name}: the legs are cut off by the edge of the picture in {_spans(cut_off)}")
        raise ValueError(f"{name}: a person is seen whole in only {int(whole.sum())} of {frames} frames")
    if cut_off:
        notes.append(f"the legs are cut off by the edge of the picture in {_spans(cut_off)}: left out")
    a, b = np.flatnonzero(whole)[[0, -1]]
    keep = slice(a, b + 1)
    missing = np.flatnonzero(~whole[keep]) + first + a
    if len(missing) > 0.02 * (b - a):
        notes.append(f"the person is not seen in {_spans(missing)}")
    shifts = np.array(background.shifts)[first : last + 1][keep]
    moves = camera_path(shifts, size[0])
    if moves:
        notes.append(moves)
    return PoseTrack(
        keypoints[keep], landmarks[keep], visibility[keep], fps, int(first + a), size, shifts, bool(moves), name, tuple(notes)
    )


def _spans(frames) -> str:
    """`frames 3-10 and 40`, the first four runs."""
    frames = np.asarray(frames)
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    said = [f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs[:4]]
    return "frames " + ", ".join(said) + (f" and {len(runs) - 4} more places" if len(runs) > 4 else "")
