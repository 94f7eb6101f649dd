from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.csv_file import list_csv
from tests.features.inputs.refs import Ref, refs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"abc")
    return tmp_path


def listed(folder: Path, text: str | bytes) -> dict[str, Ref]:
    path = folder / "images.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    listing = list_csv(str(path))
    assert listing.source == str(path)
    assert listing.ignored == 0
    return {ref.uri.removeprefix(f"{folder}/"): ref for ref in refs(listing)}


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
    assert listing.notices[1:] == ["1 line repeats an image, which is taken once"]


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
        (
            "uri,breed\na.jpg,daisy\n",
            "line 1: no column is known for the labels .found uri, breed.: paths are known as uri, "
            ".*filename"
            ".*; labels as label, .*dx, tags; splits as split, set, subset; rename one",
        ),
        ("photo,label\na.jpg,daisy\n", "line 1: no column is known for the paths .found photo, label."),
        (
            "Photo,Kind\na.jpg,daisy\nb.jpg,rose\n",
            "line 1: the columns Photo, Kind are not known: paths are known",
        ),
        ("uri,labels\na.jpg,daisy,red\n", "line 2: found 3 cells, expected 2"),
        ("a.jpg,daisy\n,rose\n", "line 2: there is no path"),
        (
            "a.jpg,daisy\ngs://bucket/b.jpg,rose\n",
            "line 2: gs://bucket/b.jpg is remote, .* not supported yet",
        ),
        ("a.jpg,daisy\nhttps://host/b.jpg,rose\n", "line 2: https://host/b.jpg is remote"),
        ('a.jpg,"daisy\nb.jpg,' + "x" * 200_000, "line 1: field larger"),
        ("", "lists no images"),
        ("\n\n", "lists no images"),
        ("uri,labels\n", "lists no images"),
    ],
)
def test_faults_name_their_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(BottleneckError, match=message) as caught:
        listed(folder, text)
    assert "images.csv" in str(caught.value)


def notice(folder: Path, text: str, name: str = "images.csv", **options: bool) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return list_csv(str(folder / name), **options).notices[0]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "uri",
            "url",
            "filename",
            "file_name",
            "File Name",
            "filepath",
            "file-path",
            "PATH",
            "file",
            "image",
        ),
        *("image_path", "image_id", "Id", "img"),
    ],
)
@pytest.mark.parametrize("label", ["label", "Labels", "class", "category", "dx", "tags"])
def test_usual_names_of_columns(folder: Path, path: str, label: str) -> None:
    text = f"{label},{path},set\ndaisy,a.jpg,train\nrose,b.jpg,test\n"
    assert labels(folder, text) == {"a.jpg": ("daisy",), "b.jpg": ("rose",)}
    assert splits(folder, text) == {"a.jpg": "train+validation", "b.jpg": "test"}
    assert notice(folder, text) == (
        f"images.csv: 2 images, separated by commas, path from '{path}', label from '{label}', split from "
        "'set'"
    )


def test_of_several_columns_that_could_be_the_path_the_most_exact_is_taken(folder: Path) -> None:
    text = "id,image,filename,label,category\n7,x,a.jpg,daisy,flower\n"
    assert labels(folder, text) == {"a.jpg": ("daisy",)}
    assert notice(folder, text).endswith(
        "path from 'filename', label from 'label'; not used: id, image, category"
    )


@pytest.mark.parametrize(
    "header", ["uri,label,label", "uri,label_1,label_2", "uri,label1,label2", "uri,Label,labels"]
)
def test_several_columns_of_labels_are_all_taken(folder: Path, header: str) -> None:
    expected = ("daisy",) if header == "uri,Label,labels" else ("daisy", "red")
    assert labels(folder, f"{header}\na.jpg,daisy,red\nb.jpg,rose,\n") == {
        "a.jpg": expected,
        "b.jpg": ("rose",),
    }


def test_tags_are_separated_by_spaces_and_labels_are_not(folder: Path) -> None:
    assert labels(folder, "image,tags\na.jpg,clear primary\n") == {"a.jpg": ("clear", "primary")}
    assert labels(folder, "image,label\na.jpg,golden retriever\n") == {"a.jpg": ("golden retriever",)}


def test_a_label_that_is_the_name_of_a_column_makes_no_header(folder: Path) -> None:
    assert labels(folder, "a.jpg,image\nb.jpg,label\n") == {"a.jpg": ("image",), "b.jpg": ("label",)}


@pytest.mark.parametrize(("separator", "words"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
def test_usual_separators(folder: Path, separator: str, words: str) -> None:
    rows = ["uri,label,split", "a.jpg,daisy,train", "b.jpg,rose,test"]
    bare_rows = ["a.jpg,daisy,yellow", "b.jpg,rose,red"]
    text = "\n".join(row.replace(",", separator) for row in rows)
    assert labels(folder, text) == {"a.jpg": ("daisy",), "b.jpg": ("rose",)}
    assert f"separated by {words}" in notice(folder, text)
    bare = "\n".join(row.replace(",", separator) for row in bare_rows)
    assert labels(folder, bare) == {"a.jpg": ("daisy", "yellow"), "b.jpg": ("rose", "red")}


def test_a_separator_within_cells_does_not_mislead(folder: Path) -> None:
    assert labels(folder, "uri,label\na.jpg,red;white\nb.jpg,rose\n")["a.jpg"] == ("red;white",)
    assert labels(folder, "uri;label\na.jpg;red, white\nb.jpg;rose\n")["a.jpg"] == ("red, white",)


@pytest.mark.parametrize(
    ("uri", "changes"),
    [
        (r"sub\c.jpg", r" (\ read as /)"),
        ("my%20photos/d%23.jpg", " (%-escapes decoded)"),
        ("sub/c", " (extension added)"),
        ("a", " (extension added)"),
        (r"sub\c", r" (\ read as /, extension added)"),
        ("file://{folder}/my%20photos/d%23.jpg", ""),
        ("file:{folder}/sub/c.jpg", ""),
        ("100%.jpg", ""),
    ],
)
def test_paths_are_found_however_they_are_written(folder: Path, uri: str, changes: str) -> None:
    (folder / "my photos").mkdir()
    for name in ("my photos/d#.jpg", "100%.jpg"):
        (folder / name).write_bytes(b"abc")
    text = f"uri,label\n{uri.format(folder=folder)},rose\n"
    (ref,) = listed(folder, text).values()
    assert ref.size == 3 and ref.labels == ("rose",)
    assert f"path from 'uri'{changes}, label" in notice(folder, text)


def test_an_extension_is_not_looked_for_below_nor_guessed(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"abc")
    with pytest.raises(
        BottleneckError, match="line 2: 'a' fits several files .a.jpg, a.png.: give the extension"
    ):
        listed(folder, "image_id,dx\na,mel\n")
    refs = listed(folder, "image_id,dx\nc,mel\nb,nv\nb.png,nv\n")
    assert {name: ref.size for name, ref in refs.items()} == {"c": None, "b.jpg": 3, "b.png": None}


def test_a_stray_quote_names_its_line_and_swallows_nothing(folder: Path) -> None:
    rows = [f"{name}.jpg,rose" for name in "abcdef"]
    for opened in ('b.jpg,"rose', '"b.jpg,rose'):
        text = "\n".join(["uri,labels", rows[0], opened, *rows[2:]])
        with pytest.raises(BottleneckError, match="images.csv, line 3: a quote is opened and not closed"):
            listed(folder, text)
        with pytest.raises(BottleneckError, match="images.csv, line 3: a quote is opened"):
            listed(folder, text + '\ng.jpg,rose"\n')
        with pytest.raises(BottleneckError, match="images.csv, line 3: "):
            listed(folder, text + '\ng.jpg,"rose"\n')
    with pytest.raises(BottleneckError, match="line 2: a quote is opened that is closed on line 4 only"):
        listed(folder, 'uri,label\na.jpg,"daisy\nor\nrose"\n')


def test_a_description_of_several_lines_is_no_stray_quote(folder: Path) -> None:
    text = 'uri,description,label\na.jpg,"a daisy,\nin ""full"" bloom",daisy\nb.jpg,"one line",rose\n'
    assert labels(folder, text) == {"a.jpg": ("daisy",), "b.jpg": ("rose",)}
    text = 'uri,description,label\na.jpg,"a daisy\nb.jpg,x,rose\n",daisy\n'
    with pytest.raises(
        BottleneckError, match="line 2: a quote is opened that is closed on line 4 only, with other"
    ):
        listed(folder, text)


def test_quotes_within_cells_stay(folder: Path) -> None:
    assert labels(folder, 'a.jpg,5" rose\nb.jpg,"the ""red"" one"\n') == {
        "a.jpg": ('5" rose',), "b.jpg": ('the "red" one',),
    }  # fmt: skip


def test_rows_that_end_early_have_no_label_and_that_is_said(folder: Path) -> None:
    text = "uri,label,split\na.jpg,daisy\nb.jpg\nsub/c.jpg,rose,test\n"
    assert labels(folder, text) == {"a.jpg": ("daisy",), "b.jpg": (), "sub/c.jpg": ("rose",)}
    assert "1 without a label" in notice(folder, text)


def test_paths_without_labels(folder: Path) -> None:
    for text in ("filename\na.jpg\nb.jpg\n", "a.jpg\nb.jpg\n"):
        assert labels(folder, text) == {"a.jpg": (), "b.jpg": ()}
    assert notice(folder, "filename\na.jpg\n") == "images.csv: 1 image, path from 'filename', no labels"
    assert notice(folder, ",path,label\n0,a.jpg,daisy\n").endswith("label from 'label'; not used: column 1")
    (folder / "a, b.jpg").write_bytes(b"abc")
    (folder / "paths.txt").write_text(f"a, b.jpg\n\n{folder}/a.jpg\n")
    listing = list_csv(str(folder / "paths.txt"))
    assert [(os.path.basename(ref.uri), ref.size, ref.labels) for ref in refs(listing)] == [
        ("a, b.jpg", 3, ()), ("a.jpg", 3, ()),
    ]  # fmt: skip
    assert listing.notices == ["paths.txt: 2 images, a path on each line"]


def test_where_labels_do_not_matter_any_columns_will_do(folder: Path) -> None:
    text = "photographer,filename\nLange,a.jpg\n"
    with pytest.raises(BottleneckError, match="no column is known for the labels"):
        listed(folder, text)
    (folder / "list.csv").write_text(text)
    assert len(list_csv(str(folder / "list.csv"), labelled=False).images) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.jpg,daisy,train\nb.jpg,rose,test\n",
            "the last cell of each line names a split .test, train., which a file",
        ),
        (
            "sep=;\nfilename;label\na.jpg;daisy\n",
            "line 2: a header .filename, label. that is not the first line",
        ),
        ("# exported\nuri,label\na.jpg,daisy\nb.jpg,rose\n", "line 2: a header .uri, label. that is not"),
        ("a.jpg,daisy\nuri,label\nb.jpg,rose\n", "line 2: a header"),
        (
            "name,breed\na,daisy\nb,rose\n",
            "line 1: there is no file 'name', as there is for other lines: if this is",
        ),
        ("uri,label_0,label_1\na.jpg,0,1\nb.jpg,1,0\n", "line 1: the columns of labels hold only 0 and 1"),
        ("file:///photos/%ff.jpg,rose\n", r"line 1: the path /photos/\\xff.jpg is not valid UTF-8"),
        (
            "uri,split\na.jpg,none\n",
            "found the split 'none', expected train, validation, test or an empty cell",
        ),
    ],
)
def test_what_would_be_misread_is_refused(folder: Path, text: str, message: str) -> None:
    with pytest.raises(BottleneckError, match=message):
        listed(folder, text)


def test_a_path_with_a_null_in_it_is_missing_not_an_error(folder: Path) -> None:
    refs = listed(folder, "uri,label\na.jpg,daisy\nfoo%00/bar,rose\n")
    assert [ref.size for ref in refs.values()] == [3, None]


def test_an_empty_split_cell_takes_no_validation_part_away(folder: Path) -> None:
    text = "uri,label,split\na.jpg,daisy,train\nb.jpg,rose,test\nsub/c.jpg,rose,\n"
    assert splits(folder, text) == {"a.jpg": "train+validation", "b.jpg": "test", "sub/c.jpg": None}


def test_a_local_name_is_preferred_to_the_url_it_came_from(folder: Path) -> None:
    assert labels(folder, "url,filename,label\nhttps://host/x.jpg,a.jpg,daisy\n") == {"a.jpg": ("daisy",)}


def test_quoted_cells_with_commas_do_not_hide_the_semicolons(folder: Path) -> None:
    assert labels(folder, '"a.jpg";"daisy, red"\n"b.jpg";"rose"\n') == {
        "a.jpg": ("daisy, red",),
        "b.jpg": ("rose",),
    }


def test_a_file_url_may_hold_a_hash_and_a_question_mark(folder: Path) -> None:
    (folder / "a#1?.jpg").write_bytes(b"abc")
    (ref,) = listed(folder, f"file://{folder}/a#1?.jpg,rose\n").values()
    assert ref.size == 3


def test_where_labels_do_not_matter_neither_do_their_conflicts(folder: Path) -> None:
    (folder / "list.csv").write_text("uri,label,split\na.jpg,daisy,fold1\na.jpg,rose,fold2\n")
    assert [ref.labels for ref in refs(list_csv(str(folder / "list.csv"), labelled=False))] == [()]


def test_control_characters_are_escaped_in_messages(folder: Path) -> None:
    with pytest.raises(BottleneckError, match=r"'\\x1b\[2Jholdout'"):
        listed(folder, "uri,label,split\na.jpg,x,\x1b[2Jholdout\n")


def test_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(BottleneckError, match="not in UTF-8"):
        listed(folder, "a.jpg,gänse\n".encode("latin-1"))
