"""`gait search`: walks by words and numbers, or by another walk, in a folder, with an index that is kept."""

from pathlib import Path
from typing import Annotated

import typer

from .base import Answer, Fps, Model, command, number
from .io import TEXT, find_model, quiet


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
    from datasets import disable_progress_bars

    from ..gait_search import GaitSearch
    from ..modeling_gait_dual_encoder import GaitDualEncoderModel

    quiet()
    disable_progress_bars()
    walks = GaitSearch.open(GaitDualEncoderModel.from_pretrained(place).eval(), folder, index, fps=fps)
    found = walks.by_walk(query, count, fps, by=by, where=where) if walk else walks.by_text(query, count, where)
    rows = [{"file": str(folder), **row} for row in found]
    lines = []
    for row in rows:
        lines.append(f"{row['score']:.3f}  {row.get('walk_id', row['file'])}")
        for why in row["why"]:
            value = why["found"] if not isinstance(why["found"], float) else number(why["found"])
            told = f", found {value}" if value is not None else ""
            lines.append(f"    {why['fit']:.2f}  {why['words']}: {why['asked']}{told}")
        lines += [f"    doubt: {doubt}" for doubt in row.get("doubts", ())]
    return Answer(rows, "\n".join(lines))
