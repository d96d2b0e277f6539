"""Measure a model family on people it has not seen: reconstruction, codes, transplants, sampled walks.

    python -m experiments.chain --dataset data/gist --families outputs/gist_10 outputs/gist_1 --subjects 10 1
    python datasets_scripts/simulated.py --num_walks 1800 --num_subjects 60 --frames 128 --output_dir outputs/simulated
    python -m experiments.chain --dataset outputs/simulated --families gait-small --subjects sim0_0050+sim0_0051 \
        --name chain_simulated --output_dir outputs/chain_simulated

Each family was trained without its subject (same order), or subjects joined by +. The judge is a GRU trained here on the real
walks of the other people, on windows of the family's length.
Out: a row a subject (runner.py), `model_cards/results/chain_gist.json`.
"""

import json
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.stats import pearsonr
from transformers import GPT2LMHeadModel

from experiments.runner import RunArguments, parse, read_rows, rounded, run_all, write_result
from modeling_gait.evaluation.metrics import (
    bone_length_variation,
    diversity,
    foot_skate,
    frechet_gait_distance,
    gait_features,
    joint_limit_violations,
)
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_parameters import compute_gait_parameters, smooth_positions
from modeling_gait.generation_gait import best_walks, decode_walks, generate_walks
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.released import named
from modeling_gait.skeletons import SKELETONS
from modeling_gait.tokenization_gait import GaitTokenizer
from modeling_gait.training.classifier import predict, train_classifier
from modeling_gait.training.data import WindowLoader, load_walks
from modeling_gait.walk_description import WalkDescription, describe_walk


@dataclass(kw_only=True)
class FamilyArguments(RunArguments):
    """Arguments of what is measured of families."""

    families: list[str] = field(metadata={"help": "gait-small, or folders of families, one for each held-out subject"})
    subjects: list[str] = field(metadata={"help": "the held-out subject of each family; A+B: several"})
    samples: int = field(default=1000, metadata={"help": "walks sampled from text"})
    temperature: float = 1.0
    guidance: float = field(default=1.0, metadata={"help": "classifier-free guidance, 1: none"})


@dataclass(kw_only=True)
class ChainArguments(FamilyArguments):
    """Arguments of the measurement of the chain."""

    output_dir: str = field(default="outputs/chain_gist", metadata={"help": "rows"})
    name: str = "chain_gist"
    candidates: int = field(default=1, metadata={"help": "walks sampled for each one kept, the best by its text"})


SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
PEOPLE, SEVERITY_FRAMES = 12, 288  # walks of a class at each severity, and their length
SMOOTH_HZ = 4.0  # of the low-pass that a walk without a sensor is compared after


class Family:
    """The models of one family, and helpers that run them on windows."""

    def __init__(self, folder: str):
        folder = named(folder)
        self.model = GPT2LMHeadModel.from_pretrained(folder).eval()
        self.tokenizer = GaitTokenizer.from_pretrained(folder)
        self.vq = GaitVQModel.from_pretrained(folder, subfolder="vq").eval()
        self.decoder = GaitDecoderModel.from_pretrained(folder, subfolder="decoder").eval()
        self.extractor = GaitFeatureExtractor.from_pretrained(folder)
        self.skeleton = SKELETONS[self.extractor.skeleton]

    @torch.no_grad()
    def encode(self, joints: torch.Tensor, mask: torch.Tensor, batch_size: int = 240) -> dict[str, torch.Tensor]:
        """Codes, `class_logits` and the plain `reconstruction` [m] of windows (N, T, J, 3)."""
        parts = [self.vq(j, m) for j, m in zip(joints.split(batch_size), mask.split(batch_size))]
        return {k: torch.cat([p[k] for p in parts]) for k in dict(parts[0])}

    @torch.no_grad()
    def decode(
        self, codes: dict, mask: torch.Tensor, noise: bool = False, seed: int = 0, batch_size: int = 240
    ) -> torch.Tensor:
        """Joints (N, T, J, 3) [m] of a skeleton with the drift of the sensor; with `noise`, as the sensor measures it."""
        generator, parts = torch.Generator().manual_seed(seed), []
        codes = {k: v for k, v in codes.items() if k.endswith("_codes")}
        for i in range(0, len(mask), batch_size):
            part = {k: v[i : i + batch_size] for k, v in codes.items()}
            parts.append(self.decoder(**part, attention_mask=mask[i : i + batch_size], noise=noise, generator=generator).joints)
        return torch.cat(parts)


def joint_error(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, root: int) -> np.ndarray:
    """Root-relative error of each joint (J,) [mm], mean over valid frames."""
    error = (prediction - prediction[:, :, [root]] - target + target[:, :, [root]]).norm(dim=-1)
    return 1000 * ((error * mask[..., None]).sum((0, 1)) / mask.sum()).double().numpy()


def valid(joints, mask) -> list[np.ndarray]:
    """Windows cut to their valid frames."""
    return [np.asarray(j)[: int(m.sum())] for j, m in zip(joints, mask)]


def judge_inputs(joints, mask) -> np.ndarray:
    return prepare_classifier_input(valid(joints, mask))


def windows_of(data, extractor: GaitFeatureExtractor, seeds: list[int | None]) -> dict:
    """Windows of every row, once for each seed (None: the middle window)."""
    loader = WindowLoader(data, extractor)
    parts = [
        loader.batch(np.arange(i, min(i + 256, len(data))), None if seed is None else seed + i)
        for seed in seeds
        for i in range(0, len(data), 256)
    ]
    return {k: torch.cat([p[k] for p in parts]) for k in ("joints", "attention_mask", "labels")} | {
        "measured": [m for p in parts for m in p["measured"]]
    }


def speed_of(joints, mask, fps: float, root: int = 0) -> np.ndarray:
    """Mean forward speed of each window [m/s]."""
    return np.array([(w[-1, root, 1] - w[0, root, 1]) * fps / (len(w) - 1) for w in valid(joints, mask)])


def reconstruction(family: Family, test: dict, codes, decoded: torch.Tensor) -> dict[str, float]:
    """MPJPE of the skeleton and of the plain waves, hands apart."""
    root = family.skeleton.root
    fk = joint_error(decoded, test["joints"], test["attention_mask"], root)
    plain = joint_error(codes["reconstruction"], test["joints"], test["attention_mask"], root)
    hands = np.array([any(w in n for w in ("hand", "thumb", "wrist")) for n in family.skeleton.joint_names])
    return {
        "bits_per_window": family.vq.config.bits_per_window,
        "reconstruction_mpjpe_mm": fk.mean(),
        "reconstruction_mpjpe_hands_mm": fk[hands].mean(),
        "reconstruction_mpjpe_without_hands_mm": fk[~hands].mean(),
        "reconstruction_mpjpe_plain_decoder_mm": plain.mean(),
        "per_joint_mm": {n: round(float(e), 1) for n, e in zip(family.skeleton.joint_names, fk)},
    }


def features_of(joints, mask, family: Family, smooth: bool = False) -> np.ndarray:
    """`gait_features` (N, D) of windows, after a low-pass where `smooth`."""
    walks = valid(joints, mask)
    walks = [smooth_positions(w, family.extractor.fps, SMOOTH_HZ) for w in walks] if smooth else walks
    return np.stack([gait_features(w, family.extractor.fps, family.skeleton) for w in walks])


def distances(family: Family, windows: dict, rows: np.ndarray, seed: int) -> dict[str, float]:
    """FGD of reconstructions of half of these rows from the other half: with the sensor, and of the skeleton."""
    rng = np.random.default_rng(seed)
    one, other = np.array_split(rng.permutation(rows), 2)
    joints, mask = windows["joints"], windows["attention_mask"]
    codes = family.encode(joints[one], mask[one])
    measured, skeleton = (family.decode(codes, mask[one], noise, seed) for noise in (True, False))
    real, reference = (features_of(joints[r], mask[r], family) for r in (one, other))
    smooth = features_of(joints[other], mask[other], family, smooth=True)
    return {
        "fgd_reconstruction": frechet_gait_distance(features_of(measured, mask[one], family), reference),
        "fgd_reconstruction_real_split": frechet_gait_distance(real, reference),
        "fgd_reconstruction_skeleton": frechet_gait_distance(features_of(skeleton, mask[one], family), reference),
        "fgd_reconstruction_smooth": frechet_gait_distance(features_of(skeleton, mask[one], family, True), smooth),
    }


def signs(family: Family, test: dict, decoded: torch.Tensor) -> dict[str, float]:
    """Share of each class's clinical sign (mean of the class less that of normal walks) that the skeleton keeps."""
    fps, labels, out = family.extractor.fps, test["labels"].numpy(), {}
    real, ours = (
        [compute_gait_parameters(w, fps, family.skeleton) for w in valid(j, test["attention_mask"])]
        for j in (test["joints"], decoded)
    )
    names, classes = family.extractor.labels, family.extractor.classes
    for name in names:
        if classes[name].shown and "normal" in names:
            pair = []
            for parameters in (real, ours):
                value = np.array([classes[name].sign(p) for p in parameters])
                pair.append(np.nanmean(value[labels == names.index(name)]) - np.nanmean(value[labels == names.index("normal")]))
            out |= {f"sign_real_{name}": pair[0], f"sign_kept_{name}": pair[1] / pair[0]}
    return {k: float(v) for k, v in out.items()}


def severities(family: Family, seed: int) -> dict[str, float]:
    """Correlation of the severity asked for with the clinical sign of the walk, 288 frames without a sensor.

    A dozen prompts of each class at five severities, a prompt drawn alike at each: over all walks, so across the people that
    are sampled too; and `_within`, what is left when the mean of each prompt's five walks is taken off.
    """
    models, fps, found = (family.model, family.tokenizer, family.decoder), family.extractor.fps, {}
    for name in family.extractor.labels:
        entry = family.extractor.classes[name]
        if not entry.shown:
            continue
        shown = []
        for severity in SEVERITIES:
            asked = [WalkDescription(name, side="right", severity=severity, classes=family.extractor.classes)] * PEOPLE
            walks, _ = generate_walks(*models, asked, SEVERITY_FRAMES, seed=seed)
            shown.append([entry.sign(compute_gait_parameters(w, fps, family.skeleton)) for w in walks])
        shown, asked = np.array(shown), np.tile(np.array(SEVERITIES)[:, None], PEOPLE)
        known, whole = np.isfinite(shown), np.isfinite(shown).all(0)
        own = shown[:, whole] - shown[:, whole].mean(0)
        found[f"severity_correlation_{name}"] = float(pearsonr(asked[known], shown[known])[0])
        found[f"severity_correlation_within_{name}"] = float(pearsonr((asked[:, whole] - 0.5).ravel(), own.ravel())[0])
    for kind in ("", "_within"):
        values = [v for k, v in found.items() if ("_within" in k) == bool(kind)]
        found[f"severity_correlation{kind}"] = float(np.mean(values))
    return found


def code_usage(family: Family, codes_list) -> dict[str, float]:
    """Share of the codes of each kind of codebook that all these windows use, mean over the codebooks of a kind."""
    used = {}
    for kind, sizes in family.vq.config.slots.items():
        codes = torch.cat([c[f"{kind}_codes"] for c in codes_list])
        used[f"codebook_usage_{kind}"] = float(np.mean([len(codes[:, i].unique()) / n for i, n in enumerate(sizes)]))
    return used


def transplants(family: Family, judge, test: dict, codes, decoded: torch.Tensor, seed: int) -> dict[str, float]:
    """Pathological codes of another walk of the same person, of another class, put on each walk."""
    labels, rng = test["labels"].numpy(), np.random.default_rng(seed)
    donor = np.array([rng.choice(np.flatnonzero(labels != label)) for label in labels])
    moved = family.decode(codes | {"pathological_codes": codes["pathological_codes"][donor]}, test["attention_mask"])
    said = predict(judge, judge_inputs(moved, test["attention_mask"]))
    fps, root = family.extractor.fps, family.skeleton.root
    before, after = (speed_of(j, test["attention_mask"], fps, root) for j in (decoded, moved))
    return {
        "transplant_donor_class": float((said == labels[donor]).mean()),
        "transplant_own_class": float((said == labels).mean()),
        "transplant_speed_correlation": float(pearsonr(before, after)[0]),
        "transplant_speed_error": float(np.abs(before - after).mean()),
        "transplant_body_height_error_mm": 1000 * float(np.abs(_size(decoded, family) - _size(moved, family)).mean()),
    }


def _size(joints: torch.Tensor, family: Family) -> np.ndarray:
    """Summed bone lengths [m] of each walk."""
    parents = [max(p, 0) for p in family.skeleton.parents]
    return (joints - joints[:, :, parents]).norm(dim=-1).mean(1).sum(-1).numpy()


def training_prompts(data, family: Family, samples: int, seed: int) -> list:
    """Descriptions asked for: as many of each class, speed, cadence and side those of random walks of the training people."""
    rng = np.random.default_rng(seed)
    names, asked = data.features["pathology"].names, []
    pathologies = np.array([int(p) for p in data["pathology"]])
    for i in range(samples):
        name = family.extractor.labels[i % len(family.extractor.labels)]
        row = data[int(rng.choice(np.flatnonzero(pathologies == names.index(name))))]
        measured = json.loads(str(row["gait_parameters"]))
        keep = {k: measured.get(k) for k in ("speed", "cadence")}
        asked.append(describe_walk(keep, name, attributes=json.loads(str(row["attributes"]))))
    return asked


def lengths_like(windows: dict, labels: np.ndarray, frames: int, rng: np.random.Generator) -> torch.Tensor:
    """Masks (N, frames) of walks of these labels, each as long as a random real window of its class: short walks vary more."""
    real, counts = windows["labels"].numpy(), windows["attention_mask"].sum(1).long()
    drawn = torch.stack([counts[rng.choice(np.flatnonzero(real == label))] for label in labels])
    return (torch.arange(frames) < drawn[:, None]).float()


def sampled(
    family: Family, judge, train, train_windows: dict, args: FamilyArguments, candidates: int = 1, seed: int = 0
) -> dict[str, float]:
    """Sample walks from text; what share of them is what was asked for, and how they compare with real walks."""
    asked = training_prompts(train, family, args.samples, seed)
    parts, began, size = [], time.process_time(), max(1, 250 // candidates)
    models, fps, skeleton = (family.model, family.tokenizer, family.decoder), family.extractor.fps, family.skeleton
    options = {"temperature": args.temperature, "guidance": args.guidance, "sensor": True}
    for at in range(0, len(asked), size):
        batch, now = asked[at : at + size], options | {"seed": seed, "first": at}
        if candidates > 1:
            parts.append(best_walks(*models, family.vq, batch, candidates, **now))
        else:
            parts.append(generate_walks(*models, batch, **now))
    joints, codes = np.concatenate([p[0] for p in parts]), [c for p in parts for c in p[1]]
    seconds = (time.process_time() - began) * 1000 / len(asked)
    clean = decode_walks(family.decoder, [replace(c, sensor=None) for c in codes])
    labels, rng = np.array([family.extractor.labels.index(d.pathology) for d in asked]), np.random.default_rng(seed)
    whole = lengths_like(train_windows, labels, joints.shape[1], rng)
    said, said_clean = (predict(judge, judge_inputs(j, whole)) for j in (joints, clean))
    parameters = [compute_gait_parameters(w, fps, skeleton) for w in joints]
    out = {
        "sampled_decodable": len(codes) / len(asked),
        "sampled_prompt_accuracy": float((said == labels).mean()),
        "sampled_prompt_accuracy_skeleton": float((said_clean == labels).mean()),
        "sampled_bone_length_variation": float(np.mean([bone_length_variation(w, skeleton) for w in clean])),
        "seconds_per_1000_walks": seconds,
    }
    for name in ("speed", "cadence"):
        pairs = np.array([(getattr(d, name), p[name]) for d, p in zip(asked, parameters) if getattr(d, name)], float)
        pairs = pairs[np.isfinite(pairs).all(1)]
        out[f"{name}_correlation"] = float(pearsonr(*pairs.T)[0])
        out[f"{name}_error"] = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())
    chosen = rng.permutation(len(train_windows["joints"]))[: 2 * args.samples]
    real = [train_windows[k][chosen] for k in ("joints", "attention_mask")]
    halves = np.array_split(features_of(*real, family), 2)
    ours = features_of(joints, whole, family)
    half = len(chosen) // 2
    smooth = features_of(real[0][:half], real[1][:half], family, smooth=True)
    some = valid(real[0][:500], real[1][:500])
    out |= {
        "fgd": frechet_gait_distance(ours, halves[0]),
        "fgd_real_split": frechet_gait_distance(halves[1], halves[0]),
        "fgd_smooth": frechet_gait_distance(features_of(clean, whole, family, smooth=True), smooth),
        "diversity": diversity(ours, halves[0]),
        "diversity_real": diversity(halves[1], halves[0]),
        "sampled_foot_skate": float(np.nanmean([foot_skate(w, fps, skeleton) for w in clean])),
        "real_foot_skate": float(np.nanmean([foot_skate(w, fps, skeleton) for w in some])),
        "sampled_joint_limit_violations": float(np.mean([joint_limit_violations(w, skeleton) for w in clean])),
        "real_joint_limit_violations": float(np.mean([joint_limit_violations(w, skeleton) for w in some])),
    }
    return {k: float(v) for k, v in out.items()}


def judge_of(windows: dict, labels: list[str], seed: int = 0):
    """A GRU trained on these windows of real walks."""
    inputs = judge_inputs(windows["joints"], windows["attention_mask"])
    small = len(inputs) < 4000  # smaller batches, so that it learns as many steps from them
    size, epochs = (32, 15) if small else (128, 5)
    options = {"batch_size": size, "learning_rate": 1.5e-3, "bf16": True}
    return train_classifier(inputs, windows["labels"].numpy(), labels, epochs=epochs, seed=seed, **options)


def evaluate(folder: str, subject: str, args: ChainArguments, seed: int) -> dict:
    """Numbers of one held-out subject."""
    family = Family(folder)
    train = load_walks(args.dataset, exclude_subjects=subject.split("+"))
    test = windows_of(load_walks(args.dataset, only_subjects=subject.split("+")), family.extractor, [None])
    train_windows = windows_of(train, family.extractor, [None])
    judge = judge_of(train_windows, family.extractor.labels, seed)
    labels, mask = test["labels"].numpy(), test["attention_mask"]
    codes = family.encode(test["joints"], mask)
    decoded = family.decode(codes, mask)
    some = np.random.default_rng(seed).permutation(len(train_windows["joints"]))[:1400]
    some_codes = family.encode(train_windows["joints"][some], train_windows["attention_mask"][some])
    held_out = distances(family, test, np.arange(len(labels)), seed)
    accuracy = [float((predict(judge, judge_inputs(j, mask)) == labels).mean()) for j in (test["joints"], decoded)]
    row = {
        **reconstruction(family, test, codes, decoded),
        **code_usage(family, [codes, some_codes]),
        **distances(family, train_windows, some, seed),
        **{f"{k}_held_out": v for k, v in held_out.items()},
        **signs(family, test, decoded),
        "classifier_accuracy_originals": accuracy[0],
        "classifier_accuracy_reconstructions": accuracy[1],
        "classifier_drop_points": 100 * (accuracy[0] - accuracy[1]),
        "pathological_codes_accuracy": float((codes["class_logits"].argmax(-1).numpy() == labels).mean()),
        **transplants(family, judge, test, codes, decoded, seed),
        **severities(family, seed),
        **sampled(family, judge, train, train_windows, args, args.candidates, seed),
    }
    return rounded(row) | {"family": folder}


def families_of(args: FamilyArguments) -> dict[str, str]:
    """Subject -> family. Raises ValueError where they do not pair, or a row of the folder was made of another family."""
    if len(args.families) != len(args.subjects):
        raise ValueError(f"{len(args.families)} families for {len(args.subjects)} subjects; give one for each")
    asked = dict(zip(args.subjects, args.families))
    for row in read_rows(args.output_dir):
        if row.get("family", asked.get(row["subject"])) != asked.get(row["subject"], row.get("family")):
            raise ValueError(f"{args.output_dir}/rows: subject {row['subject']} is of {row['family']}: another --output_dir")
    return asked


def main() -> None:
    args = parse(ChainArguments)
    families, seed = families_of(args), args.seeds[0]
    runs = [{"subject": subject} for subject in families]
    rows = run_all(args, runs, lambda run: evaluate(families[run["subject"]], run["subject"], args, seed), listed=("families",))
    protocol = (
        "each row: tokeniser, decoder, GPT-2 and judge trained on the other subjects; metrics are means over rows; "
        "reconstructions are of a skeleton with the sensor's drift, fgd_reconstruction with its noise too, of 700 walks of "
        f"training people; walks sampled at temperature {args.temperature}, guidance {args.guidance}, with the sensor, each "
        "as long as a real window of its class; seconds are of the processors; "
        "severity_correlation over 12 prompts of each class at 5 severities"
        + (f", the best of {args.candidates} candidates by its text" if args.candidates > 1 else "")
    )
    names = [k for k, v in rows[0].items() if isinstance(v, float)]
    metrics = rounded({k: np.mean([r[k] for r in rows]) for k in names})
    print(write_result(args.name, args.dataset, protocol, metrics, rows, seeds=[seed]))


if __name__ == "__main__":
    main()
