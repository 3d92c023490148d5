"""Name likely causes of what :meth:`Study.check` finds, from what was seen of one trial in two runs."""

from __future__ import annotations

from collections.abc import Iterator

from phyletic.study.observing import Observed
from phyletic.study.visible_state import Visible

_MOST = 6
_SAID = "likely cause: "


def likely_causes(memory: Observed | None, loaded: Observed | None, *, first: bool) -> list[str]:
    """Return what differed when a trial began in two runs, and which global generators had other states at its end.

    Args:
        memory: The trial in the run that continued in memory; None if nothing was seen of it.
        loaded: The same trial in the other run.
        first: Whether it is the first trial, which both runs began with nothing in memory.
    """
    if memory is None or loaded is None:
        return []
    differing = _differing(memory.begin, loaded.begin)
    variables = (_variable(name, path, memory.begin.where[name], first) for name, path in differing.items())
    found = [*_loaders(memory.begin), *variables, *_generators(memory, loaded)]
    return [_SAID + each for each in found[:_MOST]]


def _differing(memory: Visible, loaded: Visible) -> dict[str, str]:
    """Return by variable the first place in which it differs; gradients only if nothing else does.

    Args:
        memory: What the run in memory saw.
        loaded: What the other one saw. A variable that only one run has was set by the loop's body.
    """
    found: dict[str, str] = {}
    gradients: dict[str, str] = {}
    for name, ours in memory.digests.items():
        theirs = loaded.digests.get(name, ours)
        for path in dict.fromkeys([*ours, *theirs]):
            if ours.get(path) != theirs.get(path):
                (gradients if path.endswith(".grad") else found).setdefault(name, path)
    return found or gradients


def _variable(name: str, path: str, where: str, first: bool) -> str:
    """Return what to say of a variable.

    Args:
        name: The variable.
        path: Where it differs.
        where: What it is; "" for a part of the state.
        first: As for :func:`likely_causes`.
    """
    if path.endswith(".grad"):
        return f"{path}, a gradient left by the trial before. Clear gradients before a trial's first backward pass"
    if path.endswith(".training"):
        return f"{path}, which no checkpoint holds. Call train() or eval() at the top of the loop's body"
    if not where:
        remedy = (
            "Let state_dict return it (in a torch module, make it a buffer), or set it at the top of the loop's body"
        )
        return f"{path}, which no checkpoint holds. {remedy}"
    variable = f"{name}, {where}" + (f" (at {path})" if path != name else "")
    if first:
        remedy = "Make it inside the training code, or return it from build"
        return f"{variable}, which an earlier run of the training code had changed. {remedy}"
    remedy = "Return it from build, or set it anew at the top of the loop's body"
    return f"{variable}, which trials change and no checkpoint holds. {remedy}"


def _loaders(memory: Visible) -> Iterator[str]:
    for path in memory.loaders:
        remedy = "Use persistent_workers=False, or make the loader in the loop's body"
        yield (
            f"{path}, a DataLoader with persistent_workers=True: its worker processes draw from generators of their "
            f"own, which go on from trial to trial. {remedy}"
        )


def _generators(memory: Observed, loaded: Observed) -> Iterator[str]:
    for name, state in memory.generators.items():
        if loaded.generators.get(name, state) != state:
            remedy = "Draw from a generator that build returns, such as numpy.random.default_rng(trial.seed)"
            yield (
                f"draws from {name}: this trial drew differently from it in the two runs, though it was seeded alike. "
                f"{remedy}"
            )
