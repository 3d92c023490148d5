"""What is recorded of each owner of a study: where it ran, and with which versions."""

from __future__ import annotations

import platform
import socket
import sys
from typing import Any

from phyletic.version import __version__

__all__ = ["about_this_process"]

_FRAMEWORKS = (
    "flax",
    "gymnasium",
    "jax",
    "keras",
    "lightgbm",
    "lightning",
    "numpy",
    "optax",
    "sklearn",
    "stable_baselines3",
    "tensorflow",
    "torch",
    "transformers",
    "xgboost",
)


def about_this_process() -> dict[str, Any]:
    """Return the host, the versions of Python and phyletic, and those of the frameworks that are imported.

    Example:
        >>> sorted(about_this_process())
        ['frameworks', 'host', 'phyletic', 'python']
    """
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _FRAMEWORKS}
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "phyletic": __version__,
        "frameworks": {name: str(version) for name, version in found.items() if version is not None},
    }
