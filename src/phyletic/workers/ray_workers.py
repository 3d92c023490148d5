"""How many Ray actors run a study's trials, what each needs, and whether a cluster has room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_mapping, check_number, check_one_of
from phyletic.unknown_arguments import explain_unknown_arguments

_PLACEMENTS = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
_MOST = 10_000


@explain_unknown_arguments
@dataclass(frozen=True)
class RayWorkers:
    """Workers that are Ray actors, for ``study.run(train, workers=ph.RayWorkers(8))``.

    The study stays in this process, which must run on a node of the cluster (a script, a notebook on the head, a job
    that ``ray job submit`` starts). A program that has not called ``ray.init`` joins the cluster that ``RAY_ADDRESS``
    names or that runs on this machine, or else starts Ray here.

    Args:
        count: How many workers; in place of it, ``min`` and ``max``.
        min: How many the cluster must have room for when the run begins.
        max: How many to ask Ray for. Those for which there is no room wait, disturb nobody, and make Ray's autoscaler
            add nodes.
        num_cpus: CPUs that Ray reserves for each actor; 0 reserves none.
        num_gpus: GPUs for each actor. A fraction, such as 0.25, lets four share a GPU, but does not divide its memory.
        resources: Amounts of further resources of the cluster by name, such as ``{"big_memory": 1}``.
        runtime_env: What the nodes lack, in Ray's words, such as ``{"working_dir": "."}`` or ``{"pip": ["timm"]}``.
        placement: Where actors go: ``"PACK"`` fills nodes, ``"SPREAD"`` uses as many as it can. For the ranks of a gang
            also ``"STRICT_PACK"`` (one node) and ``"STRICT_SPREAD"`` (a node for each rank).
        gang: How many actors train each trial together. Each has the variables that ``torchrun`` sets (``RANK``,
            ``WORLD_SIZE``, ``MASTER_ADDR`` and so on) and calls the training function; rank 0 alone saves and tells.
        memory_fraction: The part of its GPU's memory, above 0 and at most 1, that torch's allocator may use in each
            actor; None sets no limit.

    Raises:
        InvalidArgument: An argument is out of range.

    Example:
        >>> RayWorkers(8, num_gpus=0.25, memory_fraction=0.25).most
        8
        >>> RayWorkers(min=2, max=16).least
        2
    """

    count: int | None = None
    min: int | None = None
    max: int | None = None
    num_cpus: float = 1
    num_gpus: float = 0
    resources: Mapping[str, float] | None = None
    runtime_env: Mapping[str, Any] | None = field(default=None, repr=False)  # may hold secrets
    placement: str = "PACK"
    gang: int = 1
    memory_fraction: float | None = None

    def __post_init__(self) -> None:
        self._check_counts()
        check_number("num_cpus", self.num_cpus, least=0)
        check_number("num_gpus", self.num_gpus, least=0)
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise InvalidArgument("num_gpus", self.num_gpus, "a whole number, or a fraction below 1")
        if self.resources is not None:
            allowed = 'a dictionary from the names of resources to amounts, such as {"big_memory": 1}'
            for name, amount in check_mapping("resources", self.resources, allowed).items():
                if not isinstance(name, str) or not name.isprintable() or name in ("", "CPU", "GPU"):
                    raise InvalidArgument("resources", name, "a name other than CPU (num_cpus) and GPU (num_gpus)")
                check_number(f"resources[{name!r}]", amount, above=0)
        if self.runtime_env is not None:
            allowed = 'a dictionary from names such as "working_dir" and "pip" to values, or None'
            for name in check_mapping("runtime_env", self.runtime_env, allowed):
                if not isinstance(name, str) or not name.isidentifier():
                    raise InvalidArgument("runtime_env", name, allowed)
        if self.gang > 1 and not self.needs:
            raise InvalidArgument("num_cpus", self.num_cpus, "above 0 with a gang, unless it needs other resources")
        check_one_of("placement", self.placement, _PLACEMENTS if self.gang > 1 else _PLACEMENTS[:2])
        if self.memory_fraction is not None:
            check_number("memory_fraction", self.memory_fraction, above=0, most=1)
            if not self.num_gpus:
                raise InvalidArgument("memory_fraction", self.memory_fraction, "None without num_gpus")

    def _check_counts(self) -> None:
        check_integer("gang", self.gang, 1)
        if (self.count is None) == (self.max is None):
            raise InvalidArgument("count", self.count, "given, or else max", "As in RayWorkers(8), RayWorkers(max=16)")
        if self.count is not None:
            if self.min is not None:
                raise InvalidArgument("min", self.min, "left out if count is given")
            check_integer("count", self.count, 1)
        elif self.max is not None:
            check_integer("max", self.max, 1)
            if self.min is not None:
                check_integer("min", self.min, 1)
                if self.min > self.max:
                    raise InvalidArgument("min", self.min, f"at most max={self.max}")
        if self.most > _MOST:
            raise InvalidArgument("count" if self.max is None else "max", self.most, f"at most {_MOST}")

    @property
    def least(self) -> int:
        """How many workers the cluster must have room for."""
        return self.count or self.min or 1

    @property
    def most(self) -> int:
        """How many workers to ask Ray for."""
        return self.count or self.max or 1

    @property
    def needs(self) -> dict[str, float]:
        """What one actor needs, by Ray's names of resources."""
        found = {"CPU": self.num_cpus, "GPU": self.num_gpus, **(self.resources or {})}
        return {name: amount for name, amount in found.items() if amount}

    def check_room(self, nodes: Sequence[Mapping[str, float]], most: Mapping[str, float] | None) -> None:
        """Raise InvalidArgument if a cluster can never hold the workers, for which Ray would wait without a word.

        Args:
            nodes: The resources of each node, used or not.
            most: What an autoscaler may make of the cluster, by resource; None without one.
        """
        total = {name: sum(node.get(name, 0.0) for node in nodes) for name in self.needs}
        if most is not None:
            wanted = self.least * self.gang
            room = [int(max(most.get(name, 0.0), total[name]) / need + 1e-9) for name, need in self.needs.items()]
            fitting = min(room, default=wanted) // self.gang
            where = f"an autoscaler that goes up to {_listed(most, self.needs)}"
        else:
            fitting = self._fitting(nodes)
            where = f"a cluster of {_counted(len(nodes), 'node')} with {_listed(total, self.needs)} and no autoscaler"
        if fitting < self.least:
            ranks = f" of {_counted(self.gang, 'rank')}" if self.gang > 1 else ""
            each = _listed(self.needs, self.needs)
            hint = f"Each {'rank' if self.gang > 1 else 'worker'} needs {each}: start more nodes, or ask for less"
            placed = f" by {self.placement}" if self.gang > 1 else ""
            raise InvalidArgument(
                "gang" if self.gang > 1 and fitting == 0 else "workers",
                self.gang if self.gang > 1 and fitting == 0 else self.least,
                f"at most the {_counted(fitting, 'worker')}{ranks} for which there is room{placed} in {where}",
                hint,
            )

    def _fitting(self, nodes: Sequence[Mapping[str, float]]) -> int:
        """Return how many workers the nodes have room for, at most ``least``."""
        wanted = self.least * self.gang
        free = [
            int(min((node.get(name, 0.0) / need + 1e-9 for name, need in self.needs.items()), default=wanted))
            for node in nodes
        ]
        if self.placement == "STRICT_PACK":
            return min(self.least, sum(count // self.gang for count in free))
        if self.placement == "STRICT_SPREAD":
            count = self.least
            while count and sum(min(room, count) for room in free) < count * self.gang:
                count -= 1
            return count
        return min(self.least, sum(free) // self.gang)


def _listed(amounts: Mapping[str, float], names: Mapping[str, float]) -> str:
    """Name amounts of resources for a person, such as ``4 CPU and 0.5 GPU``."""
    return " and ".join(f"{amounts.get(name, 0.0):g} {name}" for name in names) or "nothing"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
