"""Videos are read at the right times, the person is found, and every broken file is refused with its name and the reason."""

import tracemalloc
import wave
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modeling_gait.drawing.video_rendering import Camera, render_video
from modeling_gait.simulation import simulate_walks
from modeling_gait.video import read_video, write_video
from modeling_gait.video_crops import crop_person, find_person, prepare_video, windows

av = pytest.importorskip("av")
SIDE = Camera(90, 1.2, 4.0)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A person who walks through the view of a standing camera, (90, 120, 160, 3)."""
    walk = simulate_walks(1, frames=90, seed=2, pathology="normal").joints[0]
    return render_video(walk, size=(120, 160), camera=SIDE, seed=1, crop=False)


@pytest.fixture(scope="module")
def counting() -> np.ndarray:
    """Frames whose grey value tells their number, (90, 48, 64, 3): 20 + 2 i."""
    return np.tile((20 + 2 * np.arange(90, dtype=np.uint8))[:, None, None, None], (1, 48, 64, 3))


def numbers(frames: np.ndarray) -> np.ndarray:
    return (frames.mean((1, 2, 3)) - 20) / 2


def write_times(path, frames: np.ndarray, times: list[float]) -> None:
    """A video with these time stamps [s]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for frame, time in zip(frames, times):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_round_trip(tmp_path, clip, suffix):
    path = tmp_path / f"walk{suffix}"
    write_video(clip, path, 30)
    video = read_video(path)
    assert video.frames.shape == clip.shape and video.frames.dtype == np.uint8
    assert np.abs(video.frames.astype(int) - clip).mean() < 6
    assert video.fps == 30 and video.source_fps == pytest.approx(30, rel=0.01) and video.path == str(path)
    assert prepare_video(path)[0].shape == (2, 70, 3, 64, 64)


@pytest.mark.parametrize("rate", [12, 25, 30, 60])
def test_resampled_to_real_time(tmp_path, counting, rate):
    write_video(counting, tmp_path / "a.mp4", rate)
    video = read_video(tmp_path / "a.mp4", fps=30)
    seconds = np.arange(len(video.frames)) / 30
    assert len(seconds) == pytest.approx(90 / rate * 30, abs=2)
    assert np.abs(numbers(video.frames) - np.minimum(seconds * rate, 89)).max() < 1.5
    assert video.source_fps == pytest.approx(rate, rel=0.01)


def test_a_variable_rate_follows_its_time_stamps(tmp_path, counting):
    times = np.cumsum(np.tile([1 / 60, 1 / 20, 1 / 30], 30)) - 1 / 60
    write_times(tmp_path / "vfr.mp4", counting, times)
    video = read_video(tmp_path / "vfr.mp4")
    seen = np.interp(np.arange(len(video.frames)) / 30, times, np.arange(90))
    assert np.abs(numbers(video.frames) - seen).max() < 1.5


def test_a_telephones_rotation_is_applied(tmp_path, clip):
    write_video(clip, tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    one, minus, at = b"\0\1\0\0", b"\xff\xff\0\0", data.index(b"tkhd")
    upright = one + 12 * b"\0" + one
    place = data.index(upright, at)
    turned = b"\0" * 4 + one + b"\0" * 4 + minus + b"\0" * 4
    (tmp_path / "b.mp4").write_bytes(data[:place] + turned + data[place + 20 :])
    frames = read_video(tmp_path / "b.mp4").frames
    expected = np.rot90(clip, -1, axes=(1, 2))  # a quarter turn clockwise
    assert frames.shape == expected.shape and np.abs(frames.astype(int) - expected).mean() < 6


def test_large_pictures_are_scaled_and_so_is_the_box(tmp_path):
    big = np.zeros((25, 100, 800, 3), np.uint8)
    write_video(big, tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4", box=(400, 0, 800, 100))
    assert video.frames.shape == (25, 80, 640, 3)
    assert np.allclose(video.box, [[320, 0, 640, 80]])
    assert np.allclose(read_video(tmp_path / "a.mp4", box="full").box, [[0, 0, 640, 80]])
    for box in ((400, 0, 900, 100), (5, 5, 5, 50), (1, 2, 3), "middle"):
        with pytest.raises(ValueError, match=r"a\.mp4: box"):
            read_video(tmp_path / "a.mp4", box=box)


def test_only_the_first_seconds(tmp_path, counting):
    write_video(counting, tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4", max_seconds=1.0)
    assert len(video.frames) == 30 and video.notes == ("only the first 1 s are read",)


def test_a_long_video_takes_little_memory(tmp_path):
    """20 s, of which the frames are 415 MB."""
    film = np.zeros((600, 360, 640, 3), np.uint8)
    for t, frame in enumerate(film):
        frame[60:340, 20 + t : 100 + t] = 255
    write_video(film, tmp_path / "a.avi")
    tracemalloc.start()
    clips, notes = prepare_video(tmp_path / "a.avi", count=4, max_seconds=20.0)
    assert tracemalloc.get_traced_memory()[1] < 150e6 and clips.shape == (17, 4, 3, 64, 64) and notes == []
    tracemalloc.stop()


# ---------------------------------------------------------------- files that are refused


def refused(path, pattern: str, read=read_video) -> None:
    with pytest.raises(ValueError, match=pattern) as error:
        read(path)
    assert path.name in str(error.value)


def test_no_file_and_an_empty_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nope\.mp4"):
        read_video(tmp_path / "nope.mp4")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "empty")
    refused(tmp_path, "not a folder")


def test_not_a_video(tmp_path, clip):
    (tmp_path / "text.mp4").write_text("step length, step time\n" * 40)
    refused(tmp_path / "text.mp4", "not a video: a text file")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    refused(tmp_path / "noise.mp4", "not a video|no video stream")
    for suffix in ("png", "jpg", "bmp"):
        Image.fromarray(clip[0]).save(tmp_path / f"a.{suffix}")
        refused(tmp_path / f"a.{suffix}", "not a video: a picture")
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    refused(tmp_path / "a.wav", "no video stream.*audio")


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_cut_off(tmp_path, clip, suffix, share):
    write_video(clip, tmp_path / f"whole{suffix}")
    data = (tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: round(share * len(data))])
    refused(path, "corrupt or cut off" + ("" if suffix == ".mp4" else r": the header promises 3\.\d+ s, only \d+ frames"))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_damaged_inside(tmp_path, clip, suffix):
    """A third of the bytes in the middle are zeros: refused as corrupt, or what is left has no hole of half a second."""
    path = tmp_path / f"a{suffix}"
    write_video(clip, path)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)
    refused(path, "corrupt")


def test_a_short_film(tmp_path, clip):
    write_video(clip[:5], tmp_path / "five.mp4")
    refused(tmp_path / "five.mp4", r"too short: 5 frames")
    write_video(clip[:1], tmp_path / "one.avi")
    refused(tmp_path / "one.avi", "too short: 1 frames")


def test_a_wrong_frame_rate(tmp_path, counting):
    write_video(counting[:40], tmp_path / "slow.mp4", 5)
    refused(tmp_path / "slow.mp4", r"5\.0 frames per second; gait needs at least 10")
    times = np.arange(60) / 30
    times[30:] += 1.0
    write_times(tmp_path / "hole.mp4", counting, times)
    refused(tmp_path / "hole.mp4", r"no frame between 0\.97 and 2\.00 s")
    for fps, message in ((0, "fps must be a positive number, got 0"), (5, "fps: expected at least 10")):
        with pytest.raises(ValueError, match=message):
            read_video(tmp_path / "hole.mp4", fps=fps)


def test_no_time_stamps(tmp_path, clip):
    with av.open(str(tmp_path / "bare.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
        for frame in clip[:30]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    refused(tmp_path / "bare.h264", "no time stamps")


def test_write_refuses(tmp_path, clip):
    with pytest.raises(ValueError, match="cannot write '.mkv'"):
        write_video(clip, tmp_path / "a.mkv")
    with pytest.raises(ValueError, match="expected frames uint8"):
        write_video(clip.astype(float), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the person


def extent(walk: np.ndarray, seed: int, camera: Camera) -> np.ndarray:
    """True boxes (T, 4) [pixels] of 160 x 120 frames with a plain background."""
    frames = render_video(walk, size=(120, 160), camera=camera, seed=seed, crop=False).astype(int)
    unlike = np.abs(frames - frames[:, :1, :1]).max(-1) > 20
    return np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in map(np.nonzero, unlike)])


@pytest.mark.parametrize("azimuth", [0, 90, 130])
def test_the_box_is_where_the_person_is(azimuth):
    camera = Camera(azimuth, 1.2, 4.0)
    walk = simulate_walks(1, frames=90, seed=2, pathology="normal").joints[0]
    frames = render_video(walk, size=(120, 160), camera=camera, seed=0, crop=False)
    assert (frames[:, :5] == frames[0, 0, 0]).all(), "seed 0 has a plain background"
    boxes, true = find_person(frames), extent(walk, 0, camera)
    assert boxes.shape == (90, 4)
    height = np.median(true[:, 3] - true[:, 1])
    assert np.nanmedian(np.abs(boxes - true)[:, [1, 3]]) < 0.06 * height
    assert np.nanmedian(np.abs(boxes[:, ::2].mean(1) - true[:, ::2].mean(1))) < 0.08 * height


def test_nan_before_the_person_comes_and_after_they_left(clip, tmp_path):
    empty = np.repeat(np.median(clip, axis=0).astype(np.uint8)[None], 40, axis=0)
    frames = np.concatenate([empty, clip, empty[:30]])
    boxes = find_person(frames)
    inside = np.isfinite(boxes).all(1)
    assert inside[45:125].all() and not inside[:37].any() and not inside[133:].any()
    with pytest.raises(ValueError, match="out of view"):
        crop_person(frames, boxes)
    write_video(frames, tmp_path / "a.mp4")
    assert len(prepare_video(tmp_path / "a.mp4")[0]) == 2, "the empty scene is cut off"


def test_nobody(tmp_path, clip):
    still = np.repeat(clip[:1], 60, axis=0)
    noisy = np.clip(still + np.random.default_rng(0).normal(0, 6, still.shape), 0, 255).astype(np.uint8)
    for name, frames in (("still.mp4", still), ("noisy.mp4", noisy)):
        write_video(frames, tmp_path / name)
        refused(tmp_path / name, "no person found", prepare_video)


def test_two_people(tmp_path, clip):
    walk = simulate_walks(1, frames=90, seed=5, pathology="normal").joints[0]
    other = render_video(walk, size=(120, 160), camera=SIDE, seed=4, crop=False)
    write_video(np.concatenate([clip, other], axis=2), tmp_path / "two.mp4")
    refused(tmp_path / "two.mp4", "two people found", prepare_video)
    assert prepare_video(tmp_path / "two.mp4", box=(0, 0, 160, 120))[0].shape == (2, 70, 3, 64, 64)


def test_a_camera_that_moves(tmp_path):
    walk = simulate_walks(1, frames=60, seed=2, pathology="normal").joints[0]
    rng = np.random.default_rng(0)
    scene = np.asarray(Image.fromarray(rng.integers(0, 255, (12, 60, 3), dtype=np.uint8)).resize((400, 120), Image.NEAREST))
    frames = np.stack([scene[:, 4 * t : 4 * t + 160] for t in range(len(walk))])
    write_video(frames, tmp_path / "pan.mp4")
    refused(tmp_path / "pan.mp4", "camera moves", prepare_video)


def test_a_camera_that_follows(tmp_path):
    """Posts pass behind a person who stays in the middle of the picture."""
    frames = np.full((150, 120, 90, 3), 140, np.uint8)
    for t, frame in enumerate(frames):
        for post in range(0, 800, 100):
            left = post + 60 - 4 * t
            frame[20:90, max(0, left) : max(0, left + 16)] = (110, 70, 40)
        frame[35:100, 40:50] = 40
        frame[75:100, 42 + t % 9 : 46 + t % 9] = 40
    write_video(frames, tmp_path / "follows.mp4")
    refused(tmp_path / "follows.mp4", "camera moves", prepare_video)


def test_a_crop_shows_the_person(clip, tmp_path):
    crops = crop_person(clip, find_person(clip))
    assert crops.shape == (90, 64, 64, 3)
    empty = crop_person(np.repeat(np.median(clip, axis=0).astype(np.uint8)[None], 90, axis=0), find_person(clip))
    rows = (np.abs(crops.astype(int) - empty).max(-1) > 40).any(2)
    assert 44 < np.median(rows.sum(1)) < 62, "the person fills most of the height and is not cut"
    write_video(clip, tmp_path / "a.mp4")
    values, notes = prepare_video(tmp_path / "a.mp4", size=(32, 48))
    assert values.shape == (2, 70, 3, 32, 48) and values.dtype == np.uint8 and values.max() > 80 and notes == []
    few = prepare_video(tmp_path / "a.mp4", size=(32, 48), count=3)[0]
    assert np.array_equal(few, values[:, [0, 34, 69]])


def test_edges_are_repeated_outside_of_the_picture():
    frames = np.zeros((1, 20, 20, 3), np.uint8)
    frames[:, 0] = 200
    crop = crop_person(frames, np.array([[0, -20, 20, 0]]), (16, 16))
    assert (crop[0, :12] == 200).all()


@given(st.integers(1, 200), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=80, deadline=None)
def test_windows_cover_every_frame(total, length, stride):
    frames = np.arange(total)
    if total < min(20, length):
        with pytest.raises(ValueError, match=f"too short: {total} frames"):
            windows(frames, length, stride)
        return
    out = windows(frames, length, stride)
    assert out.shape[1:] == (length,)
    assert out[0, 0] == 0 and out[-1, -1] == total - 1
    assert (np.diff(out, axis=1) >= 0).all() and (np.diff(out[:, 0]) <= stride).all()
    if total >= length:
        assert (np.diff(out, axis=1) == 1).all()
    else:
        assert np.array_equal(out[0], np.minimum(np.arange(length), total - 1)), "the last frame is held"
    if stride <= length:
        assert set(out.ravel()) == set(range(total))
