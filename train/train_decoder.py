"""Train the decoder: codes of a trained tokeniser -> joints through forward kinematics.

    python train/train_decoder.py --dataset data/simulated --vq outputs/demo/vq --output_dir outputs/demo/decoder
    python train/train_decoder.py train/configs/decoder_gist.json --exclude_subjects 10 --vq outputs/gist_10/vq ...
    accelerate launch --num_processes 2 train/train_decoder.py ...   (GPUs)
    torchrun --nproc_per_node 2 train/train_decoder.py ...   (CPUs)

It starts from the tokeniser's own decoder, so a fine-tuned tokeniser gives a fine-tuned decoder.
Beside reconstruction it learns to transplant: the pathological codes of another walk, put on this one, must make a walk that
the tokeniser reads as the other's class, while body codes (so bone lengths) and motion codes stay.
"""

from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.decoder import DecoderArguments, train


def main() -> None:
    train(parse_arguments(DecoderArguments))


if __name__ == "__main__":
    main()
