"""Which checkpoints a client may touch, in a real study: those of running attempts, and never those that were told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import phyletic as ph
from phyletic.coordinator.saves import save_id
from phyletic.errors import NotFound
from phyletic.service.stored_checkpoints import StoredCheckpoints, checkpoint_routes
from phyletic.service.tokens import Tokens
from phyletic.storage import open_database, queries

ACTIONS = ("read", "write", "discard")


def allowed(stored: StoredCheckpoints, id: str, study: str = "digits") -> set[str]:
    return {action for action in ACTIONS if stored.may(study, id, action)}


@pytest.fixture
def study(tmp_path: Path):
    def named(name: str) -> ph.Study:
        return ph.Study(
            name, space={"lr": ph.Float(0, 1)}, metric="score", mode="max", algorithm=ph.PBT(2, 2),
            storage=str(tmp_path / "digits.db"),
        )  # fmt: skip

    named("other").close()
    with named("digits") as opened:
        yield opened


def publishing(study: ph.Study) -> list[str]:
    database = open_database(study.storage)
    with database.read() as connection:
        found = queries.load_study(connection, study.name)
        assert found is not None
        return [id for _, _, id in queries.open_trials(connection, found.id) if id is not None]


def test_an_attempt_may_use_its_id_until_it_is_told(study: ph.Study, tmp_path: Path) -> None:
    stored = StoredCheckpoints(open_database(study.storage))
    (tmp_path / "mine").mkdir()
    trial = study.ask()
    (id,) = publishing(study)
    assert allowed(stored, id) == {"read", "write", "discard"}
    assert allowed(stored, save_id(id, 1)) == {"read", "write", "discard"}
    for unknown in (save_id(id, 2), "0" * 32):
        assert allowed(stored, unknown) == set()
    assert allowed(stored, id, "other") == set(), "another study's ids are none of its own"
    study.tell(trial, {"score": 1.0}, checkpoint=tmp_path / "mine")
    assert allowed(stored, id) == {"read"}
    assert allowed(stored, save_id(id, 1)) == set()


def test_a_late_attempt_may_still_write_what_will_be_deleted(study: ph.Study) -> None:
    stored = StoredCheckpoints(open_database(study.storage))
    trial = study.ask()
    (id,) = publishing(study)
    study.fail(trial, "lost")
    assert allowed(stored, id) == {"read", "write"}


def test_the_folder_is_that_of_the_study(study: ph.Study, tmp_path: Path) -> None:
    stored = StoredCheckpoints(open_database(study.storage))
    assert stored.blobs("digits").location == str(tmp_path / "digits.checkpoints")
    for action in ACTIONS:
        with pytest.raises(NotFound, match="there is no study 'nothing'"):
            stored.may("nothing", "0" * 32, action)
    with pytest.raises(NotFound):
        stored.blobs("nothing")


def test_a_server_starts_without_uploads_that_were_abandoned(study: ph.Study, tmp_path: Path) -> None:
    database = open_database(study.storage)
    for name, age in (("old", 2 * 86400), ("new", 60)):
        (tmp_path / "digits.uploads").mkdir(exist_ok=True)
        (tmp_path / "digits.uploads" / f"{name}.part").touch()
        os.utime(tmp_path / "digits.uploads" / f"{name}.part", (1e9 - age, 1e9 - age))
    (route,) = checkpoint_routes(database, Tokens(tmp_path / "digits.tokens"), now=1e9)
    assert route.path == "/v1/studies/{study:path}/checkpoints/{path:path}"
    assert [path.name for path in (tmp_path / "digits.uploads").iterdir()] == ["new.part"]
