"""The main job on one page: gaits from words, one person with three gaits, a walk read back, a report, a search.

In: a family that holds a dual encoder and a knowledge model too, as `released` describes it. Out: a folder of pictures, walks
(CSV, BVH), a report, and index.html, which shows them all and needs no network.
"""

from pathlib import Path
from typing import Annotated

import typer

from ..files import atomic_folder, atomic_path
from .base import Answer, Force, Model, command
from .io import FAMILY, find_model, quiet

QUERY = "the right foot drags, the right knee is lifted high, slower than 1 m/s"
READ, MILD = "steppage", 0.2
PERSON = ("normal gait, 1.0 m/s", "severe steppage gait, right side, 0.7 m/s", "severe stiff-legged gait, left side, 0.7 m/s")


def make_demo(family: Path, out: Path, seed: int = 0) -> list[dict]:
    """Fill `out` (whole, or as it was) and return the rows of its table."""
    from datasets import Dataset
    from tqdm import tqdm
    from transformers import pipeline

    from ..captions import read_prompt
    from ..drawing.pages import fill_page
    from ..drawing.rendering import render_animation
    from ..gait_search import GaitSearch
    from ..modeling_gait_dual_encoder import GaitDualEncoderModel
    from ..skeletons import SKELETONS
    from ..training.showing import ShowArguments, default_prompts, describe, make_walks, title, unique_names, write_pictures
    from ..walk_vectors import encode_files

    bar = tqdm(total=6, desc="demo", bar_format="{desc}: {n}/{total} {postfix} [{elapsed}]")

    def step(what: str) -> None:
        bar.set_postfix_str(what)
        bar.update()

    with atomic_folder(out) as folder:
        step("severe gaits from words")
        arguments = ShowArguments(model=str(family), seed=seed)
        severe, rows = make_walks(arguments)
        write, read = pipeline("text-to-gait", model=str(family)), pipeline("gait-to-text", model=str(family))
        step("mild ones")
        classes = read.extractor.classes
        ungraded = {c.name for c in classes.classes if not c.graded}
        prompts = default_prompts(classes, None, MILD)
        options = {"seed": seed, "candidates": 8, "temperature": 0.7}
        mild = write(prompts, **options)
        step("one person, three gaits")
        person = write(list(PERSON), person=severe[0], **options)
        fps, skeleton = severe[0]["fps"], SKELETONS[severe[0]["skeleton"]]
        step("pictures")
        for name, walks in (("severe", severe), ("mild", mild)):
            write_pictures(walks, unique_names(walks), folder / name)
        titles = [title(w["description"].pathology, w["description"]) for w in person]
        render_animation([w["joints"] for w in person], folder / "person.gif", fps, skeleton, titles, size=(300, 300))
        file = folder / "severe" / "walks" / f"{READ}.csv"
        step("a report and a search")
        report = pipeline("gait-report", model=str(family / "knowledge"))(str(file), html=folder / "report.html")
        encoder = GaitDualEncoderModel.from_pretrained(family / "text").eval()
        files = sorted(folder.glob("*/walks/*.csv"))
        names = [("" if f.stem in ungraded else f"{f.parts[-3]} ") + f.stem.replace("_", " ") for f in files]
        tables = encode_files(encoder, files, None, progress=False)[0]  # what is measured too
        found = GaitSearch(encoder, Dataset.from_dict({"name": names}), *tables).by_text(QUERY, 3)
        step("index.html")
        rows += [describe(w, read(w), n) for w, n in zip(mild, unique_names(mild))]
        read_back = rows[[r.name for r in rows].index(READ)]
        shown = {
            "rows": rows,
            "severe": len(severe),
            "ungraded": ungraded,
            "said": read_back,
            "report": report,
            "disagreement": report.disagreement(read_prompt(read_back.described, classes).pathology),
            "found": found,
            "query": QUERY,
        }
        with atomic_path(folder / "index.html") as temporary:
            temporary.write_text(fill_page("demo", **shown, person=PERSON), encoding="utf-8")
    bar.close()
    return [vars(r) for r in rows]


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
    quiet()
    rows = make_demo(family, out)
    page = (out / "index.html").resolve()
    return Answer({"out": page, "walks": rows}, f"{len(rows)} walks, a report and a search: open {page}")
