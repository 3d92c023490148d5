"""Any thread can stop a study that trains in this process: the trial is handed back without an error."""

import signal
import threading
import time

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState


def make(folder, interval=1000):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, interval),
        budget=ph.Budget(steps=interval),
        seed=0,
        storage=folder / "study.db",
    )


class Training:
    """Training code that checks for a stop by ``range``, by ``should_stop``, or not at all."""

    def __init__(self, looks):
        self.looks = looks
        self.began = threading.Event()
        self.stopped = threading.Event()

    def __call__(self, trials):
        for trial in trials.attach(lambda trial: {"w": [0.0]}):
            trial["lr"]
            self.began.set()
            if self.looks == "range":
                for _ in trial.range():
                    time.sleep(0.01)
                trial.report(score=1.0)
            elif self.looks == "should_stop":
                while not trial.should_stop:
                    time.sleep(0.01)
                trial.report(score=1.0, steps_done=7)
            else:
                self.stopped.wait(20)
                trial.report(score=1.0)


def in_time(function, *arguments, **options):
    thread = threading.Thread(target=function, args=arguments, kwargs=options)
    thread.start()
    return thread


def stop(study, train, now=True):
    assert train.began.wait(20)
    study.stop(now=now)
    train.stopped.set()


@pytest.mark.parametrize("looks", ["range", "should_stop", "nothing"])
@pytest.mark.parametrize("main", [True, False])
def test_code_that_checks_for_a_stop_hands_its_trial_back_and_other_code_finishes_it(tmp_path, looks, main):
    study, train = make(tmp_path), Training(looks)
    options = {"workers": 0, "verbose": 0}
    if main:
        other = in_time(stop, study, train)
        study.run(train, **options)
    else:
        other = in_time(study.run, train, **options)
        stop(study, train)
    other.join(20)
    assert not other.is_alive()
    (trial,) = [trial for trial in study.trials() if trial.attempts]
    assert (trial.failures, trial.losses) == (0, 0)
    if looks == "nothing":
        assert (trial.state, trial.steps_done) == (TrialState.COMPLETED, 1000)
    else:
        assert trial.state is TrialState.PARTIAL
        assert 0 < trial.steps_done < 1000
    with pytest.raises(errors.NotFound, match="no run to stop"):
        study.stop(now=True)


def test_a_stop_that_can_wait_finishes_the_trial(tmp_path):
    study, train = make(tmp_path, interval=20), Training("range")
    other = in_time(stop, study, train, now=False)
    study.run(train, workers=0, verbose=0)
    other.join(20)
    assert [trial.steps_done for trial in study.trials() if trial.attempts] == [20]


def test_a_stop_does_not_call_a_program_s_own_handler_of_ctrl_c(tmp_path):
    called = []
    before = signal.signal(signal.SIGINT, lambda *signalled: called.append(signalled))
    try:
        study, train = make(tmp_path), Training("range")
        other = in_time(stop, study, train)
        study.run(train, workers=0, verbose=0)
        other.join(20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [trial.state for trial in study.trials() if trial.attempts] == [TrialState.PARTIAL]
    assert called == []


def test_a_handed_back_trial_is_continued(tmp_path):
    study, train = make(tmp_path, interval=100), Training("range")
    other = in_time(stop, study, train)
    study.run(train, workers=0, verbose=0)
    other.join(20)
    study.run(train, workers=0, verbose=0)
    assert study.finished
    assert [trial.decision.kind for trial in study.trials()].count("resume") == 1
    assert {trial.end_step for trial in study.trials() if trial.state is TrialState.COMPLETED} == {100}


def test_the_second_ctrl_c_goes_to_pythons_own_handler(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        study, caught = make(tmp_path), []

        def train(trials):
            for trial in trials.attach(lambda trial: {"w": [0.0]}):
                signal.raise_signal(signal.SIGINT)
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
                caught.append(trial.number)
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            study.run(train, workers=0, verbose=0)
        assert caught == [0]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(trial.state, trial.failures) for trial in study.trials()] == [(TrialState.WAITING, 0)]
