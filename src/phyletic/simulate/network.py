"""Messages between simulated workers and the owner: late, lost, doubled, overtaken by others, and said again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from phyletic.coordinator.messages import Ask, Command, Join, Reply
from phyletic.randomness import RandomStream
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.owner import SimulatedOwner
from phyletic.simulate.queue import EventQueue
from phyletic.simulate.worker import Worker, happens

__all__ = ["Answer", "Network"]

Answer = Callable[[Worker, str, int | None, tuple[Command, ...], tuple[Reply, ...], int], None]


class Network:
    """Carries what workers say, and the answers.

    Args:
        queue: Where events are planned.
        owner: Who is spoken to.
        execute: Lets the owner decide a batch; None where it died meanwhile.
        answer: Called with the worker, its session, the number of the request, the commands, the replies, and the
            count of changes as of then.
        speeds: How long messages take.
        faults: What goes wrong.
        chance: Whether it does.
        gone: Sessions that are known to have ended.
    """

    def __init__(
        self,
        queue: EventQueue,
        owner: SimulatedOwner,
        execute: Callable[..., tuple[Reply, ...] | None],
        answer: Answer,
        *,
        speeds: Speeds,
        faults: Faults,
        chance: RandomStream,
        gone: set[str],
    ) -> None:
        self._queue, self._owner, self._execute, self._answer = queue, owner, execute, answer
        self._speeds, self._faults, self._chance, self._gone = speeds, faults, chance, gone
        self._happened = owner.happened
        self._requests = 0

    def request(self, worker: Worker, *commands: Command) -> None:
        """Say something and wait for the answer, saying it again as long as there is none."""
        self._requests += 1
        worker.awaited, worker.request = self._requests, commands
        self.send(worker, self._requests, commands)

    def send(self, worker: Worker, number: int | None, commands: tuple[Command, ...]) -> None:
        """Say something; as the request of a number, or (None) once and for all."""
        faults, chance, queue = self._faults, self._chance, self._queue
        if number is not None and faults.unanswered:
            queue.after(faults.again, partial(self._again, worker, number))
        if queue.now < worker.cut:
            self._happened["unreachable"] += 1
            return
        doubled, lost = happens(faults.duplicate, chance), happens(faults.lose, chance)
        self._happened.update(doubled=doubled, lost=lost)
        for _ in range(1 + doubled - lost):
            queue.after(self._delay(), partial(self._arrives, worker, worker.session, number, commands))

    def _delay(self) -> float:
        delay = self._speeds.latency * 2 * self._chance.random()
        if happens(self._faults.delay, self._chance):
            self._happened["delayed"] += 1
            delay += self._faults.detection * self._chance.random()
        return delay

    def _again(self, worker: Worker, number: int) -> None:
        if worker.awaited == number and worker.left is None:
            self._happened["repeated"] += 1
            self.send(worker, number, worker.request)

    def _arrives(self, worker: Worker, session: str, number: int | None, commands: tuple[Command, ...]) -> None:
        """A message arrives; who is known to have gone gets no trial, but what it said is decided."""
        if self._queue.now < self._owner.asleep_until:
            self._queue.at(self._owner.asleep_until, partial(self._arrives, worker, session, number, commands))
            return
        if session in self._gone:
            commands = tuple(command for command in commands if not isinstance(command, (Ask, Join)))
        if not commands:
            return
        replies = self._execute(*commands)
        lost = happens(self._faults.lose, self._chance)
        cut = self._queue.now < worker.cut
        self._happened.update(lost=lost, unreachable=cut and not lost)
        if replies is not None and not lost and not cut:
            seen = self._owner.changed
            self._queue.after(self._delay(), partial(self._answer, worker, session, number, commands, replies, seen))
