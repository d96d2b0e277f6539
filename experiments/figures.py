"""Pictures of what the numbers are about: walks of new people, and transplants of pathological codes.

    python -m experiments.figures new_people --family outputs/loso_gist/fold_1 --prompt "steppage gait, right side, 0.65 m/s"
    python -m experiments.figures transplant --family outputs/gist_10 --dataset data/gist --subject 10

`new_people`: a walk sampled from the family, and three people drawn as loso.py draws them. `transplant`: a normal walk of the
held-out person, and the same body, spatial and temporal codes with the pathological codes of a walk of each other class (same
person, same sensor); the numbers over all walks are in chain_gist.json. Out: model_cards/figures/NAME.png.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import pipeline

from experiments.runner import figure_path
from modeling_gait.drawing.rendering import plot_pose_strip
from modeling_gait.files import atomic_path


def strips(walks: dict[str, np.ndarray], name: str, fps: float = 30.0) -> None:
    """Pose strips of walks (T, J, 3) below each other, by title, as `model_cards/figures/NAME.png`."""
    with tempfile.TemporaryDirectory() as folder:
        images = []
        for i, (title, joints) in enumerate(walks.items()):
            plot_pose_strip(np.asarray(joints)[:90], Path(folder) / f"{i}.png", fps, title=title)
            images.append(Image.open(Path(folder) / f"{i}.png").convert("RGB"))
    sheet = Image.new("RGB", (max(s.width for s in images), sum(s.height for s in images)), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (0, sum(s.height for s in images[:i])))
    sheet.thumbnail((1100, 1600))
    with atomic_path(figure_path(name)) as temporary:
        sheet.save(temporary)


def new_people(args: argparse.Namespace) -> None:
    from modeling_gait.augmentation import NEW_PEOPLE

    walk = pipeline("text-to-gait", model=args.family)(args.prompt, seed=0)
    joints = torch.from_numpy(walk["joints"])
    others = NEW_PEOPLE(joints[None].repeat(3, 1, 1, 1), torch.Generator().manual_seed(0))
    people = {f"another person {i + 1}": person.numpy() for i, person in enumerate(others)}
    strips({args.prompt: walk["joints"]} | people, "new_people", walk["fps"])


@torch.no_grad()
def transplant(args: argparse.Namespace) -> None:
    from experiments.chain import Family, speed_of, windows_of
    from modeling_gait.training.data import load_walks

    family = Family(args.family)
    labels, data = family.extractor.labels, load_walks(args.dataset, only_subjects=[args.subject])
    sensors, classes = np.array(data["sensor"]), np.array([int(p) for p in data["pathology"]])
    names = data.features["pathology"].names
    rows = [int(np.flatnonzero((sensors == "1") & (classes == names.index(n)))[0]) for n in labels]
    windows = windows_of(data.select(rows), family.extractor, [None])
    codes = family.encode(windows["joints"], windows["attention_mask"])
    own, count = labels.index("normal"), len(labels)
    mask = windows["attention_mask"][[own] * count]
    persons = {k: v[[own] * count] for k, v in codes.items() if k.endswith("_codes")}
    joints = family.decode(persons | {"pathological_codes": codes["pathological_codes"]}, mask)
    speeds, frames = speed_of(joints, mask, family.extractor.fps), int(mask[0].sum())
    walks = {}
    for i in [own, *(k for k in range(count) if k != own)]:
        title = "own normal walk" if i == own else f"with the pathological codes of {labels[i].replace('_', ' ')}"
        walks[f"{title}, {speeds[i]:.2f} m/s"] = joints[i, :frames].numpy()
    strips(walks, f"transplant_{args.subject}", family.extractor.fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("new_people", "transplant"))
    parser.add_argument("--family", required=True, help="folder or Hub id; of a transplant: trained without the subject")
    parser.add_argument("--prompt", default="steppage gait, right side, speed 0.65 m/s")
    parser.add_argument("--dataset")
    parser.add_argument("--subject")
    args = parser.parse_args()
    {"new_people": new_people, "transplant": transplant}[args.figure](args)


if __name__ == "__main__":
    main()
