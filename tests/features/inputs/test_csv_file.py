from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BottleneckError
from features.inputs.columns import known_names
from features.inputs.csv_file import LIST, list_csv
from features.inputs.listing import Request
from tests.features.inputs.refs import Ref, refs

#: The second, in microseconds, in which all files were changed.
CHANGED = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images; each test writes the list beside them anew."""
    folder = tmp_path_factory.mktemp("photos")
    for size, name in enumerate(("a.jpg", "b.jpg", "sub/c.jpg"), 1):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, ns=(0, CHANGED * 1000))
    return folder


def listed(
    folder: Path, text: str | bytes, name: str = "images.csv", **options: Any
) -> tuple[list[Ref], list[str]]:
    """The images of a list, and the notices."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    listing = list_csv(str(path), **options)
    assert (listing.source, listing.ignored, listing.left_out) == (str(path), 0, 0)
    return refs(listing), listing.notices


def refusal(folder: Path, text: str) -> str:
    """What a list is refused with, after its name."""
    with pytest.raises(BottleneckError) as caught:
        listed(folder, text)
    start = str(folder / "images.csv")
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_a_whole_list_with_a_header(folder: Path) -> None:
    text = (
        "\ufeffImage ID;Photographer;Class;Set\r\n"
        r"sub\c.jpg;Lange;gänse | daisy;train" + "\r\n"
        "none.jpg;;daisy\r\n"
        "\r\n"
        'b;"Adams; A.";;VAL\r\n'
        f"{folder}/./a.jpg;;red|daisy;test_set\r\n"
        "a.jpg;;daisy|red;test\r\n"
    )
    assert listed(folder, text) == (
        [
            Ref(f"{folder}/a.jpg", ("red", "daisy"), "test", 1, CHANGED),
            Ref(f"{folder}/b.jpg", (), "validation", 2, CHANGED),
            Ref(f"{folder}/none.jpg", ("daisy",), None, None, None),
            Ref(f"{folder}/sub/c.jpg", ("gänse", "daisy"), "train", 3, CHANGED),
        ],
        [
            r"images.csv: 4 images, separated by semicolons, path from 'Image ID' (\ read as /, extension "
            "added), label from 'Class', split from 'Set', 1 without a label; not used: Photographer",
            "1 line repeats an image, which is taken once",
        ],
    )


def test_a_whole_list_without_a_header(folder: Path) -> None:
    text = f"{folder}/b.jpg,rose\na.jpg, daisy , red\n\n./sub/../sub/c.jpg\n" + "b.jpg,rose\n" * 1000
    assert listed(folder, text) == (
        [
            Ref(f"{folder}/a.jpg", ("daisy", "red"), None, 1, CHANGED),
            Ref(f"{folder}/b.jpg", ("rose",), None, 2, CHANGED),
            Ref(f"{folder}/sub/c.jpg", (), None, 3, CHANGED),
        ],
        [
            "images.csv: 3 images, separated by commas, without a header, 1 without a label",
            "1,000 lines repeat an image, which is taken once",
        ],
    )


@pytest.mark.parametrize(
    ("name", "text", "uris", "notice"),
    [
        ("images.csv", "filename\na.jpg\n", ["a.jpg"], "1 image, path from 'filename', no labels"),
        ("images.TSV", "b.jpg\na.jpg\n", ["a.jpg", "b.jpg"], "2 images, a path on each line"),
        (
            *("images.tsv", "uri\tlabel\na.jpg\trose\n", ["a.jpg"]),
            "1 image, separated by tabs, path from 'uri', label from 'label'",
        ),
        ("paths.txt", "a.jpg\n\nb, c.jpg\n", ["a.jpg", "b, c.jpg"], "2 images, a path on each line"),
        ("paths.TXT", "uri\n", ["uri"], "1 image, a path on each line"),
        ("sub/paths.txt", "c\n", ["sub/c.jpg"], "1 image, a path on each line (extension added)"),
    ],
)
def test_paths_alone_and_what_is_said_of_them(
    folder: Path, name: str, text: str, uris: list[str], notice: str
) -> None:
    images, notices = listed(folder, text, name)
    assert [os.path.relpath(ref.uri, folder) for ref in images] == uris
    assert notices == [f"{os.path.basename(name)}: {notice}"]


def test_a_list_with_groups(folder: Path) -> None:
    text = (
        "group,patient_id,uri,label,split\n"
        "p 1,7,sub/c.jpg,x,train\n"
        '"p, 1",7,b.jpg,x,test\n'
        ",8,a.jpg,y,\n"
        "p 1,7,./sub/c.jpg,x,train\n"
    )
    images, notices = listed(folder, text)
    assert [(os.path.relpath(ref.uri, folder), ref.group, ref.split) for ref in images] == [
        ("a.jpg", None, None),
        ("b.jpg", "p, 1", "test"),
        ("sub/c.jpg", "p 1", "train+validation"),
    ]
    assert notices[0] == (
        "images.csv: 3 images, separated by commas, path from 'uri', label from 'label', split from 'split', "
        "group from 'group', 1 without a group; not used: patient_id"
    )


@pytest.mark.parametrize("cells", ["p,p", ","])
def test_where_all_or_none_have_a_group_none_are_counted(folder: Path, cells: str) -> None:
    first, second = cells.split(",")
    images, (notice,) = listed(folder, f"uri,label,group\na.jpg,x,{first}\nb.jpg,x,{second}\n")
    assert [ref.group for ref in images] == [first or None, second or None]
    assert notice.endswith("label from 'label', group from 'group'")


def test_a_column_like_groups_is_pointed_at_where_that_matters(folder: Path) -> None:
    text = "uri,label,patient_id,group_name\na.jpg,x,1,2\n"
    _, (notice,) = listed(folder, text)
    assert notice.endswith(
        "; not used: patient_id, group_name; rename 'patient_id' to 'group' to keep the images of each on "
        "one side of the split"
    )
    _, (notice,) = listed(folder, text, labelled=False)
    assert notice.endswith("; not used: patient_id, group_name")


@pytest.mark.parametrize(
    ("splits", "expected", "notices"),
    [
        (("train", "val", "test"), ("train", "validation", "test"), 0),
        (("train", "train", "val"), ("train+validation", "train+validation", "test"), 1),
        (("train", "test", "test"), ("train+validation", "test", "test"), 1),
        (("train", "test", ""), ("train+validation", "test", None), 1),  # what is empty is cut, too
        (("train", "train", "train"), (None, None, None), 0),
        (("train", "", ""), ("train", None, None), 0),
        (("", "", "test"), (None, None, "test"), 0),
        (("val", "test", ""), ("validation", "test", None), 0),
    ],
)
def test_missing_splits_are_cut(
    folder: Path, splits: tuple[str, ...], expected: tuple[str | None, ...], notices: int
) -> None:
    rows = zip(("a.jpg", "b.jpg", "sub/c.jpg"), splits, strict=True)
    images, said = listed(folder, "uri,label,split\n" + "".join(f"{uri},x,{split}\n" for uri, split in rows))
    assert tuple(ref.split for ref in images) == expected
    assert len(said) == 1 + notices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, " lists no images: expected lines of uri,label") for text in ("", "\n\n", "uri,labels\n")),
        (
            "a.jpg,daisy,x\nb.jpg,rose\na.jpg,tulip\n",
            ", lines 1 and 3: {folder}/a.jpg is given twice, as daisy|x and as tulip; "
            "give each image once, with all of its labels on one line",
        ),
        (
            "uri,labels,split\nb.jpg,x,\na.jpg,x,train\na.jpg,x,test\n",
            ", lines 3 and 4: {folder}/a.jpg is given twice, as x (train) and as x (test); "
            "give each image once, with all of its labels on one line",
        ),
        (
            "uri,labels,split\na.jpg,,train\na.jpg,,\n",
            ", lines 2 and 3: {folder}/a.jpg is given twice, as no label (train) and as no label; "
            "give each image once, with all of its labels on one line",
        ),
        (
            "uri,labels,split,group\na.jpg,x,train,p\na.jpg,x,train,q\x1b\n",
            r", lines 2 and 3: {folder}/a.jpg is given twice, as x (train, group p) and as "
            r"x (train, group q\x1b); give each image once, with all of its labels on one line",
        ),
        (
            "uri,labels,group\na.jpg,x,\na.jpg,x,q\n",
            ", lines 2 and 3: {folder}/a.jpg is given twice, as x and as x (group q); "
            "give each image once, with all of its labels on one line",
        ),
        (
            "uri,labels,split\na.jpg,daisy,train\nb.jpg,rose,\x1b[2Jholdout\n",
            r", line 3: found the split '\x1b[2Jholdout', expected train, validation, test or an empty cell",
        ),
        ("a.jpg,daisy\n,rose\n", ", line 2: there is no path"),
        (
            "a.jpg,daisy\ngs://bucket/b.jpg,rose\n",
            ", line 2: gs://bucket/b.jpg is remote, which is not supported yet; copy the images first",
        ),
        (
            "na\tme,breed\na,daisy\nb,rose\n",
            r", line 1: there is no file 'na\tme', as there is for other lines: if this is a header, "
            "name its columns as they are known ({known})",
        ),
    ],
)
def test_faults_name_their_line(folder: Path, text: str, message: str) -> None:
    assert refusal(folder, text) == message.format(folder=folder, known=known_names())


@pytest.mark.parametrize("text", ["none,x\nnope,y\n", "none.jpg,x\na,y\n", "a,x\nnone,y\n"])
def test_missing_files_are_listed_all_the_same(folder: Path, text: str) -> None:
    assert len(listed(folder, text)[0]) == 2


def test_where_labels_do_not_matter_neither_do_their_faults(folder: Path) -> None:
    text = "uri,label,split,x,group\na.jpg,daisy,fold1,1,p\na.jpg,rose,fold2,2,q\n"
    (ref,) = listed(folder, text, labelled=False)[0]
    assert (ref.labels, ref.split, ref.group) == ((), None, None)
    assert len(listed(folder, "photographer,filename\nLange,a.jpg\n", labelled=False)[0]) == 1


@pytest.mark.parametrize("name", ["images.csv", "images.TSV", "images.txt", "images.jpg", "none.csv", "sub"])
def test_what_is_taken_for_a_list(folder: Path, name: str) -> None:
    for taken in ("images.csv", "images.TSV", "images.txt", "images.jpg"):
        (folder / taken).write_text("uri,breed\na.jpg,x\n" if taken == "images.csv" else "a.jpg\n")
    assert LIST.accepts(str(folder / name)) == (name in ("images.csv", "images.TSV", "images.txt"))
    if name == "images.csv":
        assert LIST.accepts(f"file://{folder}/{name}")
        assert len(LIST.list(f"file://{folder}/{name}", Request(labelled=False)).images) == 1
        with pytest.raises(BottleneckError, match="no column is known for the labels"):
            LIST.list(str(folder / name), Request())


NAMES = st.text(st.sampled_from(" ,;\t|\"'#%\\aé漢🌸\u00a0\n"), max_size=6)
LABELS = st.lists(st.text(st.sampled_from(" ,;\t\"'#%/aé漢🌸\n"), max_size=5), max_size=3)
ROWS = st.lists(
    st.tuples(NAMES, LABELS, st.sampled_from(["train", "Validation", "test", ""])),
    max_size=5,
    unique_by=lambda row: row[0].strip(),
)


@given(
    rows=ROWS,
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    random=st.randoms(use_true_random=False),
)
def test_what_is_written_is_read_back_in_any_order_or_refused_for_its_line_breaks(
    folder: Path, rows: list, separator: str, quoting: Literal[0, 1], end: str, encoding: str, random
) -> None:
    # The first letter keeps a name from being empty, and the three splits from being cut.
    rows = [(f"{number}-{name.strip()}", *others) for number, (name, *others) in enumerate(rows)]
    rows += [(split, ["x"], split) for split in ("train", "validation", "test")]
    random.shuffle(rows)
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(("uri", "labels", "split"))
    writer.writerows((name, "|".join(labels), split) for name, labels, split in rows)
    try:
        images, _ = listed(folder, file.getvalue().encode(encoding), "written.csv")
    except BottleneckError as error:
        assert "a quote is opened" in str(error) and str(error).isprintable()
        assert any("\n" in cell.strip() for name, labels, _ in rows for cell in (name, "|".join(labels)))
        return
    assert images == sorted(
        Ref(
            f"{folder}/{name}",
            tuple(dict.fromkeys(label.strip() for label in labels if label.strip())),
            split.lower() or None,
            None,
            None,
        )
        for name, labels, split in rows
    )
