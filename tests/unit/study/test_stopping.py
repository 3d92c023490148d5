"""A study that trains in this process is stopped by whoever asks for it, in the thread that trains."""

import signal
import threading
import time

import pytest

import phyletic as ph
from phyletic import errors
from phyletic.records import TrialState


def make(folder):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(2, 100),
        budget=ph.Budget(steps=100),
        seed=0,
        storage=folder / "study.db",
    )


class Training:
    """Code that takes long, in one system call or in many."""

    def __init__(self, seconds, pieces):
        self.began = threading.Event()
        self.seconds, self.pieces = seconds, pieces

    def __call__(self, trials):
        for trial in trials.attach(lambda trial: {"w": [0.0]}):
            self.began.set()
            for _ in range(self.pieces):
                time.sleep(self.seconds / self.pieces)
            trial.report(score=float(trial["lr"]))


def run(study, train):
    """Run a study in this thread; returns what ended it."""
    try:
        study.run(train, workers=0, verbose=0)
    except BaseException as error:
        return type(error)
    return None


def stop(study, train):
    """Stop a study once it trains; returns what that raised, and when it was."""
    assert train.began.wait(20)
    try:
        study.stop(now=True)
    except BaseException as error:
        return type(error)
    return None


def released(study):
    ended = study.trials(states=[TrialState.COMPLETED, TrialState.FAILED])
    waiting = study.trials(states=[TrialState.WAITING])
    assert ended == []
    assert [(trial.attempts, trial.failures, trial.losses) for trial in waiting] == [(1, 0, 0)]


def in_a_thread(function, *arguments):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function(*arguments)))
    thread.start()
    return thread, answers


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in any program, however these tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("pieces", [1, 400])
def test_another_thread_stops_the_training_of_the_main_thread_now(tmp_path, ctrl_c, pieces):
    study, train = make(tmp_path), Training(8.0, pieces)
    thread, raised = in_a_thread(stop, study, train)
    began = time.monotonic()
    assert run(study, train) is KeyboardInterrupt
    assert time.monotonic() - began < 6.0
    thread.join()
    assert raised == [None]
    released(study)
    with pytest.raises(errors.NotFound, match="no run to stop"):
        study.stop(now=True)


def test_the_main_thread_stops_the_training_of_another_one_now(tmp_path):
    study, train = make(tmp_path), Training(8.0, 400)
    thread, ended = in_a_thread(run, study, train)
    assert stop(study, train) is None
    thread.join()
    assert ended == [KeyboardInterrupt]
    released(study)


def test_where_a_program_handles_ctrl_c_itself_it_is_not_called(tmp_path):
    called = []
    before = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    try:
        study, train = make(tmp_path), Training(8.0, 400)
        thread, raised = in_a_thread(stop, study, train)
        assert run(study, train) is KeyboardInterrupt
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (raised, called) == ([None], [])
    released(study)


def test_a_stop_that_comes_at_the_very_end_interrupts_nothing_else(tmp_path, ctrl_c):
    for round_ in range(10):
        study, train = make(tmp_path / str(round_)), Training(0.0, 1)
        over = threading.Event()

        def ask(study=study, train=train, over=over):
            assert train.began.wait(20)
            while not over.is_set():
                try:
                    study.stop(now=True)
                except errors.NotFound:
                    continue

        thread, _ = in_a_thread(ask)
        try:
            assert run(study, train) in (KeyboardInterrupt, None)
            for _ in range(100):
                time.sleep(0)
        finally:
            over.set()
            thread.join()
