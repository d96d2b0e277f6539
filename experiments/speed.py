"""How long things take.

    python -m experiments.speed generation --model outputs/gist_10     # 1,000 walks from text to joints
    python -m experiments.speed report [--model outputs/knowledge]     # a 10 s video to a report as an HTML page
    python -m experiments.speed film --film demo.mp4                   # a real film to gait parameters (Sports2D's, BSD-3)
    python -m experiments.speed search [--model outputs/gist/text]     # encoding, and a query among 100,000 walks
    python -m experiments.speed space --model outputs/gist_10          # first walk in a headless Chromium (needs playwright)
    python -m experiments.speed demo                                   # a fresh clone: set-up, `make demo`, a first walk

Where --model may be left out, a model of the default size with untrained weights is timed: the time does not depend on them.
Out: model_cards/results/{generation,report,film,search,space,demo}_speed.json; of the Space also figures/space_*.png.
"""

import argparse
import contextlib
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import pipeline

import modeling_gait  # noqa: F401  (registers the pipelines)
from experiments.runner import PACKAGES, ROOT, figure_path, rounded, write_result
from modeling_gait.released import FOLDER
from modeling_gait.simulation import simulate_walks

PROMPTS = ("steppage gait, right side, 0.7 m/s", "lurch gait, left side", "stiff-legged gait, 0.6 m/s")

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]


def seconds(run: Callable[[], object], repeats: int = 1) -> float:
    """Median wall-clock time of `run`."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def machine() -> str:
    """What a time stands on."""
    used, there = len(os.sched_getaffinity(0)), os.cpu_count()
    return f"{torch.get_num_threads()} threads, {used} of {there} processors, load average {os.getloadavg()[0]:.1f}"


def generation(args: argparse.Namespace, folder: Path) -> tuple:
    """Three runs of 1,000 walks after a short warm-up, of prompts without a severity and with one."""
    pipe = pipeline("text-to-gait", model=args.model)
    rows, metrics = [], {}
    for kind, severe in (("", ""), ("_with_severity", "severe ")):
        prompts = [severe + PROMPTS[i % len(PROMPTS)] for i in range(args.walks)]
        pipe(prompts[:50], seed=0)
        for seed in range(3):
            rows.append({"severity": bool(severe), "seconds": seconds(lambda p=prompts, s=seed: pipe(p, seed=s)), "seed": seed})
        metrics[f"seconds_per_1000_walks{kind}"] = statistics.median(r["seconds"] for r in rows[-3:]) * 1000 / args.walks
    return f"{args.walks} walks of one window, text to joints, their numbers measured: median of three runs", metrics, rows


def report(args: argparse.Namespace, folder: Path) -> tuple:
    """A slow simulated walk as a standing camera sees it, 640 x 360 pixels at 30 fps, from MP4 to the page."""
    from modeling_gait import GaitKnowledgeConfig
    from modeling_gait.drawing.video_rendering import Camera, render_video
    from modeling_gait.export import write_csv
    from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification

    model = args.model
    if model is None:
        model = folder / "model"
        config = GaitKnowledgeConfig(branches=["skeleton", "video"], use_numeric=True)
        GaitKnowledgeForSequenceClassification(config).save_pretrained(model)
    joints = simulate_walks(1, 300, seed=0, pathology="parkinsonian", severity=1.0).joints[0]
    render_video(joints, folder / "walk.mp4", size=(360, 640), camera=Camera(90, 1.2, 5.0), crop=False)
    write_csv(folder / "walk.csv", joints, 30.0)
    began = time.perf_counter()
    pipe = pipeline("gait-report", model=str(model))
    load, rows = time.perf_counter() - began, []
    inputs = {"video": folder / "walk.mp4"}
    if "skeleton" in pipe.model.config.branches:
        inputs["video and skeleton"] = {"video": folder / "walk.mp4", "skeleton": folder / "walk.csv"}
    for name, walk in inputs.items():
        for _ in range(3):
            used = time.process_time()
            row = {"input": name, "seconds": seconds(lambda w=walk: pipe(w, html=folder / "report.html"))}
            row["processor_seconds"] = time.process_time() - used
            rows.append(row | {"page_kilobytes": (folder / "report.html").stat().st_size // 1000})
    video = [r for r in rows if r["input"] == "video"]
    metrics = {f"{k}_10_s_video": statistics.median(r[k] for r in video) for k in ("seconds", "processor_seconds")}
    return "a 10 s video of 640 x 360 pixels to an HTML report; medians of 3 runs", metrics | {"seconds_load": load}, rows


def film(args: argparse.Namespace, folder: Path) -> tuple:
    """A film to a walk and its gait parameters three times, MediaPipe loaded before; seconds for 10 s of film."""
    from modeling_gait.pose_estimation import estimate_poses
    from modeling_gait.recording import read_recording
    from modeling_gait.video import VideoReader
    from modeling_gait.video_walk import walk_from_poses

    reader, rows = VideoReader(args.film, 30.0), []
    estimate_poses(args.film, progress=False)
    for _ in range(3):
        used = time.process_time()
        row = {"seconds": seconds(lambda: read_recording(walk_from_poses(estimate_poses(args.film, progress=False))))}
        rows.append(row | {"processor_seconds": time.process_time() - used, "load": os.getloadavg()[0]})
    lasts = len(reader) / 30
    metrics = {f"{k}_per_10_s": 10 / lasts * statistics.median(r[k] for r in rows) for k in ("seconds", "processor_seconds")}
    size = f"{reader.stream.width} x {reader.stream.height}"
    protocol = f"{Path(args.film).name}, {lasts:.1f} s, {size} pixels, to gait parameters; medians of 3 runs"
    return protocol, metrics | {"film_seconds": lasts}, rows


def search(args: argparse.Namespace, folder: Path) -> tuple:
    """Clean simulated walks of 128 frames to vectors; `cleaned` counts the cleaning of raw joints. Each text is new."""
    from datasets import Dataset

    from modeling_gait import GaitDualEncoderConfig, GaitFeatureExtractor
    from modeling_gait.gait_search import MEASURED, GaitSearch, encode_walks
    from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel

    model = (
        GaitDualEncoderModel.from_pretrained(args.model) if args.model else GaitDualEncoderModel(GaitDualEncoderConfig())
    ).eval()
    extractor = GaitFeatureExtractor.from_pretrained(args.model) if args.model else GaitFeatureExtractor(num_frames=128)
    joints = list(simulate_walks(min(args.walks, 256), frames=128, seed=0).joints)
    joints = (joints * -(-args.walks // len(joints)))[: args.walks]
    encode_walks(model, joints[:64], extractor, clean=False)
    metrics = {
        "walks_per_second": args.walks / seconds(lambda: encode_walks(model, joints, extractor, clean=False), 3),
        "cleaned_walks_per_second": 64 / seconds(lambda: encode_walks(model, joints[:64], extractor, fps=30), 3),
    }
    rows, rng = 100 * args.walks, np.random.default_rng(0)
    vectors = rng.standard_normal((rows, model.config.projection_size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    measured = rng.uniform(0.3, 1.3, (rows, len(MEASURED))).astype(np.float32)
    bodies = rng.uniform(0.1, 0.5, (rows, 24)).astype(np.float32)
    found = GaitSearch(model, Dataset.from_dict({"walk_id": range(rows)}), vectors, measured, bodies, extractor)
    found.by_text("warm up, hobbling")
    texts = {
        "text": [f"hobbling along, {chr(97 + i) * 3}" for i in range(26)],
        "hybrid": [
            f"hobbling {chr(97 + i) * 3}, speed {0.4 + i / 50:.2f} m/s, stride over {0.5 + i / 50:.2f} m" for i in range(26)
        ],
        "numbers": [f"speed {0.4 + i / 50:.2f} m/s, stride at least {0.5 + i / 50:.2f} m" for i in range(26)],
    }
    queries = {k: [lambda t=t: found.by_text(t) for t in each] for k, each in texts.items()}
    queries["vector"] = [lambda v=v: found.by_vector(v) for v in vectors[:30]]
    queries["walk"] = [lambda j=j: found.by_walk(j, fps=30) for j in joints[:30]]
    queries["person"] = [lambda j=j: found.by_walk(j, fps=30, by="both") for j in joints[:30]]
    for name, runs in queries.items():
        each = [1e3 * seconds(run) for run in runs]
        metrics |= {f"{name}_query_ms": statistics.median(each), f"{name}_query_ms_slowest": max(each)}
    found.save(folder / "index")
    metrics["seconds_open"] = seconds(lambda: GaitSearch.load(model, folder / "index", extractor).by_vector(vectors[0]), 3)
    metrics["seconds_add_and_save"] = seconds(
        lambda: (found.add(joints[0], fps=30, walk_id=rows), found.save(folder / "index")), 3
    )
    return f"{args.walks} walks of 128 frames; {rows:,} rows, exact search; medians", metrics, [{"seed": 0}]


@contextlib.contextmanager
def served(model: str) -> Iterator[str]:
    """`space/app.py` on loopback, its models warm; yields its address, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen([sys.executable, ROOT / "space" / "app.py", "--model", model, "--port", port])
    try:
        for _ in range(180):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                break
            if server.poll() is not None:
                raise OSError(f"the Space ended with code {server.returncode}")
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def space(args: argparse.Namespace, folder: Path) -> tuple:
    """Three visits to `space/app.py` on loopback; the browser draws by software on the server's processors."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        raise OSError("no chromium here (Debian: apt install chromium)")
    with served(args.model) as url, sync_playwright() as playwright:
        rows = []
        for _ in range(3):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            rows.append(visit(page, url, folder))
            browser.close()
    metrics = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    return "headless Chromium with software graphics; a new browser each visit, models warm; medians of 3 visits", metrics, rows


def visit(page, url: str, folder: Path) -> dict[str, float]:
    """Open the page, ask for walks, hand in a broken file; seconds of each, and pictures."""
    first = seconds(lambda: (page.goto(url, wait_until="domcontentloaded"), page.wait_for_selector("#walk[data-frame]")))
    asked = []
    for prompt in PROMPTS:
        shown = page.locator("#walk").get_attribute("data-ready")
        page.locator("#prompt textarea").fill(prompt)
        began = time.perf_counter()
        page.locator("#generate").click()
        page.wait_for_function("old => document.getElementById('walk').dataset.ready !== old", arg=shown)
        asked.append(time.perf_counter() - began)
    page.screenshot(path=figure_path("space_describe"))
    page.get_by_role("tab", name="Read").click()
    (folder / "broken.csv").write_text("time,left_knee_x\n0,a\n")
    page.locator("#upload input[type=file]").set_input_files(folder / "broken.csv")
    page.wait_for_selector("#read-problem [role=alert]")
    page.wait_for_timeout(500)
    page.screenshot(path=figure_path("space_error"))
    return {"seconds_to_first_walk": first, "seconds_to_next_walk": statistics.median(asked)}


def demo(args: argparse.Namespace, folder: Path) -> tuple:
    """A clone of the last commit, all that pip has kept left aside: set-up, the demo, then one walk three times, offline."""
    clone, cache = folder / "clone", folder / "cache"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GAIT", "HF_", "OMP"))}
    environment |= {"PIP_CACHE_DIR": str(cache)}
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    rows = []

    def timed(what: str, command: list[str], environment: dict) -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = partial(subprocess.run, command, cwd=clone, env=environment, check=True, stdout=sys.stderr)
        row = {"what": what, "seconds": seconds(run), "load": os.getloadavg()[0]}
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        rows.append(row | {"processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime})

    timed("setup", ["make", ".venv/demo"], environment)
    size = megabytes(clone / ".venv")
    timed("demo_after_setup", ["make", "demo"], offline)
    for n in range(3):
        timed("first_walk_cli", [".venv/bin/gait", "generate", PROMPTS[0], "-o", f"{n}.gif"], offline)
    metrics = {
        f"{key}_{what}": statistics.median(r[key] for r in rows if r["what"] == what)
        for what in dict.fromkeys(r["what"] for r in rows)
        for key in ("seconds", "processor_seconds")
    }
    metrics |= {"megabytes_setup": size, "megabytes_download": megabytes(cache), "megabytes_weights": megabytes(FOLDER)}
    return "a clone of the last commit; the walk: process start to file written, median of 3", metrics, rows


def megabytes(folder: Path) -> float:
    """Size of the files in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


TIMED = {"generation": generation, "report": report, "film": film, "search": search, "space": space, "demo": demo}
MORE = {
    "report": ("matplotlib", "av"),
    "film": ("mediapipe", "av"),
    "search": ("faiss-cpu",),
    "space": ("gradio", "plotly", "playwright"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=TIMED)
    parser.add_argument("--model", help="folder or Hub id")
    parser.add_argument("--film", type=Path, help="of film")
    parser.add_argument("--walks", type=int, default=1000, help="of generation and encoding (default %(default)s)")
    parser.add_argument("--num_threads", type=int, default=0, help="CPU threads, 0 = torch's choice")
    args = parser.parse_args()
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    if args.model is None and args.what in ("generation", "space"):
        parser.error(f"{args.what} needs --model")
    if args.film is None and args.what == "film":
        parser.error("film needs --film")
    with tempfile.TemporaryDirectory() as folder:
        protocol, metrics, rows = TIMED[args.what](args, Path(folder))
    protocol += f"; {machine()}; {'trained' if args.model or args.what == 'demo' else 'untrained'} weights"
    data = {"film": "a film of real people", "generation": "none: prompts only", "space": "none: prompts only"}
    rows = [rounded(r, 2) for r in rows]
    print(
        metrics,
        write_result(
            f"{args.what}_speed",
            data.get(args.what, "simulated"),
            protocol,
            rounded(metrics, 3),
            rows,
            PACKAGES + MORE.get(args.what, ()),
        ),
    )


if __name__ == "__main__":
    main()
