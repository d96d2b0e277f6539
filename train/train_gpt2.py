"""Fine-tune GPT-2 on walks and words, both directions, and put the model family together.

    python train/train_gpt2.py --dataset data/simulated --vq outputs/demo/vq --output_dir outputs/demo
    python train/train_gpt2.py train/configs/gpt2_gist.json --base_model gpt2 --lora_rank 16 ...   (GPT-2 from the Hub, LoRA)
    python train/train_gpt2.py --dataset data/own --init_from gait-small --vq outputs/own/vq ...   (fine-tuning)
    accelerate launch --num_processes 2 train/train_gpt2.py ...   (GPUs)
    torchrun --nproc_per_node 2 train/train_gpt2.py ...   (CPUs)

What it learns and what it writes: modeling_gait/training/gpt2.py.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.gpt2 import GPT2Arguments, train


def main() -> None:
    train(parse_arguments(GPT2Arguments))


if __name__ == "__main__":
    with errors_told():
        main()
