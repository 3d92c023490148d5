"""Signals become requests while a run lasts, and are what they were afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from phyletic.workers.interrupts import Interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_one_interrupt_drains_and_two_stop() -> None:
    with Interrupts() as interrupts:
        assert (interrupts.draining, interrupts.stopping, interrupts.terminated) == (False, False, None)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.draining, interrupts.stopping) == (True, False)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.draining, interrupts.stopping) == (True, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_noted(number: int) -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert (interrupts.draining, interrupts.stopping, interrupts.terminated) == (True, False, number)


def test_handlers_are_put_back_also_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with contextlib.suppress(ValueError), Interrupts():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise ValueError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_handler_that_someone_set_is_left_alone() -> None:
    own = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGTERM, own)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


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
