"""Workers that are Ray actors: start, poll, send and kill, over one outstanding call for each actor."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup

import phyletic
from phyletic.coordinator.messages import Ask, Join, Refused, Reply
from phyletic.errors import StudyFailed
from phyletic.workers.fleet_protocol import Broke, Died, End, Event, Leaving, Said
from phyletic.workers.ray_actor import Mission, Placed
from phyletic.workers.ray_workers import RayWorkers
from phyletic.workers.run_options import RunOptions, run_variables
from phyletic.workers.shared_folder import SharedFolder
from phyletic.workers.wire import DISTRUSTED, TERMINATED, Answers, Ended, Setup, decode_from_actor, encode
from phyletic.workers.worker_log import log_header, output_tail

_DRAIN_SECONDS = 1.0
"""Between two looks for nodes that are about to go."""
_LONGEST_CAUSE = 500
_AGAIN_SECONDS = 0.2
"""Until a call is repeated that did not reach its actor."""


@dataclass(eq=False)
class _Actor:
    """One incarnation of a worker.

    Attributes:
        name: The worker's name, the same for each incarnation.
        session: Identity of this one.
        handle: Ray's handle of the actor.
        group: Where its ranks are placed together; None for a single actor.
        call: The outstanding call; None before the first and after the last.
        placed: Where it runs; None until Ray has placed it.
        answered: Number of the request that the last replies were for.
        replies: The last replies, in case the call must be repeated.
        asked: Number of the latest request.
        again: When to repeat a call that did not reach the actor; None if none is to be repeated.
        died: How the actor died; empty while it lives.
        preempted: Whether it died because its node was taken away.
        status: The exit status that it would have; None until its training has ended.
        leaving: Whether its node is about to go.
    """

    name: str
    session: str
    handle: Any
    group: PlacementGroup | None = None
    call: Any = None
    placed: Placed | None = None
    answered: int = 0
    replies: bytes = b""
    asked: int = 0
    again: float | None = None
    died: str = ""
    preempted: bool = False
    status: int | None = None
    leaving: bool = False


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
        self._workers = workers
        self._options = options
        self._logs = logs
        self._shared = shared
        self._node = ray.get_runtime_context().get_node_id()
        self._actors: dict[int, _Actor] = {}
        self._begun: set[int] = set()
        self._looked = time.monotonic()
        self._class = ray.remote(_actor_class())
        self._training = ray.put(setup.train)

    def start(self, place: int) -> Join:
        """Ask Ray for an actor; see :meth:`Processes.start`."""
        name, session = f"worker-{place}", secrets.token_hex(16)
        try:
            handle = self._create(place)
        except (RayError, ValueError) as error:
            raise StudyFailed(f"{name} could not be started: {error}") from error
        self._actors[place] = _Actor(name, session, handle)
        return Join(session=session, worker=name)

    def _create(self, place: int) -> Any:
        workers = self._workers
        options: dict[str, Any] = {
            "num_cpus": workers.num_cpus,
            "num_gpus": workers.num_gpus,
            "resources": dict(workers.resources or {}),
            # a restarted actor would be a session that never joined
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD" if workers.placement == "SPREAD" else "DEFAULT",
        }
        if workers.runtime_env:
            options["runtime_env"] = dict(workers.runtime_env)
        package = str(Path(phyletic.__file__).parent.parent)
        return self._class.options(**options).remote(run_variables(self._options, place), package)

    def begin(self, place: int) -> None:
        """Send a worker its mission, which waits until Ray has placed it."""
        actor = self._actors[place]
        setup = msgspec.structs.replace(self._setup, worker=actor.name, session=actor.session, train=b"")
        mission = Mission(
            setup=encode(setup),
            log=str(self._log(place)),
            node=self._node,
            shared=self._shared,
            first=place not in self._begun,
            memory_fraction=self._workers.memory_fraction,
        )
        actor.call = actor.handle.begin.remote(mission, self._training)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for requests, deaths or some seconds; see :meth:`Processes.poll`."""
        events: list[Event] = self._departures()
        now = time.monotonic()
        for actor in self._actors.values():
            if actor.again is not None and now >= actor.again:
                actor.again = None
                self._call(actor)
        calls = {actor.call: place for place, actor in self._actors.items() if actor.call is not None}
        if not calls:
            time.sleep(min(seconds, _AGAIN_SECONDS))
            return events
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=0 if events else seconds)
        if ready and len(calls) > 1:
            ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in ready:
            events += self._take(calls[call], self._actors[calls[call]])
        return events

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Call an actor with the replies to its request; see :meth:`Processes.send`."""
        actor = self._actors[place]
        actor.answered, actor.replies = actor.asked, encode(Answers(replies))
        self._call(actor)

    def kill(self, place: int) -> tuple[list[Event], End]:
        """End an actor; see :meth:`Processes.kill`."""
        actor = self._actors.pop(place)
        events: list[Event] = []
        if actor.call is not None and not actor.died:
            ready, _ = ray.wait([actor.call], timeout=0)
            events = [event for event in self._take(place, actor) if not isinstance(event, Died)] if ready else []
        ray.kill(actor.handle)
        return events, self._end(place, actor)

    def is_suspended(self, place: int) -> bool:
        """Return False: nothing tells whether a process elsewhere is suspended."""
        return False

    def beginning(self, place: int) -> str:
        """Say whether Ray has placed a worker, and what it may be doing."""
        placed = self._actors[place].placed
        if placed is None:
            return "Ray has no room for it yet; `ray status` shows what is free"
        return f"it still imports, loads its data, or hangs; its output is in {placed.log} on node {placed.host}"

    def output_tail(self, place: int) -> str:
        """Return the end of a place's output, if that is on this node; else say where it is."""
        return output_tail(self._log(place))

    def close(self) -> None:
        """End the actors that are left."""
        for place in list(self._actors):
            self.kill(place)

    def _log(self, place: int) -> Path:
        return self._logs / f"worker-{place}.log"

    def _call(self, actor: _Actor) -> None:
        actor.call = actor.handle.turn.remote(actor.answered, actor.replies)

    def _take(self, place: int, actor: _Actor) -> list[Event]:
        """Take the result of an actor's call.

        Args:
            place: The actor's place.
            actor: The actor.
        """
        call, actor.call = actor.call, None
        try:
            result = ray.get(call)
        except ActorUnavailableError:
            actor.again = time.monotonic() + _AGAIN_SECONDS
            return []
        except RayTaskError as error:
            return [Broke(place, _refusal(actor, error))]
        except RayActorError as error:
            if error.actor_init_failed:
                return [Broke(place, _refusal(actor, error))]
            actor.died, actor.preempted = _how(error), isinstance(error, ActorDiedError) and error.preempted
            return [Died(place)]
        except RayError as error:
            # the actor can never be placed, or its environment cannot be made
            return [Broke(place, _refusal(actor, error))]
        if isinstance(result, Placed):
            self._note_placed(place, actor, result)
            self._call(actor)
            return []
        actor.asked, message = result[0], decode_from_actor(result[1])
        if isinstance(message, Ended):
            actor.status = message.status
            return [Died(place)]
        if isinstance(message, Refused):
            return [Broke(place, msgspec.structs.replace(message, message=f"{actor.name}: {message.message}"))]
        if any(isinstance(command, Ask) for command in message.commands):
            self._begun.add(place)
        return [Said(place, message.commands)]

    def _note_placed(self, place: int, actor: _Actor, placed: Placed) -> None:
        actor.placed = placed
        log = self._log(place)
        if placed.log != str(log):
            header = log_header(actor.name, placed.pid, actor.session, placed.host, placed.log)
            with log.open("a") as file:
                file.write(f"{header}\n")

    def _end(self, place: int, actor: _Actor) -> End:
        """Return how an actor ended."""
        kinds: dict[int | None, Literal["well", "asked", "distrusted"]] = {
            0: "well",
            TERMINATED: "asked",
            DISTRUSTED: "distrusted",
        }
        kind = "asked" if actor.preempted else kinds.get(actor.status, "badly")
        how = actor.died or ("was killed" if actor.status is None else f"ended with status {actor.status}")
        if actor.placed is None:
            return End(epitaph=f"{actor.name}, which Ray had not placed, {how}", kind=kind)
        where = f"(pid {actor.placed.pid} on node {actor.placed.host})"
        return End(epitaph=f"{actor.name} {where} {how}; its output is in {actor.placed.log}", kind=kind)

    def _departures(self) -> list[Event]:
        """Return the workers whose nodes are about to go, each once."""
        now = time.monotonic()
        if now - self._looked < _DRAIN_SECONDS:
            return []
        self._looked = now
        going = ray._private.state.state.get_draining_nodes()
        found: list[Event] = []
        for place, actor in self._actors.items():
            if actor.placed is not None and actor.placed.node in going and not actor.leaving:
                actor.leaving = True
                found.append(Leaving(place))
        return found


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

        def turn(self, answered: int, replies: bytes) -> Any:
            return self._worker.turn(answered, replies)

    return PhyleticWorker


def _how(error: RayActorError) -> str:
    """Return how an actor died, without Ray's list of its identities."""
    text = " ".join(line for line in str(error).splitlines() if not line.startswith("\t")).strip()
    _, _, cause = text.partition("The actor is dead because ")
    return f"died: {cause or text}"[:_LONGEST_CAUSE]


def _refusal(actor: _Actor, error: RayError) -> Refused:
    """Return an error that ends the run."""
    return Refused(error=StudyFailed.__name__, message=f"{actor.name} could not begin: {error}")
