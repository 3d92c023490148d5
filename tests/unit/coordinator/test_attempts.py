"""Each attempt that ends without a result is an event with its worker, its times and its cause."""

import pytest

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Done, Fail, Join, Leave, Tell
from phyletic.records import CheckpointReference, Evaluation
from phyletic.records.event import ENDED_ATTEMPT

SESSIONS = {name: f"{place:032x}" for place, name in enumerate(["a", "b", "far"])}


class Desk:
    """A coordinator on a study in memory; the test passes the time of each command."""

    def __init__(self):
        self.study = ph.Study(
            "study",
            space={"lr": ph.Float(0, 1)},
            metric="score",
            mode="max",
            algorithm=ph.PBT(1, 5),
            budget=ph.Budget(steps=50),
            seed=0,
            max_failures=10,
            max_losses=10,
        )
        self.begin(0.0)

    def begin(self, now):
        study = self.study
        self.coordinator = Coordinator(study.database, "study", space=study.space, algorithm=study.algorithm)
        self.coordinator.begin(now)

    def say(self, command, now):
        return self.coordinator.execute([command], now).replies[0]

    def grant(self, worker, now):
        lease = 10.0 if worker == "far" else None
        joining = Join(session=SESSIONS[worker], worker=worker, lease_seconds=lease)
        return self.coordinator.execute([joining, Ask(session=SESSIONS[worker])], now).replies[1].first


def test_the_end_of_each_attempt_is_an_event():
    desk = Desk()
    desk.say(Fail(lease=desk.grant("a", 1.0).lease, error="RuntimeError: no data"), 2.0)
    desk.grant("b", 3.0)
    desk.say(Leave(session=SESSIONS["b"], error="it was killed by signal 9"), 4.0)
    desk.say(Fail(lease=desk.grant("a", 5.0).lease, error="handed back", cause="released"), 6.0)
    desk.grant("far", 7.0)
    for now in range(8, 20):
        # the owner stays awake, so it does not mistake the silence for its own suspension
        desk.say(Join(session=SESSIONS["a"], worker="a"), float(now))
    desk.grant("a", 20.0)
    desk.begin(30.0)
    lease = desk.grant("b", 40.0)
    told = Tell(
        lease=lease.lease,
        evaluations=(Evaluation(5, "score", 1.0),),
        steps_done=5,
        checkpoint=CheckpointReference(lease.checkpoint, "sha256:0", 1),
    )
    assert isinstance(desk.say(told, 41.0), Done)
    events = [event for event in desk.study.events() if event.kind == ENDED_ATTEMPT]
    assert [event.trial for event in events] == [0] * 5
    seen = [
        (event.payload["attempt"], event.payload["worker"], event.payload["started"], event.at, event.payload["cause"])
        for event in events
    ]
    assert seen == [
        (1, "a", 1.0, 2.0, "error"),
        (2, "b", 3.0, 4.0, "lost"),
        (3, "a", 5.0, 6.0, "released"),
        (4, "far", 7.0, 20.0, "lost"),
        (5, "a", 20.0, 30.0, "void"),
    ]
    errors = [event.payload["error"] for event in events]
    assert errors[:3] == ["RuntimeError: no data", "it was killed by signal 9", "handed back"]
    assert "was silent past its deadline" in errors[3]
    assert errors[4] == "its owner ended"
    (trial,) = desk.study.trials()
    assert (trial.attempts, trial.failures, trial.losses) == (6, 1, 2)


@pytest.mark.parametrize("cause", ["error", "lost", "released"])
def test_a_repeated_failure_is_one_event_and_one_failure(cause):
    desk = Desk()
    failed = Fail(lease=desk.grant("a", 1.0).lease, error="it broke", cause=cause)
    first = desk.say(failed, 2.0)
    assert isinstance(first, Done)
    assert desk.say(failed, 3.0) == first
    desk.begin(4.0)
    assert desk.say(failed, 5.0) == first
    assert len([event for event in desk.study.events() if event.kind == ENDED_ATTEMPT]) == 1
    desk.grant("b", 6.0)
    # the trial was granted again, so the message comes too late
    assert desk.say(failed, 7.0).error == "LeaseLost"
