"""Each write is read back unchanged, or changes nothing."""

from __future__ import annotations

import itertools
import math
import string
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from phyletic.errors import InvalidArgument
from phyletic.records import (
    Budget,
    Change,
    CheckpointReference,
    CheckpointState,
    Decision,
    Evaluation,
    Lease,
    StudyControl,
    Timings,
    Trial,
    TrialState,
)
from phyletic.storage import open_database, queries
from phyletic.storage.changes import Changes, Counters, Event, SessionRecord, StaleState, TrialUpdate
from phyletic.storage.writing import create_study, take_epoch, write

ID = "c" * 32
REFERENCE = CheckpointReference(ID, "sha256:" + "0" * 64, 1234)

# SQLite stores whole numbers in a REAL column as integers, so -0.0 becomes 0.0; it changes no other value
numbers = (st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 5e-324])).map(lambda number: number + 0.0)
finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
integers = st.integers(-(2**53), 2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = finite | integers | texts | st.booleans() | st.none()
paths = st.text(string.ascii_lowercase + "._", min_size=1, max_size=10)
decisions = st.builds(
    Decision,
    kind=st.sampled_from(["birth", "continue", "exploit", "rescue", "resume"]),
    as_of=st.integers(0, 2**53),
    rank=st.none() | st.integers(0, 100),
    threshold=st.none() | numbers,
    changes=st.lists(st.builds(Change, paths, values, values, texts), max_size=3).map(tuple),
    note=texts,
)
trials = st.builds(
    Trial,
    number=st.just(7),
    member=st.integers(0, 1000),
    generation=st.integers(0, 1000),
    parent=st.none() | st.integers(0, 6),
    hyperparameters=st.dictionaries(paths, values, max_size=4),
    start_step=st.just(0),
    steps=st.none() | st.integers(1, 2**53),
    seconds=st.none() | finite,
    seed=st.integers(0, 2**32 - 1),
    state=st.sampled_from(TrialState),
    decision=decisions,
    end_step=st.none() | st.integers(0, 2**53),
    score=st.none() | numbers,
    metrics=st.dictionaries(texts, numbers, max_size=3),
    worker=st.none() | texts,
    attempts=st.integers(0, 100),
    failures=st.integers(0, 100),
    losses=st.integers(0, 100),
    timings=st.builds(Timings, training=finite),
    applied=st.dictionaries(paths, values, max_size=3),
    error=st.none() | texts,
    created=finite,
    started=st.none() | finite,
    finished=st.none() | finite,
)


def test_a_trial_is_read_as_it_was_written(begin: Any) -> None:
    store = open_database(None)
    names = map(str, itertools.count())

    # a trial has thirty fields: shrinking takes minutes, and the two printed lines show the difference well enough
    @settings(
        derandomize=True,
        max_examples=60,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(trials)
    def check(trial: Trial) -> None:
        studied = begin(store, next(names))
        studied.write(inserted=[(trial, None)])
        # compare repr, since NaN differs from itself, and 1 must differ from 1.0
        assert repr(studied.read(queries.trials)) == repr([trial])

    check()
    store.close()


def test_an_update_stores_every_field_of_the_trial(studied: Any, trial: Any, lease: Any) -> None:
    held = lease(0)
    studied.write(inserted=[(trial(0), held)])
    told = trial(
        0,
        state=TrialState.COMPLETED,
        end_step=100,
        score=math.nan,
        metrics={"accuracy": math.nan, "loss": math.inf},
        checkpoint=REFERENCE,
        worker="w",
        attempts=1,
        failures=2,
        losses=3,
        timings=Timings(training=1.5),
        applied={"lr": 0.01},
        error="before",
        started=5.0,
        finished=6.0,
        steps=50,
    )
    evaluations = [
        (0, Evaluation(50, "accuracy", 0.5, "progress")),
        (0, Evaluation(100, "accuracy", math.nan)),
        (0, Evaluation(100, "loss", -math.inf)),
    ]
    studied.write(
        updated=[TrialUpdate(told, held, None, "digest")], durable=[(REFERENCE, 0, 1)], evaluations=evaluations
    )
    assert repr(studied.read(queries.trial, 0)) == repr(told)
    # the hyperparameters and the decision of a trial never change
    other = msgspec.structs.replace(trial(0), hyperparameters={"lr": 0.02}, decision=Decision(kind="rescue", donor=3))
    with pytest.raises(StaleState):
        studied.write(updated=[TrialUpdate(other, None, None)])
    assert repr(studied.read(queries.evaluations)) == repr(evaluations)
    assert studied.read(queries.told_digest, 0) == (1, held.token, "digest")
    assert studied.read(queries.open_trials) == []


def test_a_score_of_none_is_not_a_score_of_nan(studied: Any, trial: Any) -> None:
    studied.write(inserted=[(trial(0, score=None), None), (trial(1, score=math.nan), None)])
    without, with_nan = studied.read(queries.trials)
    assert without.score is None
    assert math.isnan(with_nan.score)


def test_the_control_changes_only_if_given(studied: Any) -> None:
    control = StudyControl(budget=Budget(trials=9, target=0.5), population=2, paused=True)
    studied.write(control=control)
    studied.write()
    with studied.store.read() as connection:
        stored = queries.load_study(connection, "digits")
    assert stored is not None
    assert stored.control == control
    assert stored.identity == studied.stored.identity
    assert stored.counters == studied.counters


def test_a_write_based_on_a_stale_state_changes_nothing(studied: Any, trial: Any) -> None:
    before = studied.counters
    studied.write(inserted=[(trial(0), None)])
    stale = Changes(expected=before.sequence, counters=studied.counters, inserted=[(trial(1), None)])
    with pytest.raises(StaleState), studied.store.transaction() as connection:
        write(connection, studied.id, stale)
    assert [found.number for found in studied.read(queries.trials)] == [0]


def test_an_earlier_owner_cannot_write(studied: Any, trial: Any) -> None:
    with studied.store.transaction() as connection:
        assert take_epoch(connection, studied.id, studied.counters.epoch) == studied.counters.epoch + 1
    with pytest.raises(StaleState):
        studied.write(inserted=[(trial(0), None)])
    assert studied.read(queries.trials) == []


@pytest.mark.parametrize("difference", [{"fence": 2}, {"token": "f" * 32}, {"session": "z" * 32}])
def test_only_the_holder_of_a_trial_can_write_it(studied: Any, trial: Any, lease: Any, difference: Any) -> None:
    held = lease(0)
    studied.write(inserted=[(trial(0), held), (trial(1), None)])
    other = msgspec.structs.replace(held, **difference)
    with pytest.raises(StaleState):
        studied.write(
            updated=[TrialUpdate(trial(1, worker="w")), TrialUpdate(trial(0, worker="w"), held=other)],
            evaluations=[(0, Evaluation(1, "accuracy", 0.5))],
        )
    assert studied.read(queries.trials) == [trial(0), trial(1)]
    assert studied.read(queries.evaluations) == []
    studied.write(updated=[TrialUpdate(trial(0, worker="w"), held=held, lease=held)])
    assert studied.read(queries.trial, 0).worker == "w"


def test_a_released_trial_has_no_holder_and_the_next_grant_another_fence(studied: Any, trial: Any, lease: Any) -> None:
    first, second = lease(0), lease(0, fence=2, session="b")
    studied.write(inserted=[(trial(0), first)])
    assert studied.read(queries.open_trials) == [(trial(0), first, None)]
    studied.write(updated=[TrialUpdate(trial(0), first, None)])
    assert studied.read(queries.open_trials) == [(trial(0), None, None)]
    with pytest.raises(StaleState):
        studied.write(updated=[TrialUpdate(trial(0), first, first)])
    studied.write(updated=[TrialUpdate(trial(0), None, second)])
    assert studied.read(queries.open_trials) == [(trial(0), second, None)]


@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.PARTIAL, TrialState.FAILED])
def test_an_ended_trial_is_never_updated(studied: Any, trial: Any, state: TrialState) -> None:
    studied.write(inserted=[(trial(0, state=state), None)])
    with pytest.raises(StaleState):
        studied.write(updated=[TrialUpdate(trial(0))])
    assert studied.read(queries.trial, 0).state is state


def test_a_trial_number_is_used_once(studied: Any, trial: Any) -> None:
    studied.write(inserted=[(trial(0), None)])
    with pytest.raises(StaleState):
        studied.write(inserted=[(trial(0, worker="other"), None)])
    assert studied.read(queries.trials) == [trial(0)]


def test_a_checkpoint_goes_through_its_states(studied: Any, trial: Any, lease: Any) -> None:
    def states() -> dict[str, CheckpointState]:
        return {found.id: found.state for found in studied.read(queries.checkpoints)}

    other = "d" * 32
    studied.write(inserted=[(trial(0), lease(0))])
    studied.write(durable=[(REFERENCE, 0, 1)], void=[(other, 0, 2)])
    assert studied.read(queries.checkpoints)[1].reference is None
    assert states() == {ID: CheckpointState.DURABLE, other: CheckpointState.CONDEMNED}
    found = studied.read(queries.checkpoints, [CheckpointState.DURABLE])
    assert [(each.reference, each.trial, each.fence) for each in found] == [(REFERENCE, 0, 1)]
    with pytest.raises(StaleState):
        studied.write(durable=[(CheckpointReference(other, "sha256:1", 1), 0, 3)])
    studied.write(condemned=[ID], collected=[other])
    studied.write(collected=[ID])
    studied.write(condemned=[other])
    assert states() == {ID: CheckpointState.COLLECTED, other: CheckpointState.COLLECTED}
    assert studied.read(queries.checkpoints, [CheckpointState.CONDEMNED]) == []
    assert len(studied.read(queries.checkpoints, [CheckpointState.COLLECTED])) == 2


def test_pinning_follows_the_trial(studied: Any, trial: Any) -> None:
    studied.write(inserted=[(trial(0), None), (trial(1, checkpoint=REFERENCE), None)])
    studied.write(durable=[(REFERENCE, 1, 1)], pinned=[(1, True), (0, True)])
    assert [found.pinned for found in studied.read(queries.checkpoints)] == [True]
    studied.write(pinned=[(1, False)])
    assert [found.pinned for found in studied.read(queries.checkpoints)] == [False]


def test_sessions_join_and_leave(studied: Any) -> None:
    local = SessionRecord(session="a" * 32, worker="w0", pid=123, created=99.5, epoch=1, joined=5.0)
    remote = SessionRecord(session="b" * 32, worker="w1", epoch=1, joined=4.0)
    studied.write(joined=[local, remote])
    assert studied.read(queries.open_sessions) == [remote, local]
    studied.write(left=[(remote.session, 6.0), ("f" * 32, 6.0)])
    assert studied.read(queries.open_sessions) == [local]


def test_events_have_the_sequence_number_of_their_write(studied: Any) -> None:
    budget = {"steps": 100, "target": None, "score": "NaN"}
    first = [Event(kind="created", at=1.0), Event(kind="budget", at=2.0, trial=3, payload=budget)]
    later = Event(kind="paused", at=3.0, payload={"by": "me"})
    studied.write(events=first)
    studied.write(events=[later])
    assert studied.read(queries.events) == [(1, first[0]), (1, first[1]), (2, later)]
    assert studied.read(queries.events, until=1, kinds=["budget"]) == [(1, first[1])]
    assert [change.kind for change in studied.read(queries.study_changes, since=1, limit=10)] == ["paused"]
    # a limit never splits a write
    assert [change.kind for change in studied.read(queries.study_changes, since=0, limit=1)] == ["created", "budget"]


def test_a_study_name_is_unique(studied: Any) -> None:
    with pytest.raises(InvalidArgument, match="digits"), studied.store.transaction() as connection:
        create_study(connection, studied.stored.identity, studied.stored.control, 1.0)
    with studied.store.read() as connection:
        assert len(queries.studies(connection)) == 1


def test_studies_in_one_database_are_separate(studied: Any, begin: Any, trial: Any) -> None:
    other = begin(studied.store, "other")
    studied.write(inserted=[(trial(0, score=1.0, state=TrialState.COMPLETED), None)])
    other.write(inserted=[(trial(0, worker="other"), Lease(0, 1, "t", "s"))], events=[Event(kind="x", at=1.0)])
    assert studied.read(queries.open_trials) == []
    assert studied.read(queries.events) == []
    assert other.read(queries.trial, 0).worker == "other"
    assert other.read(queries.best_trials, "max", 5) == []
    with studied.store.read() as connection:
        assert [stored.identity.name for stored in queries.studies(connection)] == ["digits", "other"]
        assert queries.load_study(connection, "third") is None


def test_counters_survive(studied: Any) -> None:
    studied.counters = Counters(
        next_trial=2**50,
        sequence=studied.counters.sequence,
        epoch=studied.counters.epoch,
        completed=7,
        failures_in_a_row=2,
        active_seconds=1.25,
        member_steps=2**52,
    )
    studied.write()
    with studied.store.read() as connection:
        stored = queries.load_study(connection, "digits")
    assert stored is not None
    assert stored.counters == studied.counters
