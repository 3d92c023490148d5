"""Export a trial's model with its schedule and lineage, as files that need no phyletic: see :meth:`Study.export`.

``export_plan`` decides what to write, and one function here writes it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phyletic import disk
from phyletic.checkpoints import OpenCheckpoint
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument
from phyletic.records import CheckpointReference, Trial
from phyletic.records.encodings import encode_number
from phyletic.study.export_plan import as_json, plan, text_file
from phyletic.study.export_readme import Facts, Planned, readme
from phyletic.study.schedule import Schedule

if TYPE_CHECKING:
    from phyletic.study.study import Study

Build = Callable[[Any], Mapping[str, Any]]

_ALLOWED = "a folder that does not exist, or is empty"


def export(study: Study, trial: Trial, reference: CheckpointReference, folder: str | Path, build: Build | None) -> Path:
    """Write a trial's model, schedule and lineage; see :meth:`Study.export`.

    Args:
        study: The study.
        trial: The trial.
        reference: Its checkpoint.
        folder: Where to write; must not exist, or be empty.
        build: The training code's ``build``, to export Keras models; None without one.
    """
    if build is not None and not callable(build):
        raise InvalidArgument("build", build, "the function that attach(build) gets, or None")
    target = _empty_folder(folder)
    lineage = study.lineage(trial)
    with study.checkpoints.open(reference) as opened:
        opened.verify()
        models = {} if build is None else _keras_models(study, trial, opened, build)
        planned, left_out = plan(opened, models)
        schedule = Schedule.of(lineage)
        planned += [
            Planned("schedule.json", "the hyperparameters by step; Study.replay reads it too", "json", schedule.save),
            Planned("schedule.csv", "the same, a row for each segment", "", schedule.save),
            Planned("lineage.json", "the trial and its ancestors, the newborn first", "json", lineage_file(lineage)),
        ]
        facts = Facts(study.name, study.metrics[0], trial, len(lineage), study.storage)
        planned.append(Planned("README.md", "", "", text_file(readme(facts, planned, left_out))))  # the last one
        _write(target, planned)
    return target


def lineage_file(lineage: list[Trial]) -> Callable[[Path], None]:
    """Return a function that writes a lineage as JSON: an object for each trial, the newborn first."""
    rows = [
        {
            "number": trial.number,
            "member": trial.member,
            "parent": trial.parent,
            "start_step": trial.start_step,
            "end_step": trial.end_step,
            "hyperparameters": trial.hyperparameters,
            "decision": trial.decision.kind,
            "donor": trial.decision.donor,
            "score": None if trial.score is None else encode_number(trial.score),
        }
        for trial in lineage
    ]
    return text_file(as_json({"trials": rows}))


# --- Keras ----------------------------------------------------------------------------------------------------------


def _keras_models(study: Study, trial: Trial, opened: OpenCheckpoint, build: Build) -> dict[str, Any]:
    """Build the Keras models of a trial, and load its checkpoint into them.

    Args:
        study: The study.
        trial: The trial.
        opened: Its checkpoint.
        build: The training code's ``build``.
    """
    names = [name for name, adapter in opened.entries.items() if adapter == "keras"]
    if not names:
        allowed = "left out: it is for Keras models, and this checkpoint has none"
        raise InvalidArgument("build", build, allowed)
    built = built_by(study, trial, build)
    missing = [name for name in names if name not in built]
    if missing:
        raise InvalidArgument("build", build, f"a function whose result has {missing[0]!r}, as the checkpoint does")
    loaded = {name: opened.load(name, built[name]) for name in names}
    keras: Any = sys.modules["keras"]
    return {name: model for name, model in loaded.items() if isinstance(model, keras.Model)}


def built_by(study: Study, trial: Trial, build: Build) -> Mapping[str, Any]:
    """Return what ``build`` makes for a trial that has ended; as in training, the random states are seeded before.

    Args:
        study: The study.
        trial: The trial.
        build: The training code's ``build``.
    """
    from phyletic.coordinator.messages import Grant
    from phyletic.records import Lease
    from phyletic.workers.attempt import Attempt, State
    from phyletic.workers.live_trial import LiveTrial
    from phyletic.workers.seeding import preserved_random_states, seed_everything

    grant = Grant(trial=trial, lease=Lease(trial.number, 0, "", ""), checkpoint="")
    attempt = Attempt(grant, load_from=study.checkpoints.path, save_to=study.checkpoints.path)
    attempt.state = State()
    attempt.ancestors = lambda number: tuple(each.number for each in study.lineage(number))
    with preserved_random_states():
        seed_everything(trial.seed)
        built = build(LiveTrial(attempt))
    if not isinstance(built, Mapping):
        raise InvalidArgument("build", build, f"a function that returns a dictionary, not a {type(built).__name__}")
    return built


# --- writing --------------------------------------------------------------------------------------------------------


def _empty_folder(folder: str | Path) -> Path:
    """Return the folder to write to, or raise InvalidArgument unless it is empty or does not exist."""
    path = local_path("folder", folder, _ALLOWED)
    try:
        inside = next(path.iterdir(), None)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise InvalidArgument("folder", str(folder), f"{_ALLOWED} ({error.strerror})") from None
    if inside is not None:
        raise InvalidArgument("folder", str(folder), f"{_ALLOWED}, but it holds {inside.name!r}")
    return path


def _write(folder: Path, planned: list[Planned]) -> None:
    """Write all files, or leave nothing.

    Args:
        folder: Is empty, or does not exist.
        planned: The files, in order.

    Raises:
        InvalidArgument: The folder cannot be written.
    """
    first_missing = folder
    while not first_missing.parent.exists():
        first_missing = first_missing.parent
    existed = folder.exists()
    try:
        for file in planned:
            path = folder / file.path
            disk.make_folder(str(path.parent), durable=False)
            file.write(path)
    except BaseException as error:
        for made in list(folder.iterdir()) if existed else [first_missing]:
            with contextlib.suppress(OSError):
                disk.remove_tree(made)
        if isinstance(error, OSError):
            raise InvalidArgument("folder", str(folder), f"a folder that can be written ({error})") from error
        raise
