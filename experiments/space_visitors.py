"""Visitors of the Space at once: is anyone's answer lost, and does anyone get what is another's?

    python -m experiments.space_visitors --model gait-small [--visitors 20]

In: a family. Each visitor asks `space/app.py` on loopback for a walk of its own (seed, speed), hands in a good file (every
second one in millimetres, which gives a note) and one that is broken, each under its own name; all visitors begin together.
Out: model_cards/results/space_visitors.json: `visitors`, `requests`, `lost` (no answer, or an error where there is none),
`leaked` (what is another's), `p95_seconds` of a request, waiting in the queue included.
"""

import argparse
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from experiments.runner import PACKAGES, rounded, write_result
from experiments.speed import machine, served
from modeling_gait.export import write_csv
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks

LONGEST = 300  # s that a visitor waits for one answer


def own_things(folder: Path, n: int) -> dict:
    """What visitor `n` sends, and what must come back."""
    joints = simulate_walks(1, frames=100 + n, seed=n, pathology="steppage", severity=0.5, side="right").joints[0]
    good, broken = folder / f"visitor{n:03}.csv", folder / f"broken{n:03}.csv"
    write_csv(good, joints * (1000 if n % 2 else 1), 30.0)
    broken.write_text("time,left_knee_x\n0,a\n")
    gait = "somebody walks" if n % 2 else "normal gait"  # the first is taken as normal, with a note
    speed = read_recording(good, rate=30.0).gait_parameters["speed"]
    return {"n": n, "prompt": f"{gait}, {0.7 + 0.02 * n:.2f} m/s", "good": good, "broken": broken, "speed": speed}


def visit(url: str, own: dict, folder: Path, begin: threading.Barrier) -> list[dict]:
    """The three requests of a visitor, in turns: rows with `seconds`, `lost`, `leaked`."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(url, verbose=False, download_files=str(folder))
    requests = {
        "generate": ((own["prompt"], 1000 + own["n"]), "/generate"),
        "read": ((handle_file(str(own["good"])), 0), "/describe"),
        "broken": ((handle_file(str(own["broken"])), 0), "/describe"),
    }
    order = list(requests)[own["n"] % 3 :] + list(requests)[: own["n"] % 3]
    begin.wait()
    rows = []
    for kind in order:
        arguments, endpoint = requests[kind]
        began = time.perf_counter()
        try:
            answer = client.submit(*arguments, api_name=endpoint).result(timeout=LONGEST)
        except AppError as error:
            answer = str(error)
        except Exception as error:  # whatever else happens, this visitor got nothing
            answer = error
        row = {"visitor": own["n"], "request": kind, "seconds": time.perf_counter() - began}
        rows.append(row | judged(kind, answer, own))
    return rows


def judged(kind: str, answer, own: dict) -> dict[str, bool]:
    """Is it an answer to this request (`lost`), and this visitor's own (`leaked`)?"""
    if isinstance(answer, Exception) or isinstance(answer, str) != (kind == "broken"):
        return {"lost": True, "leaked": False}
    if kind == "broken":
        return {"lost": False, "leaked": own["broken"].name not in answer or answer.count(".csv") != 1}
    about = answer[0] if kind == "generate" else answer
    told = json.dumps(about)
    guessed = ("taken as normal" in told, "taken as millimetres" in told)
    if kind == "generate":
        right = (about["prompt"], about["seed"]) == (own["prompt"], 1000 + own["n"]) and guessed == (bool(own["n"] % 2), False)
    else:
        right = abs(about["gait_parameters"]["speed"] - own["speed"]) < 1e-4 and guessed == (False, bool(own["n"] % 2))
    return {"lost": False, "leaked": not right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a family")
    parser.add_argument("--visitors", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served(args.model) as url:
        folder, begin = Path(name), threading.Barrier(args.visitors)
        owned = [own_things(folder, n) for n in range(args.visitors)]
        with ThreadPoolExecutor(args.visitors) as pool:
            rows = [r for rows in pool.map(lambda own: visit(url, own, folder, begin), owned) for r in rows]
    seconds = [r["seconds"] for r in rows]
    metrics = {"visitors": args.visitors, "requests": len(rows), **{k: sum(r[k] for r in rows) for k in ("lost", "leaked")}}
    metrics |= {"p50_seconds": float(np.median(seconds)), "p95_seconds": float(np.percentile(seconds, 95))}
    protocol = f"{args.visitors} visitors at once on loopback, three requests each, clients on the same machine; {machine()}"
    rows = [rounded(r, 2) for r in rows]
    print(metrics)
    print(write_result("space_visitors", "simulated", protocol, rounded(metrics, 3), rows, (*PACKAGES, "gradio")))


if __name__ == "__main__":
    main()
