"""Training replay: one model trained from scratch through a schedule.

It separates a good schedule from lucky weights (Li et al. 2019, arXiv 1902.01894, section on training replay).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phyletic.errors import InvalidArgument
from phyletic.evolution import Population, Reads
from phyletic.evolution.arguments import check_integer, check_sequence
from phyletic.randomness import RandomStream, trial_seed
from phyletic.records import Budget, Change, Decision, Suggestion, Trial, Value
from phyletic.space import Space
from phyletic.study.schedule import Schedule, load_schedule
from phyletic.workers.run_options import RunOptions

if TYPE_CHECKING:
    from phyletic.study.study import Study


@dataclass(frozen=True)
class ScheduleReplay:
    """Members that each follow a schedule, a trial for each segment.

    Args:
        segments: Steps and hyperparameters, as in :class:`Schedule`.
        population: Number of members.
        seeds: A seed for each member's training code; empty to derive it from the study's.
    """

    segments: tuple[dict[str, Any], ...]
    population: int = 1
    seeds: tuple[int, ...] = ()
    synchronous: ClassVar[bool] = True
    reads: ClassVar[Reads] = Reads()

    def population_size(self, space: Space) -> int:
        """Return ``population``."""
        return self.population

    def birth(
        self,
        space: Space,
        member: int,
        given: Mapping[str, Any] | None,
        design_row: Sequence[float] | None,
        stream: RandomStream,
    ) -> Suggestion:
        """Begin the first segment."""
        return self._segment(None, member, 0)

    def suggest(self, population: Population, member: int, stream: RandomStream) -> Suggestion:
        """Go on from the end of the latest trial: with the next segment, or the rest of an unfinished one."""
        head = population.members[member].trial
        return self._segment(head, member, 0 if head is None else head.generation + 1)

    def _segment(self, parent: Trial | None, member: int, generation: int) -> Suggestion:
        """Suggest a member's next segment.

        Args:
            parent: Its latest trial; None at its birth.
            member: The member.
            generation: How many segments it has ended.
        """
        step = 0 if parent is None or parent.end_step is None else parent.end_step
        segment = next(segment for segment in self.segments if step < segment["end_step"])
        before: Mapping[str, Value] = {} if parent is None else parent.hyperparameters
        values = dict(segment["hyperparameters"])
        changes = tuple(
            Change(path, before.get(path), value, "schedule")
            for path, value in values.items()
            if parent is not None and before.get(path) != value
        )
        return Suggestion(
            parent=None if parent is None else parent.number,
            hyperparameters=values,
            decision=Decision(kind="birth" if parent is None else "continue", changes=changes, note="replay"),
            steps=segment["end_step"] - step,
            seed=trial_seed(self.seeds[member], generation) if self.seeds else None,
        )


def replay(
    study: Study,
    train: Callable[[Any], object],
    schedule: Schedule | str | Path,
    *,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    workers: int | None = None,
    storage: str | Path | None = None,
) -> Study:
    """Train once through a schedule; see :meth:`Study.replay`.

    Args:
        study: The study.
        train: The training code.
        schedule: The schedule, or a file of it.
        seed: Of the training code's randomness; drawn by default.
        seeds: A seed for each of several models.
        workers: As for :meth:`Study.run`.
        storage: Where to store the new study.

    Raises:
        InvalidArgument: The schedule is empty, or both ``seed`` and ``seeds`` are given; for the schedule's values, an
            InvalidSpace that names the parameter.
    """
    from phyletic.study.study import Study

    if not callable(train):
        raise InvalidArgument("train", train, "a function that loops over trials")
    if seeds is not None:
        if seed is not None:
            raise InvalidArgument("seed", seed, "left out if seeds is given")
        seeds = list(check_sequence("seeds", seeds, "a list of seeds, such as [1, 2, 3]"))
        for place, one in enumerate(seeds):
            check_integer(f"seeds[{place}]", one, 0)
        if not seeds:
            raise InvalidArgument("seeds", seeds, "a list of at least one seed")
    workers = RunOptions(workers=workers).count
    loaded = load_schedule(schedule)
    if not loaded.segments:
        raise InvalidArgument("schedule", loaded, "of at least one segment")
    first = loaded.segments[0].start_step
    segments = tuple(
        {
            "start_step": segment.start_step - first,
            "end_step": segment.end_step - first,
            "hyperparameters": study.space.validate(segment.hyperparameters),
        }
        for segment in loaded.segments
    )
    replayed = Study(
        f"replay of {study.name}"[:200],
        space=study.space,
        metric=[metric.name for metric in study.metrics],
        mode=[metric.mode for metric in study.metrics],
        algorithm=ScheduleReplay(segments, len(seeds or [0]), tuple(seeds or ())),
        budget=Budget(steps=loaded.steps),
        seed=seeds[0] if seeds else seed,
        storage=storage,
    )
    if workers:
        replayed.run(train, workers=workers, verbose=0)
    else:
        train(replayed)
    return replayed
