"""experiments/descriptions.py: BABEL and DenseGait from files in their formats to a table of results."""

import json

import numpy as np
import pytest
from conftest import run_script
from test_babel import amass, annotation, entry, label
from test_densegait import tracklet, write
from test_modeling_gait_dual_encoder import write_sentence_encoder

from datasets_scripts import babel, densegait
from experiments import descriptions
from experiments.descriptions import action_scores, attribute_scores

SMALL = {"num_frames": 32, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "batch_size": 4, "projection_size": 8}


@pytest.fixture
def arguments(tmp_path):
    """Of a tiny model, three steps."""
    encoder = write_sentence_encoder(tmp_path / "encoder", limit=512)
    about = SMALL | {"text_model": str(encoder), "text_cache": str(tmp_path / "cache"), "max_steps": 3, "warmup_steps": 1}
    (tmp_path / "tiny.json").write_text(json.dumps(about | {"output_dir": ""}))
    return ["--config", tmp_path / "tiny.json", "--output_dir", tmp_path / "out", "--name", "tiny"]


def test_every_pair_of_segment_and_action_counts():
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    found = action_scores(scores, [["a", "b"], ["a"], ["b", "other"]], ["a", "b", "c"])
    assert found["top1"] == 0.5 and found["top5"] == 1 and found["top1_norm"] == 0.5 and found["segments"] == 3
    with pytest.raises(ValueError, match="no tested segment"):
        action_scores(scores, [["other"]] * 3, ["a", "b", "c"])


def test_attributes_are_asked_for_by_their_words():
    vectors = {
        "boots, female": [1, 0],
        "bag, male": [0, 1],
        "female": [1, 0],
        "male": [0, 1],
        "boots": [1, 0],
        "sandals": [0, 1],
    }
    embed = lambda texts: np.array([vectors[t] for t in texts], float)  # noqa: E731
    words = [{"sex": ["female"], "footwear": ["boots"]}, {"sex": ["male"], "footwear": ["boots", "sandals"]}] * 5
    gait = np.array([[1.0, 0.1], [0.1, 1.0]] * 5)
    found = attribute_scores(embed, gait, ["boots, female", "bag, male"] * 5, words)
    assert found["attributes"]["sex"]["f1"] == 1 and found["attributes"]["footwear"] == {}, "one of its values alone"
    assert found["ndcg_at_10"] == pytest.approx(1) and found["chance_ndcg_at_10"] < 1


def test_babel_from_files_to_a_table(tmp_path, cards, arguments):
    raw = tmp_path / "raw"
    for name, people in (("train", (1, 2, 3)), ("val", (4,))):
        content = {}
        for person in people:
            for k, action in enumerate(("walk", "stand")):
                path = f"KIT/KIT/{person}/{action}_poses.npz"
                (raw / "amass" / "KIT" / str(person)).mkdir(parents=True, exist_ok=True)
                np.savez(raw / "amass" / "KIT" / str(person) / f"{action}_poses.npz", **amass(240))
                told = annotation(label(f"{action} about", [action]))
                content[str(10 * person + k)] = entry(10 * person + k, path, 2.0, seq_ann=told)
        (raw / f"{name}.json").write_text(json.dumps(content))
    babel.prepare(raw, raw / "amass", tmp_path / "babel", num_proc=1)
    run_script(descriptions, ["--dataset", tmp_path / "babel", *arguments])
    result = json.loads((cards / "results" / "tiny.json").read_text())
    (row,) = result["rows"]
    assert (row["classes"], row["segments"]) == (2, 2) and {"top1", "top5", "top1_norm"} <= set(result["metrics"])
    assert result["metrics"]["top5"] == 1 and result["metrics"]["chance_top1"] == 0.5


def test_densegait_from_files_to_a_table(tmp_path, cards, arguments):
    clips = {f"{i:02}.npy": tracklet(40, seed=i) for i in range(24)}
    scores = {"Female": [0.9, 0.9, 0.1, 0.1] * 6, "Boots": [0.9] * 12 + [0.1] * 12, "Sandals": [0.1] * 12 + [0.9] * 12}
    densegait.prepare(write(tmp_path / "raw", clips, **scores), tmp_path / "densegait", num_proc=1)
    run_script(descriptions, ["--dataset", tmp_path / "densegait", *arguments, "--num_folds", "2"])
    result = json.loads((cards / "results" / "tiny.json").read_text())
    assert [r["walks"] for r in result["rows"]] == [12, 12]
    keys = {"ndcg_at_10", "chance_ndcg_at_10", "sex_f1", "sex_average_precision", "footwear_f1", "ndcg_at_10_ci_low"}
    assert keys <= set(result["metrics"]) and 0 < result["metrics"]["sex_chance_f1"] < 1
