"""From the library's words to the command line's: messages name parameters, users gave variables and flags.

A library's message writes a parameter as `` `features` ``, or with its value as `` `features=NAME` ``.
"""

from __future__ import annotations

import re
import shlex

from features.backbones import DEFAULT_BACKBONE
from pipelines.options import OPTIONS, InfoOptions, Options

#: Parameters that the command line calls otherwise.
_OTHER_NAMES = {"kind": "head", "id": "head_id"}
#: What a library says is to be done first, and the target of make that does it.
_STEPS = {
    "extract features first": "extract",
    "train a head first": "train-head",
    "train a head end to end first": "train-end-to-end",
    "fine-tune a head first": "fine-tune",
}


def in_words_of_commands(message: str, options: Options) -> str:
    """The message for somebody who gave these options: `` `features=NAME` `` becomes `FEATURES=NAME`."""
    for step, target in _STEPS.items():
        command = make_command(target, options.store, options.features, options.backbone)
        message = message.replace(step, f"run `{command}` first")
    known = {option.name: option for option in OPTIONS}

    def translate(parameter: re.Match[str]) -> str:
        name, value = parameter[1], parameter[2]
        option = known.get(_OTHER_NAMES.get(name, name))
        if option is None:
            return parameter[0]
        if value is None:
            return option.variable if option.make else option.flag
        return f"{option.variable}={value}" if option.make else f"{option.flag} {value}"

    return re.sub(r"`([a-z_]+)(?:=([^`]*))?`", translate, message)


def make_command(target: str, store: str, features: str | None, backbone: str | None, *variables: str) -> str:
    """The command line of make that goes on with the same store and table.

    Args:
        features, backbone: the table and its network; None for the default.
        variables: others, as `IMAGES=…`.
    """
    given = [f"STORE={shlex.quote(str(store))}"] if str(store) != InfoOptions().store else []
    given += [f"BACKBONE={backbone}"] if backbone not in (None, DEFAULT_BACKBONE) else []
    given += [f"FEATURES={features}"] if features not in (None, backbone or DEFAULT_BACKBONE) else []
    return " ".join(["make", target, *variables, *given])


def table_name(options: Options) -> str:
    """The table that a command is about: the one that is named, or that of the backbone."""
    return options.features or options.backbone or DEFAULT_BACKBONE
