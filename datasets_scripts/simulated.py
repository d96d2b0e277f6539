"""Simulated walks -> Parquet shards and a data card: the data set that needs no download.

    python datasets_scripts/simulated.py --num_walks 600 --num_subjects 20 --frames 96 --output_dir OUT --seed 0
    python datasets_scripts/simulated.py --num_walks 700 --noise 0.01 --dropout 0.02 --output_dir OUT   # as a depth camera sees
    python datasets_scripts/simulated.py --num_walks 3600 --num_subjects 600 --frames 200 --domain --output_dir OUT

In: nothing. Out: one row a walk in the schema of `common.walk_features`, from `modeling_gait.simulation`; the same arguments
give the same rows. Subject s walks s, s + num_subjects, ...; its walks go through the classes in turn.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from modeling_gait import schema as common
from modeling_gait.cleaning import clean_walk
from modeling_gait.simulation import PATHOLOGIES, SimulatedWalks, simulate_walks
from modeling_gait.simulation.sensors import record
from modeling_gait.skeletons import KINECT_V2


@dataclass
class SimulatedConfig(datasets.BuilderConfig):
    """What is simulated; the fields are the arguments of `modeling_gait.simulation.simulate_walks`.

    Attributes:
        num_walks, num_subjects: how many; each subject has one body and style.
        frames, fps: frames a walk, frames a second.
        noise: sensor noise of the trunk joints [m].
        dropout: fraction of samples the sensor loses; they are filled by `modeling_gait.cleaning.clean_walk`.
        pathologies: the classes, each subject walks them in turn.
        domain: people, habits, sensors, views and lengths at random (`simulate_walks(domain=True)`, `sensors.record`), for a
            model that shall read strangers' files; `frames` is then the longest clip.
    """

    num_walks: int = 600
    num_subjects: int = 20
    frames: int = 96
    fps: float = 30.0
    seed: int = 0
    noise: float = 0.0
    dropout: float = 0.0
    pathologies: tuple[str, ...] = PATHOLOGIES
    domain: bool = False


def simulate(config: SimulatedConfig) -> SimulatedWalks:
    """All walks of a configuration. Raises ValueError naming the argument that is wrong."""
    if config.num_walks < 1 or config.num_subjects < 1:
        raise ValueError(f"num_walks and num_subjects must be at least 1, got {config.num_walks} and {config.num_subjects}")
    classes, people = config.pathologies, config.num_subjects
    return simulate_walks(
        config.num_walks,
        frames=config.frames,
        fps=config.fps,
        seed=config.seed,
        pathology=[classes[(i // people + i % people) % len(classes)] for i in range(config.num_walks)],
        num_subjects=people,
        noise=config.noise,
        dropout=config.dropout,
        domain=config.domain,
    )


def list_walks(walks: SimulatedWalks, config: SimulatedConfig) -> list[dict]:
    """What `make_row` needs of each walk."""
    clips, sensors = walks.joints, ["simulated"] * len(walks)
    if config.domain:
        clips, sensors = record(walks.joints, walks.fps, config.seed)
    return [
        {
            "joints": clips[i],
            "fps": walks.fps,
            "subject_id": walks.subject_ids[i],
            "walk_id": f"{walks.subject_ids[i]}_{walks.pathology[i]}{i}",
            "sensor": sensors[i],
            "pathology": walks.pathology[i],
            "severity": float(walks.severity[i]),
            "attributes": walks.attributes[i],
        }
        for i in range(len(walks))
    ]


def make_row(walk: dict) -> dict:
    """Fill what the sensor lost, put the first pelvis above the origin, compute gait parameters and captions."""
    joints, fps = walk["joints"], walk["fps"]
    if not np.isfinite(joints).all():
        joints, _ = clean_walk(np.arange(len(joints)) / fps, joints, fps=fps)
    origin = np.append(joints[0, KINECT_V2.root, :2], 0)  # noise has moved it
    return common.walk_row(**walk | {"joints": joints - origin.astype(np.float32)})


class SimulatedBuilder(datasets.GeneratorBasedBuilder):
    """`SimulatedBuilder(num_walks=600, seed=0).download_and_prepare()`, then `.as_dataset("train")`."""

    BUILDER_CONFIG_CLASS = SimulatedConfig
    VERSION = datasets.Version("1.0.0")

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=common.walk_features())

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator("train")]

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        for i, walk in enumerate(list_walks(simulate(self.config), self.config)):
            yield i, make_row(walk)


def prepare(config: SimulatedConfig, output_dir: Path, num_proc: int = 2) -> int:
    """Simulated walks -> Parquet shards and card in `output_dir`; returns the number of rows. Raises ValueError."""
    common.check_output(Path(output_dir))
    walks = simulate(config)
    rows = common.parallel(make_row, list_walks(walks, config), num_proc, "walks")
    return common.write_dataset(
        rows,
        Path(output_dir),
        lambda: card_body(config, walks),
        pretty_name="Simulated pathological walks",
        license="apache-2.0",
    )


def card_body(config: SimulatedConfig, walks: SimulatedWalks) -> str:
    """The data card below its metadata."""
    counts = Counter(walks.pathology)
    table = "\n".join(f"| {name} | {counts[name]} |" for name in config.pathologies)
    return common.card_text(
        __file__,
        walks=len(walks),
        config=config,
        classes=" ".join(config.pathologies),
        domain=" --domain" * config.domain,
        table=table,
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__, on_error=False)
    default = SimulatedConfig()
    parser.add_argument("--num_walks", type=int, default=default.num_walks, help="walks in all (default %(default)s)")
    parser.add_argument("--num_subjects", type=int, default=default.num_subjects, help="people (default %(default)s)")
    parser.add_argument("--frames", type=int, default=default.frames, help="frames a walk (default %(default)s)")
    parser.add_argument("--fps", type=float, default=default.fps, help="frames a second (default %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of all that is random (default %(default)s)")
    parser.add_argument("--noise", type=float, default=default.noise, help="sensor noise [m], Kinect v2 has 0.01 (default 0)")
    parser.add_argument("--dropout", type=float, default=default.dropout, help="fraction of samples lost (default 0)")
    parser.add_argument(
        "--pathologies", nargs="+", default=list(PATHOLOGIES), choices=PATHOLOGIES, help="classes (default: all)"
    )
    parser.add_argument("--domain", action="store_true", help="people, sensors, views and lengths at random, to train on")
    args = vars(parser.parse_args(argv))
    output_dir, num_proc = args.pop("output_dir"), args.pop("num_proc")
    with common.errors_told():
        total = prepare(SimulatedConfig(**args | {"pathologies": tuple(args["pathologies"])}), output_dir, num_proc)
    print(f"{total:,} rows in {output_dir}")


if __name__ == "__main__":
    main()
