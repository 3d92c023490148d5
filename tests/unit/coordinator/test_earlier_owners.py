"""What an earlier owner decided can no longer be written, also where the next one has changed nothing yet."""

import pytest

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Control, Done, Granted, Join, Tell
from phyletic.errors import StorageError
from phyletic.records import CheckpointReference, CheckpointState, Evaluation
from phyletic.storage import queries

SESSION = "1" * 32


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


@pytest.mark.parametrize("command", [Ask(session=SESSION), Control(paused=True)])
def test_an_earlier_owner_decides_nothing_more(study, command):
    earlier, later = (
        Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm) for _ in range(2)
    )
    earlier.begin(0.0)
    later.begin(0.0)
    with pytest.raises(StorageError):
        earlier.execute([command], 0.0)
    assert study.trials() == []
    assert study.control.paused is False
    (granted,) = later.execute([Ask(session=SESSION)], 0.0).replies
    assert isinstance(granted, Granted)
    grant = granted.first
    assert (grant.trial.number, grant.lease.fence) == (0, 1)


def test_what_a_detached_worker_publishes_while_owners_change_is_kept(study):
    def open_study():
        coordinator = Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm)
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
