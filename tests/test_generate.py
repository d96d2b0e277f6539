"""train/generate.py: files of prompts, data sets of walks."""

import pytest
from conftest import run_script

from modeling_gait.captions import read_prompt
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training.data import load_walks
from train import generate


def test_generate_script_writes_a_data_set(family_folder, tmp_path):
    prompts = tmp_path / "labels.csv"
    prompts.write_text("pathology,side,severity,speed,count\nsteppage,right,0.8,0.6,2\nnormal,,,1.2,1\n")
    out = tmp_path / "synthetic"
    run_script(generate, ["--model", family_folder, "--prompts", prompts, "--output_dir", out, "--num_frames", 32])
    rows = load_walks(str(out))
    assert [PATHOLOGIES[p] for p in rows["pathology"]] == ["steppage", "steppage", "normal"]
    assert rows[0]["joints"].shape == (32, 25, 3) and len({rows[i]["joints"].tobytes() for i in range(3)}) == 3
    assert rows["sample_index"][:].tolist() == [0, 1, 2] and len(set(rows["walk_id"])) == 3
    arguments = ["--model", family_folder, "--prompts", prompts, "--num_frames", 16, "--output_dir"]
    run_script(generate, [*arguments, out])  # an earlier result is replaced
    assert load_walks(str(out))[0]["joints"].shape == (16, 25, 3)
    (out / "README.md").write_text("---\npretty_name: Measured walks\n---\n")
    with pytest.raises(ValueError, match=r"holds another data set \(Measured walks\)"):
        run_script(generate, [*arguments, out])
    (out / "thesis.tex").write_text("three years")
    with pytest.raises(ValueError, match="not a data set folder: it holds thesis.tex"):
        run_script(generate, [*arguments, out])
    assert (out / "thesis.tex").read_text() == "three years"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("p.txt", "normal gait\na purple elephant\n", "p.txt, line 2: the prompt names no gait"),
        ("p.txt", "\n\n", "no prompts"),
        ("p.csv", "class,side\nnormal,\n", "columns .*expected pathology"),
        ("p.csv", "pathology,side\nhopping,left\n", "p.csv, line 2"),
        ("p.csv", "pathology,count\nnormal,2\nnormal,1.5\n", "p.csv, line 3: count 1.5"),
        ("p.csv", "pathology,speed\nnormal,1.2\nnormal,fast\n", "p.csv, line 3: could not convert string to float: 'fast'"),
    ],
)
def test_bad_prompt_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        generate.read_prompts(str(tmp_path / name), 1)


def test_a_table_is_asked_for_exactly(tmp_path):
    (tmp_path / "p.csv").write_text(
        "pathology,side,severity,speed,cadence,count\nsteppage,right,0.65,0.735,95.4,2\nlurch,left,0.001,,,\nnormal,,0,1.2,,1\n"
    )
    prompts = generate.read_prompts(str(tmp_path / "p.csv"), 3)
    assert len(prompts) == 2 + 3 + 1
    said = [read_prompt(prompts[i]) for i in (0, 2, 5)]
    assert (said[0].side, said[0].severity, said[0].speed, said[0].cadence) == ("right", 0.65, 0.735, 95.4)
    assert (said[1].pathology, said[1].side, said[1].severity, said[1].speed) == ("lurch", "left", 0.001, None)
    assert (said[2].pathology, said[2].severity, said[2].speed) == ("normal", None, 1.2)
    assert not any(d.notes or d.unused for d in said)
