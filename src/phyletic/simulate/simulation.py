"""Simulating a study: the real owner and algorithm under a virtual clock, with synthetic training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from phyletic.coordinator.control import check_control, check_count
from phyletic.coordinator.messages import Control, Pin
from phyletic.errors import InvalidArgument
from phyletic.evolution import Algorithm
from phyletic.evolution.algorithm import check_algorithm
from phyletic.evolution.arguments import (
    check_flag,
    check_instance,
    check_integer,
    check_number,
    check_one_of,
    check_seed,
    check_sequence,
)
from phyletic.evolution.codec import algorithm_to_json
from phyletic.records import Budget, Metric, StudyControl, StudyIdentity, Trial, TrialState
from phyletic.records.frames import trials_dataframe
from phyletic.simulate.curve import SPACE, DriftingCurve
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.incidents import Incidents
from phyletic.simulate.simulated_disk import SimulatedDatabase
from phyletic.simulate.simulated_study import SimulatedStudy
from phyletic.simulate.world import World
from phyletic.space import Float, Space
from phyletic.storage import queries
from phyletic.storage.writing import create_study

if TYPE_CHECKING:
    import pandas

_NAME = "simulation"


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The outcome of a simulated study.

    Attributes:
        wall_seconds: Virtual time from the start to the last result.
        utilisation: The share of the workers' time that went into accepted results, from 0 to 1.
        regret: The best loss minus the least that any schedule reaches in the steps of the budget (or, without such a
            budget, in the steps of the oldest trial); infinite without a finite result.
        exploits: Trials that took another member's checkpoint or hyperparameters.
        completed: Trials that ended with a score.
        attempts: Grants of all trials.
        losses: Attempts that were lost with their worker.
        failures: Attempts that raised.
        member_steps: Steps trained, over all trials with a result.
        owners: How many owners the study had: one, and one more for each that died.
        events: How many events happened.
        digest: A digest of all events in their order; the same arguments give the same one.
        violations: What did not hold, in words; the simulation ended there.
        finished: Why no trial was left in the end, as the owner told a worker that asked.
        seed: The seed.
        space: The search space.
        incidents: What went wrong, and how often.
    """

    wall_seconds: float
    utilisation: float
    regret: float
    exploits: int
    completed: int
    attempts: int
    losses: int
    failures: int
    member_steps: int
    owners: int
    events: int
    digest: str
    violations: tuple[str, ...]
    finished: str
    seed: int
    space: Space
    incidents: Incidents
    _trials: tuple[Trial, ...] = field(repr=False)

    def trials(self) -> list[Trial]:
        """Return the trials, by number."""
        return list(self._trials)

    def trials_dataframe(self) -> pandas.DataFrame:
        """Return the trials as a pandas data frame: a row a trial, times in virtual seconds from 1970."""
        return trials_dataframe(self._trials, self.space)


def simulate(
    algorithm: Algorithm,
    *,
    space: Space | None = None,
    workers: int = 8,
    budget: Budget = Budget(steps=200),
    speeds: Speeds = Speeds(),
    faults: Faults = Faults(),
    controls: Sequence[tuple[float, Control | Pin]] = (),
    curve: DriftingCurve = DriftingCurve(),
    mode: Literal["min", "max"] = "min",
    max_failures: int = 3,
    max_losses: int = 10,
    keep_best: int = 1,
    messages: Literal["objects", "protobuf"] = "objects",
    check: bool = True,
    seed: int = 0,
) -> Simulation:
    """Run a study under a virtual clock: how long it would take, how busy workers would be, how good it would get.

    The owner, the algorithm and the database (in memory) are those of a real study; workers, messages, time and disks
    are simulated, and training follows a curve whose loss is inherited through checkpoints. The seed determines
    everything, so a simulation can be repeated exactly. The invariants of a study are checked after every event.

    Args:
        algorithm: Such as ``PBT(population=32, interval=10)``.
        space: The search space, with a float ``lr`` by which the curve learns; ``lr`` alone if left out.
        workers: How many workers there are in the beginning, from 1 to 1024.
        budget: How far the study goes.
        speeds: How long things take.
        faults: What may go wrong.
        controls: Changes of the budget, the population and so on, each with its time in seconds from the start.
        curve: How a member learns.
        mode: ``"min"`` reports the loss, ``"max"`` the loss with its sign changed.
        max_failures: How many attempts at a trial may raise before its member fails.
        max_losses: How many attempts at a trial may be lost before its member fails.
        keep_best: How many of the best trials keep their checkpoints.
        messages: ``"protobuf"`` has each message cross the network as the bytes that the service sends, which changes
            nothing else; it needs the extra ``service``.
        check: Whether invariants are checked.
        seed: The seed of all randomness.

    Returns:
        The outcome, with what did not hold, if anything, as its ``violations``.

    Raises:
        InvalidArgument: An argument is not allowed.

    Example:
        >>> from phyletic.evolution import PBT, RandomSearch
        >>> pbt = simulate(PBT(population=8, interval=10), workers=4)
        >>> random = simulate(RandomSearch(population=8, interval=10), workers=4)
        >>> pbt.regret < random.regret, round(random.wall_seconds), random.utilisation > 0.99
        (True, 400, True)
        >>> slow = simulate(PBT(population=8, interval=10), workers=4, speeds=Speeds(straggler=0.5), seed=1)
        >>> slow.utilisation < pbt.utilisation, slow.violations
        (True, ())
    """
    check_algorithm(algorithm)
    space = Space(SPACE) if space is None else _check_space(space)
    check_count("workers", workers, 1024)
    if not isinstance(budget, Budget) or budget.unlimited:
        raise InvalidArgument("budget", budget, "a Budget with a limit, so that the simulation ends")
    check_instance("speeds", speeds, Speeds, "Speeds, such as Speeds(straggler=0.1)")
    check_instance("faults", faults, Faults, "Faults, such as Faults(crash=0.1)")
    planned = _check_controls(controls)
    check_instance("curve", curve, DriftingCurve, "a DriftingCurve")
    check_one_of("mode", mode, ("min", "max"))
    check_one_of("messages", messages, ("objects", "protobuf"))
    check_flag("check", check)
    seed = check_seed(seed)
    control = StudyControl(
        budget=budget,
        population=check_count("population", algorithm.population_size(space)),
        max_failures=check_count("max_failures", max_failures),
        max_losses=check_count("max_losses", max_losses),
        keep_best=check_count("keep_best", keep_best),
    )
    metric = Metric("loss" if mode == "min" else "score", mode)
    world = World(metric, speeds, faults, curve, seed, protobuf=messages == "protobuf")
    database = SimulatedDatabase(remember=faults.power > 0)
    try:
        _create(database, world, algorithm, space, control, seed)
        study = SimulatedStudy(world, database, _NAME, space=space, algorithm=algorithm, workers=workers, check=check)
        for seconds, command in planned:
            study.plan_control(seconds, command)
        study.run()
        with database.read() as connection:
            trials = queries.trials(connection, study.observer.state.id)
        return _simulation(world, study, trials, budget, seed)
    finally:
        database.close()


def _check_space(space: object) -> Space:
    allowed = "a Space with a Float that is named 'lr' and stays above 0"
    checked = check_instance("space", space, Space, allowed)
    parameter = checked.parameters.get("lr")
    if parameter is None or not isinstance(parameter.domain, Float) or parameter.domain.limits[0] <= 0:
        raise InvalidArgument("space", space, allowed)
    return checked


def _check_controls(controls: object) -> list[tuple[float, Control | Pin]]:
    allowed = "a list of pairs, such as (60.0, Control(population=4))"
    planned: list[tuple[float, Control | Pin]] = []
    for pair in check_sequence("controls", controls, allowed):
        if len(check_sequence("controls", pair, allowed)) != 2:
            raise InvalidArgument("controls", pair, allowed)
        seconds, command = pair
        check_number("controls", seconds, least=0, most=1e9)
        if isinstance(command, Control):
            check_control(command)
        else:
            pin = check_instance("controls", command, Pin, "a Control or a Pin")
            check_integer("trial", pin.trial, 0)
            check_flag("keep", pin.keep)
        planned.append((seconds, command))
    return planned


def _create(
    database: SimulatedDatabase, world: World, algorithm: Algorithm, space: Space, control: StudyControl, seed: int
) -> None:
    """Insert the study that the simulation runs.

    Args:
        database: Where the study is stored.
        world: The world of the simulation.
        algorithm: Its algorithm.
        space: Its search space.
        control: What may change.
        seed: The study's seed.
    """
    identity = StudyIdentity(
        uuid=world.identity(),
        name=_NAME,
        space=space.to_json(),
        metrics=(world.metric, Metric("regret", "min")),
        algorithm={**algorithm_to_json(algorithm), "population": control.population},
        seed=seed,
    )
    with database.transaction() as connection:
        create_study(connection, identity, control, 0.0)


def _simulation(world: World, study: SimulatedStudy, trials: Sequence[Trial], budget: Budget, seed: int) -> Simulation:
    """Return the outcome of a run.

    Args:
        world: The world of the simulation.
        study: The study after its run.
        trials: All its trials, by number.
        budget: How far the study was to go.
        seed: The study's seed.
    """
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETED]
    finite = [abs(trial.score or 0.0) for trial in completed if trial.finite]
    steps = budget.steps or max((trial.end_step or 0 for trial in completed), default=0)
    return Simulation(
        wall_seconds=study.workforce.last_result,
        utilisation=study.workforce.utilisation,
        regret=world.curve.regret(min(finite), steps) if finite else float("inf"),
        exploits=sum(trial.decision.donor is not None for trial in trials),
        completed=len(completed),
        attempts=sum(trial.attempts for trial in trials),
        losses=sum(trial.losses for trial in trials),
        failures=sum(trial.failures for trial in trials),
        member_steps=sum(trial.steps_done or 0 for trial in trials),
        owners=1 + world.happened["deaths"] + world.happened["outages"],
        events=world.count,
        digest=study.digest,
        violations=tuple(world.violations),
        finished=study.finished,
        seed=seed,
        space=study.observer.state.space,
        incidents=Incidents(**world.happened),
        _trials=tuple(trials),
    )
