"""Files of motion capture laboratories: `read_c3d`, `read_trc`, `read_mot`.

In: C3D (Vicon, Qualisys, ...), TRC (OpenSim, OpenCap, Pose2Sim, Cortex), MOT and STO of OpenSim's joint angles. Out: `Points`;
`formats_markers` finds the joints among the markers.

C3D is read by the library `c3d` (MIT): of pure Python, it reads the processors ezc3d refuses (SGI/MIPS), ignores analog
channels and takes milliseconds to refuse broken files on which ezc3d spends a minute.
"""

import io
import re
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .files import check_growth, read_bytes, read_text
from .formats import METRES, TextTable, cells, parse_number
from .formats_markers import SIDES, from_markers
from .points import MAX_FRAMES, MAX_POINTS, Points

# ---------------------------------------------------------------- C3D


def read_c3d(path: Path) -> Points:
    """Markers, model outputs, events and parameters of a C3D file."""
    import c3d

    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = c3d.Reader(io.BytesIO(data))
            frames, count = reader.last_frame - reader.first_frame + 1, reader.point_used
            if not (2 <= frames <= MAX_FRAMES and 0 < count <= MAX_POINTS):
                raise ValueError(f"{frames} frames of {count} points")
            start, size = 512 * (reader.header.data_block - 1), 16 if reader.point_scale < 0 else 8  # bytes a point
            if start + frames * count * size > len(data):
                raise ValueError(f"cut off: {frames} frames of {count} points do not fit into {len(data)} bytes")
            labels = ["".join(c if c.isprintable() else "?" for c in str(label)).strip() for label in reader.point_labels]
            table = np.stack([points for _, points, _ in reader.read_frames(copy=True)]).astype(np.float64)
            units = _strings(reader, "POINT:UNITS")
            stated, events = _analysis(reader), _events(reader)
            widths = _widths(reader)
            rate = round(float(reader.point_rate), 3)  # a float32
    except Exception as error:  # the library raises a dozen kinds on broken files
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: is not a readable C3D file ({said})") from None
    table[table[..., 3] < 0] = np.nan  # residual -1: not seen
    table[(table[..., :3] == 0).all(-1)] = np.nan
    markers: dict[str, np.ndarray] = {}
    for j, label in enumerate(labels[: table.shape[1]]):
        markers.setdefault(label or f"*{j}", table[:, j, :3])
    metres = METRES.get(units[0].lower()) if units else None
    out = Points({}, fps=rate, metres=metres, events=events, stated=stated)
    return from_markers(markers, out, path, {name: w * 0.001 / (metres or 0.001) for name, w in widths.items()})


def _numbers(reader, name: str) -> np.ndarray:
    """A parameter's numbers, empty where it has none."""
    try:
        return np.ravel(np.asarray(reader.get(name).float_array, np.float64))
    except Exception:  # absent, of another type, or empty: the library raises several kinds
        return np.empty(0)


def _strings(reader, name: str) -> list[str]:
    parameter = reader.get(name)
    if parameter is None:
        return []
    found = parameter.string_array if len(parameter.dimensions) > 1 else [parameter.string_value]
    return [str(s).strip() for s in np.ravel(np.asarray(found, dtype=object))]


def _events(reader) -> dict[str, np.ndarray] | None:
    """Foot strikes and toe offs of the group EVENT in seconds after the first frame."""
    labels, contexts = (_strings(reader, f"EVENT:{n}") for n in ("LABELS", "CONTEXTS"))
    stamps = _numbers(reader, "EVENT:TIMES")
    if not labels or len(labels) != len(contexts) or len(stamps) < 2 * len(labels) or len(stamps) % 2:
        return None
    stamps = stamps.reshape(-1, 2)  # minutes, seconds
    start = (reader.first_frame - 1) / reader.point_rate
    out: dict[str, list[float]] = {}
    for label, context, (minutes, seconds) in zip(labels, contexts, stamps):
        kind = {"foot strike": "heel_strikes", "foot off": "toe_offs"}.get(label.lower())
        if kind and context.lower() in SIDES:
            out.setdefault(f"{context.lower()}_{kind}", []).append(60 * minutes + seconds - start)
    return {name: np.sort(values) for name, values in out.items()} or None


def _analysis(reader) -> dict[str, tuple[float, str]] | None:
    """Gait parameters of the group ANALYSIS: 'left step length' -> (0.61, 'm')."""
    names, contexts, units = (_strings(reader, f"ANALYSIS:{n}") for n in ("NAMES", "CONTEXTS", "UNITS"))
    numbers = _numbers(reader, "ANALYSIS:VALUES")
    if not names or not len(names) == len(contexts) == len(units) == len(numbers):
        return None
    said = zip(names, contexts, units, numbers)
    return {f"{context} {name}".lower().strip(): (float(v), unit) for name, context, unit, v in said if np.isfinite(v)}


def _widths(reader) -> dict[str, float]:
    """Widths of knees and ankles that Plug-in Gait was given [mm], and the diameter of a marker on top."""
    out = {}
    for side in SIDES:
        for joint in ("Knee", "Ankle"):
            name = f"{side[0].upper()}{joint}Width"
            values = [v for n in (name, name.upper()) for v in _numbers(reader, f"PROCESSING:{n}")]
            if values and 30 < values[0] < 250:
                out[f"{side}_{joint.lower()}"] = values[0] + 14
    return out


# ---------------------------------------------------------------- TRC


def read_trc(path: Path) -> Points:
    """Marker positions of OpenSim's TRC: four header lines, names over every third column, X1, Y1, Z1, ..., numbers."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    head = lines.split("\n", 5)
    if len(head) < 6 or not head[0].lower().startswith("pathfiletype"):
        raise ValueError(f"{path}, line 1: expected PathFileType and the five header lines of a TRC file")
    separator = "\t" if "\t" in head[3] else ","
    keys, values = (cells(line, separator) for line in head[1:3])
    said = dict(zip((k.lower() for k in keys), values))
    rate = parse_number(said.get("datarate", ""))
    if not rate or not rate > 0:
        raise ValueError(f"{path}, line 3: DataRate: expected frames per second, got {said.get('datarate', '')[:40]!r}")
    titles = cells(head[3], separator)
    axes = [a for a in cells(head[4], separator) if a]
    names = [n for n in titles[2::3]][: len(axes) // 3]
    if (
        not names
        or len(axes) % 3
        or len(names) != len(axes) // 3
        or any(not a[:1].lower() == "xyz"[i % 3] for i, a in enumerate(axes))
    ):
        raise ValueError(f"{path}, line 5: expected X1, Y1, Z1, ... below the names of the markers in line 4")
    width = 2 + 3 * len(names)
    check_growth(path, len(lines), (head[5].count("\n") + 1) * width * 8)
    body, start = head[5], 6
    while body.startswith("\n") or (body and not body.split("\n", 1)[0].strip(" \t,")):
        body, start = body.partition("\n")[2], start + 1
    rows = "\n".join(
        separator.join((line.split(separator) + [""] * width)[:width]) for line in body.split("\n") if line.strip(" \t,")
    )
    numbers = TextTable(path, rows, separator, start - 1).numbers(1, width, [*titles, *[""] * width])
    stated = parse_number(said.get("numframes", ""))
    if stated is not None and stated > len(numbers):
        raise ValueError(f"{path}: is cut off: NumFrames is {stated:.0f}, but it holds {len(numbers)} rows")
    markers = {n or f"*{i}": numbers[:, 2 + 3 * i : 5 + 3 * i] for i, n in enumerate(names)}
    for values in markers.values():
        values[(values == 0).all(1)] = np.nan
    out = Points({}, numbers[:, 1], 1.0, fps=rate, metres=METRES.get(said.get("units", "").lower()))
    return from_markers(markers, out, path)


# ---------------------------------------------------------------- MOT, STO

# OpenSim's generic adult (Rajagopal et al. 2016, doi 10.1109/TBME.2016.2586891), rounded to 5 mm: x forward, y up, z right [m]
_HIP, _KNEE, _ANKLE, _TOE = (-0.055, -0.08, 0.075), (0.0, -0.41, 0.0), (0.0, -0.40, 0.0), (0.13, -0.045, 0.0)
_BACK, _NECK = (-0.10, 0.08, 0.0), (0.01, 0.42, 0.0)


def read_mot(path: Path) -> Points:
    """Joint angles of OpenSim's models as joints of its generic adult: legs of 0.81 m, whatever the person's are."""
    head, mark, body = read_text(path).replace("\r\n", "\n").partition("endheader")
    titles_line, _, rows = body.lstrip(" \t,\n").partition("\n")
    separator = "\t" if "\t" in titles_line else ","
    titles = cells(titles_line, separator)
    needed = [f"{n}_{s}" for n in ("hip_flexion", "knee_angle", "ankle_angle") for s in "rl"] + ["time", "pelvis_tilt"]
    short = [re.sub("/(value)?$", "", t).split("/")[-1] if not t.endswith("/value") else t.split("/")[-2] for t in titles]
    if not mark or (missing := [n for n in needed if n not in short]):
        lacks = f"; lacks {', '.join(missing)}" if mark else ""
        raise ValueError(f"{path}: expected OpenSim's joint angles (endheader, then pelvis_tilt, hip_flexion_r, ...){lacks}")
    line = (head + mark).count("\n") + 3
    numbers = TextTable(path, rows.strip("\n") + "\n", separator, line).numbers(1, len(titles), titles)
    column = {n: numbers[:, i] for i, n in enumerate(short)}
    degrees = not re.search(r"indegrees\s*=\s*no", head, re.I)
    zero = np.zeros(len(numbers))

    def turn(axes: str, *names: str, signs: tuple[int, ...] = (1, 1, 1)) -> Rotation:
        angles = np.stack([s * column.get(n, zero) for n, s in zip(names, signs)], axis=1)
        return Rotation.from_euler(axes, np.nan_to_num(angles), degrees=degrees)

    pelvis = turn("ZXY", "pelvis_tilt", "pelvis_list", "pelvis_rotation")
    origin = np.stack([column.get(f"pelvis_t{a}", zero) for a in "xyz"], axis=1)
    bend = np.nanmean(column["knee_angle_r"] + column["knee_angle_l"])  # gait2392 counts flexion negative, Rajagopal positive
    out = Points({}, column["time"], 1.0, metres=1.0)
    for side, s in (("right", 1), ("left", -1)):
        k = side[0]
        joint = origin + pelvis.apply(np.multiply(_HIP, (1, 1, s)))
        out.points[f"{side}_hip"] = joint
        thigh = pelvis * turn("ZXY", f"hip_flexion_{k}", f"hip_adduction_{k}", f"hip_rotation_{k}", signs=(1, s, s))
        shank = thigh * turn("Z", f"knee_angle_{k}", signs=(-1 if bend > 0 else 1,))
        foot = shank * turn("Z", f"ankle_angle_{k}")
        for name, segment, offset in (("knee", thigh, _KNEE), ("ankle", shank, _ANKLE), ("foot", foot, _TOE)):
            joint = joint + segment.apply(offset)
            out.points[f"{side}_{name}"] = joint
    if "lumbar_extension" in column:
        trunk = pelvis * turn("ZXY", "lumbar_extension", "lumbar_bending", "lumbar_rotation")
        out.points["neck"] = origin + pelvis.apply(_BACK) + trunk.apply(_NECK)
    for joint in ("hip_flexion", "knee_angle", "ankle_angle"):
        ranges = [np.ptp(np.nan_to_num(column[f"{joint}_{side}"])) * (1 if degrees else 180 / np.pi) for side in "lr"]
        if max(ranges) > max(20, 2 * min(ranges)):
            out.notes.append(f"{joint} moves by {ranges[0]:.0f} degrees on the left and {ranges[1]:.0f} on the right")
    still = [n for n in ("pelvis_tilt", "pelvis_list", "pelvis_tx", "pelvis_ty") if np.ptp(column.get(n, zero)) == 0]
    if still:
        out.notes.append(f"{', '.join(still)} never changes: not measured")
    out.notes.append(
        "joint angles of OpenSim on its generic adult (thighs of 0.41 m, shanks of 0.40 m): angles, timing and speed are the "
        "file's; step lengths, widths and heights are those of a body of that size"
    )
    return out
