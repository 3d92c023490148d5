"""A user's own function as an explore rule."""

from __future__ import annotations

import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from phyletic.errors import InvalidArgument, InvalidSpace
from phyletic.evolution.explore import Chain, Explore, Explored, ExploreFunction, belongs_to_weights, same
from phyletic.randomness import RandomStream
from phyletic.records import Value
from phyletic.space import Space
from phyletic.space.names import unknown


@dataclass(frozen=True)
class UserFunction:
    """A function that explores: ``(hyperparameters, rng) -> mapping``.

    The function takes a copy of the inherited values by flat path (constants and fixed ones too) and a
    ``numpy.random.Generator``, and returns new values by flat path; a path that it leaves out keeps its value. The
    space checks the result. A study remembers the function's name and a hash of its source, and notices if it is opened
    with another function; two rules with the same name and hash are equal.

    Attributes:
        qualified_name: The function's ``__qualname__``.
        hash: ``"sha256:..."`` of its source, or of its bytecode if the source cannot be found.
        function: The function itself; None if the rule was read from a stored study.
    """

    qualified_name: str
    hash: str
    function: ExploreFunction | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, function: ExploreFunction) -> UserFunction:
        """Make the rule that calls ``function``."""
        return cls(qualified_name(function), function_hash(function), function)

    @property
    def name(self) -> str:
        """The qualified name with the first digits of the hash."""
        return f"{self.qualified_name}@{self.hash[:19]}"

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Call the function and check what it returns; see :meth:`Explore.explore`.

        Raises:
            InvalidArgument: The function is not known in this process.
            InvalidSpace: It returned something that is not in the space, or changed a fixed value or a constant.
        """
        if self.function is None:
            raise InvalidArgument(
                "explore",
                self.qualified_name,
                "a function that this process has",
                hint="The study explores with a function of its own: open it from the code that defines "
                f"{self.qualified_name}, and pass the same algorithm",
            )
        returned = self.function(dict(values), stream.generator())
        changed = self._merge(space, values, returned)
        repaired = space.repair(changed, stream)
        how = {path: self.name for path, value in repaired.items() if not same(value, values.get(path))}
        for path in how:
            if path not in changed:
                how[path] = "sampled"
        return Explored(repaired, how)

    def _merge(self, space: Space, values: Mapping[str, Value], returned: object) -> dict[str, Value]:
        """Check the returned values one by one, and lay them over the inherited ones.

        Args:
            space: What may vary.
            values: The inherited values by flat path.
            returned: The return value of the function.
        """
        blame = f"The explore function {self.qualified_name} returned it"
        if not isinstance(returned, Mapping):
            raise InvalidSpace("hyperparameters", returned, "a mapping from paths to values", blame)
        merged = dict(values)
        for path, value in returned.items():
            parameter = space.parameters.get(path)
            try:
                if parameter is None and path not in values:
                    raise unknown(path, space.parameters)
                new = values[path] if parameter is None else parameter.domain.coerce(value, path)
            except InvalidSpace as error:
                hint = f"{error.hint}. {blame}" if error.hint else blame
                raise InvalidSpace(error.name, error.value, error.allowed, hint) from error
            kind = ""
            if parameter is None:
                kind = "" if value == new else "a constant"
            elif path in values and not same(new, values[path]) and belongs_to_weights(space, parameter):
                kind = "fixed at birth"
            if kind:
                raise InvalidSpace(path, value, f"{values[path]!r}, as it is {kind}", blame)
            merged[path] = new
        return merged


def as_rule(explore: object) -> Explore:
    """Turn the argument ``explore`` of an algorithm into a rule.

    Args:
        explore: A rule, a function, or a list or tuple of these.

    Raises:
        InvalidArgument: It is none of them.
    """
    if isinstance(explore, (list, tuple)):
        return Chain(tuple(as_rule(rule) for rule in explore))
    if isinstance(explore, type):
        raise InvalidArgument("explore", explore, "an instance of a rule", hint=f"Write {explore.__name__}()")
    if isinstance(explore, Explore):
        return explore
    if callable(explore):
        return UserFunction.of(explore)
    raise InvalidArgument(
        "explore", explore, "a rule such as Perturb(), a function (hyperparameters, rng) -> mapping, or a list of these"
    )


def qualified_name(function: Any) -> str:
    """Return the name under which a study remembers a function."""
    if isinstance(function, functools.partial):
        return qualified_name(function.func)
    name = getattr(function, "__qualname__", None)
    return str(name) if name is not None else type(function).__qualname__


def function_hash(function: Any) -> str:
    """Return a hash of a function's source, or of its bytecode if the source cannot be found."""
    if isinstance(function, functools.partial):
        bound = repr((function.args, sorted(function.keywords.items())))
        return _digest([function_hash(function.func), bound])
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not inspect.isroutine(function):
        function = type(function)
    code = getattr(function, "__code__", None)
    # inspect returns the whole line of a lambda, with the code around it
    if code is None or code.co_name != "<lambda>":
        try:
            return _digest([textwrap.dedent(inspect.getsource(function))])
        except (OSError, TypeError):
            pass
    if code is None:
        return _digest([function.__qualname__])
    return _digest(list(_bytecode(code)))


def _bytecode(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _bytecode(constant)
        else:
            yield repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)


def _digest(parts: list[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()
