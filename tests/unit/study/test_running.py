"""Mistakes in a run are phyletic errors, raised before anything is trained."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.cli import main
from phyletic.coordinator.messages import Control
from phyletic.errors import InvalidArgument, MetricMissing, StorageError, TrainingError
from phyletic.workers.live_trial import attempt_of


def make(tmp_path, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(2, 1), budget=ph.Budget(steps=1), storage=tmp_path / "study.db", **options,
    )  # fmt: skip


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        trial.report(score=trial["lr"])


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, "10", True])
@pytest.mark.parametrize(("name", "workers"), [("grace", 0), ("grace", 1), ("trial_timeout", 1)])
def test_seconds_are_numbers_above_0(tmp_path, name, workers, seconds):
    study = make(tmp_path)
    with pytest.raises(InvalidArgument, match=f"{name} is .* a finite number, above 0"):
        study.run(train, workers=workers, verbose=0, **{name: seconds})
    assert study.trials() == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "environment", [{"A": 1}, {1: "A"}, ["A"], {"A=B": "1"}, {"": "1"}, {"A": "x\0y"}, {"A": "\ud800"}]
)
def test_a_bad_environment_is_named_before_the_run(tmp_path, environment, workers):
    study = make(tmp_path)
    with pytest.raises(
        InvalidArgument, match=r"environment is .* a dictionary from the names of environment variables"
    ):
        study.run(train, workers=workers, verbose=0, environment=environment)
    assert study.trials() == []
    assert not study.owner.begun


def test_a_log_folder_that_cannot_be_created_is_named(tmp_path):
    study = make(tmp_path)
    (tmp_path / "study.logs").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"study\.logs, cannot be made: "):
        study.run(train, workers=1, verbose=0)
    study.run(train, workers=0, verbose=0)
    assert study.finished


def test_an_inbox_that_cannot_be_written_is_named(tmp_path):
    study = make(tmp_path)
    study.close()
    (tmp_path / "study.inbox").write_text("a file is in the way")
    inbox = study.owner.inbox
    with pytest.raises(StorageError, match=r"a request cannot be left in .*study\.inbox: "):
        inbox.ask(Control(paused=True), 0.1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loop_inside_another_is_an_error_that_says_so(tmp_path, workers):
    def nested(trials):
        for trial in trials:
            for other in trials:
                other.report(score=trial["lr"])

    study = make(tmp_path)
    with pytest.raises(TrainingError, match="began while trial 0 of another one is open"):
        study.run(nested, workers=workers, verbose=0)
    assert [(trial.state.value, trial.failures) for trial in study.trials()] == [("waiting", 0)] * len(study.trials())


def test_a_loop_in_an_except_block_does_not_tell_the_trial_that_raised(tmp_path):
    def loop(trials, broken):
        for trial in trials:
            trial.report(score=trial["lr"])
            if broken:
                raise ValueError("broken")

    def train(trials):
        try:
            loop(trials, broken=True)
        except ValueError:
            loop(trials, broken=False)

    study = make(tmp_path)
    study.run(train, workers=0, verbose=0)
    assert [(trial.attempts, trial.failures) for trial in study.trials()] == [(2, 1), (1, 0)]


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_run_ends_well_even_if_the_best_checkpoint_is_gone(tmp_path, verbose, capsys):
    def worse_and_worse(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.report(score=-trial["lr"] - trial.record.start_step)

    study = make(tmp_path)
    study.set_budget(ph.Budget(steps=4))  # so that no member continues from the best trial, which was the first
    study.run(worse_and_worse, verbose=0)
    path = study.checkpoint_path()
    path.unlink()
    study.set_budget(ph.Budget(steps=5))
    study.run(worse_and_worse, verbose=verbose)
    assert study.status().state == "finished"
    assert f"checkpoint: gone; there is no checkpoint {path.stem} in {path.parent}" in capsys.readouterr().err
    # the command that shows the study works too
    shown = CliRunner().invoke(main, ["best", "study", "--storage", str(tmp_path / "study.db")])
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "checkpoint: none is kept")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_does_not_wait_for_trials_that_only_its_own_thread_can_tell(tmp_path, workers):
    study = make(tmp_path)
    study.resize(3)
    asked, named = study.ask(), study.ask(worker="mine")
    with pytest.raises(TrainingError, match=r"not told yet: 0, 1\. The run would wait"):
        study.run(train, workers=workers, verbose=0)
    assert [trial.state.value for trial in study.trials()] == ["running", "running"]
    assert attempt_of(study.ask(worker="mine")).grant == attempt_of(named).grant
    assert study.tell([asked, named], [{"score": 0.25}, {"score": 0.5}])[1].score == 0.5
    study.run(train, workers=workers, verbose=0)
    assert study.finished
    assert [trial.attempts for trial in study.trials()] == [1, 1, 1]
    assert not study.owner.begun


@pytest.mark.parametrize("workers", [0, 1])
def test_a_trial_from_ask_stays_with_its_thread_when_a_run_ends(tmp_path, capsys, workers):
    study = make(tmp_path)
    study.resize(3)
    with ThreadPoolExecutor(1) as other:
        asked, named = other.submit(lambda: (study.ask(), study.ask(worker="mine"))).result()

        def misuse(trials):
            for trial in trials:
                trial["lr"]

        with pytest.raises(MetricMissing):
            study.run(misuse, workers=workers)
        assert "waiting, in the end, for trials that other threads asked for: 0, 1\n" in capsys.readouterr().err
        assert [trial.state.value for trial in study.trials()] == ["running", "running", "waiting"]

        def tell_later():
            while len(study.trials(states=[ph.TrialState.COMPLETED])) < 1:
                time.sleep(0.01)
            return study.tell([asked, named], [{"score": 0.25}, {"score": 0.5}])

        told = other.submit(tell_later)
        study.run(train, workers=workers, verbose=0)
        assert told.result()[1].score == 0.5
    assert study.finished
    assert [trial.attempts for trial in study.trials()] == [1, 1, 2]
    assert not study.owner.begun


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_does_not_wait_for_the_trial_of_an_abandoned_loop(tmp_path, workers):
    study = make(tmp_path)
    left = iter(study)
    next(left)
    study.run(train, workers=workers, verbose=0)
    assert study.finished
    assert [trial.failures for trial in study.trials()] == [0, 0]
    assert list(left) == []


def test_a_told_or_failed_trial_is_no_longer_held(tmp_path):
    study = make(tmp_path)
    for _ in range(3):
        study.fail(study.ask(), "again")
    study = make(tmp_path, max_failures=9)
    study.tell(study.ask(), score=1.0)
    study.run(train, verbose=0)
    assert study.finished
    assert study._ask_and_tell._threads == {}


class Noting:
    """A callback that records its calls and raises once."""

    def __init__(self):
        self.told = []

    def on_completed(self, study, change):
        self.told.append(change.trial.number)
        if change.trial.number == 1:
            raise RuntimeError("by the callback")

    def on_finished(self, study):
        self.told.append(study.finished)


def test_callbacks_get_committed_changes_and_may_raise(tmp_path, caplog):
    noting = Noting()
    make(tmp_path).run(train, verbose=0, callbacks=[noting])
    assert noting.told == [0, 1, True]
    assert "by the callback" in caplog.text
    with pytest.raises(InvalidArgument, match="callbacks"):
        make(tmp_path).run(train, callbacks=[object()])


@pytest.mark.parametrize("way", ["run", "loop"])
def test_without_a_budget_a_run_and_a_loop_say_that_they_go_on(capsys, way):
    study = ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0, algorithm=ph.PBT(2, 1)
    )

    def five(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.report(score=trial["lr"], steps_done=1)
            if trial.number == 4:
                if way == "loop":
                    break
                study.stop()

    if way == "run":
        assert study.run(five, workers=0, verbose=1) == "stopped"
        said = capsys.readouterr()
        assert "no budget, so it runs until Ctrl-C" in said.out + said.err
    else:
        with pytest.warns(UserWarning, match="no budget, so loops over its trials go on until Ctrl-C"):
            five(study)
    assert len([trial for trial in study.trials() if trial.end_step]) >= 4
