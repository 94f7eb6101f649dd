"""From runs to medians and ratios."""

import pytest

from benchmarks.main_table import main_table
from benchmarks.rounds import Run


def run(way: str, number: int, *, images: int = 100, rate: float = 10.0) -> Run:
    """A run with two seconds of start-up, a first batch of ten, and a second for its end."""
    written = 2 + (images - 10) / rate
    return Run(way, number, images, "float32", 2.0, 10, written, written + 1, 500_000_000)


def cells(table: str) -> list[list[str]]:
    """The cells of each row but the head."""
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_rates_are_of_what_follows_the_first_images() -> None:
    assert run("ours", 1, rate=10).running == pytest.approx(10)
    assert run("ours", 1, rate=10)._replace(written=12.25).running == pytest.approx(90 / 10.25)


def test_a_whole_process_is_measured_or_extrapolated_from_fewer_images() -> None:
    assert run("ours", 1, images=100).whole(100) == pytest.approx(100 / 12)
    assert run("ours", 1, images=40).whole(100) == pytest.approx(100 / 12)


def test_ratios_are_taken_within_each_round() -> None:
    rates = [(20, 10), (60, 20), (50, 40)]
    runs = []
    for number, (mine, its) in enumerate(rates, start=1):
        runs += [run("ours", number, rate=mine), run("keras-guide", number, rate=its)]
    ours, other = cells(main_table(runs, 100))
    assert ours[0] == "this project" and other[0].startswith("the Keras guide")
    assert ours[3] == "50.0" and ours[7] == ours[8] == "1.00 ×"
    # The ratio of the medians would be 2.50.
    assert other[3] == "20.0" and other[7] == "2.00 × (1.25 to 3.00)"
    low, middle, high = sorted((3 + 90 / its) / (3 + 90 / mine) for mine, its in rates)
    assert other[8] == f"{middle:.2f} × ({low:.2f} to {high:.2f})"


def test_the_table_says_what_was_extrapolated() -> None:
    runs = [run("ours", 1), run("beam-dofn", 1, images=40)]
    lines = main_table(runs, 100).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert "†" not in lines[2] and "†" in lines[3] and lines[-1].startswith("† Extrapolated to 100 images")
    assert "†" not in main_table(runs[:1], 100)
