"""A gait report as one HTML page that needs nothing else: figures are part of the file, all text is escaped.

In: a `GaitReport` (of gait_report.py, which shows itself by this page and so is not imported here). Out: an .html file. The
page says on its face that it is no diagnosis.
"""

import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from ..files import atomic_path
from ..numeric_text import display_name, number
from .overlay import plot_overlay
from .pages import embedded, fill_page
from .rendering import SIDE_COLOURS, plot_joint_angles, plot_pose_strip, unseen_curves
from .saliency import plot_saliency, plot_video_saliency

DISCLAIMER = "Research software. Not a medical device, not a diagnosis."

_ORIGINS = {
    "measured": "Measured from the skeleton",
    "model": "Estimated by the model from the video",
    "both": "Measured from the skeleton; ~ estimated by the model from the video",
}

_TABLE_WORDS = {
    "foot_height": "foot height in swing",
    "single_support_percent": "single support",
    "double_support_percent": "double support",
    "foot_progression_angle": "toe-out angle",
    "trunk_lean_sagittal": "trunk lean, forward",
    "trunk_lean_range_frontal": "trunk range, sideways",
    "trunk_lean_range_sagittal": "trunk range, forward",
}


def report_page(report) -> str:
    """The page as HTML. A figure that cannot be drawn is left out and named among the problems of the page."""
    problems = list(report.problems)
    origins = {p.origin for p in report.parameters if np.isfinite(p.value)}
    origin = _ORIGINS[origins.pop() if len(origins) == 1 else "both"]
    return fill_page(
        "report",
        report=report,
        figures=_figures(report, problems),
        problems=problems,
        rows=_rows(report.parameters),
        origin=origin,
        mixed=origin == _ORIGINS["both"],
        sources=sorted({p.source for p in report.parameters if p.source}),
        people=next((p.people for p in report.parameters if p.people), "healthy adults"),
        title=display_name(report.label) if report.label else "",
        classes=_classes(report),
        outside=_outside(report.parameters),
        evidence=_grouped(report.evidence),
        colours=SIDE_COLOURS,
        disclaimer=DISCLAIMER,
        shown=_shown,
        today=date.today().isoformat(),
        sentence=report.sentence[:1].upper() + report.sentence[1:],
    )


def write_report(report, path: str | Path) -> None:
    """Write the page of `report_page`. Raises ValueError for a path that does not end in .html or .htm."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: expected a path that ends in .html")
    page = report_page(report)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _figures(report, problems: list[str]) -> dict[str, str]:
    """Name -> data URL of a PNG."""
    walk, found, drawn = report.walk, report.saliency, {}
    if report.poses is not None:
        drawn["film"] = lambda path: plot_overlay(report.poses, path)
    if walk is not None:
        drawn["poses"] = lambda path: plot_pose_strip(walk.joints, path, walk.fps, walk.skeleton, frames=12)
        this, unseen = {"this walk": (walk.joints, walk.fps)}, unseen_curves({p.name: p.value for p in report.parameters})
        drawn["angles"] = lambda path: plot_joint_angles(this, path, walk.skeleton, unseen=unseen)
        if found is not None and found.joints is not None:
            drawn["saliency"] = lambda path: plot_saliency(
                path, found.frames[0], found.joints[0], walk.joints, walk.fps, walk.skeleton
            )
    if report.video is not None and found is not None and found.pixels is not None:
        drawn["video"] = lambda path: plot_video_saliency(path, found.pixels[0], report.video, report.video_fps)
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in drawn.items():
            path = Path(folder) / f"{name}.png"
            try:
                draw(path)
            except (ValueError, OSError) as error:  # such as no complete gait cycle, a film that is no longer there
                problems.append(f"no figure of the {name}: {error}")
            else:
                out[name] = "data:image/png;base64," + embedded(path)
    return out


def _rows(parameters: list) -> list[dict]:
    """Table rows: left, right and difference of a quantity side by side, each with its place on a bar around the norm."""
    rows: dict[str, dict] = {}
    for p in parameters:
        stem, _, side = p.name.rpartition("_")
        if side not in ("left", "right", "difference"):
            stem, side = p.name, "both"
        row = rows.setdefault(
            stem,
            {"name": _TABLE_WORDS.get(stem, stem.replace("_", " ")), "unit": p.unit, "cells": {}, "norm": None, "marks": []},
        )
        row["cells"][side] = {
            "text": number(p.value, p.unit),
            "in_range": p.in_range,
            "note": p.description,
            "origin": p.origin,
            "sd": number(p.sd, p.unit) if p.sd is not None and np.isfinite(p.value) else "",
        }
        if p.low is None:
            continue
        row["norm"] = {"low": number(p.low, p.unit), "high": number(p.high, p.unit), "note": f"{p.people}; {p.source}"}
        if np.isfinite(p.value):
            row["cells"][side]["arrow"] = "" if p.in_range else "▼" if p.value < p.low else "▲"
            place = 50 + 40 * (p.value - (p.low + p.high) / 2) / (p.high - p.low)  # the norm lies from 30 to 70 %
            row["marks"].append({"side": side, "x": round(float(np.clip(place, 6, 94)), 1)})
    return [r for r in rows.values() if any(c["text"] for c in r["cells"].values())]


def _shown(value: float | list[float] | None) -> str:
    """A number of `Recording.beside_the_file`, or its times."""
    return ", ".join(f"{v:.2f}" for v in value) if isinstance(value, list) else "–" if value is None else f"{value:.4g}"


def _classes(report) -> list[dict]:
    """Bars: the most likely class first; scores in their order."""
    items = list(report.class_probabilities.items())
    if all(label.isdigit() for label, _ in items):
        items.sort(key=lambda item: int(item[0]))
    return [{"name": display_name(k), "p": p, "first": k == report.label} for k, p in items]


def _outside(parameters: list) -> list[str]:
    """ "speed (low)", "step length (left, right low)" of what lies outside its norm."""
    found: dict[tuple[str, str], list[str]] = {}
    for p in parameters:
        if p.in_range is False:
            stem, _, side = p.name.rpartition("_")
            stem, side = (stem, side) if side in ("left", "right") else (p.name, "")
            found.setdefault((stem, "low" if p.value < p.low else "high"), []).append(side)
    lines = []
    for (stem, way), sides in found.items():
        how = f"{', '.join(sides)} {way}".strip()
        lines.append(f"{_TABLE_WORDS.get(stem, stem.replace('_', ' '))} ({how})")
    return lines


def _grouped(evidence: list) -> list[dict]:
    """One entry for each sentence, with all parameters that it is about."""
    out: dict[tuple, dict] = {}
    for e in evidence:
        entry = out.setdefault((e.sentence, e.source), {"sentence": e.sentence, "source": e.source, "statements": []})
        entry["statements"].append(e.statement)
    return list(out.values())


__all__ = ["DISCLAIMER", "report_page", "write_report"]
