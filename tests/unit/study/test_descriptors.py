"""A process that opens many studies in a row holds no more files open than after the first."""

import gc
import os

import pytest

import phyletic as ph


def make(storage, number):
    return ph.Study(
        f"study {number}", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=number, storage=storage,
        algorithm=ph.RandomSearch(population=1, interval=1), budget=ph.Budget(steps=2),
    )  # fmt: skip


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0]}):
        trial.report(score=trial["lr"])


def train_a_study(storage, number):
    make(storage, number).run(train, verbose=0)


def ask_and_tell(storage, number):
    study = make(storage, number)
    trial = study.ask()
    (trial.save_to / "weights").write_text("1")
    study.tell(trial, score=1.0)
    study.close()


def check(storage, number):
    assert make(storage, number).check(train) == []


def replay(storage, number):
    study = make(storage, number)
    study.run(train, verbose=0)
    study.replay(train, study.schedule())


def open_descriptors():
    gc.collect()
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


@pytest.mark.parametrize("where", ["memory", "files"])
@pytest.mark.parametrize("use", [train_a_study, ask_and_tell, check, replay])
def test_many_studies_in_a_row_hold_no_more_descriptors_than_one(tmp_path, use, where):
    def storage(number):
        return None if where == "memory" else tmp_path / f"{number}.db"

    use(storage(0), 0)
    before = open_descriptors()
    for number in range(1, 6):
        use(storage(number), number)
    assert open_descriptors() <= before
