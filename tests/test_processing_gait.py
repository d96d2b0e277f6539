"""The processor: walks and words together, descriptions, saving."""

import numpy as np
import pytest
import torch
from conftest import NUM_FRAMES, tiny_vq
from transformers import AutoProcessor

from modeling_gait.captions import fit_reference
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.processing_gait import GaitProcessor
from modeling_gait.simulation import simulate_walks
from modeling_gait.tokenization_gait import GaitTokenizer, train_text_tokenizer


@pytest.fixture(scope="module")
def processor(walks) -> GaitProcessor:
    normal = simulate_walks(6, frames=96, pathology="normal", seed=5)
    reference = fit_reference([compute_gait_parameters(j, normal.fps) for j in normal.joints])
    tokenizer = GaitTokenizer.from_base(train_text_tokenizer(["a slow walk"], 300), tiny_vq().config)
    extractor = GaitFeatureExtractor(num_frames=NUM_FRAMES).fit(walks.joints)
    return GaitProcessor(extractor, tokenizer, normal_reference=reference)


def test_walks_and_text_are_those_of_its_parts(processor, walks):
    both = processor(text=["a slow walk", "a"], walks=list(walks.joints[:2]))
    assert {"input_values", "attention_mask", "joints", "input_ids", "text_attention_mask"} == set(both)
    alone = processor.feature_extractor(list(walks.joints[:2]))
    assert torch.equal(both["input_values"], alone["input_values"])
    assert torch.equal(both["attention_mask"], alone["attention_mask"])
    text = processor(text=["a slow walk", "a"])
    assert set(text) == {"input_ids", "attention_mask"}
    assert torch.equal(text["input_ids"], both["input_ids"])
    assert torch.equal(text["attention_mask"], both["text_attention_mask"])
    assert processor(text="a slow walk")["input_ids"].shape[0] == 1


def test_options_reach_the_extractor(processor, walks):
    slow = processor(walks=walks.joints[0], fps=60.0)
    assert 0 < slow["attention_mask"].sum() <= NUM_FRAMES
    assert not torch.equal(slow["input_values"], processor(walks=walks.joints[0])["input_values"])
    with pytest.raises(ValueError, match="unknown skeleton"):
        processor(walks=walks.joints[0], skeleton="octopus")


def test_nothing_is_refused(processor):
    with pytest.raises(ValueError, match="text, walks or both"):
        processor()


def test_describe_measures_an_unknown_severity(processor):
    severe = simulate_walks(1, pathology="stiff_legged", severity=1.0, side="left", seed=2)
    parameters = compute_gait_parameters(severe.joints[0], severe.fps)
    known = processor.describe(parameters, "stiff_legged", 0.4, {"side": "left"})
    assert known.severity == pytest.approx(0.4) and known.side == "left"
    for unknown in (None, float("nan")):
        measured = processor.describe(parameters, "stiff_legged", unknown, {"side": "left"}).severity
        assert measured is not None and 0.2 < measured <= 1
    without = GaitProcessor(processor.feature_extractor, processor.tokenizer)
    assert without.describe(parameters, "stiff_legged").severity is None


def test_save_and_load_is_exact(processor, walks, tmp_path, caplog):
    processor.save_pretrained(tmp_path)
    for loaded in (GaitProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is GaitProcessor
        assert type(loaded.feature_extractor) is GaitFeatureExtractor and type(loaded.tokenizer) is GaitTokenizer
        assert loaded.normal_reference == processor.normal_reference and loaded.normal_reference
        assert loaded.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
        a, b = (p(text="a slow walk", walks=walks.joints[0]) for p in (loaded, processor))
        assert all(torch.equal(a[k], b[k]) for k in b) and set(a) == set(b)
    assert "deprecated" not in caplog.text


def test_decode_passes_to_the_tokenizer(processor):
    ids = processor(text="a slow walk")["input_ids"]
    assert processor.decode(ids[0]) == "a slow walk" and processor.batch_decode(np.array(ids)) == ["a slow walk"]
