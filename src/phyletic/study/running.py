"""Running a study to the end of its budget, in this process or in local workers."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from phyletic.coordinator.budget import failure_cap, stop_reason
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.errors import CheckpointError, InvalidArgument, MissingDependency, NotFound, StudyFailed, TrainingError
from phyletic.records import StudyChange, Trial, TrialState
from phyletic.study.callbacks import call_back
from phyletic.study.display import LiveDisplay
from phyletic.study.first_failure import FirstFailure, last_line
from phyletic.study.progress import Progress, summary_lines
from phyletic.study.snapshot import Snapshots
from phyletic.workers.attempt import worth_another_attempt
from phyletic.workers.interrupts import Interrupts, SignalExit
from phyletic.workers.loop import Trials
from phyletic.workers.not_a_trial import LOOP
from phyletic.workers.ray_workers import RayWorkers
from phyletic.workers.run_options import RunOptions
from phyletic.workers.seeding import preserved_random_states

if TYPE_CHECKING:
    from phyletic.study.study import Study

Ending = Literal["finished", "stopped", "interrupted", "terminated"]
"""Why a run ended: the budget was used up, :meth:`Study.stop`, Ctrl-C, or another signal."""


def run(
    study: Study,
    train: Callable[[Any], object],
    options: RunOptions,
    held: Callable[[], tuple[Sequence[int], Sequence[int]]],
    callbacks: Sequence[Any] = (),
    on_signal: Literal["raise", "return"] = "raise",
) -> Ending:
    """Run the training code until the budget is used up; see :meth:`Study.run`.

    Args:
        study: The study.
        train: The training code.
        options: How to run it.
        held: Returns the numbers of the trials that were asked for and are not told: in this thread, and in others.
        callbacks: Objects whose methods are called with each committed change.
        on_signal: Whether a signal that ended the run has its own effect afterwards, or only ends the run.

    Returns:
        Why the run ended.
    """
    if not callable(train):
        raise InvalidArgument("train", train, "a function that loops over trials")
    address = "" if options.count == 0 else _address(study, options)
    if options.ray is not None:
        _check_ray(study, options.ray)
    interrupts = Interrupts(study.identity.uuid, once=options.count == 0)
    with LiveDisplay(verbose=options.verbose) as display:
        if study.control.budget.unlimited:
            display.line("the study has no budget, so it runs until Ctrl-C: ph.Budget(steps=...) would end it")
        _check_what_is_held(*held(), display)
        source = study.source(
            reload=options.reload, upload=options.upload, supervised=True
        )  # takes ownership before anything starts
        source.enter()
        shown = Snapshots(study.owner, study.storage, display)

        def tell(changes: Sequence[StudyChange]) -> None:
            for change in changes:
                call_back(callbacks, study, change.kind, change)

        failures = FirstFailure(study.owner.state)
        listening = [failures.take, *([shown.take] if options.verbose else []), *([tell] if callbacks else [])]
        ends = [study.owner.feed.call(function) for function in listening]
        stopped, cap = "", 0
        if options.verbose:
            source.after_beat = shown.refresh
        try:
            if options.count == 0:
                _run_here(train, source, display, interrupts, failures)
            else:
                from phyletic.workers.run_workers import run_workers

                run_workers(
                    OwnerChannel(study.owner),
                    train,
                    options,
                    space=study.identity.space,
                    checkpoints=address,
                    logs=study.logs,
                    announce=display.line,
                    interrupts=interrupts,
                    check=failures.check,
                    watch=shown.refresh if options.verbose else lambda starting: None,
                )
        finally:
            if not source.forked:
                if study.owner.begun:
                    stopped, cap = stop_reason(study.owner.state), failure_cap(study.owner.state)
                for end in ends:
                    end()
                if study.owner.begun:
                    shown.show()
                source.end()
    if stopped:
        raise StudyFailed(_failures(study, stopped, cap))
    call_back(callbacks, study, "finished")
    _summarise(study, shown.latest, display)
    return _ended(study, interrupts, display, on_signal)


def _address(study: Study, options: RunOptions) -> str:
    """Return the address at which workers in other processes find the checkpoints.

    Args:
        study: The study.
        options: How it is to run.

    Raises:
        InvalidArgument: No other process can reach them.
    """
    try:
        return study.checkpoints.address
    except CheckpointError as error:
        raise InvalidArgument("workers", options.count, f"0: {error}") from None


def _check_ray(study: Study, workers: RayWorkers) -> None:
    """Join a cluster of Ray, and raise an error before anything is written if it cannot run the study.

    Args:
        study: The study.
        workers: The workers.
    """
    if workers.gang > 1 and getattr(study.algorithm, "interval_seconds", None) is not None:
        hint = "The ranks would not end a trial at the same step: give the algorithm interval=..., in steps"
        raise InvalidArgument("gang", workers.gang, "1 where the interval is in seconds", hint)
    if find_spec("ray") is None:
        raise MissingDependency("ray", "ray", "workers=RayWorkers(...)")
    from phyletic.workers.ray_cluster import join_cluster

    join_cluster(workers)


def _ended(study: Study, interrupts: Interrupts, display: LiveDisplay, on_signal: Literal["raise", "return"]) -> Ending:
    """Say how the study goes on, and let a signal that ended the run have its own effect.

    Args:
        study: The study.
        interrupts: What came during the run.
        display: Where to say it.
        on_signal: As for :func:`run`.
    """
    number = interrupts.signalled
    ending: Ending = "interrupted" if number == signal.SIGINT else "terminated" if number else "stopped"
    if study.finished:
        ending = "finished"
    else:
        again = "it is in memory, and lost with this process" if study.database.private else "run it again to go on"
        display.line(f"{ending} before the end of study {study.name!r}: {again}")
    if number and on_signal == "raise":
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SignalExit(number, finished=ending == "finished")
    return ending


def _check_what_is_held(here: Sequence[int], elsewhere: Sequence[int], display: LiveDisplay) -> None:
    """Refuse to wait for trials that only this thread can tell, and announce those that other threads hold.

    Args:
        here: Numbers of the trials that this thread asked for and has not told.
        elsewhere: Numbers of those that other threads asked for.
        display: Where to show messages.
    """
    if here:
        raise TrainingError(
            f"trials that this thread asked for are not told yet: {', '.join(map(str, here))}. The run would wait for "
            "them for ever: tell or fail them first, or give them back by study.close()"
        )
    if elsewhere:
        display.line(f"waiting, in the end, for trials that other threads asked for: {', '.join(map(str, elsewhere))}")


def _run_here(
    train: Callable[[Any], object],
    source: Trials,
    display: LiveDisplay,
    interrupts: Interrupts,
    failures: FirstFailure,
) -> None:
    """Call the training code in this process, again after an exception, until there are no more trials.

    Args:
        train: The training code.
        source: Its source of trials.
        display: Where to show exceptions.
        interrupts: Requests to end the run; this function enters it.
        failures: Knows whether an exception is the study's first.
    """

    def heed(interrupts: Interrupts) -> None:
        if interrupts.stopping or interrupts.terminated is not None:
            source.preempt()
        elif not source.draining:
            source.draining = True
            display.line("finishing the running trial; press Ctrl-C again to stop now")

    interrupts.heed = heed
    told: Counter[str] = Counter()
    with preserved_random_states(), interrupts:
        while source.finished is None:
            granted = source.granted
            try:
                train(source)
            except BaseException as error:
                source.abort(error)
                # an exception before the first trial would come again; nobody would see one after the last
                over = source.granted == granted or source.finished is not None or failures.error is not None
                if over or source.forked or not worth_another_attempt(error):
                    raise
                text = "".join(traceback.format_exception(error)).rstrip()
                told[text] += 1
                display.line(text if told[text] == 1 else f"the same again, {told[text]} times now: {last_line(text)}")
            else:
                source.close()
                if source.finished is None and source.granted == granted:
                    raise InvalidArgument(
                        "train", train, "a function that loops over the trials it is given", f"It gets {LOOP}"
                    )


def _failures(study: Study, stopped: str, cap: int) -> str:
    """Return the report of a study that stopped because trials failed: each error once, with its trials.

    Args:
        study: The study.
        stopped: Why it stopped.
        cap: How many of the latest failed trials to report.
    """
    failed = [trial for trial in study.trials() if trial.error and trial.state is not TrialState.COMPLETED]
    by_error: dict[str, list[Trial]] = {}
    for trial in failed[-cap:]:
        by_error.setdefault((trial.error or "").strip(), []).append(trial)
    lines = [f"study {study.name!r} stopped: {stopped}. It goes on when it is run again. The failures:"]
    for text, trials in by_error.items():
        who = ", ".join(f"trial {trial.number} of member {trial.member} (attempt {trial.attempts})" for trial in trials)
        lines.append(f"\n{who}:\n{text}")
    return "\n".join(lines)


def _summarise(study: Study, progress: Progress, display: LiveDisplay) -> None:
    """Show the result of a run: the best trial, its lineage and its checkpoint.

    Args:
        study: The study.
        progress: The last snapshot.
        display: Where to show messages.
    """
    best = progress.best
    places = {}
    if best is not None and best.checkpoint is not None:
        try:
            places["checkpoint"] = str(study.checkpoints.path(best.checkpoint.id))
        except (NotFound, CheckpointError) as error:
            places["checkpoint"] = f"gone; {error}"
    for line in summary_lines(progress, [] if best is None else study.lineage(best), places):
        display.line(line)
