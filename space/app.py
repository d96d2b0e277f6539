"""The Space: describe a walk and watch it in 3D; hand in a walk and read it; find walks.

    python space/app.py                           # http://127.0.0.1:7860, with gait-small
    GAIT_MODEL=USER/FAMILY python app.py          # as a Space of another family runs it

Models are folders or Hub ids: --model or GAIT_MODEL (a family; by default gait-small, which the package brings along),
--classifier or GAIT_CLASSIFIER, --knowledge or GAIT_KNOWLEDGE (the report, and reading videos), --words or GAIT_WORDS (the
search); by default the family's own.
From Python, without the page:

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860")
    about, files = client.predict("severe steppage gait, right side", 0, api_name="/generate")
    about = client.predict(handle_file("walk.csv"), 0, api_name="/describe")
"""

import argparse
import html
import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import plotly.graph_objects as go
import torch
from figures import angles_figure, waiting_figure, walk_figure
from gait_demo import SUFFIXES, GaitDemo, Generated, Reading, as_json, measured, parameter_rows, write_files, write_prompt
from gait_finder import GaitFinder
from search_tab import QUERIES, search_tab

from modeling_gait.drawing.rendering import unseen_curves
from modeling_gait.loading import VIDEO_SUFFIXES
from modeling_gait.released import NAME, find_part, named

PLAYER = Path(__file__).with_name("player.js").read_text(encoding="utf-8")
STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
EXAMPLES = (
    "severe steppage gait, right side, 0.6 m/s",
    "an old man limps slowly because his left knee hurts",
    "moderate trendelenburg gait, left side",
    "normal gait, 1.2 m/s",
)
COLUMNS = ["Parameter", "This walk", "Normal walk", "Adults", "Unit", "Meaning"]
HEAD = """<div><h1>modeling_gait</h1><span>Describe a walk and watch it in 3D. Hand one in and read it. Find walks.</span></div>
<p class="notice"><b>Research software, not a medical device.</b> What it shows are outputs of models; nothing here is
a diagnosis. Files you hand in are deleted after about an hour.</p>"""
CAN_READ = """**What can be read.** A table with a line a frame (CSV, TSV, TXT: columns such as `left_knee_x`, and `time`),
arrays (NPZ, NPY: frames, joints, 3), motion capture (BVH, C3D, TRC, MOT) or 3D keypoints (JSON, SKELETON). Metres,
centimetres and millimetres are told apart by the body's size; the walk is turned, repaired and resampled to 30 frames a
second, and what was repaired or is doubtful is said here. At most 8 MiB; of a video the first minute."""
TOO_LARGE = "It is too large for this server."
WORK = {"concurrency_id": "walks", "concurrency_limit": 2}  # of all that takes time, so many at once; the others wait in turn
WAITING = 200  # visitors
THEME = gr.themes.Base(
    primary_hue="blue", neutral_hue="slate", font=("system-ui", "sans-serif"), font_mono=("system-ui", "sans-serif")
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("MODEL", "CLASSIFIER", "KNOWLEDGE", "WORDS")
    model, classifier, knowledge, words = (os.environ.get(f"GAIT_{name}") for name in names)
    parser.add_argument("--model", default=model or NAME, help="gait-small, folder or Hub id of a family ($GAIT_MODEL)")
    parser.add_argument("--classifier", default=classifier, help="folder or Hub id of a classifier ($GAIT_CLASSIFIER)")
    parser.add_argument("--knowledge", default=knowledge, help="folder or Hub id of a knowledge model ($GAIT_KNOWLEDGE)")
    parser.add_argument("--words", default=words, help="folder or Hub id of a dual encoder ($GAIT_WORDS)")
    parser.add_argument("--port", type=int, default=None)
    options = parser.parse_args()
    family = named(options.model)
    own = lambda kind: (find_part(Path(family), (kind,)) or (None,))[0]  # noqa: E731  that a family brings along
    classifier, knowledge = options.classifier or own("gait_classifier"), options.knowledge or own("gait_knowledge")
    words = options.words or own("gait_dual_encoder")
    demo = GaitDemo(family, classifier and str(classifier), knowledge and str(knowledge))
    finder = words and GaitFinder(str(words))
    try:
        demo.warm_up()
        _ = finder and finder.by_text(QUERIES[0], "", ())
    except OSError as error:
        parser.error(f"no model family at {options.model!r}: {error}")
    torch.set_num_threads(min(2, os.cpu_count() or 1))  # one walk at a time gains nothing from more
    launch(build(demo, finder), server_port=options.port)


def launch(page: gr.Blocks, **options) -> tuple:
    """Serve the page; `options` go to Gradio."""
    return page.queue(max_size=WAITING).launch(theme=THEME, css=STYLE, max_file_size="50mb", ssr_mode=False, **options)


def build(demo: GaitDemo, finder: GaitFinder | None = None) -> gr.Blocks:
    """The page and its two named endpoints; without a finder there is no search."""
    with gr.Blocks(title="modeling_gait", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(HEAD, elem_id="head")
        with gr.Tab("Describe"):
            writing_tab(demo, page)
        with gr.Tab("Read"):
            reading_tab(demo)
        if finder:
            with gr.Tab("Find"):
                search_tab(finder, alert, PLAYER, WORK)
        endpoints(demo)
    return page


# ---------------------------------------------------------------- Describe a walk


def writing_tab(demo: GaitDemo, page: gr.Blocks) -> None:
    examples = demo.examples(EXAMPLES)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            prompt = gr.Textbox(
                examples[0], label="The walk, in your words (Enter generates)", lines=1, max_lines=4, elem_id="prompt"
            )
            with gr.Group():
                with gr.Row():
                    gaits = [(name.replace("_", " "), name) for name in demo.labels]
                    gait = gr.Dropdown(gaits, value=None, label="Gait", min_width=140)
                    side = gr.Dropdown([("any", ""), "left", "right"], value="", label="Affected side", min_width=110)
                severity = gr.Slider(0, 1, 0, step=0.05, label="Severity")
                speed = gr.Slider(0, 1.6, 0, step=0.05, label="Speed [m/s]")
                cadence = gr.Slider(0, 140, 0, step=2, label="Cadence [steps/min]")
            gr.Markdown("These write the sentence above; 0: not said.", elem_id="hint")
            with gr.Row(equal_height=True):
                seed = gr.Number(0, label="Seed (empty: any)", precision=0, minimum=0, min_width=110)
                button = gr.Button("Generate", variant="primary", elem_id="generate", min_width=140)
        with gr.Column(scale=9):
            problem = gr.HTML(visible=False, elem_id="problem")
            plot = gr.Plot(show_label=False, elem_id="walk")
            summary = gr.Markdown(elem_id="summary")
            gr.Examples([[e] for e in examples], [prompt], label="For example", elem_id="examples")
    with gr.Tab("Joint angles"):
        angles = gr.Plot(waiting_figure("The walk comes first."), show_label=False, elem_id="angles")
    with gr.Tab("Parameters"):
        table = parameter_table()
    with gr.Tab("Download"):
        gr.Markdown("The walk as a motion-capture file, as a table of joint positions in metres, and as a moving picture.")
        with gr.Row():
            files = [gr.DownloadButton(kind, elem_id=f"file-{kind.lower()}") for kind in ("BVH", "CSV", "GIF")]
    walk = gr.State()

    def show(prompt: str, seed: int | None) -> list:
        try:
            walk = demo.generate(prompt, seed)
        except (ValueError, MemoryError) as error:  # nothing of the walk before stays beside the refusal
            return [alert(error), None, None, "", None, waiting_figure("No walk."), *[gr.DownloadButton(value=None)] * 3]
        return [gr.HTML(visible=False), *shown(walk), walk, *[gr.skip()] * 4]

    def draw_angles(walk: Generated | None) -> go.Figure | dict:
        return gr.skip() if walk is None else angles_figure(walk.joints, walk.fps, walk.skeleton)

    def save(walk: Generated | None) -> list:
        return [gr.skip()] * 3 if walk is None else write_files(walk)

    def words(*settings) -> str:
        if not settings[0]:
            return gr.skip()
        try:
            return write_prompt(*settings, classes=demo.classes)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    settings = [gait, side, severity, speed, cadence]
    gr.on([s.input for s in settings], words, settings, prompt, api_visibility="private", show_progress="hidden")
    gr.on(
        [button.click, prompt.submit, page.load],
        show,
        [prompt, seed],
        [problem, plot, table, summary, walk, angles, *files],
        api_visibility="private",
        show_progress="minimal",
        **WORK,
    )
    # the rest waits until the walk is on the screen
    later = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last", **WORK}
    moving = plot.change(None, plot, None, js=PLAYER.replace("#ID", "walk"))
    moving.then(draw_angles, walk, angles, **later).then(save, walk, files, **later)


def shown(walk: Generated) -> list:
    """Plot, rows, summary of a generated walk."""
    title = f"{walk.description.pathology.replace('_', ' ')} gait"
    walks = {title: walk.joints} | ({"normal gait": walk.normal} if walk.normal is not None else {})
    parameters, normal = measured(walk)
    said = f"Understood: **{walk.description.to_prompt(exact=True)}** Seed {walk.seed}, {len(walk.joints) / walk.fps:.1f} s. "
    got = f"Measured: {parameters['speed']:.2f} m/s, {parameters['cadence']:.0f} steps/min. ".replace("nan", "not measurable")
    got += "Beside it: a normal walk of the same body. " if walk.normal is not None else ""
    figure = walk_figure(walks, walk.fps, walk.skeleton)
    return [figure, parameter_rows(parameters, normal), said + got + " ".join(f"*Note: {n}.*" for n in walk.notes)]


# ---------------------------------------------------------------- Read a walk


def reading_tab(demo: GaitDemo) -> None:
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            label, suffixes = "A walk: skeleton file or video", [*SUFFIXES, *VIDEO_SUFFIXES]
            file = gr.File(label=label, file_types=suffixes, elem_id="upload", height=170)
            fps = gr.Number(0, label="Frames a second (0: as the file says)", minimum=0, elem_id="fps")
            button = gr.Button("Read again", size="sm")
            problem = gr.HTML(visible=False, elem_id="read-problem")
            text = gr.Textbox(label="In words", lines=3, interactive=False, elem_id="text")
            by = "classifier" if demo.classifier else "from the walk's pathological codes"
            scores = gr.Label(label=f"Class probabilities ({by})", num_top_classes=4, elem_id="scores")
        with gr.Column(scale=9):
            plot = gr.Plot(show_label=False, elem_id="read-walk")
            film = gr.Video(label="The video, and the skeleton found in it", visible=False, elem_id="film", height=360)
            notes = gr.Markdown(CAN_READ, elem_id="notes")
    with gr.Tab("Joint angles"):
        angles = gr.Plot(show_label=False, elem_id="read-angles")
    with gr.Tab("Parameters"):
        table = parameter_table()
    outputs = [problem, text, scores, plot, angles, table, notes, film]
    if demo.knowledge:
        with gr.Tab("Report"):
            outputs += [gr.HTML(elem_id="report"), gr.DownloadButton("Download the report")]

    def show(path: str | None, fps: float) -> list:
        empty = [None] * 5 + [CAN_READ, gr.Video(value=None, visible=False)] + [None] * (len(outputs) - 8)
        if path is None:
            return [gr.HTML(visible=False), *empty]
        try:
            reading = demo.read(path, fps)
        except (ValueError, MemoryError) as error:
            return [alert(error), *empty]
        return [gr.HTML(visible=False), *read(reading)][: len(outputs)]

    # always_last: a file handed in while the last one is still being read (or cleared) is read after it, not dropped
    options = {"api_visibility": "private", "show_progress": "minimal", "trigger_mode": "always_last", **WORK}
    gr.on([file.upload, file.clear, button.click], show, [file, fps], outputs, **options)
    plot.change(None, plot, None, js=PLAYER.replace("#ID", "read-walk"))


def read(reading: Reading) -> list:
    """Text, probabilities, plot, joint angles, rows, notes, film, report as HTML, report as a file."""
    figures = [None, None]
    if reading.joints is not None:
        about = reading.fps, reading.skeleton
        unseen = unseen_curves(reading.parameters)
        figures = [walk_figure({reading.name: reading.joints}, *about), angles_figure(reading.joints, *about, unseen)]
    said = reading.notes or ["nothing"]
    notes = "**Repaired, assumed or doubtful**\n\n" + "\n".join(f"- {html.escape(note)}" for note in said)
    page = ""
    if reading.report:
        page = f'<iframe srcdoc="{html.escape(reading.report.read_text(encoding="utf-8"))}" sandbox></iframe>'
    rows = parameter_rows(reading.parameters)
    report = str(reading.report) if reading.report else None
    film = gr.Video(value=str(reading.film) if reading.film else None, visible=reading.film is not None)
    return [reading.text or "(no words)", reading.probabilities, *figures, rows, notes, film, page, report]


# ---------------------------------------------------------------- shared


def parameter_table() -> gr.Dataframe:
    widths = ["20%", "9%", "10%", "12%", "8%", "41%"]
    return gr.Dataframe(headers=COLUMNS, interactive=False, max_height=330, column_widths=widths, wrap=True, buttons=["copy"])


def alert(error: ValueError | MemoryError) -> gr.HTML:
    text = html.escape(str(error)) or TOO_LARGE
    return gr.HTML(f'<div role="alert"><b>That did not work.</b> {text}</div>', visible=True)


def endpoints(demo: GaitDemo) -> None:
    """/generate: prompt, seed -> numbers, files. /describe: file, frames a second (0: as the file says) -> words, numbers."""

    def generate(prompt: str, seed: int | None) -> tuple[dict, list[str]]:
        try:
            walk = demo.generate(prompt, seed)
        except (ValueError, MemoryError) as error:
            raise gr.Error(str(error) or TOO_LARGE, print_exception=False) from error
        about = {
            "prompt": walk.prompt,
            "understood": walk.description.to_prompt(exact=True),
            "seed": walk.seed,
            "fps": walk.fps,
        }
        about |= {"frames": len(walk.joints), "skeleton": walk.skeleton.name, "notes": walk.notes}
        return about | {"gait_parameters": as_json(measured(walk)[0])}, write_files(walk)

    def describe(file: str, fps: float) -> dict:
        if file is None:
            raise gr.Error("no file given", print_exception=False)
        try:
            reading = demo.read(file, fps)
        except (ValueError, MemoryError) as error:
            raise gr.Error(str(error) or TOO_LARGE, print_exception=False) from error
        about = {"text": reading.text, "class_probabilities": reading.probabilities, "notes": reading.notes}
        return about | {"gait_parameters": as_json(reading.parameters)}

    with gr.Row(visible=False):
        prompt, seed, about, files = gr.Textbox(label="prompt"), gr.Number(0, label="seed", precision=0), gr.JSON(), gr.Files()
        file, fps = gr.File(label="file"), gr.Number(0, label="fps")
        gr.Button().click(generate, [prompt, seed], [about, files], api_name="generate", **WORK)
        gr.Button().click(describe, [file, fps], about, api_name="describe", **WORK)


if __name__ == "__main__":
    main()
