"""The command line `gait`: walks from words, words and numbers from walks, conversion, search, personalisation.

    gait --help; gait generate --help; gait --install-completion

In: words, skeleton files, folders or Hub ids of models. Out: files, and on stdout text or, with --json, one JSON document;
messages and progress bars go to stderr. Exit codes: 0 done; 1 bad input or failed, with a line `gait: error: ...` for each
input that failed; 2 wrong usage. An existing file is replaced only with --force: a sampled walk does not come back.
Models and torch are imported within the commands, so that --help and completion are fast.
"""

import os
import secrets
import warnings
from pathlib import Path
from typing import Annotated

import typer

from ..released import NAME
from .base import (
    Answer,
    Files,
    Force,
    Fps,
    Height,
    Model,
    Person,
    app,
    beside,
    command,
    each_walk,
    number,
    progress,
    ranked,
    say,
    written,
)  # fmt: skip
from .io import (
    CLASSIFIER,
    FAMILY,
    KNOWLEDGE,
    TCN,
    WALK_SUFFIXES,
    WHOLE_BODIES,
    find_model,
    output_files,
    quiet,
    read_cycles,
    read_group,
    refuse_existing,
    whole_files,
    write_parquet,
)

# times as far as people are apart: the activity read is doubted, all is, it is refused (`GaitTCNModel.strangeness`)
UNSURE, STRANGE, STRANGEST = 1.5, 3.0, 20.0


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"gait {installed('modeling_gait')}")
        raise typer.Exit


@command
def generate(
    prompt: Annotated[str, typer.Argument(help="The walk in words: class, side, severity, speed, cadence.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="FILE.gif, .mp4, .csv, .npz, .npy, .bvh, .trc, .c3d or .parquet.")
    ] = Path("walk.gif"),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Walks to sample.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Makes the walks repeatable. Default: a random one, which is shown."),
    ] = None,
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

    from .. import save_walk

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
                save_walk(path, walk["joints"], walk["fps"], walk["skeleton"])
    understood = walks[0]["description"].to_prompt(exact=True)
    data = {"files": files, "count": count, "prompt": prompt, "understood": understood, "seed": seed, "model": named}
    data |= {"unused": walks[0]["unused"], "measured": [w["measured"] for w in walks], "missed": [w["missed"] for w in walks]}
    shown = str(files[0]) if len(files) == 1 else f"{files[0]} ... {files[-1]}"
    text = f"{count} walk{'s' if count > 1 else ''} in {shown}\nunderstood: {understood}\nseed: {seed}"
    text += f"\nnot used: {', '.join(walks[0]['unused'])}" if walks[0]["unused"] else ""
    for i, walk in enumerate(walks[:10], 1):
        found = walk["measured"]
        speed, cadence = number(found["speed"], "m/s"), number(found["cadence"], "steps/min")
        said = " ".join(filter(None, (found["side"], found["pathology"])))
        graded = walk["description"].severity is not None and found["severity"] is not None
        severity = f", severity {found['severity']:.2f} by its clinical sign" if graded else ""
        text += f"\nmeasured{f' {i}' if count > 1 else ''}: {said}, {speed}, {cadence}{severity}"
        text += "".join(f"\nmissed: {m}" for m in walk["missed"])
    return Answer(
        data | {"num_frames": frames, "fps": walks[0]["fps"], "temperature": temperature, "candidates": candidates}, text
    )


@command
def describe(files: Files, reading: dict, model: Model = None) -> Answer:
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
        return {k: result[k] for k in ("text", "pathology", "class_probabilities", "gait_parameters", "problems", "doubts")}

    def lines(row: dict) -> list[str]:
        measured = row["gait_parameters"]
        speed, cadence = number(measured["speed"], "m/s"), number(measured["cadence"], "steps/min")
        problems = [f"contradicted: {p}" for p in row["problems"]]
        return [row["text"], f"classes: {ranked(row['class_probabilities'])}", f"measured: {speed}, {cadence}", *problems]

    rows, failed = each_walk(files, "descriptions", one, **reading)
    return Answer(rows, written(rows, lines), failed)


@command
def parameters(files: Files, reading: dict) -> Answer:
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
        ours = [f"{p.name:34}{number(values[p.name], p.unit, sd.get(p.name))}" for p in known]
        return ours + [f"the file states {beside(r)}" for r in row["stated_by_file"]]

    known = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)
    rows, failed = each_walk(files, "walks", one, **reading)
    return Answer(rows, written(rows, lines), failed)


@command
def classify(files: Files, reading: dict, model: Model = None) -> Answer:
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
        if kind == CLASSIFIER:
            with warnings.catch_warnings(record=True) as told:  # scores are all that this pipeline returns
                warnings.simplefilter("always", UserWarning)
                scores = {r["label"]: r["score"] for r in pipe(walk)}
            doubts = [str(w.message).removeprefix(f"{walk.name}: ") for w in told]
        else:
            found = pipe(walk)
            scores, doubts = found["class_probabilities"], found["doubts"]
        best = max(scores, key=scores.get)
        return {"label": best, "score": scores[best], "scores": scores, "doubts": doubts}

    rows, failed = each_walk(files, "classes", one, **reading)
    return Answer(rows, written(rows, lambda row: [ranked(row["scores"])]), failed)


@command
def report(
    file: Annotated[Path, typer.Argument(help="Any of `gait formats`: a file or a video.")],
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

    It needs no network to be read. With `--model none` it holds what is measured and nothing that a model says.

    \b
    gait report clip.mp4 --out report.html --height 1.65 --model none
    gait report walk.csv --age 70 --sex female --model outputs/knowledge
    """
    output_files(out, 1, (".html",), force)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    from ..gait_norms import normative_range

    normative_range("speed", age, sex)  # a wrong age is refused before the work
    if model == "none":
        from ..drawing.report_html import write_report
        from ..gait_report import measured_report
        from ..recording import read_recording

        result = measured_report(read_recording(file, fps, height=height, person=person), age, sex)
        write_report(result, out)
        return report_answer(result, file, out)
    folder, _ = find_model(model, KNOWLEDGE)
    from transformers import pipeline

    from .. import pipeline_gait_report  # noqa: F401  registers the pipeline

    quiet()
    pipe = pipeline("gait-report", model=str(folder))
    with whole_files([out]) as paths:
        result = pipe(str(file), html=str(paths[0]), fps=fps, age=age, sex=sex, height=height, person=person)
    return report_answer(result, file, out)


def report_answer(result, file: Path, out: Path) -> Answer:
    names = ("name", "class_probabilities", "severity", "severity_scale", "parameters", "sentence", "evidence", "problems")
    names += ("stated",)
    problems = [f"problem: {p}" for p in result.problems]
    said = ranked(result.class_probabilities) if result.class_probabilities else "no model was asked"
    lines = [f"report of {file} in {out}", f"classes: {said}", result.sentence, *problems]
    return Answer({"file": file, "out": out, **{n: getattr(result, n) for n in names}}, "\n".join(lines))


@command
def personalize(
    files: Annotated[list[Path], typer.Argument(help="Walks or gait cycles of one person.", metavar="FILE...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the adapter.")],
    steps: Annotated[int | None, typer.Option(min=0, help="Gradient steps. Default: the model's.")] = None,
    activity: Annotated[str | None, typer.Option(help="What is done in them. Default: the likeliest.")] = None,
    *,
    reading: dict,
    model: Model = None,
    force: Force = False,
) -> Answer:
    """Adapt a network for gait cycles (GaitTCNModel) to a person, and save what changed.

    Files: walks of any kind that is read, videos too, for a model of skeletons. NPZ or NPY for any model: `values`, cycles
    (K, phases, channels) with optional `channel_mask`; or samples (T, 36) of six leg sensors as in HuGaDB, with `fps`.

    \b
    gait personalize walk_1.csv walk_2.csv --out p01
    gait personalize cycles.npz --out p01 --model outputs/maml --json
    """
    from ..comparison import other_bodies
    from ..files import atomic_folder
    from ..modeling_gait_tcn import ADAPTER_CONFIG, GaitTCNModel
    from ..skeletons import SKELETONS
    from ..walk_checks import leg_length

    refuse_existing(out, force)
    if out.exists() and not (out / ADAPTER_CONFIG).is_file():
        raise FileExistsError(f"{out}: is there and is no adapter; it is not replaced")
    folder, _ = find_model(model, TCN)
    import numpy as np
    import torch

    quiet()
    base = GaitTCNModel.from_pretrained(folder).eval()
    parts = [read_cycles(file, base.config, **reading) for file in progress(files, "files")]
    values, mask = (torch.from_numpy(np.concatenate(p)) for p in list(zip(*parts))[:2])
    doubts = [f"{file}: {doubt}" for file, part in zip(files, parts) for doubt in part[2]]
    if skeleton := next((s for s in SKELETONS.values() if 3 * len(s) == base.config.num_channels), None):
        doubts += other_bodies([leg_length(part[0].reshape(-1, len(skeleton), 3), skeleton) for part in parts])
    try:
        strange = base.strangeness(values, channel_mask=mask, activity=activity)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, files))}: {error}") from error
    far = f"these cycles are {strange:.1f} times as far from the people whom the model knows as people are from each other"
    if strange > STRANGEST:
        raise ValueError(f"{', '.join(map(str, files))}: {far}; other units, axes or order of channels?")
    doubts += [far] if strange > STRANGE else []
    unsure = activity is None and len(base.config.activities) > 0 and strange > UNSURE
    if unsure:
        doubts.insert(0, f"cycles so strange ({strange:.1f}) are mostly misread; --activity names what is done")
    own = base.personalize(values, channel_mask=mask, activity=activity, steps=steps)
    known, seen = own.interval(), mask.any(0)
    sure = {"doubt": known["doubt"][:, seen], "spread": (known["high"] - known["low"])[:, seen] / 2}
    sure = {name: float(x.square().mean().sqrt()) for name, x in sure.items()}
    named = model or os.environ.get("GAIT_MODEL") or NAME
    if named == NAME or Path(named).is_dir():
        named = str(folder)  # where in a family the network is
    with atomic_folder(out) as temporary:
        own.save_adapter(temporary, base_model=named)
    size = sum(f.stat().st_size for f in out.iterdir())
    data = {"adapter": out, "base_model": named, "cycles": len(values), "steps": own.adapter["steps"], "bytes": size, **sure}
    data["cycles_of_files"] = {str(file): len(part[0]) for file, part in zip(files, parts)}
    data |= {"activity": [*own.config.activities, "any"][int(own.activity)], "strangeness": strange, "doubts": doubts}
    unit = "m" if base.config.num_channels != 36 else "m/s^2 or rad/s"
    said = "" if activity else "perhaps " if unsure else "read as "
    text = f"{len(values)} gait cycles of {len(files)} file(s), {said}{data['activity']}; "
    text += f"adapter of {size / 1e3:.0f} kB in {out}\n"
    text += f"the expected cycle is sure to {sure['doubt']:.3g} {unit} (1 SD); nine of ten samples of a further one lie within "
    text += f"{sure['spread']:.3g} {unit} of it"
    text += "".join(f"\ndoubt: {doubt}" for doubt in doubts)
    return Answer(data, f"{text}\nin Python: GaitTCNModel.from_pretrained({str(out)!r}).generate(20)")


@command
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any of `gait formats`; or Parquet in the walk schema.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="CSV, NPZ, BVH, TRC, C3D, NPY (HumanML3D), GIF or MP4.")],
    repair: Annotated[bool, typer.Option("--clean", help="Repair gaps, spikes and the clock first.")] = False,
    *,
    reading: dict,
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

    walks = [as_walk(thing, **reading) for thing in each_thing(source)]
    for walk, name in walks:
        for note in walk.notes:
            say("warning", f"{name}: {note}")
    files = output_files(out, len(walks), WALK_SUFFIXES, force)
    import numpy as np

    from ..cleaning import clean_walk
    from ..exchanged_joints import exchanged_frames
    from ..export import save_walk, written_frames
    from ..loading import uneven_clock
    from ..skeletons import convert_joints

    def clean(walk, name: str):
        times = np.arange(len(walk.joints)) / walk.fps if walk.times is None else walk.times
        try:
            joints = walk.joints if walk.accuracy else exchanged_frames(walk.joints, walk.skeleton)[0]
            joints, report = clean_walk(times, joints, walk.fps, walk.skeleton)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return joints, report.to_dict()

    rows = []
    with whole_files(files) as paths:
        for path, (walk, name) in progress(zip(paths, walks), "files"):
            joints, done = walk.joints, None
            if repair or walk.poses is not None:  # a film always has gaps
                joints, done = clean(walk, name)
            elif uneven := uneven_clock(walk):
                raise ValueError(f"{name}: {uneven}; --clean puts its frames at even times")
            never = [n for n, lost in zip(walk.skeleton.joint_names, np.isnan(joints).all((0, 2))) if lost]
            if never and path.suffix.lower() in WHOLE_BODIES:
                joints = convert_joints(joints, walk.skeleton, walk.skeleton)
                say("warning", f"{name}: not measured, and put where a body at rest has them: {', '.join(never)}")
            try:
                save_walk(path, joints, walk.fps, walk.skeleton)
            except ValueError as error:
                hint = "" if repair else "; --clean repairs gaps"
                raise ValueError(f"{name}: {error}{hint}") from error
            count, fps = written_frames(path, len(joints), walk.fps)
            about = {"file": name, "out": files[len(rows)], "frames": count, "fps": fps, "skeleton": walk.skeleton.name}
            rows.append(about | {"repaired": done, "doubts": list(walk.notes)})
    return Answer(rows, written(rows, lambda r: [f"-> {r['out']} ({r['frames']} frames, {r['fps']:g} a second)"]))


@command
def compare(
    before: Annotated[Path, typer.Argument(help="A file, a video, or a folder of walks of one person.")],
    after: Annotated[Path | None, typer.Argument(help="The same later.")] = None,
    sides: Annotated[bool, typer.Option("--sides", help="Left against right of BEFORE.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A page with the curves: FILE.html")] = None,
    *,
    reading: dict,
    force: Force = False,
) -> Answer:
    """What changed between two walks, beside the change that measurement and chance alone would give.

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
    groups = [read_group(place, **reading) for place in ([before] if sides else [before, after])]
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
def formats() -> Answer:
    """List the formats that walks are read from and written to."""
    from ..file_formats import FORMATS
    from ..loading import VIDEO_SUFFIXES

    known = [(f.suffixes, f.what) for f in FORMATS] + [(VIDEO_SUFFIXES, "videos of a walking person (extra `video`)")]
    rows = [{"suffixes": s, "what": what, "written": [x for x in s if x in WALK_SUFFIXES]} for s, what in known]
    lines = [f"{' '.join(r['suffixes']):16} {r['what']}" for r in rows]
    text = "\n".join([*lines, f"\nwritten: {' '.join(WALK_SUFFIXES)} (.gif and .mp4 as moving skeletons)"])
    return Answer(rows, text)


from . import demo, search  # noqa: E402, F401  their commands, listed last

if __name__ == "__main__":
    app(prog_name="gait")
