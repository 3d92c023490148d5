"""The source of trials: one long-lived loop in a worker serves every member."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.messages import (
    HOPELESS,
    Ancestors,
    Ask,
    Command,
    Done,
    Fail,
    Finished,
    Grant,
    Granted,
    Refused,
    Reply,
    Wait,
)
from phyletic.errors import CheckpointDamaged, InvalidArgument, StudyFailed, TrainingError
from phyletic.records import CheckpointReference
from phyletic.records.values import as_unicode
from phyletic.space import Space
from phyletic.workers.attempt import LOST, PREEMPTED, Attempt, worth_another_attempt
from phyletic.workers.iteration import Iteration
from phyletic.workers.seeding import seed_everything
from phyletic.workers.state import Load, Memory, Save
from phyletic.workers.trial import LiveTrial
from phyletic.workers.trial_result import result_of

__all__ = ["Build", "Trials"]

Build = Callable[[LiveTrial], Mapping[str, Any]]
_WAIT_SECONDS = 0.25


class Trials:
    """A source of trials: what training code loops over, wherever the trials come from.

    Args:
        channel: Reaches the coordinator.
        store: Where checkpoints are.
        space: The study's search space.
        session: Returns the session in which a loop asks that begins in this thread.
        reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.
        supervised: Whether the caller of the training code fails the open trial after an exception, by :meth:`abort`.
        leave: Releases what a session holds; called when a loop that is not supervised has no more trials or raised,
            and by :meth:`end`.
        defer: Calls a function as soon as no thread decides; a finalizer uses it if a loop that is not supervised was
            left.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        store: Checkpoints,
        space: Space,
        session: Callable[[], str],
        reload: str = "changed",
        supervised: bool = True,
        leave: Callable[[str], object] | None = None,
        defer: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        if not isinstance(reload, str) or reload not in ("changed", "always"):
            raise InvalidArgument("reload", reload, '"changed" or "always"')
        self._channel = channel
        self._store = store
        self._space = space
        self._session_here = session
        self._reload = reload
        self._supervised = supervised
        self._leave = leave
        self._defer = defer
        self._session = ""
        self._loop: object = None
        self._left: deque[object] = deque()
        self._memory: Memory | None = None
        self._open: Attempt | None = None
        self._beating = threading.Lock()
        self._process = os.getpid()
        self.draining = False
        self.granted = 0
        self.finished: Finished | None = None

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials, with a state that is built, loaded and saved around the loop's body.

        Args:
            build: Called with a trial that is newborn or has other fixed hyperparameters than the state in memory;
                returns a mapping from names to what is to be saved, such as ``dict(model=model, optimizer=optimizer)``.
                Random states are already seeded from the trial.
            save: Writes the state into a folder, ``save(state, folder)``, for what no adapter knows.
            load: Reads it back, ``load(state, folder)``.

        Returns:
            What to loop over: ``for trial in trials.attach(build): ...``.
        """
        if not callable(build):
            raise InvalidArgument("build", build, "a function from a trial to a dictionary of what is to be saved")
        if (save is None) != (load is None):
            raise InvalidArgument("save" if save is None else "load", None, "given, since the other one is")
        for name, function in (("save", save), ("load", load)):
            if function is not None and not callable(function):
                raise InvalidArgument(name, function, f"a function {name}(state, folder), or None")
        return Iteration(self, Memory(self._store, build, save=save, load=load, reload=self._reload))

    def __iter__(self) -> Iterator[LiveTrial]:
        """Loop over trials that load and save themselves, by ``load_from`` and ``save_to``."""
        return iter(Iteration(self, None))

    def next_trial(self, memory: Memory | None, loop: object) -> LiveTrial:
        """Tell the open trial, whose body has ended, and get the next one.

        Args:
            memory: What the loop has in memory; None if trials load themselves.
            loop: Identifies the loop.

        Raises:
            StopIteration: There are no more trials, or the loop was asked to drain.
            TrainingError: The body broke the contract of the loop.
            StudyFailed: Trials failed one after another.
        """
        self._require_own_process()
        self.settle()
        answer = None
        if loop is not self._loop:
            self._begin_loop(memory, loop)
        elif self._open is not None:
            answer = self._end_trial()
        while True:
            asked = time.monotonic()
            grant = self._ask(answer)
            try:
                return self._begin_trial(grant, asked)
            except CheckpointDamaged as error:
                self._fail(grant, str(error), "damaged")
                answer = None

    def _begin_loop(self, memory: Memory | None, loop: object) -> None:
        if self._open is not None:
            raise TrainingError(
                f"a loop over trials began while trial {self._open.record.number} of another one is open. End that "
                "loop first: the trials of one worker run one after another, so loops cannot be nested"
            )
        self.enter()
        self._memory, self._loop = memory, loop

    def enter(self) -> None:
        """Begin this thread's session, which releases what an earlier loop of the thread was left with."""
        self._session = self._session_here()

    # Asking

    def _ask(self, answer: Reply | None) -> Grant:
        while True:
            if answer is None:
                if self.draining:
                    self._finish(Finished("asked to stop"))
                answer = self._exchange([self._ask_command()])[-1]
            match answer:
                case Granted() if self.draining:
                    # asked to end while it was being granted
                    self._fail(answer.first, "it was asked to stop before its first step", "released")
                    self._finish(Finished("asked to stop"))
                case Granted():
                    self.granted += 1
                    self.finished = None
                    return answer.first
                case Finished():
                    self._finish(answer)
                case Refused():
                    raise answer.exception()
                case Wait():
                    self._channel.wait(_WAIT_SECONDS)
            answer = None

    def _ask_command(self) -> Ask:
        held = () if self._memory is None or self._memory.trial is None else (self._memory.trial,)
        return Ask(session=self._session, in_memory=frozenset(held))

    def _finish(self, answer: Finished) -> None:
        self.finished = answer
        if answer.failed and not self._supervised:
            raise StudyFailed(answer.reason)
        raise StopIteration

    # The beginning and the end of a body

    def _begin_trial(self, grant: Grant, asked: float) -> LiveTrial:
        granted = time.monotonic()
        attempt = Attempt(grant, load_from=self._store.path, save_to=self._store.staging)
        attempt.ancestors = self._ancestors
        trial = LiveTrial(attempt)
        memory = self._memory
        self._open = attempt
        try:
            if memory is not None:
                attempt.opened = memory.prepare(trial, self._fixed(attempt))
            else:
                # a body that loads by itself holds nothing over from the trial before
                attempt.loaded = True
                if grant.parent is not None:
                    self._store.verify(grant.parent)
            seed_everything(trial.seed)
        except CheckpointDamaged:
            self._drop()
            raise
        except BaseException as error:
            self._fail_open(error)
            raise
        attempt.send_heartbeat = self.beat
        attempt.began = time.monotonic()
        attempt.waiting, attempt.loading = granted - asked, attempt.began - granted
        return trial

    def _ancestors(self, number: int) -> tuple[int, ...]:
        reply = self._exchange([Ancestors(trial=number)])[0]
        if isinstance(reply, Refused):
            raise reply.exception()
        assert isinstance(reply, Done)
        return reply.lineage

    def _fixed(self, attempt: Attempt) -> dict[str, Any]:
        values = attempt.record.hyperparameters
        return {parameter.path: values[parameter.path] for parameter in self._space.active(values) if parameter.fixed}

    def _end_trial(self) -> Reply | None:
        """Tell the open trial, and return the answer to the ask that goes with it; None if there was none."""
        attempt = self._open
        assert attempt is not None
        attempt.send_heartbeat = None
        try:
            if attempt.refused is not None:
                raise attempt.refused.exception()
            command = result_of(attempt, self._space, self._publish)
        except CheckpointDamaged as error:
            self._drop()
            self._fail(attempt.grant, str(error), "damaged")
            return None
        except BaseException as error:
            held = self._fail_open(error)
            if isinstance(error, Exception) and not held:
                # what was being saved may have been deleted when the trial was granted to another session
                return None
            raise
        if command is None:
            self._drop()
            # a trial that is given up again and again before its first step is rescued like one that raises
            cause = "error" if attempt.stop == HOPELESS else "released"
            text = f"it was asked to stop ({attempt.stop}), and nothing says how far it came"
            self._fail(attempt.grant, text, cause)
            return None
        with self._beating:
            self._open = None
        if self._memory is not None:
            self._memory.trial = attempt.record.number
        commands: list[Command] = [command]
        if not self.draining:
            commands.append(self._ask_command())
        told, *answers = self._exchange(commands)
        if isinstance(told, Refused):
            # what is in memory is no longer the end of this trial
            self._drop()
            if command.partial and told.error != "LeaseLost":
                # its budget was lowered meanwhile
                self._fail(attempt.grant, told.message, "released")
            elif told.error != "LeaseLost":
                raise told.exception()
        return answers[0] if answers else None

    def _publish(self, attempt: Attempt) -> CheckpointReference | None:
        if self._memory is not None:
            return self._memory.publish(attempt.grant.checkpoint)
        if attempt.saved_to is not None:
            return self._store.publish_folder(attempt.grant.checkpoint, attempt.saved_to)
        return None

    # Leaving

    def note_left(self, loop: object) -> None:
        """Note that a loop was left by ``break``, ``return`` or an exception; safe in a finalizer.

        Args:
            loop: Identifies the loop.
        """
        self._left.append(loop)
        if self._defer is not None:
            self._defer(self.settle)

    def settle(self) -> None:
        """Give back the trial that a loop was left with."""
        while self._left:
            # another loop may have taken over before this one was noticed to be over
            if self._left.popleft() is self._loop and not self.forked:
                self._loop = None
                if self._defer is not None:
                    self._drop()
                    self.end()
                elif self._open is not None:
                    self._fail_left()

    def end_loop(self, loop: object) -> None:
        """Release what the session holds because a loop has no more trials or raised.

        Args:
            loop: Identifies the loop.
        """
        if self.forked or loop is not self._loop:
            return
        if self._supervised:
            # an exception may be on its way to abort(), which knows more
            self._left.append(loop)
            return
        self._loop = None
        self._drop()
        self.end()

    def end(self) -> None:
        """Release what the session holds: no loop over these trials goes on."""
        if self._leave is not None and not self.forked:
            self._leave(self._session)

    def close(self) -> None:
        """Fail a trial that the loop was left with.

        Raises:
            TrainingError: This is a process that the training code forked.
        """
        self._require_own_process()
        if self._open is not None:
            self._fail_left()

    def abort(self, error: BaseException) -> None:
        """Fail the open trial after the training code raised; nothing in memory is trusted any more.

        Args:
            error: What it raised.
        """
        if self.forked:
            return
        self._left.clear()
        self._loop = None
        if self._open is not None:
            self._fail_open(error)
        elif self._memory is not None:
            self._memory.forget()

    def _fail_left(self) -> None:
        attempt = self._drop()
        if attempt is not None:
            number = attempt.record.number
            text = f"the loop was left while trial {number} was open (by break, return or an exception)"
            # a person who leaves a loop in this process says nothing about the trial
            self._fail(attempt.grant, text, "error" if self._supervised else "released")

    def _fail_open(self, error: BaseException) -> bool:
        """Fail the open trial, and return whether this session still held it."""
        text = "".join(traceback.format_exception(error)).rstrip()
        attempt = self._drop()
        assert attempt is not None
        # on a machine that is taken away, processes that the training code relies on may be gone before it
        counted = worth_another_attempt(error) and attempt.stop != PREEMPTED
        reply = self._fail(attempt.grant, text, "error" if counted else "released")
        return not (isinstance(reply, Refused) and reply.error == "LeaseLost")

    def _drop(self) -> Attempt | None:
        with self._beating:
            attempt, self._open = self._open, None
        if self._memory is not None:
            self._memory.forget()
        return attempt

    def _fail(self, grant: Grant, error: str, cause: Any) -> Reply:
        return self._exchange([Fail(lease=grant.lease, error=as_unicode(error), cause=cause)])[0]

    @property
    def forked(self) -> bool:
        """Whether this is a process that the training code forked: the trials are its parent's."""
        return os.getpid() != self._process

    def _require_own_process(self) -> None:
        if self.forked:
            raise TrainingError(
                "a process that the training code forked went on with its loop over trials: end it where its work "
                "ends, by os._exit or as multiprocessing does"
            )

    # Heartbeats

    def beat(self) -> None:
        """Tell the coordinator that the open trial is alive and what it reported; called from any thread."""
        if self.forked:
            return
        if not self._supervised:
            self.settle()
        with self._beating:
            attempt = self._open
            if attempt is None or attempt.stop == LOST:
                return
            done = attempt.steps_done
            step = None if done is None else attempt.record.start_step + done
            reply = self._exchange([attempt.heartbeat(step)])[0]
            if isinstance(reply, Refused):
                # what is wrong is raised in the thread that trains, when the body has ended
                attempt.refused = None if reply.error == "LeaseLost" else reply
                attempt.stop = LOST
            elif isinstance(reply, Done):
                attempt.take_answer(reply)

    def preempt(self) -> None:
        """Ask the open trial to hand back what it has, and begin no other."""
        attempt = self._open
        self.draining = True
        if attempt is not None:
            attempt.stop = PREEMPTED

    def _exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        return self._channel.exchange(commands)
