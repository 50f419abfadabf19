"""The loop's page in a browser: with and without JavaScript, on a desk and on a phone, by day and by night.

Usage: python -m tests.monitoring.test_browser /srv/endolab/datasets/images
draws docs/page-desk.png and docs/page-phone.png anew, of a lab that it makes in that directory, and takes away again.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.monitoring.lab import drawn, served
from tests.unit.app.worlds import World

DOCS = Path(__file__).resolve().parents[2] / "docs"

DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}

# The contrast, 1 to 21 as WCAG 2 has it, of each element with text of its own to the first background behind it.
CONTRASTS = """() => {
  const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255)
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number)
  const behind = element => {
    const colour = numbers(getComputedStyle(element).backgroundColor)
    return colour[3] === 0 ? behind(element.parentElement) : colour
  }
  return [...document.querySelectorAll("body :not(title)")]
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(element => {
      const ink = element.closest("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color
      const [one, other] = [light(numbers(ink)), light(behind(element))].sort((a, b) => a - b)
      return [element.textContent.trim().slice(0, 40), (other + 0.05) / (one + 0.05)]
    })
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; engine.py has seen to it that there is one."""
    with sync_playwright() as playwright:
        # Root has no sandbox, and the page is our own.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return drawn(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with served(world) as address:
        yield address


@contextmanager
def looked_at(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """The page as a visitor sees it. At the end nothing must have failed, and nothing been asked of anybody else."""
    context = browser.new_context(**{"viewport": DESK, **options})
    page, said, asked = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: said.append(response.url) if response.status >= 400 else None)
    page.goto(f"{url}/loop/page", wait_until="networkidle")
    yield page
    context.close()
    assert said == []
    assert {each for each in asked if not each.startswith(f"{url}/")} == set()


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_whole_page_is_seen(browser: Browser, url: str, size: dict[str, int], scripts: bool) -> None:
    with looked_at(browser, url, viewport=size, java_script_enabled=scripts) as page:
        assert page.get_by_role("heading", level=1).inner_text() == "Laparoscopy"
        assert page.get_by_text("3 of 8 jobs").is_visible()
        assert page.get_by_role("heading", name="Iteration 4").is_visible()
        pictures = page.locator("img.picture, img.heat")
        assert pictures.count() == 2 * 8
        for number in range(pictures.count()):
            picture = pictures.nth(number)
            box = picture.bounding_box()
            assert box, "it is seen"
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size["width"]
            assert box["height"] > 80, "it has been loaded"


def test_nothing_is_wider_than_a_phone(browser: Browser, url: str) -> None:
    with looked_at(browser, url, viewport=PHONE) as page:
        page.get_by_text("The numbers").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_heat_maps_lie_on_their_frames_and_can_be_hidden_without_javascript(browser: Browser, url: str) -> None:
    with looked_at(browser, url, java_script_enabled=False) as page:
        frame, heat = page.locator("img.picture").first, page.locator("img.heat").first
        assert frame.bounding_box() == heat.bounding_box()
        page.get_by_label("Show where the model was unsure").uncheck()
        assert not heat.is_visible()
        assert frame.is_visible()


def test_each_frame_has_its_own_heat_and_the_tasks_order(browser: Browser, url: str, world: World) -> None:
    with looked_at(browser, url) as page:
        names = [text.split("\n")[0] for text in page.locator("figcaption").all_inner_texts()[:8]]
        sources = [image.get_attribute("src") for image in page.locator("img.heat").all()]
    assert sources == [f"frames/{name}/heat" for name in names]
    assert [f"{name}.png" for name in names] == world.cvat.open()[0].frames


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, url: str, scheme: Any) -> None:
    with looked_at(browser, url, color_scheme=scheme) as page:
        page.get_by_text("The numbers").click()
        contrasts = dict(page.evaluate(CONTRASTS))
    assert len(contrasts) > 30
    assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}


def test_night_is_dark(browser: Browser, url: str) -> None:
    with looked_at(browser, url, color_scheme="dark") as page:
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


def test_who_does_not_see_hears_all_of_it(browser: Browser, url: str) -> None:
    with looked_at(browser, url) as page:
        for image in page.get_by_role("img").all():
            assert image.get_attribute("alt") or image.get_attribute("aria-label")
        levels = [int(each.evaluate("heading => heading.tagName[1]")) for each in page.get_by_role("heading").all()]
        assert levels[0] == 1
        assert all(next_ - level <= 1 for level, next_ in zip(levels, levels[1:], strict=False))
        assert page.get_by_role("main").count() == 1
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "ActiveLearning_Iteration_4"


def test_what_is_wrong_stands_out(browser: Browser, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cvat.down = True
    world.turns()
    with served(world) as url, looked_at(browser, url) as page:
        assert page.get_by_text("CVAT does not answer; wait").is_visible()
        assert page.get_by_text("not well", exact=True).is_visible()


def draw(directory: Path) -> None:
    """Writes the pictures of the documents, in which `directory`, which must not be there yet, can be read."""
    directory.mkdir(parents=True)
    with served(drawn(directory)) as url, chromium() as browser:
        for name, options in (("desk", {"viewport": DESK}), ("phone", {"viewport": PHONE, "color_scheme": "dark"})):
            with looked_at(browser, url, **options) as page:
                page.screenshot(path=DOCS / f"page-{name}.png", full_page=name == "desk")
    shutil.rmtree(directory)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
