"""A picture of rendered videos and of the person found in them, and how long drawing and reading take.

    python -m experiments.video_sheet

Simulated walks only. Writes model_cards/figures/rendered_video.png: person crops of five seeds (four silhouettes, one stick
figure); below, three frames of a standing camera's video with the box found from motion, and the crops of that box. Prints
frames drawn per second and the processor time that 10 s of 640 x 480 take to be read and the person to be found.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]

from modeling_gait.drawing.video_rendering import Camera, render_clips, render_video  # noqa: E402
from modeling_gait.files import atomic_path  # noqa: E402
from modeling_gait.simulation import simulate_walks  # noqa: E402
from modeling_gait.video import crop_person, find_person, read_video  # noqa: E402

SIDE, SHOWN = 128, 8  # pixels of a frame, frames a row


def measure(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Print the times; returns the frames (300, 480, 640, 3) that were read and the boxes (300, 4)."""
    walks = list(simulate_walks(8, frames=70, seed=3).joints)
    for size in (64, 256):
        start = time.process_time()
        count = render_clips(walks, size=size, progress=False)[..., 0, 0, 0].size
        print(f"drawn at {size} x {size}: {count / (time.process_time() - start):.0f} frames/s")
    walk = simulate_walks(1, frames=300, seed=4, pathology="normal", speed=0.5).joints[0]
    render_video(walk, folder / "walk.mp4", size=(480, 640), camera=Camera(60.0, 1.4, 4.0), seed=1, crop=False)
    start = time.process_time()
    video = read_video(folder / "walk.mp4")
    middle = time.process_time()
    boxes = find_person(video.frames, video.path)
    end = time.process_time()
    print(f"10 s of 640 x 480: read {middle - start:.2f} s, person found {end - middle:.2f} s, {end - start:.2f} s in all")
    return video.frames, boxes


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        frames, boxes = measure(Path(folder))
    walks = simulate_walks(5, frames=80, seed=3).joints
    shown = np.linspace(5, 74, SHOWN).astype(int)
    rows = []
    for seed, walk in enumerate(walks):
        video = render_video(walk, size=(SIDE, SIDE), seed=seed, style="stick" if seed == 4 else "silhouette")
        rows.append(np.concatenate(video[shown], axis=1))
    inside = np.flatnonzero(np.isfinite(boxes).all(1))
    width = SIDE * SHOWN // 3
    found = []
    for t in inside[np.linspace(0, len(inside) - 1, 3).astype(int)]:
        image = Image.fromarray(frames[t])
        ImageDraw.Draw(image).rectangle(tuple(boxes[t]), outline=(255, 0, 0), width=4)
        found.append(np.asarray(image.resize((width, width * 3 // 4))))
    found = np.concatenate(found, axis=1)
    rows.append(np.pad(found, ((0, 0), (0, SIDE * SHOWN - found.shape[1]), (0, 0)), constant_values=255))
    kept = inside[np.linspace(0, len(inside) - 1, SHOWN).astype(int)]
    rows.append(np.concatenate(crop_person(frames[kept], boxes[kept], (SIDE, SIDE)), axis=1))
    target = ROOT / "model_cards" / "figures" / "rendered_video.png"
    with atomic_path(target) as temporary:
        Image.fromarray(np.concatenate(rows)).quantize(256).save(temporary, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
