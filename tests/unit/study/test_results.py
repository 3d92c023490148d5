"""Results beside the trials: the best member now, errors of attempts that were tried again, and deleting a study."""

import math

import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.cli import main
from phyletic.errors import NotFound, StorageOwned
from phyletic.records import FailedAttempt


def make(storage, name="study", population=2, **budget):
    return ph.Study(
        name, space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.RandomSearch(population, 1), budget=ph.Budget(**(budget or {"steps": 3})), storage=storage,
    )  # fmt: skip


def tell(study, *scores):
    for score in scores:
        trial = study.ask()
        study.tell(trial, score=score, checkpoint={"w": [0.0]})


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_member_is_the_best_head_and_not_the_luckiest_trial(tmp_path, mode):
    study = make(tmp_path / "a.db")
    study = ph.Study(
        "mode", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode=mode, seed=0,
        algorithm=ph.RandomSearch(2, 1), budget=ph.Budget(steps=3), storage=tmp_path / "a.db",
    )  # fmt: skip
    sign = 1 if mode == "max" else -1
    with pytest.raises(NotFound, match="no member of study 'mode' has a finite score now"):
        study.best_member  # noqa: B018
    tell(study, 9.0 * sign, 1.0 * sign, 2.0 * sign, 3.0 * sign)
    assert (study.best.number, study.best.score) == (0, 9.0 * sign)
    assert (study.best_member.number, study.best_member.score) == (3, 3.0 * sign)
    tell(study, math.nan, 1.0 * sign)
    assert study.best_member.number == 5
    status = study.status()
    assert (status.best, status.best_member, status.best_head) == (0, study.best_member.member, 5)
    shown = CliRunner().invoke(main, ["show", "mode", "--storage", str(tmp_path / "a.db")]).output
    assert f"best member {study.best_member.member}, {1 * sign} now in trial 5" in " ".join(shown.split())


def test_of_equal_scores_the_later_counts_also_for_what_is_kept(tmp_path):
    study = make(tmp_path / "a.db", steps=6)
    tell(study, 0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    assert study.best.number == 3
    assert study.checkpoint_path(3).exists()
    with pytest.raises(NotFound):
        study.checkpoint_path(2)
    study.close()
    assert make(tmp_path / "a.db", steps=6).owner.state.best[0].number == 3


def test_patience_ends_a_study_after_trials_without_a_new_best(tmp_path):
    study = make(tmp_path / "a.db", patience=3)
    tell(study, 1.0, 2.0, 2.0, math.nan)
    study.close()  # the count outlives its owner
    study = make(tmp_path / "a.db", patience=3)
    tell(study, 1.5)
    end = study.ask()
    assert isinstance(end, ph.Finished)
    assert "3 trials in a row brought no new best" in end.reason
    assert study.status().state == "finished"
    study.set_budget(ph.Budget(patience=4))
    tell(study, 3.0, 1.0, 1.0)
    assert isinstance(study.ask(), ph.LiveTrial)


def test_errors_lists_every_failed_attempt_also_those_that_were_tried_again(tmp_path, capsys):
    study = make(tmp_path / "a.db")
    tell(study, 1.0)

    def train(trials):
        for trial in trials.attach(lambda trial: {"w": [0.0]}):
            if trial.number == 1 and trial.record.failures < 2:
                raise ValueError(f"no luck in attempt {trial.record.attempts}")
            trial.report(score=trial["lr"])

    study.run(train, workers=0, verbose=1)
    assert [(one.trial, one.attempt, one.cause, one.error) for one in study.errors] == [
        (1, 1, "error", "ValueError: no luck in attempt 1"),
        (1, 2, "error", "ValueError: no luck in attempt 2"),
    ]
    assert all(isinstance(one, FailedAttempt) and "Traceback" in one.traceback for one in study.errors)
    assert study.trial(1).failures == 2
    said = capsys.readouterr()
    assert "2 attempts failed" in said.out + said.err


def test_a_study_is_deleted_with_its_checkpoints_and_no_other(tmp_path):
    storage = tmp_path / "a.db"
    for name in ("one", "two"):
        study = make(storage, name)
        tell(study, 1.0, 2.0)
        study.ask()
        study.close()
    kept = {ph.Study("two", storage=storage).checkpoint_path(number) for number in (0, 1)}
    ph.delete_study("one", storage)
    assert [identity.name for identity in ph.studies(storage)] == ["two"]
    assert set((tmp_path / "a.checkpoints").iterdir()) == kept
    with pytest.raises(NotFound, match="no study 'one'"):
        ph.delete_study("one", storage)
    make(storage, "one").run(
        lambda trials: [trial.report(score=trial["lr"]) for trial in trials.attach(lambda trial: {"w": [0]})], verbose=0
    )


def test_a_study_that_an_owner_holds_is_not_deleted(tmp_path):
    study = make(tmp_path / "a.db")
    study.ask()
    with pytest.raises(StorageOwned, match="close its studies"):
        ph.delete_study("study", tmp_path / "a.db")
    study.close()
    command = ["delete", "study", "--storage", str(tmp_path / "a.db")]
    asked = CliRunner().invoke(main, command, input="n\n")
    assert asked.exit_code == 1
    assert "delete study study with 1 trials and their checkpoints?" in asked.output
    assert CliRunner().invoke(main, [*command, "--yes"]).output == "study: deleted\n"
    assert ph.studies(tmp_path / "a.db") == []
