"""Every record and message crosses the wire unchanged, and a field that does not travel is listed here."""

import enum
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf")

import phyletic as ph
from phyletic.coordinator import messages
from phyletic.coordinator.messages import Command, Reply
from phyletic.errors import InvalidArgument
from phyletic.evolution.codec import algorithm_to_json
from phyletic.evolution.stateless import MemberSuggestion
from phyletic.records import (
    Budget,
    CheckpointReference,
    Decision,
    Evaluation,
    Event,
    Lease,
    Measured,
    Metric,
    SavedState,
    StudyChange,
    StudyControl,
    StudyIdentity,
    Suggestion,
    Timings,
    Trial,
)
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import (
    command_from_message,
    command_to_message,
    from_message,
    reply_from_message,
    reply_to_message,
    to_message,
)
from phyletic.storage.changes import Counters, MemberRow, SessionRecord, StoredStudy
from phyletic.storage.mirror import MirroredEvent, MirroredTrial, StudyRows

RECORDS = [
    *(Budget, CheckpointReference, Decision, Evaluation, Event, Lease, Measured, Metric, SavedState, StudyChange),
    *(StudyControl, StudyIdentity, Suggestion, Timings, Trial, MemberSuggestion),
    *(Counters, MemberRow, SessionRecord, StoredStudy, MirroredEvent, MirroredTrial, StudyRows),
]
STAYS = {
    # of a process on its own machine
    "Join": {"pid", "created"},
    "SessionRecord": {"pid", "created"},
    # the folder of checkpoints is the server's
    "Control": {"checkpoints"},
}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
DATA = st.recursive(VALUE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
COUNT = st.integers(0, 2**53)
SPACE = ph.Space(
    {
        "lr": ph.Float(1e-4, 1e-1, log=True),
        "layers": ph.Int(1, 8),
        "size": ph.Ordinal([16, 32.5, "many"]),
        "optimizer": ph.Choice({"sgd": {"momentum": ph.Float(0, 1, step=0.25)}, "adam": {}}),
        "flag": ph.Choice([True, None, 2, 0.5, "x"], fixed=True),
        "fixed": {"a": 1, "b": "x", "c": None},
    }
)
ALGORITHMS = [
    algorithm_to_json(one)
    for one in (
        ph.PBT(8, 100, early_stopping=ph.MedianStopping()),
        ph.PBT(8, interval_seconds=2.5, exploit=ph.TTest(), explore=[ph.Perturb(), ph.Resample(0.1)]),
        ph.RandomSearch(population=4, interval=10),
    )
]


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a field's values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(one) for one in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple and inner[-1] is ...:
        return st.lists(values_of(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[values_of(one) for one in inner])
    if origin is frozenset:
        return st.frozensets(COUNT, max_size=3)
    if origin is dict:
        kind = DATA if inner[1] is Any else values_of(inner[1])
        return st.dictionaries(TEXT, kind, max_size=3)
    if hint is Trial:
        return trials()
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    simple = {int: COUNT, float: st.floats(), str: TEXT, bool: st.booleans(), type(None): st.none()}
    return simple[hint] if hint in simple else records(hint)


@st.composite
def records(draw: st.DrawFn, kind: Any) -> Any:
    """Return a record of a kind, with any values that its fields may have."""
    hints = typing.get_type_hints(kind)
    fields = {name: draw(values_of(hints[name])) for name in hints if not name.startswith("_")}
    fields = {name: value for name, value in fields.items() if name not in STAYS.get(kind.__name__, ())}
    if kind is StudyIdentity:
        fields |= {"space": SPACE.to_json(), "algorithm": draw(st.sampled_from(ALGORITHMS))}
    try:
        return kind(**fields)
    except InvalidArgument:
        assume(False)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    hints = typing.get_type_hints(Trial)
    easy = {name: draw(values_of(hint)) for name, hint in hints.items()}
    start, number = draw(COUNT), draw(st.integers(1, 2**40))
    return Trial(
        **{
            **easy,
            "number": number,
            "parent": draw(st.none() | st.integers(0, number - 1)),
            "start_step": start,
            "steps": draw(st.none() | st.integers(1, 100)),
            "end_step": draw(st.none() | st.just(start + 3)),
        }
    )


def same(one: Any, other: Any) -> bool:
    """Whether two records are the same, also where NaN is in them, and of the same types."""
    if isinstance(one, messages.Ask):
        return bool(one == other)
    return repr(one) == repr(other) and type(one) is type(other)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    record = data.draw(values_of(kind))
    message = to_message(record, getattr(pb, kind.__name__))
    raw = message.SerializeToString()
    assert same(from_message(type(message).FromString(raw), kind), record)


@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_command_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    command = data.draw(records(kind))
    raw = command_to_message(command).SerializeToString()
    assert same(command_from_message(pb.Command.FromString(raw)), command)


@pytest.mark.parametrize("kind", get_args(Reply), ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_reply_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    reply = data.draw(records(kind))
    raw = reply_to_message(reply).SerializeToString()
    assert same(reply_from_message(pb.Reply.FromString(raw)), reply)


@pytest.mark.parametrize("kind", [*RECORDS, *get_args(Command), *get_args(Reply), messages.Grant])
def test_every_field_travels_unless_it_is_listed(kind: Any) -> None:
    fields = set(typing.get_type_hints(kind)) if kind is Budget else set(kind.__struct_fields__)
    travels = set(getattr(pb, kind.__name__).DESCRIPTOR.fields_by_name)
    assert travels == fields - STAYS.get(kind.__name__, set())


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (pb.Command(), "command"),
        (pb.Command(fail=pb.Fail(cause="boredom")), "cause"),
        (pb.Command(enqueue=pb.Enqueue(values=[pb.NamedValue(name="lr")])), "value"),
        (pb.Command(enqueue=pb.Enqueue(values=[pb.NamedValue(name="lr", value=pb.Value(null=True))] * 2)), "names"),
        (pb.Command(enqueue=pb.Enqueue(values=[pb.NamedValue(value=pb.Value(large_integer="x"))])), "value"),
    ],
)
def test_a_message_that_says_too_little_is_refused_by_name(message: pb.Command, named: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        command_from_message(message)
    assert refused.value.name == named


def test_msgspec_and_the_wire_agree_on_a_real_study() -> None:
    study = ph.Study(
        "toy", space=SPACE, metric="score", mode="max", algorithm=ph.PBT(2, 5), budget=ph.Budget(steps=5), seed=0,
        initial=[{"lr": 0.01}],
    )  # fmt: skip
    identity = from_message(to_message(study.identity, pb.StudyIdentity), StudyIdentity)
    assert msgspec.json.encode(identity) == msgspec.json.encode(study.identity)
