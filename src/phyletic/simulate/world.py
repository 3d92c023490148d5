"""What all of one simulated study shares: virtual time and the events planned in it, chance, and what happened."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from phyletic.randomness import RandomStream
from phyletic.records import Metric
from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.faults import Faults, Speeds

Action: TypeAlias = Callable[[], None]


class World:
    """The world in which one study is simulated.

    Args:
        metric: The metric that workers report.
        speeds: How long things take.
        faults: What may go wrong.
        curve: How members learn.
        seed: The seed of all chance.
        protobuf: Whether messages cross the network as bytes.

    Attributes:
        now: The virtual time in seconds.
        count: How many events have happened.
        chance: The stream from which all chance is drawn.
        happened: How often each thing went wrong, by the names of :class:`~phyletic.simulate.Incidents`.
        violations: What did not hold, in words.

    Example:
        >>> world = World(Metric("loss", "min"), Speeds(), Faults(), DriftingCurve(), seed=0)
        >>> world.after(2.0, lambda: print("second"))
        >>> world.after(1.0, lambda: world.after(0.5, lambda: print("first")))
        >>> while world.next_event():
        ...     pass
        first
        second
        >>> world.now, world.count
        (2.0, 3)
    """

    def __init__(
        self,
        metric: Metric,
        speeds: Speeds,
        faults: Faults,
        curve: DriftingCurve,
        seed: int,
        protobuf: bool = False,
    ) -> None:
        self.metric, self.speeds, self.faults, self.curve = metric, speeds, faults, curve
        self.protobuf = protobuf
        self.now = 0.0
        self.count = 0
        self.chance = RandomStream(seed, 0x51)
        self.happened: Counter[str] = Counter()
        self.violations: list[str] = []
        self._seed = seed
        self._identities = 0
        self._planned = 0
        self._events: list[tuple[float, float, int, Action]] = []

    def after(self, delay: float, action: Action) -> None:
        """Plan an event, some seconds from now."""
        self.at(self.now + delay, action)

    def at(self, time: float, action: Action) -> None:
        """Plan an event for a time; chance orders events at the same time."""
        self._planned += 1
        heapq.heappush(self._events, (time, self.chance.random(), self._planned, action))

    def next_event(self) -> bool:
        """Let the next event happen; return whether there was one."""
        if not self._events:
            return False
        self.now, _, _, action = heapq.heappop(self._events)
        self.count += 1
        action()
        return True

    def happens(self, probability: float) -> bool:
        """Draw whether something of a probability happens; draw nothing if it cannot happen."""
        return probability > 0 and self.chance.random() < probability

    def identity(self) -> str:
        """Return another identity of 32 hexadecimal digits; the same seed gives the same ones."""
        self._identities += 1
        return hashlib.blake2b(f"{self._seed} {self._identities}".encode(), digest_size=16).hexdigest()
