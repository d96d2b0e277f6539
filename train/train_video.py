"""Pretrain a small vision encoder for the video branch of the knowledge model: from one frame of a drawn walk, the pose.

    python train/train_video.py --dataset data/simulated --output_dir outputs/pose
    python train/train_knowledge.py train/configs/knowledge_gist.json --branches video --video_encoder outputs/pose ...

In: walks of the walk schema; each is drawn several times, with another camera, background and clothes. Out: a folder for
`AutoModel.from_pretrained` (a ResNet). A network that sees the joints, whatever the clothes and the room, needs far fewer walks
to learn the classes. Of simulated walks it sees no person of a measured data set.

The pose: joints less the pelvis, as the camera sees them (right, away, up), in heights of the person.
"""

from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.video import VideoArguments, train


def main() -> None:
    train(parse_arguments(VideoArguments))


if __name__ == "__main__":
    main()
