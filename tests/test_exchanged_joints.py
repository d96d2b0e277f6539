"""Left and right joints that a tracker, or whoever named the columns, exchanged: in some frames or all, in a part of a leg."""

import numpy as np
import pytest
from walkers import exchanged

from modeling_gait.exchanged_joints import exchanged_frames
from modeling_gait.gait_events import SIDES
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2

LEGS = ("hip", "knee", "ankle", "foot")


@pytest.mark.parametrize("pathology", ["normal", "steppage", "stiff_legged"])
@pytest.mark.parametrize("frames", [slice(None), slice(20, 45)], ids=["all", "some"])
@pytest.mark.parametrize("parts", [LEGS[i:] for i in range(4)], ids="-".join)
def test_they_are_put_right_whatever_was_exchanged(pathology, frames, parts):
    """The crossed bones of a pair that is exchanged in all frames were taken for the right ones: the feet stayed exchanged."""
    walk = simulate_walks(1, frames=120, seed=1, pathology=pathology, severity=0.9).joints[0].astype(np.float64)
    joints, frames = [KINECT_V2.index(f"{side}_{part}") for part in parts for side in SIDES], np.arange(120)[frames]
    right, count = exchanged_frames(exchanged(walk, frames, joints), KINECT_V2)
    np.testing.assert_array_equal(right, walk)
    assert count == len(frames)


def test_what_is_right_stays():
    walk = simulate_walks(1, frames=120, seed=1, pathology="antalgic").joints[0].astype(np.float64)
    walk[30:34, [KINECT_V2.index("left_knee"), KINECT_V2.index("right_ankle")]] = np.nan
    right, count = exchanged_frames(walk, KINECT_V2)
    np.testing.assert_array_equal(right, walk)
    assert count == 0
