"""The command line `gait`: walks from words, words and numbers from walks, conversion, search, personalisation.

    gait --help; gait generate --help; gait --install-completion

In: words, skeleton files, folders or Hub ids of models. Out: files, and on stdout text or, with --json, one JSON document;
messages and progress bars go to stderr. Exit codes: 0 done; 1 bad input or failed, with a line `gait: error: ...` for each
input that failed; 2 wrong usage. An existing file is replaced only with --force: a sampled walk does not come back.
Models and torch are imported within the commands, so that --help and completion are fast.
"""

import contextlib
import functools
import inspect
import json
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..released import NAME
from .io import (
    CLASSIFIER,
    FAMILY,
    KNOWLEDGE,
    TCN,
    TEXT,
    WALK_SUFFIXES,
    find_model,
    output_files,
    plain,
    quiet,
    read_cycles,
    read_group,
    refuse_existing,
    whole_files,
    write_parquet,
)

app = typer.Typer(
    name="gait",
    help="Words to 3D skeleton walks and back. Research software: not a medical device, not a diagnosis.",
    epilog="gait COMMAND --help shows examples. All commands take --json and --debug.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Model = Annotated[str | None, typer.Option(help="gait-small, a folder or a Hub id. Default: $GAIT_MODEL, else gait-small.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]
Fps = Annotated[float | None, typer.Option(help="Frames a second, where a file states none (replaces what it states).")]
Up = Annotated[str, typer.Option(help="Vertical axis of the files: auto, y, -y, z, -z.")]
Height = Annotated[float | None, typer.Option(help="Stature [m] of the person in a video; else 1.70 is assumed, and said.")]
Person = Annotated[int | None, typer.Option(help="Who in a video, from the left; default: whose legs move most.")]
Files = Annotated[list[Path], typer.Argument(help="Any of `gait formats`: files, videos, Parquet.", metavar="FILE...")]


@dataclass
class Answer:
    """What a command hands to be printed: `data` as JSON or `text`; `failed` inputs make the exit code 1."""

    data: dict | list
    text: str
    failed: int = 0


def command(function: Callable[..., Answer]) -> Callable:
    """Make a command of a function that returns an `Answer`: --json, --debug, messages and exit codes."""

    @functools.wraps(function)
    def run(*, as_json: bool, debug: bool, **arguments) -> None:
        try:
            with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("always", category=UserWarning, module="modeling_gait")
                warnings.showwarning = lambda message, *_: say("warning", message)
                answer = function(**arguments)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            say("error", error)
            raise typer.Exit(1) from None
        typer.echo(json.dumps(plain(answer.data), indent=1, allow_nan=False) if as_json else answer.text)
        if answer.failed:
            raise typer.Exit(1)

    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY, default=False)
    shared = [keyword("as_json", annotation=Json), keyword("debug", annotation=Debug)]
    signature = inspect.signature(function)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *shared])
    run.__annotations__ = {**function.__annotations__, "as_json": Json, "debug": Debug}
    return app.command()(run)


def one_line(message: object) -> str:
    """An error or warning in one line; `FILE: No such file or directory` for the operating system's."""
    if isinstance(message, OSError) and message.filename and message.strerror:
        message = f"{message.filename}: {message.strerror}"
    return " ".join(str(message).split()) or type(message).__name__


def say(kind: str, message: object) -> None:
    """`gait: error: ...` or `gait: warning: ...` in one line on stderr."""
    typer.echo(f"gait: {kind}: {one_line(message)}", err=True)


def progress(items: Iterable, what: str) -> Iterable:
    """A bar on stderr for more than one item, on a terminal only."""
    from tqdm import tqdm

    items = list(items)
    return tqdm(items, desc=what, disable=True if len(items) < 2 else None)


def each_walk(files: list[Path], what: str, function: Callable, **options) -> tuple[list[dict], int]:
    """`function(recording)` -> dict, for each walk of the files, and what was repaired and doubted in it. What fails gets a
    message and a row with `error`."""
    from ..recording import each_thing, read_recording, repair_sentences

    rows, failed = [], 0

    def refuse(name: str, error: Exception) -> None:
        nonlocal failed
        failed += 1
        message = one_line(error)
        message = message if message.startswith(name) else f"{name}: {message}"
        say("error", message)
        rows.append({"file": name, "error": message})

    for file in progress(files, what):
        try:
            things = list(each_thing(file))
        except (ValueError, OSError) as error:
            refuse(str(file), error)
            continue
        for thing in things:
            name = str(thing["name"] if isinstance(thing, dict) else thing)
            try:
                walk = read_recording(thing, **options)
                row = function(walk)
                told = {"doubts": list(walk.doubts), "repaired": walk.repairs, "repairs": repair_sentences(walk.repairs)}
                rows.append({"file": name, **row, **told})
            except (ValueError, OSError) as error:
                refuse(name, error)
    return rows, failed


def written(rows: list[dict], lines: Callable[[dict], list[str]]) -> str:
    """Text of rows: the file's name, and indented below it its lines; rows that failed have had their message."""
    parts = []
    for row in rows:
        if "error" not in row:
            told = [f"note: {r}" for r in row.get("repairs", ())] + [f"doubt: {d}" for d in row.get("doubts", ())]
            parts.append("\n  ".join([row["file"], *lines(row), *told]))
    return "\n".join(parts)


def number(value: float | None, unit: str = "") -> str:
    """A measured number in four digits; a dash for nan."""
    return "-" if value is None or value != value else f"{value:.4g} {unit}".rstrip()


def beside(row: dict) -> str:
    """A row of `Recording.beside_the_file`: `left cadence 110.5 steps/min, measured 111 steps/min`."""

    def one(value: float | list | None, unit: str) -> str:
        return f"{', '.join(f'{v:.2f}' for v in value)} {unit}" if isinstance(value, list) else number(value, unit)

    return f"{row['name']} {one(row['stated'], row['unit'])}, measured {one(row['measured'], row['measured_unit'])}"


def ranked(scores: dict[str, float], most: int = 3) -> str:
    """The likeliest classes: `steppage 0.93, antalgic 0.04`."""
    best = sorted(scores.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} {score:.2f}" for name, score in best)


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"gait {installed('modeling_gait')}")
        raise typer.Exit


@command
def generate(
    prompt: Annotated[str, typer.Argument(help="The walk in words: class, side, severity, speed, cadence.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.gif, .parquet, .bvh, .csv, .npz or .mp4.")] = Path("walk.gif"),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Walks to sample.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Makes the walks repeatable. Default: a random one, which is shown.")] = None,
    temperature: Annotated[float, typer.Option(help="Lower is more usual, higher more varied.")] = 0.7,
    frames: Annotated[int, typer.Option(help="Length; 30 frames are a second.")] = 96,
    candidates: Annotated[int, typer.Option(min=1, help="Walks sampled for each one; the one that fits best is kept.")] = 8,
    person: Annotated[Path | None, typer.Option(help="A walk of somebody: their bones, posture and usual speed.")] = None,
    model: Model = None,
    force: Force = False,
) -> Answer:
    """Sample walks from a description.

    Several walks make one Parquet data set, or numbered files of any other format: walk_01.bvh, walk_02.bvh, ...

    \b
    gait generate "severe steppage gait, right side, 0.6 m/s"
    gait generate "normal gait, 1.2 m/s" -n 20 --seed 0 -o walks.parquet
    gait generate "antalgic gait, left side" -o walk.gif --person me.csv
    """
    parquet = out.suffix.lower() == ".parquet"
    files = output_files(out, 1 if parquet else count, (".parquet", *WALK_SUFFIXES), force)
    folder, _ = find_model(model, FAMILY)
    from transformers import pipeline

    from .. import SKELETONS, save_walk

    quiet()
    seed = secrets.randbelow(2**31) if seed is None else seed
    options = {"candidates": candidates} | ({} if person is None else {"person": str(person)})
    pipe = pipeline("text-to-gait", model=str(folder))
    try:
        walks = pipe([prompt] * count, num_frames=frames, temperature=temperature, seed=seed, **options)
    except ValueError as error:
        raise ValueError(str(error).replace("num_frames:", "--frames:")) from error
    named = model or os.environ.get("GAIT_MODEL") or NAME
    with whole_files(files) as paths:
        if parquet:
            write_parquet(paths[0], walks, named, seed)
        else:
            for path, walk in progress(zip(paths, walks), "files"):
                save_walk(path, walk["joints"], walk["fps"], SKELETONS[walk["skeleton"]])
    understood = walks[0]["description"].to_prompt()
    data = {"files": files, "count": count, "prompt": prompt, "understood": understood, "seed": seed, "model": named}
    data |= {"unused": walks[0]["unused"], "measured": [w["measured"] for w in walks], "missed": [w["missed"] for w in walks]}
    shown = str(files[0]) if len(files) == 1 else f"{files[0]} ... {files[-1]}"
    text = f"{count} walk{'s' if count > 1 else ''} in {shown}\nunderstood: {understood}\nseed: {seed}"
    text += f"\nnot used: {', '.join(walks[0]['unused'])}" if walks[0]["unused"] else ""
    for i, walk in enumerate(walks[:10], 1):
        found = walk["measured"]
        speed, cadence = number(found["speed"], "m/s"), number(found["cadence"], "steps/min")
        said = " ".join(filter(None, (found["side"], found["pathology"])))
        text += f"\nmeasured{f' {i}' if count > 1 else ''}: {said}, {speed}, {cadence}"
        text += "".join(f"\nmissed: {m}" for m in walk["missed"])
    return Answer(
        data | {"num_frames": frames, "fps": walks[0]["fps"], "temperature": temperature, "candidates": candidates}, text
    )


@command
def describe(
    files: Files, model: Model = None, fps: Fps = None, up: Up = "auto", height: Height = None, person: Person = None
) -> Answer:
    """Put walks into words: a text, the likeliest classes, what in the text the numbers contradict.

    \b
    gait describe walk.csv
    gait describe --json walk_*.bvh > described.json
    """
    folder, _ = find_model(model, FAMILY)
    from transformers import pipeline

    quiet()
    pipe = pipeline("gait-to-text", model=str(folder))

    def one(walk) -> dict:
        result = pipe(walk)
        return {k: result[k] for k in ("text", "pathology", "class_probabilities", "gait_parameters", "problems")}

    def lines(row: dict) -> list[str]:
        measured = row["gait_parameters"]
        speed, cadence = number(measured["speed"], "m/s"), number(measured["cadence"], "steps/min")
        problems = [f"contradicted: {p}" for p in row["problems"]]
        return [row["text"], f"classes: {ranked(row['class_probabilities'])}", f"measured: {speed}, {cadence}", *problems]

    rows, failed = each_walk(files, "descriptions", one, fps=fps, up=up, height=height, person=person)
    return Answer(rows, written(rows, lines), failed)


@command
def parameters(files: Files, fps: Fps = None, up: Up = "auto", height: Height = None, person: Person = None) -> Answer:
    """Measure gait parameters and joint kinematics; needs no model.

    Gaps and spikes are repaired first; turns and pauses are left out; the text says so. Parameters and events that a C3D file
    states stand beside those measured. A dash (null in JSON): the walk shows
    too little to measure it, or the joints were not measured. Where nobody walks, nothing is measured.

    \b
    gait parameters walk.csv
    gait parameters clip.mp4 --height 1.65
    gait parameters --json --fps 100 *.npz > parameters.json
    """
    from ..gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS

    def one(walk) -> dict:
        seconds = [(round(s.start / walk.fps, 2), round(s.stop / walk.fps, 2)) for s in walk.stretches]
        measured = {"gait_parameters": walk.gait_parameters, "uncertainty": walk.uncertainty}
        return measured | {"measured_joints": walk.measured, "stretches": seconds, "stated_by_file": walk.beside_the_file()}

    def lines(row: dict) -> list[str]:
        values, sd = row["gait_parameters"], row["uncertainty"]
        ours = [
            f"{p.name:34}{number(values[p.name], p.unit)}" + (f" ± {number(sd[p.name])}" if p.name in sd else "") for p in known
        ]
        return ours + [f"the file states {beside(r)}" for r in row["stated_by_file"]]

    known = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)
    rows, failed = each_walk(files, "walks", one, fps=fps, up=up, height=height, person=person)
    return Answer(rows, written(rows, lines), failed)


@command
def classify(
    files: Files, model: Model = None, fps: Fps = None, up: Up = "auto", height: Height = None, person: Person = None
) -> Answer:
    """Class probabilities of walks, by a classifier, or by the tokeniser of a model family.

    \b
    gait classify walk.csv
    gait classify --json walks/*.csv --model outputs/gru > classes.json
    """
    folder, kind = find_model(model, CLASSIFIER, FAMILY)
    from transformers import pipeline

    quiet()
    pipe = pipeline("gait-classification" if kind == CLASSIFIER else "gait-to-text", model=str(folder))

    def one(walk) -> dict:
        scores = {r["label"]: r["score"] for r in pipe(walk)} if kind == CLASSIFIER else pipe(walk)["class_probabilities"]
        best = max(scores, key=scores.get)
        return {"label": best, "score": scores[best], "scores": scores}

    rows, failed = each_walk(files, "classes", one, fps=fps, up=up, height=height, person=person)
    return Answer(rows, written(rows, lambda row: [ranked(row["scores"])]), failed)


@command
def report(
    file: Annotated[Path, typer.Argument(help="A skeleton file, or a video if the model reads videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.html")] = Path("report.html"),
    age: Annotated[float | None, typer.Option(help="Years, for the norms.")] = None,
    sex: Annotated[str | None, typer.Option(help="female or male, for the norms.")] = None,
    height: Height = None,
    person: Person = None,
    model: Model = None,
    fps: Fps = None,
    force: Force = False,
) -> Answer:
    """Write a page about a walk: parameters beside norms, joint angles, doubts, and with a model classes and why.

    It needs no network to be read. Without a knowledge model it holds what is measured.

    \b
    gait report clip.mp4 --out report.html --height 1.65
    gait report walk.csv --age 70 --sex female --model outputs/knowledge
    """
    output_files(out, 1, (".html",), force)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    folder = report_model(model)
    if folder is None:
        from ..drawing.report_html import write_report
        from ..gait_report import measured_report
        from ..recording import read_recording

        result = measured_report(read_recording(file, fps, height=height, person=person), age, sex)
        write_report(result, out)
        return report_answer(result, file, out)
    from transformers import pipeline

    from .. import pipeline_gait_report  # noqa: F401  registers the pipeline

    quiet()
    pipe = pipeline("gait-report", model=str(folder))
    with whole_files([out]) as paths:
        result = pipe(str(file), html=str(paths[0]), fps=fps, age=age, sex=sex, height=height, person=person)
    return report_answer(result, file, out)


def report_model(model: str | None) -> Path | None:
    """The knowledge model that is given or set; None where none is, or what GAIT_MODEL names is a model for something else."""
    try:
        return find_model(model, KNOWLEDGE)[0]
    except ValueError:
        if model:
            raise
        return None


def report_answer(result, file: Path, out: Path) -> Answer:
    names = ("name", "class_probabilities", "severity", "severity_scale", "parameters", "sentence", "evidence", "problems")
    names += ("stated",)
    problems = [f"problem: {p}" for p in result.problems]
    said = ranked(result.class_probabilities) if result.class_probabilities else "not asked: no knowledge model was given"
    lines = [f"report of {file} in {out}", f"classes: {said}", result.sentence, *problems]
    return Answer({"file": file, "out": out, **{n: getattr(result, n) for n in names}}, "\n".join(lines))


@command
def search(
    query: Annotated[str, typer.Argument(help="Words and numbers, or a walk: any of `gait formats`.")],
    folder: Annotated[Path, typer.Argument(help="Folder of walks, or of Parquet in the walk schema.")],
    count: Annotated[int, typer.Option("-k", "--count", min=1, help="Walks to show.")] = 10,
    where: Annotated[str | None, typer.Option(help='Only walks that pass: "pathology=steppage speed<0.7".')] = None,
    by: Annotated[str, typer.Option(help="Of a walk: gait, person or both.")] = "gait",
    index: Annotated[Path | None, typer.Option(help="Folder where the index is kept; made, or brought up to date.")] = None,
    model: Model = None,
    fps: Fps = None,
) -> Answer:
    """Find the walks that fit words and numbers best, or that are most like a walk; below each, why.

    A score is 0 to 1: how well all that was asked fits. Numbers are compared with what was measured, other words by the model.

    \b
    gait search "steppage gait, right side, slower than 0.7 m/s" walks/
    gait search "no limp, at least 100 steps/min" walks/ --index walks.index --where "step_width<0.15"
    gait search walk.csv data/simulated -k 3 --by person
    """
    from ..file_formats import SUFFIXES
    from ..loading import VIDEO_SUFFIXES

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder")
    walk = Path(query).suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES)
    if walk and not Path(query).is_file():
        raise FileNotFoundError(f"{query}: no such file")
    place, _ = find_model(model, TEXT)
    from datasets import load_dataset

    from ..gait_search import ABOUT, GaitSearch
    from ..modeling_gait_dual_encoder import GaitDualEncoderModel

    quiet()
    encoder = GaitDualEncoderModel.from_pretrained(place).eval()
    tables, about = sorted(str(p) for p in folder.rglob("*.parquet")), {} if fps is None else {"fps": fps}
    known = index is not None and (index / ABOUT).is_file()
    if known:
        walks = GaitSearch.load(encoder, index)
        changed = not tables and any(walks.update(folder, **about))
    elif tables:
        walks = GaitSearch.from_dataset(encoder, load_dataset("parquet", data_files=tables, split="train"))
    else:
        walks = GaitSearch.from_folder(encoder, folder, **about)
    if index is not None and (not known or changed):
        walks.save(index)
    found = walks.by_walk(query, count, fps, by=by, where=where) if walk else walks.by_text(query, count, where)
    rows = [{"file": str(folder), **row} for row in found]
    lines = []
    for row in rows:
        lines.append(f"{row['score']:.3f}  {row.get('walk_id', row['file'])}")
        for why in row.get("why", ()):
            value = why["found"] if not isinstance(why["found"], float) else number(why["found"])
            lines.append(
                f"    {why['fit']:.2f}  {why['words']}: {why['asked']}" + (f", found {value}" if value is not None else "")
            )
    return Answer(rows, "\n".join(lines))


@command
def personalize(
    files: Annotated[list[Path], typer.Argument(help="Walks or gait cycles of one person.", metavar="FILE...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the adapter.")],
    steps: Annotated[int | None, typer.Option(min=0, help="Gradient steps. Default: the model's.")] = None,
    model: Model = None,
    fps: Fps = None,
    force: Force = False,
) -> Answer:
    """Adapt a network for gait cycles (GaitTCNModel) to a person, and save what changed.

    Files: skeleton walks, from which cycles are cut, for a model of skeletons. NPZ or NPY for any model: array `values`, cycles
    (K, phases, channels) with optional `channel_mask`; or samples (T, 36) of six leg sensors as in HuGaDB, with `fps`.

    \b
    gait personalize walk_1.csv walk_2.csv --out p01
    gait personalize cycles.npz --out p01 --model outputs/maml --json
    """
    from ..files import atomic_folder
    from ..modeling_gait_tcn import ADAPTER_CONFIG, GaitTCNModel

    refuse_existing(out, force)
    if out.exists() and not (out / ADAPTER_CONFIG).is_file():
        raise FileExistsError(f"{out}: is there and is no adapter; it is not replaced")
    folder, _ = find_model(model, TCN)
    import numpy as np
    import torch

    quiet()
    base = GaitTCNModel.from_pretrained(folder).eval()
    parts = [read_cycles(file, base.config, fps) for file in progress(files, "files")]
    values, mask = (torch.from_numpy(np.concatenate(p)) for p in zip(*parts))
    person = base.personalize(values, channel_mask=mask, steps=steps)
    named = model or os.environ.get("GAIT_MODEL") or NAME
    if named == NAME or Path(named).is_dir():
        named = str(folder)  # where in a family the network is
    with atomic_folder(out) as temporary:
        person.save_adapter(temporary, base_model=named)
    size = sum(f.stat().st_size for f in out.iterdir())
    data = {"adapter": out, "base_model": named, "cycles": len(values), "steps": person.adapter["steps"], "bytes": size}
    data["cycles_of_files"] = {str(file): len(part[0]) for file, part in zip(files, parts)}
    text = f"{len(values)} gait cycles of {len(files)} file(s); adapter of {size / 1e3:.0f} kB in {out}"
    return Answer(data, f"{text}\nin Python: GaitTCNModel.from_pretrained({str(out)!r}).generate(20)")


@command
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any of `gait formats`; or Parquet in the walk schema.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="CSV, NPZ, BVH, TRC, C3D, NPY (HumanML3D), GIF or MP4.")],
    repair: Annotated[bool, typer.Option("--clean", help="Repair gaps, spikes and the clock first.")] = False,
    fps: Fps = None,
    up: Up = "auto",
    height: Height = None,
    person: Person = None,
    force: Force = False,
) -> Answer:
    """Write a walk in another format, in metres, z up. The walks of a Parquet file go to numbered files.

    \b
    gait convert walk.csv walk.bvh --clean
    gait convert clip.mp4 walk.bvh --height 1.65
    gait convert walks.parquet walk.gif
    """
    output_files(out, 1, WALK_SUFFIXES, force=True)
    from ..recording import as_walk, each_thing

    walks = [as_walk(thing, fps, up, height=height, person=person) for thing in each_thing(source)]
    for walk, name in walks:
        for note in walk.notes:
            say("warning", f"{name}: {note}")
    files = output_files(out, len(walks), WALK_SUFFIXES, force)
    import numpy as np

    from ..cleaning import clean_walk
    from ..exchanged_joints import exchanged_frames
    from ..export import save_walk

    def clean(walk, name: str):
        times = np.arange(len(walk.joints)) / walk.fps if walk.times is None else walk.times
        try:
            joints = walk.joints if walk.accuracy else exchanged_frames(walk.joints, walk.skeleton)[0]
            joints, report = clean_walk(times, joints, walk.fps, walk.skeleton)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return joints, report.to_dict()

    repaired = []
    with whole_files(files) as paths:
        for path, (walk, name) in progress(zip(paths, walks), "files"):
            joints, done = clean(walk, name) if repair else (walk.joints, None)
            repaired.append(done)
            try:
                save_walk(path, joints, walk.fps, walk.skeleton)
            except ValueError as error:
                hint = "" if repair else "; --clean repairs gaps"
                raise ValueError(f"{name}: {error}{hint}") from error
    rows = [
        {"file": name, "out": file, "frames": len(walk.joints), "fps": walk.fps, "skeleton": walk.skeleton.name, "repaired": r}
        | {"doubts": list(walk.notes)}
        for file, (walk, name), r in zip(files, walks, repaired)
    ]
    return Answer(rows, written(rows, lambda r: [f"-> {r['out']} ({r['frames']} frames, {r['fps']:g} a second)"]))


@command
def compare(
    before: Annotated[Path, typer.Argument(help="A file, a video, or a folder of walks of one person.")],
    after: Annotated[Path | None, typer.Argument(help="The same later.")] = None,
    sides: Annotated[bool, typer.Option("--sides", help="Left against right of BEFORE.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A page with the curves: FILE.html")] = None,
    fps: Fps = None,
    up: Up = "auto",
    height: Height = None,
    person: Person = None,
    force: Force = False,
) -> Answer:
    """What changed between two walks, beside the change that measurement error alone would give.

    \b
    gait compare before.csv after.csv --out change.html
    gait compare january/ june/ --json
    gait compare clip.mp4 --sides
    """
    from ..comparison import compare_sides, compare_walks, comparison_page

    if sides == (after is not None):
        raise ValueError("expected BEFORE and AFTER, or BEFORE and --sides")
    if out is not None:
        output_files(out, 1, (".html",), force)
    options = {"fps": fps, "up": up, "height": height, "person": person}
    groups = [read_group(place, **options) for place in ([before] if sides else [before, after])]
    found = compare_sides(groups[0]) if sides else compare_walks(*groups)
    if out is not None:
        comparison_page(found, out, *groups)
    lines = [
        f"{c.name:34}{number(c.before):>8} -> {number(c.after):8}{number(c.change, c.unit):>16}  error {number(c.error)}"
        + (" *" if c.beyond else "")
        for c in found.changes
    ]
    doubts = [f"doubt: {d}" for d in found.doubts]
    page = [] if out is None else [f"page: {out}"]
    return Answer(found.to_dict() | {"out": out}, "\n".join([*found.sentences, *lines, *doubts, *page]))


@command
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")] = Path("gait-demo"),
    model: Model = None,
    force: Force = False,
) -> Answer:
    """Show the main job on one page: gaits from words, a walk read back, a report, a search. Takes about a minute.

    \b
    gait demo --out demo
    """
    if out.exists() and not ((out / "index.html").is_file() and force):
        raise FileExistsError(f"{out}: is there already" + ("; --force replaces a demo" if not force else " and is no demo"))
    family, _ = find_model(model, FAMILY)
    from .demo import make_demo

    quiet()
    rows = make_demo(family, out)
    page = (out / "index.html").resolve()
    return Answer({"out": page, "walks": rows}, f"{len(rows)} walks, a report and a search: open {page}")


@command
def formats() -> Answer:
    """List the formats that walks are read from and written to."""
    from ..file_formats import FORMATS
    from ..loading import VIDEO_SUFFIXES

    rows = [{"suffixes": f.suffixes, "what": f.what, "written": f.written} for f in FORMATS]
    rows.append({"suffixes": VIDEO_SUFFIXES, "what": "videos of a walking person (extra `video`)", "written": False})
    text = "\n".join(f"{' '.join(r['suffixes']):16} {'read, written' if r['written'] else 'read':14} {r['what']}" for r in rows)
    return Answer(rows, text)


if __name__ == "__main__":
    app(prog_name="gait")
