"""A command as training code: one process of a program, in any language, runs each trial.

The program reads a JSON file, or its arguments, and appends JSON lines to another file; docs/guide.md has the contract.
:class:`Command` is an ordinary training function, so that workers, retries, timeouts and stored results are those of
all training code.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phyletic.coordinator.messages import HOPELESS
from phyletic.errors import CommandFailed, HyperparameterUnused, InvalidArgument, MetricMissing, TrainingError
from phyletic.evolution.arguments import check_sequence
from phyletic.space import Space
from phyletic.space.paths import nest
from phyletic.workers.attempt import LOST, Attempt
from phyletic.workers.command_process import CommandProcess
from phyletic.workers.command_report import Report
from phyletic.workers.command_template import check_names, fill, names_in
from phyletic.workers.live_trial import LiveTrial, attempt_of
from phyletic.workers.process_tree import Lifeline
from phyletic.workers.run_options import RunOptions, run_variables

JOB = "PHYLETIC_JOB"
"""The environment variable that names the job file."""
HANDED_BACK = 75
"""The exit status by which a command hands its trial back (EX_TEMPFAIL of sysexits.h)."""
FACTS = (
    "trial",
    "member",
    "generation",
    "start_step",
    "steps",
    "seconds",
    "seed",
    "load_from",
    "save_to",
    "report",
)
"""What the job file has beside the hyperparameters, and what a template may name beside them."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Command:
    """A training function that runs one process of a program for each trial.

    Args:
        argv: The program and its arguments, which may have placeholders.
        metric: The metric that ranks a trial.
        grace: Seconds from SIGTERM until the process is killed.
        variables: Environment variables of the process, beside those of this one.
    """

    argv: tuple[str, ...]
    metric: str
    grace: float = 10.0
    variables: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = shlex.join(self.argv)
        return f"`{shown if len(shown) <= 200 else shown[:197] + '...'}`"

    def __call__(self, trials: Iterable[LiveTrial]) -> None:
        """Run the trials, one after another.

        Raises:
            CommandFailed: The process failed; the trial is worth another attempt.
            TrainingError: The command broke its contract.
            InvalidArgument: The command cannot be started.
        """
        with contextlib.closing(Lifeline()) as lifeline:
            for trial in trials:
                self._run(trial, lifeline)

    def _run(self, trial: LiveTrial, lifeline: Lifeline) -> None:
        with tempfile.TemporaryDirectory(prefix="phyletic-", ignore_cleanup_errors=True) as folder:
            report = Report(Path(folder) / "report.jsonl", trial, str(self))
            process = self._start(trial, Path(folder) / "job.json", report.path, lifeline)
            try:
                asked = self._watch(process, trial, report)
            finally:
                process.end()
            report.take(last=process.status in (0, HANDED_BACK))
            self._conclude(trial, process, report, asked)

    def _start(self, trial: LiveTrial, job_file: Path, report: Path, lifeline: Lifeline) -> CommandProcess:
        hyperparameters = dict(trial.record.hyperparameters)
        facts = _facts(trial, report)
        self._check_parent(trial)
        named = {name for argument in self.argv for name in names_in(argument)} - set(FACTS)
        for path in named & hyperparameters.keys() or hyperparameters:
            trial[path]  # reading it notes that it is used
        job_file.write_text(
            json.dumps({**facts, "hyperparameters": hyperparameters, "nested": nest(hyperparameters)}, indent=1)
        )
        environment = {**os.environ, **self.variables, JOB: str(job_file)}
        try:
            return CommandProcess(fill(self.argv, {**hyperparameters, **facts}), environment, lifeline)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC):
                raise CommandFailed(f"the command {self} of trial {trial.number} could not start: {error}") from error
            hint = "Begin a script with a line such as #!/bin/sh, and make it executable, or name its interpreter"
            allowed = f"a program that can be started; it could not: {error.strerror}"
            raise InvalidArgument("command", list(self.argv), allowed, hint) from error

    def _check_parent(self, trial: LiveTrial) -> None:
        """Raise TrainingError if the parent left nothing, because the command would start afresh without a word."""
        left = trial.load_from
        if not trial.newborn and (left is None or (left.is_dir() and not any(left.iterdir()))):
            raise TrainingError(
                f"trial {trial.number} starts from trial {trial.parent}, but the command {self} left nothing in the "
                "folder save_to at the end of that trial: it must save there what it needs to continue"
            )

    def _watch(self, process: CommandProcess, trial: LiveTrial, report: Report) -> bool:
        """Follow a process to its end; return whether it was asked to stop."""
        deadline: float | None = None
        while process.running:
            process.wait(_POLL_SECONDS)
            report.take()
            if deadline is None and trial.should_stop:
                deadline = time.monotonic() + self.grace
                process.terminate()
            elif deadline is not None and time.monotonic() > deadline:
                process.end()
        return deadline is not None

    def _conclude(self, trial: LiveTrial, process: CommandProcess, report: Report, asked: bool) -> None:
        """Say to the loop what the end of a process means for its trial."""
        attempt = attempt_of(trial)
        if attempt.stop == LOST:
            _drop(attempt)
        elif process.status == 0 and not (asked and self._is_cut_short(attempt, report)):
            said = attempt.steps_reported or (asked and attempt.steps_counted)
            if not said and trial.steps is not None:
                attempt.steps_counted = trial.steps
            self._check_complete(trial, report, asked)
        elif process.status in (0, HANDED_BACK):
            self._hand_back(trial, process, asked)
        elif not asked:
            raise CommandFailed(self._ended(trial, process))
        elif attempt.stop == HOPELESS:
            # the member takes over another's weights, so what it left half written is of no use
            shutil.rmtree(trial.save_to, ignore_errors=True)
            trial.save_to.mkdir(exist_ok=True)
        else:
            _drop(attempt)

    def _is_cut_short(self, attempt: Attempt, report: Report) -> bool:
        """Whether a process that was asked to hand back ended before its interval did.

        Args:
            attempt: The attempt.
            report: What the process reported.
        """
        if attempt.stop == HOPELESS:
            return False
        if attempt.record.steps is None or attempt.steps_done is None:
            return self.metric not in report.metrics
        return attempt.steps_done < attempt.record.steps

    def _check_complete(self, trial: LiveTrial, report: Report, asked: bool) -> None:
        if attempt_of(trial).steps_trained is None:
            raise TrainingError(
                f"the command {self} ended trial {trial.number} with status 0, but no line of its report has a step or "
                "steps_done, which tell how far it came in an interval of seconds"
            )
        if asked or self.metric in report.metrics:
            return
        shown = ", ".join(sorted(report.metrics)) or "nothing"
        raise MetricMissing(
            f"the command {self} ended trial {trial.number} with status 0, but without a report of {self.metric!r}, "
            f"the metric this study ranks by; reported was: {shown}. Append a line such as "
            f"{json.dumps({self.metric: 0.3})} to the report file, whose name is in the job file (PHYLETIC_JOB) and in "
            "the placeholder {report}"
        )

    def _hand_back(self, trial: LiveTrial, process: CommandProcess, asked: bool) -> None:
        attempt = attempt_of(trial)
        lacks = "no line of its report has a step above start_step, or steps_done" if not attempt.steps_done else ""
        if not lacks and not any(trial.save_to.iterdir()):
            lacks = "the folder save_to is empty"
        if not lacks:
            attempt.handed_back = attempt.stop != HOPELESS
        elif asked:
            _drop(attempt)
        else:
            raise CommandFailed(f"{self._ended(trial, process)}\nIt handed nothing back: {lacks}")

    def _ended(self, trial: LiveTrial, process: CommandProcess) -> str:
        how = f"ended with status {process.status}"
        if process.status < 0:
            number = -process.status
            name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
            how = f"was killed by signal {number} ({name})"
        wrote = f"the end of its standard error:\n{process.errors}" if process.errors else "it wrote no standard error"
        return f"the command {self} of trial {trial.number} {how}; {wrote}"


def _drop(attempt: Attempt) -> None:
    """Have the loop give back a trial that was asked to stop as it was before this attempt."""
    attempt.steps_counted, attempt.steps_reported = 0, None


def make_command(command: object, space: Space, metric: str, options: RunOptions) -> Command:
    """Return the training function of a command, after a check of all that can be checked before a trial begins.

    Args:
        command: The program and its arguments.
        space: The study's search space.
        metric: The metric that ranks a trial.
        options: How it is run.

    Raises:
        InvalidArgument: It is not a list of texts, a placeholder is unknown, or the program does not exist.
        HyperparameterUnused: The arguments name some hyperparameters and not all that may change.
    """
    allowed = 'a list of texts, such as ["python", "train.py"]'
    hint = "A text is split by shlex.split(text), which no shell sees" if isinstance(command, str) else ""
    if isinstance(command, str) or not (argv := check_sequence("command", command, allowed)):
        raise InvalidArgument("command", command, allowed, hint)
    for index, argument in enumerate(argv):
        if not _is_argument(argument) or (index == 0 and not argument):
            raise InvalidArgument(f"command[{index}]", argument, "a text without NUL; the first names a program")
    if names_in(argv[0], "command[0]"):
        raise InvalidArgument("command[0]", argv[0], "a program's name without placeholders")
    paths = [*space.parameters, *space.constants]
    named = check_names(argv, FACTS, paths)
    unnamed = [f"{{{one.path}}}" for one in space.parameters.values() if not one.fixed and one.path not in named]
    if named and unnamed:
        raise HyperparameterUnused(
            f"the command's arguments name {{{min(named)}}} but not {', '.join(unnamed)}, so exploring that would "
            "change nothing. Name every hyperparameter that may change; or none, and read them from the job file; or "
            "mark those that only matter at birth fixed=True"
        )
    path = (options.environment or {}).get("PATH", os.environ.get("PATH"))
    if shutil.which(argv[0], path=path) is None:
        where = "in a place that exists" if os.sep in argv[0] else f"in one of the folders of PATH ({path})"
        hint = "Give the path of the program, or put its folder into PATH; sys.executable is this Python"
        raise InvalidArgument("command", list(argv), f"a program that is found and executable, {where}", hint)
    # workers have these variables already
    variables = run_variables(options, 0) if options.count == 0 else {}
    return Command(tuple(argv), metric, options.grace, variables)


def _is_argument(argument: object) -> bool:
    try:
        return isinstance(argument, str) and b"\0" not in os.fsencode(argument)
    except UnicodeEncodeError:
        return False


def _facts(trial: LiveTrial, report: Path) -> dict[str, Any]:
    """Return what the job file has beside the hyperparameters."""
    parent = trial.load_from
    facts = (
        trial.number,
        trial.member,
        trial.generation,
        trial.start_step,
        trial.steps,
        trial.record.seconds,
        trial.seed,
        None if parent is None else str(parent.absolute()),
        str(trial.save_to.absolute()),
        str(report),
    )
    return dict(zip(FACTS, facts, strict=True))
