"""A new owner loads exactly the state that the last one committed, by a fixed number of statements."""

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import Ask, Control, Fail, Granted, Leave, Pin, Tell
from phyletic.records import CheckpointReference, Evaluation, TrialState
from phyletic.simulate import Ledger, check_stored
from phyletic.testing.example import facts

ALGORITHMS = st.sampled_from(
    [
        ph.PBT(3, 4),
        ph.PBT(3, 4, synchronous=True),
        ph.PBT(3, 4, exploit=ph.TTest(window=5)),
        ph.PBT(3, 4, compare="matched", early_stopping=ph.MedianStopping()),
    ]
)
ENDINGS = st.sampled_from(
    ["completed", "nan", "no checkpoint", "partial", "error", "lost", "released", "damaged", "hopeless"]
)
CONTROLS = st.sampled_from(
    [
        Control(population=1),
        Control(population=2),
        Control(population=4),
        Control(keep_best=3),
        Control(keep_best=1),
        Control(budget=ph.Budget(steps=30)),
        Control(budget=ph.Budget(steps=1000)),
        Pin(trial=0),
        Pin(trial=0, keep=False),
    ]
)
RUNS = st.lists(st.tuples(ENDINGS, st.integers(0, 50)) | CONTROLS, max_size=6)


def ended(grant, how, place):
    """Return the command that a worker sends at the end of an attempt."""
    trial, lease = grant.trial, grant.lease
    if how in ("error", "lost", "released", "damaged"):
        return Fail(lease=lease, error="it broke", cause=how)
    done = 1 if how == "partial" else trial.steps
    score = float("nan") if how == "nan" else float(place % 7)
    score_or_none = () if how == "partial" else (Evaluation(trial.start_step + done, "score", score),)
    reference = CheckpointReference(grant.checkpoint, f"sha256:{place}", 8)
    return Tell(
        lease=lease,
        evaluations=(Evaluation(trial.start_step, "score", 0.5, "progress"), *score_or_none),
        steps_done=done,
        checkpoint=None if how == "no checkpoint" else reference,
        partial=how == "partial",
        hopeless=how == "hopeless",
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ALGORITHMS, RUNS)
def test_the_loaded_state_is_the_committed_state(algorithm, runs):
    study = ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=algorithm,
        budget=ph.Budget(steps=1000),
        seed=0,
        max_failures=2,
        max_losses=2,
    )
    coordinator = Coordinator(study.database, "study", space=study.space, algorithm=algorithm)
    coordinator.begin(0.0)

    def say(*commands):
        return coordinator.execute(commands, float(place)).replies

    place = 0
    for run in runs:
        if not isinstance(run, tuple):
            say(run)
            continue
        ending, count = run
        for _ in range(count):
            place += 1
            (answer,) = say(Ask(session=f"{place % 3:032x}"))
            if isinstance(answer, Granted):
                say(ended(answer.first, ending, place))
    assert not check_stored(study.database, coordinator.state, _nothing_seen(study))
    say(Leave(session=f"{0:032x}"))
    assert not check_stored(study.database, coordinator.state, _nothing_seen(study))


def _nothing_seen(study):
    """Return the ledger of an observer who reads the store, so that only the two states are compared."""
    trials = study.trials(states=[TrialState.COMPLETED, TrialState.PARTIAL])
    told = {trial.checkpoint.id for trial in trials if trial.checkpoint is not None}
    return Ledger(ended={trial.number: trial for trial in trials}, published=told)


def make(storage, population=1, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 20, **options),
        budget=ph.Budget(steps=400),
        storage=storage,
        seed=0,
    )


def test_a_head_survives_any_number_of_hand_backs(tmp_path):
    study = make(tmp_path / "a.db")
    study.tell(study.ask(), score=1.0, checkpoint={"w": [1.0]})
    for _ in range(15):
        study.tell(study.ask(), checkpoint={"w": [2.0]}, partial=True, steps_done=1)
    study.close()
    again = ph.Study("study", storage=tmp_path / "a.db")
    assert again.owner.state.member(0).view.trial.number == 0
    assert again.restore(0) == {"w": [1.0]}
    again.close()


def test_an_interruption_after_many_failures_changes_no_decision(tmp_path):
    """A member that fails in many generations has the same parents whether or not the study is reopened."""

    def run(storage, reopen_at):
        study = make(storage, population=4, synchronous=True)
        for count in range(4 * 20 * 3):
            if count == reopen_at:
                study.close()
                study = ph.Study("study", storage=storage)
            trial = study.ask()
            if not isinstance(trial, ph.LiveTrial):
                break
            if trial.member == 3 and 2 <= trial.generation <= 17:
                study.fail(trial, "it broke")
            else:
                study.tell(trial, score=trial["lr"] * trial.member, checkpoint={"w": [trial.number]})
        study.close()
        return facts(study)

    assert run(tmp_path / "a.db", None) == run(tmp_path / "b.db", 110)


def test_opening_costs_a_fixed_number_of_statements(tmp_path):
    counts = []
    for population in (2, 20):
        study = make(tmp_path / f"{population}.db", population=population)
        for place in range(3 * population):
            trial = study.ask()
            study.tell(trial, score=float(place), checkpoint={"w": [place]})
        study.close()
        statements = []

        def note(connection, cursor, statement, *rest, statements=statements):
            statements.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            again = ph.Study("study", storage=tmp_path / f"{population}.db")
            again.owner.begin()
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        again.close()
        counts.append(len([one for one in statements if not one.startswith(("PRAGMA", "BEGIN"))]))
    assert counts[0] == counts[1]
    assert counts[0] <= 12
