"""The kinds of heads, and their parameters by name.

A new kind is a module with a subclass of `heads.base.Head`, and one line here. Its parameters are the fields
of that dataclass: `train_head` and the command line take them from there.
"""

from __future__ import annotations

import contextlib
import importlib
import types
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from features.errors import BottleneckError, check_known

if TYPE_CHECKING:
    from heads.base import Head

#: Module and class of each kind, imported when a head of it is made or loaded.
HEADS: dict[str, str] = {
    "logistic": "heads.logistic:LogisticHead",
    "dense": "heads.dense:DenseHead",
}

#: How a type is called in a message.
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
#: The values of types that have few, by how they are written.
_WORDS: dict[Any, dict[str, Any]] = {bool: {"true": True, "false": False}, type(None): {"none": None}}


def head_class(kind: str) -> type[Head]:
    """The class of a kind of head.

    Raises:
        BottleneckError: for an unknown kind; the message lists the known ones.
    """
    check_known("head of kind", kind, HEADS)
    module, name = HEADS[kind].split(":")
    return getattr(importlib.import_module(module), name)


def new_head(kind: str, parameters: dict[str, Any]) -> Head:
    """An untrained head.

    Raises:
        BottleneckError: for an unknown kind, or a parameter that it does not have.
    """
    _check_names(kind, parameters)
    return head_class(kind)(**parameters)


def parse_parameters(kind: str, settings: Iterable[str]) -> dict[str, Any]:
    """Parameters of a head from text, such as `["hidden=64", "C=none"]`, for `train_head(**parameters)`.

    Raises:
        BottleneckError: for an unknown kind or parameter, or a value that is not of the parameter's type.
    """
    texts: dict[str, str] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not (name and equals):
            raise BottleneckError(f"{setting!r} sets no parameter: expected NAME=VALUE")
        if texts.setdefault(name, text) != text:
            raise BottleneckError(f"the parameter {name!r} is set twice, to {texts[name]} and to {text}")
    _check_names(kind, texts)
    return {name: _parse(kind, name, text) for name, text in texts.items()}


def _check_names(kind: str, names: Iterable[str]) -> None:
    known = head_class(kind)._get_param_names()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise BottleneckError(
            f"a {kind} head has no parameter {', '.join(map(repr, unknown))}: it takes {', '.join(known)}"
        )


def _parse(kind: str, name: str, text: str) -> Any:
    annotation = typing.get_type_hints(head_class(kind).__init__)[name]
    words: dict[str, Any] = {}
    expected: list[str] = []
    converters: list[Any] = []
    for of in _members(annotation):
        if typing.get_origin(of) is typing.Literal:
            values = typing.get_args(of)
            words |= {str(value).lower(): value for value in values}
            expected += [f"one of {', '.join(map(str, values))}" if values[1:] else str(values[0])]
        elif of in _TYPES:  # others can't be written as text
            words |= _WORDS.get(of, {})
            expected.append(_TYPES[of])
            converters.append(of)
    if text.lower() in words:
        return words[text.lower()]
    for convert in (of for of in converters if of in (int, float, str)):
        with contextlib.suppress(ValueError):
            return convert(text)
    raise BottleneckError(f"a {kind} head expects {' or '.join(expected)} for {name}, not {text!r}")


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types that a union is of; another type alone."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)
