"""The user's facade: a study is created or opened, is a source of trials, and gives the results."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phyletic.coordinator.control import check_count
from phyletic.coordinator.inbox import Request
from phyletic.coordinator.messages import Control, Pin, Stop
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.evolution import Algorithm
from phyletic.evolution.arguments import check_flag
from phyletic.records import (
    Budget,
    Evaluation,
    Event,
    Metric,
    StudyChange,
    StudyControl,
    StudyIdentity,
    Trial,
    TrialState,
)
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.database import open_database
from phyletic.study.ask_and_tell import AskAndTell
from phyletic.study.control import change
from phyletic.study.identity import Sampling
from phyletic.study.loops import begin_loop, end_loop, let_go
from phyletic.study.opening import check_arguments, check_budget, open_or_create
from phyletic.study.results import Results, trial_number
from phyletic.study.schedule import Schedule
from phyletic.study.status import StudyStatus, status_of
from phyletic.workers.iteration import Iteration
from phyletic.workers.loop import Build, Trials
from phyletic.workers.memory import Load, Save
from phyletic.workers.trial import LiveTrial

if TYPE_CHECKING:
    import pandas

__all__ = ["Study", "studies"]

_users = itertools.count()


class Study:
    """One search: a population that trains, and what it found.

    With a ``space`` it is created, or opened if it exists and is the same; without, it is opened. A study is itself a
    source of trials: ``train(study)`` runs the training code in this process, and :meth:`run` in workers.

    Args:
        name: Unique in its storage.
        space: What may vary: a dictionary from names to domains, constants, and dictionaries of these.
        metric: Name under which the training code reports its score; a list where several are reported, whose first
            is ranked by.
        mode: ``"max"`` where higher is better, ``"min"`` where lower is; a list with a list of metrics.
        algorithm: Such as ``ph.PBT(population=8, interval=100)``; what is not said of a study that exists is kept.
        budget: How far it goes; raising it continues a finished study.
        storage: ``"sqlite:///digits.db"``, or the path of such a file; None keeps the study in memory and its
            checkpoints in a temporary folder, both of which end with the process.
        checkpoints: Folder of the checkpoints; beside the storage's file where left out. It is remembered; given again,
            it says where the checkpoints are now.
        seed: From which all of the study's randomness is derived; drawn where left out.
        initial: Values of the first members' hyperparameters, a dictionary each, which may be partly filled.
        sampling: How other first values are drawn: ``"random"``, or spread evenly: ``"sobol"``, ``"latin"``.
        max_failures: Attempts at a trial that may raise before its member is replaced by a child of a donor (3).
        max_losses: Attempts at a trial that may be lost with their worker before that (10).
        keep_best: How many of the best trials' checkpoints are kept (1).

    Raises:
        InvalidArgument: An argument cannot be used; nothing is written then.
        StudyMismatch: The study exists with another identity; the message names the difference.
        StorageOwned: Another process writes this storage, and the study would have to be created or changed.

    Example:
        >>> import phyletic as ph
        >>> study = ph.Study(
        ...     "toy", space={"lr": ph.Float(1e-3, 1e-1, log=True)}, metric="score", mode="max",
        ...     algorithm=ph.PBT(population=2, interval=5), budget=ph.Budget(steps=10), seed=0,
        ... )
        >>> def train(trials):
        ...     for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        ...         for step in trial.range():
        ...             trial.state.weights[0] += trial["lr"]
        ...         trial.report(score=trial.state.weights[0])
        >>> train(study)
        >>> study.best.end_step, len(study.trials())
        (10, 4)
    """

    def __init__(
        self,
        name: str,
        *,
        space: Mapping[str, Any] | Space | None = None,
        metric: str | Sequence[str] | None = None,
        mode: Literal["min", "max"] | Sequence[Literal["min", "max"]] | None = None,
        algorithm: Algorithm | None = None,
        budget: Budget | None = None,
        storage: str | Path | None = None,
        checkpoints: str | Path | None = None,
        seed: int | None = None,
        initial: Sequence[Mapping[str, Any]] | None = None,
        sampling: Sampling | None = None,
        max_failures: int | None = None,
        max_losses: int | None = None,
        keep_best: int | None = None,
    ) -> None:
        given = check_arguments(
            name,
            space=space,
            metric=metric,
            mode=mode,
            algorithm=algorithm,
            budget=budget,
            checkpoints=checkpoints,
            seed=seed,
            initial=initial,
            sampling=sampling,
            max_failures=max_failures,
            max_losses=max_losses,
            keep_best=keep_best,
        )
        opened = open_or_create(storage, given)
        self.identity: StudyIdentity = opened.stored.identity
        self.space: Space = opened.space
        self.algorithm: Algorithm = opened.algorithm
        self.checkpoints = opened.checkpoints
        self.database = opened.database
        self._owner = opened.owner
        self._user = next(_users)
        self._ask_and_tell = AskAndTell(self._owner, self.checkpoints, self.identity)
        self._results = Results(self.database, opened.stored, self.checkpoints)
        self._finalizer = weakref.finalize(
            self, self._owner.defer, partial(let_go, self._owner, self._user, self._ask_and_tell.sessions)
        )
        if self.database.private:
            self._owner.use(self._user)
        if opened.change is not None:
            self._change(opened.change)

    def _change(self, request: Request) -> None:
        change(self._owner, self._user, request)

    # --- a source of trials -------------------------------------------------------------------------------------

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials in this process; see :meth:`phyletic.workers.loop.Trials.attach`."""
        return self.source().attach(build, save=save, load=load)

    def __iter__(self) -> Iterator[LiveTrial]:
        """Loop over trials in this process that load and save themselves, by ``load_from`` and ``save_to``."""
        return iter(self.source())

    def source(self, *, reload: str = "changed", supervised: bool = False) -> Trials:
        """Return a source of trials in this process; a thread has one session for all of its loops.

        Args:
            reload: ``"always"`` loads the parent's checkpoint for every trial, even if it is in memory.
            supervised: Whether the caller fails the open trial after an exception, by :meth:`Trials.abort`.
        """
        check_flag("supervised", supervised)
        owner, user, sessions = self._owner, self._user, self._ask_and_tell.sessions
        source = Trials(
            OwnerChannel(owner),
            store=self.checkpoints,
            space=self.space,
            session=lambda: begin_loop(self._owner, user, sessions),
            reload=reload,
            supervised=supervised,
            leave=lambda session: end_loop(self._owner, user, sessions, session),
            defer=None if supervised else owner.defer,
        )
        owner.use(user)
        return source

    def run(
        self,
        train: Callable[[Any], object],
        *,
        workers: int | None = None,
        devices: Sequence[object] | None = None,
        threads: int | None = 1,
        reload: Literal["changed", "always"] = "changed",
        verbose: int = 1,
        trial_timeout: float | None = None,
        grace: float = 10.0,
        environment: Mapping[str, str] | None = None,
        callbacks: Sequence[Any] | None = None,
    ) -> None:
        """Run the training code until the budget is used up.

        Ctrl-C once lets running trials finish and grants no more; twice stops now, in this process by
        KeyboardInterrupt. Either way the study goes on when it is run again. A trial that another thread asked for
        (:meth:`ask`) stays with it, and the run waits for its result as for another worker's.

        Args:
            train: Called once per worker with a source of trials to loop over.
            workers: Number of local processes; 0 runs in this process. As many as there are devices where left out,
                or 0.
            devices: What ``CUDA_VISIBLE_DEVICES`` is set to for each worker in turn: ``[0, 1]``, or
                ``[[0, 1], [2, 3]]`` for several each.
            threads: Threads of each worker's numerical libraries, whatever the number of workers; None leaves them.
            reload: ``"always"`` loads the parent's checkpoint for every trial, also where it is in memory.
            verbose: 0 is silent, 1 a live display (plain lines where there is no terminal), 2 a line for each trial.
            trial_timeout: Seconds after which a trial's local worker is killed; the trial is tried again. They begin
                with the trial, not with imports and data before the first. In this process nothing can be killed, so
                it needs ``workers`` of at least 1.
            grace: Seconds after SIGTERM in which running trials hand back what they have, before their workers are
                killed. In this process nothing is killed; a second SIGTERM ends it.
            environment: Further environment variables of the workers.
            callbacks: Objects with any of the methods ``on_decision(study, change)``, ``on_completed(study, change)``,
                ``on_failed(study, change)``, ``on_control(study, change)``, each called with a :class:`StudyChange`
                after its commit, and ``on_finished(study)``, called when the run has ended. What they raise is logged.

        Raises:
            StudyFailed: Trials failed one after another with no completion between them; the message has each.
            TrainingError: The training code broke the contract of the loop; or this thread holds trials that it asked
                for, which the run would wait for in vain.
        """
        from phyletic.study.callbacks import check_callbacks
        from phyletic.study.running import run
        from phyletic.workers.run_options import RunOptions

        options = RunOptions(
            workers=workers,
            devices=devices,
            threads=threads,
            reload=reload,
            verbose=verbose,
            trial_timeout=trial_timeout,
            grace=grace,
            environment=environment,
        )
        run(self, train, options, self._ask_and_tell.held, check_callbacks(callbacks))

    # --- ask and tell -------------------------------------------------------------------------------------------

    def ask(self, worker: str | None = None, count: int | None = None) -> Any:
        """Ask for a trial; never blocks.

        Args:
            worker: A name; the same name gets the trial it holds already. Without one, always a new trial.
            count: Ask for so many at once, in one transaction; then a list is returned.

        Returns:
            A :class:`LiveTrial`, :class:`Wait` when there may be one later, or :class:`Finished`.

        Raises:
            TrainingError: A function of yours that explores raised; of several trials none is held then.
        """
        self._owner.use(self._user)
        return self._ask_and_tell.ask(worker, count)

    def tell(
        self,
        trial: Any,
        metrics: Any = None,
        /,
        *,
        checkpoint: Any = None,
        steps_done: int | None = None,
        partial: bool = False,
        **values: float,
    ) -> Any:
        """Tell a trial's result; it has one effect, however often it is told.

        Args:
            trial: What :meth:`ask` gave; or a list of these, told in one transaction.
            metrics: Values by name; a list of these for a list of trials.
            checkpoint: A folder to publish, or a dictionary of what is to be saved; the trial's ``save_to`` if that
                was used. A list for a list of trials.
            steps_done: Steps trained; all that were asked for where left out.
            partial: Whether the trial is handed back early: no score, to be continued from its checkpoint.
            **values: Values by name.

        Returns:
            The trial's record, or a list of them.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
            TellConflict: It was told already, with another result.
            MetricMissing: The study's metric is not among the values.
        """
        self._owner.use(self._user)
        return self._ask_and_tell.tell(trial, metrics, checkpoint, steps_done, partial, values)

    def fail(self, trial: LiveTrial, error: str | BaseException) -> Trial:
        """Say that a trial failed: it is tried again, up to ``max_failures`` times.

        Args:
            trial: What :meth:`ask` gave.
            error: What happened.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        self._owner.use(self._user)
        return self._ask_and_tell.fail(trial, error)

    def heartbeat(self, trial: LiveTrial, *, step: int | None = None) -> bool:
        """Say that a trial is alive, with what it has reported; returns whether it should go on.

        Args:
            trial: What :meth:`ask` gave.
            step: Step along the lineage that was reached.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        self._owner.use(self._user)
        return self._ask_and_tell.heartbeat(trial, step)

    # --- control ------------------------------------------------------------------------------------------------

    @property
    def control(self) -> StudyControl:
        """How far the study shall go, as it is now."""
        return self._results.stored().control

    def set_budget(self, budget: Budget) -> None:
        """Change the budget; raising it continues a finished study.

        Where ``steps`` is lowered, trials that run go on to their end, and trials that wait are cut to fit.
        """
        self._change(Control(budget=check_budget(budget)))

    def resize(self, population: int) -> None:
        """Change the number of members: those added are born, those with the highest numbers are taken out."""
        self._change(Control(population=check_count("population", population)))

    def pause(self) -> None:
        """Grant no more trials until :meth:`resume`."""
        self._change(Control(paused=True))

    def resume(self) -> None:
        """Grant trials again."""
        self._change(Control(paused=False))

    def stop(self, *, now: bool = False) -> None:
        """End the run that goes on, here or in another process, as Ctrl-C does; it goes on when it is run again.

        Args:
            now: Whether running trials end early; else they finish first. Local workers are killed and their trials
                released. Training in this process is asked to stop: ``trial.range()`` ends, ``trial.should_stop`` is
                true, and the trial is handed back with what it has. Code that looks at neither goes on to the end of
                its trial.

        Raises:
            NotFound: No :meth:`run` of the study goes on.
        """
        self._change(Stop(now=check_flag("now", now)))

    def pin(self, trial: Trial | int, keep: bool = True) -> None:
        """Keep a trial's checkpoint for good, or (``keep=False``) no longer.

        Raises:
            NotFound: There is no such trial, or its checkpoint was collected.
        """
        self._change(Pin(trial=trial_number(trial), keep=check_flag("keep", keep)))

    # --- results ------------------------------------------------------------------------------------------------

    @property
    def best(self) -> Trial:
        """The completed trial with the best finite score.

        Raises:
            NotFound: No trial has one yet.
        """
        return self._results.best()

    def trials(self, *, states: Sequence[TrialState] | None = None) -> list[Trial]:
        """Return the trials, by number.

        Args:
            states: Only those in these states.
        """
        return self._results.trials(states)

    def trial(self, number: int) -> Trial:
        """Return a trial.

        Raises:
            NotFound: There is none of that number.
        """
        return self._results.trial(number)

    def lineage(self, trial: Trial | int | None = None) -> list[Trial]:
        """Return a trial and all its ancestors, the newborn first.

        Args:
            trial: The trial or its number; the best one where left out.
        """
        return self._results.lineage(trial)

    def schedule(self, trial: Trial | int | None = None) -> Schedule:
        """Return the hyperparameters along a trial's lineage, by step.

        Args:
            trial: The trial or its number; the best one where left out.
        """
        return Schedule.of(self.lineage(trial))

    def evaluations(self, trial: Trial | int) -> list[Evaluation]:
        """Return all that a trial reported, in order."""
        return self._results.evaluations(trial)

    def population_at(self, trial: Trial | int) -> list[Trial]:
        """Return the population that a trial's decision saw: each member's latest completed trial at that moment.

        With ``trial.decision`` this answers why its hyperparameters are what they are.
        """
        return self._results.population_at(trial)

    def events(self) -> list[Event]:
        """Return what happened beside decisions and results.

        Among them are changes of control, attempts that ended without a result, trials that were given up, cut or
        stopped early, and each start of an owner with the versions that it ran with.
        """
        return self._results.events()

    def changes(self, since: int = -1, *, limit: int = 10_000) -> list[StudyChange]:
        """Return what was committed after a write, in order: the records that callbacks get, read from the store.

        It needs no owner, so any process can follow a study that another one runs.

        Args:
            since: Sequence number of the last change that is known; -1 returns them from the beginning.
            limit: Most changes to return, at least 1; the last write among them is always whole.

        Example:
            ``known = -1``, then again and again: ``for change in study.changes(since=known): known = change.sequence``
        """
        return self._results.changes(since, limit)

    def trials_dataframe(self) -> pandas.DataFrame:
        """Return the trials as a pandas data frame: a row a trial, a column a hyperparameter and a metric."""
        from phyletic.records.frames import trials_dataframe

        return trials_dataframe(self.trials(), self.space, [metric.name for metric in self.metrics])

    def checkpoint_path(self, trial: Trial | int | None = None) -> Path:
        """Return where a trial's checkpoint is: a folder, or a packed file in the safetensors format.

        Args:
            trial: The trial or its number; the best one where left out.

        Raises:
            NotFound: It left none, or it was collected.
        """
        return self._results.checkpoint_path(trial)

    def restore(self, trial: Trial | int | None = None, /, **state: Any) -> dict[str, Any]:
        """Load a trial's checkpoint into objects: ``study.restore(model=model)`` loads the best model.

        Args:
            trial: The trial or its number; the best one where left out.
            **state: Objects to load into, by the names under which ``build`` returned them. Entries that are not named
                are returned as they were saved, where that is plain data or arrays.

        Returns:
            The named objects, or what replaces them; with no names, every entry.
        """
        return self._results.restore(trial, state)

    def status(self) -> StudyStatus:
        """Return how far the study is, for people and scripts."""
        return status_of(self)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up and nothing is open."""
        return self.status().state == "finished"

    # --- training again, and checking ---------------------------------------------------------------------------

    def replay(
        self, train: Callable[[Any], object], schedule: Schedule | str | Path | None = None, *, seed: int | None = None
    ) -> Study:
        """Train one model from scratch through a schedule.

        Args:
            train: The training code.
            schedule: The schedule, or a file of it; the best trial's where left out.
            seed: Of the training code's randomness; drawn where left out.

        Returns:
            A study in memory with one member, whose last trial is the model (:meth:`restore` loads it).
        """
        from phyletic.study.replay import replay

        return replay(self, train, self.schedule() if schedule is None else schedule, seed=seed)

    def check(self, train: Callable[[Any], object], *, steps: int | None = None) -> list[str]:
        """Find state that is in no checkpoint: run a trial continued in memory, and again loaded from its parent's.

        Args:
            train: The training code.
            steps: Steps of each trial; the algorithm's interval where left out.

        Returns:
            What differs, by name, such as ``"model/0.weight"`` and ``"metrics/accuracy"``; empty if all is well.
        """
        from phyletic.study.checking import check

        return check(self, train, steps=steps)

    # --- the rest -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The study's name."""
        return self.identity.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is reported; the first is ranked by."""
        return self.identity.metrics

    @property
    def storage(self) -> str:
        """Where the study is stored, for messages."""
        return self.database.location

    @property
    def logs(self) -> Path:
        """Folder of the local workers' logs."""
        return self.database.folder("logs")

    @property
    def owner(self) -> Owner:
        """The coordinator of this process."""
        return self._owner

    def close(self) -> None:
        """End this object's ownership of the storage, and release the trials that it holds; it can be used again."""
        let_go(self._owner, self._user, self._ask_and_tell.sessions)

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Study({self.name!r}, storage={self.storage!r})"


def studies(storage: str | Path) -> list[StudyIdentity]:
    """Return the identities of the studies in a storage, in the order in which they were created.

    Raises:
        NotFound: There is no such file.
    """
    with open_database(storage).read() as connection:
        return [stored.identity for stored in queries.studies(connection)]
