"""Pipeline `gait-report`: a video or a skeleton of a walk to what a clinician wants to know of it, as data and as a page.

In: a video file, a skeleton file or joints (T, J, 3) [m], or both. Out: a `GaitReport`: class probabilities, severity, gait
parameters with their norms, a sentence of them, evidence from the knowledge of the class, saliency; if asked, a page of HTML.
The model is a `GaitKnowledgeForSequenceClassification`. Research software; nothing here is a diagnosis.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, Pipeline

from .class_reading import both_ways, class_doubts, part_starts, walk_parts
from .configuration_gait_knowledge import GaitKnowledgeConfig
from .gait_norms import normative_range
from .gait_report import (
    GaitReport,
    ReportParameter,
    class_sentences,
    find_evidence,
    measured_doubts,
    report_parameters,
    report_sentence,
    report_severity,
)
from .loading import VIDEO_SUFFIXES, Walk, without_package
from .modeling_gait_knowledge import prepare_knowledge_input
from .numeric_text import check_spoken
from .pipeline_saving import know_pipeline, save_pipeline, walks_a_pass
from .recording import each_thing, is_one, not_none, read_recording
from .saliency import Saliency, saliency
from .skeletons import SKELETONS, Skeleton

TASK = "gait-report"


class GaitReportPipeline(Pipeline):
    """A walk to a `GaitReport`.

        pipe = pipeline("gait-report", model=FOLDER)
        report = pipe("walk.mp4", html="report.html")
        report.class_probabilities, report.sentence
        pipe({"video": "walk.mp4", "skeleton": "walk.csv"}, age=71, sex="female")

    Arguments of a call:
        walks: a video (MP4, WebM, AVI, ...), a skeleton as `gait-classification` takes it (file, joints (T, J, 3) [m], dict
            with `joints`, `Walk`), a dict with `video` and/or `skeleton`; or a list of these, which gives a list of reports.
        html: path of a page to write; for one walk.
        fps, skeleton: of joints that state none, as in `gait-classification`.
        box: of the person in a video, as in `video.read_video`; by default the one who moves.
        height, person: in a video that a model without a video branch reads, as in `recording.read_recording`.
        age [years], sex ("female", "male"): of the person, for the norms; unknown: those of all adults.
        reference: of normal walks, as of `walk_description.fit_reference`, for a severity where the classes are no scores.
        batch_size, num_workers: taken and unused, walks are read and shown to the model one by one.

    Raises ValueError (naming the file) for what is no walk, a skeleton where it
    has no skeleton branch; TypeError for what can be neither; OSError where a file cannot be opened.
    """

    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_processor = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        config = self.model.config
        if config.model_type != GaitKnowledgeConfig.model_type:
            raise ValueError(f"{TASK} takes a {GaitKnowledgeConfig.model_type} model, got one of type {config.model_type!r}")
        self.model.eval()
        self.skeleton = SKELETONS[config.skeleton_config.skeleton] if "skeleton" in config.branches else None
        self.fps = 30.0

    def _sanitize_parameters(
        self, fps=None, skeleton=None, box=None, height=None, person=None, age=None, sex=None, reference=None
    ):
        prepare = not_none(fps=fps, skeleton=skeleton, box=box, height=height, person=person)
        return prepare, {}, not_none(age=age, sex=sex, reference=reference)

    def __call__(
        self,
        walks,
        html: str | Path | None = None,
        fps: float | None = None,
        skeleton: Skeleton | str | None = None,
        box: tuple[float, ...] | str | None = None,
        age: float | None = None,
        sex: str | None = None,
        reference: Mapping | None = None,
        height: float | None = None,
        person: int | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> GaitReport | list[GaitReport]:
        """One walk -> its report, a list -> a list of reports; see the class."""
        walks_a_pass(self, batch_size, num_workers)
        prepare, _, finish = self._sanitize_parameters(
            fps=fps, skeleton=skeleton, box=box, age=age, sex=sex, reference=reference, height=height, person=person
        )
        prepare, finish = {**self._preprocess_params, **prepare}, {**self._postprocess_params, **finish}
        normative_range("speed", finish.get("age"), finish.get("sex"))  # a wrong age is refused before the work
        if not is_one(walks):
            walks = list(each_thing(walks))
            if html is not None:
                raise ValueError(f"html: {html} can hold one walk, got a list of {len(walks)}")
            return [self._report(walk, prepare, finish) for walk in tqdm(walks, desc="reports")]
        report = self._report(walks, prepare, finish)
        if html is not None:
            _page(report, html)
        return report

    def _report(self, walk, prepare: dict, finish: dict) -> GaitReport:
        return self.postprocess(self.forward(self.preprocess(walk, **prepare)), **finish)

    def preprocess(
        self,
        walk,
        fps: float | None = None,
        skeleton: Skeleton | str | None = None,
        box: tuple[float, ...] | str | None = None,
        height: float | None = None,
        person: int | None = None,
    ) -> dict:
        """Model inputs of one walk, what they were made of, and what went wrong on the way."""
        video, recording = _parts(walk)
        if video is not None and recording is None and "video" not in self.model.config.branches:
            video, recording = None, video  # its skeleton, by pose estimation
        config, name = self.model.config, _name(video if video is not None else recording)
        for given, branch in ((video, "video"), (recording, "skeleton")):
            if given is not None and branch not in config.branches:
                raise ValueError(f"{name}: a {branch}, but this model has no {branch} branch; it takes {config.branches[0]}s")
        out = {"name": name, "inputs": {}, "walk": None, "measured": {}, "problems": [], "stated": [], "video_fps": 30.0}
        if recording is not None:
            given = {"skeleton": skeleton, "rate": self.fps, "default_fps": self.fps, "height": height, "person": person}
            read = read_recording(recording, fps, **given)
            joints = read.for_model(self.skeleton, self.fps)
            out |= {"walk": Walk(joints, self.fps, self.skeleton, name), "measured": read.gait_parameters, "poses": read.poses}
            out["uncertainty"] = read.uncertainty
            out["problems"] += read.sentences()
            out["stated"] = read.beside_the_file()
            frames, parts = config.skeleton_config.resample_frames, walk_parts(joints, config.skeleton_config)
            out["parts"], parts = len(parts), parts if video is not None else both_ways(parts, config.skeleton_config)
            values = prepare_knowledge_input(parts, self.fps, frames, self.skeleton.root)
            out["inputs"]["input_values"] = torch.from_numpy(values)
        if video is not None:
            try:
                from modeling_gait.video_crops import WINDOW, prepare_video
            except ModuleNotFoundError as error:
                raise without_package(error, name) from error
            size = self.model.video.image_size or (224, 224)  # a ResNet's configuration need not name it
            clips, notes = prepare_video(video, size, self.fps, box, count=config.num_frames)
            out["inputs"]["pixel_values"] = torch.from_numpy(clips)  # uint8 (N, num_frames, 3, H, W)
            out["problems"] += notes
            out["video_fps"] = self.fps * config.num_frames / WINDOW
        if video is not None and recording is not None:  # beside each window of the video the part of the skeleton in it
            parts, count = out["inputs"]["input_values"], len(out["inputs"]["pixel_values"])
            out["inputs"]["input_values"] = parts[torch.arange(count) * len(parts) // count]
        return out

    def _forward(self, inputs: dict) -> dict:
        """Adds probabilities `each` (N, K) of the windows or parts, the most likely class `top`, and of a model that knows
        numbers `decoded` (G,), their mean over these."""
        values = inputs["inputs"]
        count = len(next(iter(values.values())))
        outputs = [self.model(**{k: v[n : n + 1] for k, v in values.items()}) for n in range(count)]  # a minute: 50 windows
        each = torch.cat([o.logits for o in outputs]).float().softmax(-1)
        known = [[getattr(o, name) for o in outputs] for name in ("parameters", "kinematics")]
        numbers = [torch.cat(v).float().mean(0) for v in known if v[0] is not None]
        decoded = torch.cat(numbers) if numbers else None
        top = int(each.mean(0).argmax())
        return {**inputs, "each": each, "top": top, "decoded": decoded}

    def postprocess(
        self, outputs: dict, age: float | None = None, sex: str | None = None, reference: Mapping | None = None
    ) -> GaitReport:
        probabilities = outputs["each"].mean(0).tolist()
        labels = self.model.config.id2label
        ranked = sorted(range(len(probabilities)), key=probabilities.__getitem__, reverse=True)
        label, walk, problems = labels[ranked[0]], outputs["walk"], list(outputs["problems"])
        pixels, sd = "pixel_values" in outputs["inputs"], outputs.get("uncertainty", {})
        parameters = report_parameters(outputs["measured"], outputs["decoded"], pixels, age, sex, sd)
        sentence = report_sentence(parameters)
        problems += check_spoken(sentence, {p.name: p.value for p in parameters}) if sentence else []
        read = () if walk is None or pixels else (self.model.config.skeleton_config, walk.joints)
        problems += class_doubts(outputs["each"].cpu(), labels, *read)
        problems += self._doubts(parameters, walk, age)
        measured = {p.name: p.value for p in parameters if p.origin == "measured"}
        severity, scale = report_severity([labels[i] for i in range(len(labels))], probabilities, label, measured, reference)
        found, video = self._saliency(outputs)
        return GaitReport(
            name=outputs["name"],
            class_probabilities={labels[i]: probabilities[i] for i in ranked},
            severity=severity,
            severity_scale=scale,
            parameters=parameters,
            sentence=sentence,
            evidence=find_evidence(parameters, label, class_sentences(self.model.config, label), labels.values()),
            saliency=found,
            problems=problems,
            walk=walk,
            video=video,
            video_fps=outputs["video_fps"],
            stated=outputs["stated"],
            poses=outputs.get("poses"),
        )

    def _doubts(self, parameters: list[ReportParameter], walk: Walk | None, age: float | None) -> list[str]:
        out = []
        if float(self.model.calibration_temperature) == 1:
            out.append("the model's probabilities have not been calibrated")
        if not parameters:
            out.append("this model reads no gait parameters from a video")
        elif walk is None:
            out.append("the gait parameters are the model's estimates from the video, not measurements")
            impossible = [p.name.replace("_", " ") for p in parameters if not np.isfinite(p.value)]
            out += [f"impossible estimates are left out: {', '.join(impossible)}"] if impossible else []
        else:
            out += measured_doubts(parameters, walk, age)
        return out

    def _saliency(self, outputs: dict) -> tuple[Saliency, np.ndarray | None]:
        """Of all parts of a skeleton, one after the other; of a video that of the window in which the class is most likely, and
        its frames uint8 (T, H, W, 3)."""
        inputs, frames = outputs["inputs"], None
        if "pixel_values" not in inputs:
            inputs = {k: v[: outputs["parts"]] for k, v in inputs.items()}  # without their mirror images
        else:
            window = int(outputs["each"][:, outputs["top"]].argmax())
            inputs = {k: v[window : window + 1] for k, v in inputs.items()}
            frames = inputs["pixel_values"][0].permute(0, 2, 3, 1).cpu().numpy()
            inputs["pixel_values"] = inputs["pixel_values"] / 255
        found = saliency(self.model, outputs["top"], samples=4, **{k: v.to(self.model.device) for k, v in inputs.items()})
        if (count := len(found.labels)) > 1:  # where in the walk each share of a part is
            part, walk = self.model.config.skeleton_config.max_frames, len(outputs["walk"].joints)
            middle = (np.arange(found.frames.shape[1]) + 0.5) / found.frames.shape[1]
            at = part_starts(walk, part)[:, None] + part * middle
            moments = np.histogram(at, found.frames.size, (0, walk), weights=found.frames / count)[0]
            found = Saliency(found.labels[:1], moments[None], found.joints.mean(0, keepdims=True))
        return found, frames

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """The model, and this pipeline's code; see `save_pipeline`."""
        save_pipeline(self, save_directory, GaitReportConfig, **kwargs)


def _page(report: GaitReport, path: str | Path) -> None:
    try:
        from modeling_gait.drawing.report_html import write_report
    except ImportError as error:
        raise ImportError("a page is drawn by the package: pip install modeling_gait") from error
    write_report(report, path)


def _parts(walk) -> tuple[str | Path | None, object]:
    """(video file, skeleton recording), one of which may be None."""
    if isinstance(walk, dict) and set(walk) <= {"video", "skeleton"} and any(v is not None for v in walk.values()):
        return walk.get("video"), walk.get("skeleton")
    if isinstance(walk, dict) and "joints" not in walk:
        keys = ", ".join(map(str, walk)) or "nothing"
        raise ValueError(f"expected a dict with 'video', 'skeleton' or 'joints', got one with {keys}")
    if not isinstance(walk, str | Path):
        return None, walk
    suffix = Path(walk).suffix.lower()
    return (walk, None) if suffix in VIDEO_SUFFIXES else (None, walk)


def _name(walk) -> str:
    return Path(walk).name if isinstance(walk, str | Path) else getattr(walk, "name", None) or "walk"


class GaitReportConfig(GaitKnowledgeConfig):
    """The configuration in a folder saved by the pipeline; see `save_pipeline`."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> GaitKnowledgeConfig | tuple[GaitKnowledgeConfig, dict]:
        """As `GaitKnowledgeConfig.from_pretrained`."""
        loaded = GaitKnowledgeConfig.from_pretrained(*args, **kwargs)
        return know_pipeline(loaded, TASK, GaitReportPipeline, AutoModelForSequenceClassification)


__all__ = ["GaitReportConfig", "GaitReportPipeline"]
