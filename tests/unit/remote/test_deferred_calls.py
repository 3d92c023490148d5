"""What a finalizer wants done is done once no call of its thread is in the way, by no thread of a library."""

import threading

from phyletic.errors import Unreachable
from phyletic.remote.deferred_calls import DeferredCalls


def test_in_a_thread_that_makes_no_call_now_it_is_done_at_once():
    deferred, done = DeferredCalls(), []
    with deferred.calling():
        pass
    deferred.defer(lambda: done.append(threading.current_thread()))
    assert done == [threading.current_thread()]


def test_within_a_call_it_waits_for_the_outermost_end():
    deferred, done = DeferredCalls(), []
    with deferred.calling():
        with deferred.calling():
            deferred.defer(lambda: done.append(1))
            deferred.defer(lambda: done.append(2))
        assert done == []
    assert done == [1, 2]


def test_a_thread_that_never_made_a_call_does_nothing_itself():
    deferred, done, over = DeferredCalls(), [], threading.Event()

    def note():
        done.append(threading.current_thread())
        over.set()

    deferred.defer(note)
    assert over.wait(10)
    assert done != [threading.current_thread()]


def test_a_server_that_is_gone_harms_nobody():
    deferred, done = DeferredCalls(), []

    def unreachable():
        raise Unreachable("gone")

    with deferred.calling():
        deferred.defer(unreachable)
        deferred.defer(lambda: done.append(1))
    assert done == [1]
