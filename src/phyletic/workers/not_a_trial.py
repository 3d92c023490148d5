"""The error for training code that takes its source of trials for one trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phyletic.errors import NotATrial
from phyletic.workers.live_trial import LiveTrial

LOOP = """a source of trials to loop over:

    def train(trials):
        for trial in trials.attach(build):  # build(trial) returns a dictionary of the objects to save
            trial.report(score=...)"""
_ITS_OWN = frozenset(name for name in vars(LiveTrial) if not name.startswith("_"))


class NotOneTrial:
    """A source of trials; what only a trial has raises NotATrial, with the loop to write.

    Type checkers see neither method, so that a misspelt name is still an error to them.
    """

    if not TYPE_CHECKING:

        def __getitem__(self, path: object) -> Any:
            """Raise NotATrial."""
            raise NotATrial(f"[{path!r}] reads a hyperparameter of one trial, and train gets {LOOP}")

        def __getattr__(self, name: str) -> Any:
            if name in _ITS_OWN:
                raise NotATrial(f".{name} belongs to one trial, and train gets {LOOP}")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
