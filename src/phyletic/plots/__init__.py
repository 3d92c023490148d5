"""Pictures of a study: scores, schedules and lineages, as matplotlib figures that need no window system.

Each function takes trials (``study.trials()``) and gives a figure to ``savefig``. What is drawn comes from pure
functions in :mod:`phyletic.plots.data`, for those who draw with something else.
"""

from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.plots.summary import summary

__all__ = ["lineage_tree", "schedule", "scores", "summary"]
