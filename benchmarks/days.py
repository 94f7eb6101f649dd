"""Thirty days of data that grow, move and change: `extract` and `train-head` each day, and what that cost.

    python -m benchmarks.days DATA WEIGHTS PLOT.png

DATA is a folder of photos with a sub-folder for each class. Each day the folder that is worked on changes in
ways drawn by a seed: photos come, are moved, renamed, edited, touched, copied, deleted; a class is renamed,
labels are wrong for some days, half of the folder is not mounted, a file is no image. The two commands run as
a scheduler runs them. What is to be inferred is known from the bytes of the files alone: those that no file
had the day before. The plot shows both, and which heads were promoted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from features.splits import assign_split

DAYS = 30
_FIRST_DAY = 250
#: From how many to below how many photos are new on a day.
_NEW = (4, 12)
_INPUT_SHRUNK = 4


@dataclasses.dataclass
class Day:
    """What happened on a day, and what the commands did.

    Attributes:
        number: of the day, from 1.
        events: what was changed, a word or two each.
        expected: images that have to be inferred, by their bytes.
        exit_code: of `extract`.
        extracted: its line of JSON; empty where it failed.
        trained: that of `train-head`; empty where it was not run.
    """

    number: int
    events: list[str]
    expected: int
    exit_code: int = 0
    extracted: dict[str, Any] = dataclasses.field(default_factory=dict)
    trained: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def inferred(self) -> int:
        return self.extracted.get("inferred", 0) + self.extracted.get("newly_rejected", 0)


class Changing:
    """A folder of photos that changes from day to day.

    Args:
        source: where photos come from, a sub-folder for each class.
        folder: that is changed.
        first_day: how many photos it has then.
    """

    def __init__(self, source: Path, folder: Path, first_day: int = _FIRST_DAY, seed: int = 0) -> None:
        self.folder = folder
        self._first_day = first_day
        self._random = np.random.default_rng(seed)
        photos = [path for path in sorted(source.glob("*/*")) if path.is_file()]
        self._coming = [photos[number] for number in self._random.permutation(len(photos))]
        self._later: dict[int, list[Callable[[], str]]] = {}
        self._day = 0

    def next_day(self) -> list[str]:
        """Change the folder; what was done."""
        self._day += 1
        events = [undo() for undo in self._later.pop(self._day, [])]
        if self._day == 1:
            return [self._grow(self._first_day)]
        if self._day % 10 == 0:
            return [*events, "nothing"]
        planned = {
            5: [self._rename_class],
            8: [self._wrong_labels],
            12: [self._half_is_not_mounted],
            15: [self._no_image],
            18: [self._touch_all],
            22: [self._rename_class],
            25: [self._wrong_training_labels],
        }
        usual = [self._grow, self._move, self._rename, self._edit, self._touch, self._copy, self._delete]
        chosen = [usual[number] for number in self._random.permutation(len(usual))[:3]]
        return [*events, *(change() for change in planned.get(self._day, [self._grow, *chosen]))]

    def bytes_there(self) -> set[str]:
        """Hashes of all files."""
        return {_sha256(path) for path in self.folder.glob("*/*")}

    def _some(self, count: int) -> list[Path]:
        photos = sorted(self.folder.glob("*/*.jpg"))
        return [photos[number] for number in self._random.permutation(len(photos))[:count]]

    def _grow(self, count: int | None = None) -> str:
        count = int(self._random.integers(*_NEW)) if count is None else count
        coming, self._coming = self._coming[:count], self._coming[count:]
        for path in coming:
            target = self.folder / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        return f"{len(coming)} new"

    def _move(self) -> str:
        """To another class, and back two days later."""
        classes = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        back = []
        for path in self._some(3):
            other = classes[(classes.index(path.parent.name) + 1) % len(classes)]
            target = self.folder / other / f"moved-{self._day}-{path.name}"
            path.rename(target)
            back.append((target, path))
        self._later.setdefault(self._day + 2, []).append(lambda: self._put_back(back, "3 moved back"))
        return "3 moved"

    def _rename(self) -> str:
        for path in self._some(4):
            path.rename(path.with_name(f"{self._day}-{path.name}"))
        return "4 renamed"

    def _edit(self) -> str:
        for path in self._some(2):
            with Image.open(path) as image:
                image.rotate(2).save(path, "JPEG", quality=85)
        return "2 edited"

    def _touch(self) -> str:
        for path in self._some(5):
            os.utime(path)
        return "5 touched"

    def _touch_all(self) -> str:
        photos = sorted(self.folder.glob("*/*.jpg"))
        for path in photos:
            os.utime(path)
        return f"all {len(photos)} touched"

    def _copy(self) -> str:
        for path in self._some(2):
            shutil.copy(path, path.with_name(f"copy-{self._day}-{path.name}"))
        return "2 copied"

    def _delete(self) -> str:
        for path in self._some(3):
            path.unlink()
        return "3 deleted"

    def _rename_class(self) -> str:
        folder = sorted(path for path in self.folder.iterdir() if path.is_dir())[0]
        folder.rename(folder.with_name(f"{folder.name}-{self._day}"))
        return f"class {folder.name} renamed"

    def _wrong_labels(self) -> str:
        """A third of the photos are in the wrong class, for three days: of those for testing, too."""
        photos = sorted(self.folder.glob("*/*.jpg"))
        return self._confuse(self._some(len(photos) // 3))

    def _wrong_training_labels(self) -> str:
        """The same for half of the training photos: the test images show that the head is worse."""
        train = [path for path in self._some(10**6) if assign_split(_sha256(path), None) == "train"]
        return f"{self._confuse(train[: len(train) // 2])} for training"

    def _confuse(self, wrong: list[Path]) -> str:
        """Move photos to the class after theirs."""
        classes = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        back = []
        for path in wrong:
            other = classes[(classes.index(path.parent.name) + 1) % len(classes)]
            target = self.folder / other / f"wrong-{path.name}"
            path.rename(target)
            back.append((target, path))
        self._later.setdefault(self._day + 3, []).append(lambda: self._put_back(back, "labels corrected"))
        return f"{len(wrong)} labelled wrongly"

    def _put_back(self, back: list[tuple[Path, Path]], done: str) -> str:
        """Undo a move, of files that are still where it put them, to folders that are still there."""
        for target, path in back:
            if target.exists() and path.parent.exists():
                target.rename(path)
        return done

    def _half_is_not_mounted(self) -> str:
        classes = sorted(path for path in self.folder.iterdir() if path.is_dir())
        aside = self.folder.with_name("aside")
        aside.mkdir()
        hidden = [(path, aside / path.name) for path in classes[: len(classes) // 2 + 1]]
        for path, target in hidden:
            path.rename(target)

        def mount() -> str:
            for path, target in hidden:
                target.rename(path)
            aside.rmdir()
            return "mounted again"

        self._later.setdefault(self._day + 1, []).append(mount)
        return f"{len(hidden)} of {len(classes)} classes not mounted"

    def _no_image(self) -> str:
        path = next(path for path in sorted(self.folder.iterdir()) if path.is_dir())
        broken = path / "broken.jpg"
        broken.write_text("no image")

        def remove() -> str:
            broken.unlink()
            return "that file deleted"

        self._later.setdefault(self._day + 1, []).append(remove)
        return "1 file is no image"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    data, weights, plot = sys.argv[1:4]
    with tempfile.TemporaryDirectory(prefix="bottlenecks-days-") as folder:
        days = []
        for day in live(Path(data), weights, Path(folder)):
            print(line_of(day), flush=True)
            days.append(day)
    draw(days, Path(plot))
    if wrong := [day.number for day in days if day.inferred != day.expected]:
        sys.exit(f"on days {wrong} other images were inferred than had changed")


def live(data: Path, weights: str, folder: Path) -> Iterator[Day]:
    """One day after the other."""
    changing, known = Changing(data, folder / "photos"), set[str]()
    common = [f"--store={folder / 'store'}", "--json"]
    for number in range(1, DAYS + 1):
        events = changing.next_day()
        there = changing.bytes_there()
        day = Day(number, events, len(there - known))
        given = [f"--data={changing.folder}", f"--weights={weights}", "--remove-gone", "--max-rejected=1"]
        day.exit_code, day.extracted = run("extract", *common, *given)
        if day.exit_code == 0:
            known = there
            _, day.trained = run("train-head", *common)
        else:
            day.expected = 0
        yield day


def run(command: str, *flags: str) -> tuple[int, dict[str, Any]]:
    """Run a command as a scheduler does: its exit code, and its line of JSON if it has one."""
    done = subprocess.run(
        [Path(sys.executable).with_name("bottlenecks"), command, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, _INPUT_SHRUNK):
        sys.exit(done.stderr)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def line_of(day: Day) -> str:
    """A day, for people."""
    if day.exit_code:
        return f"day {day.number:2}: {', '.join(day.events)}: refused, exit code {day.exit_code}"
    taken = ", ".join(f"{count} {why}" for why, count in day.extracted["taken_over"].items())
    head = day.trained
    promoted = (
        "skipped" if head["status"] == "skipped" else ("promoted" if head["promoted"] else "not promoted")
    )
    return (
        f"day {day.number:2}: {', '.join(day.events)}: {day.inferred} inferred, {day.expected} expected"
        f"{f' ({taken})' if taken else ''}; {promoted}: {head['why']}"
    )


def draw(days: list[Day], path: Path) -> None:
    """One plot: what had changed, what was inferred, and which heads were promoted on what evidence."""
    from matplotlib.figure import Figure

    figure = Figure((12, 10), layout="constrained")
    images, events, accuracy, difference = figure.subplots(
        4, 1, sharex=True, height_ratios=[3, 2.6, 2.4, 2.4]
    )
    numbers = np.array([day.number for day in days])
    images.bar(numbers - 0.2, [day.expected for day in days], 0.4, label="images whose bytes are new")
    images.bar(numbers + 0.2, [day.inferred for day in days], 0.4, label="images inferred")
    taken = [sum(day.extracted.get("taken_over", {}).values()) for day in days]
    images.plot(numbers, taken, "o", color="tab:green", markersize=4, label="taken over without inference")
    images.set_yscale("symlog", linthresh=10)
    images.set_yticks([0, 5, 10, 100], ["0", "5", "10", "100"])
    images.set_ylabel("images")
    images.legend(loc="upper right", fontsize=8, ncols=3, bbox_to_anchor=(1, 1.14), frameon=False)
    events.set_axis_off()
    for day in days:
        refused = [f"refused: exit code {day.exit_code}"] if day.exit_code else []
        text = textwrap.fill(", ".join([*day.events, *refused]), 44)
        events.text(day.number, 0, text, rotation=90, fontsize=7, ha="center", va="bottom")
    draw_heads(days, accuracy, difference)
    difference.set_xlabel("day")
    difference.set_xticks(numbers)
    difference.set_xlim(0.3, len(days) + 0.7)
    figure.savefig(path, dpi=100)


def draw_heads(days: list[Day], accuracy: Any, difference: Any) -> None:
    """Accuracy of each day's head on its test images, and what it gains over the head before."""
    kinds = {
        "promoted": ("tab:blue", "o", lambda head: head["status"] == "trained" and head["promoted"]),
        "not promoted": ("tab:red", "x", lambda head: head["status"] == "trained" and not head["promoted"]),
        "nothing to train": ("tab:gray", "_", lambda head: head["status"] == "skipped"),
    }
    for name, (color, marker, belongs) in kinds.items():
        heads = {day.number: day.trained for day in days if day.trained and belongs(day.trained)}
        values = [100 * head["metrics"]["accuracy"] for head in heads.values()]
        accuracy.plot(list(heads), values, marker, color=color, label=name)
        compared = {
            number: head["comparisons"][0]
            for number, head in heads.items()
            if head["status"] == "trained" and head["comparisons"]
        }
        middles = 100 * np.array([one["difference"] for one in compared.values()])
        ranges = 100 * np.array([one["interval"] for one in compared.values()]).reshape(-1, 2)
        bars = np.abs(ranges - middles[:, None]).T
        difference.errorbar(list(compared), middles, bars, fmt=marker, color=color, capsize=2, lw=1)
    accuracy.set_ylabel("accuracy of the\nday's head, %")
    accuracy.legend(loc="lower right", fontsize=8, ncols=3)
    difference.axhline(0, color="black", lw=0.5)
    difference.set_ylabel("points better than the current\nhead on the same test images\n(95 % interval)")


if __name__ == "__main__":
    main()
