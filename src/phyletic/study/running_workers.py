"""Running a study in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phyletic.study.display import LiveDisplay
from phyletic.workers.local import Supervision, run_local_workers

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["run_workers"]


def run_workers(
    study: Study,
    train: Callable[[Any], object],
    *,
    workers: int,
    devices: Sequence[object] | None,
    threads: int | None,
    reload: str,
    trial_timeout: float | None,
    grace: float,
    environment: Mapping[str, str] | None,
    display: LiveDisplay,
) -> None:
    """Run the training code in local workers until the budget is used up; see :meth:`Study.run`."""
    run_local_workers(
        study.owner.execute,
        train,
        workers=workers,
        space=study.identity.space,
        checkpoints=study.checkpoints.address,
        logs=study.logs,
        reload=reload,
        devices=devices,
        threads=threads,
        environment=environment,
        supervision=Supervision(trial_timeout=trial_timeout, grace=grace),
        announce=display.line,
        study=study.identity.uuid,
    )
