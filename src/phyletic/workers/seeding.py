"""Seed the random states that training code draws from, so that a trial starts the same in every worker."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

from phyletic.errors import InvalidArgument


@contextlib.contextmanager
def preserved_random_states() -> Iterator[None]:
    """Put back, after a block, the global random states that :func:`seed_everything` sets: Python's, numpy's, torch's.

    A library that is imported only within the block is left as it is then.
    """
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), sys.modules.get("numpy.random")
    arrays = None if numpy is None else numpy.get_state()
    tensors = torch.get_rng_state() if hasattr(torch, "get_rng_state") else None
    devices = torch.cuda.get_rng_state_all() if tensors is not None and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.set_state(arrays)
        if tensors is not None:
            torch.set_rng_state(tensors)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


def seed_everything(seed: int) -> None:
    """Seed Python's ``random``, numpy's global state and, where they are imported, Keras and torch on all its devices.

    Takes microseconds, and neither imports torch nor starts CUDA: torch keeps the seed for a device that is not yet in
    use. JAX needs nothing: its keys are arguments.

    Args:
        seed: From 0 to 2**32 - 1, such as a trial's seed.

    Raises:
        InvalidArgument: ``seed`` is outside that range.

    Example:
        >>> import numpy as np
        >>> seed_everything(7)
        >>> first = (random.random(), np.random.random())
        >>> import numpy as np
        >>> seed_everything(7)
        >>> first == (random.random(), np.random.random())
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InvalidArgument("seed", seed, "a whole number from 0 to 2**32 - 1")
    keras: Any = getattr(sys.modules.get("keras"), "utils", None)
    if hasattr(keras, "set_random_seed"):
        keras.set_random_seed(seed)  # forgets its global generator, which the states below do not reach
    import numpy as np  # takes long, and a study that only opens needs none

    random.seed(seed)
    np.random.seed(seed)
    torch: Any = sys.modules.get("torch")
    # while another thread imports torch, the module lacks its functions
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)
