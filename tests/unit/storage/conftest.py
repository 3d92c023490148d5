from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phyletic.records import Budget, Decision, Lease, Metric, StudyControl, StudyIdentity, Trial, TrialState
from phyletic.storage import Database, open_database
from phyletic.storage.changes import Changes, Counters, StoredStudy, TrialUpdate
from phyletic.storage.writing import create_study, take_epoch, write


def make_identity(name: str = "digits") -> StudyIdentity:
    return StudyIdentity(
        uuid="0" * 32,
        name=name,
        space={"lr": {"low": 1e-4, "high": 1e-1}},
        metrics=(Metric("accuracy", "max"),),
        algorithm={"population": 4},
        seed=0,
        initial=({"lr": 0.01},),
    )


def make_trial(number: int, **changes: Any) -> Trial:
    trial = Trial(
        number=number,
        member=number % 4,
        generation=number // 4,
        parent=number - 4 if number >= 4 else None,
        hyperparameters={"lr": 0.01, "width": 64, "nesterov": True, "schedule": "cosine", "clip": None},
        start_step=100 * (number // 4),
        steps=100,
        seed=number,
        state=TrialState.WAITING,
        decision=Decision(kind="birth" if number < 4 else "continue"),
        created=1000.0 + number,
    )
    return msgspec.structs.replace(trial, **changes)


def make_lease(number: int, fence: int = 1, session: str = "a") -> Lease:
    return Lease(number, fence, f"{number:016x}{fence:016x}", session * 32)


CONTROL = StudyControl(budget=Budget(steps=3000), population=4)


@dataclass
class Studied:
    """A study in a store, written as its owner writes it."""

    store: Database
    stored: StoredStudy
    counters: Counters

    @property
    def id(self) -> int:
        return self.stored.id

    def write(self, inserted: Any = (), **changes: Any) -> None:
        """Write the next state."""
        after = msgspec.structs.replace(self.counters, sequence=self.counters.sequence + 1)
        new = [TrialUpdate(trial=trial, lease=lease) for trial, lease in inserted]
        made = Changes(expected=self.counters.sequence, counters=after, inserted=new, **changes)
        with self.store.transaction(durable=False) as connection:
            write(connection, self.id, made)
        self.counters = after

    def read(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        with self.store.read() as connection:
            return function(connection, self.id, *arguments, **keywords)


def begin_study(store: Database, name: str = "digits") -> Studied:
    with store.transaction() as connection:
        stored = create_study(connection, make_identity(name), CONTROL, 1000.0)
        epoch = take_epoch(connection, stored.id, stored.counters.epoch)
    return Studied(store, stored, msgspec.structs.replace(stored.counters, epoch=epoch))


@pytest.fixture(params=["file", "memory"])
def studied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studied]:
    store = open_database(tmp_path / "digits.db" if request.param == "file" else None)
    store.own()
    yield begin_study(store)
    store.close()


@pytest.fixture
def begin() -> Callable[..., Studied]:
    return begin_study


@pytest.fixture
def trial() -> Callable[..., Trial]:
    return make_trial


@pytest.fixture
def lease() -> Callable[..., Lease]:
    return make_lease
