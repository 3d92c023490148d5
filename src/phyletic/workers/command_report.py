"""The report file of a command: JSON lines, read while the process appends them."""

from __future__ import annotations

import json
from pathlib import Path

from phyletic.errors import InvalidArgument, ReportInvalid
from phyletic.workers.live_trial import LiveTrial, attempt_of, check_steps

_SHOWN = 200


class Report:
    """The lines that a process has appended, each reported for its trial once it is complete.

    Args:
        path: The report file, which this object creates.
        trial: The trial.
        command: The command, for errors.

    Attributes:
        path: The report file.
        metrics: Names of the values so far.
    """

    def __init__(self, path: Path, trial: LiveTrial, command: str) -> None:
        self.path = path
        self.metrics: set[str] = set()
        self._trial = trial
        self._command = command
        self._read = 0
        self._rest = b""
        self._lines = 0
        path.touch()

    def take(self, *, last: bool = False) -> None:
        """Report the lines that were completed since the last call.

        Args:
            last: Whether the process has ended well, so that a line without a newline is complete too.

        Raises:
            ReportInvalid: A line is not a JSON object of numbers, or the file lost what it had.
        """
        try:
            with self.path.open("rb") as file:
                # a process that truncates the file would have lines skipped without a word
                length = file.seek(0, 2)
                file.seek(min(self._read, length))
                new = file.read()
        except OSError as error:
            raise ReportInvalid(f"the report of the command {self._command} cannot be read: {error}") from error
        if length < self._read:
            raise ReportInvalid(
                f"the command {self._command} made its report file shorter: it must open the file to append to it"
            )
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        if last:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._lines += 1
            if line.strip():
                self._say(line)

    def _say(self, line: bytes) -> None:
        trial = self._trial
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._invalid(line, f"not JSON ({error})") from None
        if not isinstance(said, dict):
            raise self._invalid(line, 'not a JSON object such as {"score": 0.3, "step": 7}')
        step, steps_done = said.pop("step", None), said.pop("steps_done", None)
        for name, value in said.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self._invalid(line, f"not an object of numbers: {name!r} has another value")
        try:
            if step is not None:
                # steps count along the lineage
                step = check_steps("step", step, trial.start_step)
                attempt_of(trial).steps_counted = step - trial.start_step
            trial.report(said, step=step, steps_done=steps_done)
        except InvalidArgument as error:
            raise self._invalid(line, f"wrong: {error}") from None
        self.metrics.update(said)

    def _invalid(self, line: bytes, what: str) -> ReportInvalid:
        text = line.decode(errors="backslashreplace").strip()
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        return ReportInvalid(
            f"the command {self._command} wrote line {self._lines} of the report of trial {self._trial.number}, which "
            f"is {what}: {shown}"
        )
