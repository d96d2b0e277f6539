"""Train GaitDualEncoderModel: walks and words in one space, from a data set of walks or of IMU recordings.

    python train/train_text.py train/configs/text_gist.json --exclude_subjects 10 --output_dir outputs/text_gist_10
    python train/train_text.py --dataset data/hugadb/recordings --exclude_subjects 1 2 3 --output_dir outputs/text_hugadb

In: the walk schema (captions: the column `captions`), or recordings (`subject_id`, `activity`, `values` (T, C), `channel_mask`,
`sampling_rate`; captions: `DESCRIPTIONS` of the activity). Out: a folder for `GaitDualEncoderModel.from_pretrained`, with the
feature extractor beside it for walks. The frozen sentence encoder reads each caption once; its embeddings are kept in
`text_cache`, for all runs.

Two captions of one walk, or captions that say the same of two walks, are never negatives of each other.
"""

from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.text import TextArguments, train


def main() -> None:
    train(parse_arguments(TextArguments))


if __name__ == "__main__":
    main()
