"""A picture of transplants: a person's normal walk, and the same walk with the pathological codes of other walks.

    python -m experiments.transplant --dataset data/gist --family outputs/gist_10 --subject 10

Each row is decoded from the body, spatial and temporal codes of one normal walk of the held-out person; below the first, the
pathological codes are those of a walk of each other class (same person, same sensor). Writes
model_cards/figures/transplant_SUBJECT.png. The numbers over all walks are in chain_gist.json (experiments/chain.py).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

from experiments.chain import Family, speed_of, windows_of  # noqa: E402
from modeling_gait.drawing.rendering import plot_pose_strip  # noqa: E402
from modeling_gait.training.data import load_walks  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--family", required=True, help="family trained without the subject")
    parser.add_argument("--subject", required=True)
    args = parser.parse_args()
    family = Family(args.family)
    labels = family.extractor.labels
    data = load_walks(args.dataset, only_subjects=[args.subject])
    sensors, classes = np.array(data["sensor"]), np.array([int(p) for p in data["pathology"]])
    names = data.features["pathology"].names
    rows = [int(np.flatnonzero((sensors == "1") & (classes == names.index(n)))[0]) for n in labels]
    windows = windows_of(data.select(rows), family.extractor, [None])
    motion, body, pathological, *_ = family.encode(windows["joints"], windows["attention_mask"])
    own = labels.index("normal")
    count = len(labels)
    mask = windows["attention_mask"][[own] * count]
    joints = family.decode(motion[[own] * count], body[[own] * count], pathological, mask)
    speeds = speed_of(joints, mask, family.extractor.fps)
    frames = int(mask[0].sum())
    with tempfile.TemporaryDirectory() as folder:
        strips = []
        for i in [own, *(k for k in range(count) if k != own)]:
            title = "own normal walk" if i == own else f"with the pathological codes of {labels[i].replace('_', ' ')}"
            path = Path(folder) / f"{i}.png"
            plot_pose_strip(joints[i, :frames].numpy(), path, family.extractor.fps, title=f"{title}, {speeds[i]:.2f} m/s")
            strips.append(Image.open(path).convert("RGB"))
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    at = 0
    for strip in strips:
        sheet.paste(strip, (0, at))
        at += strip.height
    sheet.thumbnail((1100, 1600))
    target = ROOT / "model_cards" / "figures" / f"transplant_{args.subject}.png"
    sheet.save(target)
    print(target)


if __name__ == "__main__":
    with torch.no_grad():
        main()
