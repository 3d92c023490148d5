"""A gang: several processes (ranks) that train each trial together, of which rank 0 alone speaks for all.

Rank 0 asks, saves and tells like any worker. The other ranks follow: they get the replies that rank 0 got, so they
train the same trials with the same values, load the same checkpoints, and write nothing. When a trial should stop
early, all ranks must stop at the same step, or those that go on would wait for the others in a collective. So each rank
counts its checks (``trial.range`` and ``trial.should_stop`` make one), and rank 0 announces some checks ahead at which
one the others look, and what they find there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from phyletic.coordinator.messages import Ancestors, Ask, Command, Done, Fail, Reply, Tell
from phyletic.errors import TrainingError
from phyletic.records import CheckpointReference
from phyletic.space import Space
from phyletic.workers.attempt import PREEMPTED, Attempt
from phyletic.workers.wire import Agreed, Answers, Check, Request

_SECONDS = 0.5
"""About so often the ranks agree on whether to stop."""
_GROWTH = 4


class LeaderChecks:
    """Rank 0's checks within one trial: decides for all ranks at which one the trial stops.

    Args:
        trial: The trial's number.
        announce: Sends an announcement to the other ranks.
        clock: Gives seconds that never run backwards.
    """

    def __init__(
        self, trial: int, announce: Callable[[Agreed], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._trial = trial
        self._announce = announce
        self._clock = clock
        self._count = 0
        self._next, self._after, self._decided = 1, 2, ""
        self._stopped = ""
        self._looked: tuple[int, float] | None = None

    def __call__(self, stop: str) -> str:
        """Count a check, and return the reason to stop at it; empty to go on.

        Args:
            stop: The reason for which rank 0 should stop as soon as all can.
        """
        if self._stopped:
            return self._stopped
        self._count += 1
        if self._count == self._next:
            self._stopped = self._decided
            if not self._stopped:
                following = self._after + self._interval()
                self._announce(Agreed(self._trial, self._after, stop, following))
                self._next, self._after, self._decided = self._after, following, stop
        return self._stopped

    def _interval(self) -> int:
        """Return how many checks to let pass, so that the ranks agree about twice a second."""
        now, before = self._clock(), self._looked
        self._looked = (self._count, now)
        if before is None:
            return 1
        passed = self._count - before[0]
        seconds = max(now - before[1], 1e-9)
        return max(1, min(_GROWTH * passed, int(_SECONDS * passed / seconds)))


class FollowerChecks:
    """Another rank's checks within one trial.

    Args:
        trial: The trial's number.
        agreed: Returns what rank 0 announced for a check, and waits for it.
    """

    def __init__(self, trial: int, agreed: Callable[[Check], Agreed]) -> None:
        self._trial = trial
        self._agreed = agreed
        self._count = 0
        self._next = 2
        self._stopped = ""

    def __call__(self, stop: str) -> str:
        """Count a check, and return the reason to stop at it; empty to go on.

        Args:
            stop: Ignored: rank 0 decides.
        """
        if not self._stopped:
            self._count += 1
            if self._count == self._next:
                found = self._agreed(Check(self._trial, self._count))
                self._stopped, self._next = found.stop, found.following
        return self._stopped


class FollowerChannel:
    """What another rank than 0 has in place of a way to the coordinator: the replies that rank 0 got.

    Args:
        request: Sends a request to the owner's process, and waits for its answer.
        end: Tells the owner about an error that a second try would meet again.
        rank: The rank.

    Attributes:
        asked: How many Asks were sent.
        told: How many results were sent.
    """

    def __init__(
        self, request: Callable[[Request | Check], Answers | Agreed], end: Callable[[BaseException], None], rank: int
    ) -> None:
        self._request = request
        self._end = end
        self._rank = rank
        self._speaking = threading.Lock()
        self.asked = 0
        self.told = 0

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Return the replies that rank 0 got to the same commands; a failure of this rank is sent for all.

        Args:
            commands: What rank 0 said too.
            timeout: Ignored.

        Raises:
            TrainingError: Only rank 0 can have the answer.
        """
        if any(isinstance(command, Ancestors) for command in commands):
            raise TrainingError(f"rank {self._rank} of a gang has no trial.lineage: read it where RANK is 0")
        if not any(isinstance(command, (Ask, Tell, Fail)) for command in commands):
            return (Done(),) * len(commands)
        if any(isinstance(command, Fail) and command.cause == "released" for command in commands):
            return (Done(),) * len(commands)  # rank 0 says the same
        with self._speaking:
            answer = self._request(Request(tuple(commands)))
            self.asked += any(isinstance(command, Ask) for command in commands)
            self.told += any(isinstance(command, Tell) for command in commands)
        assert isinstance(answer, Answers)
        return answer.replies

    def agreed(self, check: Check) -> Agreed:
        """Return what rank 0 announced for a check."""
        with self._speaking:
            answer = self._request(check)
        assert isinstance(answer, Agreed)
        return answer

    def wait(self, seconds: float) -> None:
        """Return at once: an Ask is answered once rank 0 has an answer."""

    def close(self) -> None:
        """Do nothing: the owner ends this process."""

    def give_up(self, error: BaseException) -> None:
        """Tell the owner about an error that a second try would meet again."""
        self._end(error)


def follower_result(
    attempt: Attempt, space: Space, publish: Callable[[Attempt], CheckpointReference | None]
) -> Tell | None:
    """Return what another rank than 0 says at the end of a body; only rank 0's result counts, and is checked.

    Args:
        attempt: The attempt.
        space: Unused.
        publish: Unused.
    """
    if attempt.stop and not attempt.steps_done:
        return None
    done, wanted = attempt.steps_done or 0, attempt.record.steps
    early = attempt.stop == PREEMPTED or attempt.handed_back
    partial = early and (wanted is None or done < wanted)
    return Tell(lease=attempt.grant.lease, evaluations=(), steps_done=done, partial=partial)
