"""Explore: how inherited hyperparameters change after a copy.

Every rule acts on the parameters that are active and neither fixed nor constant, each drawn independently, in the
order of the space. The domain defines what a step is (a factor in a logarithmic range, one place in an ordinal, another
choice); values never leave their domain. If a choice changes, the parameters of the old branch are dropped and those of
the new branch are drawn from their birth ranges. A choice with fixed parameters under it never changes, because the
weights were made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_number, check_probability, check_sequence
from phyletic.randomness import RandomStream
from phyletic.records import Value
from phyletic.space import Choice, Domain, Ordinal, Parameter, Space
from phyletic.unknown_arguments import explain_unknown_arguments

if TYPE_CHECKING:
    import numpy as np

ExploreFunction: TypeAlias = Callable[[dict[str, Any], "np.random.Generator"], Mapping[str, Any]]
"""A user's own rule: takes the inherited values by flat path and a random generator, returns the new values."""


class Explored(NamedTuple):
    """The values after a rule was applied.

    Attributes:
        values: The new values, complete.
        how: For each path whose value the rule changed or added, how it did so, in words.
    """

    values: dict[str, Value]
    how: dict[str, str]


@runtime_checkable
class Explore(Protocol):
    """A rule that changes hyperparameters."""

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Return changed values.

        Args:
            space: What may vary, and in which ranges.
            values: A value for every active parameter, and the constants; not changed.
            stream: The source of random numbers.
        """
        ...


@explain_unknown_arguments
@dataclass(frozen=True)
class Perturb:
    """Multiply each hyperparameter by a factor drawn from a few, or redraw it from its birth range.

    Choices are redrawn and ordinals shift by a place, towards the side the factor points to; whole numbers always move
    by at least one unless they are at a limit. Zero times a factor stays zero for ever: if a range touches zero,
    use :class:`Gaussian`, or resample now and then.

    Args:
        factors: What to draw from, each finite and above 0. The paper's 0.8 and 1.2 drift downwards, since their
            product is 0.96.
        resample_probability: For each hyperparameter, the probability of a redraw instead. It is 0 in the paper and
            0.25 in Ray.

    Raises:
        InvalidArgument: An argument is outside of its range.

    Source: Jaderberg et al. 2017, section 4: factors 1.2 and 0.8. The defaults are those that did best over three
    problems (``python benchmarks/defaults.py``).
    """

    factors: tuple[float, ...] = (0.5, 2.0)
    resample_probability: float = 0.1

    def __post_init__(self) -> None:
        allowed = "one or more numbers above 0, such as (0.5, 2.0)"
        factors = check_sequence("factors", self.factors, allowed)
        if not factors:
            raise InvalidArgument("factors", factors, allowed)
        for factor in factors:
            check_number("factors", factor, above=0)
        object.__setattr__(self, "factors", tuple(float(factor) for factor in factors))
        check_probability("resample_probability", self.resample_probability)

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Return perturbed values; see :meth:`Explore.explore`."""

        def step(domain: Any, value: Value) -> tuple[Value, str]:
            factor = stream.choice(self.factors)
            return domain.perturb(value, factor, stream), _words(domain, f"x{factor:g}")

        return _each(space, values, stream, step, self.resample_probability)


@explain_unknown_arguments
@dataclass(frozen=True)
class Resample:
    """Redraw each hyperparameter from its birth range with some probability.

    Args:
        probability: From 0 to 1, for each hyperparameter on its own.

    Raises:
        InvalidArgument: ``probability`` is outside of its range.

    Source: Jaderberg et al. 2017, section 4.
    """

    probability: float = 0.25

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Return values of which some are redrawn; see :meth:`Explore.explore`."""

        def step(domain: Domain, value: Value) -> tuple[Value, str]:
            return (domain.sample(stream), "resampled") if stream.random() < self.probability else (value, "")

        return _each(space, values, stream, step)


@explain_unknown_arguments
@dataclass(frozen=True)
class Gaussian:
    """Add normal noise to each hyperparameter, in the scale of its domain.

    The noise is measured in widths of the domain's range: in a logarithmic domain from 1e-4 to 1e-1 the width is three
    decades. Choices are redrawn. Unlike a factor, noise moves a value away from zero.

    Args:
        scale: Standard deviation of the noise in widths of the range, above 0.
        resample_probability: For each hyperparameter, the probability of a redraw from its birth range instead.

    Raises:
        InvalidArgument: An argument is outside of its range.

    Source: Jaderberg et al. 2017, figure 2 (the toy explores by additive noise).
    """

    scale: float = 0.1
    resample_probability: float = 0.0

    def __post_init__(self) -> None:
        check_number("scale", self.scale, above=0)
        check_probability("resample_probability", self.resample_probability)

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Return values with noise; see :meth:`Explore.explore`."""

        def step(domain: Any, value: Value) -> tuple[Value, str]:
            noise = self.scale * stream.normal()
            return domain.shift(value, noise, stream), _words(domain, f"{noise:+.3g} of the range")

        return _each(space, values, stream, step, self.resample_probability)


@dataclass(frozen=True)
class Chain:
    """Several rules, one after the other; a list or tuple given to ``explore=`` becomes one.

    Args:
        rules: At least one.
    """

    rules: tuple[Explore, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            raise InvalidArgument("explore", self.rules, "one rule or more")

    @property
    def name(self) -> str:
        """The rules' names, in order."""
        return ", ".join(rule_name(rule) for rule in self.rules)

    def explore(self, space: Space, values: Mapping[str, Value], stream: RandomStream) -> Explored:
        """Return the values after all rules were applied, one after the other; see :meth:`Explore.explore`."""
        current, how = dict(values), dict[str, str]()
        for rule in self.rules:
            current, steps = rule.explore(space, current, stream)
            for path, words in steps.items():
                how[path] = f"{how[path]}, {words}" if path in how else words
        return Explored(current, {path: words for path, words in how.items() if path in current})


def belongs_to_weights(space: Space, parameter: Parameter) -> bool:
    """Whether a parameter may not change under the weights: it is fixed, or a choice with fixed parameters under it."""
    if parameter.fixed:
        return True
    domain = parameter.domain
    if not isinstance(domain, Choice) or domain.spaces is None:
        return False
    path = parameter.path
    return any(
        other.fixed and any(path == choice for choice, _ in other.requires) for other in space.parameters.values()
    )


def rule_name(rule: Explore) -> str:
    """Return the name under which a rule is recorded in decisions."""
    return str(getattr(rule, "name", type(rule).__name__))


def same(first: Value, second: Value) -> bool:
    """Whether two values are equal and of one type: 1, 1.0 and True all differ."""
    return first is second or (type(first) is type(second) and first == second)


def _words(domain: Domain, words: str) -> str:
    if isinstance(domain, Choice):
        return "redrawn"
    return "shifted" if isinstance(domain, Ordinal) else words


def _each(
    space: Space,
    values: Mapping[str, Value],
    stream: RandomStream,
    step: Callable[[Any, Value], tuple[Value, str]],
    resample_probability: float = 0.0,
) -> Explored:
    """Change every parameter that may change, then complete the branches of changed choices.

    Args:
        space: What may vary.
        values: The inherited values.
        stream: The source of random numbers.
        step: A function from a domain and a value to the new value and, in words, how it changed.
        resample_probability: For each parameter, the probability of a redraw from its birth range instead.
    """
    changed, how = dict(values), dict[str, str]()
    chosen = False
    for parameter in space.active(values):
        if belongs_to_weights(space, parameter):
            continue
        path = parameter.path
        before = values[path]
        if resample_probability and stream.random() < resample_probability:
            after, words = parameter.domain.sample(stream), "resampled"
        else:
            after, words = step(parameter.domain, before)
        if not same(before, after):
            changed[path] = after
            how[path] = words
            chosen = chosen or isinstance(parameter.domain, Choice)
    if chosen:
        repaired = space.repair(changed, stream)
        how = {path: words for path, words in how.items() if path in repaired}
        for path in repaired:
            if path not in changed:
                how[path] = "sampled"
        changed = repaired
    return Explored(changed, how)
