"""The tab "Find": words and numbers, or a walk, to walks, each with its score and why, and the one picked in 3D.

A visitor's own walks are in a `gr.State`: Gradio keeps one for each visit, so nobody finds another's.
"""

import html
import warnings
from collections.abc import Callable

import gradio as gr
from figures import walk_figure
from gait_demo import SUFFIXES
from gait_finder import PEOPLE, WALKS, GaitFinder, Hit, OwnWalk

from modeling_gait.loading import VIDEO_SUFFIXES

QUERIES = (
    "steppage gait, right side, slower than 1.1 m/s",
    "normal gait, at least 110 steps/min",
    "no limp, short steps",
    "the trunk leans to the left side, faster than 1 m/s",
)
ABOUT = f"""{WALKS} simulated walks of {PEOPLE} people, and those that you hand in, which nobody else finds. Numbers, sides and
classes are compared with what was measured, other words by the model; the score, 0 to 1, says how well all of it fits."""
PERSON = {"its gait": "gait", "its person (bones)": "person", "both": "both"}


def search_tab(finder: GaitFinder, alert: Callable, player: str, work: dict) -> None:
    """`alert` shows an error, `player` plays #found, `work` goes to what takes time."""
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            query = gr.Textbox(QUERIES[0], label="What you look for (Enter finds it)", elem_id="query")
            example = 'speed<0.9 person="person 3"'
            where = gr.Textbox(label="Only walks that pass (empty: all)", placeholder=example, elem_id="where")
            button = gr.Button("Find", variant="primary", elem_id="find")
            gr.Examples([[q] for q in QUERIES], [query], label="For example")
            with gr.Group():
                suffixes = [*SUFFIXES, *VIDEO_SUFFIXES]
                file = gr.File(label="Or a walk of yours", file_types=suffixes, height=130, elem_id="own-file")
                fps = gr.Number(0, label="Frames a second (0: as the file says)", minimum=0)
                by = gr.Radio(list(PERSON.items()), value="gait", label="Find walks like", elem_id="by")
            alike = gr.Button("Find walks like mine", elem_id="alike")
        with gr.Column(scale=8):
            problem = gr.HTML(visible=False, elem_id="search-problem")
            notes = gr.Markdown(ABOUT, elem_id="search-notes")
            pick = gr.Radio([], label="Found, best first: pick one to see it", elem_id="hits", visible=False)
            why = gr.HTML(elem_id="why")
            plot = gr.Plot(show_label=False, elem_id="found")
    own, hits = gr.State(()), gr.State([])
    outputs = [problem, notes, pick, why, plot, hits]

    def refused(error: Exception) -> list:
        return [alert(error), ABOUT, gr.Radio(choices=[], visible=False), "", None, []]

    def told(found: list[Hit], text: str) -> list:
        names = [(f"{hit.score:.2f}  {hit.name}", n) for n, hit in enumerate(found)]
        return [gr.HTML(visible=False), text, gr.Radio(names, value=0, visible=True), *show(found, 0), found]

    def show(found: list[Hit], place: int | None) -> list:
        if place is None or not found:
            return ["", None]
        hit = found[place]
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in hit.why)
        about = f"<b>{html.escape(hit.name)}</b>, score {hit.score:.2f}, because<ul>{reasons}</ul>"
        return [about, walk_figure({hit.name: hit.joints}, finder.fps, finder.skeleton)]

    def find(query: str, where: str, own: tuple[OwnWalk, ...]) -> list:
        try:
            with warnings.catch_warnings(record=True, action="always", category=UserWarning) as doubts:
                found = finder.by_text(query, where, own)
            return told(found, ABOUT + "".join(f"\n- {html.escape(str(d.message))}" for d in doubts))
        except ValueError as error:
            return refused(error)

    def like(by: str, where: str, own: tuple[OwnWalk, ...]) -> list:
        try:
            found = finder.by_walk(own[-1].name if own else "", by, where, own)
        except ValueError as error:
            return refused(error)
        said = "".join(f"\n- {html.escape(note)}" for note in own[-1].notes)
        return told(found, f"Walks like **{html.escape(own[-1].name)}**. Repaired, assumed or doubtful:{said or ' nothing'}.")

    def hand_in(path: str | None, fps: float, by: str, where: str, own: tuple[OwnWalk, ...]) -> list:
        if path is None:
            return [gr.skip()] * (len(outputs) + 1)
        try:
            own = finder.read(path, fps, own)
        except (ValueError, MemoryError) as error:
            return [*refused(error), own]
        return [*like(by, where, own), own]

    options = {"api_visibility": "private", "show_progress": "minimal", "trigger_mode": "always_last", **work}
    gr.on([button.click, query.submit, where.submit], find, [query, where, own], outputs, **options)
    gr.on([alike.click, by.input], like, [by, where, own], outputs, **options)
    file.upload(hand_in, [file, fps, by, where, own], [*outputs, own], **options)
    pick.input(show, [hits, pick], [why, plot], api_visibility="private", show_progress="hidden")
    plot.change(None, plot, None, js=player.replace("#ID", "found"))


__all__ = ["search_tab"]
