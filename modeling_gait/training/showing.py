"""What a model family does: walks of prompts as pictures and files, and a table of what was asked and what came out.

In: a family folder or Hub id; prompts (default: one for each class that the model knows).
Out: generated walks (dicts of `text-to-gait`), a `Shown` of each, Markdown, and the files that train/show.py names.
The numbers are measured on the generated joints; the class is read from them by the tokeniser (its pathological codes).
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from transformers import pipeline

from modeling_gait.captions import WalkDescription
from modeling_gait.drawing.rendering import angle_cycles, plot_joint_angles, plot_pose_strip, render_animation
from modeling_gait.export import write_bvh, write_csv
from modeling_gait.files import atomic_path, write_json
from modeling_gait.gait_classes import GaitClasses
from modeling_gait.processing_gait import GaitProcessor
from modeling_gait.released import named
from modeling_gait.skeletons import SKELETONS

# Speed and cadence of the default prompts, as factors on the training people's normal walks: rounded from the medians of
# simulated walks of the same severity. Acted walks (gist) are slowed about as much; other classes are asked for at normal pace.
PACE = {
    "normal": (1.0, 1.0),
    "antalgic": (0.63, 0.89),
    "stiff_legged": (0.66, 0.86),
    "lurch": (0.63, 0.78),
    "steppage": (0.66, 0.84),
    "trendelenburg": (0.63, 0.80),
    "parkinsonian": (0.52, 0.93),
}
SEVERE = 0.83


@dataclass
class ShowArguments:
    """Arguments of the demonstration."""

    model: str = field(metadata={"help": "folder or Hub id of a model family"})
    output_dir: str = field(default="demo", metadata={"help": "folder of the pictures and files"})
    prompts: list[str] = field(default_factory=list, metadata={"help": "descriptions; default: one for each class"})
    trained_on: str = field(default="", metadata={"help": "the data behind the model, said above the table"})
    candidates: int = field(default=8, metadata={"help": "walks sampled a prompt; the one that follows it best is shown"})
    temperature: float = 0.7
    top_p: float = 1.0
    seed: int = 0


FRAMES = 96  # of a shown walk at least: some strides


@dataclass
class Shown:
    """One walk: what was asked, what was measured on the joints (T, J, 3) [m], and what they are read as.

    Speeds in m/s, cadences in steps/min, ranges in degrees; None where nothing was asked or it could not be measured.
    """

    name: str
    prompt: str
    asked_class: str
    asked_speed: float | None
    speed: float | None
    asked_cadence: float | None
    cadence: float | None
    knee_range_left: float | None
    knee_range_right: float | None
    read_class: str
    read_probability: float
    described: str


def default_prompts(classes: GaitClasses, reference: dict | None = None, severity: float = SEVERE) -> list[str]:
    """A prompt for each class: right side, severe at the pace of PACE, milder nearer to a normal one.

    `reference`: of `captions.fit_reference` on the training people's normal walks; None: 1.25 m/s and 112 steps/min.
    """
    normal = {"speed": 1.25, "cadence": 112.0} | dict((reference or {}).get("mean", {}))
    prompts = []
    for entry in classes.classes:
        about = {"severity": severity} if entry.graded else {}
        about |= {"side": "right"} if entry.side == "one" else {}
        speed, cadence = (1 + (pace - 1) * severity / SEVERE for pace in PACE.get(entry.name, (1.0, 1.0)))
        about |= {"speed": speed * normal["speed"], "cadence": cadence * normal["cadence"]}
        prompts.append(WalkDescription(entry.name, **about, classes=classes).to_prompt())
    return prompts


def make_walks(args: ShowArguments) -> tuple[list[dict], list[Shown]]:
    """Generated walks (dicts of `text-to-gait`) and a `Shown` of each. Raises ValueError for a prompt that names no gait."""
    model = named(args.model)
    writer, reader = pipeline("text-to-gait", model=model), pipeline("gait-to-text", model=model)
    reference = GaitProcessor.from_pretrained(model).normal_reference
    prompts = args.prompts or default_prompts(reader.extractor.classes, reference)
    sampling = {"candidates": args.candidates, "temperature": args.temperature, "top_p": args.top_p}
    walks = writer(prompts, seed=args.seed, num_frames=max(FRAMES, reader.extractor.num_frames), **sampling)
    readings = [reader(w["joints"], fps=w["fps"], skeleton=w["skeleton"]) for w in walks]
    return walks, [describe(*pair, name) for *pair, name in zip(walks, readings, unique_names(walks))]


def unique_names(walks: list[dict]) -> list[str]:
    """The class of each walk, numbered from its second walk on."""
    classes = [w["description"].pathology for w in walks]
    counts = [classes[: i + 1].count(c) for i, c in enumerate(classes)]
    return [c if k == 1 else f"{c}_{k}" for c, k in zip(classes, counts)]


def describe(walk: dict, reading: dict, name: str) -> Shown:
    """What was asked of a walk of `text-to-gait` beside what `gait-to-text` found in it."""
    asked, measured, chances = walk["description"], reading["gait_parameters"], reading["class_probabilities"]
    numbers = {k: measured[k] for k in ("speed", "cadence", "knee_range_left", "knee_range_right")}
    read = max(chances, key=chances.get)
    return Shown(
        **{"name": name, "prompt": walk["prompt"], "asked_class": asked.pathology},
        **{"asked_speed": asked.speed, "asked_cadence": asked.cadence},
        **{k: None if math.isnan(v) else round(float(v), 3) for k, v in numbers.items()},
        **{"read_class": read, "read_probability": round(chances[read], 3), "described": reading["text"]},
    )


def markdown_table(rows: list[Shown], trained_on: str, candidates: int) -> str:
    """Asked against measured, a line a walk."""

    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    head = ("asked", "speed asked", "measured [m/s]", "cadence asked", "measured [steps/min]", "knee range left", "right [deg]")
    lines = [(*head, "read as"), ("---", *["---:"] * (len(head) - 1), "---")]
    for r in rows:
        numbers = [(r.asked_speed, 2), (r.speed, 2), (r.asked_cadence, 0), (r.cadence, 0)]
        numbers += [(r.knee_range_left, 0), (r.knee_range_right, 0)]
        lines.append((r.name, *(number(*n) for n in numbers), f"{r.read_class} ({100 * r.read_probability:.0f} %)"))
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in lines]
    chosen = "one walk a prompt"
    if candidates > 1:
        chosen = f"of {candidates} a prompt the one whose speed, cadence and class (by the tokeniser) fit best"
    about = [f"Generated walks of a model trained on {trained_on}; {chosen}.", ""] if trained_on else []
    return "\n".join([*about, *table]) + "\n"


def write_pictures(walks: list[dict], names: list[str], folder: Path) -> None:
    """walks.gif, angles.png and the files of each walk. A walk without a complete gait cycle gets no joint angles."""
    folder = Path(folder)
    (folder / "walks").mkdir(parents=True, exist_ok=True)
    skeleton, fps = SKELETONS[walks[0]["skeleton"]], walks[0]["fps"]
    titles = [title(n, w["description"]) for n, w in zip(names, walks)]
    joints = [np.asarray(w["joints"]) for w in walks]
    render_animation(joints, folder / "walks.gif", fps, skeleton, titles, size=(220, 300))
    for name, walk, text in zip(names, joints, titles):
        write_bvh(folder / "walks" / f"{name}.bvh", walk, fps, skeleton)
        write_csv(folder / "walks" / f"{name}.csv", walk, fps, skeleton)
        plot_pose_strip(walk, folder / "walks" / f"{name}.png", fps, skeleton, title=text)
    curves = {n.replace("_", " "): (w, fps) for n, w in zip(names, joints) if has_cycle(w, fps, skeleton)}
    if curves:
        plot_joint_angles(curves, folder / "angles.png", skeleton)
    for label, curve in curves.items():
        plot_joint_angles({label: curve}, folder / "walks" / f"{label.replace(' ', '_')}_angles.png", skeleton)


def title(name: str, asked: WalkDescription) -> str:
    """Name and asked speed, above a picture."""
    return name.replace("_", " ") + (f", {asked.speed:.2f} m/s" if asked.speed is not None else "")


def has_cycle(joints: np.ndarray, fps: float, skeleton) -> bool:
    """Whether a walk holds two heel strikes of one foot."""
    return any(len(side["knee_flexion"]) for side in angle_cycles(joints, fps, skeleton).values())


def write_table(rows: list[Shown], args: ShowArguments) -> str:
    """table.md and table.json in `args.output_dir`; returns the table."""
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    table = markdown_table(rows, args.trained_on, args.candidates)
    result = {"model": args.model, "trained_on": args.trained_on, "seed": args.seed}
    result |= {"candidates": args.candidates, "rows": [asdict(r) for r in rows]}
    with atomic_path(folder / "table.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    write_json(folder / "table.json", result)
    return table
