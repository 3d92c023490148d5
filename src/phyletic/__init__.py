"""Population based training: train a population, find the schedule and the best model at once.

Example:
    >>> import phyletic as ph
    >>> ph.Float(1e-4, 1e-1, log=True)
    Float(0.0001, 0.1, log=True)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from phyletic.version import __version__

if TYPE_CHECKING:
    from phyletic import errors as errors
    from phyletic.coordinator.messages import Finished as Finished
    from phyletic.coordinator.messages import Wait as Wait
    from phyletic.evolution import PBT as PBT
    from phyletic.evolution import BinaryTournament as BinaryTournament
    from phyletic.evolution import ExploreOnly as ExploreOnly
    from phyletic.evolution import Gaussian as Gaussian
    from phyletic.evolution import GridSearch as GridSearch
    from phyletic.evolution import MedianStopping as MedianStopping
    from phyletic.evolution import NoiseGate as NoiseGate
    from phyletic.evolution import NonFiniteStopping as NonFiniteStopping
    from phyletic.evolution import Perturb as Perturb
    from phyletic.evolution import RandomSearch as RandomSearch
    from phyletic.evolution import Resample as Resample
    from phyletic.evolution import Truncation as Truncation
    from phyletic.evolution import TTest as TTest
    from phyletic.evolution.stateless import StudyDefinition as StudyDefinition
    from phyletic.evolution.stateless import early_stop as early_stop
    from phyletic.evolution.stateless import suggest as suggest
    from phyletic.records import Budget as Budget
    from phyletic.records import Trial as Trial
    from phyletic.records import TrialState as TrialState
    from phyletic.space import Choice as Choice
    from phyletic.space import Float as Float
    from phyletic.space import Int as Int
    from phyletic.space import Ordinal as Ordinal
    from phyletic.space import Space as Space
    from phyletic.space import grid as grid
    from phyletic.study.connect import connect as connect
    from phyletic.study.schedule import Schedule as Schedule
    from phyletic.study.study import Study as Study
    from phyletic.study.study import delete_study as delete_study
    from phyletic.study.study import studies as studies
    from phyletic.workers.live_trial import LiveTrial as LiveTrial
    from phyletic.workers.ray_workers import RayWorkers as RayWorkers

# where each public name comes from; nothing is imported before it is used, so that importing phyletic costs nothing
_HOMES = {
    "phyletic.coordinator.messages": ("Finished", "Wait"),
    "phyletic.evolution": (
        "BinaryTournament",
        "ExploreOnly",
        "Gaussian",
        "GridSearch",
        "MedianStopping",
        "NoiseGate",
        "NonFiniteStopping",
        "PBT",
        "Perturb",
        "RandomSearch",
        "Resample",
        "TTest",
        "Truncation",
    ),
    "phyletic.evolution.stateless": ("StudyDefinition", "early_stop", "suggest"),
    "phyletic.records": ("Budget", "Trial", "TrialState"),
    "phyletic.space": ("Choice", "Float", "Int", "Ordinal", "Space", "grid"),
    "phyletic.study.connect": ("connect",),
    "phyletic.study.schedule": ("Schedule",),
    "phyletic.study.study": ("Study", "delete_study", "studies"),
    "phyletic.workers.live_trial": ("LiveTrial",),
    "phyletic.workers.ray_workers": ("RayWorkers",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = ("errors", "plots", "problems", "testing")

__all__ = ["__version__", "errors", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"phyletic.{name}")
    raise AttributeError(f"module 'phyletic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
