"""HuGaDB v1: 635 text files of leg sensors -> Parquet shards of recordings and of gait cycles, and a data card.

    python datasets_scripts/hugadb.py --data_dir HuGaDB --output_dir OUT
    python datasets_scripts/hugadb.py --output_dir OUT                       # downloads the authors' archive
    python datasets_scripts/hugadb.py --data_dir DIR --output_dir OUT --subjects 1 2 --on_error skip --plot FIGURES

In: DIR with HuGaDB_v1_{activity}_{subject}_{count}.txt at any depth: four header lines, then 39 tab-separated integers a sample
(six sensors x accelerometer x, y, z and gyroscope x, y, z; two EMG; activity). Out: OUT/recordings and OUT/cycles with a card;
`load_dataset("OUT", "cycles")` gives one gait cycle a row: values (100, 36) in m/s^2 and rad/s, phase 0 = initial contact of
the right foot.

Chereshnev, Kertesz-Farkas (2018): HuGaDB: Human Gait Database for Activity Recognition from Wearable Inertial Sensor Networks.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from pyarrow import parquet

from modeling_gait import schema as common
from modeling_gait.files import atomic_folder, atomic_path
from modeling_gait.gait_cycles import POINTS, cycle_correlations, find_cycles, resample_cycle
from modeling_gait.training.hugadb_files import (
    ACCELEROMETERS,
    ACTIVITIES,
    AGE,
    COLUMNS,
    FILE_NAME,
    FPS,
    HEIGHT,
    HIGH,
    IMU,
    LOW,
    SCALE,
    SENSORS,
    SEX,
    WEIGHT,
    corrupted_gyroscopes,
    find_files,
    read_file,
)

REPOSITORY = "https://github.com/romanchereshnev/HuGaDB"
ARCHIVE = "https://www.dropbox.com/s/7nb9g650i5m9k6c/HuGaDB.zip?dl=1"  # version 1, linked by the authors' README
CONDITIONS = {"walking": (0.7, 2.0), "running": (0.4, 1.1), "going_up": (0.7, 2.2), "going_down": (0.6, 2.2)}  # cycle [s]
DROPOUT = 512  # counts: a single 0 between two neighbours of one sign and more than this is a lost reading
MASK_SHARE = 0.25  # a channel that is saturated in more than this share of the samples is masked
MAX_DEVIATION = 0.25  # of a cycle's duration from the median
MIN_CORRELATION = 0.6  # of a cycle with the median cycle, over the 18 accelerometer channels
MIN_CYCLES = 3  # that a person's median cycle in a recording needs

# --- cycles ------------------------------------------------------------------------------------------------------------------


def contact_signal(values: np.ndarray) -> np.ndarray:
    """(T,) how fast the right foot's and shin's accelerations change, (T, 36) in: largest at the foot's initial contact.

    It uses no gyroscope (465 files' are corrupted), no axis' direction, and hardly minds a clipped peak.
    """
    change = np.diff(values, axis=0, prepend=values[:1])
    return sum(np.linalg.norm(change[:, [IMU.index(f"acc_{s}_{axis}") for axis in "xyz"]], axis=1) for s in ("rf", "rs"))


def bouts(activity: np.ndarray) -> list[tuple[int, int, int]]:
    """(first sample, sample after the last, activity) of each stretch of one activity."""
    edges = np.flatnonzero(np.diff(activity)) + 1
    return [(int(a), int(b), int(activity[a])) for a, b in zip([0, *edges], [*edges, len(activity)])]


def recording_cycles(values: np.ndarray, activity: np.ndarray, malformed: np.ndarray) -> tuple[list[dict], Counter]:
    """Cycles of one recording, and how many were rejected for which reason (keys (condition, reason); "kept" too).

    Args:
        values: (T, 36) SI units, without nan.
        activity: (T,) 0..11, index in `ACTIVITIES`.
        malformed: (T,) samples in which a cell was malformed.
    """
    signal, counts, groups = contact_signal(values), Counter(), {}
    pad = int(FPS)
    for a, b, label in bouts(activity):
        name = ACTIVITIES[label]
        if name not in CONDITIONS:
            continue
        offset = max(0, a - pad)
        try:
            found = find_cycles(signal[offset : b + pad], FPS, *CONDITIONS[name])
        except ValueError:
            counts[name, "bouts without a period"] += 1
            continue
        for start, end in ((s + offset, e + offset) for s, e in found):
            if a <= start < b:
                reason = _fault(start, end, b, CONDITIONS[name], malformed)
                if not reason:
                    cycle = resample_cycle(values, start, end)
                    if name == "running" or _stands_first(cycle):
                        groups.setdefault((name, a), []).append((start, end, cycle))
                    else:
                        reason = "phase"
                if reason:
                    counts[name, reason] += 1
    rows = _compare(_merge_short(groups), counts)
    return sorted(rows, key=lambda row: row["start"]), counts


def _fault(start: float, end: float, bout_end: int, limits: tuple[float, float], malformed: np.ndarray) -> str:
    """Why a cycle is no good, or ""."""
    if end > bout_end - 1:
        return "activity"
    if malformed[int(start) : int(np.ceil(end)) + 1].any():
        return "malformed"
    return "" if limits[0] <= (end - start) / FPS <= limits[1] else "range"


def _stands_first(cycle: np.ndarray) -> bool:
    """Does the right foot's accelerometer vary less from 10 to 45 % of the cycle (stance) than from 55 to 90 % (swing)?"""
    p = len(cycle)
    foot = cycle[:, :3]
    return foot[p // 10 : int(0.45 * p)].std(axis=0).sum() < foot[int(0.55 * p) : int(0.9 * p)].std(axis=0).sum()


def _merge_short(groups: dict) -> dict:
    """Cycles by (condition, bout); bouts of fewer than five are put together (key -1), since their median says little."""
    out: dict = {}
    for (name, bout), cycles in groups.items():
        out.setdefault((name, bout if len(cycles) >= 5 else -1), []).extend(cycles)
    return out


def _compare(groups: dict, counts: Counter) -> list[dict]:
    """Rows of the cycles that agree with the median duration and the median cycle of their group."""
    rows = []
    for (name, _), cycles in groups.items():
        if len(cycles) < MIN_CYCLES:
            counts[name, "few"] += len(cycles)
            continue
        ratio = np.array([end - start for start, end, _ in cycles])
        ratio = ratio / np.median(ratio)
        stack = np.stack([cycle for *_, cycle in cycles])
        correlation = cycle_correlations(stack[:, :, ACCELEROMETERS])
        for (start, end, cycle), r, c in zip(cycles, ratio, correlation):
            reason = "deviation" if abs(r - 1) > MAX_DEVIATION else "correlation" if c < MIN_CORRELATION else "kept"
            counts[name, reason] += 1
            if reason == "kept":
                row = {"activity": name, "start": start, "duration": (end - start) / FPS, "values": cycle.astype(np.float32)}
                rows.append({**row, "correlation": c, "duration_ratio": r})
    return rows


# --- rows --------------------------------------------------------------------------------------------------------------------


def make_rows(path: Path) -> tuple[dict, list[dict], Counter, str]:
    """Row of `recordings`, rows of `cycles`, counts, and a hash of the samples. Raises ValueError naming the file."""
    table, malformed = read_file(path)
    match = FILE_NAME.fullmatch(path.name)
    name, subject = "_".join(match.groups()), int(match[2])
    if not 1 <= subject <= len(SEX):
        raise ValueError(f"{path}: subject {subject} is not one of the 18 that the authors describe")
    counts = table[:, :38].astype(np.float64)
    bad = np.zeros(len(table), bool)
    for line, column, _ in malformed:
        counts[line - 5, COLUMNS.index(column)] = np.nan
        bad[line - 5] |= column in IMU
    before, here, after = counts[:-2, :36], counts[1:-1, :36], counts[2:, :36]
    lost = (here == 0) & (before * after > 0) & (np.minimum(np.abs(before), np.abs(after)) > DROPOUT)
    rail = (table[:, :38] <= LOW) | (table[:, :38] >= HIGH)  # int16 columns only: EMG never gets there
    counts[1:-1, :36] = np.where(lost, (before + after) / 2, here)
    values = np.concatenate([counts[:, :36] * SCALE, (counts[:, 36:] - 128) / 128], axis=1)
    ok = np.ones(38, bool)
    for sensor in corrupted_gyroscopes().get(name, ()):
        first = IMU.index(f"gyro_{sensor}_x")
        ok[first : first + 3] = False
    filled = pd.DataFrame(values[:, :36]).interpolate(limit_direction="both").fillna(0.0).to_numpy()
    cycles, reasons = recording_cycles(filled, table[:, 38] - 1, bad)
    recording = {
        "recording_id": name,
        "subject_id": str(subject),
        "age": AGE[subject - 1],
        "height": HEIGHT[subject - 1] / 100,
        "weight": WEIGHT[subject - 1],
        "sex": SEX[subject - 1],
        "sampling_rate": FPS,
        "activity": table[:, 38] - 1,
        "values": values.astype(np.float32),
        "channel_mask": ok & (rail.mean(axis=0) <= MASK_SHARE),
        "saturated": rail.sum(axis=0),
        "dropouts": int(lost.sum()),
        "malformed": json.dumps([{"line": r, "column": c, "value": v} for r, c, v in malformed]),
        "duplicate_of": "",
    }
    for index, row in enumerate(cycles):
        a, b = int(np.ceil(row["start"])), int(row["start"] + row["duration"] * FPS) + 1
        share = rail[a:b, :36].mean(axis=0)
        row |= {"recording_id": name, "subject_id": str(subject), "cycle_index": index}
        row |= {"saturation": share, "channel_mask": ok[:36] & (share <= MASK_SHARE)}
    return recording, cycles, reasons, hashlib.sha256(np.ascontiguousarray(table)).hexdigest()


def features(config: str) -> datasets.Features:
    """Columns of "recordings" or "cycles"."""
    text, whole, real = datasets.Value("string"), datasets.Value("int32"), datasets.Value("float32")
    columns = {"recording_id": text, "subject_id": text}
    if config == "cycles":
        columns |= {"activity": datasets.ClassLabel(names=list(CONDITIONS)), "cycle_index": whole, "start": real}
        columns |= {"duration": real, "values": datasets.Array2D((POINTS, 36), "float32")}
        columns |= {"channel_mask": datasets.Sequence(datasets.Value("bool"), 36), "saturation": datasets.Sequence(real, 36)}
        columns |= {"correlation": real, "duration_ratio": real}
    else:
        columns |= {"age": whole, "height": real, "weight": real, "sex": text, "sampling_rate": real}
        columns |= {"activity": datasets.Sequence(datasets.ClassLabel(names=list(ACTIVITIES)))}
        columns |= {"values": datasets.Array2D((None, 38), "float32")}
        columns |= {"channel_mask": datasets.Sequence(datasets.Value("bool"), 38), "saturated": datasets.Sequence(whole, 38)}
        columns |= {"dropouts": whole, "malformed": text, "duplicate_of": text}
    return datasets.Features(columns)


# --- data set ----------------------------------------------------------------------------------------------------------------


def download() -> str:
    """Folder of the authors' archive, downloaded once. Raises ValueError where the network does not reach it."""
    try:
        return datasets.DownloadManager().download_and_extract(ARCHIVE)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot download {ARCHIVE} ({error}); see {REPOSITORY} and give the folder as --data_dir") from None


def prepare(
    data_dir: Path | None, output_dir: Path, subjects: list[int] | None = None, num_proc: int = 2, on_error: str = "raise"
) -> "Report":
    """Files -> Parquet shards of both configs and card in `output_dir`, written under a temporary name and renamed.

    Raises:
        ValueError: naming the file and line (`on_error="raise"`), the folder, or the argument that is wrong; no cycle at all.
    """
    output_dir = Path(output_dir)
    common.check_output(output_dir, ("recordings", "cycles"))
    files, report = find_files(Path(data_dir or download()), subjects), Report()
    with atomic_folder(output_dir) as work:
        sizes = {"recordings": 100, "cycles": 4000}
        shards = {name: common.Shards(work / name, features(name), size) for name, size in sizes.items()}
        for result in common.readable(make_rows, on_error, files, num_proc, "files", report.skipped):
            recording, cycles = report.add(*result)
            shards["recordings"].add([recording])
            shards["cycles"].add(cycles)
        for part in shards.values():
            part.close()
        if not shards["cycles"].rows:
            raise ValueError(f"no gait cycle in {len(files)} files: {dict(report.reasons)}")
        about = {"pretty_name": "HuGaDB v1: recordings and gait cycles", "license": "other", "license_name": "none-stated"}
        about |= {"license_link": REPOSITORY, "tags": ["gait", "imu", "emg", "wearable", "biomechanics"]}
        (work / "README.md").write_text(common.full_card(card_body(report), shards, **about), encoding="utf-8")
    return report


class Report:
    """What was found: `reasons` (condition, reason) -> cycles, `people` (subject, condition) -> cycles, malformed cells, ..."""

    def __init__(self):
        self.reasons, self.people, self.hashes = Counter(), Counter(), {}
        self.malformed, self.skipped, self.duplicates = [], [], []
        self.recordings = self.samples = self.dropouts = self.masked = 0

    def add(self, recording: dict, cycles: list[dict], reasons: Counter, digest: str) -> tuple[dict, list[dict]]:
        """Count a file; a repetition of an earlier one loses its cycles."""
        name = recording["recording_id"]
        first = self.hashes.setdefault(digest, name)
        if first != name:
            recording["duplicate_of"] = first
            self.duplicates.append(f"{name} = {first}")
            for (condition, reason), n in reasons.items():
                self.reasons[condition, "duplicate" if reason == "kept" else reason] += n
            cycles = []
        else:
            self.reasons.update(reasons)
        self.malformed += [f"{name} line {m['line']} {m['column']} = {m['value']}" for m in json.loads(recording["malformed"])]
        self.people.update((int(recording["subject_id"]), cycle["activity"]) for cycle in cycles)
        self.recordings += 1
        self.samples += len(recording["values"])
        self.dropouts += recording["dropouts"]
        self.masked += name in corrupted_gyroscopes()
        return recording, cycles


REASONS = {
    "kept": "kept",
    "activity": "ends after the stretch of one activity in which it began",
    "malformed": "holds a malformed cell",
    "range": "duration outside of the condition's range",
    "phase": "right foot rests less in the first half than in the second: begins at another event (not asked of running)",
    "few": f"fewer than {MIN_CYCLES} cycles of the condition to compare it with",
    "deviation": f"duration more than {MAX_DEVIATION:.0%} off the median",
    "correlation": f"correlation with the median cycle under {MIN_CORRELATION}",
    "duplicate": "recording is a copy of another",
    "bouts without a period": "(stretches of the activity, not cycles) too short, or no period",
}


def cycle_tables(report: Report) -> str:
    """Markdown: cycles by what became of them, and cycles by person and condition."""
    head = " | ".join(CONDITIONS) + " |\n|---|" + "---:|" * len(CONDITIONS)
    lines = [f"| cycles | {head}"]
    lines += [
        f"| {text} | " + " | ".join(f"{report.reasons[c, r]:,}" for c in CONDITIONS) + " |" for r, text in REASONS.items()
    ]
    lines += ["", f"| subject | {head}"]
    people = sorted({s for s, _ in report.people})
    lines += [f"| {s} | " + " | ".join(f"{report.people[s, c]:,}" for c in CONDITIONS) + " |" for s in people]
    return "\n".join(lines)


def card_body(report: Report) -> str:
    """The data card below its metadata."""
    ranges = ", ".join(f"{name} {a} to {b} s" for name, (a, b) in CONDITIONS.items())
    several = "; ".join(report.malformed) or "none"
    skipped = "".join(f"\n- {message}" for message in report.skipped) or " none."
    return common.card_text(
        __file__,
        report=report,
        fps=FPS,
        cycles=sum(report.people.values()),
        repository=REPOSITORY,
        conditions=", ".join(CONDITIONS),
        points=POINTS,
        sensors=", ".join(SENSORS),
        mask_share=MASK_SHARE,
        ranges=ranges,
        tables=cycle_tables(report),
        activities=", ".join(ACTIVITIES),
        dropout=DROPOUT,
        several=several,
        copies="; ".join(report.duplicates) or "none",
        skipped=skipped,
    )


def plot_cycles(folder: Path, output_dir: Path) -> list[Path]:
    """A figure a condition: mean cycle of each person and the band of one standard deviation, masked channels left out."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    table = parquet.read_table(folder / "cycles", columns=["subject_id", "activity", "values", "channel_mask"]).combine_chunks()
    person, activity = table["subject_id"].to_numpy(), table["activity"].to_numpy()
    values = table["values"].combine_chunks().storage.flatten().flatten().to_numpy().reshape(-1, POINTS, len(IMU))
    mask = table["channel_mask"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, len(IMU))
    people = sorted(set(person.tolist()), key=int)
    panels = ("acc_rf_x", "acc_rs_x", "acc_rt_z", "acc_ls_x", "gyro_rf_y", "gyro_rs_y", "gyro_rt_y", "gyro_ls_y")
    paths = []
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(CONDITIONS):
        if not (activity == label).any():
            continue
        figure = Figure(figsize=(20, 9), layout="constrained")
        axes = figure.subplots(2, 4).ravel()
        for ax, panel in zip(axes, panels):
            column, unit = IMU.index(panel), "m/s²" if panel.startswith("acc") else "rad/s"
            ax.set(title=panel, xlabel="% of the cycle", ylabel=unit, xlim=(0, POINTS))
            for one in people:
                curves = values[(activity == label) & (person == one) & mask[:, column], :, column]
                if len(curves) < MIN_CYCLES:
                    continue
                mean, spread, phase = curves.mean(axis=0), curves.std(axis=0), np.arange(POINTS)
                colour = colormaps["tab20"](people.index(one))
                ax.plot(phase, mean, color=colour, lw=1.2, label=one)
                ax.fill_between(phase, mean - spread, mean + spread, color=colour, alpha=0.06, lw=0)
        lines = {line.get_label(): line for ax in axes for line in ax.lines}
        order = sorted(lines, key=int)
        names = [f"{one} ({((activity == label) & (person == one)).sum()})" for one in order]
        figure.legend([lines[one] for one in order], names, title="subject (cycles)", loc="outside lower center", ncols=9)
        figure.suptitle(f"{name}: mean and standard deviation of each person's cycles; 0 % = initial contact, right")
        paths.append(Path(output_dir) / f"hugadb_{name}.png")
        with atomic_path(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=100)
    return paths


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__)
    parser.add_argument("--data_dir", type=Path, help="folder with the authors' files at any depth; default: download them")
    parser.add_argument("--subjects", type=int, nargs="+", help="only these of 1..18; default: all")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="also draw the cycles of each condition into this folder")
    args = parser.parse_args(argv)
    with common.errors_told():
        report = prepare(args.data_dir, args.output_dir, args.subjects, args.num_proc, args.on_error)
        figures = plot_cycles(args.output_dir, args.plot) if args.plot else []
    print(cycle_tables(report))
    for cell in report.malformed:
        print(f"malformed: {cell}")
    print(
        f"{report.recordings} recordings, {sum(report.people.values()):,} cycles in {args.output_dir}, "
        f"{len(report.skipped)} files skipped",
        *figures,
    )


if __name__ == "__main__":
    main()
