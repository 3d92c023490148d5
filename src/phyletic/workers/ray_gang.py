"""The owner's side of a gang: what the ranks that follow wait for, and the variables by which ranks find each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from phyletic.coordinator.messages import Ask, Command, Done, Reply, Tell
from phyletic.workers.ray_actor import Placed
from phyletic.workers.wire import Agreed, Answers, Check, Request

_TOGETHER_SECONDS = 60.0
"""A rank that comes to the end of a trial so much later than rank 0 is taken to hang."""


class Following:
    """What rank 0 of a gang has said and was answered, for the ranks that follow.

    Args:
        ranks: How many ranks follow; they are numbered from 1.
    """

    def __init__(self, ranks: int) -> None:
        self._waiting: dict[int, Request | Check] = {}
        self._taken = dict.fromkeys(range(1, ranks + 1), 0)
        self._asked: tuple[Command, ...] = ()
        self._told: Reply = Done()
        self._shared: dict[int, tuple[Reply, Reply, float]] = {}
        self._count = 0
        self._agreed: dict[tuple[int, int], Agreed] = {}

    def led(self, commands: tuple[Command, ...]) -> None:
        """Note what rank 0 has said."""
        self._asked = commands

    def answered(self, replies: Sequence[Reply], now: float) -> None:
        """Note what rank 0 was answered; with the answer to an ask, all go on to the next trial.

        Args:
            replies: The replies to what it said last.
            now: Seconds of a clock that never runs backwards.
        """
        for command, reply in zip(self._asked, replies, strict=True):
            if isinstance(command, Tell):
                self._told = reply
            elif isinstance(command, Ask):
                self._shared[self._count] = (self._told, reply, now)
                self._count, self._told = self._count + 1, Done()
                self._agreed.clear()
        self._asked = ()

    def announced(self, agreed: Agreed) -> None:
        """Note what rank 0 announced about a check."""
        self._agreed[agreed.trial, agreed.check] = agreed

    def waits(self, rank: int, message: Request | Check) -> None:
        """Note what a rank waits for."""
        self._waiting[rank] = message

    def ready(self) -> list[tuple[int, Answers | Agreed]]:
        """Return the ranks whose wait is over, with their answers."""
        found: list[tuple[int, Answers | Agreed]] = []
        for rank, message in list(self._waiting.items()):
            answer: Answers | Agreed | None
            if isinstance(message, Check):
                answer = self._agreed.get((message.trial, message.check))
            else:
                answer = self._replies(rank, message.commands)
            if answer is not None:
                del self._waiting[rank]
                found.append((rank, answer))
        return found

    def _replies(self, rank: int, commands: Sequence[Command]) -> Answers | None:
        """Return the replies for a rank at the end of a trial; None while rank 0 has not come so far."""
        place = self._taken[rank]
        if place not in self._shared:
            return None
        told, granted, _ = self._shared[place]
        self._taken[rank] = place + 1
        for passed in [each for each in self._shared if each < min(self._taken.values())]:
            del self._shared[passed]
        return Answers(tuple(granted if isinstance(command, Ask) else told for command in commands))

    def apart(self, now: float) -> str:
        """Return how a rank has lost the others; empty if all are together.

        Args:
            now: As for :meth:`answered`.
        """
        for rank, place in self._taken.items():
            message = self._waiting.get(rank)
            shared = self._shared.get(place)
            if shared is None:
                continue
            if isinstance(message, Check):
                return f"rank {rank} went on with trial {message.trial} when rank 0 had ended it"
            # before its first trial a rank may import and load data for long
            if place and message is None and now - shared[2] > _TOGETHER_SECONDS:
                return f"rank {rank} had not ended its trial {_TOGETHER_SECONDS:g} s after rank 0"
        return ""


def rank_variables(placed: Sequence[Placed]) -> list[dict[str, str]]:
    """Return the environment variables of each rank, as ``torchrun`` sets them.

    The ranks of a node see the GPUs of all of them, in the order of ``LOCAL_RANK``, so that
    ``torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))`` gives each rank its own.

    Args:
        placed: Where each rank is; the first is rank 0.

    Example:
        >>> here = [Placed(pid=pid, node="a", host="10.0.0.2", log="", gpus=(str(pid),), port=9) for pid in (5, 6)]
        >>> second = rank_variables(here)[1]
        >>> second["RANK"], second["LOCAL_RANK"], second["WORLD_SIZE"], second["CUDA_VISIBLE_DEVICES"]
        ('1', '1', '2', '5,6')
    """
    sizes = Counter(each.node for each in placed)
    nodes = list(dict.fromkeys(each.node for each in placed))
    seen: Counter[str] = Counter()
    found = []
    for rank, each in enumerate(placed):
        variables = {
            "RANK": rank,
            "WORLD_SIZE": len(placed),
            "LOCAL_RANK": seen[each.node],
            "LOCAL_WORLD_SIZE": sizes[each.node],
            "GROUP_RANK": nodes.index(each.node),
            "MASTER_ADDR": placed[0].host,
            "MASTER_PORT": placed[0].port,
        }
        seen[each.node] += 1
        gpus = [gpu for other in placed if other.node == each.node for gpu in other.gpus]
        if gpus and len(set(gpus)) == len(gpus):
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        found.append({name: str(value) for name, value in variables.items()})
    return found
