"""Running a study to the end of its budget, in this process or in local workers."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phyletic.coordinator.budget import failure_cap, stop_reason
from phyletic.errors import CheckpointError, InvalidArgument, NotFound, StudyFailed, TrainingError
from phyletic.evolution.arguments import check_number, check_one_of, check_sequence
from phyletic.records import StudyChange, TrialState
from phyletic.study.display import LiveDisplay
from phyletic.study.progress import Progress, summary_lines
from phyletic.study.snapshot import Snapshots
from phyletic.workers.environment import check_devices, check_environment
from phyletic.workers.interrupts import Interrupts, ThreadInterrupt
from phyletic.workers.iteration import give_back_elsewhere
from phyletic.workers.loop import Trials, worth_another_attempt
from phyletic.workers.trial import check_steps

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["run"]

_SHOW_SECONDS = 0.1


def run(
    study: Study,
    train: Callable[[Any], object],
    *,
    workers: int | None,
    devices: Sequence[object] | None,
    threads: int | None,
    reload: str,
    verbose: int,
    trial_timeout: float | None,
    grace: float,
    environment: Mapping[str, str] | None,
    held: Callable[[], tuple[Sequence[int], Sequence[int]]],
) -> None:
    """Run the training code until the budget is used up; see :meth:`Study.run`.

    What was asked for and is not told yet is in ``held()``: in this thread, and in others.
    """
    count = _check(study, train, workers, devices, trial_timeout, grace)
    check_environment(threads, environment)
    check_one_of("reload", reload, ("changed", "always"))
    with LiveDisplay(verbose=verbose) as display:
        _check_what_is_held(*held(), display)
        source = study.source(reload=reload, supervised=True)  # takes ownership before anything starts
        while give_back_elsewhere(source):
            pass
        snapshots = Snapshots(study.owner, study.storage)
        shown = 0.0
        latest = snapshots.now()
        stopped, cap = "", 0

        def watch(changes: Sequence[StudyChange]) -> None:
            nonlocal shown, latest
            for trial, instead in snapshots.take_in(changes):
                display.note(trial, instead)
            now = time.monotonic()
            if now - shown >= _SHOW_SECONDS:
                shown = now
                latest = snapshots.now()
                display.update(latest)

        end = study.owner.feed.call(watch) if verbose else (lambda: None)
        try:
            if count == 0:
                _run_here(study, train, source, grace, display)
            else:
                from phyletic.study.running_workers import run_workers

                run_workers(
                    study,
                    train,
                    workers=count,
                    devices=devices,
                    threads=threads,
                    reload=reload,
                    trial_timeout=trial_timeout,
                    grace=grace,
                    environment=environment,
                    display=display,
                )
        finally:
            if not source.forked:
                if study.owner.begun:
                    stopped, cap = stop_reason(study.owner.state), failure_cap(study.owner.state)
                    if verbose:
                        latest = snapshots.now()
                        display.update(latest)
                end()
                source.end()
    if stopped:
        raise StudyFailed(_failures(study, stopped, cap))
    if verbose:
        _summarise(study, latest, display)


def _check(
    study: Study,
    train: Callable[[Any], object],
    workers: int | None,
    devices: Sequence[object] | None,
    trial_timeout: float | None,
    grace: float,
) -> int:
    if not callable(train):
        raise InvalidArgument("train", train, "a function that loops over trials")
    if devices is not None:
        devices = check_sequence("devices", devices, "a list such as [0, 1], or None")
    count = workers if workers is not None else len(devices or ())
    count = check_steps("workers", count, 0)
    if count == 0 and trial_timeout is not None:
        raise InvalidArgument(
            "trial_timeout", trial_timeout, "None with workers=0: in this process nothing can be killed"
        )
    if count > 10_000:
        raise InvalidArgument("workers", count, "at most 10000")
    check_devices(devices, count or len(devices or ()))
    if trial_timeout is not None:
        check_number("trial_timeout", trial_timeout, above=0)
    check_number("grace", grace, above=0)
    if study.control.budget.unlimited:
        raise InvalidArgument(
            "budget", study.control.budget, "limited, to run a study to its end: ph.Budget(steps=...)"
        )
    return count


def _check_what_is_held(here: Sequence[int], elsewhere: Sequence[int], display: LiveDisplay) -> None:
    """Refuse to wait for what only this thread can tell, and say what is waited for that others are to tell."""
    if here:
        raise TrainingError(
            f"trials that this thread asked for are not told yet: {', '.join(map(str, here))}. The run would wait for "
            "them for ever: tell or fail them first, or give them back by study.close()"
        )
    if elsewhere:
        display.line(f"waiting, in the end, for trials that other threads asked for: {', '.join(map(str, elsewhere))}")


def _run_here(study: Study, train: Callable[[Any], object], source: Trials, grace: float, display: LiveDisplay) -> None:
    """Call the training code in this process, anew after an exception, until there are no more trials."""
    with _Draining(study.identity.uuid, source, grace, display):
        while source.finished is None:
            granted = source.granted
            try:
                train(source)
            except Exception as error:
                source.abort(error)
                # what is raised before the first trial, or after the last, would be raised again or be lost
                over = source.granted == granted or source.finished is not None
                if over or source.forked or not worth_another_attempt(error):
                    raise
                display.line("".join(traceback.format_exception(error)).rstrip())
            except _OutOfTime as error:
                source.abort(error)
                return
            except BaseException as error:
                source.abort(error)
                raise
            else:
                source.close()
                if source.finished is None and source.granted == granted:
                    raise InvalidArgument("train", train, "a function that loops over the trials it is given")


class _OutOfTime(BaseException):
    """The training code has not handed its trial back in time, and is left."""


class _Draining(Interrupts):
    """In this process the first Ctrl-C drains, and the second raises KeyboardInterrupt in the training code.

    Whoever asks for the same (:meth:`Study.stop`) may be another thread: the one that trains is interrupted.

    A first SIGTERM asks for the running trial. After the seconds of grace there is a second one, from here if from
    nowhere else, which leaves the training code.
    """

    def __init__(self, study: str, source: Trials, grace: float, display: LiveDisplay) -> None:
        super().__init__(study)
        self._source = source
        self._grace = grace
        self._display = display
        self._last_word: threading.Timer | None = None
        self._over = False
        self._training = ThreadInterrupt()

    def __exit__(self, *exception: Any) -> None:
        try:
            # once the training code has been left, no signal that is still on its way shall do anything here
            self._over = True
            self._training.end()
            if self._last_word is not None:
                self._last_word.cancel()
                self._last_word.join()
        finally:
            super().__exit__(*exception)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self._over:
            return
        if self.draining:
            self._training.interrupt(by_signal=signal.SIGINT in self._before)
            return
        self.draining = self._source.draining = True
        self._display.line("finishing the running trial; press Ctrl-C again to stop now")

    def _terminate(self, number: int, frame: Any) -> None:
        if self._over:
            return
        if self.terminated is not None:
            raise _OutOfTime(f"the trial was not handed back within {self._grace:g} s")
        self.terminated = number
        self.draining = True
        self._source.preempt()
        self._last_word = threading.Timer(self._grace, os.kill, (os.getpid(), number))
        self._last_word.daemon = True
        self._last_word.start()


def _failures(study: Study, stopped: str, cap: int) -> str:
    """Return the report of a study that stopped after failures."""
    failed = [trial for trial in study.trials() if trial.error and trial.state is not TrialState.COMPLETED]
    lines = [f"study {study.name!r} stopped: {stopped}. It goes on when it is run again. The failures:"]
    for trial in failed[-cap:]:
        text = (trial.error or "").strip()
        lines.append(f"\ntrial {trial.number} of member {trial.member}, attempt {trial.attempts}:\n{text}")
    return "\n".join(lines)


def _summarise(study: Study, progress: Progress, display: LiveDisplay) -> None:
    best = progress.best
    places = {}
    if best is not None and best.checkpoint is not None:
        try:
            places["checkpoint"] = str(study.checkpoints.path(best.checkpoint.id))
        except NotFound as error:
            places["checkpoint"] = f"gone; {error}"
        except CheckpointError as error:
            places["checkpoint"] = str(error)
    for line in summary_lines(progress, [] if best is None else study.lineage(best), places):
        display.line(line)
