"""A dry run has the same trials as the synchronous study that it imitates."""

from __future__ import annotations

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument, NotFound
from phyletic.problems import deceptive, mueller_brown, quadratic, triangle
from phyletic.problems.ablations import ablations
from phyletic.problems.dry_run import dry_run

CASES = {
    **{
        name: (quadratic, quadratic.SPACE, "objective", "max", algorithm, 40, quadratic.INITIAL)
        for name, algorithm in ablations().items()
    },
    "wild births": (
        mueller_brown,
        mueller_brown.space(50.0),
        "potential",
        "min",
        ph.PBT(12, 4, explore=ph.Gaussian(0.2), synchronous=True),
        18,  # the last trial is shortened to fit
        (),
    ),
    "triangle": (triangle, triangle.SPACE, "accuracy", "max", ph.PBT(4, 5, synchronous=True), 20, [triangle.START]),
    "t-test": (
        quadratic,
        quadratic.SPACE,
        "objective",
        "max",
        ph.PBT(6, 4, exploit=ph.TTest(window=3, p=0.9), explore=ph.Gaussian(0.2), synchronous=True),
        40,
        (),
    ),
    "matched": (
        quadratic,
        quadratic.SPACE,
        "objective",
        "max",
        ph.PBT(6, 4, compare="matched", explore=ph.Gaussian(0.2), synchronous=True),
        40,
        (),
    ),
    "deceptive": (deceptive, deceptive.SPACE, "loss", "min", ph.PBT(4, 5, synchronous=True), 20, ()),
}


def facts(trials):
    return [
        (
            trial.number,
            trial.member,
            trial.generation,
            trial.parent,
            trial.hyperparameters,
            trial.start_step,
            trial.end_step,
            trial.seed,
            repr(trial.score),
            {name: repr(value) for name, value in trial.metrics.items()},
            trial.decision.kind,
            trial.decision.donor,
            trial.decision.changes,
        )
        for trial in trials
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_dry_run_has_the_same_trials_as_the_study(case):
    problem, space, metric, mode, algorithm, steps, initial = CASES[case]
    dry = dry_run(
        problem.train,
        space=space,
        metric=metric,
        mode=mode,
        algorithm=algorithm,
        steps=steps,
        seed=3,
        initial=initial,
    )
    study = ph.Study(
        "real",
        space=space,
        metric=metric,
        mode=mode,
        algorithm=algorithm,
        budget=ph.Budget(steps=steps),
        seed=3,
        initial=initial or None,
    )
    with study:
        problem.train(study)
        assert facts(dry) == facts(study.trials())


def test_members_share_no_state_with_their_copies():
    """Training that changes its state in place must not train another member's."""

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    algorithm = ph.PBT(4, 5, exploit=ph.Truncation(0.5), synchronous=True)
    trials = dry_run(train, space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", algorithm=algorithm, steps=20)
    for trial in trials:
        before = 0.0 if trial.parent is None else trials[trial.parent].score
        assert trial.score == pytest.approx(before + 5 * trial.hyperparameters["lr"])


def test_a_dry_run_ends_at_its_target():
    def run(**more):
        return dry_run(
            quadratic.train,
            space=quadratic.SPACE,
            metric="objective",
            mode="max",
            algorithm=ph.PBT(4, 10, synchronous=True),
            steps=200,
            **more,
        )

    short = run(target=1.0)
    assert short[-1].score >= 1.0 > max(trial.score for trial in short[:-1])
    assert facts(short) == facts(run())[: len(short)]


def test_algorithms_without_generations_bounded_by_steps_are_refused():
    with pytest.raises(InvalidArgument, match="algorithm is"):
        dry_run(quadratic.train, space=quadratic.SPACE, metric="q", mode="max", algorithm=ph.PBT(2, 4), steps=8)
    timed = ph.PBT(2, interval_seconds=1.0, synchronous=True)
    with pytest.raises(InvalidArgument, match="algorithm is"):
        dry_run(quadratic.train, space=quadratic.SPACE, metric="q", mode="max", algorithm=timed, steps=8)


def test_a_metric_that_is_not_reported_is_named():
    algorithm = ph.PBT(2, 4, synchronous=True)
    with pytest.raises(NotFound, match="did not report 'q'"):
        dry_run(quadratic.train, space=quadratic.SPACE, metric="q", mode="max", algorithm=algorithm, steps=8)
