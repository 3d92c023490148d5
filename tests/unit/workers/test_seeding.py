"""Seeding the global random states."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from phyletic.errors import InvalidArgument
from phyletic.workers.seeding import seed_everything


def draws():
    return random.random(), float(np.random.random()), float(torch.rand(())), float(torch.randn(()))


def test_every_global_state_follows_the_seed():
    seed_everything(3)
    first = draws()
    other = draws()
    seed_everything(3)
    assert draws() == first
    assert all(one != two for one, two in zip(first, other, strict=True))
    seed_everything(4)
    assert all(one != two for one, two in zip(first, draws(), strict=True))


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_smallest_and_largest_seeds_are_accepted(seed):
    seed_everything(seed)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, None])
def test_other_seeds_are_refused_before_anything_is_seeded(seed):
    state = random.getstate()
    with pytest.raises(InvalidArgument, match="seed is"):
        seed_everything(seed)
    assert random.getstate() == state


def test_seeding_does_not_import_torch():
    code = (
        "import sys; from phyletic.workers.seeding import seed_everything; "
        "seed_everything(1); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_seeding_does_not_initialize_cuda():
    seed_everything(1)
    assert not torch.cuda.is_initialized()
