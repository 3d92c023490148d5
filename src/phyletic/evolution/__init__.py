"""Pure decisions: what each member of a population does next.

Algorithms are frozen configurations whose methods are pure functions over frozen records: no store, no clock, no
global random state.
"""

from phyletic.evolution.algorithm import Algorithm, Reads
from phyletic.evolution.early_stop import MedianStopping, NonFiniteStopping
from phyletic.evolution.exploit import BinaryTournament, NoiseGate, Truncation, TTest
from phyletic.evolution.explore import Gaussian, Perturb, Resample
from phyletic.evolution.explore_only import ExploreOnly
from phyletic.evolution.grid_search import GridSearch
from phyletic.evolution.pbt import PBT
from phyletic.evolution.population import Population
from phyletic.evolution.random_search import RandomSearch
from phyletic.evolution.ranking import MemberView

__all__ = [
    "PBT",
    "Algorithm",
    "BinaryTournament",
    "ExploreOnly",
    "Gaussian",
    "GridSearch",
    "MedianStopping",
    "MemberView",
    "NoiseGate",
    "NonFiniteStopping",
    "Perturb",
    "Population",
    "RandomSearch",
    "Reads",
    "Resample",
    "TTest",
    "Truncation",
]
