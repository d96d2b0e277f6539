"""Train the tokeniser: walks -> GaitFeatureExtractor + GaitVQModel.

    python train/train_vq.py --dataset data/simulated --output_dir outputs/demo/vq
    python train/train_vq.py train/configs/vq_gist.json --exclude_subjects 10 --output_dir outputs/gist_10/vq
    python train/train_vq.py --dataset data/own --init_from gait-small --output_dir outputs/own/vq   (fine-tuning)
    accelerate launch --num_processes 2 train/train_vq.py ...   (GPUs)
    torchrun --nproc_per_node 2 train/train_vq.py ...   (CPUs)

Run it again after an interruption and it goes on from its checkpoint. --help lists every argument.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.vq import VQArguments, train


def main() -> None:
    train(parse_arguments(VQArguments))


if __name__ == "__main__":
    with errors_told():
        main()
