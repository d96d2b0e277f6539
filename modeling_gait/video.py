"""Video in and out: reading files at a constant frame rate, finding and cropping the person, windows for a video model.

In: an MP4, WebM, AVI or other file that FFmpeg reads (through PyAV). Out: frames uint8 (T, H, W, 3), boxes (T, 4) of the person
and pixel values float32 (N, 70, 3, H, W) in 0..1. Every refusal is a ValueError that names the file and what is wrong with it.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np

from .export import atomic_path

CODECS = {".mp4": "libx264", ".webm": "libvpx", ".avi": "mpeg4"}


def write_video(frames: np.ndarray, path: str | Path, fps: float = 30.0) -> None:
    """Write frames uint8 (T, H, W, 3) as .mp4 (H.264), .webm (VP8) or .avi (MPEG-4); an odd last row or column is left out.

    Raises ValueError for another suffix or shape, ImportError without PyAV.
    """
    suffix, frames = Path(path).suffix.lower(), np.asarray(frames)
    if suffix not in CODECS:
        raise ValueError(f"{path}: cannot write {suffix!r}; expected one of {', '.join(CODECS)}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"expected frames uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    av = _pyav()
    height, width = (n // 2 * 2 for n in frames.shape[1:3])  # yuv420p knows no odd sizes
    options = {"crf": "18"} if suffix == ".mp4" else {"qmin": "2", "qmax": "8"}
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream(CODECS[suffix], rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 0 if suffix == ".mp4" else 4 * width * height * 10
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _pyav():
    try:
        import av
    except ImportError:
        raise ImportError("video files need PyAV: pip install av") from None
    return av
