"""Meta-train GaitTCNModel: learn to adapt to a person from a few gait cycles.

    python train/train_maml.py train/configs/maml_hugadb.json --exclude_subjects 1 2 3 --output_dir outputs/maml_1
    python train/train_maml.py train/configs/maml_hugadb.json --algorithm anil --output_dir outputs/anil
    accelerate launch --num_processes 2 train/train_maml.py ...   (GPUs)

What it reads, writes and how a step goes: modeling_gait/training/maml.py.

algorithm: `maml` (Finn et al. 2017, second order, with learned rates: Li et al. 2017, arXiv 1707.09835), `first_order` (its
gradient without second derivatives), `anil` (the heads alone adapt: Raghu et al. 2020), `reptile` (Nichol et al. 2018), and
`pretrain`, conventional training on the pooled cycles, as a baseline. The first `warm_steps` steps of all but the last take no
inner step: learning to read the support is cheap that way.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.maml import MamlArguments, train


def main() -> None:
    train(parse_arguments(MamlArguments))


if __name__ == "__main__":
    with errors_told():
        main()
