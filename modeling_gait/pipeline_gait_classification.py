"""Pipeline `gait-classification`: a measured walk to its class probabilities.

In: a skeleton file (see `load_walk`), joints (T, J, 3) [m] of any known skeleton, or several of these.
Out: for each walk a list of {"label", "score"}, the most likely class first.
A walk is cleaned, resampled and turned as the rows of the data sets are, then made the classifier's input by
`walk_input`: root-relative joints (N, resample_frames, 3 J) [m] of its parts, one unless it is longer than the walks that
the model learnt from, and of their mirror images; its scores are the mean of theirs.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, Pipeline

from .class_reading import class_doubts, walk_input
from .configuration_gait_classifier import GaitClassifierConfig
from .pipeline_saving import know_pipeline, save_pipeline, walks_a_pass
from .recording import each_thing, is_one, not_none, read_recording
from .skeletons import SKELETONS, Skeleton

TASK = "gait-classification"


class GaitClassificationPipeline(Pipeline):
    """Class probabilities of walks.

        pipe = pipeline("gait-classification", model=FOLDER)  # as train/train_classifier.py saves it
        pipe("walk.csv")                                      # [{"label": "steppage", "score": 0.93}, ...]
        pipe(["walk_1.csv", "walk_2.csv"], batch_size=64)     # a list of such lists
        pipe(["sensor_1.csv", "sensor_2.csv"], vote=True)     # one walk, seen by several sensors: one list

    Arguments, here or in `pipeline(...)`:
        fps: frames a second of joints that state none (default: the model's); replaces the clock of a file.
        skeleton: a name in `SKELETONS` of what the joints are (default: for a file what it says, else the model's).
        top_k: classes returned, the most likely first; None (default) or more than there are: all of them. This is what
            transformers documents for audio classification; its text classification returns the best one by default.
        batch_size: walks a forward pass (default 64); num_workers: taken and unused, walks are read in this process.
        vote: the walks are recordings of one walk and get one answer, the mean of their probabilities. A list of lists is then
            several walks. Only in a call.

    A walk is what `recording.read_recording` takes: a file, joints (T, J, 3), a `Walk`, a dict with `joints` and if known
    `fps` and
    `skeleton`, such as `text-to-gait` returns or a row of a data set; a list, an array (N, T, J, 3) or a data set is several.
    What is doubtful about a walk is told by a warning; where nobody walks there is no class, but a ValueError.

    Raises ValueError (naming the file or the walk's index) for what is not a walk, TypeError for what cannot be one; OSError
    where a file cannot be opened.
    """

    _load_tokenizer = False
    _load_feature_extractor = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        config = self.model.config
        if config.model_type != GaitClassifierConfig.model_type:
            raise ValueError(f"{TASK} takes a {GaitClassifierConfig.model_type} model, got one of type {config.model_type!r}")
        self.model.eval()
        self.skeleton = SKELETONS[config.skeleton]
        if config.num_features != 3 * len(self.skeleton):
            raise ValueError(f"the model takes {config.num_features} values a frame, not the joints of {self.skeleton.name!r}")
        self.fps = config.fps or 30.0  # of the walks that the model was trained on; all our data sets have 30

    def _sanitize_parameters(self, fps=None, skeleton=None, top_k=None):
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise ValueError(f"top_k must be a positive whole number or None, got {top_k!r}")
        return not_none(fps=fps, skeleton=skeleton), {}, not_none(top_k=top_k)

    def __call__(
        self,
        walks,
        fps: float | None = None,
        skeleton: Skeleton | str | None = None,
        top_k: int | None = None,
        batch_size: int | None = None,
        vote: bool = False,
        num_workers: int | None = None,
    ) -> list[dict] | list[list[dict]]:
        """One walk -> its classes, several -> a list of these; see the class. Shows a progress bar for more than one batch."""
        prepare, _, finish = self._sanitize_parameters(fps=fps, skeleton=skeleton, top_k=top_k)
        prepare, finish = {**self._preprocess_params, **prepare}, {**self._postprocess_params, **finish}
        size = walks_a_pass(self, batch_size, num_workers, default=64)
        if is_one(walks):
            return self._classify([walks], size, prepare, finish)[0]
        groups = list(each_thing(walks))
        if not groups:
            raise ValueError("expected at least one walk, got an empty list")
        if not vote:
            return self._classify(groups, size, prepare, finish)
        nested = all(isinstance(g, list | tuple) for g in groups)
        groups = [list(g) for g in groups] if nested else [groups]
        if not all(groups):
            raise ValueError(f"walk {groups.index([])} has no recordings")
        results = self._classify([w for g in groups for w in g], size, prepare, {})
        parts = np.cumsum([0, *map(len, groups)])
        voted = [mean_scores(results[a:b])[: finish.get("top_k")] for a, b in zip(parts[:-1], parts[1:])]
        return voted if nested else voted[0]

    def _classify(self, walks: list, batch_size: int, prepare: dict, finish: dict) -> list[list[dict]]:
        results = []
        starts = range(0, len(walks), batch_size)
        for at in tqdm(starts, desc="classes", disable=len(starts) < 2):
            inputs = []
            for n, walk in enumerate(walks[at : at + batch_size], at):
                try:
                    inputs.append(self.preprocess(walk, **prepare))
                except (ValueError, TypeError) as error:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind(f"walk {n}: {error}" if len(walks) > 1 else str(error)) from error
            values = [x["input_values"] for x in inputs]
            logits = self.forward({"input_values": torch.cat(values)})["logits"].split([len(x) for x in values])
            results += [self.postprocess({**x, "logits": of}, **finish) for x, of in zip(inputs, logits)]
        return results

    def preprocess(self, walk, fps: float | None = None, skeleton: Skeleton | str | None = None) -> dict:
        """One walk -> `input_values` float32 (N, resample_frames, 3 J) [m], as `walk_input`, its `joints` and its `name`."""
        if isinstance(walk, list | tuple) and not is_one(walk):
            raise TypeError(f"expected one walk, got {type(walk).__name__}; a list of lists takes vote=True")
        recording = read_recording(walk, fps, skeleton=skeleton, rate=self.fps, default_fps=self.fps)
        for doubt in recording.doubts:
            warnings.warn(f"{recording.name}: {doubt}", stacklevel=2)
        joints = recording.for_model(self.skeleton, self.fps)
        return {"input_values": walk_input(joints, self.model.config), "joints": joints, "name": recording.name}

    def _forward(self, inputs: dict) -> dict:
        return {"logits": self.model(**inputs).logits}

    def postprocess(self, outputs: dict, top_k: int | None = None) -> list[dict]:
        """Logits (N, num_labels) of what is read of a walk -> [{"label", "score"}], their mean, most likely first."""
        each, names = outputs["logits"].float().softmax(-1), self.model.config.id2label
        for doubt in class_doubts(each, names, self.model.config, outputs.get("joints")):
            warnings.warn(f"{outputs.get('name', 'walk')}: {doubt}", stacklevel=2)
        scores, order = each.mean(0).sort(descending=True, stable=True)
        return [{"label": names[i], "score": s} for i, s in zip(order[:top_k].tolist(), scores[:top_k].tolist())]

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """The model, and this pipeline's code; see `save_pipeline`."""
        save_pipeline(self, save_directory, GaitClassificationConfig, **kwargs)


def mean_scores(results: list[list[dict]]) -> list[dict]:
    """The vote of several recordings: the mean score of each label, the highest first."""
    scores: dict[str, list[float]] = {}
    for result in results:
        for entry in result:
            scores.setdefault(entry["label"], []).append(entry["score"])
    means = {label: float(np.mean(values)) for label, values in scores.items()}
    return [{"label": label, "score": means[label]} for label in sorted(means, key=means.get, reverse=True)]


class GaitClassificationConfig(GaitClassifierConfig):
    """The configuration in a folder saved by the pipeline; see `save_pipeline`."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> GaitClassifierConfig | tuple[GaitClassifierConfig, dict]:
        """As `GaitClassifierConfig.from_pretrained`."""
        loaded = GaitClassifierConfig.from_pretrained(*args, **kwargs)
        return know_pipeline(loaded, TASK, GaitClassificationPipeline, AutoModelForSequenceClassification)


__all__ = ["GaitClassificationConfig", "GaitClassificationPipeline", "mean_scores"]
