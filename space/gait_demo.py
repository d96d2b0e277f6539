"""What the Space does, without its page: a prompt to a walk, a file to words and numbers, tables, files to download.

In: names of models (folders or Hub repositories), prompts, files of a visitor. Out: `Generated`, `Reading`. Whatever is wrong
with a visitor's input is a ValueError whose text is for the visitor: it names the file as they know it, no path of ours.
"""

import atexit
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import pipeline

from modeling_gait import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, WalkDescription, compute_gait_parameters, save_walk
from modeling_gait.captions import read_prompt
from modeling_gait.drawing.overlay import write_overlay
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.file_formats import SUFFIXES
from modeling_gait.gait_classes import GaitClasses, load_classes
from modeling_gait.gait_norms import normative_range
from modeling_gait.generation_gait import generate_walks
from modeling_gait.loading import VIDEO_SUFFIXES
from modeling_gait.pipelines_gait import GaitToTextPipeline, TextToGaitPipeline
from modeling_gait.recording import Recording, as_walk
from modeling_gait.skeletons import SKELETONS, Skeleton

DIGITS = {"m/s": 2, "steps/min": 0, "s": 2, "m": 3, "%": 1, "deg": 1, "1": 2}
MAX_SEED = 2**31 - 1
MAX_BYTES, MAX_FRAMES = 2**23, 36_000  # of a skeleton file of a visitor: ten minutes at 60 frames a second
KEEP_SECONDS = 3600  # of files to download
CANDIDATES = 8  # walks sampled for each one shown, the one that fits the prompt best
_FILES = Path(tempfile.mkdtemp(prefix="gait-space-"))
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)


@dataclass
class Generated:
    """A generated walk; `joints` and `normal` (a normal walk of the same body, or None) are float32 (T, J, 3) [m]."""

    prompt: str
    description: WalkDescription
    seed: int
    joints: np.ndarray
    normal: np.ndarray | None
    fps: float
    skeleton: Skeleton
    notes: list[str] = field(default_factory=list)


@dataclass
class Reading:
    """What was read from a file; `joints` (T, J, 3) [m] are None where pixels were read, `report` is a page of HTML or None,
    `film` the video with its skeleton or None."""

    name: str
    text: str
    probabilities: dict[str, float]
    parameters: dict[str, float]
    joints: np.ndarray | None
    fps: float
    skeleton: Skeleton
    notes: list[str] = field(default_factory=list)
    report: Path | None = None
    film: Path | None = None


class GaitDemo:
    """The models of the Space, loaded when first needed.

    Args:
        family: folder or Hub id of a model family (GPT-2, `vq/`, `decoder/`).
        classifier: of a gait classifier; without one, class probabilities are those that the tokeniser's codes give.
        knowledge: of a knowledge model, which writes the report and reads videos; without one there are neither.
    """

    def __init__(self, family: str, classifier: str | None = None, knowledge: str | None = None):
        self.family, self.classifier, self.knowledge = family, classifier, knowledge

    @cached_property
    def writer(self) -> TextToGaitPipeline:
        return pipeline("text-to-gait", model=self.family)

    @cached_property
    def reader(self) -> GaitToTextPipeline:
        return pipeline("gait-to-text", model=self.writer.model, tokenizer=self.writer.tokenizer)

    @cached_property
    def classify(self):
        return pipeline("gait-classification", model=self.classifier)

    @cached_property
    def report(self):
        import modeling_gait.pipeline_gait_report  # noqa: F401, makes the task known

        return pipeline("gait-report", model=self.knowledge)

    @property
    def classes(self) -> GaitClasses:
        return self.reader.extractor.classes

    @property
    def labels(self) -> list[str]:
        return list(self.classes.labels)

    def warm_up(self) -> None:
        """Load the models and run the family once, so that the first visitor does not wait and two do not load them twice."""
        self.generate(self.classes.classes[0].title, seed=0)
        _ = self.classifier and self.classify, self.knowledge and self.report

    def examples(self, prompts: tuple[str, ...]) -> list[str]:
        """Those prompts that ask for walks of the family's classes; if none does, the names of the first four classes."""
        known = []
        for prompt in prompts:
            with suppress(ValueError):
                read_prompt(prompt, self.classes)
                known.append(prompt)
        return known or [c.title for c in self.classes.classes[:4]]

    def generate(self, prompt: str, seed: int | None = None) -> Generated:
        """A prompt to a walk, and beside it a normal walk of the same body. No seed: one is drawn.

        Raises ValueError for a prompt that asks for no walk, or a seed out of range.
        """
        seed = secrets.randbelow(MAX_SEED) if seed is None else int(seed)
        if not 0 <= seed <= MAX_SEED:
            raise ValueError(f"the seed must be a whole number from 0 to {MAX_SEED}, got {seed}")
        options = {"num_frames": self.reader.extractor.num_frames, "seed": seed}
        walk = self.writer(prompt or "", **options, candidates=CANDIDATES)
        description, normal = walk["description"], None
        if description.pathology != "normal" and "normal" in self.labels:
            parts = self.writer.model, self.writer.tokenizer, self.writer.decoder
            asked = [WalkDescription("normal", "none", classes=description.classes)]
            normal = generate_walks(*parts, asked, **options, person=walk["codes"].spatial)[0][0]
        return Generated(
            prompt, description, seed, walk["joints"], normal, walk["fps"], SKELETONS[walk["skeleton"]], list(description.notes)
        )

    def read(self, path: str | Path, fps: float | None = None) -> Reading:
        """A skeleton file or a video to words, class probabilities, parameters and, with a knowledge model, a report.

        Raises ValueError, in words for the visitor, for what is not a walk.
        """
        path = Path(path)
        pixels = path.suffix.lower() in VIDEO_SUFFIXES and self.knowledge and "video" in self.report.model.config.branches
        with told_to_the_visitor(path):
            reading = self._read_video(path) if pixels else self._read_skeleton(path, fps)
        reading.notes = [without_folder(note, path) for note in dict.fromkeys(reading.notes)]
        return reading

    def _read_skeleton(self, path: Path, fps: float | None) -> Reading:
        extractor = self.reader.extractor
        walk = read_file(path, fps, extractor)
        joints = walk.for_model(SKELETONS[extractor.skeleton], extractor.fps)
        read = self.reader(walk)
        scores = read["class_probabilities"]
        if self.classifier:
            scores = {s["label"]: s["score"] for s in self.classify(walk)}
        notes = walk.sentences() + [f"the text does not agree with the numbers: {p}" for p in read["problems"]]
        page = None
        if self.knowledge and "skeleton" in self.report.model.config.branches:
            report, page = self._write_report(walk)
            notes += report.disagreement(read["pathology"]) + report.problems
        about = read["gait_parameters"], joints, extractor.fps, SKELETONS[extractor.skeleton], notes
        film = None
        if walk.poses is not None:
            film = new_folder() / "skeleton.mp4"
            write_overlay(replace(walk.poses, name=str(path)), film)
        return Reading(path.name, read["text"], scores, *about, page, film)

    def _read_video(self, path: Path) -> Reading:
        report, page = self._write_report(path)
        parameters = {p.name: p.value for p in report.parameters}
        skeleton = SKELETONS[self.reader.extractor.skeleton]
        return Reading(
            path.name, report.sentence, report.class_probabilities, parameters, None, 30.0, skeleton, report.problems, page
        )

    def _write_report(self, walk) -> tuple:
        """(GaitReport, path of its page) of a file or a Recording."""
        page = new_folder() / "report.html"
        return self.report(walk, html=page), page


def read_file(path: Path, fps: float | None, extractor: GaitFeatureExtractor) -> Recording:
    """A visitor's skeleton file or film. Raises ValueError for one that is too large, and as `read_recording`."""
    if path.suffix.lower() in SUFFIXES and path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name}: is larger than {MAX_BYTES >> 20} MiB, the most that is read here; cut it")
    raw, _ = as_walk(path, fps or None)
    if len(raw.joints) > MAX_FRAMES:
        raise ValueError(f"{path.name}: holds {len(raw.joints)} frames, at most {MAX_FRAMES} are read here; cut it")
    return extractor.read(replace(raw, name=path.name))


@contextmanager
def told_to_the_visitor(path: Path) -> Iterator[None]:
    """What is wrong with a file as a ValueError that names no folder of ours."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise ValueError(without_folder(str(error), path)) from error


def without_folder(text: str, path: Path) -> str:
    return text.replace(str(path), path.name).replace(str(path.parent), "")


def write_prompt(
    gait: str, side: str = "", severity: float = 0, speed: float = 0, cadence: float = 0, classes: GaitClasses | None = None
) -> str:
    """The prompt for these settings; 0 or "" leaves a setting out. Some classes have no side, some no severity.

    Raises ValueError for a value that no walk has.
    """
    entry = (classes or load_classes())[gait]
    description = WalkDescription(
        gait,
        {"none": "none", "both": "unknown"}.get(entry.side, side or "unknown"),  # of both: no side can be asked for
        (severity or None) if entry.graded else None,
        speed=speed or None,
        cadence=cadence or None,
        classes=classes,
    )
    return description.to_prompt(exact=True)


def parameter_rows(parameters: dict[str, float], normal: dict[str, float] | None = None) -> list[list[str]]:
    """Rows of name, value, the normal walk's value, usual range of adults, unit, meaning; "" where not known."""
    rows = []
    for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS):
        norm = normative_range(p.name)
        digits = DIGITS.get(p.unit, 2)
        usual = f"{norm.low:.{digits}f} to {norm.high:.{digits}f}" if norm else ""
        values = [_number((d or {}).get(p.name), digits) for d in (parameters, normal)]
        rows.append([p.name.replace("_", " "), *values, usual, "" if p.unit == "1" else p.unit, p.description])
    return rows


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def measured(walk: Generated) -> tuple[dict[str, float], dict[str, float] | None]:
    """Gait parameters of the walk and of the normal walk beside it."""
    of = lambda joints: compute_gait_parameters(joints, walk.fps, walk.skeleton)  # noqa: E731
    return of(walk.joints), None if walk.normal is None else of(walk.normal)


def new_folder() -> Path:
    """A folder for files to download; folders older than `KEEP_SECONDS` are removed."""
    for old in _FILES.iterdir():
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=_FILES))


def write_files(walk: Generated) -> list[str]:
    """The walk as BVH, CSV and GIF; their paths."""
    folder = new_folder()
    paths = [folder / f"{walk.description.pathology}_{walk.seed}{suffix}" for suffix in (".bvh", ".csv", ".gif")]
    for path in paths:
        save_walk(path, walk.joints, walk.fps, walk.skeleton)
    return [str(p) for p in paths]


def as_json(values: dict[str, float]) -> dict[str, float | None]:
    """Numbers as JSON knows them: None for nan."""
    return {name: float(v) if np.isfinite(v) else None for name, v in values.items()}
