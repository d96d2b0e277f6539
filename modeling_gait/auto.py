"""All registration with transformers: its Auto classes and pipelines find this package's models as soon as they are imported.

`import modeling_gait` imports neither transformers nor torch. A module of transformers that holds Auto classes or pipelines is
told of ours at once where it has been imported, else as soon as the import that brings it is complete, so before anybody can
use it.
"""

import sys
from functools import partial, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

from .released import named, released

_AUTO = "transformers.models.auto."
_NOTICED = ("transformers.", __package__ + ".")
_depth = 0  # modules that are being imported, of which a later one needs an earlier one


def _configurations(auto) -> None:
    from .configuration_gait_classifier import GaitClassifierConfig
    from .configuration_gait_decoder import GaitDecoderConfig
    from .configuration_gait_dual_encoder import GaitDualEncoderConfig
    from .configuration_gait_knowledge import GaitKnowledgeConfig
    from .configuration_gait_tcn import GaitTCNConfig
    from .configuration_gait_vq import GaitVQConfig

    kinds = (GaitClassifierConfig, GaitDecoderConfig, GaitDualEncoderConfig, GaitKnowledgeConfig, GaitTCNConfig, GaitVQConfig)
    for kind in kinds:
        auto.AutoConfig.register(kind.model_type, kind, exist_ok=True)


def _models(auto) -> None:
    from .modeling_gait_classifier import GaitForSequenceClassification
    from .modeling_gait_decoder import GaitDecoderModel
    from .modeling_gait_dual_encoder import GaitDualEncoderModel
    from .modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
    from .modeling_gait_tcn import GaitTCNModel
    from .modeling_gait_vq import GaitVQModel

    classifiers = (GaitForSequenceClassification, GaitKnowledgeForSequenceClassification)
    for model in (GaitDecoderModel, GaitDualEncoderModel, GaitTCNModel, GaitVQModel, *classifiers):
        auto.AutoModel.register(model.config_class, model, exist_ok=True)
    for model in classifiers:
        auto.AutoModelForSequenceClassification.register(model.config_class, model, exist_ok=True)


def _feature_extractors(auto) -> None:
    from .configuration_gait_dual_encoder import GaitDualEncoderConfig
    from .configuration_gait_vq import GaitVQConfig
    from .feature_extraction_gait import GaitFeatureExtractor

    for config in (GaitVQConfig, GaitDualEncoderConfig):
        auto.AutoFeatureExtractor.register(config, GaitFeatureExtractor, exist_ok=True)


# A family's own model is a GPT-2, so these two are found by the class name in their files, not by the model's configuration.
def _tokenizers(auto) -> None:
    from .configuration_gait_decoder import GaitDecoderConfig
    from .tokenization_gait import GaitTokenizer

    auto.AutoTokenizer.register(GaitDecoderConfig, tokenizer_class=GaitTokenizer, exist_ok=True)


def _processors(auto) -> None:
    from .configuration_gait_decoder import GaitDecoderConfig
    from .processing_gait import GaitProcessor

    auto.AutoProcessor.register(GaitDecoderConfig, GaitProcessor, exist_ok=True)


def _pipelines(pipelines) -> None:
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    from .pipeline_gait_classification import GaitClassificationPipeline
    from .pipeline_gait_report import GaitReportPipeline
    from .pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
    from .pipelines_gait import GaitToTextPipeline, TextToGaitPipeline

    parts = {}
    for task, pipeline, model, kind, part in (
        ("text-to-gait", TextToGaitPipeline, AutoModelForCausalLM, "text", ""),
        ("gait-to-text", GaitToTextPipeline, AutoModelForCausalLM, "text", ""),
        ("gait-classification", GaitClassificationPipeline, AutoModelForSequenceClassification, "multimodal", "classifier"),
        ("gait-report", GaitReportPipeline, AutoModelForSequenceClassification, "multimodal", "knowledge"),
        ("zero-shot-gait-classification", ZeroShotGaitClassificationPipeline, AutoModel, "multimodal", "text"),
    ):
        parts[task] = part
        default = {"model": (released(part), None)}  # the revision of a folder
        pipelines.PIPELINE_REGISTRY.register_pipeline(task, pipeline_class=pipeline, pt_model=model, default=default, type=kind)
    _name_family(pipelines, parts)


def _name_family(pipelines, parts: dict[str, str]) -> None:
    """Let `pipeline(TASK, model="gait-small")` find the shipped family: transformers takes a name that is no folder for a
    repository of the Hub, and has no way to tell it otherwise. A `pipeline` that somebody took from transformers before this
    package was imported does not know the name. Why a model cannot be loaded is said in one sentence, see `told`."""
    from .checked_model import told

    make, top = pipelines.pipeline, sys.modules["transformers"]

    @wraps(make)
    def pipeline(task=None, model=None, *args, **kwargs):
        if task not in parts:
            return make(task, model, *args, **kwargs)
        model = named(model, parts[task])
        with told(model):
            return make(task, model, *args, **kwargs)

    pipelines.pipeline = pipeline
    if "pipeline" in vars(top):  # it was taken from there before
        top.pipeline = pipeline


_waiting = {
    _AUTO + "configuration_auto": _configurations,
    _AUTO + "modeling_auto": _models,
    _AUTO + "feature_extraction_auto": _feature_extractors,
    _AUTO + "tokenization_auto": _tokenizers,
    _AUTO + "processing_auto": _processors,
    "transformers.pipelines": _pipelines,
}


def _execute(execute, module) -> None:
    """Import a module of transformers or of this package; after the outermost one, register what waits for it."""
    global _depth
    _depth += 1
    try:
        execute(module)
    finally:
        _depth -= 1
    if not _depth:
        register()


class _Finder(MetaPathFinder):
    """Notices where an import ends; finding is left to the usual finder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None or not name.startswith(_NOTICED):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(_execute, spec.loader.exec_module)
        return spec


def register() -> None:
    """Make the models and pipelines of this package known to what is imported of transformers, and to the rest later."""
    while ready := [name for name in _waiting if name in sys.modules]:
        _waiting.pop(ready[0])(sys.modules[ready[0]])
    if not _waiting:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _Finder]
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
