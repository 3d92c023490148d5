"""What a study is: made from the user's arguments, and compared with them when the study is opened again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from phyletic.checkpoints.addresses import StoreSettings
from phyletic.checkpoints.checkpoints import digest_at
from phyletic.coordinator.messages import Control
from phyletic.errors import InvalidArgument, StudyMismatch
from phyletic.evolution import Algorithm
from phyletic.evolution.algorithm import check_algorithm
from phyletic.evolution.arguments import check_mapping, check_sequence
from phyletic.evolution.codec import algorithm_from_json, algorithm_to_json
from phyletic.evolution.user_function import function_hash, qualified_name
from phyletic.randomness import RandomStream
from phyletic.records import Metric, StudyIdentity
from phyletic.space import Space
from phyletic.space.paths import flatten

Sampling = Literal["random", "sobol", "latin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of a study, each checked by itself; None if the user left it out.

    Attributes:
        name: The study's name.
        space: What may vary.
        metrics: What the training code reports.
        algorithm: How members evolve.
        seed: From which all randomness is derived.
        initial: The first members' values; checked once the space is known.
        sampling: How other first values are drawn.
        checkpoints: Where its checkpoints are: the absolute path of a folder, or an address.
        store: How this process uses a store that lies elsewhere.
        warm_start: The checkpoint that newborns begin with.
        control: The settings of its control that the user gave.
    """

    name: str
    space: Space | None
    metrics: tuple[Metric, ...] | None
    algorithm: Algorithm | None
    seed: int | None
    initial: Sequence[Mapping[str, Any]] | None
    sampling: Sampling | None
    checkpoints: str | None
    warm_start: Path | None
    control: Control
    store: StoreSettings


def check_name(name: object) -> str:
    """Return a study's name, or raise InvalidArgument.

    Example:
        >>> check_name("digits")
        'digits'
    """
    # isprintable also refuses halves of surrogate pairs
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable() or not name.strip():
        raise InvalidArgument("name", name, "a name of 1 to 200 printable characters")
    return name


def make_space(space: object) -> Space:
    """Return the space of a study from what the user gave: a dictionary, or a Space."""
    if isinstance(space, Space):
        return space
    return Space(check_mapping("space", space, 'a dictionary such as {"lr": ph.Float(1e-4, 1e-1, log=True)}'))


def make_metrics(metric: object, mode: object) -> tuple[Metric, ...]:
    """Return the metrics of a study from one name and mode, or from a list of each.

    Example:
        >>> make_metrics(["accuracy", "latency"], ["max", "min"])[1]
        Metric(name='latency', mode='min')
    """
    names = [metric] if isinstance(metric, str) else metric
    modes = [mode] if isinstance(mode, str) or mode is None else mode
    if not isinstance(names, Sequence) or not names:
        raise InvalidArgument("metric", metric, "a name, or a list of names whose first is ranked by")
    if (
        not isinstance(modes, Sequence)
        or len(modes) != len(names)
        or not all(isinstance(way, str) and way in ("min", "max") for way in modes)
    ):
        raise InvalidArgument("mode", mode, '"max" if higher is better, "min" if lower is, one for each metric')
    metrics = tuple(Metric(name, way) for name, way in zip(names, modes, strict=True))
    if len({item.name for item in metrics}) != len(metrics):
        raise InvalidArgument("metric", metric, "names that differ")
    return metrics


def create_identity(given: Arguments, space: Space) -> StudyIdentity:
    """Return the identity of a new study.

    Raises:
        InvalidArgument: An argument is missing or cannot be used; for initial values, an InvalidSpace that names the
            parameter.
    """
    if given.metrics is None:
        raise InvalidArgument("metric", None, "the name under which the training code reports its score")
    algorithm = check_algorithm(given.algorithm)
    seed = secrets.randbits(32) if given.seed is None else given.seed
    initial = () if given.initial is None else given.initial
    return StudyIdentity(
        uuid=secrets.token_hex(16),
        name=given.name,
        space=space.to_json(),
        metrics=given.metrics,
        algorithm=describe_algorithm(algorithm, space),
        seed=seed,
        initial=make_initial(initial, space, algorithm.population_size(space), seed),
        initial_functions=_functions(initial, space),
        sampling=given.sampling or "random",
    )


def describe_algorithm(algorithm: Algorithm, space: Space) -> dict[str, Any]:
    """Return the JSON form of an algorithm, with the population it begins with."""
    return {**algorithm_to_json(algorithm), "population": algorithm.population_size(space)}


def make_initial(
    initial: Sequence[Mapping[str, Any]], space: Space, population: int, seed: int
) -> tuple[dict[str, Any], ...]:
    """Return the user's initial values by flat path, checked against the space.

    A row with functions of other values is complete, since what they read must be the same at the member's birth.

    Args:
        initial: A dictionary of hyperparameters for each of the first members; it may name only some of them.
        space: The study's space.
        population: Number of members.
        seed: The study's seed, from which values are drawn that functions read.
    """
    initial = check_sequence("initial", initial, "a list of dictionaries, one for each of the first members")
    if len(initial) > population:
        raise InvalidArgument("initial", f"a list of {len(initial)}", f"no longer than the population, {population}")
    made = []
    for place, given in enumerate(initial):
        if not isinstance(given, Mapping):
            raise InvalidArgument(f"initial[{place}]", given, "a dictionary from hyperparameters to values")
        flat = _flat(given, space)
        complete = space.complete(given, RandomStream(seed, _INITIAL, place))
        whole = any(callable(value) for value in flat.values())
        made.append({path: complete[path] for path in complete if whole or path in flat})
    return tuple(made)


_INITIAL = 2**32 - 1
"""Names the stream of values that functions in ``initial`` read; no trial has this number."""


def _flat(given: Mapping[str, Any], space: Space) -> dict[str, Any]:
    groups = [path for path in space.parameters if any(other.startswith(f"{path}.") for other in space.parameters)]
    return flatten(given, groups)


def _functions(initial: Sequence[Mapping[str, Any]], space: Space) -> tuple[dict[str, str], ...]:
    """Return the functions among the initial values, as the study remembers them; empty if there are none."""
    named = tuple(
        {
            path: f"{qualified_name(value)}@{function_hash(value)[:19]}"
            for path, value in _flat(given, space).items()
            if callable(value)
        }
        for given in initial
    )
    return named if any(named) else ()


def require_same(stored: StudyIdentity, given: Arguments) -> None:
    """Raise StudyMismatch, naming the differences, unless the arguments that were given are those of the study."""
    space = Space.from_json(stored.space)
    population: int = stored.algorithm["population"]
    differences = []
    if given.space is not None and (difference := space.difference(given.space)) is not None:
        differences.append(f"space: {difference}")
    if given.algorithm is not None:
        described = describe_algorithm(given.algorithm, given.space or space)
        # read and written again, so that what a later version added counts as left at its default
        known = {**algorithm_to_json(algorithm_from_json(stored.algorithm)), "population": population}
        if described != known:
            differences.append(_first_difference("algorithm", known, described))
    initial = None if given.initial is None else make_initial(given.initial, space, population, stored.seed)
    if given.warm_start is not None:
        begun_with = None if stored.warm_start is None else stored.warm_start.digest
        digest = digest_at(given.warm_start)
        if digest != begun_with:
            differences.append(_difference("warm_start", begun_with, digest))
    here = {"metric": given.metrics, "seed": given.seed, "initial": initial, "sampling": given.sampling}
    there = {"metric": stored.metrics, "seed": stored.seed, "initial": stored.initial, "sampling": stored.sampling}
    for part, value in here.items():
        if value is not None and value != there[part]:
            differences.append(_difference(part, there[part], value))
    if differences:
        raise StudyMismatch(
            f"study {stored.name!r} exists with another identity: {'; '.join(differences)}. "
            "Open it as it is (leave those arguments out), or give the new study another name"
        )


def _first_difference(path: str, stored: Any, given: Any) -> str:
    """Return a sentence that names the first difference between two values.

    Args:
        path: The place of the values, with dots.
        stored: The study's value.
        given: The value given.
    """
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        for name in [*stored, *(name for name in given if name not in stored)]:
            if stored.get(name) != given.get(name):
                return _first_difference(f"{path}.{name}", stored.get(name), given.get(name))
    return _difference(path, stored, given)


def _difference(name: str, stored: Any, given: Any) -> str:
    """Return a sentence that names both values.

    Args:
        name: What differs.
        stored: The study's value.
        given: The value given.
    """
    return f"{name} is {msgspec.to_builtins(stored)!r} there and {msgspec.to_builtins(given)!r} here"
