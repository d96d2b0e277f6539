"""Measure a model family on people it has not seen: reconstruction, codes, transplants, sampled walks.

    python -m experiments.chain --dataset data/gist --families outputs/gist_10 outputs/gist_1 --subjects 10 1

Each family was trained without its subject (same order). The judge is a GRU trained here on the real walks of the other people,
on windows of the family's length. Writes model_cards/results/chain_gist.json, a row a subject as it is made, and keeps the
rows of others that are there already.
"""

import json
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import pearsonr
from tqdm import tqdm
from transformers import GPT2LMHeadModel, HfArgumentParser

from modeling_gait.evaluation.metrics import (
    bone_length_variation,
    diversity,
    foot_skate,
    frechet_gait_distance,
    gait_features,
    joint_limit_violations,
)
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.generation_gait import best_walks, generate_walks
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.skeletons import SKELETONS
from modeling_gait.tokenization_gait import GaitTokenizer
from modeling_gait.training.classifier import predict, train_classifier
from modeling_gait.training.data import WindowLoader, load_walks
from modeling_gait.training.results import ROOT, write_result
from modeling_gait.walk_description import describe_walk


@dataclass
class EvaluateArguments:
    """Arguments of the evaluation."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    families: list[str] = field(metadata={"help": "folders of model families, one for each held-out subject"})
    subjects: list[str] = field(metadata={"help": "the held-out subject of each family"})
    name: str = field(default="chain_gist", metadata={"help": "model_cards/results/NAME.json"})
    samples: int = field(default=1000, metadata={"help": "walks sampled from text"})
    temperature: float = 0.7
    candidates: int = field(default=1, metadata={"help": "walks sampled for each one kept, the best by its text"})
    seed: int = 0
    num_threads: int = 0


class Family:
    """The models of one family, and helpers that run them on windows."""

    def __init__(self, folder: str):
        self.model = GPT2LMHeadModel.from_pretrained(folder).eval()
        self.tokenizer = GaitTokenizer.from_pretrained(folder)
        self.vq = GaitVQModel.from_pretrained(folder, subfolder="vq").eval()
        self.decoder = GaitDecoderModel.from_pretrained(folder, subfolder="decoder").eval()
        self.extractor = GaitFeatureExtractor.from_pretrained(folder)
        self.skeleton = SKELETONS[self.extractor.skeleton]

    @torch.no_grad()
    def encode(self, joints: torch.Tensor, mask: torch.Tensor, batch_size: int = 120):
        """Codes, pathology logits and the plain reconstruction [m] of windows (N, T, J, 3)."""
        parts = []
        for i in range(0, len(joints), batch_size):
            output = self.vq(self.extractor.to_features(joints[i : i + batch_size]), mask[i : i + batch_size])
            plain = self.extractor.to_joints(output.reconstruction)
            parts.append((output.motion_codes, output.body_codes, output.pathological_codes, output.class_logits, plain))
        return [torch.cat(p) for p in zip(*parts)]

    @torch.no_grad()
    def decode(self, motion, body, pathological, mask: torch.Tensor, batch_size: int = 120) -> torch.Tensor:
        """Joints (N, T, J, 3) [m]."""
        steps = mask[:, :: self.vq.config.downsampling]
        parts = [
            self.decoder(*(c[i : i + batch_size] for c in (motion, body, pathological, steps))).joints
            for i in range(0, len(motion), batch_size)
        ]
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
    """MPJPE of decoder and plain reconstruction, hands apart; codes used."""
    root = family.skeleton.root
    fk = joint_error(decoded, test["joints"], test["attention_mask"], root)
    plain = joint_error(codes[4], test["joints"], test["attention_mask"], root)
    hands = np.array([any(w in n for w in ("hand", "thumb", "wrist")) for n in family.skeleton.joint_names])
    return {
        "reconstruction_mpjpe_mm": fk.mean(),
        "reconstruction_mpjpe_hands_mm": fk[hands].mean(),
        "reconstruction_mpjpe_without_hands_mm": fk[~hands].mean(),
        "reconstruction_mpjpe_plain_decoder_mm": plain.mean(),
        "per_joint_mm": {n: round(float(e), 1) for n, e in zip(family.skeleton.joint_names, fk)},
    }


def code_usage(family: Family, codes_list, masks) -> dict[str, float]:
    """Share of the codes of each kind of codebook that all these windows use; the least used of several codebooks counts."""
    config, used = family.vq.config, {}
    steps = torch.cat([m[:, :: config.downsampling] for m in masks]).bool()
    motion = torch.cat([c[0] for c in codes_list])[steps]
    body, pathological = (torch.cat([c[i] for c in codes_list]) for i in (1, 2))
    split = config.num_spatial_quantizers
    share = lambda column, size: len(column.unique()) / size  # noqa: E731
    used["spatial"] = min(share(motion[:, q], config.spatial_codebook_size) for q in range(split))
    used["temporal"] = min(share(motion[:, q], config.temporal_codebook_size) for q in range(split, config.num_codebooks))
    used["body"] = min(share(body[:, q], config.body_codebook_size) for q in range(config.num_body_tokens))
    used["pathological"] = share(pathological, config.pathological_codebook_size)
    return {f"codebook_usage_{k}": v for k, v in used.items()}


def transplants(family: Family, judge, test: dict, codes, decoded: torch.Tensor, seed: int) -> dict[str, float]:
    """Pathological codes of another walk of the same person, of another class, put on each walk."""
    labels, rng = test["labels"].numpy(), np.random.default_rng(seed)
    donor = np.array([rng.choice(np.flatnonzero(labels != label)) for label in labels])
    moved = family.decode(codes[0], codes[1], codes[2][donor], test["attention_mask"])
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


def sampled(family: Family, judge, train, train_windows: dict, args: EvaluateArguments) -> tuple[dict, np.ndarray]:
    """Sample walks from text; what share of them is what was asked for, and how they compare with real walks."""
    asked = training_prompts(train, family, args.samples, args.seed)
    parts, began, size = [], time.perf_counter(), max(1, 250 // args.candidates)
    for at in range(0, len(asked), size):
        models, frames = (family.model, family.tokenizer, family.decoder), family.extractor.num_frames
        options = {"temperature": args.temperature, "seed": args.seed + at}
        batch = asked[at : at + size]
        if args.candidates > 1:
            judges = family.vq, family.extractor
            parts.append(best_walks(*models, *judges, batch, frames, args.candidates, **options))
        else:
            parts.append(generate_walks(*models, batch, frames, **options))
    joints, codes = np.concatenate([p[0] for p in parts]), [c for p in parts for c in p[1]]
    seconds = (time.perf_counter() - began) * 1000 / len(asked)
    labels = np.array([family.extractor.labels.index(d.pathology) for d in asked])
    said = predict(judge, prepare_classifier_input(list(joints)))
    fps, skeleton = family.extractor.fps, family.skeleton
    parameters = [compute_gait_parameters(w, fps, skeleton) for w in joints]
    out = {
        "sampled_decodable": len(codes) / len(asked),
        "sampled_prompt_accuracy": float((said == labels).mean()),
        "sampled_bone_length_variation": float(np.mean([bone_length_variation(w, skeleton) for w in joints])),
        "seconds_per_1000_walks": seconds,
    }
    for name in ("speed", "cadence"):
        pairs = np.array([(getattr(d, name), p[name]) for d, p in zip(asked, parameters) if getattr(d, name)], float)
        pairs = pairs[np.isfinite(pairs).all(1)]
        out[f"{name}_correlation"] = float(pearsonr(*pairs.T)[0])
        out[f"{name}_error"] = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())
    rng = np.random.default_rng(args.seed)
    real = valid(train_windows["joints"], train_windows["attention_mask"])
    chosen = rng.permutation(len(real))[: 2 * args.samples]
    features = np.stack([gait_features(real[i], fps, skeleton) for i in chosen])
    ours = np.stack([gait_features(w, fps, skeleton) for w in joints])
    halves = features[: len(features) // 2], features[len(features) // 2 :]
    out |= {
        "fgd": frechet_gait_distance(ours, halves[0]),
        "fgd_real_split": frechet_gait_distance(halves[1], halves[0]),
        "diversity": diversity(ours, halves[0]),
        "diversity_real": diversity(halves[1], halves[0]),
        "sampled_foot_skate": float(np.mean([foot_skate(w, fps, skeleton) for w in joints])),
        "real_foot_skate": float(np.nanmean([foot_skate(real[i], fps, skeleton) for i in chosen[:500]])),
        "sampled_joint_limit_violations": float(np.mean([joint_limit_violations(w, skeleton) for w in joints])),
        "real_joint_limit_violations": float(np.mean([joint_limit_violations(real[i], skeleton) for i in chosen[:500]])),
    }
    return {k: float(v) for k, v in out.items()}, joints


def evaluate(folder: str, subject: str, args: EvaluateArguments) -> dict:
    """The row of one held-out subject."""
    family = Family(folder)
    train = load_walks(args.dataset, exclude_subjects=[subject])
    test = windows_of(load_walks(args.dataset, only_subjects=[subject]), family.extractor, [None])
    train_windows = windows_of(train, family.extractor, [None, args.seed + 1])
    judge = train_classifier(
        judge_inputs(train_windows["joints"], train_windows["attention_mask"]),
        train_windows["labels"].numpy(),
        family.extractor.labels,
        epochs=8,
        seed=args.seed,
    )
    labels = test["labels"].numpy()
    codes = family.encode(test["joints"], test["attention_mask"])
    train_codes = family.encode(train_windows["joints"], train_windows["attention_mask"])
    decoded = family.decode(*codes[:3], test["attention_mask"])
    accuracy = [
        float((predict(judge, judge_inputs(j, test["attention_mask"])) == labels).mean()) for j in (test["joints"], decoded)
    ]
    row = {
        "subject": subject,
        **reconstruction(family, test, codes, decoded),
        **code_usage(family, [codes, train_codes], [test["attention_mask"], train_windows["attention_mask"]]),
        "classifier_accuracy_originals": accuracy[0],
        "classifier_accuracy_reconstructions": accuracy[1],
        "classifier_drop_points": 100 * (accuracy[0] - accuracy[1]),
        "pathological_codes_accuracy": float((codes[3].argmax(-1).numpy() == labels).mean()),
        **transplants(family, judge, test, codes, decoded, args.seed),
        **sampled(family, judge, train, train_windows, args)[0],
    }
    return {k: round(v, 5) if isinstance(v, float | np.floating) else v for k, v in row.items()}


def write_results(rows: list[dict], args: EvaluateArguments) -> None:
    """The result file; `metrics` are means over its subjects."""
    names = [k for k, v in rows[0].items() if isinstance(v, float)]
    protocol = (
        "each row: tokeniser, decoder, GPT-2 and judge trained on the other subjects; metrics are means over rows; "
        f"walks sampled at temperature {args.temperature}"
        + (f", the best of {args.candidates} candidates by its text" if args.candidates > 1 else "")
    )
    metrics = {k: round(float(np.mean([r[k] for r in rows])), 5) for k in names}
    write_result(args.name, args.dataset, protocol, metrics, rows, seeds=[args.seed])


def main() -> None:
    args = HfArgumentParser(EvaluateArguments).parse_args_into_dataclasses()[0]
    if len(args.families) != len(args.subjects):
        raise ValueError(f"{len(args.families)} families for {len(args.subjects)} subjects; give one for each")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    path = ROOT / "model_cards" / "results" / f"{args.name}.json"
    for folder, subject in tqdm(list(zip(args.families, args.subjects)), desc="subjects"):
        row = evaluate(folder, subject, args)
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        rows = [r for r in rows if r["subject"] != subject] + [row]
        write_results(rows, args)
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
