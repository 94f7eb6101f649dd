"""From runs to medians and ratios."""

import pytest

from benchmarks.figures import goals, ratios, summarize
from benchmarks.rounds import OURS, Run
from benchmarks.tables import main_table, ratio_table


def run(way: str, number: int, *, images: int = 100, rate: float = 10.0, precision: str = "float32") -> Run:
    """A run with two seconds of start-up, a first batch of ten, and a second for its end."""
    last = 2 + (images - 10) / rate
    return Run(way, number, images, precision, 2.0, 10, last, last, last + 1, 500_000_000)


def test_rates_are_of_what_follows_the_first_images() -> None:
    one = run("a", 1, images=100, rate=10)._replace(written=12.25)
    assert one.inferring == pytest.approx(10)
    assert one.running == pytest.approx(90 / 10.25)


def test_a_whole_process_is_measured_or_reckoned_from_fewer_images() -> None:
    assert run("a", 1, images=100).whole(100) == pytest.approx(100 / 12)
    assert run("a", 1, images=40).whole(100) == pytest.approx(100 / 12)


def test_ratios_are_taken_within_each_round() -> None:
    runs = [run(OURS, 1, rate=20), run("b", 1, rate=10), run(OURS, 2, rate=60), run("b", 2, rate=20)]
    assert ratios(runs, OURS, "b", lambda one: one.running) == pytest.approx([2, 3])
    ours, other = summarize(runs, 100)
    assert (ours.way, ours.running, ours.times_running) == (OURS, pytest.approx(40), 1)
    assert (other.running, other.times_running) == (pytest.approx(15), pytest.approx(2.5))


def test_the_bound_is_the_bare_loop_of_the_precision_that_was_chosen() -> None:
    fast, slow = "bare OpenVINO loop", "bare OpenVINO loop, float32"
    others = [run(fast, 1, rate=50, precision="bfloat16"), run(slow, 1, rate=20)]
    found = goals([run(OURS, 1, rate=10), *others], 100)
    assert found[0].name.endswith(slow) and found[0].by_round == pytest.approx([0.5]) and not found[0].met
    found = goals([run(OURS, 1, rate=49, precision="bfloat16"), *others], 100)
    assert found[0].name.endswith(fast) and found[0].met


def test_tables_tell_what_was_reckoned() -> None:
    runs = [run(OURS, 1), run("slow", 1, images=40)]
    lines = main_table(summarize(runs, 100), 100).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert "†" not in lines[2] and "†" in lines[3]
    assert lines[-1].endswith("(slow: 40).")
    assert "†" not in main_table(summarize(runs[:1], 100), 100)


def test_a_goal_that_is_missed_is_told_so() -> None:
    runs = [run(OURS, 1, rate=10), run("bare OpenVINO loop", 1, rate=20)]
    table = ratio_table(goals(runs, 100))
    assert "0.50" in table and "| no |" in table.replace("  ", " ")
