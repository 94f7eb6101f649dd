from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BottleneckError
from features.inputs.columns import GROUPS, LABELS, PATHS, SPLITS, Columns, find_columns, known_names
from features.inputs.records import Records, read_records

KNOWN = (
    "paths are known as uri, filepath, file_path, path, image_path, img_path, filename, file_name, file, "
    "image_file, image_name, image, img, image_id, id, url; labels as label, labels, class, classes, "
    "class_name, category, categories, dx, tags; splits as split, set, subset; groups as group, group_id"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each test writes anew."""
    return tmp_path_factory.mktemp("columns") / "images.csv"


def found(path: Path, text: str, *, labelled: bool = True) -> tuple[Columns, Records]:
    path.write_text(text, encoding="utf-8")
    records, _ = read_records(str(path))
    return find_columns(records, str(path), labelled=labelled), records


def taken(path: Path, text: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Path, labels and split of each row."""
    columns, records = found(path, text)
    return [
        (record.cells[columns.path], columns.labels_of(record), columns.split_of(record))
        for record in columns.records(records)
    ]


def refusal(path: Path, text: str) -> str:
    """What a file is refused with, after its name."""
    with pytest.raises(BottleneckError) as caught:
        found(path, text)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_known_names() -> None:
    assert known_names() == KNOWN


@pytest.mark.parametrize("name", [*PATHS, "File Name", "file-path", " URI ", "_Image  Id_"])
def test_usual_names_of_paths(path: Path, name: str) -> None:
    assert found(path, f"label,{name},split\n")[0][:3] == (1, (0,), 2)


@pytest.mark.parametrize("name", [*LABELS, "Labels", "CLASS NAME", "label_0", "labels2", "Label-12"])
def test_usual_names_of_labels(path: Path, name: str) -> None:
    assert found(path, f"{name},uri\n")[0] == Columns(1, (0,), None, (name, "uri"))


@pytest.mark.parametrize("name", [*SPLITS, "Split"])
def test_usual_names_of_splits(path: Path, name: str) -> None:
    assert found(path, f"{name},uri\n")[0] == Columns(1, (), 0, (name, "uri"))


@pytest.mark.parametrize("name", [*GROUPS, "Group", "group-id"])
def test_usual_names_of_groups(path: Path, name: str) -> None:
    assert found(path, f"{name},uri\n")[0] == Columns(1, (), None, (name, "uri"), 0)


def test_the_group_of_each_row(path: Path) -> None:
    columns, records = found(path, "group_id,uri,Group,label\n1,a.jpg, p1 ,x\n2,b.jpg,,y\n3,c.jpg\n")
    assert columns.group == 2
    assert [columns.group_of(record) for record in columns.records(records)] == ["p1", "", ""]
    columns, records = found(path, "a.jpg,group\nb.jpg,x\n")
    assert [columns.group_of(record) for record in columns.records(records)] == ["", ""]


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("uri,label", ""),
        ("uri,label,Patient ID", "; rename 'Patient ID' to 'group' to keep the images of each on one side"),
        ("uri,split,camera,label", "; rename 'camera' to 'group' to see whether the splits tear any apart"),
        ("uri,label,lesion_id,patient_id", "; rename 'patient_id' to 'group' to keep the images of each"),
        *(
            (f"uri,{name}\x1b,label,{name}", f"; rename '{name}' to 'group' to keep the images of each")
            for name in (
                *("patient", "patient_id", "subject", "subject_id", "lesion", "lesion_id"),
                *("camera", "camera_id", "case_id"),
            )
        ),
        ("uri,label,patient_id,group", ""),
        ("uri,label,patient_name", ""),
    ],
)
def test_a_column_that_may_be_meant_as_groups_is_pointed_at(path: Path, header: str, hint: str) -> None:
    columns = found(path, f"{header}\n")[0]
    said = columns.group_hint()
    assert said.startswith(hint) and bool(said) == bool(hint)
    assert said == "" or said.endswith((" on one side of the split", " tear any apart"))


def test_without_a_header_nothing_is_pointed_at(path: Path) -> None:
    assert found(path, "a.jpg,patient\n")[0].group_hint() == ""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,image,filename,label,category", (2, (3,), None)),  # the first in the order of preference
        ("url,image_id,tags,class", (1, (3,), None)),
        ("subset,set,uri,split,label", (2, (4,), 3)),
        ("uri,label,label", (0, (1, 2), None)),
        ("label_2,uri,label_1,label", (1, (0, 2, 3), None)),
        ("uri,labels,label", (0, (2,), None)),
        ("uri,label_a,class", (0, (2,), None)),
        ("label,uri,uri", (1, (0,), None)),
        (",path,label", (1, (2,), None)),
        ("uri", (0, (), None)),
        ("split,uri", (1, (), 0)),
    ],
)
def test_of_several_columns_the_most_exact_are_taken(
    path: Path, header: str, expected: tuple[int, tuple[int, ...], int | None]
) -> None:
    assert found(path, f"{header}\n")[0] == (*expected, tuple(header.split(",")), None)


def test_a_header_with_columns_in_any_order(path: Path) -> None:
    text = (
        'Split,photographer,URI,Label\ntest,"Lange, D.",a.jpg,daisy| red |daisy||\n,,b.jpg,golden retriever\n'
    )
    assert taken(path, text) == [
        ("a.jpg", ("daisy", "red"), "test"),
        ("b.jpg", ("golden retriever",), ""),
    ]


def test_rows_shorter_than_the_header_have_empty_cells(path: Path) -> None:
    assert taken(path, "uri,label,split\na.jpg\nb.jpg,rose\n") == [
        ("a.jpg", (), ""),
        ("b.jpg", ("rose",), ""),
    ]


def test_several_columns_of_labels_are_all_taken_each_label_once(path: Path) -> None:
    text = "uri,label_1,label_2\na.jpg,daisy,red\nb.jpg,rose,rose\nc.jpg,,red|pink\n"
    assert taken(path, text) == [
        ("a.jpg", ("daisy", "red"), ""),
        ("b.jpg", ("rose",), ""),
        ("c.jpg", ("red", "pink"), ""),
    ]


def test_tags_are_separated_by_spaces(path: Path) -> None:
    text = "image,Tags\na.jpg,clear  primary clear\nb.jpg,partly cloudy|water\n"
    assert taken(path, text) == [
        ("a.jpg", ("clear", "primary"), ""),
        ("b.jpg", ("partly cloudy", "water"), ""),
    ]


@pytest.mark.parametrize(
    "first",
    ["a.jpg,daisy,red", "a.jpg,daisy,daisy,,red", "uri.jpg,daisy,red", "photo,daisy,red", "x,label.png,red"],
)
def test_without_a_header_all_cells_after_the_path_are_labels(path: Path, first: str) -> None:
    name, *labels = first.split(",")
    assert found(path, f"{first}\nb,rose|pink\n")[0] == Columns(0, (), None, None)
    assert taken(path, f"{first}\nb,rose|pink\nc.jpg\n") == [
        (name, tuple(dict.fromkeys(filter(None, labels))), ""),
        ("b", ("rose|pink",), ""),
        ("c.jpg", (), ""),
    ]


def test_a_file_without_rows_has_no_header(path: Path) -> None:
    assert found(path, "\n")[0] == Columns(0, (), None, None)


@pytest.mark.parametrize(
    ("text", "described", "unused"),
    [
        ("uri\na\n", ["path from 'uri'", "no labels"], ""),
        ("uri,Class,set\n", ["path from 'uri'", "label from 'Class'", "split from 'set'"], ""),
        (
            "Group,x,uri,label,group_id\n",
            ["path from 'uri'", "label from 'label'", "group from 'Group'"],
            "; not used: x, group_id",
        ),
        (
            "uri,label_1,label2\n",
            ["path from 'uri'", "label from 'label_1', 'label2'"],
            "",
        ),
        ("label,label,uri\n", ["path from 'uri'", "label from 'label' (2 columns)"], ""),
        (
            ",path,x,label,y\n",
            ["path from 'path'", "label from 'label'"],
            "; not used: column 1, x, y",
        ),
        (
            "1,2,3,4,5,6,7,8,path,label\n",
            ["path from 'path'", "label from 'label'"],
            "; not used: 1, 2, 3, 4, 5, 6 and 2 more",
        ),
        ("a.jpg,rose\n", ["alone"], ""),
    ],
)
def test_what_was_understood(path: Path, text: str, described: list[str], unused: str) -> None:
    columns = found(path, text)[0]
    assert columns.described([], alone="alone") == described
    assert columns.unused() == unused
    first, *others = described
    assert columns.described(["this", "that"], alone="alone") == [f"{first} (this, that)", *others]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "uri,breed\na.jpg,daisy\n",
            f", line 1: no column is known for the labels (found uri, breed): {KNOWN}; rename one, "
            "or leave only the column of the paths where there are no labels",
        ),
        (
            "\na,b,c,d,e,f,g,h,uri\n",
            ", line 2: no column is known for the labels (found a, b, c, d, e, f, g, h and 1 more): "
            f"{KNOWN}; rename one, or leave only the column of the paths where there are no labels",
        ),
        (
            "photo,label\na.jpg,daisy\n",
            f", line 1: no column is known for the paths (found photo, label): {KNOWN}; rename one",
        ),
        (
            "photo,group\na,daisy\n",
            f", line 1: no column is known for the paths (found photo, group): {KNOWN}; rename one",
        ),
        (
            "label,a,b,c,d,e,f,g,h\n",
            ", line 1: no column is known for the paths (found label, a, b, c, d, e, f, g and 1 more): "
            f"{KNOWN}; rename one",
        ),
        (
            "Photo,Kind\na.jpg,daisy\nb.jpg,rose\n",
            f", line 1: the columns Photo, Kind are not known: {KNOWN}; rename them",
        ),
        (
            "a,b,c,d,e,f,g,h,i\na.jpg\n",
            f", line 1: the columns a, b, c, d, e, f, g, h and 1 more are not known: {KNOWN}; rename them",
        ),
        (
            "uri,labels\na.jpg,x\nb.jpg,daisy,red\n",
            ", line 3: found 3 cells, expected 2 (uri,labels); "
            "separate labels by | and quote cells with a separator in them",
        ),
        (
            'uri,labels\na.jpg,"x\ny"\n',
            ", line 2: a quote is opened that is closed on line 3 only: close it, or remove it",
        ),
        (
            '"a.jpg","x\ny"\n',
            ", line 1: a quote is opened that is closed on line 2 only: close it, or remove it",
        ),
        (
            'uri,group\na.jpg,"x\ny"\n',
            ", line 2: a quote is opened that is closed on line 3 only: close it, or remove it",
        ),
        (
            "a.jpg,daisy\nuri,group\n",
            ", line 2: a header (uri, group) that is not the first line: "
            "remove the lines before it, or this one",
        ),
        (
            'uri\n"a\rb.jpg"\n',
            ", line 2: a quote is opened that is closed on line 3 only: close it, or remove it",
        ),
        (
            "sep=;\n\nfilename;label\na.jpg;daisy\n",
            ", line 3: a header (filename, label) that is not the first line: "
            "remove the lines before it, or this one",
        ),
        (
            "a.jpg,daisy\nuri,x,y,z,1,2,3,4,Split\n",
            ", line 2: a header (uri, x, y, z, 1, 2, 3, 4 and 1 more) that is not the first line: "
            "remove the lines before it, or this one",
        ),
        (
            "a.jpg,daisy,train\nb.jpg,rose,test\nc.jpg,x,Test\n",
            ": the last cell of each line names a split (Test, test, train), which a file without a header "
            "can't give: put a line such as uri,label,split at its top",
        ),
        (
            "uri,label_0,label_1\na.jpg,0,1\nb.jpg,1.0,0.0\nc.jpg,1\n",
            ", line 1: the columns of labels hold only 0 and 1: "
            "give the labels by name, in one column, separated by |",
        ),
    ],
)
def test_what_is_not_understood_is_refused(path: Path, text: str, message: str) -> None:
    assert refusal(path, text) == message


@pytest.mark.parametrize(
    "text",
    [
        "uri,label\na.jpg,0\nb.jpg,1\n",  # one column of classes called 0 and 1
        "uri,label_0,label_1\na.jpg,0,2\n",
        "uri,label_0,label_1\n",
        "a.jpg,image\nb.jpg,label\n",  # labels with the names of columns
        "uri.jpg,label\nb.jpg,rose\n",
        "a.jpg,rose\nuri,id\nlabel,class\n",  # no header: paths or labels alone
        "a.jpg,train\nb.jpg,test\n",  # the only label
        "a.jpg,x,train\n",
        "a.jpg,x,train\nb.jpg,rose,red\n",
        "a.jpg,x,train\nb.jpg,test\n",
        "photo,x\nb.jpg,y\nc,z\n",  # not every other line names an image
        'uri,about,label\na.jpg,"in\nfull",rose\n',  # not used
    ],
)
def test_what_is_only_like_a_fault_is_not_refused(path: Path, text: str) -> None:
    found(path, text)


def test_where_labels_are_not_wanted_faults_of_theirs_are_none(path: Path) -> None:
    for text in (
        "uri,breed\na.jpg,daisy\n",
        "uri,label_0,label_1\na.jpg,0,1\n",
        "a.jpg,x,train\nb.jpg,y,test\n",
    ):
        found(path, text, labelled=False)
    with pytest.raises(BottleneckError, match="found 2 cells, expected 1"):
        found(path, "uri\na.jpg,x\n", labelled=False)
