"""Train the gait classifier with medical knowledge and numbers: skeletons, rendered videos, or both.

    python train/train_knowledge.py train/configs/knowledge_gist.json --exclude_subjects 10
    python train/train_knowledge.py --dataset data/gist --branches video --batch_size 32 --knowledge mine.yaml --output_dir out
    python train/train_knowledge.py --dataset data/gist --knowledge none --numeric false --output_dir outputs/plain

Run it again after an interruption and it goes on from its checkpoint. --help lists every argument. `--video_encoder NAME`
begins with a vision encoder: that of train_video.py, or one of the Hub, such as openai/clip-vit-base-patch16. What it reads and
writes: modeling_gait/training/knowledge.py.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.knowledge import KnowledgeArguments, train


def main() -> None:
    train(parse_arguments(KnowledgeArguments))


if __name__ == "__main__":
    with errors_told():
        main()
