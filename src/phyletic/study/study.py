"""The user's facade: a study is created or opened, is a source of trials, and gives the results."""

from __future__ import annotations

import itertools
import secrets
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from phyletic.checkpoints.local import LocalCheckpoints
from phyletic.coordinator.control import check_count
from phyletic.coordinator.inbox import Inbox, Request
from phyletic.coordinator.messages import Control, Done, Leave, Pin, Refused, Reply, Stop
from phyletic.coordinator.owner import NO_RUN, Owner
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, NotFound, StorageOwned
from phyletic.evolution import Algorithm
from phyletic.evolution.codec import algorithm_from_json
from phyletic.records import Budget, Evaluation, Metric, StudyControl, StudyIdentity, Trial, TrialState
from phyletic.records.values import whole_number
from phyletic.space import Space
from phyletic.storage import reading
from phyletic.storage.changes import Event, StoredStudy
from phyletic.storage.store import Store, open_store
from phyletic.storage.writing import create_study
from phyletic.study.asking import Asker
from phyletic.study.identity import (
    Sampling,
    check_flag,
    check_name,
    check_sampling,
    check_seed,
    create_identity,
    describe_algorithm,
    make_initial,
    make_metrics,
    make_space,
    require_same,
)
from phyletic.study.population import population_at
from phyletic.study.schedule import Schedule
from phyletic.study.status import StudyStatus, status_of
from phyletic.workers.channel import OwnerChannel
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.loop import Build, Iteration, Trials
from phyletic.workers.process_tree import kill_survivors
from phyletic.workers.state import Load, Save
from phyletic.workers.trial import LiveTrial

if TYPE_CHECKING:
    import pandas

__all__ = ["Study", "studies"]

_INBOX_SECONDS = 10.0
_owners: weakref.WeakValueDictionary[tuple[int, str], Owner] = weakref.WeakValueDictionary()
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
        checkpoints: Folder of the checkpoints; beside the storage's file where left out.
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
        check_name(name)
        if budget is not None and not isinstance(budget, Budget):
            raise InvalidArgument("budget", budget, "a Budget, such as ph.Budget(steps=3000)")
        if algorithm is not None and (isinstance(algorithm, type) or not isinstance(algorithm, Algorithm)):
            raise InvalidArgument("algorithm", algorithm, "an algorithm, such as ph.PBT(population=8, interval=100)")
        settings: dict[str, Any] = {"max_failures": max_failures, "max_losses": max_losses, "keep_best": keep_best}
        for setting, value in settings.items():
            if value is not None:
                check_count(setting, value)
        made_space = None if space is None else make_space(space)
        made_metrics = None if metric is None and mode is None else make_metrics(metric, mode)
        folder = None
        if checkpoints is not None:
            folder = local_path("checkpoints", checkpoints, "a folder, or None for one beside the storage")
        seed = None if seed is None else check_seed(seed)
        sampling = None if sampling is None else check_sampling(sampling)
        self._store: Store = open_store(storage)
        stored = self._stored(name)
        self._user = next(_users)
        if stored is None:
            if made_space is None:
                raise NotFound(f"there is no study {name!r} in {self._store.name}; to create it, give space=, ...")
            stored, algorithm = self._create(
                name, made_space, made_metrics, algorithm, seed, initial, sampling, budget, settings
            )
        self.identity: StudyIdentity = stored.identity
        self.space: Space = Space.from_json(self.identity.space)
        described = None if algorithm is None else describe_algorithm(algorithm, made_space or self.space)
        require_same(
            self.identity,
            space=made_space,
            metrics=made_metrics,
            algorithm=described,
            seed=seed,
            initial=None
            if initial is None
            else make_initial(initial, self.space, self.identity.algorithm["population"]),
            sampling=sampling,
        )
        self.algorithm: Algorithm = algorithm if algorithm is not None else algorithm_from_json(self.identity.algorithm)
        self.checkpoints = LocalCheckpoints(
            folder or self._store.checkpoints_folder, durable=self._store.path is not None
        )
        self._owner = self._shared_owner()
        self._asker = Asker(self._owner, self.checkpoints, self.identity)
        self._finalizer = weakref.finalize(self, _let_go, self._owner, self._user, self._asker.sessions)
        if self._store.path is None:
            self._owner.use(self._user)
        self._change(Control(budget=budget, **settings), stored.control)

    def _create(
        self,
        name: str,
        space: Space,
        metrics: tuple[Metric, ...] | None,
        algorithm: Algorithm | None,
        seed: int | None,
        initial: Sequence[Mapping[str, Any]] | None,
        sampling: Sampling | None,
        budget: Budget | None,
        settings: Mapping[str, Any],
    ) -> tuple[StoredStudy, Algorithm]:
        if metrics is None:
            metrics = make_metrics(None, None)
        if algorithm is None:
            raise InvalidArgument("algorithm", None, "an algorithm, such as ph.PBT(population=8, interval=100)")
        identity = create_identity(
            name,
            space=space,
            metrics=metrics,
            algorithm=algorithm,
            seed=seed,
            initial=() if initial is None else initial,
            sampling=sampling or "random",
        )
        given = {setting: value for setting, value in settings.items() if value is not None}
        control = StudyControl(budget=budget or Budget(), population=identity.algorithm["population"], **given)
        try:
            self._store.own()
        except StorageOwned:
            # whoever has it may have created this very study since
            stored = self._stored(name)
            if stored is None:
                raise
            return stored, algorithm
        try:
            with self._store.transaction() as connection:
                stored = reading.load_study(connection, name)
                return stored or create_study(connection, identity, control, time.time()), algorithm
        finally:
            self._store.release()

    def _shared_owner(self) -> Owner:
        # two objects for one study in one process (a notebook's cell run again) decide through the same owner
        key = (id(self._store), self.identity.uuid)
        owner = _owners.get(key)
        if owner is None or owner.store is not self._store:
            owner = _owners[key] = Owner(
                self._store,
                self.identity.name,
                space=self.space,
                algorithm=self.algorithm,
                checkpoints=self.checkpoints,
                evict=kill_survivors,
                inbox=None if self._store.path is None else self._inbox,
                interrupt=partial(Interrupts.request, self.identity.uuid),
            )
        return owner

    def _change(self, command: Control, control: StudyControl) -> None:
        wanted = {name: value for name, value in msgspec.structs.asdict(command).items() if value is not None}
        if any(value != getattr(control, name) for name, value in wanted.items()):
            self._execute(command)

    @property
    def _inbox(self) -> Inbox:
        return Inbox(self._store.inbox_folder, self.identity.uuid)

    def _execute(self, command: Request) -> None:
        """Change the study: as its owner, or, where another process is its owner, through that one's inbox."""
        begun = self._owner.begun
        try:
            self._owner.begin()
        except StorageOwned:
            self._asker.accepted(self._inbox.ask(command, _INBOX_SECONDS))
            return
        try:
            if isinstance(command, Stop):
                found = Interrupts.request(self.identity.uuid, command.now)
                reply: Reply = Done() if found else Refused(error="NotFound", message=NO_RUN)
            else:
                (reply,) = self._owner.execute([command])
            self._asker.accepted(reply)
        finally:
            if not begun:
                self._owner.release(self._user)

    # --- a source of trials -------------------------------------------------------------------------------------

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials in this process; see :meth:`phyletic.workers.loop.Trials.attach`."""
        return self.source().attach(build, save=save, load=load)

    def __iter__(self) -> Iterator[LiveTrial]:
        """Loop over trials in this process that load and save themselves, by ``load_from`` and ``save_to``."""
        return iter(self.source())

    def source(self, *, reload: str = "changed", supervised: bool = False) -> Trials:
        """Return a source of trials in this process; each is a session of its own."""
        check_flag("supervised", supervised)
        session = secrets.token_hex(16)
        source = Trials(
            OwnerChannel(self._owner),
            store=self.checkpoints,
            space=self.space,
            session=session,
            reload=reload,
            supervised=supervised,
            ended=None if supervised else lambda: self._end_loop(session),
        )
        self._owner.use(self._user)
        self._asker.sessions.append(session)
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
    ) -> None:
        """Run the training code until the budget is used up.

        Ctrl-C once lets running trials finish and grants no more; twice stops now. Either way the study goes on when
        it is run again.

        Args:
            train: Called once per worker with a source of trials to loop over.
            workers: Number of local processes; 0 runs in this process. As many as there are devices where left out,
                or 0.
            devices: What ``CUDA_VISIBLE_DEVICES`` is set to for each worker in turn: ``[0, 1]``, or
                ``[[0, 1], [2, 3]]`` for several each.
            threads: Threads of each worker's numerical libraries, whatever the number of workers; None leaves them.
            reload: ``"always"`` loads the parent's checkpoint for every trial, also where it is in memory.
            verbose: 0 is silent, 1 a live display (plain lines where there is no terminal), 2 a line for each trial.
            trial_timeout: Seconds after which a trial's local worker is killed; the trial is tried again. In this
                process nothing can be killed, so it needs ``workers`` of at least 1.
            grace: Seconds that running trials get to end after SIGTERM.
            environment: Further environment variables of the workers.

        Raises:
            StudyFailed: Trials failed one after another with no completion between them; the message has each.
            TrainingError: The training code broke the contract of the loop.
        """
        from phyletic.study.running import run

        run(
            self,
            train,
            workers=workers,
            devices=devices,
            threads=threads,
            reload=reload,
            verbose=verbose,
            trial_timeout=trial_timeout,
            grace=grace,
            environment=environment,
        )

    # --- ask and tell -------------------------------------------------------------------------------------------

    def ask(self, worker: str | None = None, count: int | None = None) -> Any:
        """Ask for a trial; never blocks.

        Args:
            worker: A name; the same name gets the trial it holds already. Without one, always a new trial.
            count: Ask for so many at once, in one transaction; then a list is returned.

        Returns:
            A :class:`LiveTrial`, :class:`Wait` when there may be one later, or :class:`Finished`.
        """
        self._owner.use(self._user)
        return self._asker.ask(worker, count)

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
        return self._asker.tell(trial, metrics, checkpoint, steps_done, partial, values)

    def fail(self, trial: LiveTrial, error: str | BaseException) -> Trial:
        """Say that a trial failed: it is tried again, up to ``max_failures`` times.

        Args:
            trial: What :meth:`ask` gave.
            error: What happened.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        self._owner.use(self._user)
        return self._asker.fail(trial, error)

    def heartbeat(self, trial: LiveTrial, *, step: int | None = None) -> bool:
        """Say that a trial is alive, with what it has reported; returns whether it should go on.

        Args:
            trial: What :meth:`ask` gave.
            step: Step along the lineage that was reached.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        self._owner.use(self._user)
        return self._asker.heartbeat(trial, step)

    # --- control ------------------------------------------------------------------------------------------------

    @property
    def control(self) -> StudyControl:
        """How far the study shall go, as it is now."""
        return self._require().control

    def set_budget(self, budget: Budget) -> None:
        """Change the budget; raising it continues a finished study.

        Where ``steps`` is lowered, trials that run go on to their end, and trials that wait are cut to fit.
        """
        if not isinstance(budget, Budget):
            raise InvalidArgument("budget", budget, "a Budget, such as ph.Budget(steps=3000)")
        self._execute(Control(budget=budget))

    def resize(self, population: int) -> None:
        """Change the number of members: those added are born, those with the highest numbers are taken out."""
        self._execute(Control(population=check_count("population", population)))

    def pause(self) -> None:
        """Grant no more trials until :meth:`resume`."""
        self._execute(Control(paused=True))

    def resume(self) -> None:
        """Grant trials again."""
        self._execute(Control(paused=False))

    def stop(self, *, now: bool = False) -> None:
        """End the run that goes on, here or in another process, as Ctrl-C does; it goes on when it is run again.

        Args:
            now: Whether running trials are released at once; else they finish first.

        Raises:
            NotFound: No :meth:`run` of the study goes on.
        """
        self._execute(Stop(now=check_flag("now", now)))

    def pin(self, trial: Trial | int, keep: bool = True) -> None:
        """Keep a trial's checkpoint for good, or (``keep=False``) no longer.

        Raises:
            NotFound: There is no such trial, or its checkpoint was collected.
        """
        self._execute(Pin(trial=self._number(trial), keep=check_flag("keep", keep)))

    # --- results ------------------------------------------------------------------------------------------------

    @property
    def best(self) -> Trial:
        """The completed trial with the best finite score.

        Raises:
            NotFound: No trial has one yet.
        """
        with self._store.read() as connection:
            found = reading.best_trials(connection, self._id, self.identity.metric.mode, 1)
        if not found:
            raise NotFound(f"no trial of study {self.name!r} has completed with a finite {self.identity.metric.name}")
        return found[0]

    def trials(self, *, states: Sequence[TrialState] | None = None) -> list[Trial]:
        """Return the trials, by number.

        Args:
            states: Only those in these states.
        """
        if states is not None:
            known = isinstance(states, (list, tuple, set, frozenset)) and all(
                isinstance(state, str) and state in list(TrialState) for state in states
            )
            if not known:
                raise InvalidArgument("states", states, f"a list of states: {', '.join(TrialState)}")
        with self._store.read() as connection:
            return reading.trials(connection, self._id, states=states)

    def trial(self, number: int) -> Trial:
        """Return a trial.

        Raises:
            NotFound: There is none of that number.
        """
        number = self._number(number)
        with self._store.read() as connection:
            found = reading.trial(connection, self._id, number)
        if found is None:
            raise NotFound(f"study {self.name!r} has no trial {number}")
        return found

    def lineage(self, trial: Trial | int | None = None) -> list[Trial]:
        """Return a trial and all its ancestors, the newborn first.

        Args:
            trial: The trial or its number; the best one where left out.
        """
        number = self.best.number if trial is None else self._number(trial)
        with self._store.read() as connection:
            found = reading.lineage(connection, self._id, number)
        if not found:
            raise NotFound(f"study {self.name!r} has no trial {number}")
        return found

    def schedule(self, trial: Trial | int | None = None) -> Schedule:
        """Return the hyperparameters along a trial's lineage, by step.

        Args:
            trial: The trial or its number; the best one where left out.
        """
        return Schedule.of(self.lineage(trial))

    def evaluations(self, trial: Trial | int) -> list[Evaluation]:
        """Return all that a trial reported, in order."""
        with self._store.read() as connection:
            return [found for _, found in reading.evaluations(connection, self._id, [self._number(trial)])]

    def population_at(self, trial: Trial | int) -> list[Trial]:
        """Return the population that a trial's decision saw: each member's latest completed trial at that moment.

        With ``trial.decision`` this answers why its hyperparameters are what they are.
        """
        record = self.trial(self._number(trial))
        with self._store.read() as connection:
            return population_at(connection, self._id, self.identity, record.decision.as_of)

    def events(self) -> list[Event]:
        """Return what happened beside results: changes of control, trials given up, cut or stopped early."""
        with self._store.read() as connection:
            return [event for _, event in reading.events(connection, self._id)]

    def trials_dataframe(self) -> pandas.DataFrame:
        """Return the trials as a pandas data frame: a row a trial, a column a hyperparameter and a metric."""
        from phyletic.records.frames import trials_dataframe

        return trials_dataframe(self.trials(), self.space)

    def checkpoint_path(self, trial: Trial | int | None = None) -> Path:
        """Return where a trial's checkpoint is: a folder, or a packed file in the safetensors format.

        Args:
            trial: The trial or its number; the best one where left out.

        Raises:
            NotFound: It left none, or it was collected.
        """
        record = self.best if trial is None else self.trial(self._number(trial))
        if record.checkpoint is None or not self.checkpoints.exists(record.checkpoint.id):
            raise NotFound(
                f"trial {record.number} has no checkpoint: it left none, or it was collected (see Study.pin)"
            )
        return self.checkpoints.path(record.checkpoint.id)

    def restore(self, trial: Trial | int | None = None, /, **state: Any) -> dict[str, Any]:
        """Load a trial's checkpoint into objects: ``study.restore(model=model)`` loads the best model.

        Args:
            trial: The trial or its number; the best one where left out.
            **state: Objects to load into, by the names under which ``build`` returned them. Entries that are not named
                are returned as they were saved, where that is plain data or arrays.

        Returns:
            The named objects, or what replaces them; with no names, every entry.
        """
        record = self.best if trial is None else self.trial(self._number(trial))
        self.checkpoint_path(record)
        assert record.checkpoint is not None
        with self.checkpoints.open(record.checkpoint) as opened:
            opened.verify()
            unknown = [name for name in state if name not in opened.entries]
            if unknown:
                raise NotFound(f"the checkpoint has no {unknown[0]!r}; it has: {', '.join(opened.entries)}")
            if not state:
                return {name: opened.value(name) for name in opened.entries}
            opened.restore(state)
            return {name: state[name] for name in state}

    def status(self) -> StudyStatus:
        """Return how far the study is, for people and scripts."""
        return status_of(self)

    def figures(self) -> tuple[StoredStudy, dict[TrialState, int], dict[int, int], Trial | None]:
        """Return the stored study, trials by state, members' ages, and the best trial, as of one moment."""
        with self._store.read() as connection:
            stored = reading.load_study(connection, self.name)
            if stored is None:
                raise NotFound(f"there is no study {self.name!r} in {self._store.name} any more")
            counts = reading.state_counts(connection, stored.id)
            ages = {}
            for member in range(stored.control.population):
                ended = [trial for trial in reading.last_trials(connection, stored.id, member, 4) if trial.end_step]
                if ended:
                    ages[member] = ended[0].end_step or 0
            best = reading.best_trials(connection, stored.id, self.identity.metric.mode, 1)
        return stored, counts, ages, best[0] if best else None

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
        return self._store.name

    @property
    def logs(self) -> Path:
        """Folder of the local workers' logs."""
        return self._store.logs_folder

    @property
    def owner(self) -> Owner:
        """The coordinator of this process."""
        return self._owner

    def close(self) -> None:
        """End this object's ownership of the storage, and release the trials that it holds; it can be used again."""
        _let_go(self._owner, self._user, self._asker.sessions)

    def _end_loop(self, session: str) -> None:
        """Release what a loop in this process held, and the storage too unless this object holds other trials."""
        sessions = self._asker.sessions
        others = [other for other in sessions if other != session]
        if self._owner.begun and any(other in self._owner.state.sessions for other in others):
            sessions[:] = others
            _leave(self._owner, [session])
        else:
            sessions[:] = [*others, session]
            self.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Study({self.name!r}, storage={self.storage!r})"

    @property
    def _id(self) -> int:
        if not hasattr(self, "_key"):
            self._key = self._require().id
        return self._key

    def _require(self) -> StoredStudy:
        stored = self._stored(self.identity.name)
        if stored is None:
            raise NotFound(f"there is no study {self.name!r} in {self._store.name} any more")
        return stored

    def _stored(self, name: str) -> StoredStudy | None:
        try:
            with self._store.read() as connection:
                return reading.load_study(connection, name)
        except NotFound:
            return None

    @staticmethod
    def _number(trial: Trial | LiveTrial | int) -> int:
        # numbers from a data frame are numpy's
        number = whole_number(trial.number if isinstance(trial, (Trial, LiveTrial)) else trial)
        if number is None or not 0 <= number < 2**63:
            raise InvalidArgument("trial", trial, "a trial, or its number")
        return number


def _let_go(owner: Owner, user: int, sessions: list[str]) -> None:
    """Release what a study object holds."""
    try:
        _leave(owner, sessions)
    finally:
        # whatever could not be written is void when the study is owned next
        sessions.clear()
        owner.release(user)


def _leave(owner: Owner, sessions: Sequence[str]) -> None:
    held = [session for session in sessions if owner.begun and session in owner.state.sessions]
    if held:
        owner.execute([Leave(session=session, lost=False, error="its study was closed") for session in held])


def studies(storage: str | Path) -> list[StudyIdentity]:
    """Return the identities of the studies in a storage, in the order in which they were created.

    Raises:
        NotFound: There is no such file.
    """
    with open_store(storage).read() as connection:
        return [stored.identity for stored in reading.studies(connection)]
