"""A detached session retries with growing pauses, announces the silence, and gives up only if told to."""

import logging
from random import Random

import pytest

from phyletic.coordinator.messages import Ask, Done, Fail, Finished, Heartbeat, Join
from phyletic.errors import InvalidArgument, Unreachable
from phyletic.records import Lease
from phyletic.workers.detached import DetachedChannel, detached_source

SESSION = "1" * 32
BEAT = Heartbeat(lease=Lease(trial=0, fence=1, token="t", session=SESSION))
FAIL = Fail(lease=BEAT.lease, error="x")


class Link:
    """A link to an owner that does not answer before a given time."""

    def __init__(self):
        self.now = 0.0
        self.answers_from = 0.0
        self.attempts = []

    def exchange(self, commands, timeout=None):
        self.attempts.append(self.now)
        if self.now < self.answers_from:
            raise Unreachable("there is no route")
        return tuple(Finished() if isinstance(command, Ask) else Done() for command in commands)

    def wait(self, seconds):
        pass

    def close(self):
        pass

    def sleep(self, seconds):
        self.now += seconds


def channel(link, lease_seconds=80.0, **options):
    return DetachedChannel(
        link, worker="far", lease_seconds=lease_seconds, generator=Random(0),
        clock=lambda: link.now, sleep=link.sleep, **options,
    )  # fmt: skip


def test_pauses_double_up_to_a_limit_with_jitter():
    link = Link()
    link.answers_from = 300.0
    assert channel(link).exchange([FAIL]) == (Done(),)
    pauses = [after - before for before, after in zip(link.attempts, link.attempts[1:], strict=False)]
    longest = [min(0.1 * 2**attempt, 10.0) for attempt in range(len(pauses))]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert longest[-1] == 10.0
    assert len({pause / most for pause, most in zip(pauses, longest, strict=True)}) > 1


def test_the_first_pause_is_no_longer_than_the_time_between_heartbeats():
    link = Link()
    link.answers_from = 0.01
    channel(link, lease_seconds=0.4).exchange([FAIL])
    assert link.attempts[1] <= 0.05


def test_a_lost_owner_is_announced_once_and_its_return_once(caplog):
    link = Link()
    link.answers_from = 60.0
    far = channel(link)
    with caplog.at_level(logging.WARNING, logger="phyletic"):
        far.exchange([BEAT])
        far.exchange([FAIL])
        far.exchange([FAIL])
    lost, found = [record.getMessage() for record in caplog.records]
    assert lost == (
        "far: the study's owner cannot be reached (there is no route); training goes on, results wait for it"
    )
    assert found == f"far: the study's owner answers again, after {link.now:.0f} s of silence"


def test_the_channel_gives_up_after_the_given_time_and_not_before():
    link = Link()
    link.answers_from = 1e9
    with pytest.raises(Unreachable, match=r"has not answered for \d+ s: there is no route"):
        channel(link, give_up_after=100.0).exchange([FAIL])
    assert 100.0 <= link.now <= 100.0 + 30.0
    assert all(attempt < 100.0 for attempt in link.attempts[:-1])


def test_a_silence_that_ended_does_not_count():
    link = Link()
    far = channel(link, give_up_after=100.0)
    for _ in range(5):
        link.answers_from = link.now + 60.0
        assert far.exchange([FAIL]) == (Done(),)


def test_a_heartbeat_is_not_sent_again():
    link = Link()
    link.answers_from = 1e9
    assert channel(link, give_up_after=1.0).exchange([BEAT]) == (Done(),)
    assert link.attempts == [0.0]


def test_an_ask_joins_the_session_again():
    said = []
    link = Link()
    answer = link.exchange
    link.exchange = lambda commands, timeout=None: said.append(commands) or answer(commands)
    assert channel(link).exchange([Ask(session=SESSION)]) == (Finished(),)
    assert [type(command) for command in said[0]] == [Join, Ask]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), "5", True])
def test_a_bad_time_to_give_up_is_named(seconds):
    with pytest.raises(InvalidArgument, match="give_up_after is"):  # noqa: SIM117
        with detached_source(Link(), store=None, space=None, worker="far", lease_seconds=1.0, give_up_after=seconds):
            pass
