"""Train a gait classifier on walks of a data set: GRU, LSTM, CNN or graph model.

    python train/train_classifier.py --dataset data/gist --exclude_subjects 10 --output_dir outputs/gist_10/gru
    python train/train_classifier.py --architecture cnn ...

What it reads and writes: modeling_gait/training/classifier.py.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.classifier import ClassifierArguments, train


def main() -> None:
    train(parse_arguments(ClassifierArguments))


if __name__ == "__main__":
    with errors_told():
        main()
