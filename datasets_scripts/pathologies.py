"""Your normal walks -> a labelled data set of pathologies: no patient needed.

    python datasets_scripts/pathologies.py --normal my_walks --output_dir data/mine        # a folder of walk files
    python datasets_scripts/pathologies.py --normal data/own --output_dir data/mine        # or a data set in the walk schema
    python train/train_classifier.py --dataset data/mine --output_dir outputs/mine

In: normal walks of healthy people by one's own sensor: files that `modeling_gait.load_walk` reads, below the folder (the person
is the folder that the file is in, or in --normal itself the file), or rows of class normal of a data set. Out: `--copies` walks
of each in the schema of `common.walk_features`, the classes in turn, with severity, side, captions and gait parameters
(`modeling_gait.simulation.pathologies`). Any train script takes the folder.
"""

import argparse
import json
from pathlib import Path

import datasets
import numpy as np

from modeling_gait import schema as common
from modeling_gait.recording import read_recording
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.simulation.pathologies import Pathologies
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.data import load_walks

FPS = 30.0
COLUMNS = ["joints", "fps", "subject_id", "walk_id", "sensor", "pathology"]


def read_normal(folder: Path) -> datasets.Dataset:
    """Rows of normal walks, of a data set or of files. Raises ValueError for a file that is no walk, or where there is none."""
    folder = Path(folder)
    if any(folder.rglob("*.parquet")):
        data = load_walks(str(folder))
        rows = np.flatnonzero(np.array(data["pathology"]) == data.features["pathology"].names.index("normal"))
        if not len(rows):
            raise ValueError(f"{folder}: holds no walk of class normal")
        return data.select(rows).select_columns(COLUMNS)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".csv", ".tsv", ".txt", ".npz", ".npy", ".bvh", ".c3d"))
    rows = []
    for path in files:
        walk = read_recording(path, rate=FPS)
        person = path.stem if path.parent == folder else path.parent.name
        about = {"subject_id": person, "walk_id": str(path.relative_to(folder).with_suffix("")), "sensor": walk.skeleton.name}
        rows.append({"joints": walk.for_model(KINECT_V2, FPS), "fps": FPS, "pathology": "normal", **about})
    if not rows:
        raise ValueError(f"{folder}: holds no data set and no walk file; expected .csv, .tsv, .txt, .npz, .npy, .bvh or .c3d")
    features = datasets.Features({k: v for k, v in common.walk_features().items() if k in COLUMNS})
    return datasets.Dataset.from_list(rows, features=features).with_format("numpy")


def prepare(normal: Path, output_dir: Path, make: Pathologies, num_proc: int = 2) -> int:
    """Normal walks -> Parquet shards and card in `output_dir`; returns the number of rows. Raises ValueError, OSError."""
    common.check_output(Path(output_dir))
    rows = read_normal(normal)
    make.fit(rows)
    walks = []
    for k, part in enumerate(rows.iter(128)):
        out = make(part, range(128 * k, 128 * k + len(part["joints"])))
        walks += [dict(zip(out, values)) for values in zip(*out.values())]
    people = sorted(set(map(str, rows["subject_id"])))
    return common.write_dataset(
        common.parallel(make_row, walks, num_proc, "walks"),
        Path(output_dir),
        lambda: card_body(make, len(rows), len(walks), people),
        pretty_name="Normal walks with simulated pathologies",
        license="unknown",
    )


def make_row(walk: dict) -> dict:
    about = {"pathology": PATHOLOGIES[walk["pathology"]], "attributes": json.loads(walk["attributes"])}
    return common.walk_row(**walk | about | {k: str(walk[k]) for k in ("subject_id", "walk_id", "sensor")})


def card_body(make: Pathologies, normal: int, total: int, people: list[str]) -> str:
    """The data card below its metadata."""
    return common.card_text(
        __file__, total=total, normal=normal, people=len(people), classes=", ".join(make.classes), make=make
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Pathologies()
    parser.add_argument("--normal", type=Path, required=True, help="folder of walk files, or of a data set in the walk schema")
    parser.add_argument("--output_dir", type=Path, required=True, help=common.OUTPUT_HELP)
    parser.add_argument("--classes", nargs="+", default=list(default.classes), choices=PATHOLOGIES, help="default: all but one")
    parser.add_argument("--copies", type=int, default=default.copies, help="walks made of each walk (default %(default)s)")
    parser.add_argument("--severity", type=float, nargs=2, default=default.severity, help="least and most (default 0.5 1)")
    parser.add_argument("--side", choices=["left", "right"], help="affected side (default: by chance)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument("--num_proc", type=int, default=2, help="processes that compute parameters and captions (default 2)")
    args = vars(parser.parse_args(argv))
    normal, output_dir, num_proc = (args.pop(name) for name in ("normal", "output_dir", "num_proc"))
    with common.errors_told():
        make = Pathologies(**args | {"classes": tuple(args["classes"]), "severity": tuple(args["severity"])})
        total = prepare(normal, output_dir, make, num_proc)
    print(f"{total:,} rows in {output_dir}")


if __name__ == "__main__":
    main()
