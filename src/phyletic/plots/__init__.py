"""Pictures of a study: scores, schedules and lineages, as matplotlib figures that need no window system.

Each function takes trials (``study.trials()``) and gives a figure to ``savefig``. What is drawn comes from pure
functions in :mod:`phyletic.plots.data`, ``line_data`` and ``paths``, for those who draw with something else.
"""

from phyletic.plots.landscape import landscape, landscape_film
from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.lines import lines
from phyletic.plots.populations import populations
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.plots.side_by_side import side_by_side
from phyletic.plots.summary import summary

__all__ = [
    "landscape",
    "landscape_film",
    "lineage_tree",
    "lines",
    "populations",
    "schedule",
    "scores",
    "side_by_side",
    "summary",
]
