"""modeling_gait: describe a walk in words, get a 3D skeleton walk; hand it a walk, get words, numbers and a class.

Importing the package makes its models known to `AutoConfig`, `AutoModel`, `AutoTokenizer`, `AutoFeatureExtractor`, and its
pipelines to `transformers.pipeline`.
"""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoProcessor,
    AutoTokenizer,
)

from .captions import PATHOLOGIES, WalkDescription, check_faithfulness, describe_walk, paraphrase, parse_prompt
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
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters, detect_gait_events
from .gait_search import GaitSearch
from .kinematics import joint_angles
from .knowledge import load_knowledge
from .loading import Walk, load_walk
from .modeling_gait_classifier import GaitForSequenceClassification
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from .modeling_gait_tcn import GaitTCNModel
from .modeling_gait_vq import GaitVQModel
from .pipeline_gait_classification import GaitClassificationPipeline
from .pipeline_gait_report import GaitReportPipeline
from .pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
from .pipelines_gait import GaitToTextPipeline, TextToGaitPipeline
from .processing_gait import GaitProcessor
from .simulation.simulator import simulate_walks
from .skeletons import AZURE_KINECT, KINECT_V2, OPENPOSE_18, SKELETONS, SMPL_22, Skeleton, convert_joints
from .tokenization_gait import GaitCodes, GaitTokenizer

__version__ = "0.1.0"

for _config in (GaitVQConfig, GaitDecoderConfig, GaitClassifierConfig, GaitTCNConfig, GaitKnowledgeConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
AutoModel.register(GaitVQConfig, GaitVQModel, exist_ok=True)
AutoModel.register(GaitDecoderConfig, GaitDecoderModel, exist_ok=True)
AutoModel.register(GaitTCNConfig, GaitTCNModel, exist_ok=True)
AutoModelForSequenceClassification.register(GaitClassifierConfig, GaitForSequenceClassification, exist_ok=True)
AutoModelForSequenceClassification.register(GaitKnowledgeConfig, GaitKnowledgeForSequenceClassification, exist_ok=True)
AutoFeatureExtractor.register(GaitVQConfig, GaitFeatureExtractor, exist_ok=True)
# A family's own model is a GPT-2, so these two are found by the class name in their files, not by the model's configuration.
AutoTokenizer.register(GaitDecoderConfig, tokenizer_class=GaitTokenizer, exist_ok=True)
AutoProcessor.register(GaitDecoderConfig, GaitProcessor, exist_ok=True)

__all__ = [
    "AZURE_KINECT",
    "GAIT_PARAMETERS",
    "GaitClassificationPipeline",
    "GaitClassifierConfig",
    "GaitForSequenceClassification",
    "GaitCodes",
    "GaitDecoderConfig",
    "GaitDecoderModel",
    "GaitFeatureExtractor",
    "GaitKnowledgeConfig",
    "GaitKnowledgeForSequenceClassification",
    "GaitProcessor",
    "GaitReportPipeline",
    "GaitSearch",
    "GaitTCNConfig",
    "GaitTCNModel",
    "GaitDualEncoderConfig",
    "GaitDualEncoderModel",
    "GaitToTextPipeline",
    "GaitTokenizer",
    "GaitVQConfig",
    "GaitVQModel",
    "KINECT_V2",
    "KINEMATIC_PARAMETERS",
    "OPENPOSE_18",
    "PATHOLOGIES",
    "SKELETONS",
    "SMPL_22",
    "Skeleton",
    "TextToGaitPipeline",
    "Walk",
    "WalkDescription",
    "ZeroShotGaitClassificationPipeline",
    "check_faithfulness",
    "clean_walk",
    "compute_gait_parameters",
    "convert_joints",
    "describe_walk",
    "detect_gait_events",
    "forward_kinematics",
    "joint_angles",
    "load_knowledge",
    "load_walk",
    "paraphrase",
    "parse_prompt",
    "plot_joint_angles",
    "plot_pose_strip",
    "render_animation",
    "render_video",
    "save_walk",
    "simulate_walks",
    "write_bvh",
    "write_csv",
    "write_npz",
]
