"""Fixtures for faults that several test files need."""

import ctypes
import os
import sys
import tempfile
from pathlib import Path

import pytest

OVERRIDE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which let root ignore file permissions."""


@pytest.fixture
def rights_bind():
    """Make file permissions apply even if root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("rights do not bind root")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~OVERRIDE
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = before
    assert libc.capset(header, sets) == 0


@pytest.fixture
def closed(rights_bind):
    """Return a function that removes all permissions from a path until ``closed.open()`` or the end of the test."""
    paths = []

    def close(path):
        paths.append((path, path.stat().st_mode))
        path.chmod(0)

    def open_again():
        while paths:
            path, mode = paths.pop()
            path.chmod(mode)

    close.open = open_again
    yield close
    open_again()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Return a folder in memory if the system has one: these tests need no real disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("quick")
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
