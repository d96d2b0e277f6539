"""The tokeniser: parts add up to the walk, pathology is what the normal cycle has not, sides, errors, saving."""

import json

import numpy as np
import pytest
import torch
from conftest import SIZES, tiny_vq
from transformers import AutoModel

from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.gait_classes import load_classes
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.gait_waves import footing
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel, GaitVQOutput
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, mirror
from modeling_gait.training.fit_parts import fit_parts

LABELS = ("normal", "steppage", "lurch")
N, PEOPLE = 96, 6
CODES = ("temporal_codes", "pathological_codes", "spatial_codes", "sensor_codes")


@pytest.fixture(scope="module")
def windows():
    """Joints (54, N, 25, 3), mask, labels and people of simulated walks affected on the right."""
    joints, labels, people = [], [], []
    for label, name in enumerate(LABELS):
        count = 3 * PEOPLE
        walks = simulate_walks(
            count,
            frames=N,
            seed=1,
            pathology=name,
            side="right" if label else None,
            num_subjects=PEOPLE,
            severity=0.7,
            noise=0.003,
        )
        joints += [j - j[:1, [0]] * np.array([1, 1, 0]) for j in walks.joints]
        labels += [label] * count
        people += [str(s) for s in walks.subject_ids]
    return torch.from_numpy(np.stack(joints)).float(), torch.ones(len(joints), N), torch.tensor(labels), people


@pytest.fixture(scope="module")
def model(windows) -> GaitVQModel:
    """A tokeniser fitted to these walks, its class head untrained."""
    config = {
        **SIZES,
        "num_frames": N,
        "codebook_size": 32,
        "num_spatial_tokens": 12,
        "spatial_components": 40,
        "num_pathological_tokens": 5,
    }
    config |= {"pathological_components": 8, "num_sensor_tokens": 6, "drift_components": 20}
    torch.manual_seed(0)
    vq = GaitVQModel(GaitVQConfig(**config, id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)}))
    fit_parts(vq, *windows, classes=load_classes())
    return vq.eval()


def distance(a, b) -> float:
    """Mean distance of root-relative joints [m]."""
    return float((a - a[:, :, [0]] - b + b[:, :, [0]]).norm(dim=-1).mean())


def test_an_output_has_the_documented_shapes(model, windows):
    out = model(*(w[:4] for w in windows[:3]))
    assert isinstance(out, GaitVQOutput) and out.class_logits.shape == (4, 3) and out.reconstruction.shape == (4, N, 25, 3)
    for name, (kind, sizes) in zip(CODES, model.config.slots.items()):
        assert name == f"{kind}_codes" and out[name].shape == (4, len(sizes)) and out[name].dtype == torch.long
        assert (out[name] >= 0).all() and (out[name] < torch.tensor(sizes)).all()
    assert model.config.bits_per_window == pytest.approx(26 * 5 + np.log2(6))
    assert model.train()(*(w[:4] for w in windows[:3])).reconstruction is None
    model.eval()


def test_walks_come_back_better_than_a_mean_walk(model, windows):
    joints, mask, labels, _ = windows
    codes = model.encode(joints, mask, labels)
    near = distance(model.decode(**codes, attention_mask=mask), joints)
    without = {k: v for k, v in codes.items() if k != "sensor_codes"}
    assert near < distance(model.decode(**without), joints) and near < 0.6 * distance(joints.mean(0)[None], joints)


def test_parts_add_up_to_the_cycle(model, windows):
    joints, mask, labels, _ = windows
    codes = model.encode(joints, mask, labels)
    parts = model.codebooks.lookup(*(codes[name] for name in CODES))
    torch.testing.assert_close(parts.waves().cycle, parts.person + parts.pathology)
    torch.testing.assert_close(parts.waves(2.0).cycle - parts.waves(1.0).cycle, parts.pathology)
    assert not parts.pathology[labels == 0].any() and parts.pathology[labels > 0].any()


def test_pathology_is_what_the_walk_has_beside_the_persons_normal_cycle(model, windows):
    """With and without knowing the person, the part makes a walk of the class out of a normal one."""
    joints, mask, labels, people = windows
    waves, books = model.waves(joints, mask), model.codebooks
    for given in (True, False):
        missed = []
        for person in sorted(set(people)):
            own = torch.tensor([p == person for p in people])
            rows = own & (labels == 1)
            normal = waves.cycle[own & (labels == 0)].mean(0)
            codes = model.encode(joints[rows], mask[rows], labels[rows], normal if given else None)
            made = normal + books.pathology_cycle(codes.pathological_codes).mean(0)
            made, before, target = books.to_vector(torch.stack((made, normal, waves.cycle[rows].mean(0))))
            missed.append(float((made - target).norm() / (before - target).norm()))
        assert np.mean(missed) < (0.45 if given else 0.7)


def test_amount_and_grading(model, windows):
    joints, mask, labels, _ = windows
    codes = model.encode(joints, mask, labels).pathological_codes
    amount = model.codebooks.amount(codes)
    assert torch.isnan(amount[labels == 0]).all() and amount[labels > 0].mean() == pytest.approx(1, abs=0.25)
    more = model.codebooks.graded(codes, torch.full((len(codes),), 1.5))
    assert torch.equal(more[labels == 0], codes[labels == 0])
    torch.testing.assert_close(model.codebooks.amount(more)[labels > 0].mean(), torch.tensor(1.5), atol=0.2, rtol=0)
    assert torch.equal(model.codebooks.graded(codes, torch.full((len(codes),), torch.nan)), codes)
    mean = model.codebooks.graded(codes, torch.full((len(codes),), 1.5), own=0.0)  # the way of the class, nobody's own
    assert torch.equal(mean[labels == 0], codes[labels == 0]) and len(mean[labels == 1][:, 1:].unique(dim=0)) == 1
    assert len(more[labels == 1][:, 1:].unique(dim=0)) > 1
    torch.testing.assert_close(model.codebooks.amount(mean)[labels > 0].mean(), torch.tensor(1.5), atol=0.2, rtol=0)


def test_severities_span_the_sign_of_the_training_walks(model, windows):
    joints, mask, labels, _ = windows
    assert torch.equal(model.codebooks.sign_range[0], torch.zeros(2))  # normal gait shows none
    entry = load_classes()["steppage"]
    signs = [entry.sign(compute_gait_parameters(walk.numpy(), 30.0)) for walk in joints[labels == 1]]
    low, high = model.codebooks.sign_range[1].tolist()
    assert min(signs) - 5 < low < high < max(signs) + 5


def test_the_decoder_keeps_strides_within_those_of_the_training_walks(model, windows):
    joints, mask, labels, _ = windows
    low, high = model.config.footing
    assert 1.0 < low < high < 1.3  # simulated feet stand
    codes, grid = model.encode(joints, mask, labels), model.codebooks.temporal.codebook[:, 1]
    codes.temporal_codes[:, 1] = (grid - 0.6 * grid[codes.temporal_codes[:, 1]][:, None]).abs().argmin(1)  # slower, as before
    shown = {k: getattr(codes, k) for k in ("temporal_codes", "pathological_codes", "spatial_codes")}
    for bounds, least, most in ((model.config.footing, 0.95, 1.25), (None, 0.5, 0.8)):
        decoder = GaitDecoderModel.from_vq(model)
        decoder.config.footing = bounds
        assert least < footing(model.waves(decoder(**shown).joints, mask), KINECT_V2).median() < most


def test_a_walk_affected_on_the_left_is_the_mirror_image(model, windows):
    joints, mask, labels, _ = windows
    rows = labels == 1
    right = model.encode(joints[rows], mask[rows], labels[rows])
    left = model.encode(mirror(joints[rows], KINECT_V2), mask[rows], labels[rows] + len(LABELS))
    assert (left.pathological_codes[:, 0] == 1 + len(LABELS)).all()
    assert (left.pathological_codes[:, 1:] == right.pathological_codes[:, 1:]).float().mean() > 0.95
    a, b = (model.codebooks.pathology_cycle(c.pathological_codes).mean(0) for c in (left, right))
    torch.testing.assert_close(model.codebooks.turned(a[None], torch.ones(1).bool())[0], b, atol=2e-3, rtol=0)


def test_without_labels_the_head_says_class_and_side(model, windows):
    joints, mask = windows[0][:5], windows[1][:5]
    said = model.logits(model.waves(joints, mask)).argmax(1)
    assert torch.equal(model.encode(joints, mask).pathological_codes[:, 0], said)
    unknown = torch.tensor([-100, 1, -100, 4, -100])
    codes = model.encode(joints, mask, unknown).pathological_codes[:, 0]
    assert torch.equal(codes, torch.where(unknown >= 0, unknown, said))


def test_the_loss_is_that_of_class_and_side_and_trains_the_head_alone(model, windows):
    joints, mask, labels, _ = windows
    unknown = torch.where(torch.arange(len(labels)) % 2 == 0, labels, -100)
    expected = torch.nn.functional.cross_entropy(model.logits(model.waves(joints, mask)), unknown, ignore_index=-100)
    torch.testing.assert_close(model(joints, mask, unknown).loss, expected)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and all(n.startswith("head.") for n in trained)
    assert model(joints[:2], mask[:2], torch.tensor([-100, -100])).loss == 0


def test_save_and_load_is_exact(model, windows, tmp_path):
    model.save_pretrained(tmp_path)
    half = GaitVQModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    for loaded in (GaitVQModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path), half):
        assert type(loaded) is GaitVQModel and loaded.config.slots == model.config.slots
        assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values()))
        a, b = (m.eval().encode(windows[0][:3], windows[1][:3]) for m in (loaded, model))
        assert all(torch.equal(a[name], b[name]) for name in CODES)


def test_an_untrained_model_stands_still():
    joints = tiny_vq().eval().decode(*(torch.zeros(1, n, dtype=torch.long) for n in (4, 3, 4)))
    assert torch.isfinite(joints).all() and joints[..., 2].amax() > 1
    assert torch.equal(tiny_vq().codebooks.spatial.codebook, tiny_vq().codebooks.spatial.codebook)


def test_checkpoints_of_the_codes_of_a_latent_step_are_refused_by_name(tmp_path):
    tiny_vq().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"downsampling": 4, "temporal_codebook_size": 1024}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="gait_vq has the codes of version 1 .* train it anew"):
        GaitVQModel.from_pretrained(tmp_path)


def test_other_shapes_and_codes_are_refused(model, windows):
    with pytest.raises(ValueError, match="expected joints"):
        model.encode(windows[0][:2, :, :20])
    codes = model.encode(windows[0][:2])
    for name, message in (
        ("temporal_codes", "outside a codebook"),
        ("pathological_codes", "class codes"),
        ("spatial_codes", "outside"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(**{**codes, name: torch.full_like(codes[name], 99)})
    with pytest.raises(ValueError, match="needs two or more walks, got 1"):
        fit_parts(model, *(part[:1] for part in windows))
    with pytest.raises(ValueError, match="no walk has a known class"):
        fit_parts(model, windows[0], windows[1], torch.full((len(windows[2]),), -100), windows[3])


def test_arguments_that_do_not_fit_are_refused(model, windows):
    joints, mask, labels = (w[:3] for w in windows[:3])
    normal = model.normal_cycle(joints, mask)
    for call, message in (
        (lambda: model(), r"expected joints \(B, T, J, 3\) as a tensor, got NoneType"),
        (lambda: model(joints.numpy()), "as a tensor, got ndarray float32"),
        (lambda: model.encode(joints[0]), "expected joints"),
        (lambda: model.encode(joints, mask[:1]), r"expected attention_mask \(3, 96\)"),
        (lambda: model.encode(joints, mask.numpy()), "expected attention_mask"),
        (lambda: model.encode(joints[:, :1]), "walk 0 of the batch has less than two valid frames"),
        (lambda: model.encode(joints[:, :0]), "walk 0 of the batch has less than two valid frames"),
        (lambda: model.encode(joints, mask.cumsum(1) > 8), "walk 0 of the batch: .* valid frames must come first"),
        (lambda: model(joints, mask.cumsum(1) > 8), "valid frames must come first"),
        (lambda: model.encode(joints, 0 * mask), "walk 0 of the batch has less than two valid frames"),
        (lambda: model.encode(joints * torch.nan), "walk 0 of the batch has joints that are not finite"),
        (lambda: model.encode(joints, mask, labels[:1]), r"labels: expected \(3,\) as an int64 tensor, got Tensor"),
        (lambda: model.encode(joints, mask, labels.float()), "labels: expected"),
        (lambda: model(joints, mask, labels[:1]), "labels: expected"),
        (lambda: model.encode(joints, mask, labels, normal[:3]), "normal: expected"),
        (lambda: model.encode(joints, mask, labels, normal[None]), "normal: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    padded = torch.where(torch.arange(N)[:, None, None] < 80, joints, torch.nan)
    short = (torch.arange(N) < 80).float().expand(3, -1)
    a, b = (model.encode(j, short, labels, normal.expand(3, -1, -1)) for j in (padded, joints))
    assert all(torch.equal(a[name], b[name]) for name in CODES)
    codes = dict(model.encode(joints, mask))
    for other, message in (
        ({"temporal_codes": codes["temporal_codes"].float()}, "expected codes .* as int64"),
        ({"sensor_codes": codes["sensor_codes"].numpy()}, "expected codes .* as int64"),
        ({"pathological_codes": codes["pathological_codes"][:1]}, "expected codes of the same walks, got those of 3, 1, 3, 3"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(**codes | other)
