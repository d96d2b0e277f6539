"""Video in and out: `read_video`, `VideoReader` (frame by frame), `write_video`.

In: an MP4, WebM, AVI, GIF or other file that FFmpeg reads (through PyAV). Out: frames uint8 (T, H, W, 3) at a constant frame
rate, upright. Every refusal is a ValueError that names the file and what is wrong with it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from .files import atomic_path
from .skeletons import check_fps

CODECS = {".mp4": "libx264", ".webm": "libvpx", ".avi": "mpeg4"}
MIN_FRAMES = 20  # a shorter clip has less than one step
MIN_FPS = 10.0  # steps are counted from 0.3 s of swing: three frames at least
MAX_GAP = 0.5  # s, a longer hole in a video is not bridged
MAX_SIDE = 640  # pixels
MAX_PIXELS = 8192 * 4320  # of a picture in a file
MOST_FPS = 32.0  # a pose estimator reads every second frame of a film with more


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
    A minute takes more than a gigabyte; `video_crops.read_crops` takes the person only.

    Args:
        box: the person as (left, top, right, bottom) in pixels of the file's upright picture; "full": all of it (a video
            that is a person crop already); None: unknown, see `video_crops.find_person`.
        max_seconds: what comes later is left out with a note.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file; not a video (text, picture, sound); damaged or cut off, with what could be read; no time
            stamps; under 10 frames per second; a hole; under `MIN_FRAMES` frames; a box outside of the picture.
        ImportError: without PyAV.
    """
    reader = VideoReader(path, fps, max_seconds)
    frames = np.stack(list(reader) or [np.zeros((0, 0, 3), np.uint8)])
    given = given_box(box, frames.shape[1:3], reader.scale, Path(path))
    return Video(frames, reader.fps, reader.source_fps, str(path), given, tuple(reader.notes))


def given_box(box, size: tuple[int, int], scale: float, path: Path) -> np.ndarray | None:
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
        if fps is not None:
            check_fps(fps)
            if fps < MIN_FPS:
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
