"""BVH as other programs write it, and what is none."""

import numpy as np
import pytest

from modeling_gait.bvh import read_bvh
from modeling_gait.loading import load_walk
from modeling_gait.skeletons import KINECT_V2, SMPL_22

MIXAMO = """HIERARCHY
ROOT mixamorig:Hips
{
    OFFSET 0 0 0
    CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation
    JOINT mixamorig:Spine
    {
        OFFSET 0 12 0
        CHANNELS 3 Xrotation Yrotation Zrotation
        JOINT mixamorig:Spine1
        {
            OFFSET 0 12 0
            CHANNELS 3 Xrotation Yrotation Zrotation
            JOINT mixamorig:Neck
            {
                OFFSET 0 24 0
                CHANNELS 3 Xrotation Yrotation Zrotation
                JOINT mixamorig:Head
                { OFFSET 0 8 0
                  CHANNELS 3 Xrotation Yrotation Zrotation
                  End Site { OFFSET 0 20 0 } }
            }
            ARM(Left,1) ARM(Right,-1)
        }
    }
    LEG(Left,1) LEG(Right,-1)
}
MOTION
Frames: 2
Frame Time: 0.04
"""


def chain(side, parts):
    """Nested JOINT blocks of (name, offset) with rotation channels; the last part is the End Site."""
    (name, offset), *rest = parts
    if not rest:
        return f"End Site\n{{\nOFFSET {offset}\n}}\n"
    return (
        f"JOINT mixamorig:{side}{name}\n{{\nOFFSET {offset}\nCHANNELS 3 Zrotation Xrotation Yrotation\n{chain(side, rest)}}}\n"
    )


def mixamo_text():
    text, lines = MIXAMO, []
    for side, sign in (("Left", 1), ("Right", -1)):
        leg = [("UpLeg", f"{9 * sign} -4 0"), ("Leg", "0 -42 0"), ("Foot", "0 -40 0"), ("ToeBase", "0 -6 13"), ("", "0 0 5")]
        arm = [("Shoulder", f"{5 * sign} 20 0"), ("Arm", f"{12 * sign} 0 0"), ("ForeArm", f"{28 * sign} 0 0")]
        arm += [("Hand", f"{25 * sign} 0 0"), ("", f"{9 * sign} 0 0")]
        text = text.replace(f"LEG({side},{sign})", chain(side, leg)).replace(f"ARM({side},{sign})", chain(side, arm))
    count = 6 + 3 * (text.count("JOINT"))
    zero = ["0", "92", "0"] + ["0"] * (count - 3)
    knee = list(zero)
    names = [line.split()[1] for line in text.splitlines() if line.strip().startswith("JOINT")]
    knee[6 + 3 * names.index("mixamorig:LeftLeg") + 1] = "90"  # Xrotation: the shin turns backwards about x, which points left
    lines = [" ".join(zero), " ".join(knee)]
    return text + "\n".join(lines) + "\n"


def test_mixamo_bvh_becomes_kinect(tmp_path):
    (tmp_path / "w.bvh").write_text(mixamo_text())
    walk = load_walk(tmp_path / "w.bvh")
    assert walk.notes == ()  # centimetres are usual in BVH
    assert walk.skeleton is KINECT_V2 and walk.fps == 25 and walk.joints.shape == (2, 25, 3)
    for joint, place in {
        "pelvis": (0, 0, 0.92),
        "spine": (0, 0, 1.16),
        "spine_shoulder": (0, 0, 1.34),
        "neck": (0, 0, 1.40),
        "head": (0, 0, 1.58),
        "left_hip": (-0.09, 0, 0.88),
        "right_knee": (0.09, 0, 0.46),
        "left_ankle": (-0.09, 0, 0.06),
        "left_foot": (-0.09, 0.13, 0),
        "right_shoulder": (0.17, 0, 1.36),
        "left_elbow": (-0.45, 0, 1.36),
        "left_wrist": (-0.70, 0, 1.36),
        "left_hand": (-0.79, 0, 1.36),
    }.items():
        np.testing.assert_allclose(walk.joints[0, KINECT_V2.index(joint)], place, atol=1e-6, err_msg=joint)
    np.testing.assert_allclose(walk.joints[1, KINECT_V2.index("left_ankle")], (-0.09, -0.40, 0.46), atol=1e-6)
    smpl = load_walk(tmp_path / "w.bvh", skeleton="smpl_22")
    np.testing.assert_array_equal(smpl.joints[:, SMPL_22.index("left_knee")], walk.joints[:, KINECT_V2.index("left_knee")])


def test_bvh_rotation_order_follows_the_channels(tmp_path):
    """R = Rx Ry for 'Xrotation Yrotation': the inner Y turns z to x, which X leaves; the other order turns it to -y."""
    template = (
        "HIERARCHY\nROOT a\n{{\nOFFSET 0 0 0\nCHANNELS 2 {}\nEnd Site\n{{\nOFFSET 0 0 1\n}}\n}}\n"
        "MOTION\nFrames: 1\nFrame Time: 0.1\n90 90\n"
    )
    for channels, end in (("Xrotation Yrotation", (1, 0, 0)), ("Yrotation Xrotation", (0, -1, 0))):
        (tmp_path / "w.bvh").write_text(template.format(channels))
        np.testing.assert_allclose(read_bvh(tmp_path / "w.bvh").positions[0, 1], end, atol=1e-12)


@pytest.mark.parametrize(
    "change, message",
    [
        (("HIERARCHY", "Kaydara"), "line 1: expected HIERARCHY"),
        (("MOTION\n", ""), "no MOTION section"),
        (("Frames: 2", "Frames: 3"), "cut off: 'Frames: 3' but 2 rows"),
        (("Frames: 2\n", ""), "expected 'Frames: N' and 'Frame Time"),
        (("Frame Time: 0.04", "Frame Time: 0"), "expected 'Frames: N' and 'Frame Time"),
        (("OFFSET 0 12 0", "OFFSET 0 12"), r"line 8: expected 3 numbers"),
        (("CHANNELS 6", "CHANNELS 5"), "line 5: expected CHANNELS"),
        (("Zrotation\n    JOINT", "Wrotation\n    JOINT"), "line 5: expected CHANNELS"),
        (("}\nMOTION", "MOTION"), "HIERARCHY section is cut off"),
        (("LeftLeg", "LeftX"), "no joint recognised as left_knee"),
        (("\n0 92 0", "\n0 92 zero"), "expected .* numbers"),
        (("ROOT mixamorig:Hips\n{", "ROOT mixamorig:Hips"), "line 3: expected {"),
    ],
)
def test_broken_bvh(tmp_path, change, message):
    assert change[0] in mixamo_text()
    (tmp_path / "w.bvh").write_text(mixamo_text().replace(change[0], change[1], 1))
    with pytest.raises(ValueError, match=message):
        load_walk(tmp_path / "w.bvh")
