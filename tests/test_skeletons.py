"""Who takes joints in metres refuses any other unit: its numbers would be wrong without a word."""

import re

import numpy as np
import pytest
import torch
from conftest import tiny_vq

from modeling_gait.cleaning import canonicalise, clean_walk
from modeling_gait.evaluation import metrics
from modeling_gait.evaluation.privacy import pose_features
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_cycles import cycles_to_walk, find_cycles
from modeling_gait.gait_events import detect_gait_events
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.recording import read_recording
from modeling_gait.schema import walk_row

ABOUT = {"subject_id": "1", "walk_id": "1", "sensor": "1", "pathology": "normal", "parameters": {}, "captions": []}


@pytest.mark.parametrize("fps", ["30", None, [30.0], True, 0, -1.0, float("nan")])
@pytest.mark.parametrize(
    "take",
    [
        compute_gait_parameters,
        detect_gait_events,
        lambda j, fps: clean_walk(np.arange(len(j)) / 30, j, fps=fps),
        lambda j, fps: cycles_to_walk(j[:30].reshape(1, 30, 75), 1.0, fps),
        lambda j, fps: find_cycles(j[:, 0, 0], fps),
        lambda j, fps: GaitFeatureExtractor(fps=fps),
    ],
)
def test_a_frame_rate_that_is_no_positive_number_is_refused(walks, take, fps):
    """A text was told of by numpy: "ufunc 'isfinite' not supported for the input types"."""
    with pytest.raises(ValueError, match=re.escape(f"fps must be a positive number, got {fps!r}")):
        take(walks.joints[0], fps)


def test_a_frame_rate_given_as_text_is_refused(walks, tmp_path):
    (tmp_path / "film.mp4").touch()
    for thing in (walks.joints[0], {"joints": walks.joints[0]}, tmp_path / "walk.csv", tmp_path / "film.mp4"):
        with pytest.raises(ValueError, match="fps must be a positive number, got '30'"):
            read_recording(thing, fps="30")


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
