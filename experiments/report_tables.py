"""Tables of the experiments beside the chain (report.py) and leave one subject out (report_loso.py).

In: a result of model_cards/results, as a dict. Out: Markdown. A table is its title, its columns (heading, what stands for {}
in the keys) and its rows (words, key of `metrics`, form of the number); rows and columns without any number are left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """What to show of a result."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, str], ...]


def interval(words: str, key: str, form: str) -> tuple[tuple[str, str, str], ...]:
    """Rows of a value and of the two ends of its interval."""
    return (words, key, form), ("... interval, low", f"{key}_ci_low", form), ("... interval, high", f"{key}_ci_high", form)


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
SEARCHES = (
    ("caption", ""),
    ("paraphrase", "paraphrase_"),
    ("class name only", "label_"),
    ("measured numbers", "parameters_"),
    ("chance", "chance_"),
)
LOSSES = (
    ("CLIP", ""),
    ("MSE", "mse_"),
    ("triplet", "triplet_"),
    ("SigLIP", "siglip_"),
    ("MSE + triplet", "mse_triplet_"),
    ("CLIP + triplet", "clip_triplet_"),
    ("all three", "mse_triplet_clip_"),
    ("MSE + triplet, text fixed (the paper's)", "paper_"),
)
ATTRIBUTES = (("class", "pathology"), ("side", "side"), ("speed", "speed"), ("cadence", "cadence"))
READERS = (("nearest description", ""), ("linear probe", "probe_"), ("classifier", "classifier_"))
APPEARANCE = tuple((a, a) for a in ("sex", "age", "stature", "build", "load", "footwear", "clothing"))
KNOWLEDGE = (("neither", "plain"), ("knowledge", "knowledge"), ("numbers", "numeric"), ("both", "both"))
CODES = (("with pathological codes", "ours"), ("without", "no_pathological_tokens"))
ONE = (("", ""),)
PERSONS = (("personalised network", "personalised"), ("one walk", "one_walk"), ("nobody", "nobody"))
TABLES = {
    "privacy_gist": (
        Table(
            "**Privacy of walks that GPT-2 wrote, gist** (0.5: an attack that guesses)",
            (("", ""),),
            (
                *interval("membership inference, AUC", "membership_auc{}", ".3f"),
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
    "generation_speed": (
        Table(
            "**Time of text to joints**",
            ONE,
            (("1,000 walks [s]", "seconds_per_1000_walks{}", ".1f"), ("10,000 walks [s]", "seconds_per_10000_walks{}", ".0f")),
        ),
    ),
    "search_speed": (
        Table(
            "**Time of encoding and search**",
            ONE,
            (
                ("clean walks encoded a second", "walks_per_second{}", ",.0f"),
                ("raw walks cleaned and encoded a second", "cleaned_walks_per_second{}", ",.0f"),
                ("a new text among 100,000 walks [ms]", "text_query_ms{}", ".1f"),
                ("... the slowest", "text_query_ms_slowest{}", ".1f"),
                ("a walk among them [ms]", "walk_query_ms{}", ".1f"),
            ),
        ),
    ),
    "space_speed": (
        Table(
            "**Time of the Space**",
            ONE,
            (
                ("first walk on the screen [s]", "seconds_to_first_walk{}", ".1f"),
                ("from Generate to the next one [s]", "seconds_to_next_walk{}", ".1f"),
            ),
        ),
    ),
    "report_speed": (
        Table(
            "**Time from a 10 s video to a report**",
            ONE,
            (("seconds", "seconds_10_s_video{}", ".2f"), ("seconds of processor", "processor_seconds_10_s_video{}", ".2f")),
        ),
    ),
    "prompt_control_gist": (
        Table(
            "**Walks that follow their prompt, gist**: the best of so many candidates",
            (("1", "1"), ("4", "4"), ("8", "8")),
            (
                ("judged as the prompted class", "sampled_prompt_accuracy_{}", ".3f"),
                ("speed asked and measured, r", "speed_correlation_{}", ".2f"),
                ("... mean error [m/s]", "speed_error_{}", ".3f"),
                ("cadence asked and measured, r", "cadence_correlation_{}", ".2f"),
                ("... mean error [steps/min]", "cadence_error_{}", ".1f"),
                ("Frechet gait distance to real walks", "fgd_{}", ".1f"),
                ("diversity", "diversity_{}", ".1f"),
            ),
        ),
    ),
    "class_in_codes": (
        Table(
            "**Which codes carry the class, gist**: accuracy on people that the tokeniser never saw",
            CODES,
            (
                ("class from the spatial codes", "{}_class_from_spatial", ".3f"),
                ("... the temporal codes", "{}_class_from_temporal", ".3f"),
                ("... the body codes", "{}_class_from_body", ".3f"),
                ("... all of these", "{}_class_from_motion_and_body", ".3f"),
                ("... the pathological codes", "{}_class_from_pathological", ".3f"),
                ("sampled walks judged as asked", "{}_sampled_as_asked", ".3f"),
            ),
        ),
    ),
    "retrieval_gist": (
        Table(
            "**Text to walk, gist**",
            SEARCHES,
            (
                ("recall@1, the recording", "{}recall_at_1", ".3f"),
                ("recall@5", "{}recall_at_5", ".3f"),
                ("recall@10", "{}recall_at_10", ".3f"),
                ("recall@1, a recording of the same walk", "{}walk_recall_at_1", ".3f"),
                ("recall@10, the same", "{}walk_recall_at_10", ".3f"),
                ("median rank", "{}median_rank", ".1f"),
                ("nDCG@10, shared attributes", "{}ndcg_at_10", ".3f"),
                ("nDCG@10, exponential gain", "{}ndcg_exponential_at_10", ".3f"),
            ),
        ),
        Table(
            "Asked by words alone (macro over the values)",
            ATTRIBUTES,
            (
                ("F1", "{}_f1", ".3f"),
                ("average precision", "{}_average_precision", ".3f"),
                ("F1 by chance", "{}_chance_f1", ".3f"),
            ),
        ),
        Table(
            "Losses (the difference to CLIP is paired by subject and seed; the rest are means over the subjects run)",
            LOSSES,
            (
                ("subjects", "{}subjects", "d"),
                ("seeds of each, at least", "{}seeds", "d"),
                ("nDCG@10", "{}ndcg_at_10", ".3f"),
                *interval("... less CLIP's", "{}ndcg_at_10_difference", "+.3f"),
                ("recall@10", "{}recall_at_10", ".3f"),
            ),
        ),
    ),
    "actions_hugadb": (
        Table(
            "**Activities of leg sensors, HuGaDB** (windows of held-out people)",
            READERS,
            (
                *interval("top-1", "{}top1", ".3f"),
                ("top-1, elevators as standing, car as sitting", "{}top1_merged", ".3f"),
                ("top-1, each activity weighs the same", "{}top1_balanced", ".3f"),
                ("top-5", "{}top5", ".3f"),
            ),
        ),
        Table(
            "Activities never trained on, by description alone, each three among themselves",
            ONE,
            (
                *interval("top-1", "zero_shot_top1{}", ".3f"),
                ("chance", "zero_shot_chance{}", ".3f"),
                ("top-1 among all twelve", "zero_shot_top1_of_all{}", ".3f"),
            ),
        ),
    ),
    "appearance_simulated": (
        Table(
            "**Appearance from gait, simulated**: F1, macro over the values of an attribute",
            APPEARANCE,
            (
                ("rich captions", "rich_{}_f1", ".3f"),
                ("raw labels", "raw_{}_f1", ".3f"),
                *interval("rich less raw", "rich_minus_raw_{}_f1", "+.3f"),
                ("chance", "{}_chance_f1", ".3f"),
            ),
        ),
    ),
    "knowledge_gist": tuple(
        Table(
            title,
            KNOWLEDGE,
            (
                ("seeds", f"{front}seeds_{{}}{end}", "d"),
                ("accuracy", f"{front}accuracy_{{}}{end}", ".3f"),
                ("macro F1", f"{front}macro_f1_{{}}{end}", ".3f"),
                *interval("gain over neither [points]", f"{front}gain_points_{{}}{end}", "+.2f"),
            ),
        )
        for title, front, end in (
            ("**Classes with medical knowledge and numbers, gist, skeletons**", "", ""),
            ("The same with 5 % of the training walks", "", "_at_5_percent"),
            ("The same from videos drawn of the walks, one a walk of the new person (encoder: train_video.py)", "video_", ""),
        )
    )
    + (
        Table(
            "Gait parameters, of 29, recovered with r of at least 0.8, people held out (each one's r: the result file)",
            (("from skeletons", ""), ("from videos", "video_")),
            (("of a walk", "{}parameters_r_at_least_08", "d"), ("of a class", "{}class_parameters_r_at_least_08", "d")),
        ),
    ),
    "severity_simulated": (
        Table(
            "**UPDRS gait scores of simulated parkinsonian walks** (simulated people held out)",
            (("", ""), ("interval, low", "_ci_low"), ("interval, high", "_ci_high")),
            (
                ("quadratic kappa", "quadratic_kappa{}", ".3f"),
                ("mean absolute error", "mean_absolute_error{}", ".3f"),
                ("accuracy", "accuracy{}", ".3f"),
                ("calibration error (ECE)", "ece{}", ".3f"),
                ("... before temperature scaling", "ece_uncalibrated{}", ".3f"),
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
    parts, metrics = [], result["metrics"]
    for table in TABLES.get(name, ()):
        columns = [c for c in table.columns if any(key.format(c[1]) in metrics for _, key, _ in table.rows)]
        if not columns:
            continue  # nothing of it was measured
        lines = ["| " + " | ".join(["", *(heading for heading, _ in columns)]) + " |", "|---" * (len(columns) + 1) + "|"]
        for words, key, form in table.rows:
            values = [metrics.get(key.format(column)) for _, column in columns]
            if any(v is not None for v in values):
                lines.append("| " + " | ".join([words, *("" if v is None else format(v, form) for v in values)]) + " |")
        seeds = ", ".join(map(str, result["seeds"]))
        about = f" (seeds {seeds}; {result['protocol']}; `{result['command']}`)" if not parts else ""
        parts += [f"{table.title}{about}:", "\n".join(lines)]
    return parts
