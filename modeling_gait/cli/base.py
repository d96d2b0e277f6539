"""What a command of `gait` is made of: the app, options that commands share, the answer and its printing, walks of files.

In: what was typed. Out: on stdout an answer's text or JSON, on stderr messages; the exit code (see main.py).
"""

import contextlib
import functools
import inspect
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .io import plain

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
Fps = Annotated[float | None, typer.Option(help="Frames a second, where a file states none or a film is in slow motion.")]
Up = Annotated[str, typer.Option(help="Vertical axis of the files: auto, y, -y, z, -z.")]
Height = Annotated[float | None, typer.Option(help="Stature [m] of the person in a video; else 1.70 is assumed, and said.")]
Person = Annotated[int | None, typer.Option(help="Who in a video, from the left; default: who walks farthest.")]
Files = Annotated[list[Path], typer.Argument(help="Any of `gait formats`: files, videos, Parquet.", metavar="FILE...")]
READING = {"fps": (Fps, None), "up": (Up, "auto"), "height": (Height, None), "person": (Person, None)}
KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass
class Answer:
    """What a command hands to be printed: `data` as JSON or `text`; `failed` inputs make the exit code 1."""

    data: dict | list
    text: str
    failed: int = 0


def command(function: Callable[..., Answer]) -> Callable:
    """Make a command of a function that returns an `Answer`: --json, --debug, messages and exit codes. A parameter `reading`
    stands for the options of `READING`, as a dict."""
    given = inspect.signature(function).parameters

    @functools.wraps(function)
    def run(*, as_json: bool, debug: bool, **arguments) -> None:
        if "reading" in given:
            arguments["reading"] = {name: arguments.pop(name) for name in READING}
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

    options = {name: p.replace(kind=p.KEYWORD_ONLY) for name, p in given.items()}
    if options.pop("reading", None):
        options |= {n: inspect.Parameter(n, KEYWORD, default=d, annotation=a) for n, (a, d) in READING.items()}
    options |= {n: inspect.Parameter(n, KEYWORD, default=False, annotation=a) for n, a in (("as_json", Json), ("debug", Debug))}
    run.__signature__ = inspect.Signature(list(options.values()))
    run.__annotations__ = {name: p.annotation for name, p in options.items()}
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
    """`function(recording)` -> dict, for each walk of the files, and what was repaired and doubted in it, `doubts` of the dict
    after those of the recording. What fails gets a message and a row with `error`."""
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
                doubts = list(dict.fromkeys([*walk.doubts, *row.get("doubts", ())]))
                told = {"doubts": doubts, "repaired": walk.repairs, "repairs": repair_sentences(walk.repairs)}
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


def number(value: float | None, unit: str = "", sd: float | None = None) -> str:
    """A measured number in four digits, or with its error to two digits of that; a dash for nan."""
    if value is None or value != value:
        return "-"
    unit, digits = "" if unit == "1" else f" {unit}".rstrip(), max(0, 1 - math.floor(math.log10(sd))) if sd else 0
    return f"{value:.{digits}f}{unit} ± {sd:.{digits}f}" if sd else f"{value:.4g}{unit}"


def beside(row: dict) -> str:
    """A row of `Recording.beside_the_file`: `left cadence 110.5 steps/min, measured 111 steps/min`."""

    def one(value: float | list | None, unit: str) -> str:
        return f"{', '.join(f'{v:.2f}' for v in value)} {unit}" if isinstance(value, list) else number(value, unit)

    return f"{row['name']} {one(row['stated'], row['unit'])}, measured {one(row['measured'], row['measured_unit'])}"


def ranked(scores: dict[str, float], most: int = 3) -> str:
    """The likeliest classes: `steppage 0.93, antalgic 0.04`."""
    best = sorted(scores.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} {score:.2f}" for name, score in best)
