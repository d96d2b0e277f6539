"""A gait report as one HTML page that needs nothing else: figures are part of the file, all text is escaped.

In: a `GaitReport` (of gait_report.py, which shows itself by this page and so is not imported here). Out: an .html file. The
page says on its face that it is no diagnosis.
"""

import base64
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from ..files import atomic_path
from ..numeric_text import display_name, number
from .overlay import plot_overlay
from .rendering import SIDE_COLOURS, plot_joint_angles, plot_pose_strip
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
    from jinja2 import Environment

    problems = list(report.problems)
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    origins = {p.origin for p in report.parameters if np.isfinite(p.value)}
    origin = _ORIGINS[origins.pop() if len(origins) == 1 else "both"]
    return page.render(
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
        this, unseen = {"this walk": (walk.joints, walk.fps)}, _unseen_curves(report.parameters)
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
                out[name] = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    return out


def _unseen_curves(parameters: list) -> tuple[str, ...]:
    """Names of the curves of `plot_joint_angles` of which no range was measured."""
    known = {p.name.removesuffix("_left").removesuffix("_right") for p in parameters if np.isfinite(p.value)}
    ranges = {"hip_flexion": "hip_range", "knee_flexion": "knee_range", "ankle_dorsiflexion": "ankle_range"}
    ranges["pelvic_obliquity"] = "pelvic_obliquity_range"
    return tuple(curve for curve, name in ranges.items() if name not in known)


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


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Gait report: {{ report.name }}</title>
<style>
 @page { size: A4; margin: 10mm }
 * { box-sizing: border-box }
 body { font: 14px/1.4 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #222; margin: 0 auto; padding: 18px;
   max-width: 1120px; background: #fff }
 h1 { font-size: 21px; margin: 0 } h2 { font-size: 15px; margin: 0 0 8px } p { margin: 0 0 6px }
 header { display: flex; justify-content: space-between; align-items: baseline; flex-wrap: wrap; gap: 4px 16px }
 .muted, .norm { color: #666 } .small { font-size: 12px }
 .banner { background: #FFF3CD; border: 1px solid #E0B100; border-radius: 6px; padding: 7px 12px; margin: 10px 0 14px;
   font-weight: 600 }
 .grid { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; margin-bottom: 14px; align-items: start }
 section { border: 1px solid #ddd; border-radius: 6px; padding: 12px 14px; break-inside: avoid; min-width: 0 }
 section.wide { margin-bottom: 14px } img { display: block; width: 100% }
 .class { display: grid; grid-template-columns: 130px 1fr 52px; gap: 8px; align-items: center; margin: 3px 0 }
 .track, .fill { background: #eee; height: 13px; border-radius: 3px } .fill { background: #8AA; display: block }
 .first .fill { background: #1F5F8B } .first { font-weight: 600 } .right { text-align: right }
 .score { font-size: 26px; font-weight: 650 }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px }
 th { text-align: right; font-weight: 600; color: #555; padding: 2px 6px; border-bottom: 1px solid #bbb }
 td { text-align: right; padding: 2px 6px; border-bottom: 1px solid #eee; white-space: nowrap }
 th:first-child, td:first-child { text-align: left; padding-left: 0 } td.bar, th.bar { width: 110px; padding-right: 0 }
 th { white-space: nowrap }
 .out { color: #B00020; font-weight: 700 } li { margin-bottom: 6px } ul { margin: 0; padding-left: 18px }
 q { font-style: italic } .dot { display: inline-block; width: 9px; height: 9px; border-radius: 50% }
 @media (max-width: 800px) { .grid { grid-template-columns: 1fr } }
</style></head><body>
<header><h1>Gait report: {{ report.name }}</h1><span class="muted">{{ today }}</span></header>
<div class="banner">{{ disclaimer }}
{{- ' The classes and estimates below are outputs of a statistical model.' if classes }}</div>
<div class="grid">
<div>
{% if classes %}<section style="margin-bottom:14px"><h2>Most like: {{ title }}</h2>
{% for c in classes %}
<div class="class{{ ' first' if c.first }}"><span>{{ c.name }}</span>
<span class="track"><span class="fill" style="width:{{ '%.1f' % (100 * c.p) }}%"></span></span>
<span class="right">{{ '%.0f' % (100 * c.p) }} %</span></div>
{% endfor %}
{% if report.severity is not none %}
<p style="margin-top:10px"><span class="score">{{ '%.1f' % report.severity }}</span>
 <span class="muted">severity: {{ report.severity_scale }}</span></p>
{% endif %}
</section>{% endif %}
{% if problems %}
<section style="border-color:#E0B100"><h2>Read with care</h2><ul>
{% for problem in problems %}<li>{{ problem }}</li>{% endfor %}
</ul></section>
{% endif %}
</div>
<section><h2>In short</h2>
<p>{{ sentence or 'No gait parameter could be read from this walk' }}.</p>
<p>{% if outside %}<b>Outside the norm:</b> {{ outside | join(', ') }}.
{% else %}No parameter lies outside a norm that is known.{% endif %}</p>
{% if evidence %}
<h2 style="margin-top:12px">What the literature says of {{ title }}</h2>
<ul>
{% for e in evidence %}
<li>{{ e.statements | join('; ') }}.<br><q>{{ e.sentence }}</q> <span class="muted small">{{ e.source }}</span></li>
{% endfor %}
</ul>
{% elif outside and classes %}
<p class="muted">The knowledge of {{ title }} says nothing of these.</p>
{% endif %}
</section>
</div>
{% if figures.film %}<section class="wide"><h2>The film, and the skeleton that was found in it</h2>
<img src="{{ figures.film }}" alt="pictures of the film with the skeleton drawn over the person"></section>{% endif %}
{% if figures.poses %}<section class="wide"><h2>The walk, from its right side</h2>
<img src="{{ figures.poses }}" alt="poses of the walk"></section>{% endif %}
<div class="grid">
{% if rows %}<section><h2>Gait parameters</h2>
<p class="small muted">{{ origin }}.
<span class="dot" style="background:{{ colours.left }}"></span> left
<span class="dot" style="background:{{ colours.right }}"></span> right; grey: norm of {{ people }} (–: none known).
<span class="out">▼ ▲</span> below, above it.</p>
<table><tr><th></th><th>left</th><th>right</th><th>R − L</th><th>norm</th><th class="bar"></th></tr>
{% macro cell(c) %}{% if c and c.text %}<span{% if c.in_range == false %} class="out"{% endif %} title="{{ c.note }}">
{{- c.arrow or '' }}{{ '~' if c.origin == 'model' and mixed }}{{ c.text }}</span>
{%- if c.sd %} <span class="muted small" title="one SD of the method's error">±{{ c.sd }}</span>{% endif %}
{%- endif %}{% endmacro %}
{% for r in rows %}
<tr><td>{{ r.name }} <span class="muted small">{{ '' if r.unit == '1' else r.unit }}</span></td>
{% if r.cells.both %}<td colspan="2" style="text-align:center">{{ cell(r.cells.both) }}</td><td></td>
{% else %}<td>{{ cell(r.cells.left) }}</td><td>{{ cell(r.cells.right) }}</td><td>{{ cell(r.cells.difference) }}</td>{% endif %}
{% if r.norm %}<td class="norm" title="{{ r.norm.note }}">{{ r.norm.low }}–{{ r.norm.high }}</td>
<td class="bar"><svg width="100%" height="14" style="display:block">
<line x1="0" x2="100%" y1="7" y2="7" stroke="#ddd"/><rect x="30%" width="40%" y="2" height="10" fill="#D9D9D9"/>
{% for m in r.marks %}<circle cx="{{ m.x }}%" cy="7" r="4.5" fill="{{ colours[m.side] or colours.centre }}"
 fill-opacity="0.9"/>{% endfor %}</svg></td>
{% else %}<td class="norm">–</td><td class="bar"></td>{% endif %}</tr>
{% endfor %}
</table>
{% if report.stated %}<h2 style="margin-top:12px">What the file itself states</h2>
<table><tr><th></th><th>file</th><th>measured</th></tr>
{% for r in report.stated %}<tr><td>{{ r.name }} <span class="muted small">{{ r.unit }}</span></td>
<td style="white-space:normal">{{ shown(r.stated) }}</td>
<td style="white-space:normal">{{ shown(r.measured) }} {{ r.measured_unit if r.measured_unit != r.unit }}</td></tr>
{% endfor %}</table>{% endif %}</section>{% endif %}
<div>
{% if figures.angles %}<section style="margin-bottom:14px"><h2>Joint angles over the gait cycle</h2>
<img src="{{ figures.angles }}" alt="joint angles over the gait cycle with the band of unimpaired adults"></section>{% endif %}
{% if figures.saliency or figures.video %}
<section><h2>What the model looked at for {{ title }}</h2>
{% for name in ('saliency', 'video') if figures[name] %}
<img src="{{ figures[name] }}" alt="share of each joint, moment or part of the picture in the model's decision">
{% endfor %}
<p class="small muted">Gradient times input: it shows what the model used, not what is ill.{% if figures.saliency %}
 The pelvis stands for the speed of the walk.{% endif %}</p></section>
{% endif %}
</div></div>
<footer class="small muted"><p><b>{{ disclaimer }}</b> Norms: {{ sources | join('; ') or 'none' }}.</p></footer>
</body></html>
"""

__all__ = ["DISCLAIMER", "report_page", "write_report"]
