"""Pictures of a study: scores, schedules, lineages and hyperparameters, as figures that need no window system.

Each function takes trials (``study.trials()``), and if it draws what they reported, ``reports=study.reports()``. It
returns a matplotlib figure with ``savefig``, which a notebook shows; :func:`plot` takes a study. The data of the
pictures comes from pure functions in :mod:`phyletic.plots.curves`, :mod:`phyletic.plots.data` and
:mod:`phyletic.plots.spots`; use these to draw with another library.
"""

from phyletic.plots.animation import Animation, animate
from phyletic.plots.kinds import plot
from phyletic.plots.landscape import landscape, landscape_animation, side_by_side
from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.lines import lines
from phyletic.plots.parallel_coordinates import parallel_coordinates
from phyletic.plots.parameters import parameters
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.plots.summary import summary

__all__ = [
    "Animation",
    "animate",
    "landscape",
    "landscape_animation",
    "lineage_tree",
    "lines",
    "parallel_coordinates",
    "parameters",
    "plot",
    "schedule",
    "scores",
    "side_by_side",
    "summary",
]
