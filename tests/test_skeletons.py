"""Who takes joints in metres refuses any other unit: its numbers would be wrong without a word."""

import numpy as np
import pytest
import torch
from conftest import tiny_vq

from modeling_gait.cleaning import canonicalise, clean_walk
from modeling_gait.evaluation import metrics
from modeling_gait.evaluation.privacy import pose_features
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_cycles import cycles_to_walk
from modeling_gait.gait_events import detect_gait_events
from modeling_gait.schema import walk_row

ABOUT = {"subject_id": "1", "walk_id": "1", "sensor": "1", "pathology": "normal", "parameters": {}, "captions": []}


@pytest.mark.parametrize("unit", [1000, 100])
@pytest.mark.parametrize(
    "take",
    [
        lambda j: detect_gait_events(j, 30.0),
        lambda j: clean_walk(np.arange(len(j)) / 30, j),
        canonicalise,
        metrics.foot_skate,
        metrics.gait_features,
        lambda j: metrics.mpjpe(j, np.zeros_like(j)),
        lambda j: metrics.acceleration_error(np.zeros_like(j), j),
        pose_features,
        lambda j: cycles_to_walk(j[:30].reshape(1, 30, 75), 1.0),
        lambda j: walk_row(j, 30.0, **ABOUT),
        lambda j: GaitFeatureExtractor().to_features(torch.from_numpy(np.stack((j, j)))),
        lambda j: tiny_vq().encode(torch.from_numpy(np.stack((j / 1000, j)))),
    ],
)
def test_another_unit_than_metres_is_refused(walks, take, unit):
    joints = walks.joints[0]
    take(joints)
    with pytest.raises(ValueError, match="what is the unit"):
        take(unit * joints)


def test_a_row_of_joints_that_are_not_finite_is_refused(walks):
    for part in (slice(3, 4), slice(None)):
        joints = walks.joints[0].copy()
        joints[part] = np.nan
        with pytest.raises(ValueError, match="not finite; clean them first"):
            walk_row(joints, 30.0, **ABOUT)
