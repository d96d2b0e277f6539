"""The Space in a headless Chromium: a walk that moves and can be turned, an error that can be read, a file dragged in."""

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
import app
from test_space import demo, url, walk_file  # noqa: F401
from test_space_search import finder  # noqa: F401

from experiments.speed import ARGUMENTS, CHROMIUM

if CHROMIUM is None:
    pytest.skip("no chromium here (Debian: apt install chromium)", allow_module_level=True)

from playwright.sync_api import Page, expect, sync_playwright

CANVAS = "#walk .gl-container canvas"
# heights of the first moving line of the plot
HEIGHTS = "(p => p.data[p.layout.meta.traces[0]].z)(document.querySelector('#walk .js-plotly-plot'))"
CAMERA = "document.querySelector('#walk .js-plotly-plot')._fullLayout.scene._scene.getCamera().eye.x"
WAIT = 120_000  # ms, for a machine with other work


@pytest.fixture
def search_url(demo, finder) -> Iterator[str]:  # noqa: F811
    page = app.build(demo, finder)
    _, address, _ = app.launch(page, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    page.close()


@pytest.fixture
def page(url) -> Iterator[Page]:  # noqa: F811
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        page.goto(url, wait_until="domcontentloaded")
        yield page
        browser.close()


def picture(page: Page) -> bytes:
    """The plot as it is drawn; not the locator's screenshot, which waits for an element at rest."""
    box = page.evaluate("p => document.querySelector(p).getBoundingClientRect().toJSON()", CANVAS)
    return page.screenshot(clip={k: box[k] for k in ("x", "y", "width", "height")})


def press(page: Page, button: str) -> None:
    """Click a button of the plot where it is: plotly draws them anew with each frame, so Playwright sees none at rest."""
    find = "text => [...document.querySelectorAll('#walk .updatemenu-button')].find(b => b.textContent === text)"
    box = page.evaluate(f"text => (({find})(text)).getBoundingClientRect().toJSON()", button)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def wait_for_frame(page: Page, other_than: str) -> None:
    page.wait_for_function("seen => document.getElementById('walk').dataset.frame !== seen", arg=other_than)


def test_describe_watch_turn_and_read(page, walk_file, tmp_path):  # noqa: F811
    """One visit."""
    walk = page.locator("#walk")
    page.wait_for_selector("#walk[data-ready]")  # the first example is there without a click
    first = walk.get_attribute("data-ready")
    page.wait_for_function("document.querySelector('#angles .js-plotly-plot')?.data?.length >= 4")  # angles follow the walk

    # A prompt: another walk, which moves.
    page.locator("#prompt textarea").fill("moderate lurch gait, left side")
    page.locator("#prompt textarea").press("Enter")
    expect(page.locator("#summary")).to_contain_text("lurch gait, left side, moderate", timeout=WAIT)
    page.wait_for_function("old => document.getElementById('walk').dataset.ready !== old", arg=first)
    wait_for_frame(page, walk.get_attribute("data-frame"))
    shot = picture(page)
    page.wait_for_function(f"old => JSON.stringify({HEIGHTS}) !== old", arg=page.evaluate(f"JSON.stringify({HEIGHTS})"))
    for _ in range(40):  # it is drawn a little later
        if picture(page) != shot:
            break
        page.wait_for_timeout(250)
    else:
        pytest.fail("the plot has new joints, but looks as before")

    # Pause holds it; dragging turns it; play goes on.
    press(page, "Pause")
    page.wait_for_timeout(300)
    held = walk.get_attribute("data-frame")
    page.wait_for_timeout(300)
    assert walk.get_attribute("data-frame") == held
    before, box = page.evaluate(CAMERA), page.locator(CANVAS).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y + 20, steps=4)
    page.mouse.up()
    page.wait_for_function(f"before => Math.abs({CAMERA} - before) > 0.1", arg=before)  # the camera follows a little later
    press(page, "Play")
    wait_for_frame(page, held)

    # A refusal clears the walk.
    page.locator("#prompt textarea").fill("a purple elephant")
    page.locator("#generate").click()
    expect(page.locator("#problem [role=alert]")).to_contain_text("names no gait", timeout=WAIT)
    expect(page.locator("#walk .js-plotly-plot")).to_have_count(0)
    expect(page.locator("#summary")).to_be_empty()

    # A broken file: its error in words.
    page.get_by_role("tab", name="Read").click()
    broken = tmp_path / "broken.csv"
    broken.write_text("time,left_knee_x\n0,a\n")
    page.locator("#upload input[type=file]").set_input_files(str(broken))
    expect(page.locator("#read-problem [role=alert]")).to_contain_text("broken.csv", timeout=WAIT)
    assert "Traceback" not in page.inner_text("body")

    # A good one, dragged in.
    page.locator("#upload").get_by_label("Clear").first.click()
    content = walk_file.read_text()
    dropped = page.evaluate_handle(
        "text => { const d = new DataTransfer(); d.items.add(new File([text], 'my_walk.csv', {type: 'text/csv'})); return d; }",
        content,
    )
    page.locator("#upload").get_by_text("Drop File Here").dispatch_event("drop", {"dataTransfer": dropped})
    page.wait_for_selector("#read-walk[data-ready]")
    expect(page.locator("#read-problem [role=alert]")).to_have_count(0)


def test_a_phone(page, url):  # noqa: F811
    """The page is not wider than the phone, and the buttons under the walk do not cover each other."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#walk[data-ready]")
    page.wait_for_function("document.querySelector('#angles .js-plotly-plot')?.data?.length >= 4")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ends = "[...document.querySelectorAll('#walk .updatemenu-button')].map(b => b.getBoundingClientRect())"
    boxes = sorted(page.evaluate(f"{ends}.map(b => [b.left, b.right])"))
    assert len(boxes) == 5 and all(a[1] <= b[0] + 1 for a, b in zip(boxes, boxes[1:])) and boxes[-1][1] <= 390


def test_two_visitors_search_on_phones(page, search_url, walk_file):  # noqa: F811
    """Hits are shown with why and in 3D; what one hands in is found by that visitor alone; nothing is wider than the phone."""
    visitors = [page, page.context.browser.new_page()]
    for visitor in visitors:
        visitor.set_default_timeout(WAIT)
        visitor.set_viewport_size({"width": 390, "height": 844})
        visitor.goto(search_url, wait_until="domcontentloaded")
        visitor.get_by_role("tab", name="Find").click()
    one, other = visitors
    one.locator("#query textarea, #query input").first.fill("steppage gait, slower than 1.1 m/s")
    one.locator("#find").click()
    expect(one.locator("#why")).to_contain_text("slower than 1.1 m/s", timeout=WAIT)
    one.wait_for_selector("#found[data-ready]")
    first = one.locator("#found").get_attribute("data-ready")
    one.locator("#hits label").nth(2).click()
    one.wait_for_function("old => document.getElementById('found').dataset.ready !== old", arg=first)
    assert one.evaluate("document.documentElement.scrollWidth") <= 390

    one.locator("#own-file input[type=file]").set_input_files(str(walk_file))
    expect(one.locator("#search-notes")).to_contain_text("my_walk.csv", timeout=WAIT)
    for visitor in visitors:
        visitor.locator("#where textarea, #where input").first.fill("person=you")
        visitor.locator("#find").click()
    expect(one.locator("#why")).to_contain_text("my_walk.csv (yours)", timeout=WAIT)
    expect(other.locator("#search-problem [role=alert]")).to_contain_text("passes the filter", timeout=WAIT)
    assert "my_walk" not in other.inner_text("body")
