"""Workers that are Ray actors: start, poll, send and kill, over one outstanding call for each actor."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import phyletic
from phyletic.coordinator.messages import Ask, Command, Fail, Join, Refused, Reply
from phyletic.errors import StudyFailed
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Leaving, Said
from phyletic.workers.ray_actor import Mission, Placed
from phyletic.workers.ray_gang import Following, rank_variables
from phyletic.workers.ray_workers import RayWorkers
from phyletic.workers.run_options import RunOptions, run_variables
from phyletic.workers.shared_folder import SharedFolder
from phyletic.workers.wire import (
    DISTRUSTED,
    TERMINATED,
    Agreed,
    Answers,
    Ended,
    FromActor,
    Request,
    Setup,
    decode_from_actor,
    encode,
)
from phyletic.workers.worker_log import log_header, output_tail

_DRAIN_SECONDS = 1.0
"""Between two looks for nodes that are about to go."""
_LONGEST_CAUSE = 500
_HELD_SECONDS = 2.0
"""For which the failure of a rank is held back: if another rank has died, that is why it failed."""
_AGAIN_SECONDS = 0.2
"""Until a call is repeated that did not reach its actor."""


@dataclass(eq=False)
class _Rank:
    """One actor: a worker alone, or a rank of a gang.

    Attributes:
        handle: Ray's handle of the actor.
        call: The outstanding call; None before the first and after the last.
        placed: Where it runs; None until Ray has placed it.
        answered: Number of the request that the last replies were for.
        replies: The last replies, in case the call must be repeated.
        asked: Number of the latest request.
        again: When to repeat a call that did not reach the actor; None if none is to be repeated.
    """

    handle: Any
    call: Any = None
    placed: Placed | None = None
    answered: int = 0
    replies: bytes = b""
    asked: int = 0
    again: float | None = None

    def turn(self) -> None:
        """Call for the next request, with the replies to the last one."""
        self.call = self.handle.turn.remote(self.answered, self.replies)

    def answer(self, message: Answers | Agreed) -> None:
        """Answer the latest request."""
        self.answered, self.replies = self.asked, encode(message)
        self.turn()


@dataclass(eq=False)
class _Worker:
    """One incarnation of a worker.

    Attributes:
        name: The worker's name, the same for each incarnation.
        session: Identity of this one.
        ranks: Its actors, rank 0 first.
        group: Where its ranks are placed together; None for a single actor.
        following: What the other ranks wait for.
        died: How it died, for a person; empty while it lives.
        preempted: Whether it died because its node was taken away.
        status: The exit status that it would have; None until its training has ended.
        leaving: Whether its node is about to go.
        failed: The failure of a rank that is held back: when it came, the rank, and what it said.
    """

    name: str
    session: str
    ranks: list[_Rank]
    group: PlacementGroup | None
    following: Following
    died: str = ""
    preempted: bool = False
    status: int | None = None
    leaving: bool = False
    failed: tuple[float, int, tuple[Command, ...]] | None = None

    @property
    def leader(self) -> _Rank:
        return self.ranks[0]


class RayProcesses:
    """Workers in Ray actors; implements :class:`phyletic.workers.fleet_protocol.Processes`.

    Args:
        setup: What each worker needs to begin, without its name and session.
        workers: What each actor needs.
        options: The workers' threads and environment.
        logs: Folder on this node for their output.
        shared: The folder of checkpoints that all nodes must see; None if they are elsewhere.
    """

    def __init__(
        self, setup: Setup, workers: RayWorkers, options: RunOptions, logs: Path, shared: SharedFolder | None
    ) -> None:
        self._setup = setup
        self._options = options
        self._ray = workers
        self._logs = logs
        self._shared = shared
        self._node = ray.get_runtime_context().get_node_id()
        self._workers: dict[int, _Worker] = {}
        self._begun: set[int] = set()
        self._looked = time.monotonic()
        self._class = ray.remote(_actor_class())
        self._training = ray.put(setup.train)

    def start(self, place: int) -> Join:
        """Ask Ray for a worker's actors; see :meth:`Processes.start`."""
        name, session = f"worker-{place}", secrets.token_hex(16)
        group = None
        try:
            if self._ray.gang > 1:
                group = placement_group([self._ray.needs] * self._ray.gang, strategy=self._ray.placement)
            ranks = [_Rank(self._create(place, group, rank)) for rank in range(self._ray.gang)]
        except (RayError, ValueError) as error:
            if group is not None:
                remove_placement_group(group)
            raise StudyFailed(f"{name} could not be started: {error}") from error
        self._workers[place] = _Worker(name, session, ranks, group, Following(self._ray.gang - 1))
        return Join(session=session, worker=name)

    def _create(self, place: int, group: PlacementGroup | None, rank: int) -> Any:
        """Ask Ray for an actor.

        Args:
            place: The worker's place.
            group: Where its ranks are placed together.
            rank: The rank.
        """
        workers = self._ray
        strategy: Any = "SPREAD" if workers.placement == "SPREAD" else "DEFAULT"
        if group is not None:
            strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
        options: dict[str, Any] = {
            "num_cpus": workers.num_cpus,
            "num_gpus": workers.num_gpus,
            "resources": dict(workers.resources or {}),
            # a restarted actor would be a session that never joined
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": strategy,
        }
        if workers.runtime_env:
            options["runtime_env"] = dict(workers.runtime_env)
        package = str(Path(phyletic.__file__).parent.parent)
        return self._class.options(**options).remote(run_variables(self._options, place), package)

    def begin(self, place: int) -> None:
        """Send a worker its mission, which waits until Ray has placed it."""
        worker = self._workers[place]
        setup = msgspec.structs.replace(self._setup, worker=worker.name, session=worker.session, train=b"")
        for rank, actor in enumerate(worker.ranks):
            mission = Mission(
                setup=encode(setup),
                log=str(self._log(place, rank)),
                node=self._node,
                shared=self._shared,
                first=place not in self._begun,
                memory_fraction=self._ray.memory_fraction,
                rank=rank,
                ranks=len(worker.ranks),
            )
            actor.call = actor.handle.begin.remote(mission, self._training)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for requests, deaths or some seconds; see :meth:`Processes.poll`."""
        events = [*self._departures(), *self._apart(), *self._failures()]
        now = time.monotonic()
        calls: dict[Any, tuple[int, int]] = {}
        for place, worker in self._workers.items():
            for number, rank in enumerate(worker.ranks):
                if rank.again is not None and now >= rank.again:
                    rank.again = None
                    rank.turn()
                if rank.call is not None:
                    calls[rank.call] = (place, number)
        if not calls:
            time.sleep(min(seconds, _AGAIN_SECONDS))
            return events
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=0 if events else seconds)
        if ready and len(calls) > 1:
            ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in ready:
            events += self._take(*calls[call])
        # what a place said comes before its end
        return sorted(events, key=lambda event: isinstance(event, Died))

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Call an actor with the replies to its request; see :meth:`Processes.send`."""
        worker = self._workers[place]
        worker.leader.answer(Answers(replies))
        worker.following.answered(replies, time.monotonic())
        self._answer_followers(worker)

    def kill(self, place: int) -> tuple[list[Event], End]:
        """End a worker's actors; see :meth:`Processes.kill`."""
        worker = self._workers[place]
        events: list[Event] = []
        if worker.leader.call is not None and not worker.died and ray.wait([worker.leader.call], timeout=0)[0]:
            events = [event for event in self._take(place, 0) if isinstance(event, (Said, Broke))]
        for rank in worker.ranks:
            ray.kill(rank.handle)
        if worker.group is not None:
            remove_placement_group(worker.group)
        del self._workers[place]
        return events, _end(worker)

    def is_suspended(self, place: int) -> bool:
        """Return False: nothing tells whether a process elsewhere is suspended."""
        return False

    def beginning(self, place: int) -> str:
        """Say whether Ray has placed a worker, and what it may be doing."""
        placed = self._workers[place].leader.placed
        if placed is None:
            return "Ray has no room for it yet; `ray status` shows what is free"
        return f"it still imports, loads its data, or hangs; its output is in {placed.log} on node {placed.host}"

    def output_tail(self, place: int) -> str:
        """Return the end of a place's output, if that is on this node; else say where it is."""
        return output_tail(self._log(place))

    def close(self) -> None:
        """End the actors that are left."""
        for place in list(self._workers):
            self.kill(place)

    def _log(self, place: int, rank: int = 0) -> Path:
        return self._logs / (f"worker-{place}-rank-{rank}.log" if rank else f"worker-{place}.log")

    def _take(self, place: int, number: int) -> list[Event]:
        """Take the result of an actor's call.

        Args:
            place: The worker's place.
            number: The actor's rank.
        """
        worker = self._workers[place]
        rank = worker.ranks[number]
        call, rank.call = rank.call, None
        try:
            result = ray.get(call)
        except RayError as error:
            began = all(each.placed is not None for each in worker.ranks)
            if began and isinstance(error, ActorUnavailableError):
                # it may be well: a call may be repeated, and a dead actor raises another error
                rank.again = time.monotonic() + _AGAIN_SECONDS
                return []
            died = isinstance(error, RayActorError) and not error.actor_init_failed
            if not (began or died):
                # it can never be placed, or its environment or its code cannot be had
                return [Broke(place, _refusal(worker, error))]
            worker.died = (f"rank {number} " if len(worker.ranks) > 1 else "") + _how(error)
            worker.preempted = isinstance(error, ActorDiedError) and error.preempted
            return [Died(place)]
        if isinstance(result, Placed):
            self._note_placed(place, number, result)
            return []
        rank.asked, message = result[0], decode_from_actor(result[1])
        return self._heed(place, number, message)

    def _heed(self, place: int, number: int, message: FromActor) -> list[Event]:
        """Heed what a rank said.

        Args:
            place: The worker's place.
            number: The rank.
            message: What it said.
        """
        worker = self._workers[place]
        match message:
            case Ended(status):
                if number and status == 0:
                    return []  # rank 0 says when all have ended
                worker.status = status
                return [Died(place)]
            case Refused():
                return [Broke(place, msgspec.structs.replace(message, message=f"{worker.name}: {message.message}"))]
            case Agreed():
                worker.following.announced(message)
                worker.leader.answer(Answers(()))
                self._answer_followers(worker)
                return []
            case Request(commands) if len(worker.ranks) > 1 and _is_failure(commands):
                worker.failed = worker.failed or (time.monotonic(), number, commands)
                return []
            case Request(commands) if number == 0:
                worker.following.led(commands)
                if any(isinstance(command, Ask) for command in commands):
                    self._begun.add(place)
                return [Said(place, commands)]
        worker.following.waits(number, message)
        self._answer_followers(worker)
        return []

    def _answer_followers(self, worker: _Worker) -> None:
        for number, answer in worker.following.ready():
            worker.ranks[number].answer(answer)

    def _note_placed(self, place: int, number: int, placed: Placed) -> None:
        """Note where an actor runs; once all ranks of the worker are placed, they begin to train.

        Args:
            place: The worker's place.
            number: The actor's rank.
            placed: Where it runs.
        """
        worker = self._workers[place]
        worker.ranks[number].placed = placed
        log = self._log(place, number)
        if placed.log != str(log):
            header = log_header(worker.name, placed.pid, worker.session, placed.host, placed.log)
            with contextlib.suppress(OSError), log.open("a") as file:  # the worker lives even without its header
                file.write(f"{header}\n")
        everywhere = [rank.placed for rank in worker.ranks if rank.placed is not None]
        if len(everywhere) == len(worker.ranks):
            variables = rank_variables(everywhere) if len(everywhere) > 1 else [{}]
            for rank, each in zip(worker.ranks, variables, strict=True):
                rank.handle.train.remote(each)
                rank.turn()

    def _departures(self) -> list[Event]:
        """Return the workers whose nodes are about to go, each once."""
        now = time.monotonic()
        if now - self._looked < _DRAIN_SECONDS:
            return []
        self._looked = now
        going = ray._private.state.state.get_draining_nodes()
        found: list[Event] = []
        for place, worker in self._workers.items():
            if not worker.leaving and any(rank.placed and rank.placed.node in going for rank in worker.ranks):
                worker.leaving = True
                found.append(Leaving(place))
        return found

    def _failures(self) -> list[Event]:
        """Return what ranks said that have failed by themselves, and the ends of their gangs."""
        found: list[Event] = []
        for place, worker in self._workers.items():
            if worker.failed is None or worker.died or time.monotonic() - worker.failed[0] < _HELD_SECONDS:
                continue
            _, number, commands = worker.failed
            # it says so for all, and the others may wait for it in a collective
            worker.died, worker.status = f"ended, since rank {number} raised an exception", TERMINATED
            found += [Said(place, commands), Died(place)]
        return found

    def _apart(self) -> list[Event]:
        """Return the deaths of gangs whose ranks have lost each other."""
        found: list[Event] = []
        for place, worker in self._workers.items():
            how = worker.following.apart(time.monotonic())
            if how and not worker.died:
                worker.died = f"was killed, since {how}"
                found.append(Died(place))
        return found


def _is_failure(commands: tuple[Command, ...]) -> bool:
    """Whether a rank says that its training failed, or that it alone could not load its checkpoint."""
    return any(isinstance(command, Fail) and command.cause != "released" for command in commands)


def _end(worker: _Worker) -> End:
    """Return how a worker ended."""
    kinds: dict[int | None, Literal["well", "asked", "distrusted", "badly"]] = {
        0: "well",
        TERMINATED: "asked",
        DISTRUSTED: "distrusted",
    }
    kind = kinds.get(TERMINATED if worker.preempted else worker.status, "badly")
    how = worker.died or ("was killed" if worker.status is None else f"ended with status {worker.status}")
    placed = worker.leader.placed
    if placed is None:
        return End(epitaph=f"{worker.name}, for which Ray had no room yet, {how}", kind=kind)
    where = f"(pid {placed.pid} on node {placed.host})"
    return End(epitaph=f"{worker.name} {where} {how}; its output is in {placed.log}", kind=kind)


def _actor_class() -> type:
    """Return the actor's class. It is local, so that Ray sends its code to nodes that do not find phyletic yet."""

    class PhyleticWorker:
        def __init__(self, environment: Mapping[str, str], package: str) -> None:
            import os
            import sys

            # before the first import of a numerical library
            os.environ.update(environment)
            if package not in sys.path:
                sys.path.append(package)

        def begin(self, mission: Any, train: bytes) -> Any:
            from phyletic.workers.ray_actor import RayWorker

            self._worker = RayWorker()
            return self._worker.begin(mission, train)

        def train(self, variables: Mapping[str, str]) -> None:
            self._worker.train(variables)

        def turn(self, answered: int, replies: bytes) -> Any:
            return self._worker.turn(answered, replies)

    return PhyleticWorker


def _how(error: RayError) -> str:
    """Return how an actor died, without Ray's list of its identities."""
    text = " ".join(line for line in str(error).splitlines() if not line.startswith("\t")).strip()
    _, _, cause = text.partition("The actor is dead because ")
    return f"died: {cause or text}"[:_LONGEST_CAUSE]


def _refusal(worker: _Worker, error: RayError) -> Refused:
    """Return an error that ends the run."""
    return Refused(error=StudyFailed.__name__, message=f"{worker.name} could not begin: {error}")
