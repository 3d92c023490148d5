"""Studies under a virtual clock: how long they would take and how well they would do, and whether they hold up.

The real owner and the real algorithms decide; workers, messages, time, disks and training are simulated, and anything
may go wrong. One seed determines everything.
"""

from phyletic.simulate.curve import DriftingCurve
from phyletic.simulate.drawn_settings import drawn_settings, simulate_drawn
from phyletic.simulate.faults import Faults, Speeds
from phyletic.simulate.incidents import Incidents
from phyletic.simulate.invariants import Ledger, check_invariants, check_left, check_stored
from phyletic.simulate.simulation import Simulation, simulate

__all__ = [
    "DriftingCurve",
    "Faults",
    "Incidents",
    "Ledger",
    "Simulation",
    "Speeds",
    "check_invariants",
    "check_left",
    "check_stored",
    "drawn_settings",
    "simulate",
    "simulate_drawn",
]
