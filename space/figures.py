"""Plotly figures of walks: a moving 3D skeleton, or two beside each other, and joint angles over the gait cycle.

In: joints (T, J, 3) [m] (x right, y forward, z up), finite. Out: `plotly.graph_objects.Figure`. Left is blue, right is orange,
as in `modeling_gait.drawing.rendering`; a walk to compare with is paler. Each walker walks on a treadmill: the pelvis stays in
place and the stripes of the floor move past as fast as the walker goes.

Frames hold the moving traces only, one line a side, in millimetres' precision. They are kept in `layout.meta`: Gradio's plot
drops the frames of a figure, and plotly would check each of them. player.js plays them.

Words in the 3D scene are slow: plotly makes triangles of each. So labels are annotations, and x and y have no
ticks (`visible: False` would make triangles of them all the same).
"""

import html
import uuid

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.ndimage import gaussian_filter1d

from modeling_gait.drawing.rendering import SIDE_COLOURS, angle_cycles, normative_curves
from modeling_gait.skeletons import KINECT_V2, Skeleton

COLOURS = {"left": SIDE_COLOURS["left"], "right": SIDE_COLOURS["right"], "centre": SIDE_COLOURS["centre"]}
PALE = {"left": "#8DBFDD", "right": "#EDB48C", "centre": "#B5B5B5"}
ANGLES = {"hip_flexion": "Hip flexion", "knee_flexion": "Knee flexion", "ankle_dorsiflexion": "Ankle dorsiflexion"}
ANGLES["pelvic_obliquity"] = "Pelvis, own side up"
MAX_FRAMES = 300  # shown of a longer walk
ANGLES_HEIGHT = 310  # [pixels]
SPEEDS = (0.25, 0.5, 1.0)
_HALF_LENGTH, _HALF_LANE, _STRIPE = 0.75, 0.42, 0.5  # of the floor that a walker walks on, its stripes' distance [m]
_UNUSED = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale"]  # buttons of plotly
_UNUSED_3D = ["zoom3d", "pan3d", "orbitRotation", "tableRotation", "resetCameraLastSave3d", "hoverClosest3d"]
_INK, _GREY = "#333333", "#8A8A8A"


# ---------------------------------------------------------------- 3D


def walk_figure(walks: dict[str, np.ndarray], fps: float, skeleton: Skeleton = KINECT_V2) -> go.Figure:
    """One or two walks, label -> joints (T, J, 3) [m], side by side in one scene, with a slider; the first one is the main one.

    A shorter walk holds its last pose. `layout.meta` is what player.js reads: `id` (of this figure), `fps`, `speeds`, `traces`
    (numbers of the moving ones), `frames` (for each frame the x, y, z of these). Raises ValueError for another number of walks.
    """
    if not 1 <= len(walks) <= 2:
        raise ValueError(f"expected one or two walks, got {len(walks)}")
    lanes = [0.0] if len(walks) == 1 else [-0.55, 0.55]
    count = min(max(map(len, walks.values())), MAX_FRAMES)
    moving = [_walker(joints, lane, fps, count, skeleton) for joints, lane in zip(walks.values(), lanes)]
    still = [_floor(lane) for lane in lanes]
    styles = [s for k in range(len(walks)) for s in _styles(PALE if k else COLOURS, legend=not k)]
    frames = [[part for walker in moving for part in walker[t]] for t in range(count)]
    traces = still + [{**style, **part} for style, part in zip(styles, frames[0])]
    numbers = list(range(len(still), len(traces)))
    layout = _scene(max(lanes) + _HALF_LANE + 0.15, count, fps)
    layout["scene"]["annotations"] = [_label(name, lane) for name, lane in zip(walks, lanes)]
    layout["meta"] = {"id": uuid.uuid4().hex, "fps": fps, "speeds": list(SPEEDS), "traces": numbers, "frames": frames}
    return go.Figure({"data": traces, "layout": layout})


def _chains(skeleton: Skeleton) -> dict[str, list[int | None]]:
    """Side -> joints to draw one line through; None lifts the pen. Each bone once; a bone has the side of its lower joint."""
    sides = {j: n.split("_")[0] if n.startswith(("left_", "right_")) else "centre" for j, n in enumerate(skeleton.joint_names)}
    out: dict[str, list[int | None]] = {"left": [], "right": [], "centre": []}
    drawn = set()
    for leaf in reversed(skeleton.order):
        chain = []
        while leaf not in drawn and skeleton.parents[leaf] >= 0:
            drawn.add(leaf)
            chain.append(leaf)
            parent = skeleton.parents[leaf]
            if parent in drawn or skeleton.parents[parent] < 0 or sides[parent] != sides[leaf]:
                out[sides[leaf]] += [*chain, parent, None]
                break
            leaf = parent
    return out


def _walker(joints: np.ndarray, lane: float, fps: float, count: int, skeleton: Skeleton) -> list[list[dict]]:
    """For each frame the coordinates of the traces left, right, centre, head, stripes."""
    joints = np.asarray(joints, np.float64)
    joints = joints[np.minimum(np.arange(count), len(joints) - 1)]
    path = joints[:, skeleton.root, :2]
    margin = min(len(path) - 1, int(fps))
    longer = np.pad(path, ((margin, margin), (0, 0)), "reflect", reflect_type="odd")
    path = gaussian_filter1d(longer, 0.4 * fps, axis=0)[margin : margin + len(path)]
    floor = np.percentile(joints[..., 2].min(1), 10)
    joints = joints - np.concatenate([path - [lane, 0], np.full((len(path), 1), floor)], axis=1)[:, None]
    chains = _chains(skeleton)
    head = skeleton.index("head" if skeleton.has("head") else "nose")
    return [
        [_line(pose, chain) for chain in chains.values()] + [_line(pose, [head]), _stripes(lane, -walked)]
        for pose, walked in zip(joints.round(3), path[:, 1] - path[0, 1])
    ]


def _line(pose: np.ndarray, chain: list[int | None]) -> dict:
    x, y, z = ([None if j is None else float(pose[j, axis]) for j in chain] for axis in range(3))
    return {"x": x, "y": y, "z": z}


def _stripes(lane: float, shift: float) -> dict:
    """Cross lines of the floor every half metre, moved along y by `shift` [m]."""
    ys = np.arange(-_HALF_LENGTH, _HALF_LENGTH, _STRIPE) + shift % _STRIPE
    x = [lane - _HALF_LANE, lane + _HALF_LANE, None] * len(ys)
    return {"x": x, "y": [v for y in ys.round(3).tolist() for v in (y, y, None)], "z": [0.0, 0.0, None] * len(ys)}


def _styles(colours: dict[str, str], legend: bool) -> list[dict]:
    """The traces of a walker without their coordinates."""
    common = {"type": "scatter3d", "hoverinfo": "skip", "showlegend": False}
    limbs = [
        {
            **common,
            "mode": "lines+markers",
            "line": {"color": colours[side], "width": 9},
            "marker": {"color": colours[side], "size": 3.5},
            "name": side,
            "showlegend": legend and side != "centre",
        }
        for side in ("left", "right", "centre")
    ]
    head = {**common, "mode": "markers", "marker": {"color": colours["centre"], "size": 12}}
    return [*limbs, head, {**common, "mode": "lines", "line": {"color": "#C4C4BE", "width": 2}}]


def _floor(lane: float) -> dict:
    a, b, c = lane - _HALF_LANE, lane + _HALF_LANE, _HALF_LENGTH
    return {
        "type": "mesh3d",
        "x": [a, b, b, a],
        "y": [-c, -c, c, c],
        "z": [-0.01] * 4,
        "i": [0, 0],
        "j": [1, 2],
        "k": [2, 3],
        "color": "#EFEFEB",
        "flatshading": True,
        "lighting": {"ambient": 1, "diffuse": 0, "specular": 0},
        "hoverinfo": "skip",
    }


def _label(name: str, lane: float) -> dict:
    place = {"x": lane, "y": 0, "z": 2.0, "showarrow": False}
    return place | {"text": html.escape(name), "font": {"size": 14, "color": _INK}}


def _scene(half_width: float, count: int, fps: float) -> dict:
    """Layout: fixed axes in metres, the camera in front on the walkers' right, buttons, slider."""
    bare = {"tickvals": [], "title": {"text": ""}, "zeroline": False, "showbackground": False, "showspikes": False}
    x, y, z = (-half_width, half_width), (-_HALF_LENGTH, _HALF_LENGTH), (-0.02, 2.05)
    ratio = {k: (b - a) / 1.6 for k, (a, b) in zip("xyz", (x, y, z))}
    height = {
        "title": {"text": ""},
        "tickvals": [0, 0.5, 1, 1.5],
        "ticktext": ["0", "0.5 m", "1 m", "1.5 m"],
        "tickfont": {"size": 11},
    }
    height |= {"showspikes": False, "showbackground": False, "gridcolor": "#E3E3DE", "color": _GREY, "range": z}
    scene = {"xaxis": bare | {"range": x}, "yaxis": bare | {"range": y}, "zaxis": height}
    scene |= {"aspectmode": "manual", "aspectratio": ratio, "uirevision": "camera", "dragmode": "turntable"}
    scene["camera"] = {"eye": {"x": 1.0, "y": 1.83, "z": 0.43}, "center": {"x": 0, "y": 0, "z": -0.06}}
    now = {"mode": "immediate", "transition": {"duration": 0}, "frame": {"duration": 0, "redraw": True}}
    steps = [{"label": f"{t / fps:.2f} s", "method": "animate", "args": [[str(t)], now]} for t in range(count)]
    slider = {
        "steps": steps,
        "x": 0.02,
        "len": 0.96,
        "y": 0,
        "pad": {"t": 54, "b": 4},  # under the buttons, so that neither covers the other on a phone
        "ticklen": 0,
        "minorticklen": 0,
        "transition": {"duration": 0},
    }
    slider |= {"currentvalue": {"font": {"size": 12, "color": _INK}, "xanchor": "right"}, "font": {"color": "rgba(0,0,0,0)"}}
    look = {"type": "buttons", "direction": "left", "y": 0, "yanchor": "top", "xanchor": "left", "showactive": True}
    look |= {"font": {"size": 12, "color": _INK}, "bgcolor": "#FFFFFF", "bordercolor": "#D5D5D0", "pad": {"t": 22, "r": 6}}
    play = [{"label": label, "method": "skip"} for label in ("Play", "Pause")]
    speeds = [{"label": f"{s:g}×", "method": "skip"} for s in SPEEDS]
    fast = {"buttons": speeds, "x": 0.99, "xanchor": "right", "active": len(SPEEDS) - 1}
    return {
        "scene": scene,
        "sliders": [slider],
        "updatemenus": [look | {"buttons": play, "x": 0.01}, look | fast],
        "legend": {"orientation": "h", "x": 0.01, "y": 0.99, "font": {"size": 13, "color": _INK}, "itemclick": False},
        "margin": {"l": 0, "r": 0, "t": 0, "b": 110},
        "height": 480,
        "paper_bgcolor": "#FFFFFF",
        "uirevision": "walk",
        "modebar": {"remove": _UNUSED_3D},
    }


# ---------------------------------------------------------------- joint angles


def angles_figure(joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2, unseen: tuple[str, ...] = ()) -> go.Figure:
    """Hip, knee, ankle and pelvis over the gait cycle: single cycles thin, their mean thick, unimpaired adults as a grey band.

    A walk without a complete gait cycle gives the bands alone, and says so; so do curves that are `unseen`.
    """
    cycles, norms = angle_cycles(joints, fps, skeleton), normative_curves()
    percent, shown = list(range(101)), next((n for n in ANGLES if n not in unseen), None)
    figure = make_subplots(rows=1, cols=len(ANGLES), subplot_titles=list(ANGLES.values()), horizontal_spacing=0.05)
    for column, name in enumerate(ANGLES, start=1):
        mean, spread = norms[name]
        first = column == 1
        band = {"x": percent + percent[::-1], "y": np.concatenate([mean + spread, (mean - spread)[::-1]]).round(2).tolist()}
        band |= {"fill": "toself", "fillcolor": "#E2E2DE", "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(**band, mode="lines", name="unimpaired adults, mean ± SD", showlegend=first, row=1, col=column)
        for side in ("left", "right"):
            curves = cycles[side][name].round(2)[: 0 if name in unseen else None]
            line = {"color": COLOURS[side], "width": 0.8}
            for curve in curves if len(curves) > 1 else ():
                style = {"mode": "lines", "line": line, "opacity": 0.4, "hoverinfo": "skip", "showlegend": False}
                figure.add_scatter(x=percent, y=curve.tolist(), row=1, col=column, **style)
            if len(curves):
                label = f"{side}, mean of {len(curves)} cycle{'s' * (len(curves) > 1)}"
                style = {"mode": "lines", "line": {**line, "width": 2.6}, "name": label, "showlegend": name == shown}
                figure.add_scatter(x=percent, y=curves.mean(0).round(2).tolist(), row=1, col=column, **style)
        if name in unseen:
            where = {"x": 50, "y": float(mean.mean()), "row": 1, "col": column}
            figure.add_annotation(text="not measured", showarrow=False, bgcolor="#FFFFFF", **where)
    if not any(len(cycles[side]["knee_flexion"]) for side in cycles):
        text = "no complete gait cycle in this walk: a cycle needs two heel strikes of one foot"
        figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, bgcolor="#FFFFFF")
    axis = {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 3, "linecolor": _GREY, "tickcolor": _GREY}
    figure.update_xaxes(range=[0, 100], tickvals=[0, 25, 50, 75, 100], title={"text": "gait cycle [%]", "standoff": 4}, **axis)
    figure.update_yaxes(**{**axis, "zeroline": True}, zerolinecolor="#CFCFCA", zerolinewidth=1, ticksuffix="°")
    figure.update_layout(
        height=ANGLES_HEIGHT,
        margin={"l": 44, "r": 12, "t": 58, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1.3, "yanchor": "top"},
        font={"size": 12, "color": _INK},
        modebar={"remove": _UNUSED},
        plot_bgcolor="#FFFFFF",
        paper_bgcolor="#FFFFFF",
    )
    figure.update_annotations(font_size=13)
    return figure


def waiting_figure(text: str) -> go.Figure:
    """Words in the place of `angles_figure`. With them Gradio fetches and starts plotly while the first walk is made."""
    hidden = {"visible": False}
    words = {"text": text, "showarrow": False, "font": {"size": 14, "color": _GREY}}
    layout = {"xaxis": hidden, "yaxis": hidden, "annotations": [words], "height": ANGLES_HEIGHT}
    return go.Figure(layout=layout | {"plot_bgcolor": "#FFFFFF", "paper_bgcolor": "#FFFFFF"})
