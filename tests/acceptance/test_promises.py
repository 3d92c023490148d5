"""The ten promises, in order; each test fails if its mechanism is removed."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState
from phyletic.testing.example import facts

SPACE = {
    "lr": ph.Float(1e-3, 1e-1, log=True),
    "width": ph.Int(1, 8),
    "depth": ph.Choice([1, 2], fixed=True),
}


def build(trial):
    return {"weights": np.full(3, 0.5) * trial["depth"]}


def train(trials):
    for trial in trials.attach(build):
        weights = trial.state.weights
        for _ in trial.range():
            weights += trial["lr"] * np.random.standard_normal(3) + 0.001 * trial["width"]
        trial.report(score=float(weights.sum()))


def make(name="study", *, storage=None, population=6, steps=40, seed=0, **options):
    algorithm = options.pop(
        "algorithm", ph.PBT(population, 5, exploit=ph.Truncation(0.34), synchronous=options.pop("synchronous", True))
    )
    return ph.Study(
        name,
        space=options.pop("space", SPACE),
        metric="score",
        mode=options.pop("mode", "max"),
        algorithm=algorithm,
        budget=options.pop("budget", ph.Budget(steps=steps)),
        storage=storage,
        seed=seed,
        **options,
    )


# 1. A child's weights are its parent's checkpoint, byte for byte, and its hyperparameters are explore(parent's).


def test_a_child_starts_from_its_parents_bytes_with_explored_hyperparameters(tmp_path):
    begun = {}
    left = {}

    def watched(trials):
        for trial in trials.attach(build):
            begun[trial.number] = trial.state.weights.tobytes()
            for _ in trial.range():
                trial.state.weights += trial["lr"] * np.random.standard_normal(3) + 0.001 * trial["width"]
            left[trial.number] = trial.state.weights.tobytes()
            trial.report(score=float(trial.state.weights.sum()))

    study = make(storage=tmp_path / "a.db")
    study.run(watched, workers=0, verbose=0)
    trials = {trial.number: trial for trial in study.trials()}
    exploits = [trial for trial in trials.values() if trial.decision.kind == "exploit"]
    assert exploits
    for trial in trials.values():
        if trial.parent is not None:
            assert begun[trial.number] == left[trial.parent]
            assert trial.start_step == trials[trial.parent].end_step
    for trial in exploits:
        donor = trials[trial.decision.donor]
        assert donor.number == trial.parent
        assert donor.member != trial.member
        own = trials[max(t.number for t in trials.values() if t.member == trial.member and t.number < trial.number)]
        changed = {change.path: change.after for change in trial.decision.changes}
        assert trial.hyperparameters == {**own.hyperparameters, **changed}
        assert trial.hyperparameters["depth"] == donor.hyperparameters["depth"]
        how = {change.path: change.how for change in trial.decision.changes}.get("lr")
        ratio = trial.hyperparameters["lr"] / donor.hyperparameters["lr"]
        clipped = trial.hyperparameters["lr"] in (1e-3, 1e-1)
        assert how == "resampled" or clipped or math.isclose(ratio, 0.5) or math.isclose(ratio, 2.0)


# 2. Hyperparameters reach the training code after the load, and the study records the values that took effect.


def test_an_exploration_is_not_undone_by_the_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    seen = {}

    def born(trial):
        model = torch.nn.Linear(2, 1)
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.5)}

    def code(trials):
        for trial in trials.attach(born):
            trial.apply(trial.state.optimizer)
            for _ in trial.range():
                trial.state.optimizer.zero_grad()
                loss = trial.state.model(torch.ones(4, 2)).pow(2).mean()
                loss.backward()
                trial.state.optimizer.step()
            seen[trial.number] = trial.state.optimizer.param_groups[0]["lr"]
            trial.report(score=-loss.item())

    study = make(storage=tmp_path / "a.db", space={"lr": ph.Float(1e-3, 1e-1, log=True)}, steps=20)
    study.run(code, verbose=0)
    assert any(trial.decision.kind == "exploit" for trial in study.trials())
    for trial in study.trials():
        assert seen[trial.number] == trial.hyperparameters["lr"]
        assert trial.applied == {"lr": trial.hyperparameters["lr"]}


def test_a_scheduler_that_overrides_what_was_applied_is_an_error():
    torch = pytest.importorskip("torch")

    def born(trial):
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        return {"model": model, "optimizer": optimizer, "decay": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)}

    def code(trials):
        for trial in trials.attach(born):
            trial.apply(trial.state.optimizer)
            for _ in trial.range():
                trial.state.optimizer.step()
                trial.state.decay.step()
            trial.report(score=1.0)

    study = make(space={"lr": ph.Float(1e-3, 1e-1, log=True)})
    with pytest.raises(errors.HyperparameterDrift, match="lr"):
        code(study)


def test_a_hyperparameter_that_nothing_reads_is_an_error():
    def code(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=1.0)

    with pytest.raises(errors.HyperparameterUnused, match="'width'"):
        code(make())


# 3. Values never leave their domain; integers stay integers; types come from the space, not from the value.


def test_values_stay_in_their_domains_over_a_long_study():
    space = ph.Space(
        {
            "lr": ph.Float(1, 10, limits=(0.5, 12)),
            "units": ph.Int(1, 100, log=True),
            "steps": ph.Float(0, 1, step=0.25),
            "size": ph.Ordinal([16, 32, 64]),
            "kind": ph.Choice(["a", "b"]),
            "flag": ph.Choice([True, False]),
        }
    )

    def code(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            dict(trial.hyperparameters)
            trial.report(score=np.random.random())

    study = make(
        space=space, population=8, steps=200, algorithm=ph.PBT(8, 5, explore=ph.Perturb((0.3, 3.0)), synchronous=True)
    )
    study.run(code, verbose=0)
    kinds = {"lr": float, "units": int, "steps": float, "size": int, "kind": str, "flag": bool}
    for trial in study.trials():
        assert space.validate(trial.hyperparameters) == trial.hyperparameters
        assert all(type(trial.hyperparameters[path]) is kind for path, kind in kinds.items())


# 4. A checkpoint that anything may still need is never collected; nothing half-written is ever visible.


def test_checkpoints_that_may_still_be_needed_are_kept_and_all_others_deleted(tmp_path):
    study = make(storage=tmp_path / "a.db", population=4, steps=100)
    source = study.source(supervised=True)
    seen = 0
    for trial in source.attach(build):
        state = study.owner.state
        wanted = {opened.trial.parent for opened in state.open.values() if opened.trial.parent is not None}
        wanted |= {kept.number for member in state.members.values() for kept in member.kept}
        wanted |= {best.number for best in state.best[:1]}
        if seen == 9:
            study.pin(study.best)
            pinned = study.best.number
        if seen > 9:
            wanted.add(pinned)
        there = {path.name.split(".")[0] for path in Path(study.checkpoints.location).glob("*.safetensors")}
        by_id = {t.checkpoint.id: t.number for t in study.trials() if t.checkpoint is not None}
        assert {by_id[name] for name in there} == wanted
        seen += 1
        for _ in trial.range():
            trial.state.weights += trial["lr"] * np.random.standard_normal(3) * trial["width"]
        trial.report(score=float(trial.state.weights.sum()))
    assert seen == 80
    assert study.checkpoint_path(pinned).exists()
    # the disk holds O(population) checkpoints: two heads per member, the best and the pinned
    assert len(list(Path(study.checkpoints.location).glob("*.safetensors"))) <= 2 * 4 + 2


# 5. An acknowledged tell is never lost and never counted twice. Only the holder of the latest grant can write.


def test_a_tell_has_one_effect_however_often_it_is_repeated():
    study = make(space={"lr": ph.Float(0, 1)}, budget=ph.Budget(trials=100))
    trial = study.ask()
    first = study.tell(trial, score=float("nan"))
    assert repr(study.tell(trial, score=float("nan"))) == repr(first)
    with pytest.raises(errors.TellConflict, match=r"trial 0 was told already"):
        study.tell(trial, score=1.0)
    assert study.status().trials["completed"] == 1


def test_only_the_latest_grant_can_write(tmp_path):
    first = make(storage=tmp_path / "a.db", space={"lr": ph.Float(0, 1)})
    stale = first.ask(worker="w")
    first.fail(stale, "the machine went away")
    again = first.ask(worker="w")
    assert again.number == stale.number
    with pytest.raises(errors.LeaseLost):
        first.tell(stale, score=1.0)
    with pytest.raises(errors.LeaseLost):
        first.heartbeat(stale)
    with pytest.raises(errors.LeaseLost):
        first.fail(stale, "again")
    first.tell(again, score=2.0)
    assert first.trial(again.number).score == 2.0


def test_results_survive_the_process_that_told_them(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path[:0] = [sys.argv[2]]
        from test_promises import make
        import phyletic as ph
        study = make(storage=sys.argv[1], space={"lr": ph.Float(0, 1)})
        for number in range(5):
            study.tell(study.ask(), score=float(number))
            print(number, flush=True)
        study.ask()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.db"), here], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    study = ph.Study("study", storage=tmp_path / "a.db")
    assert [trial.score for trial in study.trials(states=[TrialState.COMPLETED])] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert study.ask().number == 5


# 6. A non-finite score ranks worst, never donates, and its member is rescued; it is stored unchanged.


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_donates_and_its_member_is_rescued(tmp_path, mode, bad):
    def code(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            score = float(trial["lr"])
            trial.report(score=bad if trial.member == 1 and trial.generation == 1 else score)

    study = make(storage=tmp_path / "a.db", space={"lr": ph.Float(0, 1)}, mode=mode, population=4, steps=20)
    study.run(code, verbose=0)
    trials = study.trials()
    (poisoned,) = [trial for trial in trials if trial.score is not None and not math.isfinite(trial.score)]
    assert repr(poisoned.score) == repr(bad)
    assert repr(study.evaluations(poisoned)[0].value) == repr(bad)
    assert all(trial.decision.donor != poisoned.number for trial in trials)
    (rescue,) = [trial for trial in trials if trial.decision.kind == "rescue"]
    assert (rescue.member, rescue.generation) == (1, 2)
    assert math.isfinite(study.best.score)


def test_a_study_whose_scores_are_never_finite_stops_with_a_report():
    def code(trials):
        for trial in trials.attach(lambda trial: {"x": trial["lr"]}):
            assert trial["lr"] >= 0
            trial.report(score=math.nan)

    study = make(space={"lr": ph.Float(0, 1)}, population=4, steps=20)
    with pytest.raises(errors.StudyFailed, match="50 trials one after another ended without a finite score"):
        study.run(code, verbose=0)


# 7. A dead, slow or failed member never stops the others.


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_member_that_always_fails_does_not_stop_the_others(synchronous):
    def code(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            if trial.member == 0:
                raise RuntimeError("member 0 is cursed")
            trial.report(score=float(trial["lr"]))

    study = make(
        space={"lr": ph.Float(0, 1)},
        population=4,
        budget=ph.Budget(trials=30),
        algorithm=ph.PBT(4, 5, synchronous=synchronous),
    )
    with pytest.raises(RuntimeError, match="member 0 is cursed"):  # the first bug ends the first run at once
        study.run(code, verbose=0)
    study.run(code, verbose=0)
    trials = study.trials()
    assert sum(trial.state is TrialState.COMPLETED for trial in trials) == 30
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    assert failed
    assert {trial.member for trial in failed} == {0}
    assert all(trial.failures == 3 and "member 0 is cursed" in trial.error for trial in failed)


def test_when_every_trial_fails_the_study_stops_with_a_report():
    def code(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            raise RuntimeError(f"member {trial.member} fails")

    study = make(space={"lr": ph.Float(0, 1)}, population=4)
    with pytest.raises(RuntimeError, match="member 0 fails"):
        study.run(code, verbose=0)
    with pytest.raises(errors.StudyFailed, match="member 0 fails"):
        study.run(code, verbose=0)


# 8. The population has exactly the size asked for; the member furthest behind goes first.


def test_the_member_furthest_behind_goes_first_and_ties_go_to_the_one_in_memory():
    order = []

    def code(trials):
        for trial in trials.attach(lambda trial: {"x": 0}):
            order.append((trial.start_step, trial.loaded, trial.member))
            trial.report(score=float(trial["lr"]))

    study = make(space={"lr": ph.Float(0, 1)}, steps=20, algorithm=ph.RandomSearch(5, 5))
    study.run(code, verbose=0)
    assert [start for start, _, _ in order] == sorted(start for start, _, _ in order)
    assert {member for _, _, member in order} == set(range(5))
    # at each new age, the member whose weights are in memory goes on first, without a load
    for place in range(5, 20, 5):
        assert order[place][1] is False
        assert order[place][2] == order[place - 1][2]


# 9. A study is resumed by opening it, at once; another identity is an error that names the difference.


def test_a_study_is_resumed_by_opening_it_and_another_identity_is_named(tmp_path):
    storage = tmp_path / "a.db"
    whole = make(storage=tmp_path / "whole.db")
    whole.run(train, verbose=0)
    half = make(storage=storage, budget=ph.Budget(steps=20))
    half.run(train, verbose=0)
    held = half.ask(worker="gone")
    assert held.reason
    del half
    again = make(storage=storage, budget=ph.Budget(steps=40))
    again.run(train, verbose=0)
    assert facts(again) == facts(whole)
    with pytest.raises(errors.StudyMismatch, match=r"space.*lr"):
        make(storage=storage, space={**SPACE, "lr": ph.Float(1e-3, 1.0, log=True)})
    with pytest.raises(errors.StudyMismatch, match=r"algorithm\.interval is 5 there and 6 here"):
        make(storage=storage, algorithm=ph.PBT(6, 6, exploit=ph.Truncation(0.34), synchronous=True))
    with pytest.raises(errors.StudyMismatch, match="seed is 0 there and 1 here"):
        make(storage=storage, seed=1)
    with pytest.raises(errors.StudyMismatch, match="metric"):
        make(storage=storage, mode="min")


# 10. Bad input gets an error that names the argument, the value and what is allowed, before anything is written.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a\x00b"}, "name is 'a\\\\x00b', but must be"),
        ({"budget": 3}, "budget is 3, but must be a Budget"),
        ({"mode": "best"}, "mode is 'best', but must be"),
        ({"seed": -1}, "seed is -1, but must be"),
        ({"sampling": "grid"}, "sampling is 'grid', but must be"),
        ({"space": {"lr": ph.Float(1, 0)}}, r"lr.*(1|0).*must be"),
        ({"space": {"lr": ph.Float(0, 1, log=True)}}, r"lr.*0.*must be"),
        ({"initial": [{"lr": 7.0}]}, "lr.* is 7.0, but must be"),
        ({"initial": [{"rate": 7.0}]}, "rate"),
        ({"max_failures": 0}, "max_failures is 0, but must be"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(errors.InvalidArgument, match=message):
        make(storage=tmp_path / "a.db", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_result_is_named_and_nothing_is_written(tmp_path):
    study = make(storage=tmp_path / "a.db", space={"lr": ph.Float(0, 1)})
    trial = study.ask()
    for bad in ("0.9", None, object()):
        with pytest.raises(errors.InvalidArgument, match="metrics"):
            study.tell(trial, score=bad)
    with pytest.raises(errors.MetricMissing, match=r"'score'.*accuracy"):
        study.tell(trial, accuracy=0.9)
    assert study.trial(trial.number).state is TrialState.RUNNING
    assert json.loads(study.schedule(study.tell(trial, score=1)).to_json())["segments"][0]["end_step"] == 5
