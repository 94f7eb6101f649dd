from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.csv_file import list_csv
from features.inputs.reference import ImageRef


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"abc")
    return tmp_path


def listed(folder: Path, text: str | bytes) -> dict[str, ImageRef]:
    path = folder / "images.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    listing = list_csv(str(path))
    assert listing.source == str(path)
    assert listing.ignored == 0
    return {ref.uri.removeprefix(f"{folder}/"): ref for ref in listing.images}


def labels(folder: Path, text: str | bytes) -> dict[str, tuple[str, ...]]:
    return {name: ref.labels for name, ref in listed(folder, text).items()}


def splits(folder: Path, text: str) -> dict[str, str | None]:
    return {name: ref.split for name, ref in listed(folder, text).items()}


def test_without_a_header(folder: Path) -> None:
    text = f"{folder}/b.jpg,rose\na.jpg, daisy , red\n\n./sub/../sub/c.jpg\n"
    assert labels(folder, text) == {"a.jpg": ("daisy", "red"), "b.jpg": ("rose",), "sub/c.jpg": ()}


def test_with_a_header(folder: Path) -> None:
    text = "uri,labels,split\na.jpg,daisy|red,train\nb.jpg,,test\nsub/c.jpg,rose,VAL\n"
    assert labels(folder, text) == {"a.jpg": ("daisy", "red"), "b.jpg": (), "sub/c.jpg": ("rose",)}
    assert splits(folder, text) == {"a.jpg": "train", "b.jpg": "test", "sub/c.jpg": "validation"}


def test_columns_in_any_order_and_more_than_asked_for(folder: Path) -> None:
    text = 'Split,photographer,URI,Label\ntest,"Lange, D.",a.jpg,daisy\n,,b.jpg,rose\n'
    assert labels(folder, text) == {"a.jpg": ("daisy",), "b.jpg": ("rose",)}
    assert splits(folder, text) == {"a.jpg": "test", "b.jpg": None}


def test_facts_of_files(folder: Path) -> None:
    refs = listed(folder, "a.jpg,daisy\nnone.jpg,rose\n")
    assert refs["a.jpg"].size == 3
    assert refs["a.jpg"].modified_at == (folder / "a.jpg").stat().st_mtime_ns // 1000
    assert (refs["none.jpg"].size, refs["none.jpg"].modified_at) == (None, None)


@pytest.mark.parametrize("text", ["\ufeffuri,labels\r\na.jpg,gänse\r\n", '\ufeff"a.jpg","gänse"'])
def test_byte_order_mark_and_line_ends_of_windows(folder: Path, text: str) -> None:
    assert labels(folder, text) == {"a.jpg": ("gänse",)}


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "sub"))
    assert labels(folder, "~/c.jpg,rose\n") == {"sub/c.jpg": ("rose",)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("train", "val"), {"a.jpg": "train+validation", "b.jpg": "test"}),
        (("train", "test"), {"a.jpg": "train+validation", "b.jpg": "test"}),
        (("train", "train"), {"a.jpg": None, "b.jpg": None}),
        (("train", ""), {"a.jpg": "train", "b.jpg": None}),
        (("", "test"), {"a.jpg": None, "b.jpg": "test"}),
    ],
)
def test_missing_splits_are_cut(folder: Path, given: tuple[str, str], expected: dict[str, str]) -> None:
    text = f"uri,labels,split\na.jpg,daisy,{given[0]}\nb.jpg,rose,{given[1]}\n"
    assert splits(folder, text) == expected


def test_an_image_given_twice_alike_is_taken_once(folder: Path) -> None:
    (folder / "images.csv").write_text(f"a.jpg,daisy,red\n{folder}/./a.jpg,red,daisy\nb.jpg,rose\n")
    listing = list_csv(str(folder / "images.csv"))
    assert len(listing.images) == 2
    assert listing.notices == ["1 lines repeat an image, which is taken once"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.jpg,daisy\nb.jpg,rose\na.jpg,tulip\n",
            "lines 1 and 3: .*a.jpg is given twice, as daisy and as tulip",
        ),
        (
            "uri,labels,split\na.jpg,x,train\na.jpg,x,test\n",
            r"lines 2 and 3: .* as x \(train\) and as x \(test\)",
        ),
        ("uri,labels,split\na.jpg,daisy,train\nb.jpg,rose,holdout\n", "line 3: .*'holdout', expected train"),
        ("uri,class\na.jpg,daisy\n", "line 1: found the columns uri, class, expected uri,labels"),
        ("uri,labels\na.jpg,daisy,red\n", "line 2: found 3 cells, expected 2"),
        ("a.jpg,daisy\n,rose\n", "line 2: found no uri"),
        (
            "a.jpg,daisy\ngs://bucket/b.jpg,rose\n",
            "line 2: gs://bucket/b.jpg is remote, .* not supported yet",
        ),
        ("a.jpg,daisy\nhttps://host/b.jpg,rose\n", "line 2: https://host/b.jpg is remote"),
        ('a.jpg,"daisy\nb.jpg,' + "x" * 200_000, "line 2: field larger"),
        ("", "lists no images"),
        ("\n\n", "lists no images"),
        ("uri,labels\n", "lists no images"),
    ],
)
def test_faults_name_their_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(BottleneckError, match=message) as caught:
        listed(folder, text)
    assert "images.csv" in str(caught.value)


def test_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(BottleneckError, match="not in UTF-8"):
        listed(folder, "a.jpg,gänse\n".encode("latin-1"))
