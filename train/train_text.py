"""Train GaitDualEncoderModel: walks and words in one space, from a data set of walks or of IMU recordings.

    python train/train_text.py train/configs/text_gist.json --exclude_subjects 10 --output_dir outputs/text_gist_10
    python train/train_text.py --dataset data/hugadb/recordings --exclude_subjects 1 2 3 --output_dir outputs/text_hugadb

What it reads and writes: modeling_gait/training/text.py.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.text import TextArguments, train


def main() -> None:
    train(parse_arguments(TextArguments))


if __name__ == "__main__":
    with errors_told():
        main()
