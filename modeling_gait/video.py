"""Video in and out: reading files at a constant frame rate, finding and cropping the person, windows for a video model.

In: an MP4, WebM, AVI or other file that FFmpeg reads (through PyAV). Out: frames uint8 (T, H, W, 3), boxes (T, 4) of the person
and pixel values uint8 (N, 70, 3, H, W). Every refusal is a ValueError that names the file and what is wrong with it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter1d, label, maximum_filter, median_filter

from .files import atomic_path

CODECS = {".mp4": "libx264", ".webm": "libvpx", ".avi": "mpeg4"}
WINDOW = 70  # frames of a clip at 30 fps: two gait cycles
MIN_FRAMES = 20  # a shorter clip has less than one step
MIN_FPS = 10.0  # steps are counted from 0.3 s of swing: three frames at least
MAX_GAP = 0.5  # s, a longer hole in a video is not bridged
MAX_SIDE = 640  # pixels
MAX_PIXELS = 8192 * 4320  # of a picture in a file
MOST_FPS = 32.0  # a pose estimator reads every second frame of a film with more
MARGIN = 1.15  # of a crop's height over the person's


def write_video(frames: Iterable[np.ndarray], path: str | Path, fps: float = 30.0) -> None:
    """Write frames uint8 (T, H, W, 3), or one by one, as .mp4 (H.264), .webm (VP8) or .avi (MPEG-4); an odd last row or column
    is left out.

    Raises ValueError for another suffix or shape, ImportError without PyAV.
    """
    suffix, frames = Path(path).suffix.lower(), iter(frames)
    if suffix not in CODECS:
        raise ValueError(f"{path}: cannot write {suffix!r}; expected one of {', '.join(CODECS)}")
    first = next(frames, None)
    if np.ndim(first) != 3 or first.shape[-1] != 3 or first.dtype != np.uint8:
        got = "nothing" if first is None else f"{first.dtype} (T, {', '.join(map(str, first.shape))})"
        raise ValueError(f"expected frames uint8 (T, H, W, 3), got {got}")
    av = _pyav()
    height, width = (n // 2 * 2 for n in first.shape[:2])  # yuv420p knows no odd sizes
    options = {"crf": "18"} if suffix == ".mp4" else {"qmin": "2", "qmax": "8"}
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream(CODECS[suffix], rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 0 if suffix == ".mp4" else 4 * width * height * 10
        for frame in chain([first], frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _pyav():
    try:
        import av
    except ImportError:
        raise ImportError("video files need PyAV: pip install av") from None
    return av


# ---------------------------------------------------------------- reading


@dataclass
class Video:
    """Frames of a file at a constant rate.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB, upright; the longer side at most `MAX_SIDE` pixels.
        fps: frames per second of `frames`.
        source_fps: mean frame rate of the file.
        path: the file.
        box: where the person is, float (1, 4): left, top, right, bottom in pixels of `frames`; None if not given.
        notes: what was skipped or left out, a sentence each.
    """

    frames: np.ndarray
    fps: float
    source_fps: float
    path: str
    box: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_video(
    path: str | Path, fps: float = 30.0, box: tuple[float, ...] | str | None = None, max_seconds: float = 60.0
) -> Video:
    """Read a video and resample it by its time stamps: at every 1 / fps seconds the frame nearest in time is taken.

    So a variable frame rate keeps its true tempo. Rotation marked in the file (telephones) is applied, pictures larger than
    `MAX_SIDE` are scaled down. Broken frames are skipped with a note where no hole of more than 0.5 s is left.
    A minute takes more than a gigabyte; `read_crops` takes the person only.

    Args:
        box: the person as (left, top, right, bottom) in pixels of the file's upright picture; "full": all of it (a video
            that is a person crop already); None: unknown, see `find_person`.
        max_seconds: what comes later is left out with a note.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file; not a video (text, picture, sound); damaged or cut off, with what could be read; no time
            stamps; under 10 frames per second; a hole; under `MIN_FRAMES` frames; a box outside of the picture.
        ImportError: without PyAV.
    """
    reader = VideoReader(path, fps, max_seconds)
    frames = np.stack(list(reader) or [np.zeros((0, 0, 3), np.uint8)])
    given = _given_box(box, frames.shape[1:3], reader.scale, Path(path))
    return Video(frames, reader.fps, reader.source_fps, str(path), given, tuple(reader.notes))


def _given_box(box, size: tuple[int, int], scale: float, path: Path) -> np.ndarray | None:
    """A box of the file's picture in pixels of the frames, (1, 4)."""
    height, width = size
    if box is None:
        return None
    if isinstance(box, str) and box == "full":
        return np.array([[0.0, 0.0, width, height]])
    if isinstance(box, str) or np.shape(box) != (4,):
        raise ValueError(f"{path}: box: expected (left, top, right, bottom) in pixels or 'full', got {box!r}")
    left, top, right, bottom = scaled = np.array(box, float) * scale
    if not (0 <= left < right <= width + 1 and 0 <= top < bottom <= height + 1):
        shape = f"{width / scale:.0f} x {height / scale:.0f}"
        raise ValueError(f"{path}: box {tuple(box)} is not inside of the picture of {shape} (left, top, right, bottom)")
    return scaled[None]


def _what(path: Path) -> str:
    """Why FFmpeg does not know a file, from its first bytes."""
    with open(path, "rb") as file:
        head = file.read(4096)
    for name, known in (("MP4", head[4:8] == b"ftyp"), ("AVI", head[:4] == b"RIFF"), ("WebM", head[:4] == b"\x1aE\xdf\xa3")):
        if known:
            return f"corrupt or cut off: it begins as {name}, but its index cannot be read, so no frame can be found"
    try:
        head[:4090].decode("utf-8", "strict")
        return "not a video: a text file" if b"\0" not in head else "not a video: zeros"
    except UnicodeDecodeError:
        return "not a video, or its beginning is corrupt: FFmpeg knows no such format"


class VideoReader:
    """The frames of a file one by one, uint8 (H, W, 3), upright: at every 1 / fps seconds the one nearest in time.

        for image in VideoReader("walk.mov"): ...

    Args as of `read_video`; `fps` None: the file's own rate, or the whole part of it that is at most `MOST_FPS`. `max_side`:
    longer pictures are scaled down, by `scale`. Refuses what `read_video` refuses, at the latest after the last frame.
    """

    def __init__(self, path: str | Path, fps: float | None = 30.0, max_seconds: float = 60.0, max_side: int = MAX_SIDE):
        self.path, self.max_seconds, self.max_side = Path(path), max_seconds, max_side
        path = self.path
        if fps is not None and not (np.isfinite(fps) and fps >= MIN_FPS):
            raise ValueError(f"fps: expected at least {MIN_FPS:g}, got {fps}")
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        if not path.is_file() or not path.stat().st_size:
            what = "the file is empty (0 bytes)" if path.is_file() else "expected a file, not a folder"
            raise ValueError(f"{path}: {what}")
        av = _pyav()
        try:
            self.container = av.open(str(path))
        except av.error.FFmpegError:
            raise ValueError(f"{path}: {_what(path)}") from None
        name = self.container.format.name
        if name.endswith("_pipe") or name.startswith("image2"):
            raise ValueError(f"{path}: not a video: a picture ({name.removesuffix('_pipe').upper()})")
        cover = av.stream.Disposition.attached_pic
        streams = [v for v in self.container.streams.video if not v.disposition & cover]
        if not streams:
            kinds = sorted({stream.type for stream in self.container.streams if stream.type != "video"})
            raise ValueError(f"{path}: no video stream in this {name} file; it holds {', '.join(kinds) or 'nothing'}")
        self.stream = streams[0]
        if self.stream.width * self.stream.height > MAX_PIXELS:
            raise ValueError(f"{path}: pictures of {self.stream.width} x {self.stream.height}; at most 8192 x 4320 are read")
        self.stream.thread_type = "AUTO"
        own = float(self.stream.average_rate or 30)
        self.fps = float(fps or max(MIN_FPS, own / np.ceil(own / MOST_FPS)))
        self.times: list[float] = []
        self.notes: list[str] = []
        self.seconds, self.start = (self.container.duration or 0) / 1e6, (self.container.start_time or 0) / 1e6
        if self.stream.average_rate:  # AVI: the duration of a cut file is guessed from its size, its frames are counted
            self.seconds = max(self.seconds, float(self.stream.frames / self.stream.average_rate))
        self.taken, self.broken, self.end, self.stopped, self.scale, self.error = 0, 0, 0.0, False, 1.0, ""

    def __len__(self) -> int:
        """Frames to be expected, for a progress bar."""
        return round(min(self.seconds, self.max_seconds) * self.fps)

    def __iter__(self) -> Iterator[np.ndarray]:
        with self.container:
            yield from self._read()
        self.check()

    def _read(self) -> Iterator[np.ndarray]:
        """A frame is converted to RGB only where it is taken."""
        first, last = None, None
        for frame in self._decoded():
            if frame.time is None:
                raise ValueError(
                    f"{self.path}: no time stamps (a bare {self.container.format.name} stream), so the frame rate is unknown; "
                    "put it into a container with its rate: ffmpeg -framerate RATE -i FILE -c copy FILE.mp4"
                )
            first = frame.time if first is None else first
            time = frame.time - first
            if self.times and time <= self.times[-1]:
                continue  # a stamp that does not advance
            if self.times:
                yield from self._take(last, (self.times[-1] + time) / 2)
            if time >= self.max_seconds:
                self.stopped = True
                return
            self.times.append(time)
            last = frame
        if last is not None:
            yield from self._take(last, self.times[-1] + 0.5 / self.fps)

    def _decoded(self):
        """The frames of the stream; those that cannot be decoded are counted in `broken`."""
        error = _pyav().error.FFmpegError
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.pts is not None and packet.time_base:
                    self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                frames = packet.decode() if packet.stream == self.stream else ()
            except error as problem:
                self.broken, self.error = self.broken + 1, problem.strerror
                if self.broken > 10_000:
                    return
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame

    def _take(self, frame, until: float) -> Iterator[np.ndarray]:
        """The frame, for all multiples of 1 / fps before `until`."""
        image = None
        while self.taken / self.fps < until:
            image = self._image(frame) if image is None else image
            self.taken += 1
            yield image

    def _image(self, frame) -> np.ndarray:
        """RGB, upright, square pixels, the longer side at most `max_side`."""
        wide = frame.width * float(self.stream.sample_aspect_ratio or 1)
        self.scale = min(1.0, self.max_side / max(wide, frame.height))
        image = frame.to_ndarray(format="rgb24", width=round(wide * self.scale), height=round(frame.height * self.scale))
        return np.rot90(image, round(frame.rotation / 90))

    @property
    def source_fps(self) -> float:
        return (len(self.times) - 1) / self.times[-1] if len(self.times) > 1 else 0.0

    def check(self) -> None:
        """Raise what the docstring of `read_video` promises; note what was left out."""
        path, read = self.path, f"{len(self.times)} frames ({self.times[-1] if self.times else 0:.2f} s)"
        if not self.times:
            raise ValueError(f"{path}: corrupt: no frame could be decoded {self.error and f'({self.error})'}".rstrip())
        if not self.stopped and self.seconds - (self.end - self.start) > MAX_GAP:
            raise ValueError(f"{path}: corrupt or cut off: the header promises {self.seconds:.2f} s, only {read} could be read")
        holes = np.diff(self.times)
        if len(self.times) >= MIN_FRAMES and self.source_fps < MIN_FPS:
            raise ValueError(f"{path}: {self.source_fps:.1f} frames per second; gait needs at least {MIN_FPS:g}")
        if len(holes) and holes.max() > MAX_GAP:
            at = self.times[int(holes.argmax())]
            why = f"corrupt: {self.broken} frames could not be read, " if self.broken else ""
            raise ValueError(f"{path}: {why}no frame between {at:.2f} and {at + holes.max():.2f} s; {read} could be read")
        if self.taken < MIN_FRAMES:
            raise ValueError(f"{path}: too short: {read}; expected at least {MIN_FRAMES / self.fps:.2f} s")
        if self.broken:
            self.notes.append(f"{self.broken} broken frames skipped")
        if self.stopped:
            self.notes.append(f"only the first {self.max_seconds:g} s are read")


# ---------------------------------------------------------------- the person


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


class Background:
    """How the picture shifts behind the people in it, and where the film is cut; frames are added one by one.

    A frame is compared, in grey at about 160 pixels, with a key frame: of all shifts of a few pixels the one that fits most of
    the picture's edges is the camera's, however the people move. The frame becomes the key when it has shifted far.

    Attributes:
        shifts: of each frame (x, y) [pixels of the frames added], how far the background stands from where it was in the first.
        cuts: frames that show another scene than the one before.
    """

    def __init__(self):
        self.shifts: list[tuple[float, float]] = []
        self.cuts: list[int] = []
        self._key = self._last = None
        self._base, self._guess, self._pace, self._usual = np.zeros(2), np.zeros(2), np.zeros(2), 3.0

    def add(self, image: np.ndarray) -> None:
        """image: uint8 (H, W, 3) or (H, W)."""
        from PIL import Image

        shrink = max(1, round(max(image.shape[:2]) / 160))
        grey = np.asarray(Image.fromarray(image).convert("L").reduce(shrink), np.float32)
        shift, cut, lost = np.zeros(2), False, False
        if self._last is not None:
            change = float(np.abs(grey - self._last).mean())
            if change > 1:
                shift, left = self._compare(grey)
                cut = change > 15 and left > max(12.0, 4 * self._usual) and self._unlike(grey)
                if left > 12 and not cut:  # nothing of the key frame is known again: it goes on as it did
                    shift = self._guess + self._pace
                    lost = True
            self._pace = shift - self._guess if not cut else np.zeros(2)
            self._usual += 0.1 * (min(change, 15.0) - self._usual)
        if cut:
            self.cuts.append(len(self.shifts))
            shift = np.zeros(2)
        if self._key is None or cut:
            self._key, self._guess = grey, np.zeros(2)
        self.shifts.append(tuple(self._base + shift * shrink))
        if np.abs(shift).max() > 5 or lost:
            self._base, self._key, self._guess = self._base + shift * shrink, grey, np.zeros(2)
        else:
            self._guess = shift
        self._last = grey

    def _unlike(self, grey: np.ndarray) -> bool:
        """Are the edges of the two frames in other places? Those of one scene stay when the light changes."""
        edges = [np.hypot(*np.gradient(g)).ravel() for g in (grey, self._last)]
        return float(np.corrcoef(*edges)[0, 1]) < 0.4

    def _compare(self, grey: np.ndarray) -> tuple[np.ndarray, float]:
        """Shift (x, y) of `grey` against the key frame [small pixels], and the difference that it leaves."""
        reach, key = 8, self._key
        (rows, columns), (gx, gy) = key.shape, np.round(self._guess + self._pace).astype(int)
        inner = slice(reach + 4, rows - reach - 4), slice(reach + 4, columns - reach - 4)
        a = key[inner]
        edges = np.hypot(*np.gradient(a)) > 6
        strips = np.array_split(np.arange(edges.shape[1]), 8)  # a person alone before a plain wall is in one or two of them
        if sum(edges[:, s].sum() > 10 for s in strips) < 4:
            return np.zeros(2), 0.0
        places = np.argwhere(edges) + reach + 4
        values = a[edges]

        def cost(x: int, y: int) -> float:
            x, y = (int(np.clip(v, -reach - 3, reach + 3)) for v in (x, y))
            return float(np.minimum(np.abs(grey[places[:, 0] + y, places[:, 1] + x] - values), 40).mean())

        still = cost(0, 0)
        found = {(x, y): cost(x, y) for x in range(gx - 5, gx + 6) for y in range(gy - 2, gy + 3)}
        best = min(found, key=found.get)
        if not found[best] < min(0.8 * still, still - 1.5):
            return np.zeros(2), still
        fine = []
        for axis in (0, 1):
            step = np.eye(2, dtype=int)[axis]
            b, c, d = (cost(*(np.array(best) + n * step)) for n in (-1, 0, 1))
            fine.append(best[axis] + (0.5 * (b - d) / (b - 2 * c + d) if b > c < d else 0.0))
        return np.array(fine), found[best]


def camera_path(shifts: np.ndarray, width: int) -> str:
    """In words, how a camera moves whose background shifts so (T, 2) [pixels] in pictures of a width; "" where it stands still.

    Shifts of up to 3 % of the width are a hand that holds the camera.
    """
    shifts = np.asarray(shifts)
    span = np.ptp(shifts, axis=0) if len(shifts) else np.zeros(2)
    if span.max() <= 0.03 * width:
        return ""
    far = np.abs(shifts - np.median(shifts[:5], axis=0)).max(1) > 0.015 * width
    return f"the camera moves: the background shifts by {span.max() / width:.0%} of the width from frame {int(far.argmax())} on"


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
            place = _given_box(box, frame.shape[:2], reader.scale, Path(path)) if boxes is None else boxes[t : t + 1]
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
