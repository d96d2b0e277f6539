"""Gather the rows of experiments, and render the tables of the README between `<!-- results -->` and `<!-- /results -->`.

python train/report.py

Rows that loso.py left in outputs/ become `model_cards/results/loso_gist.json` and figures; the tables are made of
`model_cards/results/*.json` alone, so they can be made without outputs/.
"""

import json
from pathlib import Path

from report_loso import Rows, draw, load_rows, section, write_result
from report_tables import tables

from modeling_gait.export import atomic_path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "model_cards" / "results"
START, END = "<!-- results -->", "<!-- /results -->"

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
        if shown:
            parts += shown
            continue
        few = [f"{k} {v}" for k, v in result["metrics"].items()] if len(result["metrics"]) < 4 else []
        about = "; ".join([*few, result["dataset"], result["protocol"], f"`{result['command']}`"])
        parts.append(f"`model_cards/results/{name}.json`: {about}")
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
    with atomic_path(readme) as temporary:
        temporary.write_text(f"{before}{START}\n{results_section()}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
