"""A picture of new people: one walk written by a family, and the same walk of people with other bones and postures.

    python -m experiments.new_people --family outputs/loso_gist/fold_1 --prompt "steppage gait, right side, speed 0.65 m/s"

Writes model_cards/figures/new_people.png: the sampled walk above, three people drawn as experiments/loso.py draws them below.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image
from transformers import pipeline

ROOT = Path(__file__).resolve().parents[1]

import modeling_gait  # noqa: E402, F401  (registers the pipelines)
from modeling_gait.augmentation import NEW_PEOPLE  # noqa: E402
from modeling_gait.drawing.rendering import plot_pose_strip  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", required=True, help="folder or Hub id of a model family")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    walk = pipeline("text-to-gait", model=args.family)(args.prompt, seed=args.seed)
    joints = torch.from_numpy(walk["joints"])
    others = NEW_PEOPLE(joints[None].repeat(3, 1, 1, 1), torch.Generator().manual_seed(args.seed))
    with tempfile.TemporaryDirectory() as folder:
        strips = []
        for i, person in enumerate([joints, *others]):
            path = Path(folder) / f"{i}.png"
            title = args.prompt if i == 0 else f"another person {i}"
            plot_pose_strip(person.numpy(), path, walk["fps"], title=title)
            strips.append(Image.open(path).convert("RGB"))
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    at = 0
    for strip in strips:
        sheet.paste(strip, (0, at))
        at += strip.height
    sheet.thumbnail((1100, 1600))
    target = ROOT / "model_cards" / "figures" / "new_people.png"
    sheet.save(target)
    print(target)


if __name__ == "__main__":
    main()
