"""Initial designs: spread the first members' values more evenly than chance does."""

from __future__ import annotations

from typing import Literal

from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.randomness import RandomStream
from phyletic.space.space import Space

_PURPOSE = 0xDE5160
"""Separates a design's stream from the streams of trials, whose keys are the seed and a small number."""

_BITS = 30


def initial_design(
    space: Space, count: int, sampling: Literal["random", "sobol", "latin"], seed: int
) -> list[list[float]] | None:
    """Return points of the unit cube for :meth:`Space.from_units`.

    Args:
        space: The space; each of its parameters gets a column.
        count: How many points, at least 0.
        sampling: ``"random"``: independent draws, which need no design. ``"latin"``: a Latin hypercube, in which each
            parameter takes one value from each of ``count`` equal parts of its range (McKay, Beckman and Conover
            1979). ``"sobol"``: the first points of a Sobol' sequence with a random digital shift, which also fills
            pairs of parameters evenly (Sobol' 1967; Joe and Kuo 2008 for the directions); best for a power of two.
        seed: The study's seed. Equal arguments give equal points under every version of numpy and scipy.

    Returns:
        ``count`` rows of ``space.dimensions`` numbers in [0, 1); None for ``"random"``.

    Raises:
        InvalidArgument: ``sampling`` is not one of the three, or ``count`` is negative.
        MissingDependency: ``"sobol"`` needs scipy, which is not installed.
    """
    if sampling not in ("random", "sobol", "latin"):
        raise InvalidArgument("sampling", sampling, '"random", "sobol" or "latin"')
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InvalidArgument("count", count, "a whole number of at least 0")
    if sampling == "random":
        return None
    if count == 0 or space.dimensions == 0:
        return [[] for _ in range(count)]
    stream = RandomStream(seed, _PURPOSE)
    return _latin(space.dimensions, count, stream) if sampling == "latin" else _sobol(space.dimensions, count, stream)


def _latin(dimensions: int, count: int, stream: RandomStream) -> list[list[float]]:
    """Return the points of a Latin hypercube.

    Args:
        dimensions: How many numbers a point has, at least 1.
        count: How many points, at least 1.
        stream: The source of random numbers.
    """
    below_one = 1.0 - 2.0**-53
    columns = []
    for _ in range(dimensions):
        parts = stream.permutation(count)
        columns.append([min((part + stream.random()) / count, below_one) for part in parts])
    return [list(row) for row in zip(*columns, strict=True)]


def _sobol(dimensions: int, count: int, stream: RandomStream) -> list[list[float]]:
    """Return the first points of a Sobol' sequence with a random digital shift.

    Args:
        dimensions: How many numbers a point has, at least 1.
        count: How many points, at least 1.
        stream: The source of random numbers.
    """
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise MissingDependency("scipy", "scipy", 'sampling="sobol"') from error
    if dimensions > qmc.Sobol.MAXDIM:
        raise InvalidArgument("sampling", "sobol", f'"random" or "latin" for more than {qmc.Sobol.MAXDIM} parameters')
    # Draw a power of two, as the sequence needs, and use the first points. Shift them here instead of with scipy's
    # scrambling, whose random numbers may change with its version.
    points = qmc.Sobol(dimensions, scramble=False, bits=_BITS).random_base2((count - 1).bit_length())[:count]
    shifts = [stream.integer(1 << _BITS) for _ in range(dimensions)]
    return [
        [(round(float(unit) * (1 << _BITS)) ^ shift) / (1 << _BITS) for unit, shift in zip(row, shifts, strict=True)]
        for row in points
    ]
