"""Messages cross the socket whole and unchanged, however the bytes are split."""

from __future__ import annotations

import math
import socket
import struct
import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.coordinator.messages import Ask, Done, Fail, Finished, Heartbeat, Refused, Tell
from phyletic.records import Evaluation, Lease
from phyletic.workers import wire
from phyletic.workers.wire import Answers, FramedSocket, Request, Setup, receive, send

LEASE = Lease(trial=3, fence=1, token="t" * 32, session="s" * 32)

commands = st.one_of(
    st.builds(Ask, session=st.text(max_size=8), in_memory=st.frozensets(st.integers(0, 2**53), max_size=3)),
    st.builds(Fail, lease=st.just(LEASE), error=st.text(max_size=50)),
    st.builds(
        Heartbeat,
        lease=st.just(LEASE),
        evaluations=st.lists(
            st.builds(Evaluation, step=st.integers(0, 99), metric=st.text(min_size=1, max_size=5), value=st.floats())
        ).map(tuple),
    ),
    st.builds(
        Tell,
        lease=st.just(LEASE),
        evaluations=st.just(()),
        steps_done=st.integers(1, 2**53),
        applied=st.dictionaries(st.text(max_size=5), st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=3))),
    ),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(requests=st.lists(st.lists(commands, max_size=3).map(tuple), min_size=1, max_size=4), cut=st.integers(1, 40))
def test_requests_arrive_whole_however_they_are_split(requests: list[tuple[object, ...]], cut: int) -> None:
    ours, theirs = socket.socketpair()
    framed = FramedSocket(ours)
    sent = [Request(request) for request in requests]  # type: ignore[arg-type]
    stream = b"".join(wire._framed(message) for message in sent)
    received = []
    for start in range(0, len(stream), cut):
        theirs.sendall(stream[start : start + cut])
        received += framed.receive()
    # compared as bytes, since NaN does not equal itself
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    assert [encode(one) for one in received] == [encode(one) for one in sent]
    framed.close()
    theirs.close()


def test_non_finite_values_arrive_unchanged() -> None:
    ours, theirs = socket.socketpair()
    values = (math.nan, math.inf, -math.inf, -0.0)
    evaluations = tuple(Evaluation(step=1, metric="m", value=value) for value in values)
    send(theirs, Request((Heartbeat(lease=LEASE, evaluations=evaluations),)))
    (message,) = FramedSocket(ours).receive()
    beat = message.commands[0]  # type: ignore[union-attr]
    assert [repr(one.value) for one in beat.evaluations] == ["nan", "inf", "-inf", "-0.0"]  # type: ignore[union-attr]
    theirs.close()


def test_a_message_larger_than_the_sockets_buffer_is_sent_without_blocking() -> None:
    ours, theirs = socket.socketpair()
    framed = FramedSocket(ours)
    packed = bytes(range(256)) * 20_000
    setup = Setup(
        program=b"",
        train=packed,
        worker="w",
        session="s",
        reload="changed",
        upload="background",
        space={},
        checkpoints=b"",
        beat_seconds=1.0,
    )
    framed.send(setup)
    assert framed.sending
    received: list[Setup | Answers] = []
    reader = threading.Thread(target=lambda: received.append(receive(theirs)))
    reader.start()
    while framed.sending:
        framed.flush()
    framed.send(Answers((Done(), Finished("enough"))))
    reader.join()
    assert received == [setup]
    assert receive(theirs) == Answers((Done(), Finished("enough")))
    framed.close()
    with pytest.raises(EOFError):
        receive(theirs)
    theirs.close()


def test_the_end_of_a_socket_is_noticed_after_the_messages_before_it() -> None:
    ours, theirs = socket.socketpair()
    framed = FramedSocket(ours)
    send(theirs, Refused(error="TrainingError", message="no"))
    theirs.close()
    assert framed.receive() == [Refused(error="TrainingError", message="no")]
    assert framed.ended
    framed.send(Answers(()))  # the other end is closed, but this is not an error
    assert not framed.sending
    framed.close()


@pytest.mark.parametrize("stream", [struct.pack(">Q", 2**40), struct.pack(">Q", 3) + b"abc"])
def test_bytes_that_are_not_a_message_are_refused(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(stream)
    with pytest.raises(msgspec.DecodeError):
        FramedSocket(ours).receive()
    theirs.close()
