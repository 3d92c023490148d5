"""The side of a Ray worker that runs in its actor: training code in a thread, and calls that fetch its requests.

The owner's process has one call of ``turn`` outstanding for each actor. A call brings the replies to the last request,
waits for the next request, and returns it. So an actor needs no port, and its death is that call's exception.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from phyletic.checkpoints.local_copies import LocalCopies
from phyletic.coordinator.messages import Ask, Command, Reply, Tell
from phyletic.errors import InvalidArgument, StudyFailed
from phyletic.workers.gang import FollowerChannel, FollowerChecks, LeaderChecks, follower_result
from phyletic.workers.pickling import join_program
from phyletic.workers.shared_folder import SharedFolder
from phyletic.workers.wire import Agreed, Answers, Check, Ended, Request, Setup, decode_to_actor, encode
from phyletic.workers.worker import beat_from_thread, refusal, source_of_trials, training_function, work
from phyletic.workers.worker_log import log_header


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Where Ray has placed an actor.

    Attributes:
        pid: Its process.
        node: Ray's id of its node.
        host: The address of that node.
        log: The file on that node with its output.
        gpus: Ray's ids of the GPUs that it got.
        port: A port that was free there a moment ago, at which the ranks of a gang can meet.
    """

    pid: int
    node: str
    host: str
    log: str
    gpus: tuple[str, ...] = ()
    port: int = 0


class Mission(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor is to do, beside the setup of any worker.

    Attributes:
        setup: As for a local worker, encoded, without the training function.
        log: The file for its output on the owner's node.
        node: Ray's id of that node.
        shared: The folder of checkpoints that this node must see; None if they are elsewhere.
        first: Whether no worker of this place has asked for a trial before.
        memory_fraction: The part of a GPU's memory for torch; None for all.
        rank: Its rank in a gang; 0 for one alone.
        ranks: How many ranks the gang has; 1 for one alone.
    """

    setup: bytes
    log: str
    node: str
    shared: SharedFolder | None
    first: bool
    memory_fraction: float | None
    rank: int = 0
    ranks: int = 1


class Turns:
    """The requests of a training thread, by number, and the replies to each; calls may be repeated."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._request = b""
        self._replies: bytes | None = None
        self._over = False

    def ask(self, request: bytes) -> bytes:
        """Leave a request for the owner, and wait for the replies; for ever, once the last message was left."""
        with self._changed:
            self._leave(request)
            self._changed.wait_for(lambda: self._replies is not None and not self._over)
            assert self._replies is not None
            return self._replies

    def end(self, message: bytes) -> None:
        """Leave the last message for the owner; another one has no effect."""
        with self._changed:
            self._leave(message)
            self._over = True

    def _leave(self, message: bytes) -> None:
        if not self._over:
            self._number, self._request, self._replies = self._number + 1, message, None
            self._changed.notify_all()

    def turn(self, answered: int, replies: bytes) -> tuple[int, bytes]:
        """Take the replies to a request, and wait for the next request.

        A call whose result was lost may come again: its replies are known then, and its request is still there.

        Args:
            answered: Number of the request that the replies are for; 0 before the first.
            replies: The replies.

        Returns:
            The next request's number, and the request.
        """
        with self._changed:
            if answered == self._number and self._replies is None and answered:
                self._replies = replies
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._number > answered)
            return self._number, self._request


class TurnChannel:
    """Reaches the coordinator through the owner's calls; implements :class:`phyletic.workers.worker.WorkerChannel`.

    Args:
        turns: Where the owner fetches requests.

    Attributes:
        asked: How many Asks were sent.
        told: How many results were sent.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._speaking = threading.Lock()
        self.asked = 0
        self.told = 0

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands and wait for the replies.

        Args:
            commands: What the owner decides.
            timeout: Ignored: the end of the owner ends this actor.
        """
        with self._speaking:
            self.asked += any(isinstance(command, Ask) for command in commands)
            message = decode_to_actor(self._turns.ask(encode(Request(tuple(commands)))))
            self.told += sum(isinstance(command, Tell) for command in commands)
        assert isinstance(message, Answers)
        return message.replies

    def announce(self, agreed: Agreed) -> None:
        """Send an announcement to the other ranks of the gang."""
        with self._speaking:
            self._turns.ask(encode(agreed))

    def wait(self, seconds: float) -> None:
        """Return at once: the owner answers an Ask only once it has an answer other than Wait."""

    def close(self) -> None:
        """Do nothing: the owner ends the actor."""

    def give_up(self, error: BaseException) -> None:
        """Tell the owner about an error that a second try would meet again."""
        with self._speaking:
            _end(self._turns, error)


def _end(turns: Turns, error: BaseException) -> None:
    turns.end(encode(refusal(_with_hint(error))))


def _with_hint(error: BaseException) -> BaseException:
    """Return an error that says how a node gets a module that it lacks; any other error as it is."""
    missing = next((one for one in (error, error.__cause__) if isinstance(one, ModuleNotFoundError)), None)
    if missing is None:
        return error
    hinted = StudyFailed(
        f"node {_host()} lacks the Python module {missing.name!r}: have Ray bring it by "
        'RayWorkers(runtime_env={"working_dir": "."}) for files of your own, or runtime_env={"pip": [...]} for a '
        "library; or install it there"
    )
    hinted.__cause__ = error
    return hinted


class RayWorker:
    """A worker in a Ray actor, or a rank of one, with one thread that trains."""

    def __init__(self) -> None:
        self._turns = Turns()

    def begin(self, mission: Mission, train: bytes) -> Placed:
        """Prepare to train, and return where.

        Args:
            mission: What to do.
            train: The training function, which completes the setup of the mission.
        """
        import ray

        node = ray.get_runtime_context().get_node_id()
        log = Path(mission.log) if node == mission.node else _log_of_session() / f"phyletic-{Path(mission.log).name}"
        _write_output_to(log)
        setup = decode_to_actor(mission.setup)
        assert isinstance(setup, Setup)
        self._mission, self._setup = mission, msgspec.structs.replace(setup, train=train)
        print(log_header(setup.worker, os.getpid(), setup.session, _host()), flush=True)
        gpus = tuple(map(str, ray.get_gpu_ids()))
        port = _free_port() if mission.ranks > 1 and mission.rank == 0 else 0
        return Placed(pid=os.getpid(), node=node, host=_host(), log=str(log), gpus=gpus, port=port)

    def train(self, variables: Mapping[str, str]) -> None:
        """Begin to train.

        Args:
            variables: Further environment variables.
        """
        os.environ.update(variables)
        threading.Thread(target=self._train, name="phyletic training", daemon=True).start()

    def turn(self, answered: int, replies: bytes) -> tuple[int, bytes]:
        """Take replies and return the next request; see :meth:`Turns.turn`."""
        return self._turns.turn(answered, replies)

    def _train(self) -> None:
        try:
            status = self._lead() if self._mission.rank == 0 else self._follow()
            self._turns.end(encode(Ended(status)))
        except BaseException as error:
            traceback.print_exc()
            # nothing else would end the owner's wait
            _end(self._turns, error)

    def _prepare(self) -> None:
        join_program(self._setup.program)
        if self._mission.shared is not None:
            self._mission.shared.check(_host())
        if self._mission.memory_fraction is not None:
            _limit_memory(self._mission.memory_fraction)

    def _lead(self) -> int:
        """Train as a worker of its own, or as rank 0 of a gang."""
        mission, channel, alone = self._mission, TurnChannel(self._turns), self._mission.ranks == 1
        self._prepare()
        train = training_function(self._setup, channel)
        if train is None:
            return 1
        checks = None if alone else lambda trial: LeaderChecks(trial, channel.announce)
        trials = source_of_trials(self._setup, channel, checks=checks)
        beat_from_thread(trials, self._setup.beat_seconds)
        return work(train, trials, channel, early_error_ends=mission.first, again=alone)

    def _follow(self) -> int:
        """Train as another rank of a gang."""

        def request(message: Request | Check) -> Answers | Agreed:
            answer = decode_to_actor(self._turns.ask(encode(message)))
            assert not isinstance(answer, Setup)
            return answer

        channel = FollowerChannel(request, partial(_end, self._turns), self._mission.rank)
        self._prepare()
        train = training_function(self._setup, channel)
        if train is None:
            return 1
        trials = source_of_trials(
            self._setup,
            channel,
            scratch=LocalCopies().stage,
            result=follower_result,
            checks=lambda trial: FollowerChecks(trial, channel.agreed),
        )
        return work(train, trials, channel, early_error_ends=self._mission.first, again=False)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _limit_memory(fraction: float) -> None:
    """Let torch's allocator, and JAX's, use a part of the GPU's memory.

    Args:
        fraction: The part, above 0 and at most 1.
    """
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{fraction:g}"
    try:
        import torch
    except ModuleNotFoundError:
        return
    if not torch.cuda.is_available():
        allowed = f"None where torch sees no GPU, as on node {_host()}"
        raise InvalidArgument("memory_fraction", fraction, allowed)
    for device in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(fraction, device)


def _write_output_to(log: Path) -> None:
    """Append what this process prints to a file, also what libraries in C print."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - open as long as the process lives
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)


def _host() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def _log_of_session() -> Path:
    """Return Ray's folder of logs on this node, which its own tools show."""
    import ray

    return Path(ray._private.worker.global_worker.node.get_logs_dir_path())
