"""What a classifier reads of a walk: parts, mirror images, and what makes the answer doubtful."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.class_reading import both_ways, class_doubts, learnt_from, walk_input, walk_parts
from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, mirror

NAMES = {0: "normal", 1: "lurch", 2: "steppage"}


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    return simulate_walks(1, frames=90, seed=0).joints[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 200))
def test_parts_of_a_walk_cover_it_and_are_few_and_alike(frames, most):
    walk = np.arange(75.0 * frames).reshape(frames, 25, 3) / 100
    parts = walk_parts(walk, GaitClassifierConfig(max_frames=most))
    assert len(parts) == np.ceil(frames / most) and {len(p) for p in parts} == {min(frames, most)}
    assert np.array_equal(np.unique(np.concatenate(parts), axis=0), walk), "every frame is in one"
    assert len(walk_parts(walk, GaitClassifierConfig())) == 1
    config = GaitClassifierConfig(max_frames=most, resample_frames=8)
    assert np.array_equal(walk_input(walk, config), prepare_classifier_input(parts, 8))


def test_the_mirror_image_is_read_where_both_sides_were_learnt(walk):
    config = GaitClassifierConfig(both_sides=True, max_frames=50)
    one, other = walk_input(walk, config), walk_input(mirror(walk, KINECT_V2), config)
    assert len(one) == 4 and torch.equal(one[:2], other[2:]) and torch.equal(one[2:], other[:2])
    assert not torch.equal(one[:2], other[:2])
    assert len(walk_input(walk, GaitClassifierConfig(max_frames=50))) == 2
    parts = walk_parts(walk, config)
    assert both_ways(parts, GaitClassifierConfig()) is parts


def test_what_is_kept_of_the_walks_learnt_from():
    frames, legs = [*range(1, 96), 5000, 5000, 5000, 5000], np.linspace(0.7, 0.9, 99)
    known = learnt_from(frames, [30.0] * 99, 30.0, ["left"] * 40 + ["right"] * 40 + [None] * 19, legs)
    assert known == {"max_frames": 95, "both_sides": True, "leg_range": [0.702, 0.898]}
    GaitClassifierConfig(**known)
    one_sided = learnt_from([100] * 20, [50.0] * 20, 30.0, ["right"] * 18 + ["left"] * 2, [0.8] * 20)
    assert one_sided == {"max_frames": 60, "both_sides": False, "leg_range": [0.8, 0.8]}
    assert not learnt_from([100], [50.0], 30.0, [None], [0.8])["both_sides"]


def chances(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_doubts_of_a_class(walk):
    sure, lurch = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    plain, both = GaitClassifierConfig(), GaitClassifierConfig(both_sides=True)
    assert class_doubts(chances(sure), NAMES, plain, walk) == [] == class_doubts(chances(sure, sure), NAMES, both, walk)
    assert class_doubts(chances([0.45, 0.3, 0.25]), NAMES, plain, None) == [
        "the model is not sure: the most likely class has 45 %"
    ]
    assert class_doubts(chances(sure, [0.3, 0.4, 0.3]), NAMES, both, walk) == [
        "of the walk and its mirror image one is read as lurch"
    ]
    assert class_doubts(chances(sure, sure, lurch), NAMES, plain, walk) == [
        "1 of 3 parts of the walk are read as another class"
    ]
    assert class_doubts(chances(sure, lurch, sure, sure, lurch, sure), NAMES, both, walk) == [
        "1 of 3 parts of the walk are read as another class"
    ]
    assert class_doubts(chances(sure, lurch), NAMES, plain, None)[0].startswith("the model is not sure")
    ranged = GaitClassifierConfig(leg_range=[0.7, 0.9])
    assert class_doubts(chances(sure), NAMES, ranged, walk) == []
    for scale in (0.65, 1.3):
        (doubt,) = class_doubts(chances(sure), NAMES, ranged, scale * walk)
        assert doubt.startswith("legs of ") and doubt.endswith("; the classes were learnt from legs of 0.70 to 0.90 m")


@pytest.mark.parametrize("known", [{"max_frames": 0}, {"leg_range": [0.9]}, {"leg_range": [0.9, 0.7]}])
def test_what_cannot_have_been_learnt_is_refused(known):
    with pytest.raises(StrictDataclassError, match=next(iter(known))):
        GaitClassifierConfig(**known)
