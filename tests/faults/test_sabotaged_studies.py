"""The invariants of simulated studies can fail: if a mechanism is sabotaged, a simulation names the broken invariant.

Without sabotage they hold for all of these seeds: see ``test_simulated_studies.py``.
"""

from __future__ import annotations

import functools
import re

import msgspec
import pytest

from phyletic.coordinator import coordinator, retention, transitions
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.state import StudyState
from phyletic.records import Lease
from phyletic.simulate import simulate_drawn

SEEDS = range(100)


def ignore_the_fence(patch):
    def held(self, lease):
        opened = self.open.get(lease.trial)
        return None if opened is None or opened.lease is None else opened

    patch.setattr(StudyState, "held", held)


def do_not_extend_leases_over_a_sleep(patch):
    patch.setattr(coordinator, "extend_over_gap", lambda state, changes, now: None)


def grant_again_under_the_same_fence(patch):
    patch.setattr(transitions, "Lease", lambda **fields: Lease(**{**fields, "fence": 1}))


def let_leases_expire_early(patch):
    original = StudyState.pass_deadlines

    def pass_deadlines(self, now):
        return original(self, now + 0.75 * max(self.lease_seconds.values(), default=0.0))

    patch.setattr(StudyState, "pass_deadlines", pass_deadlines)


def let_a_head_be_deleted(patch):
    def needed(state, trial):
        best = state.best[: state.control.keep_best]
        return trial.number in state.parents or trial.number in state.pinned or trial in best

    patch.setattr(retention, "needed", needed)


def do_not_wait_for_the_disk(patch):
    original = Coordinator._commit

    def commit(self, state, changes, now, **options):
        return original(self, state, changes, now, **{**options, "durable": False})

    patch.setattr(Coordinator, "_commit", commit)


def keep_late_checkpoints(patch):
    patch.setattr(Coordinator, "given_up", lambda self, ids: [])


def delete_before_the_commit(patch):
    original = Owner.__init__

    def init(self, *arguments, **options):
        original(self, *arguments, **options)
        commit = self._coordinator._commit

        def delete_and_commit(state, changes, now, **how):
            self._collector.add(changes.condemned)
            return commit(state, changes, now, **how)

        self._coordinator._commit = delete_and_commit

    patch.setattr(Owner, "__init__", init)


def never_delete_again(patch):
    original = Coordinator.begin

    def begin(self, now, **options):
        return msgspec.structs.replace(original(self, now, **options), condemned=())

    patch.setattr(Coordinator, "begin", begin)


def never_confirm_a_deletion(patch):
    patch.setattr(Coordinator, "confirm", lambda self, ids: None)


def publish_nothing_on_the_feed(patch):
    patch.setattr("phyletic.coordinator.feed.Feed.publish", lambda self, changes: None)


def count_a_repeated_tell(patch):
    original = coordinator.tell

    @functools.wraps(original)
    def tell(state, changes, command, now, stored):
        repeated = state.held(command.lease) is None
        done = original(state, changes, command, now, stored)
        if repeated:
            counters = state.counters
            state.counters = msgspec.structs.replace(counters, completed=counters.completed + 1)
        return done

    patch.setattr(coordinator, "tell", tell)


@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        (ignore_the_fence, "was refused|was answered Refused|was taken from"),
        (do_not_extend_leases_over_a_sleep, "was taken from a worker that was silent for"),
        (grant_again_under_the_same_fence, "does not rise above"),
        (let_leases_expire_early, "was taken from a worker that was silent for"),
        (let_a_head_be_deleted, "is gone, but it is a head of member"),
        (do_not_wait_for_the_disk, "trials are counted as completed"),
        (keep_late_checkpoints, "its bytes are still there"),
        (delete_before_the_commit, "is gone"),
        (never_delete_again, "its deletion was never confirmed"),
        (never_confirm_a_deletion, "its deletion was never confirmed"),
        (publish_nothing_on_the_feed, "workers are idle"),
        (count_a_repeated_tell, "trials are counted as completed"),
    ],
)
def test_an_invariant_notices_the_sabotage(sabotage, said, monkeypatch):
    sabotage(monkeypatch)
    found = []
    for seed in SEEDS:
        found += simulate_drawn(seed).violations
        if any(re.search(said, violation) for violation in found):
            return
    pytest.fail(f"no violation of {len(SEEDS)} seeds says {said!r}: {found[:3]}")
