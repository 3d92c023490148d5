"""Schedules of lineages, their files, and replays that train a model with them."""

import csv
import io
import itertools
import json

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.study.schedule import Segment
from phyletic.testing.example import example_study
from phyletic.testing.training import build, drawing


@pytest.fixture(scope="module")
def study():
    study = example_study(steps=12)
    drawing()(study)
    return study


def test_a_schedule_follows_the_lineage_of_the_best_trial(study):
    schedule = study.schedule()
    lineage = study.lineage()
    assert lineage[0].newborn
    assert lineage[-1] == study.best
    assert schedule.steps == study.best.end_step
    for trial in lineage:
        for step in range(trial.start_step, trial.end_step):
            assert schedule.at(step) == trial.hyperparameters
    changes = sum(a.hyperparameters != b.hyperparameters for a, b in itertools.pairwise(lineage))
    assert len(schedule.segments) == 1 + changes
    assert any(len(study.schedule(trial).segments) > 1 for trial in study.trials())


def test_a_schedule_survives_saving_and_loading(study, tmp_path):
    longest = max((study.schedule(trial) for trial in study.trials()), key=lambda schedule: len(schedule.segments))
    longest.save(tmp_path / "schedule.json")
    assert ph.Schedule.from_json((tmp_path / "schedule.json").read_text()) == longest
    assert set(json.loads(longest.to_json())["segments"][0]) == {"start_step", "end_step", "hyperparameters"}
    longest.save(tmp_path / "schedule.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "schedule.csv").read_text())))
    assert [(int(row["start_step"]), int(row["end_step"])) for row in rows] == [
        (segment.start_step, segment.end_step) for segment in longest.segments
    ]
    assert [float(row["lr"]) for row in rows] == [segment.hyperparameters["lr"] for segment in longest.segments]
    frame = longest.to_dataframe()
    assert list(frame.columns) == ["start_step", "end_step", "lr", "width"]
    assert len(frame) == len(longest.segments)


def test_another_kind_of_file_is_refused(study, tmp_path):
    with pytest.raises(errors.InvalidArgument, match=r"path is .*schedule.txt.*\.json or \.csv"):
        study.schedule().save(tmp_path / "schedule.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_replay_trains_one_model_through_the_schedule(study, tmp_path):
    schedule = ph.Schedule(
        (
            Segment(10, 13, {"lr": 0.01, "width": 2}),
            Segment(13, 18, {"lr": 0.02, "width": 2}),
            Segment(18, 20, {"lr": 0.005, "width": 2}),
        )
    )
    schedule.save(tmp_path / "schedule.json")
    seen = []

    def train(trials):
        for trial in trials.attach(build):
            for step in trial.range():
                seen.append((step, trial["lr"], len(trial.state.weights)))
            trial.report(score=1.0)

    replayed = study.replay(train, tmp_path / "schedule.json", seed=7)
    assert seen == [(step, 0.01 if step < 3 else 0.02 if step < 8 else 0.005, 2) for step in range(10)]
    assert replayed.finished
    assert [trial.parent for trial in replayed.trials()] == [None, 0, 1]
    assert replayed.trial(0).decision.changes == ()
    (change,) = replayed.trial(1).decision.changes
    assert (change.path, change.before, change.after, change.how) == ("lr", 0.01, 0.02, "schedule")
    assert replayed.schedule(2).segments[-1].hyperparameters == {"lr": 0.005, "width": 2}
    assert replayed.restore(2)["weights"].shape == (2,)


def test_a_replay_of_the_best_lineage_is_as_long_and_uses_its_own_seed(study):
    one, same, other = (study.replay(drawing(), seed=seed) for seed in (1, 1, 2))
    last = [replay.trials()[-1] for replay in (one, same, other)]
    assert [trial.end_step for trial in last] == [study.best.end_step] * 3
    assert last[0].score == last[1].score != last[2].score
    assert one.schedule(last[0]) == study.schedule()


def test_a_schedule_that_does_not_fit_the_space_is_named(study):
    schedule = ph.Schedule((Segment(0, 2, {"lr": 7.0, "width": 2}),))
    with pytest.raises(errors.InvalidSpace, match=r"lr.* is 7\.0, but must be"):
        study.replay(drawing(), schedule)
    with pytest.raises(errors.InvalidArgument, match="at least one segment"):
        study.replay(drawing(), ph.Schedule(()))
    with pytest.raises(errors.InvalidArgument, match="schedule"):
        study.replay(drawing(), "missing.json")
    with pytest.raises(errors.InvalidArgument, match="in order and without gaps"):
        ph.Schedule((Segment(0, 2, {}), Segment(3, 4, {})))


def test_a_trial_that_fails_in_a_replay_is_retried_from_its_own_beginning(study):
    failed = []

    def train(trials):
        for trial in trials.attach(build):
            start = trial.state.weights.copy()
            for _ in trial.range():
                trial.state.weights += trial["lr"] * np.random.random()
            if trial.start_step and not failed:
                failed.append((trial.number, start.tolist()))
                raise ValueError("once")
            if failed and trial.number == failed[0][0]:
                assert start.tolist() == failed[0][1]
            trial.report(score=1.0)

    longest = max((study.schedule(trial) for trial in study.trials()), key=lambda schedule: len(schedule.segments))
    replayed = study.replay(lambda study: study.run(train, verbose=0), longest)
    assert replayed.finished
    assert replayed.trial(failed[0][0]).attempts == 2


@pytest.mark.parametrize(
    "done", [lambda steps: -(-steps // 3) * 3, lambda steps: max(1, steps - 1)], ids=["over", "under"]
)
def test_a_replay_follows_the_schedule_if_code_trains_other_numbers_of_steps(study, done):
    segments = [(0, 4, 0.01), (4, 5, 0.02), (5, 9, 0.03)]
    schedule = ph.Schedule(tuple(Segment(a, b, {**study.best.hyperparameters, "lr": lr}) for a, b, lr in segments))

    def train(trials):
        for trial in trials.attach(build):
            trial.hyperparameters.paths.update(trial.record.hyperparameters)
            trial.report(score=0.0, steps_done=done(trial.steps))

    replayed = study.replay(train, schedule)
    lineage = replayed.lineage(replayed.trials()[-1])
    assert lineage == replayed.trials()
    assert lineage[-1].end_step >= 9
    for trial in lineage:
        assert trial.hyperparameters == schedule.at(trial.start_step)
        assert trial.start_step + trial.steps in (4, 5, 9)


def test_without_attach_every_trial_counts_as_loaded():
    study = example_study(steps=12)
    loaded = []
    for trial in study:
        loaded.append(trial.loaded)
        trial.hyperparameters.paths.update(trial.record.hyperparameters)
        (trial.save_to / "weights").write_text("1")
        trial.report(score=0.0)
    assert set(loaded) == {True}


def score_and_seed(trials):
    return [(trial.score, trial.seed) for trial in trials]


@pytest.mark.parametrize("workers", [None, 2])
def test_several_seeds_train_in_one_study_what_each_trains_alone(study, tmp_path, workers):
    together = study.replay(drawing(), seeds=[5, 6, 7], workers=workers, storage=tmp_path / "a.db")
    assert [identity.name for identity in ph.studies(tmp_path / "a.db")] == [together.name]
    for member, seed in enumerate([5, 6, 7]):
        alone = study.replay(drawing(), seed=seed)
        own = [trial for trial in together.trials() if trial.member == member]
        assert score_and_seed(own) == score_and_seed(alone.trials())


@pytest.mark.parametrize(
    ("given", "said"), [({"seeds": []}, "seeds"), ({"seeds": [1, "2"]}, "seed"), ({"seeds": [1], "seed": 1}, "seed")]
)
def test_bad_seeds_are_named(study, given, said):
    with pytest.raises(errors.InvalidArgument, match=said):
        study.replay(drawing(), **given)
