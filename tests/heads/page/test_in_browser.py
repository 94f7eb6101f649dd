"""The page as a browser shows it: nothing is loaded, nothing hostile acts, all of it can be reached."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heads.page import write_page
from tests.heads.page import samples
from tests.heads.page.tables import pictured_table, uris_of

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jinja2")
pytest.importorskip("plotly")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

#: What plotly would act on.
TAGS = '<b>bold</b><a href="javascript:alert(5)">link</a>&amp;<br>%{meta}'
NAMES = ["a<img src=x onerror=alert(9)>.jpg", "rtl\u202egpj.jpg", "&amp;<b>.jpg"]
#: What the page knows of the points of its map.
POINTS = "JSON.parse(document.getElementById('map-points').textContent)"
#: Where the map shows its points, for a mouse: the place of each on the screen, by its number.
PLACES = """() => {
  const map = document.getElementById("plot-map"), box = map.getBoundingClientRect(), at = {};
  const { xaxis, yaxis } = map._fullLayout;
  for (const trace of map.data) (trace.customdata || []).forEach((point, row) => {
    at[point] = [box.left + xaxis._offset + xaxis.l2p(trace.x[row]),
                 box.top + yaxis._offset + yaxis.l2p(trace.y[row])];
  });
  return at;
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a table whose classes and files have hostile names."""
    folder = tmp_path_factory.mktemp("page")
    table = pictured_table(folder, samples.HOSTILE * 8, names=NAMES, unreadable=1)
    evaluation = samples.evaluation(uris_of(table), samples.HOSTILE, layers=table.layers)
    evaluation["transfer"]["sources"][0]["name"] = TAGS
    evaluation["verdict"] += samples.HOSTILE
    return write_page(evaluation, table, folder / "page.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def happened() -> list[str]:
    """What a page should not do: errors, dialogs, requests."""
    return []


@pytest.fixture
def page(browser: Any, page_file: Path, happened: list[str]) -> Iterator[Any]:
    def dismiss(dialog: Any) -> None:
        happened.append(dialog.message)
        dialog.dismiss()

    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: happened.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: happened.append(str(error)))
    page.on("dialog", dismiss)
    page.on("request", lambda request: happened.append(request.url[:80]) if is_foreign(request.url) else None)
    page.goto(page_file.as_uri())
    page.wait_for_selector("#plot-map .point")
    yield page
    context.close()


def is_foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:"))


def chosen(page: Any) -> str:
    return page.locator("#map-chosen").inner_text()


def test_it_opens_without_errors_dialogs_or_requests(page: Any, happened: list[str]) -> None:
    assert page.locator("section:visible").count() == 8
    assert page.locator(".plot .main-svg").count() >= 3
    page.wait_for_timeout(300)
    assert happened == []


def test_scripts_that_come_in_are_refused(page: Any, happened: list[str]) -> None:
    page.evaluate(
        """() => {
          window.acted = false;
          document.body.insertAdjacentHTML("beforeend", '<img src=x onerror="window.acted = true">');
          const script = document.createElement("script");
          script.textContent = "window.acted = true";
          document.body.append(script);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.acted") is False
    assert any("Content Security Policy" in text for text in happened)


def test_a_point_of_the_map_shows_its_image_and_names_as_text(page: Any, happened: list[str]) -> None:
    page.locator("#plot-map").scroll_into_view_if_needed()
    points = page.evaluate(POINTS)
    places = page.evaluate(PLACES)
    seen = set()
    for number, path in enumerate(points["path"]):
        label, file = points["names"][points["name"][number]], path.rpartition("/")[2]
        if number % 5 and not re.search("[<&]|u202e", file):
            continue
        page.mouse.move(5, 5)
        page.mouse.move(*places[str(number)])
        page.locator("#map-hover").wait_for(state="visible")
        texts = page.locator("#map-hover bdi").all_text_contents()
        assert texts[0] in points["names"] and texts[1] in {p.rpartition("/")[2] for p in points["path"]}
        if texts == [label, file] and points["image"][number]:  # the point on top, where some overlap
            image = page.locator("#map-hover img")
            assert image.evaluate("image => image.complete && image.naturalWidth > 20")
            seen.add(label)
    assert len(seen) >= 5 and seen & set(samples.HOSTILE[:4])
    assert page.locator("#map-hover b, #map-hover script").count() == 0
    assert happened == []


def test_plots_show_hostile_names_as_text(page: Any, happened: list[str]) -> None:
    plot = page.locator("#plot-curves")
    plot.scroll_into_view_if_needed()
    assert TAGS.replace(" ", "") in plot.locator(".legend").text_content().replace(" ", "")
    box = plot.locator(".points .point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#plot-curves .hovertext")
    assert TAGS.replace(" ", "") in plot.locator(".hovertext").first.text_content().replace(" ", "")
    assert plot.locator("a, img, image").count() == 0
    assert happened == []


def test_a_click_on_a_point_keeps_its_image(page: Any) -> None:
    page.locator("#plot-map").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(PLACES)["0"])
    page.locator("#map-hover").wait_for(state="visible")
    label = page.locator("#map-hover bdi").first.text_content()
    page.mouse.click(*page.evaluate(PLACES)["0"])
    page.wait_for_selector("#map-chosen .path")
    assert page.locator("#map-chosen dl bdi").first.text_content() == label
    assert page.locator("#map-chosen img").get_attribute("alt").startswith(f"Image of {label}: ")


def test_a_finger_on_a_point_shows_its_image_there(browser: Any, page_file: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(page_file.as_uri())
    page.wait_for_selector("#plot-map .point")
    page.locator("#plot-map").scroll_into_view_if_needed()
    point = page.evaluate(PLACES)["0"]
    page.touchscreen.tap(*point)
    page.locator("#map-hover img").wait_for(state="visible")
    shown, screen = page.locator("#map-hover").bounding_box(), page.locator("#plot-map").bounding_box()
    assert shown["x"] >= 0 and shown["x"] + shown["width"] <= 390
    beside = not shown["x"] < point[0] < shown["x"] + shown["width"]
    assert beside or not shown["y"] < point[1] < shown["y"] + shown["height"]
    assert screen["y"] <= shown["y"] and shown["y"] + shown["height"] <= screen["y"] + screen["height"] + 1
    page.keyboard.press("Escape")
    assert page.locator("#map-hover").is_hidden()
    context.close()


def test_the_keyboard_reaches_every_image_of_the_map(page: Any, happened: list[str]) -> None:
    order = page.evaluate(
        """() => [...document.querySelectorAll("a, button, select, input, summary, [tabindex='0']")]
          .map((each) => each.id || each.dataset.trace || "")"""
    )
    assert order.index("map-class") < order.index("map-step")
    page.locator("#map-class").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "map-step"
    paths = []
    for _ in range(64):
        page.keyboard.press("ArrowRight")
        paths.append(page.locator("#map-chosen .path").text_content())
    page.keyboard.press("Home")
    paths.append(page.locator("#map-chosen .path").text_content())
    assert set(paths) == set(page.evaluate(POINTS)["path"])
    assert page.locator("#map-step").get_attribute("aria-valuetext").endswith(paths[-1].rpartition("/")[2])
    ring = page.evaluate("document.getElementById('plot-map').data.at(-1).x.length")
    assert ring == 1 and happened == []


def test_the_slider_keeps_to_a_class_and_the_legend_switches_it_off(page: Any) -> None:
    page.locator("#map-class").select_option("2")
    name = page.locator("#map-class option:checked").text_content()
    assert page.locator("#map-place").text_content() == "1 of 8"
    for _ in range(7):
        page.locator("#map-step").press("ArrowRight")
        assert page.locator("#map-chosen dl bdi").first.text_content() == name
    button = page.locator(".legend button").nth(2)
    assert name in button.text_content()
    shown = page.locator("#plot-map .point").count()
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("#plot-map .point").count() == shown - 8
    assert page.locator("#map-step").is_disabled()
    page.keyboard.press("Enter")
    assert page.locator("#plot-map .point").count() == shown


def test_the_page_and_its_plots_go_dark_and_light_while_it_is_open(page: Any, happened: list[str]) -> None:
    def colors() -> list[str]:
        return page.evaluate(
            """() => [
              getComputedStyle(document.body).backgroundColor,
              getComputedStyle(document.body).color,
              document.querySelector("#plot-curves .xtick text").style.fill,
              document.querySelector("#plot-curves .lines path[style*='stroke-width: 2.5']").style.stroke,
              document.querySelector("#plot-map .point").style.fill,
            ]"""
        )

    light = colors()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("getComputedStyle(document.body).backgroundColor === 'rgb(20, 24, 31)'")
    page.wait_for_timeout(300)
    dark = colors()
    assert all(before != after for before, after in zip(light, dark, strict=True)), (light, dark)
    assert light[1] == light[2] and dark[1] == dark[2]
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(300)
    assert colors() == light
    assert happened == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_never_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(400)
    for opened in page.locator("details").all():
        opened.evaluate("each => { each.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    widest = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll("p, li, figure, .scroll, svg, button, select")]
          .filter((each) => !each.closest(".unseen, svg svg"))
          .map((each) => each.getBoundingClientRect().right))"""
    )
    assert widest <= width


def test_a_file_name_is_copied_or_selected(page: Any) -> None:
    button = page.locator("#data button.copy").first
    path = page.locator("#data .path").first.text_content()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    button.click()
    assert page.evaluate("getSelection().toString()") == path
    assert "Selected" in page.locator("#told").text_content()
    page.reload()
    page.evaluate(
        """() => {
          window.copied = [];
          const writeText = async (text) => { window.copied.push(text); };
          Object.defineProperty(navigator, "clipboard", { value: { writeText } });
        }"""
    )
    page.locator("#data button.copy").first.click()
    assert page.evaluate("window.copied") == [path]
    assert page.locator("#told").text_content() == "Copied"


def test_what_has_the_focus_is_marked_and_the_skip_link_leads_to_the_verdict(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_numbers_are_there_without_scripts(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("section:visible").count() == 8
    assert "its numbers are in the table" in page.locator("noscript").first.inner_text()
    context.close()
