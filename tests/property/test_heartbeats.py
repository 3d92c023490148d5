"""The owner gets each progress report once and in order, whatever happens to heartbeats and owners."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Done, Join
from phyletic.records import Evaluation
from phyletic.workers.attempt import Attempt

FATES = st.sampled_from(["heard", "heard", "said twice", "not heard", "answer lost", "late", "another owner"])


@given(fates=st.lists(st.tuples(st.integers(0, 3), FATES), max_size=25))
def test_reports_are_known_once_and_in_order(fates):
    shown = []

    def rule(curve, others):
        shown.append([value for _, value in curve.points])
        return False

    study = ph.Study(
        "study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", budget=ph.Budget(steps=50), seed=0,
        algorithm=ph.PBT(2, 5, early_stopping=rule),
    )  # fmt: skip
    numbers = itertools.count()

    def own():
        return Coordinator(
            study.database, "study", space=study.space, algorithm=study.algorithm,
            identity=lambda: f"{next(numbers):032x}",
        )  # fmt: skip

    coordinator = own()
    coordinator.begin(0.0)
    session = "1" * 32
    join = Join(session=session, worker="far", lease_seconds=100.0)
    grant = coordinator.execute([join, Ask(session=session)], 0.0).replies[1].first
    trial = Attempt(grant, load_from=lambda _: None, save_to=lambda _: None)
    late = []

    def say(beat):
        (reply,) = coordinator.execute([beat], 0.0).replies
        assert isinstance(reply, Done)
        return reply

    for count, fate in [*fates, (0, "heard"), (0, "heard")]:
        for _ in range(count):
            said = len(trial.evaluations)
            trial.evaluations.append(Evaluation(said, "score", float(said), "progress"))
        beat = trial.heartbeat(None)
        if fate == "another owner":
            coordinator = own()
            coordinator.begin(0.0)
        elif fate == "late":
            late.append(beat)
        elif fate != "not heard":
            answer = say(beat)
            if fate == "said twice":
                say(beat)
            # late heartbeats arrive now
            while late:
                say(late.pop())
            if fate != "answer lost":
                trial.take_answer(answer)
        known = coordinator.state.progress.get(grant.trial.number)
        if known is not None:
            assert list(known.evaluations) == trial.evaluations[: len(known.evaluations)]
    assert list(coordinator.state.progress[grant.trial.number].evaluations) == trial.evaluations
    assert all(curve == sorted(set(curve)) for curve in shown)
    study.close()
