from __future__ import annotations

import base64
import copy
import hashlib
import html
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import BottleneckError
from features.store.table import FeatureTable
from heads.page import write_page
from heads.page.document import render, to_json
from heads.page.pictures import Album
from heads.page.writer import make_sections
from tests.heads.page import samples
from tests.heads.page.parsed import Page
from tests.heads.page.tables import pictured_table, uris_of

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

SECTIONS = ["verdict", "transfer", "choices", "trust", "data", "map", "missing", "trained-on"]


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """60 images of five classes, one of which can't be read."""
    return pictured_table(tmp_path_factory.mktemp("flowers"), samples.FLOWERS * 12, unreadable=1)


@pytest.fixture(scope="module")
def page(flowers: FeatureTable, tmp_path_factory: pytest.TempPathFactory) -> Page:
    uris = uris_of(flowers)
    unreadable = [uri for uri in uris if not Path(uri).exists()]
    evaluation = samples.evaluation([*unreadable, *uris], layers=flowers.layers)
    path = write_page(evaluation, flowers, tmp_path_factory.mktemp("page") / "page.html")
    return Page(path.read_text(encoding="utf-8"))


def without_map(evaluation: dict[str, Any]) -> Page:
    return Page(render(evaluation, make_sections(evaluation, Album({}), None, {})))


def test_the_verdict_comes_first_and_the_sections_follow_in_order(page: Page) -> None:
    assert [section.attributes["id"] for section in page.all("section")] == SECTIONS
    first = page.all("h2")[0]
    assert first.text == "Verdict"
    assert "Transfer helps" in page.by_id("verdict").text
    assert page.text.index("Transfer helps") < page.text.index("Contents")
    links = [link.attributes["href"] for link in page.all("a")]
    assert links == ["#main", *(f"#{section}" for section in SECTIONS)]


def test_each_part_of_an_evaluation_is_on_the_page(page: Page) -> None:
    for section, texts in {
        "transfer": ["higher start", "8.0 times", "55.0% (51.0% to 59.0%)", "the 60 images of the test"],
        "choices": ["mixed7", "may be chance", "with views", "end-to-end", "24.2 min"],
        "trust": ["95% interval", "5.0%", "this head", "another version of the table"],
        "data": [
            "About 12 labels",
            "3 pictures are in several splits",
            "Distance",
            "no better than chance",
            "more of daisy",
        ],
        "map": ["All 60 images", "sunflowers"],
        "missing": ["Fine-tuning was not compared", "bottlenecks fine-tune"],
        "trained-on": ["20261126-190828-logistic-cf51", "inception_v3", "not set", "/data/flowers"],
    }.items():
        for text in texts:
            assert text in page.by_id(section).text, (section, text)


def test_it_is_one_well_formed_document_that_finds_nothing_elsewhere(page: Page) -> None:
    assert page.unclosed == []
    for element in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert element.attributes.get(name, "#").startswith(("#", "data:image/webp;base64,")), element
    assert not page.all("link", "iframe", "object", "embed", "base", "form")
    assert "@import" not in page.all("style")[0].text and "url(" not in page.all("style")[0].text


def test_only_the_scripts_of_the_page_itself_may_run(page: Page) -> None:
    (policy,) = [m.attributes["content"] for m in page.all("meta") if "http-equiv" in m.attributes]
    scripts = [script.text for script in page.all("script") if "type" not in script.attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "script-src " + " ".join(f"'sha256-{each}'" for each in hashes),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert len(scripts) == 2
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]


def test_whoever_does_not_see_finds_the_way(page: Page) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert {"header", "nav", "main", "footer"} <= {element.tag for element in page.elements}
    for element in page.elements:
        assert set(element.attributes.get("aria-labelledby", "").split()) <= set(ids)
    assert len(page.all("img")) > 20
    assert all(image.attributes["alt"].strip() for image in page.all("img"))
    assert all(head.attributes["scope"] in ("row", "col") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 8
    regions = [each for each in page.all("div") if each.attributes.get("role") == "region"]
    assert len(regions) == len(page.all("table"))
    assert all(each.attributes["tabindex"] == "0" and each.attributes["aria-label"] for each in regions)
    plots = [each for each in page.all("div") if each.attributes.get("role") == "img"]
    assert len(plots) == 3 and all(each.attributes["aria-label"] for each in plots)
    assert len(page.all("figcaption")) == len(page.all("figure")) == 3
    assert all(button.text.strip() and button.attributes["type"] == "button" for button in page.all("button"))


def test_an_image_that_cannot_be_read_is_said_to_be_so(page: Page, flowers: FeatureTable) -> None:
    assert "the image can't be read" in page.by_id("trust").text
    points = json.loads(page.by_id("map-points").text)
    read = dict(zip(points["path"], points["image"], strict=True))
    assert len(read) == 60
    for uri, image in read.items():
        assert image.startswith("data:image/webp;base64,") if Path(uri).exists() else image is None
        assert Path(uri).exists() or uri in page.by_id("trust").text


def test_what_comes_in_is_text_wherever_it_goes(tmp_path: Path) -> None:
    names = ["a<img src=x onerror=alert(9)>.jpg", "rtl\u202egpj.jpg", "&amp;.jpg"]
    table = pictured_table(tmp_path, samples.HOSTILE * 4, names=names)
    harmful = samples.HOSTILE[:4]
    evaluation = samples.evaluation(uris_of(table), samples.HOSTILE, layers=table.layers)
    evaluation["verdict"] += harmful
    evaluation["head"] |= {"id": harmful[1], "kind": harmful[0], "parameters": {harmful[2]: harmful[0]}}
    evaluation["table"] |= dict.fromkeys(["name", "source", "recipe"], harmful[2])
    evaluation["missing"] = [{"what": harmful[0], "how": harmful[2]}]
    evaluation["transfer"]["sources"][0]["name"] = harmful[1]
    evaluation["transfer"]["claims"][0]["sentence"] = harmful[0]
    evaluation["trust"]["left_out"] = harmful
    evaluation["data"]["near_duplicates"]["method"] = harmful[0]
    text = write_page(evaluation, table, tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.unclosed == []
    assert len([script for script in page.all("script") if "type" not in script.attributes]) == 2
    assert all(image.attributes["src"].startswith("data:") for image in page.all("img"))
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]
    for section in ("verdict", "trust", "data", "map", "trained-on"):
        assert harmful[0] in page.by_id(section).text or harmful[2] in page.by_id(section).text
    assert "49" not in page.by_id("verdict").text and "{{7*7}}" in page.by_id("verdict").text
    assert "\u202e" not in text and "evil\\u202egnp.exe" in page.by_id("trust").text
    figure = page.by_id("plot-curves-data").text
    assert "<" not in figure
    assert html.escape(harmful[1], quote=False) in [trace.get("name") for trace in json.loads(figure)["data"]]


def test_data_for_scripts_cannot_leave_their_element() -> None:
    hostile = {"</script>": ["<!--", "&lt;", "\u2028\u2029", "\ud800"]}
    text = to_json(hostile)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == hostile


def test_what_is_null_is_said_to_be_missing() -> None:
    page = without_map(samples.nothing())
    assert [section.attributes["id"] for section in page.all("section")] == SECTIONS
    for section in ("transfer", "choices", "trust", "data", "map"):
        assert "Not measured:" in page.by_id(section).text
    assert "no verdict" in page.by_id("verdict").text
    assert len([script for script in page.all("script")]) == 1, "a page without plots needs no plotly"


def test_what_was_chosen_in_training_stands_with_the_parameters() -> None:
    evaluation = samples.evaluation(["/images/a.png"] * 30)
    evaluation["head"] |= {"parameters": {"C": None, "calibration": None}, "chosen": {"C": 0.03}}
    shown = without_map(evaluation).by_id("trained-on").text
    assert "0.03, chosen in training" in shown and "not set" in shown


def test_a_missing_part_says_how_to_get_it() -> None:
    evaluation = samples.evaluation(["/images/a.png"] * 30)
    evaluation["workflows"] = []
    assert "bottlenecks fine-tune" in without_map(evaluation).by_id("choices").text


def every_part(value: Any) -> Iterator[Callable[[Any, Callable[[Any, Any], None]], None]]:
    """For each entry of an evaluation, however deep: a function that changes it in a copy."""

    def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        of_list = enumerate(value[:1]) if isinstance(value, list) else ()
        for key, inner in value.items() if isinstance(value, dict) else of_list:
            yield (*path, key)
            yield from paths(inner, (*path, key))

    for path in paths(value):

        def change(copied: Any, how: Callable[[Any, Any], None], path: tuple[Any, ...] = path) -> None:
            for key in path[:-1]:
                copied = copied[key]
            how(copied, path[-1])

        yield change


@pytest.mark.parametrize(
    "make", [samples.evaluation, samples.multi_label], ids=["one label", "several labels"]
)
def test_any_part_may_be_null_or_missing(
    make: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heads.page.document._plotly", lambda: "")
    evaluation = make(["/images/a.png"] * 30)
    changes = list(every_part(evaluation))
    assert len(changes) > 200
    for number, change in enumerate(changes):
        for how in (lambda parent, key: parent.__setitem__(key, None), lambda parent, key: parent.pop(key)):
            changed = copy.deepcopy(evaluation)
            change(changed, how)
            sections = make_sections(changed, Album({}), None, {})
            if number % 10 == 0:  # the template knows no more than what sections are made of
                assert render(changed, sections).endswith("</html>\n")
    assert without_map({}).by_id("verdict")


def test_many_images_are_folded_but_for_the_first() -> None:
    evaluation = samples.evaluation([f"/images/{n}.png" for n in range(30)])
    image, pair = (evaluation["data"][part] for part in ("label_errors", "near_duplicates"))
    image["images"] = [image["images"][0] | {"uri": f"/images/error-{n}.png"} for n in range(50)]
    pair["pairs"] = [pair["pairs"][0] | {"uris": [f"/images/one-{n}.png", "/images/b.png"]} for n in range(9)]
    page = without_map(evaluation)
    folded = " ".join(details.text for details in page.all("details"))
    assert "38 more: images that are likely" in folded and "3 more: near-duplicate images" in folded
    for name, first in (("error", 12), ("one", 6)):
        assert (
            f"{name}-{first - 1}.png" in page.by_id("data").text and f"{name}-{first - 1}.png" not in folded
        )
        assert f"{name}-{first}.png" in folded


def test_a_claim_does_not_say_its_title_twice() -> None:
    evaluation = samples.evaluation(["/images/a.png"] * 30)
    evaluation["transfer"]["claims"][0]["sentence"] = "Higher start: yes. By 31 points."
    assert "higher start yes. By 31 points." in without_map(evaluation).by_id("transfer").text


def test_several_labels_an_image_have_their_own_figures() -> None:
    page = without_map(samples.multi_label(["/images/a.png"] * 30))
    trust = page.by_id("trust").text
    for text in ("Hamming loss", "Average precision", "All labels right", "Threshold", "daisy | dandelion"):
        assert text in trust
    assert "Which class is taken for which" not in trust
    assert "Macro average precision" in page.by_id("choices").text


def test_hundreds_of_classes_are_cut_and_said_to_be() -> None:
    page = without_map(samples.evaluation(["/images/a.png"] * 30, [f"class {n:03}" for n in range(300)]))
    assert "Only the worst 200 of 300 classes are shown; 100 are left out." in page.by_id("trust").text
    assert "taken for each other most often" in page.by_id("trust").text
    assert len(page.all("tr")) < 700


def test_the_matrix_of_few_classes_is_whole_and_shaded() -> None:
    evaluation = samples.evaluation(["/images/a.png"] * 30)
    evaluation["trust"]["metrics"]["confusion_matrix"][0] = [6, 2, 0, 0, 0]
    page = without_map(evaluation)
    (matrix,) = [table for table in page.all("table") if table.attributes.get("class") == "matrix"]
    cells = [cell for cell in page.all("td") if "style" in cell.attributes]
    assert len(cells) == 25
    shares = [cell.attributes["style"].removeprefix("--share: ") for cell in cells[:3]]
    assert shares == ["0.750", "0.250", "0.000"]
    assert "right" in cells[0].attributes["class"] and "right" not in cells[1].attributes["class"]
    assert "1\u2002daisy" in matrix.text


def test_the_file_stays_below_15_mb_whatever_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each thumbnail were large, and each name as long as a path can be.
    large = "data:image/webp;base64," + "A" * 20_000
    monkeypatch.setattr("heads.page.thumbnails.thumbnail", lambda *_: large)
    labels = [f"{n % 600:<>400}" for n in range(2100)]
    table = pictured_table(tmp_path, labels, unreadable=len(labels))
    uris = ["/" + "d/" * 2000 + f"{n}.jpg" for n in range(300)]
    evaluation = samples.evaluation(uris, sorted(set(labels)), layers=table.layers)
    data, trust = evaluation["data"], evaluation["trust"]
    trust["worst"] = [trust["worst"][0] | {"uri": uri} for uri in uris[:20]]
    data["label_errors"]["images"] = [data["label_errors"]["images"][0] | {"uri": uri} for uri in uris[:50]]
    data["near_duplicates"]["pairs"] = [
        data["near_duplicates"]["pairs"][0] | {"uris": [uris[2 * n], uris[2 * n + 1]]} for n in range(50)
    ]
    trust["left_out"] = ["x" * 10_000] * 1000
    trust["leaderboard"] = trust["leaderboard"] * 200
    path = write_page(evaluation, table, tmp_path / "page.html")
    assert 10_000_000 < path.stat().st_size < 15_000_000


def test_the_same_evaluation_and_table_give_the_same_bytes(flowers: FeatureTable, tmp_path: Path) -> None:
    evaluation = samples.evaluation(uris_of(flowers), layers=flowers.layers)
    told: list[str] = []
    pages = [write_page(evaluation, flowers, tmp_path / f"{n}.html", progress=told.append) for n in range(2)]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert told[:3] == [
        "Thumbnails of 26 images that the evaluation names",
        "Map of the features",
        "Thumbnails of 60 images on the map",
    ]


def test_a_head_of_a_layer_that_the_table_lacks_has_no_map(flowers: FeatureTable, tmp_path: Path) -> None:
    page = Page(write_page(samples.evaluation(uris_of(flowers)), flowers, tmp_path / "page.html").read_text())
    assert "the table does not hold the layer avg_pool" in page.by_id("map").text


def test_without_the_packages_it_says_what_to_install(
    flowers: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "plotly" else find(name))
    with pytest.raises(BottleneckError, match=r"pip install 'bottleneck-features\[report\]'"):
        write_page({}, flowers, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
