"""The ranks of a gang stop at the same check, and get the same replies; no process runs here."""

from collections import deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyletic.coordinator.messages import Ask, Done, Fail, Finished, Refused, Tell
from phyletic.records import Lease
from phyletic.workers.gang import FollowerChannel, FollowerChecks, LeaderChecks
from phyletic.workers.ray_workers import RayWorkers
from phyletic.workers.wire import Answers, Check, Request

LEASE = Lease(trial=3, session="a" * 32, fence=1, token="t")


class Clock:
    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        return self.now


@given(
    seconds=st.floats(1e-5, 5.0), wanted=st.integers(0, 400), most=st.integers(1, 2000), seed=st.integers(0, 2**32 - 1)
)
def test_all_ranks_stop_at_the_same_check_and_none_waits_for_what_rank_0_has_not_reached(seconds, wanted, most, seed):
    """Rank 0 wants to stop from some check on; the other rank runs up to two checks ahead of it or behind."""
    clock, announced, random = Clock(seconds), deque(), Random(seed)
    leader = LeaderChecks(3, announced.append, clock)
    seen = []

    def agreed(check):
        while not announced:  # rank 0 must get there without this rank
            step_of_leader()
        found = announced.popleft()
        assert (found.trial, found.check) == (check.trial, check.check)
        return found

    follower = FollowerChecks(3, agreed)
    stops, counts = {}, {"leader": 0, "follower": 0}

    def step_of_leader():
        assert "leader" not in stops, "the other rank waits for a check that rank 0 never announces"
        counts["leader"] += 1
        clock.now += seconds
        stop = leader("hopeless" if counts["leader"] >= wanted else "")
        if stop:
            stops["leader"] = (counts["leader"], stop)

    while len(stops) < 2 and counts["follower"] < most:
        if "leader" not in stops and (counts["leader"] <= counts["follower"] or random.random() < 0.3):
            step_of_leader()
        if "follower" not in stops:
            counts["follower"] += 1
            stop = follower("")
            if stop:
                stops["follower"] = (counts["follower"], stop)
        seen.append(dict(counts))
    if len(stops) == 2:
        assert stops["leader"] == stops["follower"]
        # rank 0 wanted it at most a few seconds, or a few checks, before
        late = stops["leader"][0] - max(wanted, 1)
        assert late >= 0
        assert late * seconds <= 8 * 0.5 + 8 * seconds


def test_a_stop_stays():
    announced = deque()
    leader, follower = LeaderChecks(1, announced.append), FollowerChecks(1, lambda check: announced.popleft())
    assert [leader("lost") for _ in range(4)] == ["", "lost", "lost", "lost"]
    assert [follower("") for _ in range(4)] == ["", "lost", "lost", "lost"]


def following(ranks=2):
    from phyletic.workers.ray_gang import Following

    return Following(ranks)


def ask(told=True):
    tell = Tell(lease=LEASE, evaluations=(), steps_done=4)
    return Request((*([tell] if told else []), Ask(session="a" * 32)))


def test_those_that_follow_get_the_replies_of_rank_0_each_once():
    pytest.importorskip("ray")
    gang = following()
    gang.led(ask(told=False).commands)
    gang.waits(1, ask(told=False))
    assert gang.ready() == []
    gang.answered((Finished("first"),), 0.0)
    assert [(rank, answer.replies) for rank, answer in gang.ready()] == [(1, (Finished("first"),))]
    refused = Refused(error="LeaseLost", message="gone")
    gang.led(ask().commands)
    gang.answered((refused, Finished("second")), 1.0)
    gang.waits(2, ask(told=False))
    assert [(rank, answer.replies) for rank, answer in gang.ready()] == [(2, (Finished("first"),))]
    gang.waits(1, ask())
    gang.waits(2, ask())
    assert {rank: answer.replies for rank, answer in gang.ready()} == {
        1: (refused, Finished("second")),
        2: (refused, Finished("second")),
    }
    # rank 0 gave its trial back: another rank that tells it gets an answer all the same
    gang.led(ask(told=False).commands)
    gang.answered((Finished("third"),), 2.0)
    gang.waits(1, ask())
    assert [(rank, answer.replies) for rank, answer in gang.ready()] == [(1, (Done(), Finished("third")))]


def test_ranks_that_lose_each_other_are_noticed():
    pytest.importorskip("ray")
    gang = following(1)
    assert gang.apart(0.0) == ""
    gang.led(ask(told=False).commands)
    gang.answered((Finished("zeroth"),), 0.0)
    assert gang.apart(1000.0) == "", "before its first trial a rank may load its data for long"
    gang.waits(1, ask(told=False))
    assert len(gang.ready()) == 1
    gang.led(ask(told=False).commands)
    gang.answered((Finished("first"),), 0.0)
    assert gang.apart(59.0) == ""
    assert "rank 1 had not ended its trial 60 s after rank 0" in gang.apart(61.0)
    gang.waits(1, Check(3, 17))
    assert gang.apart(1.0) == "rank 1 went on with trial 3 when rank 0 had ended it"


def test_a_failure_that_only_another_rank_met_is_sent_for_all():
    sent = []

    def request(message):
        sent.append(message)
        return Answers((Done(),))

    channel = FollowerChannel(request, end=lambda error: None, rank=1)
    for cause, said in (("released", 0), ("damaged", 1), ("unreachable", 2), ("error", 3)):
        assert channel.exchange([Fail(lease=LEASE, error="met by this rank", cause=cause)]) == (Done(),)
        assert len(sent) == said


def test_a_gang_needs_something_of_its_nodes():
    from phyletic.errors import InvalidArgument

    with pytest.raises(InvalidArgument, match="num_cpus is 0, but must be above 0 with a gang"):
        RayWorkers(1, num_cpus=0, gang=2)
    with pytest.raises(InvalidArgument, match="placement"):
        RayWorkers(1, placement="STRICT_PACK")
    assert RayWorkers(1, placement="STRICT_PACK", gang=2).needs == {"CPU": 1}
