"""The user's facade: create or open a study, train its trials, and read the results."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, get_args

from phyletic.checkpoints.addresses import StoreSettings
from phyletic.coordinator.client import Client
from phyletic.coordinator.control import check_control, check_count
from phyletic.coordinator.enqueued import check_enqueued
from phyletic.coordinator.inbox import InboxChannel, Request
from phyletic.coordinator.messages import Control, Enqueue, Pin, Stop
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.coordinator.ownership import Ownership
from phyletic.errors import InvalidArgument, NotFound, PhyleticError, StorageOwned
from phyletic.evolution import Algorithm
from phyletic.evolution.algorithm import check_algorithm
from phyletic.evolution.arguments import (
    check_flag,
    check_instance,
    check_integer,
    check_mapping,
    check_one_of,
    check_seed,
    check_sequence,
)
from phyletic.records import (
    Budget,
    CheckpointReference,
    Evaluation,
    Event,
    FailedAttempt,
    Metric,
    StudyChange,
    StudyControl,
    StudyIdentity,
    Trial,
    TrialState,
    failed_attempt,
)
from phyletic.records.encodings import is_unicode, whole_number
from phyletic.records.event import ENDED_ATTEMPT
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.study.ask_and_tell import AskAndTell
from phyletic.study.holding import Holding
from phyletic.study.home import home_at
from phyletic.study.identity import Arguments, Sampling, check_name, make_metrics, make_space
from phyletic.study.opening import check_checkpoints, check_warm_start, open_or_create
from phyletic.study.schedule import Schedule
from phyletic.study.status import StudyStatus, html_of, load_study, status_of
from phyletic.study.user_frames import user_frames
from phyletic.unknown_arguments import explain_unknown_arguments
from phyletic.workers.iteration import Iteration
from phyletic.workers.live_trial import LiveTrial
from phyletic.workers.loop import Build, Trials
from phyletic.workers.memory import Load, Save
from phyletic.workers.not_a_trial import NotOneTrial
from phyletic.workers.ray_workers import RayWorkers

if TYPE_CHECKING:
    import pandas
    from sqlalchemy import Connection

P = ParamSpec("P")
T = TypeVar("T")


class Study(NotOneTrial):
    """One search: a population that trains, and what it found.

    With a ``space`` the study is created, or opened if it exists and is the same; without a space it is opened. A study
    is itself a source of trials: ``train(study)`` runs the training code in this process, :meth:`run` also in workers.

    Args:
        name: Unique in its storage.
        space: What may vary: a dictionary from names to domains, constants, and dictionaries of these.
        metric: Name under which the training code reports its score; or a list of names, of which the first ranks the
            members.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is; a list with a list of metrics.
        algorithm: How members evolve, such as ``ph.PBT(population=8, interval=100)``.
        budget: How far the study goes; raising it continues a finished study.
        storage: ``"sqlite:///digits.db"``, or the path of such a file; ``"grpc://host:port"`` for a server
            (``phyletic serve``). None keeps the study in memory and its checkpoints in a temporary folder, and both
            end with the process.
        checkpoints: Folder of the checkpoints; beside the storage's file by default. Or an object store:
            ``"s3://bucket/prefix"``, ``"gs://bucket/prefix"``, ``"az://container/prefix"``, with credentials from the
            environment or the machine's role; or ``"memory:"``, the memory of this process, which local workers cannot
            reach. The study remembers it; give another place after you moved them.
        seed: From which all of the study's randomness is derived; drawn by default.
        initial: A dictionary of hyperparameters for each of the first members; it may name only some of them.
        sampling: How the other first values are drawn: ``"random"``, or spread evenly: ``"sobol"``, ``"latin"``.
        max_failures: Attempts at a trial that may raise before a child of a donor replaces its member (3).
        max_losses: Attempts at a trial that may be lost with their worker before that (10).
        keep_best: How many of the best trials keep their checkpoints (1).
        warm_start: The path of a checkpoint, such as ``other.checkpoint_path()``, that every member loads at birth,
            after ``build``. It is copied, and its digest is part of the study's identity.
        cache_bytes: Bytes that this machine's cache of checkpoints from an object store or a server may have, at least
            1; by default ``PHYLETIC_CACHE_BYTES``, or 10 GB. A setting of this process and of the workers that it
            starts, which the study does not remember.
        store_timeout: Seconds for which a request to an object store is tried again until its trial is given back, from
            0.1; by default ``PHYLETIC_STORE_TIMEOUT``, or 120. A setting like ``cache_bytes``.

    Raises:
        InvalidArgument: An argument cannot be used; nothing is written then.
        MissingDependency: The library that reaches an object store is not installed.
        StoreUnreachable: The study has to be created, but its object store does not answer; nothing is written then.
        StudyMismatch: The study exists with another identity; the message names the difference.
        StorageOwned: The study has to be created or changed, but another process writes this storage.

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

    @explain_unknown_arguments
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
        warm_start: str | Path | None = None,
        cache_bytes: int | None = None,
        store_timeout: float | None = None,
    ) -> None:
        if sampling is not None:
            check_one_of("sampling", sampling, get_args(Sampling))
        given = Arguments(
            name=check_name(name),
            space=None if space is None else make_space(space),
            metrics=None if metric is None and mode is None else make_metrics(metric, mode),
            algorithm=None if algorithm is None else check_algorithm(algorithm),
            seed=None if seed is None else check_seed(seed),
            initial=initial,
            sampling=sampling,
            checkpoints=None if checkpoints is None else check_checkpoints(checkpoints),
            warm_start=None if warm_start is None else check_warm_start(warm_start),
            control=Control(budget=budget, max_failures=max_failures, max_losses=max_losses, keep_best=keep_best),
            store=StoreSettings(cache_bytes=cache_bytes, store_timeout=store_timeout),
        )
        check_control(given.control)
        opened = open_or_create(storage, given)
        self.identity: StudyIdentity = opened.stored.identity
        self.space: Space = opened.space
        self.algorithm: Algorithm = opened.algorithm
        self.owner: Ownership = opened.owner
        self.checkpoints = self.owner.checkpoints
        self.database = self.owner.database
        self._id = opened.stored.id
        self._held = Holding(self.owner)
        self._ask_and_tell = AskAndTell(self._held, self.identity.metric)
        self._finalizer = weakref.finalize(self, self.owner.defer, self._held.release)
        if self.database.private:
            self._held.use()
        if opened.change is not None:
            self._change(opened.change)

    # --- a source of trials -------------------------------------------------------------------------------------

    def attach(self, build: Build, *, save: Save | None = None, load: Load | None = None) -> Iteration:
        """Loop over trials in this process; see :meth:`phyletic.workers.loop.Trials.attach`."""
        return self.source().attach(build, save=save, load=load)

    def __iter__(self) -> Iterator[LiveTrial]:
        """Loop over trials in this process that load and save themselves, by ``load_from`` and ``save_to``."""
        return iter(self.source())

    def source(self, *, reload: str = "changed", upload: str = "before_tell", supervised: bool = False) -> Trials:
        """Return a source of trials in this process; a thread has one session for all of its loops.

        Args:
            reload: ``"always"`` loads the parent's checkpoint for every trial, even if it is in memory.
            upload: ``"background"`` publishes a trial's checkpoint while the next trial trains; needs ``supervised``.
            supervised: Whether the caller fails the open trial after an exception, by :meth:`Trials.abort`.
        """
        check_flag("supervised", supervised)
        if not supervised and self.control.budget.unlimited:
            warnings.warn(
                "the study has no budget, so loops over its trials go on until Ctrl-C or a break", stacklevel=3
            )
        held = self._held  # the source must not keep the study alive
        source = Trials(
            self.owner.loop_channel(),
            store=self.checkpoints,
            space=self.space,
            session=held.begin_loop,
            reload=reload,
            upload=upload,
            supervised=supervised,
            leave=held.end_loop,
            defer=None if supervised else self.owner.defer,
        )
        held.use()
        return source

    @explain_unknown_arguments
    def run(
        self,
        train: Callable[[Any], object] | None = None,
        *,
        command: Sequence[str] | None = None,
        workers: int | RayWorkers | None = None,
        devices: Sequence[object] | None = None,
        threads: int | None = 1,
        reload: Literal["changed", "always"] = "changed",
        upload: Literal["before_tell", "background"] = "before_tell",
        verbose: int = 1,
        trial_timeout: float | None = None,
        grace: float = 10.0,
        environment: Mapping[str, str] | None = None,
        callbacks: Sequence[Any] | None = None,
        on_signal: Literal["raise", "return"] = "raise",
    ) -> Literal["finished", "stopped", "interrupted", "terminated"]:
        """Run the training code, or a command for each trial, until the budget is used up; without one, until Ctrl-C.

        Ctrl-C once lets running trials finish and grants no more; twice stops now. SIGTERM has the running trials
        handed back. Then the signal has its own effect: KeyboardInterrupt, or the exit status 143 (SIGTERM), so that a
        script does not go on and a batch system does not take the job for done. The study goes on when it is run
        again.

        If the first trial fails before any has completed, the run ends at once: in this process with the training
        code's own exception. A trial that another thread asked for
        (:meth:`ask`) stays with it, and the run waits for its result as for another worker's.

        Args:
            train: Called once per worker with a source of trials to loop over.
            command: In place of ``train``, a program and its arguments, such as ``["python", "train.py"]``. One process
                of it runs each trial; no shell reads it. The environment variable ``PHYLETIC_JOB`` names a JSON file
                with the trial, and arguments may have placeholders such as ``"{lr}"``; see the user's guide.
            workers: Number of local processes, or ``ph.RayWorkers(8)`` for actors on a Ray cluster; 0 runs in this
                process. By default as many as there are devices, or 0.
            devices: What ``CUDA_VISIBLE_DEVICES`` is set to for each worker in turn: ``[0, 1]``, or
                ``[[0, 1], [2, 3]]`` for several each.
            threads: Threads of each worker's numerical libraries, whatever the number of workers; None leaves them.
            reload: ``"always"`` loads the parent's checkpoint for every trial, even if it is in memory.
            upload: ``"background"`` copies a trial's state and publishes the copy while the worker trains another
                member's trial; the result is told once the checkpoint is durable. A member's next trial and a barrier
                wait for that, and so does a worker that finds no other trial. It pays with slow stores and at least
                two members for each worker, and needs memory for the copy.
            verbose: 0 is silent, 1 a live display (plain lines without a terminal), 2 a line for each trial.
            trial_timeout: Seconds from a trial's start after which its local worker is killed and the trial retried.
                Nothing can be killed in this process, so it needs ``workers`` of at least 1.
            grace: Seconds after SIGTERM in which running trials hand back what they have, before their workers are
                killed. In this process only commands are killed; a second SIGTERM ends it.
            environment: Further environment variables of the workers, and of commands.
            callbacks: Objects with any of the methods ``on_decision(study, change)``, ``on_completed(study, change)``,
                ``on_failed(study, change)``, ``on_control(study, change)``, each called with a :class:`StudyChange`
                after its commit, and ``on_finished(study)``, called when the run has ended. Exceptions are logged.
            on_signal: ``"return"`` returns after a signal, without its own effect.

        Returns:
            Why the run ended: ``"finished"`` (the budget is used up), ``"stopped"`` (by :meth:`stop`), or with
            ``on_signal="return"``, ``"interrupted"`` (Ctrl-C) or ``"terminated"`` (SIGTERM, SIGHUP).

        Raises:
            InvalidArgument: An argument cannot be used, or the command is not found; nothing is run then.
            StudyFailed: Trials failed one after another with no completion between them; the message has each.
            TrainingError: The training code broke the contract of the loop; or this thread holds trials that it asked
                for, for which the run would wait forever.
        """
        from phyletic.study.callbacks import check_callbacks
        from phyletic.study.running import run
        from phyletic.workers.run_options import RunOptions

        check_one_of("on_signal", on_signal, ("raise", "return"))

        options = RunOptions(
            workers=workers,
            devices=devices,
            threads=threads,
            reload=reload,
            upload=upload,
            verbose=verbose,
            trial_timeout=trial_timeout,
            grace=grace,
            environment=environment,
        )
        if command is not None:
            from phyletic.workers.command import make_command

            if train is not None:
                raise InvalidArgument("command", command, "left out if train is given")
            train = make_command(command, self.space, self.identity.metric.name, options)
        elif train is None:
            raise InvalidArgument("train", None, "a function that loops over trials, unless command is given")
        try:
            return run(self, train, options, self._ask_and_tell.held, check_callbacks(callbacks), on_signal)
        except PhyleticError as error:
            # the frames of phyletic's own say nothing to a user
            raise error.with_traceback(user_frames(error.__traceback__)) from error.__cause__

    # --- ask and tell -------------------------------------------------------------------------------------------

    def ask(self, worker: str | None = None, count: int | None = None) -> Any:
        """Ask for a trial; never blocks.

        Args:
            worker: A name; the same name gets the trial it holds already. Without one, always a new trial.
            count: Ask for so many at once, in one transaction; then a list is returned.

        Returns:
            A :class:`LiveTrial`, :class:`Wait` when there may be one later, or :class:`Finished`.

        Raises:
            TrainingError: Your own explore function raised; then you hold none of the trials that you asked for.
        """
        self._held.use()
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
        """Tell a trial's result; telling it again changes nothing.

        Args:
            trial: What :meth:`ask` gave; or a list of these, told in one transaction.
            metrics: Values by name; a list of these for a list of trials.
            checkpoint: A folder to publish, or a dictionary of objects to save; by default the trial's ``save_to``, if
                used. A list for a list of trials.
            steps_done: Steps trained; by default all that were asked for.
            partial: Whether you hand the trial back early: it gets no score, and continues from its checkpoint later.
            **values: Values by name.

        Returns:
            The trial's record, or a list of them.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
            TellConflict: It was told already, with another result.
            MetricMissing: The study's metric is not among the values.
        """
        return self._ask_and_tell.tell(trial, metrics, checkpoint, steps_done, partial, values)

    def fail(self, trial: LiveTrial, error: str | BaseException) -> Trial:
        """Say that a trial failed: it is tried again, up to ``max_failures`` times.

        Args:
            trial: What :meth:`ask` gave.
            error: What happened.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        return self._ask_and_tell.fail(trial, error)

    def heartbeat(self, trial: LiveTrial, *, step: int | None = None) -> bool:
        """Say that a trial is alive, with what it has reported; returns whether it should go on.

        Args:
            trial: What :meth:`ask` gave.
            step: Step along the lineage that was reached.

        Raises:
            LeaseLost: The trial was granted again, or has ended otherwise.
        """
        return self._ask_and_tell.heartbeat(trial, step)

    # --- control ------------------------------------------------------------------------------------------------

    @property
    def control(self) -> StudyControl:
        """The study's control now: budget, population, pause and limits."""
        with self.database.read() as connection:
            return load_study(connection, self).control

    def set_budget(self, budget: Budget) -> None:
        """Change the budget; raising it continues a finished study.

        If ``steps`` is lowered, running trials go on to their end, and waiting trials are cut to fit.
        """
        self._change(
            Control(budget=check_instance("budget", budget, Budget, "a Budget, such as ph.Budget(steps=3000)"))
        )

    def resize(self, population: int) -> None:
        """Change the number of members: new members are born, or those with the highest numbers are removed."""
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

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Give the next member that is decided these values; those left out are as the algorithm suggests.

        The member keeps the weights that the algorithm chose for it, unless a value is fixed at birth and differs from
        theirs: then it is born anew. The request is a recorded event.

        Args:
            values: Hyperparameters, flat or nested, maybe not all.

        Raises:
            InvalidSpace: A value is not in the space; the message names it.
        """
        given = dict(check_mapping("values", values, "a dictionary of hyperparameters, such as {'lr': 0.01}"))
        self._change(Enqueue(values=check_enqueued(self.space, given)))

    def _change(self, request: Request) -> None:
        """Decide a request as the study's owner, or let the process decide that owns the study."""
        begun, inbox = self.owner.begun, self.owner.inbox
        try:
            self.owner.begin()
        except StorageOwned:
            if inbox is None or (isinstance(request, Control) and request.checkpoints is not None):
                raise
            Client(InboxChannel(inbox)).change(request)
            return
        try:
            Client(OwnerChannel(self.owner)).change(request)
        finally:
            if not begun:
                self.owner.release(id(self._held))

    # --- results ------------------------------------------------------------------------------------------------

    @property
    def best(self) -> Trial:
        """The completed trial with the best finite score, of equal ones the latest.

        The best of many noisy scores is partly luck; :attr:`best_member` is the best of those that the members have
        now.

        Raises:
            NotFound: No trial has one yet.
        """
        found = self._read(queries.best_trials, self.identity.metric.mode, 1)
        if not found:
            raise NotFound(f"no trial of study {self.name!r} has completed with a finite {self.identity.metric.name}")
        return found[0]

    @property
    def best_member(self) -> Trial:
        """The head with the best finite score among the members as they are now; of equal ones the latest.

        Raises:
            NotFound: No member has one yet.
        """
        with self.database.read() as connection:
            found = queries.best_head(connection, load_study(connection, self), self.identity.metric.mode)
        if found is None:
            raise NotFound(f"no member of study {self.name!r} has a finite {self.identity.metric.name} now")
        return found

    def trials(self, *, states: Sequence[TrialState] | None = None) -> list[Trial]:
        """Return the trials, by number.

        Args:
            states: Only those in these states.
        """
        if states is not None:
            given = list(states) if isinstance(states, (set, frozenset)) else states
            for state in check_sequence("states", given, f"a list of states: {', '.join(TrialState)}"):
                check_one_of("states", state, tuple(TrialState))
        return self._read(queries.trials, states=states)

    def trial(self, number: int) -> Trial:
        """Return a trial.

        Raises:
            NotFound: The study has no such trial.
        """
        found = self._read(queries.trial, trial_number(number))
        if found is None:
            raise NotFound(f"study {self.name!r} has no trial {trial_number(number)}")
        return found

    def lineage(self, trial: Trial | int | None = None) -> list[Trial]:
        """Return a trial and all its ancestors, the newborn first.

        Args:
            trial: The trial or its number; the best one by default.
        """
        number = self.best.number if trial is None else trial_number(trial)
        found = self._read(queries.lineage, number)
        if not found:
            raise NotFound(f"study {self.name!r} has no trial {number}")
        return found

    def schedule(self, trial: Trial | int | None = None) -> Schedule:
        """Return the hyperparameters along a trial's lineage, by step.

        Args:
            trial: The trial or its number; the best one by default.
        """
        return Schedule.of(self.lineage(trial))

    def evaluations(self, trial: Trial | int) -> list[Evaluation]:
        """Return all that a trial reported, in order."""
        return [found for _, found in self._read(queries.evaluations, [trial_number(trial)])]

    def reports(self, metrics: Sequence[str] | None = None, *, most: int = 200_000) -> dict[int, list[Evaluation]]:
        """Return what all trials reported, by trial number, each trial's in the order of its steps.

        Plots take it as ``reports=``. It costs two statements, however many trials there are.

        Args:
            metrics: Only of these metrics; None for all.
            most: About how many reports to return, at least 1. Of more, each trial's first and every nth step are
                returned.
        """
        if metrics is not None:
            for name in check_sequence("metrics", metrics, 'a list of names, such as ["loss"], or None'):
                if not isinstance(name, str) or not is_unicode(name):
                    raise InvalidArgument("metrics", name, 'names of metrics, such as "loss"')
        check_integer("most", most, 1)
        return self._read(queries.reports, metrics, most=most)

    def population_at(self, trial: Trial | int) -> list[Trial]:
        """Return the population that a trial's decision saw: each member's latest completed trial at that moment.

        With ``trial.decision`` this answers why its hyperparameters are what they are.
        """
        return self._read(queries.heads_at, self.trial(trial_number(trial)).decision.as_of)

    def events(self) -> list[Event]:
        """Return what happened beside decisions and results.

        Among them are changes of control, attempts that ended without a result, trials that were given up, cut or
        stopped early, and each start of an owner with the versions that it ran with.
        """
        return [event for _, event in self._read(queries.events)]

    @property
    def errors(self) -> list[FailedAttempt]:
        """Every attempt that raised, was lost with its worker, or met damage, in order; also those that were retried.

        Example:
            ``for failed in study.errors: print(failed.trial, failed.attempt, failed.error)``
        """
        found = self._read(queries.events, kinds=[ENDED_ATTEMPT])
        return [failed for _, event in found if (failed := failed_attempt(event)) is not None]

    def changes(self, since: int = -1, *, limit: int = 10_000) -> list[StudyChange]:
        """Return the changes that were committed after a write, in order: the records that callbacks get.

        It needs no owner, so any process can follow a study that another one runs.

        Args:
            since: Sequence number of the last change that you know; -1 for all.
            limit: Most changes to return, at least 1; all changes of the last write are returned.

        Example:
            ``known = -1``, then again and again: ``for change in study.changes(since=known): known = change.sequence``
        """
        check_integer("since", since, -1)
        check_integer("limit", limit, 1)
        return self._read(queries.study_changes, since=since, limit=limit)

    def _read(self, query: Callable[Concatenate[Connection, int, P], T], *given: P.args, **named: P.kwargs) -> T:
        """Return what a query finds of the study."""
        with self.database.read() as connection:
            return query(connection, self._id, *given, **named)

    def trials_dataframe(self) -> pandas.DataFrame:
        """Return the trials as a pandas data frame: a row a trial, a column a hyperparameter and a metric."""
        from phyletic.records.frames import trials_dataframe

        return trials_dataframe(self.trials(), self.space, [metric.name for metric in self.metrics])

    def checkpoint_path(self, trial: Trial | int | None = None) -> Path:
        """Return where a trial's checkpoint is: a folder, or a packed file in the safetensors format.

        Args:
            trial: The trial or its number; the best one by default.

        Raises:
            NotFound: It left none, or it was collected.
        """
        return self.checkpoints.path(self._checkpoint(trial).id)

    def restore(self, trial: Trial | int | None = None, /, **state: Any) -> dict[str, Any]:
        """Load a trial's checkpoint into objects: ``study.restore(model=model)`` loads the best model.

        Args:
            trial: The trial or its number; the best one by default.
            **state: Objects to load into, by the names under which ``build`` returned them. The other entries
                are returned as they were saved, as plain data or arrays.

        Returns:
            The named objects, or what replaces them; with no names, every entry.
        """
        with self.checkpoints.open(self._checkpoint(trial)) as opened:
            opened.verify()
            unknown = [name for name in state if name not in opened.entries]
            if unknown:
                raise NotFound(f"the checkpoint has no {unknown[0]!r}; it has: {', '.join(opened.entries)}")
            if not state:
                return {name: opened.value(name) for name in opened.entries}
            opened.restore(state)
            return state

    def export(
        self,
        folder: str | Path,
        trial: Trial | int | None = None,
        build: Callable[[Any], Mapping[str, Any]] | None = None,
    ) -> Path:
        """Write a trial's model with its schedule and lineage into a folder, as files that need no phyletic to read.

        Each entry of the checkpoint becomes a file or two: a ``state_dict`` of torch a ``.pt`` file, other arrays and
        plain data ``.npz`` and ``.json``, a scikit-learn estimator its pickle as it is, which this never opens.
        Random states are left out. Your own files are copied. Beside them lie ``schedule.json``, ``schedule.csv``,
        ``lineage.json`` and a ``README.md``, which says what each file is and how to load it.

        Args:
            folder: Where to write; must not exist, or be empty.
            trial: The trial or its number; the best one by default.
            build: The training code's ``build``. A checkpoint holds the variables of a Keras model and not what it is
                made of, so only with ``build`` is the whole model written too, as a ``.keras`` file. It is called as
                in training, with the trial.

        Returns:
            The folder's path.

        Raises:
            InvalidArgument: The folder holds something or cannot be written, or ``build`` makes no such model; nothing
                is written then.
            NotFound: The trial left no checkpoint, or it was collected.
            CheckpointDamaged: The checkpoint is not what was published.
        """
        from phyletic.study.export import export

        record = self.best if trial is None else self.trial(trial_number(trial))
        return export(self, record, self._checkpoint(record), folder, build)

    def _checkpoint(self, trial: Trial | int | None) -> CheckpointReference:
        record = self.best if trial is None else self.trial(trial_number(trial))
        if record.checkpoint is None or not self.checkpoints.exists(record.checkpoint.id):
            raise NotFound(
                f"trial {record.number} has no checkpoint: it left none, or it was collected (see Study.pin)"
            )
        return record.checkpoint

    def status(self) -> StudyStatus:
        """Return how far the study is, for people and scripts."""
        return status_of(self)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up and nothing is open."""
        return self.status().state == "finished"

    # --- training again, and checking ---------------------------------------------------------------------------

    def replay(
        self,
        train: Callable[[Any], object],
        schedule: Schedule | str | Path | None = None,
        *,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        workers: int | None = None,
        storage: str | Path | None = None,
    ) -> Study:
        """Train one model, or one for each of several seeds, from scratch through a schedule.

        Args:
            train: The training code.
            schedule: The schedule, or a file of it; the best trial's by default.
            seed: Of the training code's randomness; drawn by default.
            seeds: A seed for each of several models, such as ``[1, 2, 3]``, instead of ``seed``.
            workers: Local processes that train; by default it trains in this one.
            storage: Where the new study is stored; None keeps it in memory.

        Returns:
            A study with a member for each seed, whose last trial is the model (:meth:`restore` loads it).
        """
        from phyletic.study.replay import replay

        chosen = self.schedule() if schedule is None else schedule
        return replay(self, train, chosen, seed=seed, seeds=seeds, workers=workers, storage=storage)

    def check(self, train: Callable[[Any], object], *, steps: int | None = None) -> list[str]:
        """Find state that no checkpoint holds: continue a trial in memory, and once more from its parent's checkpoint.

        Args:
            train: The training code.
            steps: Steps of each trial; the algorithm's interval by default.

        Returns:
            What differs, by name, such as ``"model/0.weight"`` and ``"metrics/accuracy"``; empty if all is well. Then
            come likely causes, if any is found, each as a text that begins with ``"likely cause: "``: a variable that
            trials change and no checkpoint holds, a DataLoader with persistent workers, draws from a global generator.
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
        """The metrics that the training code reports; the first ranks the members."""
        return self.identity.metrics

    @property
    def storage(self) -> str:
        """Where the study is stored, for messages."""
        return self.database.location

    @property
    def logs(self) -> Path:
        """Folder of the local workers' logs."""
        return self.database.folder("logs")

    def close(self) -> None:
        """End this object's ownership of the storage, and release the trials that it holds; it can be used again."""
        self._held.release()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Study({self.name!r}, storage={self.storage!r})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: how far the study is, and its best trial."""
        return html_of(self)


def trial_number(trial: object) -> int:
    """Return the number of a trial, or a number as it is, or raise InvalidArgument."""
    # numbers from a data frame are numpy integers
    number = whole_number(trial.number if isinstance(trial, (Trial, LiveTrial)) else trial)
    if number is None or not 0 <= number < 2**63:
        raise InvalidArgument("trial", trial, "a trial, or its number")
    return number


def delete_study(name: str, storage: str | Path) -> None:
    """Delete a study with its checkpoints, for good.

    Args:
        name: The study.
        storage: Where it is stored.

    Raises:
        NotFound: There is no such file or study.
        StorageOwned: A process owns the storage: end its run first.
    """
    from phyletic.study.local_home import delete

    delete(check_name(name), storage)


def studies(storage: str | Path) -> list[StudyIdentity]:
    """Return the identities of the studies in a storage, in the order in which they were created.

    Raises:
        NotFound: There is no such file.
    """
    return home_at(storage).studies()
