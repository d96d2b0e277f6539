"""Time from a 10 s video to a report as an HTML page.

    python -m experiments.report_speed [--model outputs/knowledge]

A slow simulated walk is rendered as a standing camera sees it (640 x 360 pixels) and written as MP4; the pipeline finds the
person, crops, classifies, measures what the picture shows and writes the page. Without --model: an untrained model
of the default size with both branches; the time does not depend on its weights. Writes model_cards/results/report_speed.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import pipeline

ROOT = Path(__file__).resolve().parents[1]

from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig  # noqa: E402
from modeling_gait.drawing.video_rendering import Camera, render_video  # noqa: E402
from modeling_gait.export import write_csv  # noqa: E402
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification  # noqa: E402
from modeling_gait.pipeline_gait_report import TASK  # noqa: E402
from modeling_gait.simulation import simulate_walks  # noqa: E402
from modeling_gait.training.results import write_result  # noqa: E402

RUNS, SECONDS = 3, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a knowledge model with a video branch")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = args.model
        if model is None:
            model = folder / "model"
            config = GaitKnowledgeConfig(branches=["skeleton", "video"], use_numeric=True)
            GaitKnowledgeForSequenceClassification(config).save_pretrained(model)
        joints = simulate_walks(1, 30 * SECONDS, seed=0, pathology="parkinsonian", severity=1.0).joints[0]
        render_video(joints, folder / "walk.mp4", size=(360, 640), camera=Camera(90, 1.2, 5.0), crop=False)
        write_csv(folder / "walk.csv", joints, 30.0)
        began = time.perf_counter()
        pipe = pipeline(TASK, model=str(model))
        load = time.perf_counter() - began
        inputs = {"video": folder / "walk.mp4"}
        if "skeleton" in pipe.model.config.branches:
            inputs["video and skeleton"] = {"video": folder / "walk.mp4", "skeleton": folder / "walk.csv"}
        for name, walk in inputs.items():
            for _ in range(RUNS):
                began, used = time.perf_counter(), time.process_time()
                pipe(walk, html=folder / "report.html")
                row = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - used}
                rows.append({"input": name} | {k: round(v, 2) for k, v in row.items()})
                rows[-1]["page_kilobytes"] = (folder / "report.html").stat().st_size // 1000
    video = [r for r in rows if r["input"] == "video"]
    protocol = (
        f"a {SECONDS} s video of 640 x 360 pixels at 30 fps to an HTML report; medians of {RUNS} runs after the "
        f"model was loaded, {torch.get_num_threads()} threads, {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors, "
        f"load average {os.getloadavg()[0]:.1f} (other work ran beside it where that is above 1); "
        + ("untrained weights" if args.model is None else "trained weights")
    )
    metrics = {
        "seconds_10_s_video": statistics.median(r["seconds"] for r in video),
        "processor_seconds_10_s_video": statistics.median(r["processor_seconds"] for r in video),
        "seconds_load": round(load, 2),
    }
    command = "python -m experiments.report_speed" + (f" --model {args.model.name}" if args.model else "")
    packages = ("torch", "transformers", "matplotlib", "av")
    write_result("report_speed", "simulated", protocol, metrics, rows, packages, command=command)
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
