"""Training of the decoder (train/train_decoder.py): codes of a trained tokeniser -> joints through forward kinematics.

In: rows of the walk schema and a tokeniser's folder. Out: a folder of GaitDecoderModel and its feature extractor.
It starts from the tokeniser's own decoder, so a fine-tuned tokeniser gives a fine-tuned decoder.
Beside reconstruction it learns to transplant: the pathological codes of another walk, put on this one, must make a walk that
the tokeniser reads as the other's class, while body codes (so bone lengths) and motion codes stay.
"""

from dataclasses import dataclass, field

import torch

from modeling_gait.configuration_gait_decoder import GaitDecoderConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.training.arguments import TrainArguments
from modeling_gait.training.data import AUGMENTATION, STRETCH, StepBatches, WindowLoader, load_walks
from modeling_gait.training.loop import save_model, start, training_loop


@dataclass
class DecoderArguments(TrainArguments):
    """Arguments of the decoder's training."""

    vq: str = field(default="", metadata={"help": "folder or Hub id of the trained tokeniser"})
    transplant_weight: float = field(default=0.005, metadata={"help": "weight of the transplanted class, 0 leaves it out"})
    constrained: bool = field(default=True, metadata={"help": "joint-limit and foot-contact losses"})
    augment: bool = True


def decoder_config(vq: GaitVQModel, extractor: GaitFeatureExtractor, args: DecoderArguments) -> GaitDecoderConfig:
    """The decoder's configuration for the codes of `vq`."""
    shared = ("skeleton", "hidden_size", "num_layers", "downsampling", "code_dim", "num_spatial_quantizers")
    shared += ("num_temporal_quantizers", "num_pathological_tokens", "num_body_tokens", "spatial_codebook_size")
    shared += ("temporal_codebook_size", "body_codebook_size", "pathological_codebook_size")
    return GaitDecoderConfig(
        **{k: getattr(vq.config, k) for k in shared},
        fps=extractor.fps,
        constrained=args.constrained,
    )


def transplant_loss(
    decoder: torch.nn.Module, vq: GaitVQModel, extractor: GaitFeatureExtractor, codes, own, labels: torch.Tensor
) -> torch.Tensor:
    """Loss of walks decoded with the pathological codes of other walks of the batch.

    The cross-entropy of the donor's class, as `vq` reads it, and changes of what must stay as in the `own` walks: bones [dm],
    speed [m/s].
    """
    other = torch.randperm(len(labels), device=labels.device)
    output = decoder(codes.motion_codes, codes.body_codes, codes.pathological_codes[other], codes.attention_mask)
    mask = codes.attention_mask.repeat_interleave(vq.config.downsampling, dim=1)
    logits = vq.pathology_logits(extractor.to_features(output.joints), mask)
    donor = torch.nn.functional.cross_entropy(logits.float(), labels[other], ignore_index=-100)
    bones = 10 * (output.offsets - own.offsets.detach()).norm(dim=-1).mean()
    paths = [(w.root[:, 1:, 1] - w.root[:, :-1, 1]) * mask[:, 1:] for w in (output, own)]
    speed = (paths[0] - paths[1].detach()).sum(1).abs() * extractor.fps / mask[:, 1:].sum(1).clamp(min=1)
    return donor + bones + speed.mean()


def train(args: DecoderArguments) -> GaitDecoderModel:
    """Train on the rows of `args.dataset` and save; returns the decoder in eval mode."""
    accelerator = start(args)
    data = load_walks(args.dataset, args.exclude_subjects)
    vq = GaitVQModel.from_pretrained(args.vq).eval().requires_grad_(False)
    extractor = GaitFeatureExtractor.from_pretrained(args.vq)
    model = GaitDecoderModel(decoder_config(vq, extractor, args))
    model.start_from(vq, extractor)
    vq.to(accelerator.device)
    loader = WindowLoader(data, extractor, *((AUGMENTATION, 0.5, STRETCH) if args.augment else ()))
    batches = StepBatches(len(data), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = loader.batch(batches.rows(step), seed)
        joints, labels = batch["joints"].to(accelerator.device), batch["labels"].to(accelerator.device)
        with torch.no_grad():
            codes = vq.encode(extractor.to_features(joints), batch["attention_mask"].to(accelerator.device))
        output = prepared(codes.motion_codes, codes.body_codes, codes.pathological_codes, codes.attention_mask, labels=joints)
        loss, shown = output.loss, {"mm": 1000 * output.position_loss.item()}
        if args.transplant_weight:
            transplant = transplant_loss(prepared, vq, extractor, codes, output, labels)
            loss, shown["transplant"] = loss + args.transplant_weight * transplant, transplant.item()
        return loss, shown

    model = training_loop(accelerator, model, args, step_loss, "decoder")
    save_model(args.output_dir, model, extractor)
    return model
