"""Everything goes wrong in studies under a virtual clock, and the invariants hold after every event."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict

import pytest

from phyletic.coordinator.messages import Control
from phyletic.errors import InvalidArgument
from phyletic.evolution import PBT, RandomSearch
from phyletic.records import Budget, TrialState
from phyletic.simulate import DriftingCurve, Faults, Speeds, drawn_settings, simulate, simulate_drawn
from phyletic.space import Choice, Float, Space

PARTS = 2
SEEDS = 500


@pytest.mark.parametrize("part", range(PARTS))
def test_invariants_hold_whatever_goes_wrong(part):
    incidents = Counter()
    for seed in range(part, SEEDS, PARTS):
        # the owner is a server that dies and comes back; every message is bytes on its way
        simulation = simulate_drawn(seed, messages="protobuf")
        assert not simulation.violations, f"simulate_drawn({seed}, messages='protobuf'): {simulation.violations}"
        incidents.update(asdict(simulation.incidents))
    # each kind of fault happened; otherwise this test would prove little
    assert not [name for name, times in incidents.items() if not times]


def test_messages_that_cross_the_network_as_bytes_change_nothing():
    for seed in range(40):
        carried, alone = simulate_drawn(seed, messages="protobuf"), simulate_drawn(seed)
        assert (carried.events, repr(carried.trials())) == (alone.events, repr(alone.trials())), f"seed {seed}"


def test_the_seeds_draw_every_fault_in_every_kind_of_study():
    settings = [drawn_settings(seed) for seed in range(SEEDS)]
    faults = [one["faults"] for one in settings]
    few = ("cursed", "detached", "lease", "detection", "again")
    for name in Faults.__dataclass_fields__:
        assert len({getattr(one, name) for one in faults}) > 20 or name in few, name
    assert {one.detached for one in faults} == {0.0, 0.5, 1.0}
    assert {one["algorithm"].synchronous for one in settings} == {True, False}
    assert max(one["workers"] for one in settings) == 32
    assert any(one["controls"] for one in settings)


@pytest.mark.parametrize(
    ("faults", "names"),
    [
        ({"crash": 0.2}, {"crashed"}),
        ({"pause": 0.2}, {"slept", "refused"}),
        ({"pause": 0.2, "detached": 1.0}, {"slept", "refused", "regranted"}),
        ({"fail": 0.2}, {"raised"}),
        ({"cursed": (1,)}, {"raised"}),
        ({"not_finite": 0.2}, {"not_finite"}),
        ({"damaged": 0.2}, {"damaged"}),
        ({"partial": 0.2}, {"partial"}),
        ({"uneven": 0.2}, {"uneven"}),
        ({"leave": 0.2}, {"left"}),
        ({"join": 0.2}, {"joined"}),
        ({"lose": 0.2}, {"lost", "repeated", "told_again"}),
        ({"duplicate": 0.2}, {"doubled", "told_again"}),
        ({"delay": 0.2}, {"delayed"}),
        ({"owner": 0.1}, {"deaths", "unheard", "repeated", "told_again", "orphaned", "refused"}),
        ({"power": 0.1}, {"outages", "unheard", "undone", "orphaned", "refused"}),
        ({"suspend": 0.2}, {"suspended"}),
        ({"suspend": 0.2, "detached": 1.0}, {"suspended", "spared"}),
        ({"forget": 0.2}, {"forgotten"}),
        ({"cut": 0.5, "detached": 1.0}, {"cuts", "unreachable", "repeated", "regranted", "refused"}),
        ({}, set()),
    ],
)
def test_each_fault_leads_to_its_incidents_and_to_no_others(faults, names):
    """A few seeds suffice for every expected incident to happen."""
    incidents = Counter()
    for seed in range(4):
        simulation = simulate(
            PBT(population=5, interval=4), workers=6, budget=Budget(steps=40), faults=Faults(**faults), seed=seed
        )
        assert not simulation.violations, f"seed {seed}: {simulation.violations}"
        incidents.update(asdict(simulation.incidents))
    assert {name for name, times in incidents.items() if times} == names


def test_a_trial_granted_to_a_repeated_ask_is_run_although_an_older_answer_said_wait():
    # in this study the answer "wait" arrives after a copy of the same ask was granted a trial
    assert not simulate_drawn(4112).violations


@pytest.mark.parametrize("seed", [3, 77, 99])
def test_a_seed_is_repeated_exactly(seed):
    first, again = simulate_drawn(seed), simulate_drawn(seed)
    assert first.digest == again.digest, f"simulate_drawn({seed}) is not repeated"
    assert first.events == again.events
    assert repr(first.trials()) == repr(again.trials())
    assert simulate_drawn(seed + 1).digest != first.digest


def test_a_seed_is_repeated_exactly_by_another_process():
    """Strings hash differently there, so sets have another order."""
    seeds = [3, 77, 99]
    code = f"from phyletic.simulate import simulate_drawn; print(*[simulate_drawn(s).digest for s in {seeds}])"
    digests = [simulate_drawn(seed).digest for seed in seeds]
    for hashes in ("1", "2"):
        said = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.split() == digests, f"PYTHONHASHSEED={hashes}"


def facts(simulation):
    return [
        (t.number, t.member, t.parent, t.hyperparameters, t.end_step, t.score, t.decision.kind, t.decision.donor)
        for t in simulation.trials()
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_synchronous_study_is_the_same_whatever_goes_wrong(seed):
    algorithm = PBT(population=6, interval=5, synchronous=True)
    options = {"budget": Budget(steps=30), "curve": DriftingCurve(horizon=30, noise=0.01), "seed": seed}
    calm = simulate(algorithm, workers=1, **options)
    trouble = Faults(
        crash=0.1, pause=0.1, fail=0.1, lose=0.1, duplicate=0.1, delay=0.2, owner=0.05, power=0.05, suspend=0.05,
        leave=0.05, join=0.1, forget=0.2, detached=0.5, cut=0.2,
    )  # fmt: skip
    for workers in (3, 9):
        wild = simulate(
            algorithm,
            workers=workers,
            faults=trouble,
            speeds=Speeds(spread=0.5, straggler=0.2),
            max_failures=50,
            max_losses=50,
            **options,
        )
        assert not wild.violations, f"seed {seed}: {wild.violations}"
        assert wild.losses + wild.failures > 0
        assert facts(wild) == facts(calm), f"seed {seed}"


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_member_that_always_fails_does_not_stop_the_others(synchronous):
    simulation = simulate(
        PBT(population=4, interval=5, synchronous=synchronous),
        workers=3,
        budget=Budget(trials=40),
        faults=Faults(cursed=(1,)),
    )
    assert not simulation.violations
    assert simulation.completed == 40
    assert {trial.member for trial in simulation.trials() if trial.state is TrialState.FAILED} == {1}


def test_stragglers_do_not_hold_up_an_asynchronous_study():
    """With 3 of 10 workers 100 times slower, the others do nearly all of the work."""
    speeds, budget = Speeds(straggler=0.3), Budget(trials=200)
    options = {"workers": 10, "budget": budget, "speeds": speeds, "seed": 4}
    free = simulate(PBT(population=10, interval=10), **options)
    bound = simulate(PBT(population=10, interval=10, synchronous=True), **options)
    assert not free.violations
    assert not bound.violations
    assert free.wall_seconds < bound.wall_seconds / 3


def test_the_figures_follow_from_the_trials():
    simulation = simulate(
        PBT(population=8, interval=10), workers=4, budget=Budget(steps=100), speeds=Speeds(overhead=2)
    )
    trials = simulation.trials()
    assert simulation.completed == len(trials) == simulation.attempts
    assert simulation.member_steps == sum(trial.steps_done for trial in trials)
    work = sum(trial.steps_done + 2 for trial in trials)
    assert simulation.utilisation == pytest.approx(work / (4 * simulation.wall_seconds), rel=0.01)
    assert simulation.regret == DriftingCurve().regret(min(trial.score for trial in trials), 100)
    assert simulation.exploits == sum(trial.decision.kind == "exploit" for trial in trials) > 0
    assert simulation.finished == "every member has trained 100 steps"


def test_a_budget_raised_while_it_runs_is_used_up():
    more = Control(budget=Budget(trials=30))
    simulation = simulate(PBT(population=3, interval=5), workers=2, budget=Budget(trials=9), controls=[(1000.0, more)])
    assert not simulation.violations
    assert simulation.completed == 30


def test_trials_as_a_data_frame():
    pytest.importorskip("pandas")
    simulation = simulate(RandomSearch(population=2, interval=5), budget=Budget(steps=10))
    assert list(simulation.trials_dataframe()["hyperparameters.lr"]) == [
        trial.hyperparameters["lr"] for trial in simulation.trials()
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": Space({"rate": Float(0.1, 1)})}, "space is .*'lr'"),
        ({"space": Space({"lr": Choice([1, 2])})}, "space is .*'lr'"),
        ({"workers": 0}, "workers is 0, but must be"),
        ({"budget": Budget()}, "budget is .* with a limit"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InvalidArgument, match=message):
        simulate(RandomSearch(population=2, interval=5), **options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Faults, {"crash": 1.5}, "crash is 1.5, but must be a probability from 0 to 1"),
        (Faults, {"lose": 1.0}, "lose is 1.0, but must be at most 0.9"),
        (Faults, {"again": 0}, "again is 0, but must be a finite number, above 0"),
        (Speeds, {"step": math.nan}, "step is nan, but must be a finite"),
        (Speeds, {"slowness": -1}, "slowness is -1, but must be a finite"),
    ],
)
def test_bad_faults_and_speeds_are_named(kind, options, message):
    with pytest.raises(InvalidArgument, match=message):
        kind(**options)
