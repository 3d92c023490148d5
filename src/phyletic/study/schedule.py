"""The schedule of a lineage: piecewise constant hyperparameters by step."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_instance, check_sequence
from phyletic.records import Trial, Value
from phyletic.records.encodings import whole_number
from phyletic.records.notebook import html_table

if TYPE_CHECKING:
    import pandas


class Segment(msgspec.Struct, frozen=True):
    """Steps trained with the same hyperparameters.

    Attributes:
        start_step: First step.
        end_step: Step after the last one.
        hyperparameters: Values by flat path.
    """

    start_step: int
    end_step: int
    hyperparameters: dict[str, Value]

    def __post_init__(self) -> None:
        first, end = whole_number(self.start_step), whole_number(self.end_step)
        if first is None or end is None or not 0 <= first < end < 2**53:
            given = (self.start_step, self.end_step)
            raise InvalidArgument("segment", given, "a first step and a later one, whole numbers from 0 on")
        values = self.hyperparameters
        if not isinstance(values, Mapping) or not all(
            isinstance(path, str) and (value is None or isinstance(value, (bool, int, float, str)))
            for path, value in values.items()
        ):
            raise InvalidArgument("segment.hyperparameters", values, "a dictionary from paths to values")


class Schedule(msgspec.Struct, frozen=True):
    """Hyperparameters along a lineage, by step: the second result of population based training, beside the model.

    Attributes:
        segments: In the order of their steps, without gaps; neighbours differ.

    Example:
        >>> schedule = Schedule((Segment(0, 10, {"lr": 0.1}), Segment(10, 30, {"lr": 0.05})))
        >>> schedule.at(12)
        {'lr': 0.05}
        >>> print(schedule.to_csv(), end="")
        start_step,end_step,lr
        0,10,0.1
        10,30,0.05
        >>> Schedule.from_json(schedule.to_json()) == schedule
        True
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        for segment in check_sequence("segments", self.segments, "a tuple of segments"):
            check_instance("segments", segment, Segment, "a tuple of segments")
        steps = [(segment.start_step, segment.end_step) for segment in self.segments]
        if any(before[1] != after[0] for before, after in itertools.pairwise(steps)):
            raise InvalidArgument("segments", steps, "in order and without gaps")

    @classmethod
    def of(cls, lineage: Sequence[Trial]) -> Schedule:
        """Return the schedule of a lineage, root first; trials that changed nothing are joined."""
        segments: list[Segment] = []
        for trial in lineage:
            if trial.end_step is None or trial.end_step == trial.start_step:
                continue
            last = segments[-1] if segments else None
            if last is not None and last.hyperparameters == trial.hyperparameters:
                segments[-1] = Segment(last.start_step, trial.end_step, last.hyperparameters)
            else:
                segments.append(Segment(trial.start_step, trial.end_step, dict(trial.hyperparameters)))
        return cls(tuple(segments))

    @property
    def steps(self) -> int:
        """Steps it covers."""
        return self.segments[-1].end_step - self.segments[0].start_step if self.segments else 0

    @property
    def paths(self) -> list[str]:
        """Paths of all hyperparameters that occur in it, in order."""
        return list(dict.fromkeys(path for segment in self.segments for path in segment.hyperparameters))

    def at(self, step: int) -> dict[str, Value]:
        """Return the hyperparameters with which a step was trained.

        Args:
            step: From the first segment's ``start_step`` to below the last one's ``end_step``.

        Raises:
            InvalidArgument: The schedule does not cover the step.
        """
        number = whole_number(step)
        for segment in self.segments:
            if number is not None and segment.start_step <= number < segment.end_step:
                return dict(segment.hyperparameters)
        raise InvalidArgument("step", step, f"one of the {self.steps} steps of the schedule")

    def to_json(self) -> str:
        """Return it as JSON: ``{"segments": [{"start_step", "end_step", "hyperparameters"}, ...]}``."""
        return json.dumps(msgspec.to_builtins(self), indent=2)

    def to_csv(self) -> str:
        """Return it as CSV: a row a segment, a column a hyperparameter, empty if the segment lacks it."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["start_step", "end_step", *self.paths])
        for segment in self.segments:
            values = [segment.hyperparameters.get(path, "") for path in self.paths]
            writer.writerow([segment.start_step, segment.end_step, *values])
        return text.getvalue()

    def _repr_html_(self) -> str:
        """Return a table for notebooks: a row a segment, a column a hyperparameter."""
        rows = [
            [f"{one.start_step} to {one.end_step}", *(one.hyperparameters.get(path) for path in self.paths)]
            for one in self.segments
        ]
        return html_table(f"schedule of {self.steps} steps", ["steps", *self.paths], rows)

    def save(self, path: str | Path) -> None:
        """Write it to a file ending in ``.json`` or ``.csv``.

        Raises:
            InvalidArgument: The file's name has another ending, or the file cannot be written.
        """
        allowed = "a file name ending in .json or .csv, in a folder that exists"
        target = local_path("path", path, allowed)
        write = {".json": self.to_json, ".csv": self.to_csv}.get(target.suffix)
        if write is None:
            raise InvalidArgument("path", str(path), allowed)
        try:
            target.write_text(write())
        except OSError as error:
            raise InvalidArgument("path", str(path), f"{allowed} ({error.strerror})") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Schedule:
        """Read the JSON that :meth:`to_json` returns.

        Raises:
            InvalidArgument: The text is not a schedule.
        """
        if not isinstance(text, (str, bytes)):
            raise InvalidArgument("text", text, "a schedule as JSON")
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidArgument("text", text[:80], f"a schedule as JSON ({error})") from None

    def to_dataframe(self) -> pandas.DataFrame:
        """Return it as a pandas data frame: a row a segment, a column a hyperparameter."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependency("pandas", "pandas", "a schedule as a data frame") from None
        rows = [
            {"start_step": segment.start_step, "end_step": segment.end_step, **segment.hyperparameters}
            for segment in self.segments
        ]
        return pd.DataFrame(rows, columns=["start_step", "end_step", *self.paths])


def load_schedule(schedule: Schedule | str | Path) -> Schedule:
    """Return a schedule as it is, or read it from its JSON file.

    Raises:
        InvalidArgument: The file cannot be read, or holds no schedule.
    """
    if isinstance(schedule, Schedule):
        return schedule
    allowed = "a Schedule, or a file that Schedule.save wrote as JSON"
    path = local_path("schedule", schedule, allowed)
    try:
        return Schedule.from_json(path.read_bytes())
    except OSError as error:
        raise InvalidArgument("schedule", str(schedule), f"{allowed} ({error.strerror})") from None
