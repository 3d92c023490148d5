"""The studies that ``chaos.py`` kills: what runs in their processes, and what must hold of what they leave."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import phyletic as ph
from phyletic.checkpoints.digest import digest_of_file
from phyletic.checkpoints.folder import check_folder
from phyletic.coordinator.messages import Done, Tell
from phyletic.errors import CheckpointError, NotFound, StudyFailed
from phyletic.records import CheckpointState, Trial, TrialState
from phyletic.storage import queries
from phyletic.storage.changes import Counters, StoredCheckpoint
from phyletic.storage.database import open_database
from phyletic.testing.example import facts

__all__ = ["POPULATION", "STEPS", "Plan", "compare", "compare_finished", "notes", "own", "unfinished"]

POPULATION, STEPS = 4, 30


@dataclass(frozen=True)
class Plan:
    """One study: how it runs, and how it keeps its states."""

    workers: int
    synchronous: bool
    folders: bool
    seed: int
    engine: str = "local"
    checkpoints: str | None = None

    def __str__(self) -> str:
        kind = "synchronous" if self.synchronous else "asynchronous"
        return f"{kind}, {self.workers or 'no'} workers, {'folders' if self.folders else 'packed'}"

    @property
    def placed_workers(self) -> Any:
        """How many local workers, or which actors."""
        return ph.RayWorkers(min=1, max=self.workers, resources={"slot": 1}) if self.engine == "ray" else self.workers

    def make(self, folder: Path) -> ph.Study:
        """Create or open the study in a folder."""
        return ph.Study(
            "chaos",
            space={"lr": ph.Float(1e-3, 1.0, log=True), "momentum": ph.Float(0.0, 1.0)},
            metric="score",
            mode="max",
            algorithm=ph.PBT(POPULATION, 1, synchronous=self.synchronous),
            budget=ph.Budget(steps=STEPS),
            storage=folder / "chaos.db",
            checkpoints=self.checkpoints,
            seed=self.seed,
            max_losses=100_000,
        )


# --- in the processes that are killed ---------------------------------------------------------------------------------


def _note(file: Path, *line: object) -> None:
    """Append a line in one write, which a kill does not tear."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def _training(plan: Plan, file: Path, forks: bool) -> Any:
    """Return a training function whose every result depends on all that was before it."""

    def build(trial: ph.LiveTrial) -> dict[str, Any]:
        return {"weights": np.zeros(4000), "steps": 0}

    def save(state: Any, folder: Path) -> None:
        np.save(folder / "weights.npy", state.weights)
        (folder / "inner").mkdir()
        (folder / "inner" / "steps").write_text(str(state.steps))

    def load(state: Any, folder: Path) -> None:
        state.weights = np.load(folder / "weights.npy")
        state.steps = int((folder / "inner" / "steps").read_text())

    def train(trials: Any) -> None:
        _note(file, "began", os.getpid())
        if forks and os.urandom(1)[0] < 128 and os.fork() == 0:
            time.sleep(600)  # a child that holds all that its parent had open
            os._exit(0)
        told: tuple[object, ...] | None = None
        options = {"save": save, "load": load} if plan.folders else {}
        for trial in trials.attach(build, **options):
            if told is not None:
                _note(file, "told", *told)  # the next trial comes with the word that the last result is kept
            state = trial.state
            if state.steps != trial.start_step:
                text = f"trial {trial.number} starts at step {trial.start_step} with a state of step {state.steps}"
                _note(file, "wrong", text)
            for _ in trial.range():
                state.weights = trial["momentum"] * state.weights + trial["lr"] * np.random.standard_normal(4000)
                state.steps += 1
                time.sleep(os.urandom(1)[0] / 256 * 0.01)
            score = float(state.weights[:10].sum())
            trial.report(score=score)
            told = (trial.number, trial.record.attempts, repr(score))
        if told is not None:
            _note(file, "told", *told)

    return train


def own(folder: Path, plan: Plan) -> None:
    """Run a study to its end: the life of an owner."""
    file = folder / "notes"
    began = time.perf_counter()
    study = plan.make(folder)
    study.source()
    study.owner.begin()
    _note(file, "opened", time.perf_counter() - began)
    for wrong in _at_opening(study):
        _note(file, "wrong", wrong)

    execute = study.owner.execute

    def acknowledging(commands: Any) -> Any:
        replies = execute(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(command, Tell) and isinstance(reply, Done):
                _note(file, "told", command.lease.trial, command.lease.fence, repr(command.evaluations[-1].value))
        return replies

    study.owner.execute = acknowledging  # type: ignore[method-assign]
    try:
        # what training code forks in an actor is Ray's to end
        forks = plan.engine == "local" and plan.workers > 0
        study.run(_training(plan, file, forks), workers=plan.placed_workers, verbose=0)
    except StudyFailed as error:
        # workers that are killed three times in a row before they ask for a trial are given up
        if "before it asked for a trial" not in str(error):
            raise
        return
    _note(file, "finished")


def _at_opening(study: ph.Study) -> list[str]:
    """Return what earlier owners and workers left that an opening must have put in order."""
    there = set(study.checkpoints.ids())
    wrong = [f"{id} was not deleted" for id in _unfinished(study)]
    durable = {row.id for row in _stored(Path(study.storage))[2] if row.state is CheckpointState.DURABLE}
    wrong += [f"checkpoint {id} is there, and nothing needs it" for id in there - durable]
    wrong += [f"checkpoint {id} is gone" for id in durable - there]
    state = study.owner.state
    if len(state.population()) != POPULATION:
        wrong.append(f"the population is {len(state.population())}")
    needed = [trial for member in state.population() for trial in member.kept]
    needed += [opened.parent for opened in state.open.values() if opened.parent is not None]
    return wrong + [text for trial in needed for text in _damage(study, f"trial {trial.number} is needed", trial)]


def _damage(study: ph.Study, what: str, found: Trial | StoredCheckpoint) -> list[str]:
    reference = found.checkpoint if isinstance(found, Trial) else found.reference
    assert reference is not None
    try:
        study.checkpoints.verify(reference)
    except CheckpointError as error:
        return [f"{what}: {error}"]
    return []


# --- while nobody writes ----------------------------------------------------------------------------------------------


def notes(folder: Path) -> list[list[Any]]:
    """Return what the processes of a study wrote down."""
    file = folder / "notes"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def unfinished(folder: Path, plan: Plan) -> int:
    """Return how many checkpoints are unfinished."""
    try:
        _stored(folder / "chaos.db")
    except NotFound:
        return 0  # the study was not created yet
    return len(_unfinished(plan.make(folder)))


def _unfinished(study: ph.Study) -> list[str]:
    return [id for id in study.checkpoints.ids() if not study.checkpoints.exists(id)]


def compare(folder: Path, plan: Plan) -> tuple[list[str], int]:
    """Compare notes, database and files.

    Returns:
        What is wrong, and how many checkpoints were compared with their digest.
    """
    acknowledged: dict[int, set[tuple[int, str]]] = {}
    for what, *rest in notes(folder):
        if what == "told":
            acknowledged.setdefault(rest[0], set()).add((rest[1], rest[2]))
    try:
        counters, trials, rows, evaluations = _stored(folder / "chaos.db")
    except NotFound:
        return ["there is no study, but results were acknowledged"] if acknowledged else [], 0
    wrong = []
    done = {trial.number: trial for trial in trials if trial.state is TrialState.COMPLETED}
    for number, said in acknowledged.items():
        kept = (done[number].attempts, repr(done[number].score)) if number in done else None
        if said != {kept}:
            wrong.append(f"trial {number} was acknowledged as {said}, and is stored as {kept}")
    if [trial.number for trial in trials] != list(range(counters.next_trial)):
        wrong.append(f"the trials are {[trial.number for trial in trials]}")
    if counters.completed != len(done) or evaluations != len(done):
        wrong.append(f"{len(done)} trials completed, {counters.completed} are counted, {evaluations} evaluations")
    if counters.member_steps != sum(trial.steps_done or 0 for trial in done.values()):
        wrong.append("the steps that are counted are not those that were trained")
    study = plan.make(folder)
    there = study.checkpoints.ids()
    durable = [row for row in rows if row.state is CheckpointState.DURABLE]
    for row in durable:
        wrong += _damage(study, f"the durable checkpoint of trial {row.trial}", row)
    known = {row.id for row in rows if row.state is not CheckpointState.COLLECTED} | _publishing(folder / "chaos.db")
    for id in set(there) - known:
        wrong.append(f"checkpoint {id} is there, and the database does not know it or says that it is gone")
    for id in there:
        if study.checkpoints.exists(id) and not _whole(study.checkpoints.path(id)):
            wrong.append(f"{id} is visible, and not whole")
    return wrong, len(durable)


def compare_finished(folder: Path, plan: Plan) -> tuple[list[str], list[Trial]]:
    """Compare a finished study with one that nothing interrupted.

    Returns:
        What is wrong, and the trials.
    """
    study = plan.make(folder)
    trials = study.trials()
    wrong = [text for what, text in (line for line in notes(folder) if line[0] == "wrong")]
    ends = {trial.member for trial in trials if trial.end_step == STEPS and trial.state is TrialState.COMPLETED}
    if ends != set(range(POPULATION)):
        wrong.append(f"members {sorted(ends)} of {POPULATION} reached step {STEPS}")
    if any(trial.state is not TrialState.COMPLETED or trial.failures for trial in trials):
        wrong.append("a trial failed, or is open at the end")
    if plan.synchronous:
        undisturbed = folder / "undisturbed"
        undisturbed.mkdir()
        reference = replace(plan, checkpoints=None).make(undisturbed)
        reference.run(_training(plan, undisturbed / "notes", False), workers=0, verbose=0)
        if facts(study) != facts(reference):
            wrong.append("its facts are not those of a study that nothing interrupted")
    return wrong, trials


def _stored(database: Path) -> tuple[Counters, Sequence[Trial], Sequence[StoredCheckpoint], int]:
    with open_database(database).read() as connection:
        stored = queries.load_study(connection, "chaos")
        if stored is None:
            raise NotFound("the study was not created yet")
        evaluations = len(queries.evaluations(connection, stored.id))
        return (
            stored.counters,
            queries.trials(connection, stored.id),
            queries.checkpoints(connection, stored.id),
            evaluations,
        )


def _publishing(database: Path) -> set[str]:
    """Return the ids under which running attempts may publish."""
    with open_database(database).read() as connection:
        return set(connection.exec_driver_sql("SELECT publishes FROM trial WHERE publishes IS NOT NULL").scalars())


def _whole(path: Path) -> bool:
    """Whether what is published is complete by its own description, whatever the database says of it."""
    if path.is_dir():
        try:
            check_folder(path.parent, digest_of_file(path.parent / "manifest.json"))
        except (CheckpointError, OSError):
            return False
        return True
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 + length or length == 0:
        return False
    header = json.loads(content[8 : 8 + length])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return len(content) == 8 + length + int(max(ends, default=0))
