"""The suite that every source of trials must pass.

Derive a class in a test file, name it ``Test...``, and define how it runs a study::

    class TestTwoWorkers(TrialSourceConformance):
        concurrent = 2

        def run(self, study, train, reload="changed"):
            study.run(train, workers=2, reload=reload, verbose=0)

:class:`SameTrialsConformance` is a part of it, for further numbers of workers.
"""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phyletic.evolution import PBT, Truncation
from phyletic.records import Budget, TrialState
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.failing_trials import FailingTrialsConformance
from phyletic.testing.same_trials import InterruptedTrialsConformance, SameTrialsConformance
from phyletic.testing.training import Journal, Train, build, draw, drawing, trained

__all__ = ["SameTrialsConformance", "TrialSourceConformance"]


class TrialSourceConformance(InterruptedTrialsConformance, FailingTrialsConformance):
    """A suite for pytest: derive a class from it, and define how it runs a study."""

    # What training code sees

    def test_newborns_are_built_and_others_loaded_unless_they_are_in_memory(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "notes")

        def building(trial: Any) -> dict[str, Any]:
            journal.note(trial=trial.number, built=True)
            return build(trial)

        def train(trials: Any) -> None:
            for trial in trials.attach(building):
                width = len(trial.state.weights)
                journal.note(trial=trial.number, newborn=trial.newborn, loaded=trial.loaded, width=width)
                trial.report(score=trained(trial))

        study = _asynchronous_study(tmp_path, 24)
        self.run(study, train)
        trials = study.trials()
        in_memory: dict[int, tuple[int | None, object]] = {}
        built: set[int] = set()
        for note in journal.notes():
            trial = trials[note["trial"]]
            if "built" in note:
                built.add(trial.number)
                continue
            before, width = in_memory.get(note["process"], (None, None))
            fixed = trial.hyperparameters["width"]
            assert note["newborn"] == (trial.parent is None)
            assert note["loaded"] == (trial.parent is None or trial.parent != before)
            assert note["width"] == fixed
            # fixed hyperparameters travel with the weights
            assert trial.parent is None or fixed == trials[trial.parent].hyperparameters["width"]
            assert (trial.number in built) == (trial.parent is None or width != fixed)
            in_memory[note["process"]] = (trial.number, fixed)
        assert any(trial.decision.kind == "exploit" for trial in trials)
        assert len(built) > 4
        seen = {note["loaded"] for note in journal.notes() if "loaded" in note}
        assert seen == {True, False} or self.upload == "background"

    def test_a_trial_knows_its_lineage(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "notes")
        study = _asynchronous_study(tmp_path, 24)
        self.run(study, drawing(lambda trial: journal.note(trial=trial.number, lineage=trial.lineage)))
        notes = journal.notes()
        assert len(notes) == len(study.trials())
        for said in notes:
            numbers = [ancestor.number for ancestor in study.lineage(said["trial"])]
            assert said["lineage"] == "".join(f"{number}," for number in numbers)
        assert max(said["lineage"].count(",") for said in notes) > 3

    def test_random_states_are_seeded_from_the_trial(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")

        def train(trials: Any) -> None:
            for trial in trials.attach(lambda trial: {"weights": torch.rand(2)}):
                numbers = [random.random(), float(np.random.random()), float(torch.rand(()))]
                trial.state.weights += trial["lr"]
                trial.report(score=numbers[0] + trial["width"], numpy=numbers[1], torch=numbers[2])

        study = self.same(train, tmp_path, population=2)
        for trial in study.trials():
            assert trial.metrics == {
                "score": random.Random(trial.seed).random() + float(str(trial.hyperparameters["width"])),
                "numpy": np.random.RandomState(trial.seed).random_sample(),
                "torch": float(torch.rand((), generator=torch.Generator().manual_seed(trial.seed))),
            }

    def test_state_may_be_replaced_by_assignment(self, tmp_path: Path) -> None:
        def frozen(values: Any) -> Any:
            values.setflags(write=False)
            return values

        def train(trials: Any) -> None:
            for trial in trials.attach(lambda trial: {"parameters": {"w": frozen(build(trial)["weights"])}}):
                for _ in trial.range():
                    trial.state.parameters = {"w": frozen(draw(trial, trial.state.parameters["w"]))}
                trial.report(score=float(trial.state.parameters["w"].sum()))

        study = self.same(train, tmp_path)
        assert [trial.score for trial in study.trials()] == pytest.approx([float(row[8]) for row in reference()])

    def test_a_state_is_saved_and_loaded_by_given_functions(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "notes")

        def save(state: Any, folder: Path) -> None:
            np.save(folder / "weights.npy", state.weights)

        def load(state: Any, folder: Path) -> None:
            journal.note(loaded=True)
            state.weights = np.load(folder / "weights.npy")

        def train(trials: Any) -> None:
            for trial in trials.attach(build, save=save, load=load):
                for _ in trial.range():
                    trial.state.weights = draw(trial, trial.state.weights)
                trial.report(score=float(trial.state.weights.sum()))

        study = self.same(train, tmp_path)
        assert [trial.score for trial in study.trials()] == pytest.approx([float(row[8]) for row in reference()])
        assert journal.notes()
        assert [path.name for path in study.checkpoint_path().iterdir()] == ["weights.npy"]

    def test_a_trial_may_load_and_save_itself(self, tmp_path: Path) -> None:
        def train(trials: Any) -> None:
            for trial in trials:
                assert (trial.load_from is None) == trial.newborn
                if trial.load_from is None:
                    weights = build(trial)["weights"]
                else:
                    weights = np.load(trial.load_from / "weights.npy")
                for _ in trial.range():
                    weights = draw(trial, weights)
                np.save(trial.save_to / "weights.npy", weights)
                trial.report(score=float(weights.sum()))

        study = self.same(train, tmp_path, population=2)
        assert study.checkpoint_path().joinpath("weights.npy").exists()

    def test_functions_of_a_notebook_can_be_run(self, tmp_path: Path) -> None:
        code = (
            "import numpy as np\nSTART = 2.0\n"
            "def build(trial):\n return {'weights': np.full(trial['width'], START)}\n"
            "def train(trials):\n"
            " for trial in trials.attach(build):\n"
            "  for _ in trial.range():\n   trial.state.weights += trial['lr'] * np.random.random()\n"
            "  trial.report(score=float(trial.state.weights.sum()))\n"
        )
        cell: dict[str, Any] = {"__name__": "__main__"}
        exec(code, cell)
        self.same(cell["train"], tmp_path, population=2)

    def test_training_code_may_loop_more_than_once(self, tmp_path: Path) -> None:
        def train(trials: Any) -> None:
            for _ in range(3):
                for trial in trials.attach(build):
                    trial.report(score=trained(trial))
                    if trial.number in (3, 8) and trial.record.attempts == 1:
                        break

        study = example_study(tmp_path / "study.db")
        self.run(study, train)
        assert [row[7:9] for row in facts(study)] == [row[7:9] for row in reference()]
        # the trials that the loop left open were never told
        assert [trial.attempts for trial in study.trials()] == [1 + (number in (3, 8)) for number in range(20)]

    # Steps, reports and budgets

    def test_reports_before_the_last_step_are_kept_as_progress(self, tmp_path: Path) -> None:
        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                for step in trial.range():
                    trial.report({"val/loss": float(step)}, score=float(step - 100))
                    trial.state.weights[:] = draw(trial, trial.state.weights)
                trial.report(score=trial["lr"])

        study = self.same(train, tmp_path, population=2, steps=4)
        for trial in study.trials():
            at, end = trial.start_step, trial.start_step + 2
            found = [(one.step, one.metric, one.value, one.kind) for one in study.evaluations(trial)]
            assert found == [
                (at, "val/loss", float(at), "progress"),
                (at, "score", float(at - 100), "progress"),
                (at + 1, "val/loss", float(at + 1), "progress"),
                (at + 1, "score", float(at - 99), "progress"),
                (end, "score", trial.hyperparameters["lr"], "final"),
            ]
            assert trial.score == trial.hyperparameters["lr"]

    def test_training_code_may_do_more_or_fewer_steps_than_asked_for(self, tmp_path: Path) -> None:
        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                trial.state.weights[:] = draw(trial, trial.state.weights)
                trial.report(score=float(trial.state.weights.sum()), steps_done={0: 3, 1: 1}.get(trial.number))

        study = self.same(train, tmp_path, population=3)
        trials = study.trials()
        assert [trial.steps_done for trial in trials[:3]] == [3, 1, 2]
        for trial in trials:
            assert trial.start_step == (0 if trial.parent is None else trials[trial.parent].end_step)
        assert max(trial.end_step or 0 for trial in trials) == 8

    def test_intervals_may_be_given_in_seconds(self, tmp_path: Path) -> None:
        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                trial.state.weights[:] = draw(trial, trial.state.weights)
                for _ in trial.range():
                    time.sleep(0.01)
                trial.report(score=float(trial.state.weights.sum()))

        algorithm = PBT(2, interval_seconds=0.05, exploit=Truncation(0.4))
        study = example_study(tmp_path / "study.db", algorithm=algorithm, budget=Budget(trials=4))
        self.run(study, train)
        trials = study.trials()
        assert [trial.steps for trial in trials] == [None] * 4
        assert all(trial.end_step is not None and trial.end_step > trial.start_step for trial in trials)
        assert all(trial.timings is not None and trial.timings.training >= 0.05 for trial in trials)

    def test_25_trials_are_25_completed_trials(self, tmp_path: Path) -> None:
        study = _asynchronous_study(tmp_path, 25)
        self.run(study, drawing())
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETED] * 25
        assert study.finished

    def test_a_study_ends_at_its_seconds(self, tmp_path: Path) -> None:
        study = example_study(tmp_path / "study.db", budget=Budget(seconds=0.2))
        self.run(study, drawing(lambda trial: time.sleep(0.02)))
        assert study.finished
        assert study.status().active_seconds >= 0.2

    def test_a_study_ends_at_its_target_and_what_runs_is_asked_to_stop(self, tmp_path: Path) -> None:
        if not self.here and self.concurrent == 1:
            pytest.skip("nothing runs beside the trial that reaches the target")
        journal = Journal(tmp_path / "notes")
        study = example_study(tmp_path / "study.db", population=2, budget=Budget(target=5.0, steps=100))

        def reach_beside(trial: Any) -> bool:
            study.tell(study.ask(), score=5.0)
            return False

        def second(trial: Any) -> bool:
            return bool(trial.number == 1)

        self.run(study, _stopping(journal, reach_beside if self.here else second))
        assert study.finished
        assert [trial.score for trial in study.trials()] == [0.0, 5.0]
        assert 0 < len(journal.notes()) < 1000


def _asynchronous_study(tmp_path: Path, trials: int) -> Study:
    """Return a study in which workers prefer the members whose state they have in memory."""
    algorithm = PBT(4, 2, exploit=Truncation(0.4))
    return example_study(tmp_path / "study.db", algorithm=algorithm, budget=Budget(trials=trials))


def _stopping(journal: Journal, reaches: Any) -> Train:
    """Return training code that reaches the target where ``reaches(trial)``, and else trains until it is to stop."""

    def train(trials: Any) -> None:
        for trial in trials.attach(build):
            trial["lr"]
            score = 5.0 if reaches(trial) else 0.0
            if score:
                journal.wait_for(1)
            while not (score or trial.should_stop or len(journal.notes()) >= 1000):
                journal.note(waiting=trial.number)
                time.sleep(0.02)
            trial.report(score=score, steps_done=1)

    return train
