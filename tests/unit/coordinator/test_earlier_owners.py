"""An earlier owner cannot write, even if the next one has not changed anything yet."""

import pytest

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Control,
    Done,
    Fail,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Tell,
)
from phyletic.errors import StorageOwned
from phyletic.records import CheckpointReference, CheckpointState, Evaluation
from phyletic.storage import queries

SESSION, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def study():
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 5),
        budget=ph.Budget(steps=50),
        seed=0,
    )


def coordinator_of(study):
    return Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm)


def stored(study):
    with study.database.read() as connection:
        return list(connection.connection.driver_connection.iterdump())


@pytest.mark.parametrize("first", [Ask(session=OTHER), Control(paused=True)])
def test_an_earlier_owner_refuses_every_command(study, first):
    earlier, later = coordinator_of(study), coordinator_of(study)
    earlier.begin(0.0)
    lease = earlier.execute([Ask(session=SESSION)], 0.0).replies[0].first.lease
    later.begin(0.0)
    before = stored(study)
    result = Tell(lease=lease, evaluations=(Evaluation(5, "score", 1.0),), steps_done=5)
    for command in [
        first,
        Ancestors(trial=0),
        Heartbeat(lease=lease),
        result,
        Fail(lease=lease, error="it broke"),
        Ask(session=SESSION),
        Leave(session=SESSION),
        Pin(trial=0),
        Control(population=3),
    ]:
        for _ in range(2):
            with pytest.raises(StorageOwned, match="another owner"):
                earlier.execute([command], 1.0)
    earlier.end(2.0)
    assert stored(study) == before
    (granted,) = later.execute([Ask(session=SESSION)], 0.0).replies
    assert (granted.first.trial.number, granted.first.lease.fence) == (0, 2)


def test_an_earlier_owner_that_has_not_noticed_ends_without_an_error(study):
    earlier, later = coordinator_of(study), coordinator_of(study)
    earlier.begin(0.0)
    earlier.execute([Ask(session=SESSION)], 0.0)
    later.begin(0.0)
    before = stored(study)
    earlier.end(100.0)
    assert stored(study) == before


def test_a_checkpoint_that_a_detached_worker_publishes_while_owners_change_is_kept(study):
    def open_study():
        coordinator = coordinator_of(study)
        return coordinator, coordinator.begin(0.0).condemned

    coordinator, _ = open_study()
    _, granted = coordinator.execute(
        [Join(session=SESSION, worker="far", lease_seconds=60.0), Ask(session=SESSION)], 0.0
    ).replies
    grant = granted.first
    for _ in range(2):
        coordinator, condemned = open_study()
        assert grant.checkpoint not in condemned
    assert coordinator.state.open[grant.trial.number].checkpoint == grant.checkpoint
    told = Tell(
        lease=grant.lease,
        evaluations=(Evaluation(5, "score", 1.0),),
        steps_done=5,
        checkpoint=CheckpointReference(grant.checkpoint, "sha256:0", 1),
    )
    outcome = coordinator.execute([told], 0.0)
    assert isinstance(outcome.replies[0], Done)
    assert outcome.condemned == ()
    with study.database.read() as connection:
        assert queries.checkpoint_state(connection, coordinator.state.id, grant.checkpoint) is CheckpointState.DURABLE
