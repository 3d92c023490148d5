"""The functions and classes of a server's operator that studies may use: no client can name others."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from phyletic.errors import InvalidArgument
from phyletic.evolution import Algorithm
from phyletic.evolution.codec import algorithm_from_json, type_name
from phyletic.evolution.early_stop import EarlyStopRule
from phyletic.evolution.user_function import UserFunction

_FUNCTIONS = ("UserFunction", "EarlyStopRule")
"""The types of what stands for a function in an algorithm."""


class OwnCode:
    """What ``phyletic serve --allow MODULE:NAME`` names.

    Args:
        names: Functions that explore or stop early, or classes of algorithms and rules, each as ``"module:name"``. They
            are imported now.

    Raises:
        InvalidArgument: One of them cannot be imported, or can be no part of an algorithm.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._functions: list[UserFunction | EarlyStopRule] = []
        self._types: set[str] = set()
        for name in names:
            found = _imported(name)
            if isinstance(found, type):
                self._types.add(type_name(found))
            else:
                # what it is for is known from where a study has it
                explores = UserFunction.of(found)
                self._functions += [explores, EarlyStopRule(explores.qualified_name, explores.hash, found)]

    def algorithm(self, document: Mapping[str, Any]) -> Algorithm:
        """Return the algorithm of a JSON form that a client has sent.

        Raises:
            InvalidArgument: It is none, or names code that the server's operator did not name.
        """
        self.require_types(document)
        self._require_functions(document)
        try:
            return algorithm_from_json(document, self._functions)
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidArgument("algorithm", document, "the JSON form of an algorithm", str(error)) from None

    def stored_algorithm(self, document: Mapping[str, Any]) -> Algorithm | None:
        """Return the algorithm of a stored study with its functions; None if it has none of its own.

        Raises:
            InvalidArgument: It has a function that the server's operator did not name.
        """
        if not any(one.get("type") in _FUNCTIONS for one in _documents(document)):
            return None
        self._require_functions(document)
        return algorithm_from_json(document, self._functions)

    def require_types(self, document: Mapping[str, Any]) -> None:
        """Raise InvalidArgument if an algorithm has a class that the server's operator did not name.

        Reading an algorithm imports its classes, so this comes first, also for a study that is stored.
        """
        for one in _documents(document):
            kind = one.get("type")
            if isinstance(kind, str) and ":" in kind and kind not in self._types:
                raise _refusal(kind, kind)

    def _require_functions(self, document: Any) -> None:
        for one in _documents(document):
            if one.get("type") not in _FUNCTIONS:
                continue
            name = str(one.get("qualified_name"))
            same_name = [function for function in self._functions if function.qualified_name == name]
            if not same_name:
                raise _refusal(name, f"MODULE:{name}")
            if one.get("hash") not in [function.hash for function in same_name]:
                allowed = f"the {name} that the server has; its source differs"
                raise InvalidArgument("algorithm", name, allowed, "Bring the code on both machines to one version")


def _refusal(name: str, argument: str) -> InvalidArgument:
    return InvalidArgument(
        "algorithm",
        name[:200],
        "made of phyletic's own rules, or of code that the server's operator named",
        f"No code crosses the wire: start the server with --allow {argument[:200]}",
    )


def _documents(document: Any) -> list[Mapping[str, Any]]:
    """Return all mappings within a JSON form."""
    if isinstance(document, Mapping):
        return [document, *[one for item in document.values() for one in _documents(item)]]
    if isinstance(document, (list, tuple)):
        return [one for item in document for one in _documents(item)]
    return []


def _imported(name: str) -> Any:
    module, colon, qualified = name.partition(":")
    allowed = "MODULE:NAME of a function that explores or stops early, or of a class of an algorithm or a rule"
    if not (module and colon and qualified):
        raise InvalidArgument("allow", name, allowed)
    try:
        found = operator.attrgetter(qualified)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InvalidArgument("allow", name, f"{allowed}, which can be imported ({error})") from None
    if not callable(found):
        raise InvalidArgument("allow", name, allowed)
    return found
