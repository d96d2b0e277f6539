"""modeling_gait: describe a walk in words, get a 3D skeleton walk; hand it a walk, get words, numbers and a class.

Importing the package makes its models known to `AutoConfig`, `AutoModel`, `AutoTokenizer`, `AutoFeatureExtractor`,
`AutoProcessor`, and its pipelines to `transformers.pipeline` (see auto.py). Names are imported when they are used.
"""

# ruff: noqa: F401  (names for type checkers)

from importlib import import_module
from typing import TYPE_CHECKING

from .auto import register
from .released import released  # the function, in place of the module of its name

if TYPE_CHECKING:
    from .caption_grammar import paraphrase
    from .captions import WalkDescription, check_faithfulness, describe_walk, parse_prompt
    from .cleaning import clean_walk
    from .configuration_gait_classifier import GaitClassifierConfig
    from .configuration_gait_decoder import GaitDecoderConfig
    from .configuration_gait_dual_encoder import GaitDualEncoderConfig
    from .configuration_gait_knowledge import GaitKnowledgeConfig
    from .configuration_gait_tcn import GaitTCNConfig
    from .configuration_gait_vq import GaitVQConfig
    from .drawing.rendering import plot_joint_angles, plot_pose_strip, render_animation, render_video
    from .export import save_walk, write_bvh, write_csv, write_npz
    from .feature_extraction_gait import GaitFeatureExtractor
    from .forward_kinematics import forward_kinematics
    from .gait_classes import GaitClass, GaitClasses, load_classes
    from .gait_events import detect_gait_events
    from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
    from .gait_search import GaitSearch
    from .kinematics import joint_angles
    from .loading import Walk, load_walk
    from .modeling_gait_classifier import GaitForSequenceClassification
    from .modeling_gait_decoder import GaitDecoderModel
    from .modeling_gait_dual_encoder import GaitDualEncoderModel
    from .modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
    from .modeling_gait_tcn import GaitTCNModel
    from .modeling_gait_vq import GaitVQModel
    from .new_people import NewPeople
    from .pipeline_gait_classification import GaitClassificationPipeline
    from .pipeline_gait_report import GaitReportPipeline
    from .pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
    from .pipelines_gait import GaitToTextPipeline, TextToGaitPipeline
    from .processing_gait import GaitProcessor
    from .recording import Recording, read_recording, read_recordings
    from .simulation.simulator import simulate_walks
    from .skeletons import AZURE_KINECT, KINECT_V2, OPENPOSE_18, SKELETONS, SMPL_22, Skeleton, convert_joints
    from .tokenization_gait import GaitCodes, GaitTokenizer

__version__ = "0.1.0"

_NAMES = {
    "caption_grammar": ("paraphrase",),
    "captions": ("WalkDescription", "check_faithfulness", "describe_walk", "parse_prompt"),
    "cleaning": ("clean_walk",),
    "configuration_gait_classifier": ("GaitClassifierConfig",),
    "configuration_gait_decoder": ("GaitDecoderConfig",),
    "configuration_gait_dual_encoder": ("GaitDualEncoderConfig",),
    "configuration_gait_knowledge": ("GaitKnowledgeConfig",),
    "configuration_gait_tcn": ("GaitTCNConfig",),
    "configuration_gait_vq": ("GaitVQConfig",),
    "drawing.rendering": ("plot_joint_angles", "plot_pose_strip", "render_animation", "render_video"),
    "export": ("save_walk", "write_bvh", "write_csv", "write_npz"),
    "feature_extraction_gait": ("GaitFeatureExtractor",),
    "forward_kinematics": ("forward_kinematics",),
    "gait_classes": ("GaitClass", "GaitClasses", "load_classes"),
    "gait_events": ("detect_gait_events",),
    "gait_parameters": ("GAIT_PARAMETERS", "KINEMATIC_PARAMETERS", "compute_gait_parameters"),
    "gait_search": ("GaitSearch",),
    "kinematics": ("joint_angles",),
    "loading": ("Walk", "load_walk"),
    "modeling_gait_classifier": ("GaitForSequenceClassification",),
    "modeling_gait_decoder": ("GaitDecoderModel",),
    "modeling_gait_dual_encoder": ("GaitDualEncoderModel",),
    "modeling_gait_knowledge": ("GaitKnowledgeForSequenceClassification",),
    "modeling_gait_tcn": ("GaitTCNModel",),
    "modeling_gait_vq": ("GaitVQModel",),
    "new_people": ("NewPeople",),
    "pipeline_gait_classification": ("GaitClassificationPipeline",),
    "pipeline_gait_report": ("GaitReportPipeline",),
    "pipeline_zero_shot_gait": ("ZeroShotGaitClassificationPipeline",),
    "pipelines_gait": ("GaitToTextPipeline", "TextToGaitPipeline"),
    "processing_gait": ("GaitProcessor",),
    "recording": ("Recording", "read_recording", "read_recordings"),
    "simulation.simulator": ("simulate_walks",),
    "skeletons": ("AZURE_KINECT", "KINECT_V2", "OPENPOSE_18", "SKELETONS", "SMPL_22", "Skeleton", "convert_joints"),
    "tokenization_gait": ("GaitCodes", "GaitTokenizer"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted({*_HOME, "released"})


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


register()
