"""Fine-tune GPT-2 on walks and words, both directions, and put the model family together.

    python train/train_gpt2.py --dataset data/simulated --vq outputs/demo/vq --output_dir outputs/demo
    python train/train_gpt2.py train/configs/gpt2_gist.json --base_model gpt2 --lora_rank 16 ...   (GPT-2 from the Hub, LoRA)
    python train/train_gpt2.py --dataset data/own --init_from gait-small --vq outputs/own/vq ...   (fine-tuning)
    accelerate launch --num_processes 2 train/train_gpt2.py ...   (GPUs)
    torchrun --nproc_per_node 2 train/train_gpt2.py ...   (CPUs)

Sentences: `<|endoftext|> caption <gait> codes </gait>` (the loss counts the codes) and
`<|endoftext|> <gait> codes </gait> caption <|endoftext|>` (the loss counts the caption). Captions are written anew at each step
from the window's own speed and its walk's parameters. In words-to-walk sentences every walk is affected on the right, left ones
are mirrored; `pipelines_gait.generate_walks` samples a left-affected walk as its mirror image.

`output_dir` becomes the family that pipelines load: GPT-2, tokeniser and processor at the top, the tokeniser in `vq/`, the
decoder in `decoder/`, a LoRA adapter in `adapter/`.
"""

from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.gpt2 import GPT2Arguments, train


def main() -> None:
    train(parse_arguments(GPT2Arguments))


if __name__ == "__main__":
    main()
