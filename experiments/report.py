"""Gather the rows of experiments, and render what was measured.

python -m experiments.report

Rows that loso.py left in outputs/ become `model_cards/results/loso_gist.json` and figures. From `model_cards/results/*.json`
alone, so also without outputs/: `model_cards/RESULTS.md`, every table with its data, protocol, seeds and command; and the short
table of the README between `<!-- results -->` and `<!-- /results -->`.
"""

import json
from pathlib import Path

from experiments.report_loso import Rows, draw, load_rows, section, write_result
from experiments.report_tables import tables
from modeling_gait.files import atomic_path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "model_cards" / "results"
START, END = "<!-- results -->", "<!-- /results -->"
ABOUT = """# What was measured

Made by `experiments/report.py` from `results/*.json`, which also hold the single runs, versions and hardware. Every table names
its data, protocol, seeds and command. Numbers of simulated people never stand in a table with those of measured ones."""

# Rows of the table of the chain: key, what it is, form of a number.
CHAIN = (
    ("reconstruction_mpjpe_mm", "reconstruction, all 25 joints [mm]", ".1f"),
    ("reconstruction_mpjpe_without_hands_mm", "... without wrists, hands, thumbs [mm]", ".1f"),
    ("reconstruction_mpjpe_hands_mm", "... wrists, hands, thumbs alone [mm]", ".1f"),
    ("reconstruction_mpjpe_plain_decoder_mm", "... by the tokeniser's own decoder, no skeleton [mm]", ".1f"),
    ("codebook_usage_spatial", "spatial codes used", ".2f"),
    ("codebook_usage_temporal", "temporal codes used", ".2f"),
    ("codebook_usage_body", "body codes used (least of its stages)", ".2f"),
    ("codebook_usage_pathological", "pathological codes used", ".2f"),
    ("classifier_accuracy_originals", "judge on originals", ".3f"),
    ("classifier_accuracy_reconstructions", "judge on reconstructions", ".3f"),
    ("pathological_codes_accuracy", "class from the pathological codes alone", ".3f"),
    ("transplant_donor_class", "transplanted walks judged as the donor's class", ".3f"),
    ("transplant_speed_correlation", "speed before and after the transplant, r", ".3f"),
    ("transplant_body_height_error_mm", "change of summed bone lengths by the transplant [mm]", ".1f"),
    ("sampled_decodable", "sampled walks that can be decoded", ".3f"),
    ("sampled_prompt_accuracy", "sampled walks judged as the prompted class", ".3f"),
    ("speed_correlation", "speed asked and measured, r", ".2f"),
    ("speed_error", "... mean error [m/s]", ".3f"),
    ("cadence_correlation", "cadence asked and measured, r", ".2f"),
    ("cadence_error", "... mean error [steps/min]", ".1f"),
    ("fgd", "Frechet gait distance of sampled walks", ".1f"),
    ("fgd_real_split", "... of one half of the real walks to the other", ".1f"),
    ("diversity", "diversity of sampled walks", ".1f"),
    ("diversity_real", "... of real walks", ".1f"),
    ("sampled_foot_skate", "foot skate of sampled walks [m/s]", ".2f"),
    ("real_foot_skate", "... of real walks", ".2f"),
)

# The README's table: what, data, result file, the number, what to hold it against; templates of the result's metrics.
HEADLINES = (
    (
        "class of a new person's walk, GRU, real walks + new people made of them",
        *("gist", "loso_gist", "**{gru_people:.1%}**"),
        "real walks {gru_real:.1%}, + classical augmentation {gru_classical:.1%}",
    ),
    (
        "... + walks that GPT-2 wrote, as sampled (one seed)",
        *("gist", "loso_gist", "{gru_same_people:.1%}"),
        "{gru_same_people_gain_points:+.1f} points to real walks, same seed",
    ),
    (
        "... graph network, real walks + new people (one seed)",
        *("gist", "loso_gist", "**{graph_people:.1%}**", "real walks {graph_real:.1%}"),
    ),
    (
        "was a walk trained on? AUC, of walks that GPT-2 wrote",
        *("gist", "privacy_gist", "{membership_auc:.2f}", "0.50: guessing"),
    ),
    (
        "words to walk, best of 8: judged as the class asked for",
        *("gist", "prompt_control_gist", "{sampled_prompt_accuracy_8:.0%}", "one sample {sampled_prompt_accuracy_1:.0%}"),
    ),
    (
        "... speed asked for and measured, r",
        *("gist", "prompt_control_gist", "**{speed_correlation_8:.2f}**", "one sample {speed_correlation_1:.2f}"),
    ),
    (
        "words to walk, search among a person's recordings, nDCG@10",
        *("gist", "retrieval_gist", "**{ndcg_at_10:.2f}**"),
        "class name only {label_ndcg_at_10:.2f}, chance {chance_ndcg_at_10:.2f}",
    ),
    (
        "ten activities by their descriptions, leg sensors (elevators as standing)",
        *("HuGaDB", "actions_hugadb", "{top1:.1%} (**{top1_merged:.1%}**)"),
        "plain classifier {classifier_top1:.1%} ({classifier_top1_merged:.1%})",
    ),
    (
        "... three activities never trained on, among themselves",
        *("HuGaDB", "actions_hugadb", "**{zero_shot_top1:.1%}**", "chance {zero_shot_chance:.1%}"),
    ),
    (
        "somebody's gait from one cycle, error in variances",
        *("HuGaDB", "personalisation_hugadb", "**{mse_maml_1:.2f}**"),
        "fine-tuning {mse_finetune_1:.2f}, from scratch {mse_scratch_1:.2f}, shrunk mean {mse_shrunk_mean_1:.2f}",
    ),
    (
        "gait parameters, of 29, read from a new person's skeleton with r of 0.8 or more",
        *("gist", "knowledge_gist", "**{parameters_r_at_least_08}**", "from a class alone {class_parameters_r_at_least_08}"),
    ),
    (
        "medical knowledge and numbers, gain with 5 % of the walks [points]",
        *("gist", "knowledge_gist", "{gain_points_at_5_percent:+.1f}"),
        "interval {gain_points_at_5_percent_ci_low:+.1f} to {gain_points_at_5_percent_ci_high:+.1f}",
    ),
    (
        "10,000 walks, text to joints, two CPU cores",
        *("", "generation_speed", "{seconds_per_10000_walks:.0f} s", ""),
    ),
)


def headlines() -> str:
    """The README's table; a line whose result is not there is left out."""
    lines = ["| people held out | data | measured | to compare |", "|---|---|---|---|"]
    for words, data, name, value, against in HEADLINES:
        path = RESULTS / f"{name}.json"
        metrics = json.loads(path.read_text())["metrics"] if path.exists() else {}
        try:
            cells = [words, data, *(text.format(**metrics).replace("%", " %") for text in (value, against))]
        except KeyError:
            continue
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures(name: str) -> list[str]:
    """Markdown of the figures of an experiment, beside its tables."""
    pictures = sorted((RESULTS.parent / "figures").glob(f"{name}*.png"))
    return [f"![{p.stem.replace('_', ' ')}](figures/{p.name})" for p in pictures]


def chain_table(result: dict) -> str:
    """A column a held-out subject, and their mean."""
    rows = sorted(result["rows"], key=lambda r: int(r["subject"]))
    head = ["", *(f"subject {r['subject']}" for r in rows), "mean"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for key, words, form in CHAIN:
        values = [r.get(key) for r in rows] + [result["metrics"].get(key)]
        if any(v is not None for v in values):
            lines.append("| " + " | ".join([words, *("" if v is None else format(v, form) for v in values)]) + " |")
    return "\n".join(lines)


def results_section() -> str:
    """Markdown of what was measured so far."""
    parts = []
    chain = RESULTS / "chain_gist.json"
    if chain.exists():
        result = json.loads(chain.read_text())
        parts += [
            f"**From words to a walk, gist** (seed {', '.join(map(str, result['seeds']))}; {result['protocol']}; "
            f"`{result['command']}`):",
            chain_table(result),
        ]
    loso = RESULTS / "loso_gist.json"
    if loso.exists():
        result = json.loads(loso.read_text())
        parts += section(Rows(result["rows"]), result)
    for name in sorted(p.stem for p in RESULTS.glob("*.json") if p not in (chain, loso)):
        result = json.loads((RESULTS / f"{name}.json").read_text())
        shown = tables(name, result)
        if not shown:
            few = [f"{k} {v}" for k, v in result["metrics"].items()] if len(result["metrics"]) < 4 else []
            about = "; ".join([*few, result["dataset"], result["protocol"], f"`{result['command']}`"])
            shown = [f"`results/{name}.json`: {about}"]
        parts += shown + figures(name)
    return "\n\n".join(parts)


def gather() -> None:
    """Rows of outputs/loso_gist, if there are any, into one result file and figures."""
    folder = ROOT / "outputs" / "loso_gist"
    if any((folder / "rows").glob("*.json")):
        rows = load_rows(folder, RESULTS / "loso_gist.json")
        choices = folder / "choices.json"  # absent where no arm needed it
        write_result(rows, RESULTS / "loso_gist.json", json.loads(choices.read_text()) if choices.exists() else {})
        draw(rows, RESULTS.parent / "figures")


def main() -> None:
    gather()
    readme = ROOT / "README.md"
    text = readme.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme}: expected one {START} and one {END}")
    before, rest = text.split(START)
    everything = f"{ABOUT}\n\n{results_section()}\n"
    for path, content in (
        (RESULTS.parent / "RESULTS.md", everything),
        (readme, f"{before}{START}\n{headlines()}\n{END}{rest.split(END)[1]}"),
    ):
        with atomic_path(path) as temporary:
            temporary.write_text(content)


if __name__ == "__main__":
    main()
