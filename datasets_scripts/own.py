"""Walks of your own: skeleton files and a table of them -> Parquet shards and a data card.

    python datasets_scripts/own.py --data_dir my_walks --output_dir data/own
    python datasets_scripts/own.py --data_dir my_walks --output_dir data/own --up=-y --num_proc 4
    python datasets_scripts/own.py --data_dir my_walks --output_dir data/own --classes my_classes.yaml

In: DIR with files that `modeling_gait.load_walk` reads (CSV, TSV, TXT, NPZ, NPY, BVH; Kinect v2, Azure Kinect, OpenPose 18 or
SMPL 22 joints in metres, centimetres or millimetres), and DIR/walks.csv, a row a file: `file` (a path in DIR), `subject_id`,
`pathology`, and if wanted `walk_id` (default: the file), `sensor` (default: the layout of the joints), `severity` (0 to 1),
`side` (left, right, both, none), `fps` (where the file has no clock), `caption`. `pathology` is a class of gait_classes.json or
one of your own ("prosthetic", "before"): its name is enough, --classes says more (see `modeling_gait.gait_classes`).

Out: one row a file in the schema of `common.walk_features`, at 30 frames a second, cleaned by `modeling_gait.cleaning`, with
the 25 joints of Kinect v2, which the models of this package know: a joint that the file has is copied, one that it lacks is
computed (`skeletons.convert_joints`); the card says which. Gait parameters that rest on a joint that is not in the file are
null. A caption comes before those that the grammar writes; the dual encoder (train_text.py) learns from it, while GPT-2's
sentences are written anew from class, side, severity and numbers.

No two rows hold the same walk. Nothing is written unless every row and file is good: the error lists all that are not, the
table's first. What is doubtful about a walk (a turn, a treadmill, exchanged legs, see `modeling_gait.walk_checks`) is printed
and stands in the card.
"""

import csv
import difflib
import functools
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from modeling_gait import schema as common
from modeling_gait.captions import WalkDescription, check_class
from modeling_gait.cleaning import CleaningReport
from modeling_gait.file_formats import SUFFIXES
from modeling_gait.files import read_text
from modeling_gait.formats import parse_number
from modeling_gait.gait_classes import GaitClass, GaitClasses, load_classes, plain_words
from modeling_gait.loading import VIDEO_SUFFIXES
from modeling_gait.recording import read_recording
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.walk_checks import leg_length

TABLE = "walks.csv"
REQUIRED = ("file", "subject_id", "pathology")
OPTIONAL = ("walk_id", "sensor", "severity", "side", "fps", "caption")
FPS = 30.0


class About(NamedTuple):
    """What a row was made of: its file, what was cleaned, the layout of its joints and which of ours it lacks, legs [m],
    doubts."""

    file: str
    report: CleaningReport
    layout: str
    lacks: tuple[str, ...]
    leg: float
    doubts: tuple[str, ...]


# --- the table ---------------------------------------------------------------------------------------------------------------


def read_table(data_dir: Path, known: GaitClasses | None = None) -> list[dict]:
    """Rows of DIR/walks.csv: strings of all columns, numbers of `severity` (nan: unknown) and `fps` (None: the file's own).

    Raises:
        ValueError: all that is wrong with the table, a line each: file, line, column, what was expected.
        OSError: there is no table.
    """
    table = Path(data_dir) / TABLE
    text = read_text(table)
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.split("\n")[0].count))
    try:
        (_, header), *lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ValueError(f"{table}, line {reader.line_num}: {error}") from None
    header = [title.strip() for title in header]
    columns = (*REQUIRED, *OPTIONAL)
    if set(REQUIRED) - set(header) or set(header) - set(columns) or len(set(header)) < len(header):
        expected = f"expected {', '.join(REQUIRED)} and any of {', '.join(OPTIONAL)}"
        raise ValueError(f"{table}: columns {', '.join(header)}; {expected}")
    rows, problems = [], [] if lines else [f"{table}: holds no row below its header"]
    for number, cells in lines:
        place = f"{table}, line {number}"
        if len(cells) != len(header):
            problems.append(f"{place}: {len(cells)} cells, expected {len(header)} as in the first line")
            continue
        row = dict.fromkeys(columns, "") | {k: c.strip() for k, c in zip(header, cells)} | {"line": number, "place": place}
        problems += [f"{place}, {problem}" for problem in _check(row, Path(data_dir))]
        rows.append(row)
    problems += _repetitions([row for row in rows if row["file"]])
    problems += _check_classes(rows, known or load_classes())
    if problems:
        raise ValueError("\n".join(problems))
    return rows


def _check(row: dict, data_dir: Path) -> list[str]:
    """Fill in a row's defaults and numbers; returns what is wrong with it."""
    problems = [f"{name}: is empty" for name in REQUIRED if not row[name]]
    row["path"] = data_dir / row["file"]
    if row["file"] and not row["path"].is_file():
        problems.append(f"file: there is no {row['path']}")
    row["walk_id"] = row["walk_id"] or row["file"].removesuffix(Path(row["file"]).suffix)
    for name, low, high in (("severity", 0, 1), ("fps", 1, 1000)):
        value = parse_number(row[name].replace(",", "."))
        if value is None or value < low or value > high:  # nan, an empty cell, is neither
            problems.append(f"{name}: {row[name]!r} is not a number from {low} to {high}")
        row[name] = value
    row["fps"] = None if row["fps"] != row["fps"] else row["fps"]  # nan: not given
    row["side"] = row["side"].lower()
    return problems


def _check_classes(rows: list[dict], known: GaitClasses) -> list[str]:
    """Give every row the name of its class, and its side where that is not said; returns what is wrong with them."""
    problems, written, first = [], {label: {plain_words(label): "a known class"} for label in known.labels}, {}
    for row in rows:
        text, found = row["pathology"], known.find(row["pathology"])
        name = row["pathology"] = found.name if found else re.sub(r"[\W_]+", "_", text.lower()).strip("_")
        place = f"{row['place']}, pathology: {text!r}"
        if text and not name:
            problems.append(f"{place} has no letter or digit")
        if not name or found:
            continue
        first.setdefault(name, place)
        if plain_words(text) not in (others := written.setdefault(name, {})):
            if others:
                other = ", ".join(others.values())
                problems.append(f"{place} would be class {name!r}, which is {other}; names must differ by letters or digits")
            others[plain_words(text)] = f"{text!r} in line {row['line']}"
        if name not in known and (close := difflib.get_close_matches(name, known.labels, 1, 0.85)):
            problems.append(
                f"{place} is no class that is known, but {close[0]!r} is; if it is one of your own, give it an entry in a file "
                "of --classes"
            )
    classes = table_classes(rows, known)
    for row in rows:
        row["side"] = row["side"] or ("none" if row["pathology"] and classes[row["pathology"]].side == "none" else "unknown")
        try:
            WalkDescription(row["pathology"] or None, row["side"], classes=classes)
        except ValueError as error:
            problems.append(f"{row['place']}, side: {error}")
    for name in classes.labels:
        try:
            check_class(name, classes)
        except ValueError as error:
            problems.append(f"{first.get(name, rows[0]['place'].partition(',')[0])}: {error}")
    return problems


def table_classes(rows: list[dict], known: GaitClasses) -> GaitClasses:
    """The classes of the rows, those that are known first; one of the rows' own has a side or severity if a row gives one."""
    names = {row["pathology"] for row in rows} - {""}
    own = []
    for name in sorted(names - set(known.labels)):
        mine = [row for row in rows if row["pathology"] == name]
        sided = any(row["side"] in ("left", "right", "both") for row in mine)
        graded = any(isinstance(row["severity"], float) and row["severity"] == row["severity"] for row in mine)
        own.append(GaitClass(name, side="one" if sided else "none", graded=graded))
    every = replace(known, classes=(*known.classes, *own))
    return every.select(label for label in every.labels if label in names)


def _repetitions(rows: list[dict]) -> list[str]:
    """Files named twice, walks twice by one sensor, and walks of two people."""
    problems = []
    files, walks, people = {}, {}, {}
    for row in rows:
        walk = row["walk_id"]
        same_file = files.setdefault(row["path"].resolve(), row)
        same_walk = walks.setdefault((walk, row["sensor"]), row)
        person = people.setdefault(walk, row)
        if same_file is not row:
            problems.append(f"{row['place']}, file: {row['file']} is in line {same_file['line']} already")
        elif person["subject_id"] != row["subject_id"]:
            who = f"{row['subject_id']} and, in line {person['line']}, of {person['subject_id']}"
            problems.append(f"{row['place']}, walk_id: {walk!r} is of subject {who}; give each walk a name of its own")
        elif same_walk is not row:
            problems.append(f"{row['place']}, walk_id: {walk!r} by the same sensor is in line {same_walk['line']} already")
    return problems


# --- the files ---------------------------------------------------------------------------------------------------------------


def make_row(row: dict, up: str = "auto", classes: GaitClasses | None = None) -> tuple[dict, About] | str:
    """Row of the schema, and what it was made of; or what is wrong with the file."""
    try:
        walk = read_recording(row["path"], fps=row["fps"], up=up, rate=FPS)
        out = common.walk_row(
            walk.for_model(KINECT_V2, FPS),
            FPS,
            **{name: row[name] for name in ("subject_id", "walk_id", "pathology", "severity")},
            sensor=row["sensor"] or walk.skeleton.name,
            attributes={"side": row["side"]},
            parameters=walk.gait_parameters,
            classes=classes,
        )
    except (ValueError, OSError) as error:
        return f"{row['place']}: {error}" if str(row["path"]) in str(error) else f"{row['place']}: {row['path']}: {error}"
    out["captions"] = [row["caption"], *out["captions"]] if row["caption"] else out["captions"]
    cleaned = CleaningReport(**{f.name: walk.repairs[f.name] for f in fields(CleaningReport) if f.name in walk.repairs})
    lacks = tuple(n for n in KINECT_V2.joint_names if n not in walk.measured)
    return out, About(row["file"], cleaned, walk.skeleton.name, lacks, leg_length(walk.joints, walk.skeleton), walk.doubts)


def prepare(
    data_dir: Path, output_dir: Path, up: str = "auto", num_proc: int = 2, known: GaitClasses | None = None
) -> tuple[int, list[About], list[str]]:
    """Table and files -> Parquet shards and card in `output_dir`; `known`: the classes besides the rows' own.

    Returns the number of rows, what they were made of, and the walk files in DIR that the table does not name.

    Raises:
        ValueError: all that is wrong with the table, else all that is wrong with the files, a line each.
        OSError: there is no table.
    """
    common.check_output(Path(output_dir))
    table = read_table(Path(data_dir), known)
    classes = table_classes(table, known or load_classes())
    classes = None if known is None and set(classes.labels) <= set(PATHOLOGIES) else classes
    walks: list[About] = []
    problems: list[str] = []
    first: dict[bytes, dict] = {}  # by the joints, the row that holds them

    def rows() -> Iterator[dict]:
        made = common.parallel(functools.partial(make_row, up=up, classes=classes), table, num_proc, "files")
        for result, row in zip(made, table):
            if isinstance(result, str):
                problems.append(result)
            elif (same := first.setdefault(sha256(result[0]["joints"].tobytes()).digest(), row)) is not row:
                problems.append(_same_walk(row, same))
            elif not problems:
                walks.append(result[1])
                yield result[0]
        if problems:
            raise ValueError("\n".join(problems))

    total = common.write_dataset(
        rows(),
        Path(output_dir),
        lambda: card_body(table, walks, classes or load_classes()),
        classes=classes,
        pretty_name=f"Walks of {Path(data_dir).resolve().name}",
        license="unknown",
    )
    return total, walks, unused_files(Path(data_dir), table)


def _same_walk(row: dict, same: dict) -> str:
    who = ("subject {}, {} in line {}".format(r["subject_id"], r["file"], r["line"]) for r in (row, same))
    return f"{row['place']}, file: the same walk twice: {' and '.join(who)}; a walk is of one person, once"


def unused_files(data_dir: Path, table: list[dict]) -> list[str]:
    """Walk files in DIR that the table does not name."""
    named = {row["path"].resolve() for row in table} | {(Path(data_dir) / TABLE).resolve()}
    there = sorted(p for p in Path(data_dir).rglob("*") if p.suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES))
    return [str(p) for p in there if p.resolve() not in named]


def card_body(table: list[dict], walks: list[About], classes: GaitClasses) -> str:
    """The data card below its metadata."""
    people = sorted({row["subject_id"] for row in table})
    counts = Counter(row["pathology"] for row in table)
    about = [
        f"| {c.name} | {counts[c.name]} | {c.title} | {c.side} | {'; '.join(s.text for s in c.sentences[:1]) or 'not said'} |"
        for c in classes.classes
        if counts[c.name]
    ]
    listed = "\n".join(about)
    lines = []
    for layout, lacks in sorted({(w.layout, w.lacks) for w in walks}):
        legs = [w.leg for w in walks if (w.layout, w.lacks) == (layout, lacks)]
        lines.append(f"| {layout} | {len(legs)} | {min(legs):.2f} to {max(legs):.2f} | {', '.join(lacks) or 'none'} |")
    reports = [w.report for w in walks]
    frames = sum(r.frames_out for r in reports)
    doubts = "\n".join(f"- {w.file}: {doubt}" for w in walks for doubt in w.doubts)
    return common.card_text(
        __file__,
        recordings=len(table),
        count=len(people),
        people=", ".join(people),
        frames=frames,
        fps=FPS,
        listed=listed,
        table=TABLE,
        layouts=chr(10).join(lines),
        cleaning=common.cleaning_table(reports),
        doubts=doubts or "None.",
    )


# --- command line ------------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__, on_error=False)
    parser.add_argument("--data_dir", type=Path, required=True, help=f"folder with {TABLE} and the files it names")
    axes = ["auto", "y", "-y", "z", "-z"]
    parser.add_argument("--up", default="auto", choices=axes, help="vertical axis of the files (--up=-y); default: found out")
    parser.add_argument("--classes", type=Path, help="JSON or YAML file of classes of your own, see modeling_gait.gait_classes")
    args = parser.parse_args(argv)
    with common.errors_told():
        known = load_classes().merged(load_classes(args.classes)) if args.classes else None
        total, walks, unused = prepare(args.data_dir, args.output_dir, args.up, args.num_proc, known)
    print(common.cleaning_table([w.report for w in walks]))
    for walk in walks:
        for doubt in walk.doubts:
            print(f"{walk.file}: {doubt}")
    for path in unused:
        print(f"not in {TABLE}, left out: {path}")
    print(f"{total:,} rows in {args.output_dir}")


if __name__ == "__main__":
    main()
