"""The source of trials: one long-lived loop in a worker serves every member."""

from __future__ import annotations

import os
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator import messages
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.client import Client
from phyletic.coordinator.messages import (
    HOPELESS,
    Ask,
    Done,
    Fail,
    FailCause,
    Finished,
    Grant,
    Granted,
    Refused,
    Reply,
    Wait,
)
from phyletic.coordinator.saves import save_id
from phyletic.errors import CheckpointDamaged, InvalidArgument, StoreUnreachable, StudyFailed, TrainingError
from phyletic.evolution.arguments import check_one_of
from phyletic.randomness import trial_seed
from phyletic.records import CheckpointReference
from phyletic.records.encodings import as_unicode
from phyletic.space import Space
from phyletic.workers.attempt import LOST, PREEMPTED, Attempt, worth_another_attempt
from phyletic.workers.background_upload import UPLOADS, BackgroundUpload
from phyletic.workers.iteration import Iteration
from phyletic.workers.live_trial import LiveTrial
from phyletic.workers.memory import Load, Memory, Save
from phyletic.workers.named_settings import named_settings, optimizers
from phyletic.workers.not_a_trial import NotOneTrial
from phyletic.workers.seeding import seed_everything
from phyletic.workers.trial_result import MakeResult, result_of

Build = Callable[[LiveTrial], Mapping[str, Any]]
_WAIT_SECONDS = 0.25


class Trials(NotOneTrial):
    """A source of trials: what training code loops over, wherever the trials come from.

    Args:
        channel: Reaches the coordinator.
        store: Where checkpoints are.
        space: The study's search space.
        session: Returns the session for a loop that begins in this thread.
        reload: ``"changed"`` loads only what is not in memory already, ``"always"`` loads for every trial.
        upload: ``"before_tell"`` publishes a trial's checkpoint before anything else, ``"background"`` while the next
            trial trains.
        supervised: Whether the caller of the training code fails the open trial after an exception, by :meth:`abort`.
        leave: Releases what a session holds, once an unsupervised loop has no more trials or raised, and at
            :meth:`end`.
        defer: Calls a function as soon as no thread decides. The finalizer of an unsupervised loop uses it.
        result: Makes the result of a trial whose body has ended.
        checks: In a gang: gives, for a trial's number, the function by which all ranks agree on when it stops.
        scratch: Makes an empty folder for a trial's own files where nothing is to be published or saved: another rank
            of a gang leaves that to rank 0.

    Attributes:
        draining: Whether the open trial should be the last.
        granted: How many trials the coordinator granted.
        finished: Why there are no more trials; None while there may be more.
        after_beat: Called after each heartbeat, by the thread that sent it.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        store: Checkpoints,
        space: Space,
        session: Callable[[], str],
        reload: str = "changed",
        upload: str = "before_tell",
        supervised: bool = True,
        leave: Callable[[str], object] | None = None,
        defer: Callable[[Callable[[], object]], object] | None = None,
        result: MakeResult = result_of,
        checks: Callable[[int], Callable[[str], str]] | None = None,
        scratch: Callable[[str], Path] | None = None,
    ) -> None:
        check_one_of("reload", reload, ("changed", "always"))
        check_one_of("upload", upload, UPLOADS)
        if upload == "background" and defer is not None:
            # the finalizer of a loop that was left could not wait for the upload
            hint = 'Use study.run(train, upload="background")'
            raise InvalidArgument("upload", upload, "'before_tell' in an unsupervised loop", hint)
        self._channel = channel
        self._client = Client(channel)
        self._store = store
        self._space = space
        self._session_here = session
        self._reload = reload
        self._supervised = supervised
        self._leave = leave
        self._defer = defer
        self._result = result
        self._checks = checks
        self._scratch = scratch
        self._session = ""
        self._loop: object = None
        self._left: deque[object] = deque()
        self._memory: Memory | None = None
        self._open: Attempt | None = None
        self._in_background = upload == "background"
        self._upload = BackgroundUpload(self._client.exchange, self._fail_attempt)
        self._beating = threading.Lock()
        self._process = os.getpid()
        self.draining = False
        self.granted = 0
        self.finished: Finished | None = None
        self.after_beat: Callable[[], object] = lambda: None

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials, with a state that is built, loaded and saved around the loop's body.

        Args:
            build: Makes the state of a trial that is newborn, or has other fixed hyperparameters than the state in
                memory: a mapping from names to objects to save, such as ``dict(model=model, optimizer=optimizer)``. The
                loop seeds the random states from the trial before it calls ``build``.
            save: Writes the state into a folder, ``save(state, folder)``, if no adapter knows its objects.
            load: Reads it back, ``load(state, folder)``.

        Returns:
            An iterable of trials: ``for trial in trials.attach(build): ...``.
        """
        if not callable(build):
            raise InvalidArgument("build", build, "a function from a trial to a dictionary of objects to save")
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
            memory: The loop's state in memory; None if trials load themselves.
            loop: Identifies the loop.

        Raises:
            StopIteration: No more trials are left, or the loop was asked to drain.
            TrainingError: The body broke the contract of the loop.
            StudyFailed: Trials failed one after another.
        """
        self._require_own_process()
        if self._left:
            self._upload.wait()
        self.settle()
        answer = None
        if loop is self._loop:
            answer = self._end_trial()
        elif self._open is not None:
            raise TrainingError(
                f"a loop over trials began while trial {self._open.record.number} of another one is open. End that "
                "loop first: the trials of one worker run one after another, so loops cannot be nested"
            )
        else:
            self.enter()
            self._memory, self._loop = memory, loop
        while True:
            asked = time.monotonic()
            grant = self._ask(answer)
            try:
                return self._begin_trial(grant, asked)
            except CheckpointDamaged as error:
                self._fail_damaged(grant, error)
                answer = None
            except StoreUnreachable:
                answer = None  # the trial was given back

    def enter(self) -> None:
        """Begin this thread's session, which releases the trial of a loop that this thread left earlier."""
        self._upload.wait()
        self._session = self._session_here()

    # Asking

    def _ask(self, answer: Reply | None) -> Grant:
        """Return the next grant, from an answer to an ask or by asking."""
        while True:
            if answer is None and not self.draining:
                answer = self._upload.ask(self._ask_command)
            match answer:
                case Granted() if self.draining:
                    # a signal came while the coordinator was granting it
                    for grant in answer.grants:
                        self._fail(grant, "it was asked to stop before its first step", "released")
                case Granted():
                    for grant in answer.grants[1:]:
                        # the session had lost the trial in flight, and got two others
                        self._fail(grant, "its worker trains another trial first", "released")
                    self.granted += 1
                    self.finished = None
                    return answer.first
                case Finished():
                    self._finish(answer)
                case Refused():
                    raise answer.exception()
                case Wait():
                    self._channel.wait(_WAIT_SECONDS)
            if self.draining:
                self._finish(Finished("asked to stop"))
            answer = None

    def _ask_command(self, slots: int = 1) -> Ask:
        self._note_upload()
        held = () if self._memory is None or self._memory.trial is None else (self._memory.trial,)
        return Ask(session=self._session, slots=slots, in_memory=frozenset(held))

    def _note_upload(self) -> None:
        """Raise the error of an upload that failed; if its trial was told, and is in memory, go on from memory."""
        self._upload.raise_error()
        if self._memory is not None and self._memory.untold is not None and self._memory.untold == self._upload.told:
            self._memory.trial, self._memory.untold = self._memory.untold, None

    def _finish(self, answer: Finished) -> None:
        self._upload.wait()
        self._note_upload()
        self.finished = answer
        if answer.failed and not self._supervised:
            raise StudyFailed(answer.reason)
        raise StopIteration

    # The beginning and the end of a body

    def _begin_trial(self, grant: Grant, asked: float) -> LiveTrial:
        granted = time.monotonic()
        attempt = Attempt(grant, load_from=self._store.path, save_to=self._scratch or self._store.staging)
        attempt.ancestors = self._client.ancestors
        trial = LiveTrial(attempt)
        self._open = attempt
        try:
            if self._memory is not None:
                values = attempt.record.hyperparameters
                fixed = {one.path: values[one.path] for one in self._space.active(values) if one.fixed}
                attempt.opened = self._memory.prepare(trial, fixed)
                state = vars(self._memory.state)
                attempt.settings = named_settings(state, attempt.record)
                attempt.unstepped = {name for name, _, target in optimizers(state) if target.fresh}
            else:
                # a body that loads by itself keeps nothing from the trial before
                attempt.loaded = True
                if grant.parent is not None:
                    self._store.verify(grant.parent)
            again = attempt.steps_before
            seed_everything(trial_seed(trial.seed, again) if again else trial.seed)
        except CheckpointDamaged:
            self._drop()
            raise
        except BaseException as error:
            self._fail_open(error)
            raise
        attempt.send_heartbeat = self.beat
        if self._checks is not None:
            attempt.agree = self._checks(trial.number)
        if self._memory is not None:
            attempt.save = partial(self._save, attempt, self._memory) if self._scratch is None else lambda: None
        attempt.began = time.monotonic()
        attempt.waiting, attempt.loading = granted - asked, attempt.began - granted
        return trial

    def _end_trial(self) -> Reply | None:
        """Tell the open trial, or begin to upload it; return the answer to the ask that goes with it, if one did."""
        attempt = self._open
        if attempt is None:
            return None
        attempt.send_heartbeat = attempt.save = None
        try:
            if attempt.refused is not None:
                raise attempt.refused.exception()
            result = self._result(attempt, self._space, self._publish)
        except CheckpointDamaged as error:
            self._drop()
            self._fail_damaged(attempt.grant, error)
            return None
        except StoreUnreachable as error:
            self._fail_open(error)
            return None
        except BaseException as error:
            held = self._fail_open(error)
            if isinstance(error, Exception) and not held:
                # another session got the trial, so that the files of this attempt may have been deleted meanwhile
                return None
            raise
        if result is None:
            self._drop()
            # a trial that is hopeless before its first step is rescued like one that raises
            text = f"it was asked to stop ({attempt.stop}), and nothing says how far it came"
            self._fail(attempt.grant, text, "error" if attempt.stop == HOPELESS else "released")
            return None
        for remark in () if self._supervised else result.remarks:
            warnings.warn(remark, stacklevel=4)  # once, by Python's own rule
        with self._beating:
            self._open = None
        if attempt.upload is not None:
            if self._memory is not None:
                self._memory.trial, self._memory.untold = None, attempt.record.number
            publish, attempt.upload = attempt.upload, None
            self._upload.start(attempt, result, publish)
            return None
        if self._memory is not None:
            self._memory.trial = attempt.record.number
        last = self.draining or self._upload.attempt is not None or self._upload.error is not None
        told, *answers = self._client.exchange([result] if last else [result, self._ask_command()])
        if isinstance(told, Refused):
            # the state in memory is no longer the end of this trial
            self._drop()
            if result.partial and told.error != "LeaseLost":
                # someone lowered its budget meanwhile
                self._fail(attempt.grant, told.message, "released")
            elif told.error != "LeaseLost":
                raise told.exception()
        return answers[0] if answers else None

    def _publish(self, attempt: Attempt) -> CheckpointReference | None:
        """Publish a trial's checkpoint, or prepare to do so in the background; None if it has none or not yet."""
        if self._in_background and not (self.draining or attempt.stop == PREEMPTED):
            self._upload.wait()
            if not (attempt.handed_back or self._upload.error is not None or self.draining):
                attempt.upload = self._upload_of(attempt)
                return None
        if self._memory is not None:
            return self._memory.publish(attempt.grant.checkpoint)
        if attempt.saved_to is not None:
            return self._store.publish_folder(attempt.grant.checkpoint, attempt.saved_to)
        return None

    def _upload_of(self, attempt: Attempt) -> Callable[[], CheckpointReference] | None:
        """Return a function that publishes a trial's state as it is now; None if the trial has no checkpoint."""
        if self._memory is not None:
            return self._memory.snapshot(attempt.grant.checkpoint)
        if attempt.saved_to is not None:
            return partial(self._store.publish_folder, attempt.grant.checkpoint, attempt.saved_to)
        return None

    def _save(self, attempt: Attempt, memory: Memory) -> None:
        """Publish the state within a trial, and tell it.

        Args:
            attempt: The attempt.
            memory: Its state.
        """
        if attempt.stop == LOST:
            return
        if attempt.opened is not None:
            try:
                attempt.opened.verify()
            except CheckpointDamaged:
                return  # which the end of the body raises again
        try:
            published = memory.publish(save_id(attempt.grant.checkpoint, attempt.saves + 1))
        except StoreUnreachable as error:
            # training goes on without this save; the trial's end meets the store again
            number = attempt.record.number
            warnings.warn(f"the state could not be saved within trial {number}: {error}", stacklevel=2)
            return
        saved = messages.Save(
            lease=attempt.grant.lease,
            checkpoint=published,
            step=attempt.record.start_step + attempt.steps_to_save,
            evaluations=attempt.latest_evaluations,
        )
        reply = self._client.exchange([saved])[0]
        if not isinstance(reply, Refused):
            attempt.saves += 1
        elif reply.error == "LeaseLost":
            attempt.stop = LOST
        else:
            raise reply.exception()

    # Leaving

    def note_left(self, loop: object) -> None:
        """Note that the training code left a loop by ``break``, ``return`` or an exception; safe in a finalizer.

        Args:
            loop: Identifies the loop.
        """
        self._left.append(loop)
        if self._defer is not None:
            self._defer(self.settle)

    def settle(self) -> None:
        """Give back the open trial of a loop that was left."""
        while self._left:
            # another loop may have begun before this object noticed the end of this one
            if self._left.popleft() is self._loop and not self.forked:
                self._loop = None
                if self._defer is not None:
                    self._drop()
                    self.end()
                else:
                    self._fail_left()

    def end_loop(self, loop: object) -> None:
        """Release what the session holds, because a loop has no more trials or raised.

        Args:
            loop: Identifies the loop.
        """
        if self.forked or loop is not self._loop:
            return
        if self._supervised:
            # an exception may be on its way to abort(), which knows more
            self._left.append(loop)
        else:
            self._loop = None
            self._drop()
            self._upload.wait()
            self.end()

    def finish_upload(self) -> None:
        """Wait until the trial in flight, if any, was told or has failed; Ctrl-C meanwhile abandons it."""
        if not self.forked:
            self._upload.wait()

    def end(self) -> None:
        """Release what the session holds, because no loop over these trials goes on."""
        if self.forked:
            return
        self._upload.abandon()
        if self._leave is not None:
            self._leave(self._session)

    def close(self) -> None:
        """Fail the open trial of a loop that was left.

        Raises:
            TrainingError: The training code forked this process.
        """
        self._require_own_process()
        self._upload.wait()
        self._fail_left()

    def abort(self, error: BaseException) -> None:
        """Fail the open trial after the training code raised, and forget the state in memory.

        The trial in flight is told all the same, unless a person wants to stop now.

        Args:
            error: What it raised.
        """
        if not self.forked:
            self._left.clear()
            self._loop = None
            self._fail_open(error)
            if self._upload.error is not None and worth_another_attempt(self._upload.error):
                self._upload.error = None  # it counts against its trial; what was raised first goes on

    def _fail_left(self) -> None:
        attempt = self._drop()
        if attempt is not None:
            number = attempt.record.number
            text = f"the loop was left while trial {number} was open (by break, return or an exception)"
            # a person who leaves a loop in this process says nothing about the trial
            self._fail(attempt.grant, text, "error" if self._supervised else "released")

    def _fail_open(self, error: BaseException) -> bool:
        """Fail the open trial, if any, once the one in flight was told; return whether this session still held it."""
        if isinstance(error, KeyboardInterrupt):
            self._upload.abandon()
        self._upload.wait()
        attempt = self._drop()
        return attempt is not None and self._fail_attempt(attempt, error)

    def _fail_attempt(self, attempt: Attempt, error: BaseException) -> bool:
        """Fail an attempt after an exception; return whether this session still held it.

        Args:
            attempt: The attempt.
            error: What was raised.
        """
        text = "".join(traceback.format_exception(error)).rstrip()
        # on a machine that is shutting down, processes that the training code needs may end before it
        counted = worth_another_attempt(error) and attempt.stop != PREEMPTED
        if isinstance(error, StoreUnreachable):
            return self._fail(attempt.grant, str(error), "unreachable")
        return self._fail(attempt.grant, text, "error" if counted else "released")

    def _drop(self) -> Attempt | None:
        """Forget the open trial and the state in memory; return the trial's attempt."""
        with self._beating:
            attempt, self._open = self._open, None
        if self._memory is not None:
            self._memory.forget()
        return attempt

    def _fail_damaged(self, grant: Grant, error: CheckpointDamaged) -> None:
        """End an attempt whose parent's checkpoint is damaged; raise if every newborn would load the same one.

        Args:
            grant: The attempt's grant.
            error: What was found.
        """
        self._fail(grant, str(error), "released" if grant.trial.newborn else "damaged")
        if grant.trial.newborn:
            raise error

    def _fail(self, grant: Grant, error: str, cause: FailCause) -> bool:
        """End an attempt without a result; return whether this session still held it.

        Args:
            grant: The trial.
            error: For the person who reads it.
            cause: As in :class:`~phyletic.coordinator.messages.Fail`.
        """
        reply = self._client.exchange([Fail(lease=grant.lease, error=as_unicode(error), cause=cause)])[0]
        return not (isinstance(reply, Refused) and reply.error == "LeaseLost")

    @property
    def forked(self) -> bool:
        """Whether the training code forked this process: the trials belong to its parent."""
        return os.getpid() != self._process

    def _require_own_process(self) -> None:
        if self.forked:
            raise TrainingError(
                "a process that the training code forked went on with its loop over trials: end it where its work "
                "ends, by os._exit or as multiprocessing does"
            )

    # Heartbeats

    def beat(self) -> None:
        """Tell the coordinator that the open trial is alive and what it reported; any thread may call this."""
        if self.forked:
            return
        if not self._supervised:
            self.settle()
        with self._beating:
            held = (self._open, self._upload.attempt)
            attempt = next((one for one in held if one is not None and one.stop != LOST), None)
            if attempt is None:
                return
            reply = self._client.exchange([attempt.heartbeat()])[0]
            if isinstance(reply, Refused):
                # the thread that trains raises the error when the body has ended
                attempt.refused = None if reply.error == "LeaseLost" else reply
                attempt.stop = LOST
            elif isinstance(reply, Done):
                attempt.take_answer(reply)
        self.after_beat()

    def preempt(self) -> None:
        """Ask the open trial to hand back its state, and begin no other."""
        attempt = self._open
        self.draining = True
        if attempt is not None:
            attempt.stop = PREEMPTED
