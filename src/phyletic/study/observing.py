"""A source of trials that looks at training code where the body of a trial begins and ends: for :meth:`Study.check`."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phyletic.study.visible_state import Variable, Visible, look, variables_of

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.live_trial import LiveTrial


@dataclass
class Observed:
    """What was seen of one trial.

    Attributes:
        begin: What the training code saw when the trial's body began.
        generators: Digests of the global generators' states when its body ended, by the generator's name.
    """

    begin: Visible
    generators: dict[str, str] = field(default_factory=dict)


class Observer:
    """Passes a study's trials on to training code, and notes what it sees.

    Args:
        study: The study.
        until: The module that calls the training code.

    Attributes:
        trials: What was seen of each trial, by number.
    """

    def __init__(self, study: Study, until: str) -> None:
        self._study = study
        self._until = until
        self._open: Observed | None = None
        self.trials: dict[int, Observed] = {}

    def attach(self, build: Any, **own: Any) -> Iterable[LiveTrial]:
        """Loop over trials, as :meth:`Study.attach` does."""
        return _Loops(self, self._study.attach(build, **own))

    def __iter__(self) -> Iterator[LiveTrial]:
        return _Loop(self, iter(self._study))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def begin(self, trial: LiveTrial, frame: Any) -> None:
        """Note what training code sees as a body begins.

        Args:
            trial: The trial.
            frame: Where the training code asked for it.
        """
        variables = [*_state(trial), *variables_of(frame, self._until)]
        self._open = self.trials[trial.number] = Observed(look(variables))

    def end(self) -> None:
        """Note the states of the global generators, as a body has ended."""
        if self._open is not None:
            self._open.generators = generator_states()
        self._open = None


class _Loops:
    """What ``attach`` returns: each ``for`` statement over it is a loop of its own."""

    def __init__(self, observer: Observer, trials: Iterable[LiveTrial]) -> None:
        self._observer = observer
        self._trials = trials

    def __iter__(self) -> Iterator[LiveTrial]:
        return _Loop(self._observer, iter(self._trials))


class _Loop:
    """One loop; a class, because only a further call of ``__next__`` says that the body ended well."""

    def __init__(self, observer: Observer, trials: Iterator[LiveTrial]) -> None:
        self._observer = observer
        self._trials = trials

    def __iter__(self) -> Iterator[LiveTrial]:
        return self

    def __next__(self) -> LiveTrial:
        self._observer.end()
        trial = next(self._trials)
        self._observer.begin(trial, sys._getframe(1))
        return trial


def generator_states() -> dict[str, str]:
    """Return a digest of the state of each global generator, by its name."""
    states: dict[str, object] = {"Python's random": random.getstate()}
    numpy = sys.modules.get("numpy.random")
    torch: Any = sys.modules.get("torch")
    if numpy is not None:
        kind, words, *rest = numpy.get_state()
        states["numpy.random"] = (kind, words.tobytes(), rest)
    if hasattr(torch, "get_rng_state"):
        states["torch's global generator"] = torch.get_rng_state().numpy().tobytes()
        if torch.cuda.is_initialized():
            states["torch's generators on GPUs"] = [one.numpy().tobytes() for one in torch.cuda.get_rng_state_all()]
    return {name: hashlib.sha256(repr(state).encode()).hexdigest() for name, state in states.items()}


def _state(trial: LiveTrial) -> Iterator[Variable]:
    """Yield the entries of a trial's state; none in a loop without ``build``."""
    from phyletic.workers.live_trial import attempt_of

    state = attempt_of(trial).state
    for name, value in () if state is None else vars(state).items():
        yield Variable(f"trial.state.{name}", "", value)
