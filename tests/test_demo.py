"""`gait demo`: everything that its page shows is there, and nothing that is no demo is replaced."""

import re

import pytest
from test_cli import answer, gait

from modeling_gait.drawing import rendering
from modeling_gait.export import write_csv
from modeling_gait.gait_report import GaitReport
from modeling_gait.skeletons import SKELETONS
from modeling_gait.training import showing


def sketch(walks, names, folder) -> None:
    """The files of `write_pictures`, the pictures empty."""
    (folder / "walks").mkdir(parents=True)
    for picture in ("walks.gif", "angles.png"):
        (folder / picture).touch()
    for walk, name in zip(walks, names):
        write_csv(folder / "walks" / f"{name}.csv", walk["joints"], walk["fps"], SKELETONS[walk["skeleton"]])


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The page, and what the command answers."""
    out = tmp_path_factory.mktemp("shown") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showing, "write_pictures", sketch)
        patch.setattr(rendering, "render_animation", lambda walks, path, *_, **__: path.touch())
        patch.setattr(GaitReport, "disagreement", lambda report, said: [f"the text says {said}, the report {report.label}"])
        return out, answer("demo", "--out", out)


def test_the_page_shows_what_is_there(shown):
    out, said = shown
    page = (out / "index.html").read_text(encoding="utf-8")
    assert said["out"] == str((out / "index.html").resolve())
    assert len(said["walks"]) == 14 and page.count("<tr>") == 15
    links = set(re.findall(r'(?:src|href)="([^"]+)"', page))
    assert len(links) == 7 and all((out / link).exists() for link in links) and "http" not in " ".join(links)
    assert "<html" in (out / "report.html").read_text(encoding="utf-8") and page.count("<li>") == 3
    assert re.search(r"The text says \w+, the report \w+\.</p>", page)
    assert "which nothing here tells" not in page  # the search knows what was measured
    first = re.findall(r"<tr><td>([^<]*)</td>", page)
    assert (
        first.count("normal") == 2 and "severe steppage" in first and "mild steppage" in first and "severe normal" not in page
    )
    asked = [w["asked_speed"] for w in said["walks"]]
    assert all(severe < mild for severe, mild in zip(asked[1:7], asked[8:14])), "the milder, the faster"


def test_what_is_no_demo_stays(shown, tmp_path):
    out, _ = shown
    assert "--force replaces a demo" in gait("demo", "--out", out, code=1).stderr
    (tmp_path / "mine.txt").touch()
    assert "is no demo" in gait("demo", "--out", tmp_path, "--force", code=1).stderr and (tmp_path / "mine.txt").exists()
