"""Every kind of plot by its name, for a whole study."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_instance, check_one_of
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

KINDS: Mapping[str, Callable[..., Figure]] = {
    "summary": summary,
    "scores": scores,
    "schedule": schedule,
    "lineage": lineage_tree,
    "parameters": parameters,
    "parallel": parallel_coordinates,
}
"""The drawing functions by kind. Each takes trials and a metric, and some also the space."""


def plot(study: Study, kind: str = "summary", *, metric: str | None = None, **options: Any) -> Figure:
    """Draw a study that has ended or still runs, with all that its trials reported.

    Args:
        study: The study.
        kind: ``"summary"``, ``"scores"``, ``"schedule"``, ``"lineage"``, ``"parameters"`` or ``"parallel"``.
        metric: Name of one of the study's metrics; None for the metric that ranks members.
        **options: The options of the function that draws this kind: :func:`summary`, :func:`scores`, :func:`schedule`,
            :func:`lineage_tree`, :func:`parameters` or :func:`parallel_coordinates`.

    Returns:
        A figure with ``savefig``, which a notebook shows.

    Raises:
        InvalidArgument: The kind, the metric or an option is unknown, or the study has no trials yet.
        MissingDependency: matplotlib is not installed.
    """
    from phyletic.study.study import Study

    check_instance("study", study, Study, "a study")
    check_one_of("kind", kind, tuple(KINDS))
    draw = KINDS[kind]
    takes = inspect.signature(draw).parameters
    known = [name for name in takes if takes[name].kind is inspect.Parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise InvalidArgument(name, options[name], f"left out with {kind!r}: its options are {known or 'none'}")
    of: dict[str, Any] = {"space": study.space} if "space" in takes else {}
    chosen, trials = metric_of(study, metric), study.trials()
    if "reports" in takes and "reports" not in options:
        names = metrics_of(kind, chosen, options.get("pair"))
        of |= {"reports": study.reports(names)} if names else {}
    return draw(trials, metric=chosen, **of, **options)


def metrics_of(kind: str, metric: Metric, pair: object) -> list[str]:
    """Return the names of the metrics whose reports a plot shows.

    Args:
        kind: The kind of plot.
        metric: The metric that it draws, or that chooses the best lineage.
        pair: The names of two axes; None for another plot.

    Example:
        >>> from phyletic.records import Metric
        >>> metrics_of("parameters", Metric("loss", "min"), ("lr", "theta0"))
        ['lr', 'theta0']
    """
    if kind != "parameters":
        return [metric.name]
    return [name for name in pair if isinstance(name, str)] if isinstance(pair, (tuple, list)) else []


def metric_of(study: Study, name: str | None) -> Metric:
    """Return a study's metric by name, or for None the metric that ranks members.

    Raises:
        InvalidArgument: The study has no metric of that name.
    """
    if name is None:
        return study.metrics[0]
    known = {metric.name: metric for metric in study.metrics}
    check_one_of("metric", name, tuple(known))
    return known[name]
