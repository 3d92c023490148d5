"""Drive a study on a real file with every command, and compare it with a model of a few dictionaries."""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

import phyletic as ph
from phyletic.coordinator.coordinator import Coordinator
from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Control,
    Done,
    Fail,
    Finished,
    Granted,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Refused,
    Tell,
    Wait,
)
from phyletic.errors import StorageOwned
from phyletic.records import Evaluation, TrialState
from phyletic.simulate import Ledger, check_invariants, check_stored

SPACE = {"lr": ph.Float(1e-3, 1e-1, log=True), "depth": ph.Choice([1, 2], fixed=True)}
STEPS = 4
WORKERS = st.sampled_from(["a", "b", "c", "far"])
LEASE = 100.0
# SQLite does not keep the sign of zero
SCORES = st.one_of(
    st.floats(-1, 1).map(lambda score: score + 0.0), st.sampled_from([math.nan, math.inf, -math.inf, 0.5])
)


class StudyMachine(RuleBasedStateMachine):
    """The model: which worker holds which lease until when, the acknowledged results, and the pinned trials.

    One worker is detached: its leases have deadlines, by a clock that the machine moves. Several coordinators of one
    database take turns: each new one supersedes the previous one, which may decide nothing from then on.
    """

    grants = Bundle("grants")
    tells = Bundle("tells")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.place = 0
        self.sessions = {}
        self.held = {}
        self.now = 1000.0
        self.deadlines = {}
        self.weights = {}
        self.seen = Ledger()
        self.study = None
        self.superseded = []

    @initialize(
        synchronous=st.booleans(), members=st.integers(1, 3), keep_best=st.integers(1, 2), matched=st.booleans()
    )
    def create(self, synchronous, members, keep_best, matched):
        algorithm = ph.PBT(
            members,
            STEPS,
            exploit=ph.Truncation(0.5),
            synchronous=synchronous,
            compare="matched" if matched else "latest",
        )
        self.population = members
        self.budget = 4 * members
        self.study = ph.Study(
            "machine",
            space=SPACE,
            metric="score",
            mode="max",
            algorithm=algorithm,
            budget=ph.Budget(trials=self.budget),
            storage=self.storage,
            seed=members,
            keep_best=keep_best,
            max_failures=2,
            max_losses=3,
        )
        self.study.owner._clock = lambda: self.now

    @property
    def storage(self):
        return self.folder / f"{self.place}" / "study.db"

    def say(self, *commands):
        for command in commands:
            session = command.lease.session if hasattr(command, "lease") else getattr(command, "session", None)
            if session in self.deadlines:
                self.deadlines[session] = self.now + LEASE
        replies = self.study.owner.execute(commands)
        return replies[0] if len(replies) == 1 else replies

    # --- asking -------------------------------------------------------------------------------------------------

    @rule(target=grants, worker=WORKERS, another=st.booleans())
    def ask(self, worker, another):
        before = set(self.held)
        grant = self.granted(worker, another)
        return multiple() if grant is None or grant.trial.number in before else grant

    def granted(self, worker, another=False):
        """Ask for the worker's own trial, if it holds one, or for another; return None if the owner grants no trial."""
        session = self.sessions.setdefault(worker, f"{len(self.sessions):032x}")
        held = [number for number, grant in self.held.items() if grant.lease.session == session]
        lease = LEASE if worker == "far" else None
        if lease is not None:
            self.deadlines.setdefault(session, 0.0)
        joining = Join(session=session, worker=worker, lease_seconds=lease)
        _, answer = self.say(joining, Ask(session=session, slots=len(held) + 1 if another else 1))
        grants = list(answer.grants) if isinstance(answer, Granted) else []
        again = grants[: len(held)]
        assert all(grant == self.held[grant.trial.number] for grant in again)
        if held and not another:
            assert len(grants) == 1
            return grants[0]
        assert len(again) == len(held)
        rest = answer.rest if isinstance(answer, Granted) else answer
        new = grants[len(held)] if len(grants) > len(held) else None
        assert (new is None) == (rest is not None)
        self.expire(new, rest)
        completed = self.completed()
        limit = self.study.owner.state.limit
        if new is None:
            if isinstance(rest, Finished) and not rest.failed and completed < self.budget:
                assert limit is not None
                for member in self.study.owner.state.population():
                    assert member.open is None
                    assert member.ended(limit)
            return None
        number = new.trial.number
        if limit is not None and number not in self.held:
            assert new.trial.start_step + new.trial.steps <= limit, (new, limit)
        assert completed + len(self.held) < self.budget
        assert number not in self.held
        assert number not in self.seen.ended
        before = self.seen.granted.get(number)
        assert new.lease.fence == (1 if before is None else before.fence + 1)
        self.check_weights(new)
        self.held[number] = new
        self.seen.granted[number] = new.lease
        return new

    def expire(self, new, rest):
        """Check that a silent session loses its trial only to an ask that finds no older trial."""
        silent = [n for n, g in self.held.items() if self.now > self.deadlines.get(g.lease.session, math.inf)]
        for number in silent:
            opened = self.study.owner.state.open.get(number)
            if opened is None or opened.lease != self.held[number].lease:
                del self.held[number]
            elif new is not None:
                assert new.trial.number < number
            else:
                assert not (isinstance(rest, Wait) and "every trial that can run" in rest.reason), rest

    def check_weights(self, grant):
        """Check that the checkpoint to load has exactly the weights that the parent left."""
        if grant.trial.parent is None or self.weights[grant.trial.parent] is None:
            assert grant.parent is None
            return
        with self.study.checkpoints.open(grant.parent) as opened:
            opened.verify()
            assert repr(opened.value("weights")) == repr(self.weights[grant.trial.parent])

    def completed(self):
        return sum(trial.state is TrialState.COMPLETED for trial in self.seen.ended.values())

    # --- results ------------------------------------------------------------------------------------------------

    def current(self, grant):
        return self.held.get(grant.trial.number) == grant

    def refused(self, reply):
        assert isinstance(reply, Refused)
        assert reply.error == "LeaseLost"

    @rule(grant=grants, step=st.integers(0, STEPS))
    def beat(self, grant, step):
        report = (Evaluation(grant.trial.start_step + step, "score", 0.1, "progress"),)
        reply = self.say(Heartbeat(lease=grant.lease, step=step, evaluations=report))
        if self.current(grant):
            assert isinstance(reply, Done)
        else:
            self.refused(reply)

    @rule(target=tells, grant=grants, score=SCORES, kept=st.booleans(), steps=st.integers(1, STEPS + 2))
    def tell(self, grant, score, kept, steps):
        if not self.current(grant):
            # other rules repeat told results
            if self.seen.granted[grant.trial.number] != grant.lease or grant.trial.number not in self.seen.ended:
                self.refused(self.say(self.result(grant, score, None, steps)))
            return multiple()
        weights = [score, float(grant.trial.number)] if kept else None
        return self.take(grant, self.result(grant, score, weights, steps), score, weights)

    @rule(target=tells, grant=grants)
    def hand_back(self, grant):
        if not self.current(grant):
            return multiple()
        limit = self.study.control.budget.steps
        if limit is not None and grant.trial.start_step + 1 >= limit:
            return multiple()
        weights = [0.0, float(grant.trial.number)]
        command = self.result(grant, None, weights, 1)
        return self.take(grant, command, None, weights)

    def result(self, grant, score, weights, steps):
        checkpoint = None
        if weights is not None:
            checkpoint = self.study.checkpoints.publish(grant.checkpoint, {"weights": weights})
        end = grant.trial.start_step + steps
        last = () if score is None else (Evaluation(end, "score", score),)
        return Tell(
            lease=grant.lease,
            evaluations=(Evaluation(end, "score", -9.0, "progress"), *last),
            steps_done=steps,
            checkpoint=checkpoint,
            partial=score is None,
        )

    def take(self, grant, command, score, weights):
        reply = self.say(command)
        assert isinstance(reply, Done), reply
        assert reply.trial.state is (TrialState.PARTIAL if score is None else TrialState.COMPLETED)
        assert repr(reply.trial.score) == repr(score)
        number = grant.trial.number
        self.seen.ended[number] = reply.trial
        self.seen.reported[grant.lease.token] = score
        self.weights[number] = weights
        del self.held[number]
        return command

    @rule(target=tells, worker=WORKERS, scores=st.lists(SCORES, min_size=1, max_size=6))
    def train(self, worker, scores):
        """Train several trials to their ends, as a worker does."""
        told = []
        for score in scores:
            grant = self.granted(worker)
            self.nothing_is_violated()
            if grant is not None:
                weights = [score, float(grant.trial.number)]
                told.append(self.take(grant, self.result(grant, score, weights, grant.trial.steps), score, weights))
                self.nothing_is_violated()
        return multiple(*told)

    @rule(command=tells, often=st.integers(1, 2))
    def tell_again(self, command, often):
        replies = self.study.owner.execute([command] * often)
        assert all(repr(reply) == repr(Done(trial=self.seen.ended[command.lease.trial])) for reply in replies)

    @rule(command=tells)
    def tell_another_result(self, command):
        other = Tell(
            lease=command.lease,
            evaluations=(*command.evaluations, Evaluation(1, "score", 7.0)),
            steps_done=command.steps_done,
            checkpoint=command.checkpoint,
            partial=command.partial,
        )
        reply = self.say(other)
        assert isinstance(reply, Refused)
        assert reply.error == "TellConflict"

    @rule(grant=consumes(grants), cause=st.sampled_from(["error", "lost", "released"]), again=st.booleans())
    def fail(self, grant, cause, again):
        failed = Fail(lease=grant.lease, error="it broke", cause=cause)
        reply = self.say(failed)
        if not self.current(grant):
            self.refused(reply)
            return
        assert isinstance(reply, Done)
        del self.held[grant.trial.number]
        if again:
            assert repr(self.say(failed)) == repr(reply)

    @rule(worker=WORKERS, lost=st.booleans())
    def leave(self, worker, lost):
        session = self.sessions.get(worker)
        if session is None:
            return
        assert self.say(Leave(session=session, lost=lost)) == Done()
        self.let_go(session)

    def let_go(self, session):
        for number in [n for n, grant in self.held.items() if session == grant.lease.session]:
            del self.held[number]

    @rule(leases=st.sampled_from([0.6, 1.2]))
    def pass_time(self, leases):
        """Let time pass while the owner is awake."""
        for _ in range(round(leases * 10)):
            self.now += LEASE / 10
            self.say(Ancestors(trial=0))

    @rule(leases=st.sampled_from([0.5, 3.0]), back=st.booleans())
    def sleep(self, leases, back):
        """Suspend the owner, or set its clock back: no deadline comes nearer."""
        gap = -leases * LEASE if back else leases * LEASE
        self.now += gap
        self.deadlines = {session: deadline + gap for session, deadline in self.deadlines.items()}
        self.say(Ancestors(trial=0))

    @rule(target=grants, worker=st.sampled_from(["a", "b", "c"]), how=st.sampled_from(["awake", "asleep", "set back"]))
    def far_goes_silent(self, worker, how):
        """Let another worker ask for a silent worker's trial; only an owner awake for a whole lease grants it."""
        self.granted("far")
        if how == "awake":
            self.pass_time(1.2)
        else:
            self.sleep(3.0, back=how == "set back")
            self.pass_time(1.2 if how == "set back" else 0.6)
        grant = self.granted(worker, another=True)
        return multiple() if grant is None else grant

    # --- control ------------------------------------------------------------------------------------------------

    @rule(population=st.integers(1, 4))
    def resize(self, population):
        assert self.say(Control(population=population)) == Done()
        self.population = population

    @rule(more=st.integers(0, 5))
    def raise_budget(self, more):
        self.budget += more
        assert self.say(Control(budget=ph.Budget(trials=self.budget, steps=self.study.control.budget.steps))) == Done()

    @rule(steps=st.one_of(st.none(), st.integers(1, 20)))
    def limit(self, steps):
        assert self.say(Control(budget=ph.Budget(trials=self.budget, steps=steps))) == Done()

    @rule(keep_best=st.integers(1, 3))
    def keep(self, keep_best):
        assert self.say(Control(keep_best=keep_best)) == Done()

    @rule(number=st.integers(0, 12), keep=st.booleans())
    def pin(self, number, keep):
        trial = self.seen.ended.get(number)
        there = (
            trial is not None and trial.checkpoint is not None and self.study.checkpoints.exists(trial.checkpoint.id)
        )
        reply = self.say(Pin(trial=number, keep=keep))
        if keep and not there:
            assert isinstance(reply, Refused)
            assert reply.error == "NotFound"
        elif isinstance(reply, Done):
            (self.seen.pinned.add if keep else self.seen.pinned.discard)(number)

    # --- owners -------------------------------------------------------------------------------------------------

    @rule()
    def close_and_open(self):
        self.superseded = []
        self.study.close()
        self.study = ph.Study("machine", storage=self.storage)
        self.study.owner._clock = lambda: self.now
        self.study.owner.begin()
        self.begun()

    @rule()
    def crash(self):
        """The next owner finds only what the disk holds at this moment."""
        before = self.storage.parent
        self.place += 1
        shutil.copytree(before, self.storage.parent)
        self.superseded = []
        self.study.close()
        self.study = ph.Study("machine", storage=self.storage)
        self.study.owner._clock = lambda: self.now
        self.study.owner.begin()
        self.begun()

    @rule(back=st.booleans())
    def supersede(self, back):
        """Begin another coordinator on the same database, or begin a superseded one again."""
        owner, study = self.study.owner, self.study
        if back and self.superseded:
            later = self.superseded.pop()
        else:
            later = Coordinator(study.database, "machine", space=study.space, algorithm=owner.state.algorithm)
        earlier, outcome = owner._coordinator, later.begin(self.now)
        before = self.stored()
        if back:
            # it notices only when it tries to write, so it may still answer that there is no trial to run
            with contextlib.suppress(StorageOwned):
                assert not isinstance(earlier.execute([Ask(session="e" * 32)], self.now).replies[0], Granted)
        with pytest.raises(StorageOwned):
            earlier.execute([Control(keep_best=9)], self.now)
        assert self.stored() == before
        self.superseded.append(earlier)
        with owner._deciding():
            owner._coordinator = later
            owner._finish(outcome)
        self.begun()

    @rule(
        commands=st.lists(st.sampled_from([Ask, Control, Ancestors, Heartbeat, Tell, Fail, Leave, Pin]), min_size=1),
        data=st.data(),
    )
    def the_superseded_decide_nothing(self, commands, data):
        before = self.stored()
        for coordinator in self.superseded:
            for kind in commands:
                with pytest.raises(StorageOwned):
                    coordinator.execute([self.any_command(kind, data)], self.now)
        assert self.stored() == before

    def any_command(self, kind, data):
        """Return a command of a kind, for a held trial if there is one."""
        session = data.draw(st.sampled_from(sorted(self.sessions.values()) or ["e" * 32]))
        if kind in (Ask, Leave):
            return kind(session=session)
        if kind in (Ancestors, Pin):
            return kind(trial=0)
        if kind is Control or not self.held:
            return Control(population=9)
        grant = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        if kind is Tell:
            return self.result(grant, 0.5, None, 1)
        return Fail(lease=grant.lease, error="it broke") if kind is Fail else Heartbeat(lease=grant.lease)

    def stored(self):
        """Return the whole content of the database."""
        with contextlib.closing(sqlite3.connect(self.storage)) as connection:
            return list(connection.iterdump())

    def begun(self):
        # detached sessions outlive an owner, and their leases start anew
        self.deadlines = dict.fromkeys(self.deadlines, self.now + LEASE)
        for session in set(self.sessions.values()) - set(self.deadlines):
            self.let_go(session)
        assert self.study.control.population == self.population
        self.check_stored()

    # --- invariants ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_violated(self):
        if self.study is None:
            return
        self.look()
        violations = check_invariants(self.study.owner.state, self.seen)
        assert not violations, violations
        assert {n for n, opened in self.study.owner.state.open.items() if opened.lease is not None} == set(self.held)

    @invariant()
    def what_nothing_needs_is_collected(self):
        """Check that the folder holds exactly the checkpoints that the study keeps."""
        if self.study is None:
            return
        state = self.study.owner.state
        kept = {trial.number for member in state.population() for trial in member.kept}
        kept |= set(state.parents) | state.pinned | {trial.number for trial in state.best}
        wanted = {
            trial.checkpoint.id
            for number, trial in self.seen.ended.items()
            if number in kept and trial.checkpoint is not None
        }
        assert self.seen.published == wanted

    def look(self):
        told = {trial.checkpoint.id for trial in self.seen.ended.values() if trial.checkpoint is not None}
        self.seen.published = {name for name in told if self.study.checkpoints.exists(name)}

    def check_stored(self):
        self.look()
        violations = check_stored(self.study.database, self.study.owner.state, self.seen)
        assert not violations, violations

    def teardown(self):
        try:
            if self.study is not None:
                self.check_stored()
                self.study.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


TestStudyMachine = StudyMachine.TestCase
TestStudyMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None, derandomize=True)
