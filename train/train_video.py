"""Pretrain a small vision encoder for the video branch of the knowledge model: from one frame of a drawn walk, the pose.

    python train/train_video.py --dataset data/simulated --output_dir outputs/pose
    python train/train_knowledge.py train/configs/knowledge_gist.json --branches video --video_encoder outputs/pose ...

A network that sees the joints, whatever the clothes and the room, needs far fewer walks to learn the classes; of simulated
walks it sees no person of a measured data set. What it reads and writes: modeling_gait/training/video.py.
"""

from modeling_gait.schema import errors_told
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.video import VideoArguments, train


def main() -> None:
    train(parse_arguments(VideoArguments))


if __name__ == "__main__":
    with errors_told():
        main()
