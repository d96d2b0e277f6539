"""The Space in a headless Chromium: seconds to the first walk on the screen, and its pictures.

    python -m experiments.space_speed --model outputs/gist_10        # needs playwright and a chromium

Serves space/app.py on loopback. Writes model_cards/results/space_speed.json and figures/space_*.png. The browser draws by
software (SwiftShader) on the same processors as the server; a visitor's machine has a graphics card.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]

from app import build, launch  # noqa: E402
from gait_demo import GaitDemo  # noqa: E402

from modeling_gait.training.results import write_result  # noqa: E402

FIGURES = ROOT / "model_cards" / "figures"
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
PROMPTS = ("severe steppage gait, right side, 0.7 m/s", "moderate lurch gait, left side", "severe stiff-legged gait, 0.6 m/s")


def visit(page: Page, url: str) -> dict[str, float]:
    """One visit: open the page, ask for walks, hand in a broken file; seconds of each, and pictures."""
    began = time.perf_counter()
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#walk[data-frame]")
    seconds = {"seconds_to_first_walk": time.perf_counter() - began}
    asked = []
    for prompt in PROMPTS:
        shown = page.locator("#walk").get_attribute("data-ready")
        page.locator("#prompt textarea").fill(prompt)
        began = time.perf_counter()
        page.locator("#generate").click()
        page.wait_for_function("old => document.getElementById('walk').dataset.ready !== old", arg=shown)
        asked.append(time.perf_counter() - began)
        if prompt == PROMPTS[0]:
            page.wait_for_timeout(2000)
            page.screenshot(path=FIGURES / "space_describe.png")
    page.get_by_role("tab", name="Read a walk").click()
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.csv"
        broken.write_text("time,left_knee_x\n0,a\n")
        page.locator("#upload input[type=file]").set_input_files(broken)
        page.wait_for_selector("#read-problem [role=alert]")
        page.wait_for_timeout(500)
        page.screenshot(path=FIGURES / "space_error.png")
    return seconds | {"seconds_to_next_walk": statistics.median(asked)}


def busy(seconds: float = 2.0) -> float:
    """Share of the processors' time that is used while this process waits (Linux)."""

    def times() -> list[int]:
        return [int(v) for v in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]

    before = times()
    time.sleep(seconds)
    spent = [b - a for a, b in zip(before, times())]
    return 1 - (spent[3] + spent[4]) / sum(spent)  # idle, waiting for the disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub id of a family")
    parser.add_argument("--visits", type=int, default=3)
    args = parser.parse_args()
    if CHROMIUM is None:
        parser.error("no chromium here (Debian: apt install chromium)")
    demo = GaitDemo(args.model)
    demo.warm_up()
    torch.set_num_threads(min(2, os.cpu_count() or 1))  # as space/app.py
    served = build(demo)
    _, url, _ = launch(served, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    others = busy()
    rows = []
    with sync_playwright() as playwright:
        for _ in range(args.visits):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            rows.append({k: round(v, 2) for k, v in visit(page, url).items()})
            browser.close()
    served.close()
    protocol = (
        f"headless Chromium with software graphics on the server's {os.cpu_count()} processors, {others:.0%} busy before it; "
        f"a new browser each visit, models warm; medians of {args.visits} visits"
    )
    metrics = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    packages = ("torch", "transformers", "gradio", "plotly", "playwright")
    write_result("space_speed", "none: prompts only", protocol, metrics, rows, packages)
    print(metrics)


if __name__ == "__main__":
    main()
