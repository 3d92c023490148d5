"""During a run signals become requests; afterwards the earlier handlers are back."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

import pytest

import phyletic as ph
from phyletic.workers.interrupts import Interrupts, SignalExit, leaving_on

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_one_interrupt_drains_and_two_stop() -> None:
    with Interrupts() as interrupts:
        assert (interrupts.draining, interrupts.stopping, interrupts.terminated) == (False, False, None)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.draining, interrupts.stopping) == (True, False)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.draining, interrupts.stopping) == (True, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_recorded(number: int) -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert (interrupts.draining, interrupts.stopping, interrupts.terminated) == (True, False, number)


def test_handlers_are_restored_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with contextlib.suppress(ValueError), Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise ValueError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_users_handler_is_left_alone() -> None:
    own = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGTERM, own)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigusr1_is_left_to_the_program_unless_it_is_asked_for() -> None:
    with Interrupts():
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    own = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGUSR1, own)
    try:
        with leaving_on(signal.SIGUSR1), Interrupts():
            assert signal.getsignal(signal.SIGUSR1) is own
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_that_is_to_end_the_process_by_an_exception_is_a_request_within_a_run(number: int) -> None:
    with leaving_on(signal.SIGUSR1, signal.SIGTERM):
        with Interrupts() as interrupts:
            os.kill(os.getpid(), number)
            assert (interrupts.draining, interrupts.stopping, interrupts.terminated) == (True, False, number)
        with pytest.raises(SignalExit) as raised:
            os.kill(os.getpid(), number)
        assert (raised.value.code, raised.value.finished) == (128 + number, False)
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_forked_child_ends_by_such_a_signal_and_by_no_exception(number: int) -> None:
    with leaving_on(signal.SIGUSR1, signal.SIGTERM), Interrupts():
        child = fork_one_to_be_interrupted()
        os.kill(child, number)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number


def test_other_threads_set_no_handlers() -> None:
    seen = []

    def enter() -> None:
        with Interrupts():
            seen.append([signal.getsignal(number) for number in SIGNALS])

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def fork_one_to_be_interrupted() -> int:
    """Fork a child that exits with 0 after a while unless a signal ends it first; return its pid."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(KeyboardInterrupt):
            os.write(told, b".")
            time.sleep(3)
            os._exit(0)
        os._exit(7)
    os.read(ready, 1)
    for end in (ready, told):
        os.close(end)
    return child


@pytest.mark.parametrize("own_handler", [False, True])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_training_code_forks_reacts_to_signals_as_without_a_run(number: int, own_handler: bool) -> None:
    statuses = []

    def train(trials: Any) -> None:
        if own_handler:
            signal.signal(number, lambda number, frame: os._exit(9))
        for trial in trials:
            child = fork_one_to_be_interrupted()
            os.kill(child, number)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            trial.report(score=trial["lr"])

    study = ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(1, 1), budget=ph.Budget(steps=2),
    )  # fmt: skip
    before = [signal.getsignal(other) for other in SIGNALS]
    study.run(train, workers=0, verbose=0)
    assert [signal.getsignal(other) for other in SIGNALS] == before
    assert statuses == [9 if own_handler else 7 if number == signal.SIGINT else -number] * 2
    assert study.finished
