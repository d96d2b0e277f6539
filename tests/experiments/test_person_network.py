"""person_network.py: nothing of a held-out group is seen, what is added is measured, and the whole on tiny cycles."""

import json

import numpy as np
import torch
from conftest import run_script
from datasets import Dataset
from test_train_maml import C, P, folder  # noqa: F401

from experiments import person_network
from experiments.runner import groups
from modeling_gait.training.fit_prior import layout_of
from modeling_gait.training.maml import load_cycles


def write_people(where):
    sizes = [{"height": 1.6 + i / 20, "weight": 70.0 + i, "age": 20 + i, "sex": "MF"[i % 2]} for i in range(4)]
    Dataset.from_list([{"subject_id": str(i + 1)} | s for i, s in enumerate(sizes)]).to_parquet(where / "train-0.parquet")
    return where


def test_the_left_out_group_changes_nothing_and_no_rule_has_seen_its_episodes(folder, tmp_path, monkeypatch):  # noqa: F811
    cycles, known = load_cycles(str(folder)), person_network.people(str(write_people(tmp_path)))
    args = person_network.NetworkArguments(dataset="", recordings="", reserved=5)
    held, fitted = groups(cycles.subject, 4, []), []
    fit = person_network.fit_model
    monkeypatch.setattr(person_network, "fit_model", lambda m, c, **o: fitted.append(set(c.subject)) or fit(m, c, **o))
    data = person_network.material(0, cycles, held, known, args)
    assert fitted == [{"4"}, {"3"}]  # 1 is left out, 2 validates, 3 and 4 train in turn
    cycles.values[cycles.subject == "1"] = 1e6
    again = person_network.material(0, cycles, held, known, args)
    assert all(torch.equal(e[n], again[k][n]) for k, e in data.items() for n in e)
    val = data["val", 1]
    bound = person_network.error(val, val["target"] - val["expected"])
    assert torch.allclose(bound, val["rest"] / val["total"], rtol=1e-4)
    assert (person_network.error(val) > bound).all()


def test_a_network_adds_nothing_at_the_start_and_forgets_the_order_of_cycles():
    torch.manual_seed(0)
    model = person_network.PersonNetwork(C, P, 4, width=8)
    given = torch.randn(2, P, C), torch.randn(2, P, C), torch.randn(2, 3, P, C), torch.ones(2, 3, 1, C), torch.randn(2, 4)
    assert not model(*given).any()
    torch.nn.init.normal_(model.head.weight)
    turned = (*given[:2], given[2].flip(1), *given[3:])
    assert torch.allclose(model(*given), model(*turned), atol=1e-5)
    hidden = given[3].clone()
    hidden[:, :, :, 0] = 0
    other = given[2].clone()
    other[..., 0] = 9.0
    assert torch.allclose(model(*given[:3], hidden, given[4]), model(*given[:2], other, hidden, given[4]), atol=1e-5)


def test_virtual_people_are_seen_in_a_mirror():
    layout = layout_of(36)
    half = torch.randn(4, 10, 36)
    cycle = torch.cat((half, half[..., layout.mirror] * layout.signs.float()), 1)  # its own mirror image
    ones = torch.ones(4, 1, 36)
    e = {"expected": cycle, "anybody": cycle * 0, "support": cycle[:, None], "mask": ones[:, None], "target": 2 * cycle}
    e |= {"count": ones, "known": torch.zeros(4, 1), "activity": torch.arange(4)}  # no other person: no mixture
    batch = person_network.virtual(e, np.random.default_rng(1), layout)
    wide = batch["target"] / batch["expected"]
    assert torch.allclose(wide, torch.full_like(wide, 2.0), atol=1e-4)
    mirrored = (batch["expected"][..., layout.mirror] * layout.signs.float()).roll(10, -2)
    assert torch.allclose(mirrored, batch["expected"], atol=1e-5)


def test_the_experiment_writes_gains_and_goes_on(folder, tmp_path, cards, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    people = tmp_path / "people"
    people.mkdir()
    base = ["--dataset", folder, "--recordings", write_people(people), "--num_folds", "4", "--reserved", "5"]
    base += ["--max_steps", "20", "--name", "tiny", "--output_dir", "out", "--folds", "0"]
    run_script(person_network, [*base, "--networks", "small"])
    run_script(person_network, base)
    result = json.loads((tmp_path / "model_cards" / "results" / "tiny.json").read_text())
    assert [r["network"] for r in result["rows"]] == ["attention", "small"]
    assert [c[0] for c in result["rows"][0]["curve"]] == [0, 20] and result["metrics"]["gain_small_after_0_1"] == 0
    assert result["metrics"]["gain_attention_after_20_5"] != 0
