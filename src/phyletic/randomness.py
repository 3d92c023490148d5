"""Random numbers that stay the same over numpy versions.

numpy promises that the raw output of a bit generator never changes, but makes no such promise for the methods of
``Generator``. A study resumed next year must decide as it would have today, so phyletic computes its own random numbers
from raw output alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
_NORMAL = NormalDist()


class RandomStream:
    """A reproducible stream of random numbers, named by a sequence of integers.

    Args:
        key: The stream's name, such as ``(study seed, trial number)``: integers of at least 0.

    Different keys may name the same stream, since numpy's SeedSequence reads a key as 32-bit words and pads it with
    zeros: ``(7,)`` and ``(7, 0)``; ``(5, 7)`` and ``(5 + 7 * 2**32,)``. This does no harm. The decisions of one study
    have keys with the same seed and different numbers, so they never collide. A trial's seed alone names its own
    stream; it is a hash, which equals the study's seed with a chance of one in 2**32. Two studies may draw the same
    numbers, but share nothing else. Separating such keys would change the first decision of every existing study.

    Example:
        >>> stream = RandomStream(0, 7)
        >>> round(stream.random(), 6) == round(RandomStream(0, 7).random(), 6)
        True
    """

    __slots__ = ("_key", "_made")

    def __init__(self, *key: int) -> None:
        self._key = key
        self._made: np.random.PCG64 | None = None

    @property
    def _bits(self) -> np.random.PCG64:
        # seed at the first draw: most decisions need no random number, and seeding costs more than deciding
        if self._made is None:
            import numpy as np

            self._made = np.random.PCG64(np.random.SeedSequence(self._key))
        return self._made

    def random(self) -> float:
        """Draw uniformly from [0, 1) with 53 random bits."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def integer(self, count: int) -> int:
        """Draw uniformly from 0, 1, ..., count - 1; ``count`` is at least 1."""
        return min(int(self.random() * count), count - 1)

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of ``items`` uniformly."""
        return items[self.integer(len(items))]

    def normal(self) -> float:
        """Draw from the standard normal distribution by inverting its distribution function."""
        uniform = 0.0
        while uniform == 0.0:
            uniform = self.random()
        return _NORMAL.inv_cdf(uniform)

    def permutation(self, count: int) -> list[int]:
        """Draw a permutation of 0, 1, ..., count - 1 (Fisher and Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.integer(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def generator(self) -> np.random.Generator:
        """Return a numpy generator that draws from this stream, for a user's own function."""
        import numpy as np

        return np.random.Generator(self._bits)


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of a trial's training code, below 2**32.

    Args:
        study_seed: The seed of the study.
        number: The number of the trial.

    Example:
        >>> trial_seed(0, 0) == trial_seed(0, 0) != trial_seed(0, 1)
        True
    """
    digest = hashlib.blake2b(f"{study_seed}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
