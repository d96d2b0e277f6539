"""The BABEL builder, on small files in the authors' format."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset

from datasets_scripts import babel
from modeling_gait.skeletons import SMPL_22

WALK = "KIT/KIT/3/walk_poses.npz"
STAND = "BMLrub/BioMotionLab_NTroje/rub001/stand_poses.npz"


def amass(frames: int = 600, rate: float = 120.0) -> dict[str, np.ndarray]:
    """A made-up walk in AMASS's fields: upright, hips and knees swing, travels along -y at 1.2 m/s."""
    t = np.arange(frames) / rate
    poses = np.zeros((frames, 156))
    poses[:, 0] = np.pi / 2  # SMPL's y up becomes the world's z up
    for j, phase in ((1, 0), (2, np.pi)):
        poses[:, 3 * j] = -0.5 * np.sin(2 * np.pi * t + phase)
        poses[:, 3 * (j + 3)] = 0.5 - 0.5 * np.cos(2 * np.pi * t + phase)
    trans = np.zeros((frames, 3))
    trans[:, 1], trans[:, 2] = -1.2 * t, 0.95
    return {
        "poses": poses, "trans": trans, "mocap_framerate": np.array(rate), "gender": np.array("female"), "betas": np.zeros(16)
    }  # fmt: skip


def label(text: str, actions: list[str] | None, *times: float) -> dict:
    out = {"raw_label": text, "proc_label": text, "seg_id": f"id-{text}", "act_cat": actions}
    return out | ({"start_t": times[0], "end_t": times[1]} if times else {})


def annotation(*labels: dict) -> dict:
    return {"babel_lid": "l", "anntr_id": "a", "mul_act": True, "labels": list(labels)}


def entry(sid: int, feat_p: str, dur: float, **annotations: object) -> dict:
    return {"babel_sid": sid, "url": "", "feat_p": feat_p, "dur": dur, "seq_ann": None, "frame_ann": None} | annotations


@pytest.fixture
def raw(tmp_path) -> Path:
    """train.json: a walk with frame annotations, a stand with a sequence annotation, a sequence without categories."""
    for path, frames in ((tmp_path / "amass" / WALK, 960), (tmp_path / "amass/BMLrub/rub001/stand_poses.npz", 240)):
        path.parent.mkdir(parents=True)
        np.savez(path, **amass(frames))
    frame = annotation(
        label("walk forward", ["walk", "forward movement"], 0, 7), label("stop", ["stop"], 7, 7.9), label("?", None, 1, 2)
    )
    content = {
        "1": entry(1, WALK, 8.0, seq_ann=annotation(label("walk", ["walk"])), frame_ann=frame),
        "2": entry(2, STAND, 2.0, seq_ann=annotation(label("stand still", ["stand"]), label("wave", ["wave"]))),
        "3": entry(3, "CMU/CMU/1/none_poses.npz", 2.0, seq_ann=annotation(label("?", None))),
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    return tmp_path


def change(raw: Path, function) -> None:
    content = json.loads((raw / "train.json").read_text())
    (raw / "train.json").write_text(json.dumps(function(content) or content))


def test_segments_load(raw):
    report = babel.prepare(raw, raw / "amass", raw / "babel", ["train"], num_proc=1)
    rows = load_dataset(str(raw / "babel"), split="train")
    assert [r["label"] for r in rows] == ["walk forward", "walk forward", "stop", "stand still, wave"]
    assert [r["actions"] for r in rows][2:] == [["stop"], ["stand", "wave"]] and report.unlabelled == 1
    assert [(round(r["start"], 2), round(r["end"], 2)) for r in rows] == [(0, 5), (5, 7), (7, 7.9), (0, 2)]
    assert [r["subject_id"] for r in rows][1:] == ["KIT/3", "KIT/3", "BioMotionLab_NTroje/rub001"]
    assert {r["annotation"] for r in rows} == {"frame", "sequence"} and rows[0]["split"] == "train"
    joints = np.array(rows[0]["joints"])
    assert joints.shape == (150, 22, 3) and json.loads(rows[0]["attributes"]) == {"sex": "female"}
    parameters = json.loads(rows[0]["gait_parameters"])
    assert parameters["speed"] == pytest.approx(1.2, abs=0.05) and parameters["cadence"] == pytest.approx(120, abs=5)
    assert json.loads(rows[2]["gait_parameters"])["speed"] is None


def test_positions_from_poses_are_upright_and_travel_forward(raw):
    joints, fps, gender = babel.read_motion(raw / "amass" / WALK)
    index, trans = SMPL_22.index, amass(960)["trans"]
    assert (joints.shape, fps, gender) == ((960, 22, 3), 120.0, "female")
    assert joints[0, index("head"), 2] - joints[0, index("left_ankle"), 2] > 1.3
    assert joints[0, index("left_hip"), 0] > joints[0, index("right_hip"), 0]  # it faces -y
    assert joints[-1, 0, 1] - joints[0, 0, 1] == pytest.approx(trans[-1, 1])


def test_joint_positions_need_the_frame_rates(raw):
    joints = babel.read_motion(raw / "amass" / WALK)[0]
    more = np.concatenate([joints, np.zeros((960, 51, 3))], axis=1).reshape(960, -1).astype(np.float32)
    np.savez(raw / "amass" / WALK, joint_pos=more)
    with pytest.raises(ValueError, match="states no frame rate; featp_2_fps.json"):
        babel.prepare(raw, raw / "amass", raw / "babel", ["train"], num_proc=1)
    (raw / "featp_2_fps.json").write_text(json.dumps({WALK: 120.0}))
    babel.prepare(raw, raw / "amass", raw / "babel_positions", ["train"], num_proc=1)
    assert np.array(load_dataset(str(raw / "babel_positions"), split="train")[0]["joints"]).shape == (150, 22, 3)


def test_extra_annotations_are_lists(raw):
    extra = entry(1, WALK, 8.0, seq_anns=[annotation(label("walk", ["walk"])), annotation(label("stroll", ["walk"]))])
    del extra["seq_ann"], extra["frame_ann"]
    (raw / "extra_val.json").write_text(json.dumps({"1": extra | {"frame_anns": None}}))
    (sequence,) = babel.read_annotations(raw, "extra_val")
    assert [s["label"] for s in sequence["segments"]] == ["walk", "stroll"]


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda c: c["1"].update(feat_p="../../secret.npz"), "sequence 1: feat_p is '../../secret.npz'"),
        (lambda c: c["2"].update(dur="long"), "sequence 2: dur is 'long'"),
        (lambda c: c["1"]["frame_ann"]["labels"][0].update(start_t=8), "sequence 1: label 0: start_t 8 and end_t 7"),
        (lambda c: c["2"]["seq_ann"]["labels"][0].update(act_cat="stand"), "label 0: act_cat is 'stand', expected a list"),
        (lambda c: c["2"].update(seq_ann=None), "sequence 2: neither seq_ann nor frame_ann"),
        (lambda c: c["2"].update(seq_ann={}), "sequence annotation without a list of labels"),
        (lambda c: ["x"], "expected an object"),
    ],
)
def test_bad_annotations_are_named(raw, function, message):
    change(raw, function)
    with pytest.raises(ValueError, match=message) as error:
        babel.read_annotations(raw, "train")
    assert "train.json" in str(error.value)


def test_annotations_that_are_no_json(raw):
    (raw / "train.json").write_text("{")
    with pytest.raises(ValueError, match="train.json: not JSON"):
        babel.read_annotations(raw, "train")
    (raw / "train.json").unlink()
    (raw / "train_label_60.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="no such file; train_label_60.pkl is pickled, which is not read: use the JSON"):
        babel.read_annotations(raw, "train")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"trans": None}, "fields missing: trans"),
        ({"mocap_framerate": None}, "fields missing: mocap_framerate"),
        ({"poses": np.zeros((960, 30))}, r"'poses' must be numbers \(T, >= 66\), got float64 \(960, 30\)"),
        ({"poses": np.full((960, 156), np.nan)}, "frame 0: not a finite number"),
        ({"mocap_framerate": np.array(0.0)}, "'fps' must be one positive number, got 0.0"),
        ({"poses": np.array([{}] * 960, dtype=object)}, "field 'poses' is a pickled object.*plain array"),
    ],
)
def test_bad_motion_is_named(raw, fields, message):
    data = {k: v for k, v in (amass(960) | fields).items() if v is not None}
    np.savez(raw / "amass" / WALK, **data)
    with pytest.raises(ValueError, match=message) as error:
        babel.prepare(raw, raw / "amass", raw / "babel", ["train"], num_proc=1)
    assert "walk_poses.npz" in str(error.value)
    report = babel.prepare(raw, raw / "amass", raw / "babel", ["train"], num_proc=1, on_error="skip")
    assert len(report.skipped) == 1 and report.rows == 1


def test_truncated_and_missing_files(raw):
    path = raw / "amass" / WALK
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="walk_poses.npz"):
        babel.read_motion(path)
    path.unlink()
    with pytest.raises(ValueError, match="holds none of"):
        babel.prepare(raw, raw / "amass", raw / "babel", ["train"], num_proc=1)


def test_unreadable_gender_is_left_out(raw):
    np.savez(raw / "amass" / WALK, **amass(960) | {"gender": np.array({"g": 1}, dtype=object)})
    assert babel.read_motion(raw / "amass" / WALK)[2] == ""
    np.savez(raw / "amass" / WALK, **amass(960) | {"gender": np.array(b"male")})
    assert babel.read_motion(raw / "amass" / WALK)[2] == "male"
