"""The options of the commands, each declared once: name, default, meaning, and who takes it.

Use it to add an option or to change a default: this is the only place. `pipelines.cli` makes its flags from
`OPTIONS`, and a command gets its values as attributes of its `Options`. The Makefile runs this file as a
script, before anything is installed and with whatever `python3` there is: hence the standard library only,
nothing imported from this project, and no syntax newer than Python 3.8.

    python3 pipelines/options.py              # the table that `make help` prints
    python3 pipelines/options.py predict      # STORE=--store WEIGHTS=--weights and so on: what it takes
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from typing import Self


class Option(NamedTuple):
    """One option of the command `bottlenecks`.

    Attributes:
        name: as code names it; `max_rejected` is the flag `--max-rejected`, and the variable `MAX_REJECTED`.
        default: what holds when it is not given; None where the command decides.
        commands: the sub-commands that take it; none for what only make knows.
        help: what it is, in a line.
        make: whether it is a variable of make, too.
        kind: how its text is read: a key of `pipelines.cli.KINDS`.
        choices: the only values it may have, or none for any; `module:name` is a registry's names.
        unset: what holds where the default is None, for people.
        needed: it must be given.
    """

    name: str
    default: Any
    commands: tuple[str, ...]
    help: str
    make: bool = False
    kind: str = "text"
    choices: tuple[str, ...] = ()
    unset: str = ""
    needed: bool = False

    @property
    def variable(self) -> str:
        return self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """The default, for people; empty where there is none."""
        if self.default is None or self.default is False or self.default in ("", ()):
            return self.unset
        return str(self.default)


_EXTRACT, _TRAIN, _PREDICT = ("extract",), ("train-head",), ("predict",)
_WHOLE, _TUNE = ("train-end-to-end",), ("fine-tune",)
_EVIDENCE = ("evaluate", "report")
_PROMOTE = ("promote",)
_ALL = (*_EXTRACT, *_TRAIN, *_WHOLE, *_TUNE, *_PROMOTE, *_PREDICT, *_EVIDENCE, "info")
_AUTO_DATA = "auto takes that of the table, else flowers, or digits where flowers cannot be downloaded"
_AUTO_WEIGHTS = (
    "auto takes those of the table or the head, else imagenet, or random where imagenet cannot be downloaded"
)
_AUTO_PRECISION = "auto takes bfloat16 where the processor has it and the first images allow it"
_FORMS = "a folder with a sub-folder per class, a CSV file, flowers or digits"
_FILES = "a .weights.h5, .h5 or .keras file, imagenet or random"


def _variable(*facts: Any, **more: Any) -> Option:
    return Option(*facts, **more)._replace(make=True)


OPTIONS = (
    _variable("data", "auto", (*_EXTRACT, *_WHOLE, "bench"), f"images: {_FORMS}; {_AUTO_DATA}", kind="path"),
    _variable("store", "store", _ALL, "folder that holds the features and the heads", kind="path"),
    _variable(
        "backbone", None, _ALL, "network that makes the features",
        choices=("features.backbones:BACKBONES",), unset="inception_v3"
    ),
    _variable(
        "weights", "auto", (*_EXTRACT, *_WHOLE, *_TUNE, *_PREDICT, "bench"),
        f"weights of the backbone: {_FILES}; {_AUTO_WEIGHTS}", kind="path"
    ),
    _variable(
        "layers", None, (*_EXTRACT, *_TRAIN, *_WHOLE),
        "layers to store, with commas between them (an unknown one lists them), or to train from; "
        "where there is a table, by default of those that it has",
        unset="avg_pool"
    ),
    _variable(
        "engine", "auto", (*_EXTRACT, *_PREDICT), "what runs it; auto takes openvino, or tensorflow on a GPU",
        choices=("auto", "features.engines:ENGINES")
    ),
    _variable(
        "precision", "auto", _EXTRACT, f"precision of a new table; {_AUTO_PRECISION}",
        choices=("auto", "features.recipe:PRECISIONS")
    ),
    _variable(
        "views", None, (*_EXTRACT, *_TRAIN),
        "augmented views of each training image, besides itself: to store, or to train from at most",
        kind="count", unset="as many as the table has, or 0"
    ),
    _variable("features", None, _ALL, "name of the table of features in the store", unset="the backbone's"),
    _variable("head", "logistic", _TRAIN, "kind of head", choices=("heads.registry:HEADS",)),
    _variable(
        "head_id", None, (*_TUNE, *_PROMOTE, *_PREDICT, *_EVIDENCE),
        "head to use: to label images, to fine-tune, to evaluate, to make the current one",
        unset="the current one; to promote, the newest, if nothing was decided of it"
    ),
    _variable("images", None, _PREDICT, "images to label: a file or a folder", kind="path", needed=True),
    _variable("runner", "local", _EXTRACT, "where the pipeline runs: local, or the name of a Beam runner"),
    _variable("beam_args", (), _EXTRACT, "flags for Beam, as '--project=mine --region=here'", kind="words"),
    _variable("args", "", (), "further flags of the one command that is run; see ARGS=--help"),
    _variable("python", "", (), "Python 3.11 to 3.13 that .venv is made with; otherwise found on the PATH"),
    Option(
        "exif_orientation", None, (*_EXTRACT, *_WHOLE), "turn photos as their EXIF data say",
        kind="yes or no", unset="as the table was made, or not"
    ),
    Option(
        "splits", None, (*_EXTRACT, *_WHOLE),
        "which folders of DATA are which split, as site_a=train,site_b=test; others are left out",
        unset="as the table was made, or those named like splits"
    ),
    Option(
        "classes", None, (*_EXTRACT, *_WHOLE),
        "which folder above an image is its class, where there are several",
        choices=("features.inputs:CLASSES",),
        unset="as the table was made, or the top one unless that is unclear"
    ),
    Option(
        "max_rejected", 0.1, _EXTRACT,
        "share of the tried images; the run fails, at its end, when more of them are bad", kind="share"
    ),
    Option("retry_rejected", False, _EXTRACT, "try rejected images again", kind="switch"),
    Option(
        "redo_decoding", False, _EXTRACT,
        "infer images again that were stored by an older decoding and would be read otherwise now",
        kind="switch"
    ),
    Option(
        "remove_gone", False, _EXTRACT,
        "take images that the input no longer has out of the tables (older versions keep them)", kind="switch"
    ),
    Option(
        "max_removed", 0.5, _EXTRACT,
        "share of the stored images; the run is refused when the input has lost more of them", kind="share"
    ),
    Option(
        "data_moved_from", None, _EXTRACT,
        "where DATA was when the table was made: the rows get the new paths, and no image is read",
        kind="path"
    ),
    Option("chunk_size", 4096, _EXTRACT, "most images in one slice: what a stop can lose", kind="positive"),
    Option(
        "if_running", "wait", _EXTRACT,
        "where another run is at work on the table: wait until it ends, or skip what it has planned",
        choices=("wait", "skip")
    ),
    Option(
        "seed", None, (*_TRAIN, *_WHOLE, *_TUNE, *_EVIDENCE), "of everything random",
        kind="count", unset="0"
    ),
    Option(
        "min_images", 1, (*_TRAIN, *_WHOLE), "leave out classes with fewer training images", kind="positive"
    ),
    Option(
        "folds", None, _TRAIN, "of a cross-validation, in which each image is tested once; 0 for none",
        kind="count", unset="5 where few images are for testing, else 0"
    ),
    Option("repeats", 1, _TRAIN, "trainings with a seed each, whose figures are compared", kind="positive"),
    Option("retrain", False, _TRAIN, "train even where nothing has changed since", kind="switch"),
    Option(
        "promote", None, (*_TRAIN, *_WHOLE, *_TUNE, *_PROMOTE),
        "whether the head becomes the current one: by evidence, if it is no worse on the same test images",
        choices=("heads.promotion:MODES",), unset="evidence; always after fine-tuning, which has none yet"
    ),
    Option(
        "if_undecided", False, _PROMOTE,
        "leave all as it is where something was decided of the head before, and the current one can be used",
        kind="switch"
    ),
    Option(
        "max_class_drift", None, _TRAIN,
        "the run fails, before it trains, when the shares of the classes have moved by more than this share "
        "of the images since the current head was trained", kind="share", unset="no limit"
    ),
    Option(
        "max_feature_drift", None, _TRAIN,
        "the run fails, before it trains, when new images are told from old ones of their class by their "
        "features with a higher AUC; 0.5 is chance", kind="share", unset="no limit"
    ),
    Option(
        "hidden", None, (*_TRAIN, *_WHOLE), "the same as --set hidden=N: units of a hidden layer",
        kind="positive"
    ),
    Option(
        "set", None, (*_TRAIN, *_WHOLE), "a parameter of the head: NAME=VALUE, as often as needed",
        kind="list"
    ),
    Option(
        "augment", None, (*_EXTRACT, *_WHOLE, *_TUNE),
        "a way to change images in training, or for views (their colors are changed by default, too), as "
        "crop=0.2, as often as needed; an unknown one lists them",
        kind="list", unset="flip, crop and rotation"
    ),
    Option(
        "blocks", None, _TUNE, "how many of the last blocks of the backbone are trained", kind="positive",
        unset="1"
    ),
    Option(
        "learning_rate", None, (*_WHOLE, *_TUNE), "of Adam", kind="number",
        unset="0.001 end to end, 3e-05 for tuning"
    ),
    Option(
        "epochs", None, (*_WHOLE, *_TUNE), "passes over the training images, at most", kind="positive",
        unset="20 end to end, 10 for tuning"
    ),
    Option(
        "patience", None, (*_WHOLE, *_TUNE), "epochs without a lower validation loss until training stops",
        kind="positive", unset="3"
    ),
    Option("batch_size", None, (*_WHOLE, *_TUNE), "images in a step", kind="positive", unset="32"),
    Option(
        "mlflow", False, (*_TRAIN, *_WHOLE, *_TUNE), "log the head to MLflow, where MLFLOW_TRACKING_URI says",
        kind="switch"
    ),
    Option(
        "tensorboard", False, (*_TRAIN, *_WHOLE, *_TUNE),
        "log the training of a dense head for TensorBoard, to STORE/logs/tensorboard/", kind="switch"
    ),
    Option(
        "draws", 10, _EVIDENCE, "how often images are shared out into training and test; 5 or more",
        kind="positive"
    ),
    Option(
        "sample", 2000, _EVIDENCE, "images that learning curves are drawn from, at most; 20 or more",
        kind="positive"
    ),
    Option(
        "random_features", True, _EVIDENCE,
        "extract features of the sample with random weights, to compare with, into a table of their own",
        kind="yes or no"
    ),
    Option(
        "json", False, (*_EXTRACT, *_TRAIN, *_PROMOTE, *_EVIDENCE),
        "print one line of JSON; of evaluate, all figures as JSON", kind="switch"
    ),
    Option(
        "output", None, (*_PREDICT, "report"), "file to write: .csv or .parquet of labels, .html of the page",
        kind="path", unset="CSV on the standard output; report.html beside the head"
    ),
)  # fmt: skip


def options_of(command: str, *, make: bool = False) -> list[Option]:
    """The options that a sub-command takes; with `make`, those that are variables of make."""
    return [option for option in OPTIONS if command in option.commands and (option.make or not make)]


class Options:
    """What a command is asked for: an attribute for each of its options.

    Args:
        **values: of some options; the others have their default.
    """

    command: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        vars(self).update({option.name: option.default for option in options_of(self.command)})
        unknown = values.keys() - vars(self).keys()
        if unknown:
            raise TypeError(f"{self.command} has no option {', '.join(sorted(unknown))}")
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.command} has no option {name!r}")

    def replace(self, **values: Any) -> Self:
        """The same with other values of some options."""
        return type(self)(**{**vars(self), **values})


class ExtractOptions(Options):
    """`auto` and None mean what the table was made with, and where there is none yet, the best there is."""

    command = "extract"


class TrainOptions(Options):
    command = "train-head"


class EndToEndOptions(Options):
    """`auto` and None mean what the table of the head's name was made with, where there is one."""

    command = "train-end-to-end"


class FineTuneOptions(Options):
    command = "fine-tune"


class PromoteOptions(Options):
    command = "promote"


class PredictOptions(Options):
    command = "predict"


class EvaluateOptions(Options):
    command = "evaluate"


class ReportOptions(Options):
    command = "report"


class InfoOptions(Options):
    command = "info"


def table(width: int = 100) -> str:
    """Every variable of make with its default, its meaning and the targets that take it, for `make help`."""
    lines = []
    for option in OPTIONS:
        if option.make:
            default = "(needed)" if option.needed else option.default_text or "(none)"
            takers = f" [{', '.join(option.commands)}]" if option.commands else ""
            head, indent = f"  {option.variable:<11}{default:<16}", " " * 29
            if len(head) > len(indent):
                lines.append(head)
                head = indent
            lines += textwrap.wrap(option.help + takers, width, initial_indent=head, subsequent_indent=indent)
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table, or what one command takes, as `NAME=--flag` with spaces between."""
    if not arguments:
        print(table())
        return 0
    taken = options_of(arguments[0], make=True)
    if not taken:
        commands = sorted({command for option in OPTIONS for command in option.commands})
        print(f"{arguments[0]!r} takes no variables: expected {', '.join(commands)}", file=sys.stderr)
        return 1
    print(" ".join(f"{option.variable}={option.flag}" for option in taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
