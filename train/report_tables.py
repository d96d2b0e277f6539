"""Tables of the experiments beside the chain (report.py) and leave one subject out (report_loso.py).

In: a result of model_cards/results, as a dict. Out: Markdown. A table is its title, its columns (heading, what stands for {}
in the keys) and its rows (words, key of `metrics`, form of the number); a row of which nothing was measured is left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """What to show of a result."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, str], ...]


SHOTS = (("1 cycle", "1"), ("3 cycles", "3"), ("5 cycles", "5"), ("10 cycles", "10"))
GAPS = (("5 %", "5"), ("10 %", "10"), ("20 %", "20"), ("a sensor missing", "sensor"))
ARMS = {
    "maml": "**meta-learned, adapted**",
    "maml_unadapted": "... without a step",
    "shrunk_mean": "support mean, shrunk (empirical Bayes)",
    "finetune": "pretrained, fine-tuned",
    "scratch": "trained from scratch",
    "support_mean": "mean of the support",
    "population_mean": "mean of the population",
    "nearest": "nearest training cycle",
    "floor": "mean of the query cycles (bound)",
}
PERSONS = (("personalised network", "personalised"), ("one walk", "one_walk"), ("nobody", "nobody"))
TABLES = {
    "privacy_gist": (
        Table(
            "**Privacy of walks that GPT-2 wrote, gist** (0.5: an attack that guesses)",
            (("", ""),),
            (
                ("membership inference, AUC", "membership_auc{}", ".3f"),
                ("... interval, low", "membership_auc_ci_low{}", ".3f"),
                ("... interval, high", "membership_auc_ci_high{}", ".3f"),
                ("presence of a person, AUC", "person_auc{}", ".3f"),
                ("copies (0.05 expected of real walks)", "copies{}", ".3f"),
                ("distance to the nearest training walk, against unseen real walks: gait", "distance_ratio_gait{}", ".2f"),
                ("... body and posture", "distance_ratio_pose{}", ".2f"),
            ),
        ),
    ),
    "personalisation_hugadb": (
        Table(
            "**A person from a few gait cycles, HuGaDB**: error of the expected cycle, in variances of a channel",
            SHOTS,
            tuple((words, f"mse_{arm}_{{}}", ".3f") for arm, words in ARMS.items()),
        ),
        Table(
            "DTW distance of the same, and spread of generated cycles against the person's own",
            SHOTS,
            tuple((words, f"dtw_{arm}_{{}}", ".3f") for arm, words in ARMS.items())
            + (("spread, generated", "spread_generated_{}", ".3f"), ("spread, own", "spread_real_{}", ".3f")),
        ),
        Table(
            "Reconstruction with five support cycles: error of what was hidden, by the share of samples seen",
            GAPS,
            (
                ("**meta-learned, adapted**", "reconstruction_mse_maml_{}", ".3f"),
                ("... without support", "reconstruction_mse_maml_no_support_{}", ".3f"),
                ("pretrained, no support", "reconstruction_mse_pretrain_{}", ".3f"),
                ("interpolation", "reconstruction_mse_interpolation_{}", ".3f"),
                ("PCA in-filling", "reconstruction_mse_pca_{}", ".3f"),
                ("support mean, the rest interpolated", "reconstruction_mse_support_mean_{}", ".3f"),
            ),
        ),
    ),
    "same_person_gist": (
        Table(
            "**This person, another gait, gist**: generated walks against the held-out person's own",
            PERSONS,
            (
                ("bone lengths, mean error [mm]", "{}_bone_error_mm", ".1f"),
                ("mean posture, mean error of a joint [mm]", "{}_posture_error_mm", ".1f"),
                ("judged as the class asked for", "{}_judged_as_asked", ".3f"),
            ),
        ),
    ),
}


def tables(name: str, result: dict) -> list[str]:
    """Markdown of a result: its tables, under what they stand on; nothing where there is no table for it."""
    parts = []
    for i, table in enumerate(TABLES.get(name, ())):
        lines = [
            "| " + " | ".join(["", *(heading for heading, _ in table.columns)]) + " |",
            "|---" * (len(table.columns) + 1) + "|",
        ]
        for words, key, form in table.rows:
            values = [result["metrics"].get(key.format(column)) for _, column in table.columns]
            if any(v is not None for v in values):
                lines.append("| " + " | ".join([words, *("" if v is None else format(v, form) for v in values)]) + " |")
        seeds = ", ".join(map(str, result["seeds"]))
        about = f" (seeds {seeds}; {result['protocol']}; `{result['command']}`)" if i == 0 else ""
        parts += [f"{table.title}{about}:", "\n".join(lines)]
    return parts
