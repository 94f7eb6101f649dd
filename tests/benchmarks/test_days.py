from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.days import DAYS, Changing, Day, draw, line_of
from tests.conftest import photo


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    for number in range(60):
        folder = tmp_path / "source" / f"class-{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        photo(number).save(folder / f"{number:02}.jpg")
    return Changing(tmp_path / "source", tmp_path / "photos", first_day=30)


def test_thirty_days_change_the_folder_in_every_way(changing: Changing):
    before: set[str] = set()
    kinds: set[str] = set()
    for number in range(1, DAYS + 1):
        events = changing.next_day()
        now = changing.bytes_there()
        new = sum(int(event.split()[0]) for event in events if event.endswith(" new"))
        edited = 2 if "2 edited" in events else 0
        broken = 1 if "1 file is no image" in events else 0
        if number not in (12, 13):  # not mounted, and mounted again
            assert new <= len(now - before) <= new + edited + broken
        if events == ["nothing"]:
            assert now == before
        before = now
        kinds |= {event.lstrip("0123456789 ") for event in events}
    wanted = {"new", "moved", "moved back", "renamed", "edited", "touched", "copied", "deleted", "nothing"}
    assert wanted <= kinds
    assert {"labels corrected", "mounted again", "file is no image", "that file deleted"} <= kinds


def test_a_day_in_a_line():
    refused = Day(3, ["4 of 6 classes not mounted"], 0, exit_code=4)
    assert line_of(refused) == "day  3: 4 of 6 classes not mounted: refused, exit code 4"
    done = {"inferred": 5, "newly_rejected": 1, "taken_over": {"moved": 2}}
    head = {"status": "trained", "promoted": False, "why": "worse"}
    day = Day(4, ["5 new", "2 moved"], 6, extracted=done, trained=head)
    assert line_of(day) == "day  4: 5 new, 2 moved: 6 inferred, 6 expected (2 moved); not promoted: worse"


def test_the_plot_is_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    compared = {"difference": -0.2, "interval": [-0.3, -0.1]}
    metrics = {"accuracy": 0.8}
    days = [
        Day(1, ["9 new"], 9, extracted={"inferred": 9, "taken_over": {}}, trained=head)
        for head in (
            {"status": "trained", "promoted": True, "comparisons": [], "metrics": metrics},
            {"status": "trained", "promoted": False, "comparisons": [compared], "metrics": metrics},
            {"status": "skipped", "promoted": True, "comparisons": [compared], "metrics": metrics},
        )
    ]
    draw([*days, Day(2, ["nothing"], 0, exit_code=4)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
