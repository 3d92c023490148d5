"""Suite: training code that fails, leaves the loop, or breaks its contract."""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phyletic.errors import HyperparameterDrift, HyperparameterUnused, InvalidArgument, MetricMissing
from phyletic.records import TrialState
from phyletic.space import Choice, Float
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.same_trials import SameTrialsConformance
from phyletic.testing.training import Journal, build, drawing, trained

__all__ = ["FailingTrialsConformance"]


class FailingTrialsConformance(SameTrialsConformance):
    """A suite for pytest: a failed trial is tried again and given up in time, and a misuse ends the run."""

    def test_a_trial_that_raises_is_tried_again_with_nothing_trusted(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "notes")

        def fail_twice(trial: Any) -> None:
            if trial.number == 2 and sum(note["trial"] == 2 for note in journal.notes()) < 2:
                journal.note(trial=trial.number)
                trial.state.weights[:] = 1e9
                raise ValueError("by bad luck")

        # a single member would go on from memory
        study = example_study(tmp_path / "study.db", population=1)
        raised = self.run_over(study, drawing(fail_twice))
        assert facts(study) == reference(1)
        failed = study.trial(2)
        assert failed.attempts == 3
        if self.supervised:
            assert (raised, failed.failures) == (0, 2)
            assert failed.error is not None
            assert "Traceback" in failed.error
            assert "in fail_twice" in failed.error
            assert "ValueError: by bad luck" in failed.error
        else:
            assert raised == 2

    def test_a_trial_that_always_raises_is_given_up_and_its_member_goes_on(self, tmp_path: Path) -> None:
        if not self.supervised:
            pytest.skip("what training code raises is its caller's")

        def fail(trial: Any) -> None:
            if trial.number == 8:
                raise ValueError("for good")

        study = example_study(tmp_path / "study.db", max_failures=2)
        self.run(study, drawing(fail))
        given_up = study.trial(8)
        assert (given_up.state, given_up.failures, given_up.attempts) == (TrialState.FAILED, 2, 2)
        (rescue,) = [trial for trial in study.trials() if trial.member == given_up.member and trial.generation == 2]
        assert rescue.decision.kind == "rescue"
        assert all(trial.state is TrialState.COMPLETED for trial in study.trials() if trial.number != 8)
        assert study.finished

    @pytest.mark.parametrize("leave", ["break", "return"])
    def test_a_trial_that_was_left_is_never_told(self, tmp_path: Path, leave: str) -> None:
        left = tmp_path / "left"

        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                score = trained(trial)
                if trial.number == 8 and not left.exists():
                    left.touch()
                    trial.report(score=1e9)
                    if leave == "return":
                        return
                    break
                trial.report(score=score)

        study = example_study(tmp_path / "study.db")
        self.run(study, train)
        if not self.supervised:
            assert study.trial(8).score is None
            self.run(study, train)
        assert [row[8] for row in facts(study)] == [row[8] for row in reference()]
        trial = study.trial(8)
        assert (trial.attempts, trial.failures) == (2, int(self.supervised))
        if self.supervised:
            assert "the loop was left while trial 8 was open" in str(trial.error)

    @pytest.mark.parametrize("reported", [{}, {"accuracy": 1.0}])
    def test_a_trial_without_its_metric_ends_the_run(self, tmp_path: Path, reported: dict[str, float]) -> None:
        def body(trial: Any) -> None:
            trial["lr"]
            trial.report(reported)

        shown = "accuracy" if reported else "nothing"
        self.check_misuse(tmp_path, body, MetricMissing, f"(?s)'score'.*reported was: {shown}")

    def test_a_hyperparameter_that_nothing_reads_ends_the_run(self, tmp_path: Path) -> None:
        def body(trial: Any) -> None:
            trial.report(score=trial["lr"])

        space = {"lr": Float(0, 1), "width": Choice([2, 3])}
        self.check_misuse(tmp_path, body, HyperparameterUnused, "'width'", space=space)

    def test_a_value_that_changed_under_way_ends_the_run(self, tmp_path: Path) -> None:
        def body(trial: Any) -> None:
            settings = {"lr": 0.5}
            trial.apply(settings)
            settings["lr"] *= 0.5
            trial.report(score=1.0)

        self.check_misuse(tmp_path, body, HyperparameterDrift, "lr")

    def test_a_misuse_ends_the_run(self, tmp_path: Path) -> None:
        def body(trial: Any) -> None:
            trial["lr"]
            trial.report(score="high")

        said = r"metrics\['score'\] is 'high', but must be a number"
        self.check_misuse(tmp_path, body, InvalidArgument, said)

    def check_misuse(self, tmp_path: Path, body: Any, error: type[Exception], said: str, **changes: Any) -> None:
        """Check that the body of a loop ends the run with an error, and that the error counts against no trial.

        Args:
            tmp_path: An empty folder.
            body: The body of the loop, called with each trial.
            error: The class of the error.
            said: A pattern that the message must match.
            **changes: Other arguments of :class:`Study`.
        """

        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                body(trial)

        study = example_study(tmp_path / "study.db", **changes)
        with pytest.raises(error, match=said):
            self.run(study, train)
        assert not study.finished
        assert study.trials()
        assert all(trial.state.open and trial.failures == 0 and trial.losses == 0 for trial in study.trials())
