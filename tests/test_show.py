"""show.py: prompts that ask for what they should, a table that tells the truth, files that are there."""

import json
import math

import numpy as np
import pytest
from conftest import run_script
from PIL import Image

from modeling_gait.captions import WalkDescription, parse_prompt
from modeling_gait.gait_classes import load_classes
from modeling_gait.loading import load_walk
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training import showing
from train import show


def reading(**changes) -> dict:
    """What `gait-to-text` returns, as far as show.py reads it."""
    parameters = {"speed": 0.71, "cadence": 92.04, "knee_range_left": 48.2, "knee_range_right": math.nan}
    return {
        "gait_parameters": parameters | changes,
        "class_probabilities": {"normal": 0.25, "steppage": 0.75},
        "text": "steppage gait.",
    }


@pytest.fixture
def shown_walks(walks) -> list[dict]:
    """Simulated walks as `text-to-gait` would return them."""
    return [
        {
            "joints": joints,
            "fps": walks.fps,
            "skeleton": "kinect_v2",
            "prompt": f"{name} gait",
            "description": WalkDescription(name, speed=0.8, cadence=96),
        }
        for joints, name in zip(walks.joints, walks.pathology)
    ]


def test_default_prompts_ask_for_each_class():
    reference = {"mean": {"speed": 1.0, "cadence": 100.0, "knee_range_left": 50.0}}
    prompts = showing.default_prompts(load_classes().select(PATHOLOGIES), reference)
    asked = [parse_prompt(p) for p in prompts]
    assert [a.pathology for a in asked] == list(PATHOLOGIES)
    assert asked[0].speed == 1.0 and asked[0].cadence == 100 and asked[0].severity is None
    assert all(a.severity > 2 / 3 and a.speed < 0.7 and a.cadence < 100 for a in asked[1:])
    assert {a.side for a in asked[1:-1]} == {"right"}
    assert parse_prompt(showing.default_prompts(load_classes().select(["normal"]))[0]).speed == 1.25


def test_names_are_unique():
    walks = [{"description": WalkDescription(p)} for p in ("normal", "lurch", "normal", "normal")]
    assert showing.unique_names(walks) == ["normal", "lurch", "normal_2", "normal_3"]


def test_table_says_what_was_asked_and_measured(shown_walks):
    row = showing.describe(shown_walks[4], reading(), "steppage")
    assert (row.asked_speed, row.speed, row.knee_range_right) == (0.8, 0.71, None)
    assert (row.read_class, row.read_probability) == ("steppage", 0.75)
    table = showing.markdown_table([row], "simulated walks", 1)
    cells = [c.strip() for c in table.splitlines()[-1].strip("|").split("|")]
    assert cells == ["steppage", "0.80", "0.71", "96", "92", "48", "-", "steppage (75 %)"]
    assert "one walk a prompt" in table and "of 8 a prompt" in showing.markdown_table([row], "simulated walks", 8)
    assert "simulated walks" in table and "trained on" not in showing.markdown_table([row], "", 1)


def test_pictures_and_files(shown_walks, tmp_path):
    still = shown_walks[0] | {"joints": np.repeat(shown_walks[0]["joints"][:1], 64, axis=0)}  # holds no gait cycle
    showing.write_pictures([*shown_walks[:2], still], ["normal", "antalgic", "normal_2"], tmp_path)
    with Image.open(tmp_path / "walks.gif") as picture:
        assert picture.size == (3 * 220, 300) and picture.n_frames == 64
    files = {p.name for p in (tmp_path / "walks").iterdir()}
    both = {f"{n}{end}" for n in ("normal", "antalgic") for end in (".bvh", ".csv", ".png", "_angles.png")}
    assert files == both | {f"normal_2{end}" for end in (".bvh", ".csv", ".png")}
    assert (tmp_path / "angles.png").is_file()
    back = load_walk(tmp_path / "walks" / "antalgic.csv")
    np.testing.assert_allclose(back.joints, shown_walks[1]["joints"], atol=1e-4)


def test_whole_script(family_folder, tmp_path, capsys):
    run_script(
        show, ["--model", family_folder, "--output_dir", tmp_path, "--trained_on", "a toy", "--prompts", "lurching gait"]
    )
    result = json.loads((tmp_path / "table.json").read_text())
    (row,) = result["rows"]
    assert result["trained_on"] == "a toy" and row["asked_class"] == "lurch" and row["read_class"] in PATHOLOGIES
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "walks" / "lurch.bvh").is_file() and (tmp_path / "walks.gif").is_file()


def test_unknown_gait_is_refused(family_folder, tmp_path):
    with pytest.raises(ValueError, match="names no gait"):
        run_script(show, ["--model", family_folder, "--output_dir", tmp_path, "--prompts", "hello"])
