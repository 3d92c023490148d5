"""Placeholders in a command's arguments: ``--lr {lr}`` becomes ``--lr 0.1``.

Only names are replaced. Nothing is evaluated, and no shell reads the result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from phyletic.errors import InvalidArgument
from phyletic.space.names import did_you_mean

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MOST_LISTED = 30
_BRACES = "Write {{ and }} for braces that stay"


class _Piece(NamedTuple):
    """A part of an argument: a text, or the name of a placeholder."""

    text: str
    is_name: bool


def names_in(argument: str, label: str = "command") -> list[str]:
    """Return the names of an argument's placeholders, in order.

    Args:
        argument: The argument.
        label: What an error calls it.

    Raises:
        InvalidArgument: A brace has no partner.

    Example:
        >>> names_in("--out={save_to}/{optimizer.lr}.{{json}}")
        ['save_to', 'optimizer.lr']
    """
    return [piece.text for piece in _split(argument, label) if piece.is_name]


def check_names(arguments: Sequence[str], facts: Collection[str], paths: Collection[str]) -> set[str]:
    """Return the hyperparameters that arguments name, after a check of all placeholders.

    Args:
        arguments: The arguments.
        facts: Names of what else a trial has, such as ``"load_from"``.
        paths: Paths of the hyperparameters.

    Raises:
        InvalidArgument: A placeholder is unknown, or is both a fact and a hyperparameter.
    """
    found: set[str] = set()
    for index, argument in enumerate(arguments):
        label = f"command[{index}]"
        for name in names_in(argument, label):
            if name in facts and name in paths:
                allowed = f"without {{{name}}}, which is both a hyperparameter and a fact of the trial"
                raise InvalidArgument(label, argument, allowed, "Read the job file for this hyperparameter")
            if name not in facts and name not in paths:
                known = [*paths, *facts]
                listed = ", ".join(known[:_MOST_LISTED]) + (", ..." if len(known) > _MOST_LISTED else "")
                hint = " ".join(filter(None, [did_you_mean(name, known), _BRACES]))
                raise InvalidArgument(label, argument, f"without {{{name}}}: the placeholders are {listed}", hint)
            if name in paths:
                found.add(name)
    return found


def fill(arguments: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Replace the placeholders of arguments.

    A text stands as it is, any other value as JSON writes it. An argument with a placeholder that has no value (None,
    or not among the values) is left out; and if the argument is nothing but this placeholder, the option in front of it
    is left out as well.

    Args:
        arguments: The arguments, whose placeholders were checked.
        values: A value for each name.

    Example:
        >>> fill(["train", "--lr", "{lr}", "--resume", "{load_from}", "-n{steps}"], {"lr": 0.1, "steps": 5})
        ['train', '--lr', '0.1', '-n5']
    """
    filled: list[str] = []
    before = ""
    for argument in arguments:
        pieces = _split(argument, "command")
        missing = [piece for piece in pieces if piece.is_name and values.get(piece.text) is None]
        if not missing:
            filled.append("".join(_text(values[piece.text]) if piece.is_name else piece.text for piece in pieces))
        elif len(pieces) == 1 and before.startswith("-") and "{" not in before:
            filled.pop()
        before = argument
    return filled


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _split(argument: str, label: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    end = 0
    for token in _TOKEN.finditer(argument):
        if token.start() > end:
            pieces.append(_Piece(argument[end : token.start()], False))
        end = token.end()
        if token[1] is not None:
            pieces.append(_Piece(token[1], True))
        elif len(token[0]) == 2:
            pieces.append(_Piece(token[0][0], False))
        else:
            raise InvalidArgument(label, argument, f"without a single {token[0]}", _BRACES)
    if end < len(argument):
        pieces.append(_Piece(argument[end:], False))
    return pieces
