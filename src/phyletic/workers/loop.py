"""The loop over trials: one long-lived loop in a worker serves every member.

It is a class with ``__next__`` and not a generator: reaching ``__next__`` again means that the body ended well, so the
trial is told; leaving the loop in any other way drops the iterator with the trial still open, which is then failed.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
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
from phyletic.errors import CheckpointDamaged, InvalidArgument, PhyleticError, StudyFailed, TrainingError, TrialFailed
from phyletic.records import CheckpointReference
from phyletic.records.values import as_unicode
from phyletic.space import Space
from phyletic.workers.channel import Channel
from phyletic.workers.iteration import Iteration, give_back_elsewhere
from phyletic.workers.seeding import seed_everything
from phyletic.workers.state import Load, Memory, Save
from phyletic.workers.trial import LiveTrial
from phyletic.workers.trial_result import result_of

__all__ = ["Build", "Trials", "worth_another_attempt"]

Build = Callable[[LiveTrial], Mapping[str, Any]]
_WAIT_SECONDS = 0.25


class Trials:
    """A source of trials: what training code loops over, wherever the trials come from.

    Args:
        channel: Reaches the coordinator.
        store: Where checkpoints are.
        space: The study's search space.
        session: Identity of this incarnation of the worker.
        reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.
        supervised: Whether whoever calls the training code fails the open trial after an exception, by :meth:`abort`.
        ended: Releases what the session holds; called when a loop that is not supervised is over, whether there are no
            more trials or it was left, and by :meth:`end`.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        store: Checkpoints,
        space: Space,
        session: str,
        reload: str = "changed",
        supervised: bool = True,
        ended: Callable[[], None] | None = None,
    ) -> None:
        if not isinstance(reload, str) or reload not in ("changed", "always"):
            raise InvalidArgument("reload", reload, '"changed" or "always"')
        self._channel = channel
        self._store = store
        self._space = space
        self._session = session
        self._reload = reload
        self._supervised = supervised
        self._ended = ended
        self._memory: Memory | None = None
        self._open: LiveTrial | None = None
        self._beating = threading.Lock()
        self._checkpoint: OpenCheckpoint | None = None
        self._times: dict[str, float] = {}
        self._body_began = 0.0
        self._answer: Reply | None = None
        self._abandoned = False
        self._loop: weakref.ref[object] | None = None
        self._process = os.getpid()
        self.draining = False
        self.granted = 0
        self.finished: Finished | None = None

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials, with a state that is built, loaded and saved around the loop's body.

        Args:
            build: Called with a trial that is newborn or has other fixed hyperparameters than what is in memory;
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
            memory: What the loop has in memory; None where trials load themselves.
            loop: Which one it is.

        Raises:
            StopIteration: There are no more trials, or the loop was asked to drain.
            TrainingError: The body broke the contract of the loop.
            StudyFailed: Trials failed one after another.
        """
        self._require_own_process()
        if self._open is not None:
            if self._abandoned:
                self.close()
            elif self._loop is not None and self._loop() not in (None, loop):
                raise TrainingError(
                    f"a loop over trials began while trial {self._open.number} of another one is open. End that loop "
                    "first: the trials of one worker run one after another, so loops cannot be nested"
                )
            else:
                self._end()
        self._memory, self._loop = memory, weakref.ref(loop)
        while True:
            grant = self._ask(memory)
            try:
                return self._begin(grant, memory)
            except CheckpointDamaged as error:
                self._fail(grant, str(error), "damaged")

    # Asking

    def _ask(self, memory: Memory | None) -> Grant:
        asked = time.monotonic()
        answer, self._answer = self._answer, None
        while True:
            if answer is None:
                if self.draining:
                    self._finish(Finished("asked to stop"))
                answer = self._exchange([self._ask_command(memory)])[-1]
            match answer:
                case Granted() if self.draining:
                    # asked to end while it was being granted
                    self._fail(answer.grants[0], "it was asked to stop before its first step", "released")
                    self._finish(Finished("asked to stop"))
                case Granted():
                    self.granted += 1
                    self.finished = None
                    self._times = {"waiting": time.monotonic() - asked}
                    return answer.grants[0]
                case Finished():
                    self._finish(answer)
                case Refused():
                    raise answer.exception()
                case Wait():
                    if not give_back_elsewhere(self):
                        self._channel.wait(_WAIT_SECONDS)
            answer = None

    def _ask_command(self, memory: Memory | None) -> Ask:
        held = () if memory is None or memory.trial is None else (memory.trial,)
        return Ask(session=self._session, in_memory=frozenset(held))

    def _finish(self, answer: Finished) -> None:
        self.finished = answer
        if not self._supervised:
            self.end()
        if answer.failed and not self._supervised:
            raise StudyFailed(answer.reason)
        raise StopIteration

    # The beginning and the end of a body

    def _begin(self, grant: Grant, memory: Memory | None) -> LiveTrial:
        began = time.monotonic()
        trial = LiveTrial(grant, load_from=self._store.path, save_to=self._store.staging)
        trial.ancestors = self._ancestors
        self._checkpoint = None
        self._open = trial
        try:
            if memory is not None:
                trial.state = memory.state
                self._checkpoint = memory.prepare(trial, grant, self._fixed(trial))
            else:
                # what loads itself holds nothing over from the trial before
                trial.loaded = True
                if grant.parent is not None:
                    self._store.verify(grant.parent)
            seed_everything(trial.seed)
        except CheckpointDamaged:
            self._open = None
            if memory is not None:
                memory.forget()
            raise
        except BaseException as error:
            self._left(error)
            raise
        self._abandoned = False
        trial.beat = self.beat
        self._body_began = time.monotonic()
        self._times["loading"] = self._body_began - began
        return trial

    def _ancestors(self, number: int) -> tuple[int, ...]:
        reply = self._exchange([Ancestors(trial=number)])[0]
        if isinstance(reply, Refused):
            raise reply.exception()
        assert isinstance(reply, Done)
        return reply.lineage

    def _fixed(self, trial: LiveTrial) -> dict[str, Any]:
        values = trial.record.hyperparameters
        return {parameter.path: values[parameter.path] for parameter in self._space.active(values) if parameter.fixed}

    def _end(self) -> None:
        trial = self._open
        assert trial is not None
        trial.beat = None
        ended = time.monotonic()
        try:
            if trial.refused is not None:
                raise trial.refused.exception()
            command = result_of(
                trial,
                self._space,
                times={**self._times, "began": self._body_began, "ended": ended},
                verify=None if self._checkpoint is None else self._checkpoint.verify,
                publish=self._publish,
            )
        except CheckpointDamaged as error:
            self._drop()
            self._fail(trial.grant, str(error), "damaged")
            return
        except BaseException as error:
            held = self._left(error)
            if isinstance(error, Exception) and not held:
                # also what was being saved may have been deleted when the trial was granted to another session
                return
            raise
        if command is None:
            self._drop()
            # what is given up again and again before its first step is rescued like what raises again and again
            cause = "error" if trial.stop == HOPELESS else "released"
            self._fail(trial.grant, f"it was asked to stop ({trial.stop}), and nothing says how far it came", cause)
            return
        with self._beating:
            self._open = None
        memory = self._memory
        if memory is not None:
            memory.trial = trial.number
        commands: list[Command] = [command]
        if not self.draining:
            commands.append(self._ask_command(memory))
        replies = self._exchange(commands)
        told = replies[0]
        if isinstance(told, Refused):
            self._drop()
            if command.partial and told.error != "LeaseLost":
                # its budget was lowered meanwhile
                self._fail(trial.grant, told.message, "released")
            elif told.error != "LeaseLost":
                raise told.exception()
            # the right to this trial went to another session: what is in memory is no longer its end
        self._answer = replies[1] if len(replies) > 1 else None

    def _publish(self, trial: LiveTrial) -> CheckpointReference | None:
        if self._memory is not None:
            return self._memory.publish(trial.grant.checkpoint)
        if trial.saved_to is not None:
            return self._store.publish_folder(trial.grant.checkpoint, trial.saved_to)
        return None

    # Failing

    def left(self, loop: object) -> None:
        """Note that a loop is over: no more trials, or left by ``break``, ``return`` or an exception.

        Args:
            loop: Which one it is; it may be noticed late, when another one goes on.
        """
        if self.forked or (self._loop is not None and self._loop() not in (None, loop)):
            return
        if self._supervised:
            # an exception may be on its way to abort(), which knows more
            self._abandoned = self._open is not None
        elif self.finished is None:
            # also what is not open here, such as a trial whose result was refused, is to be granted again
            self._drop()
            self.end()

    def end(self) -> None:
        """Release what the session holds: no loop over these trials goes on."""
        if self._ended is not None and not self.forked:
            self._ended()

    def release(self, waiting: Trials) -> bool:
        """Give the open trial back where another source waits for trials of the same study; returns whether it was."""
        if self._open is None or self._store.location != waiting._store.location:
            return False
        self._fail(self._drop().grant, "its thread waited for a trial in another loop", "released")
        return True

    def close(self) -> None:
        """Fail a trial that the loop was left with.

        Raises:
            TrainingError: This is a process that the training code forked.
        """
        self._require_own_process()
        if self._open is not None:
            number = self._open.number
            text = f"the loop was left while trial {number} was open (by break, return or an exception)"
            self._fail(self._drop().grant, text, "error")

    def abort(self, error: BaseException) -> None:
        """Fail the open trial after the training code raised; nothing in memory is trusted any more.

        Args:
            error: What it raised.
        """
        if self.forked:
            return
        if self._open is not None:
            self._left(error)
        elif self._memory is not None:
            self._memory.forget()

    def _left(self, error: BaseException) -> bool:
        """Fail the open trial; returns whether it was still held by this session."""
        text = "".join(traceback.format_exception(error)).rstrip()
        trial = self._drop()
        # where a machine is taken away, processes that the training code relies on may be gone before it
        counted = worth_another_attempt(error) and trial.stop != "preempted"
        reply = self._fail(trial.grant, text, "error" if counted else "released")
        return not (isinstance(reply, Refused) and reply.error == "LeaseLost")

    def _drop(self) -> LiveTrial:
        with self._beating:
            trial, self._open = self._open, None
        if self._memory is not None:
            self._memory.forget()
        return trial  # type: ignore[return-value]

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

    # Beating

    def beat(self) -> None:
        """Tell the coordinator that the open trial is alive and what it reported; called from any thread."""
        if self.forked:
            return
        with self._beating:
            trial = self._open
            if trial is None or trial.stop == "lost":
                return
            done = trial.steps_done
            step = None if done is None else trial.start_step + done
            reply = self._exchange([trial.sign_of_life(step)])[0]
            if isinstance(reply, Refused):
                # what is wrong is raised in the thread that trains, when the body has ended
                trial.refused = None if reply.error == "LeaseLost" else reply
                trial.stop = "lost"
            elif isinstance(reply, Done):
                trial.hear(reply)

    def preempt(self) -> None:
        """Ask the open trial to hand back what it has: the machine is to be taken away."""
        trial = self._open
        self.draining = True
        if trial is not None:
            trial.stop = "preempted"

    def _exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        return self._channel.exchange(commands)


def worth_another_attempt(error: BaseException) -> bool:
    """Whether what training code raised counts against its trial, which is then tried again.

    What phyletic itself raises (a misuse, a state that cannot be saved, a full disk) would come again for every trial,
    and a person who presses Ctrl-C says nothing about the trial.
    """
    return isinstance(error, Exception) and (not isinstance(error, PhyleticError) or isinstance(error, TrialFailed))
