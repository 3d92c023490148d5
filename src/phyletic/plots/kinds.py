"""Every kind of plot by its name, for a whole study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.parallel_coordinates import parallel_coordinates
from phyletic.plots.parameters import parameters
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.plots.summary import summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phyletic.records import Metric
    from phyletic.study.study import Study

__all__ = ["KINDS", "metric_of", "plot"]

KINDS: Mapping[str, Callable[..., Figure]] = {
    "summary": summary,
    "scores": lambda trials, space, metric, **options: scores(trials, metric, **options),
    "schedule": schedule,
    "lineage": lambda trials, space, metric, **options: lineage_tree(trials, metric, **options),
    "parameters": parameters,
    "parallel": parallel_coordinates,
}
"""From a name to what draws it from trials, space and metric."""


def plot(study: Study, kind: str = "summary", *, metric: str | None = None, **options: Any) -> Figure:
    """Draw a study, as far as it has come; it may be running.

    Args:
        study: The study.
        kind: ``"summary"``, ``"scores"``, ``"schedule"``, ``"lineage"``, ``"parameters"`` or ``"parallel"``.
        metric: Name of one of the study's metrics; the one that it ranks by where left out.
        **options: As of the function that draws it: :func:`summary`, :func:`scores`, :func:`schedule`,
            :func:`lineage_tree`, :func:`parameters` or :func:`parallel_coordinates`.

    Returns:
        A figure, which a notebook shows, with ``savefig``.

    Raises:
        InvalidArgument: There is no such kind or metric, or no trial to draw.
        MissingDependency: matplotlib is not installed.
    """
    if kind not in KINDS:
        raise InvalidArgument("kind", kind, "one of " + ", ".join(f'"{name}"' for name in KINDS))
    return KINDS[kind](study.trials(), study.space, metric_of(study, metric), **options)


def metric_of(study: Study, name: str | None) -> Metric:
    """Return a study's metric by name; the one that it ranks by for None.

    Raises:
        InvalidArgument: It has none of that name.
    """
    if name is None:
        return study.metrics[0]
    for metric in study.metrics:
        if metric.name == name:
            return metric
    raise InvalidArgument("metric", name, "one of " + ", ".join(f'"{metric.name}"' for metric in study.metrics))
