"""The Müller-Brown potential, found by members that never see it: each descends a paraboloid of its own.

The potential (Müller and Brown 1979, Theoretica Chimica Acta 53, 75) has three minima with saddles between them. A
member trains its position (x, y) by gradient descent on a surrogate with five coefficients,

    xx·x² + yy·y² + xy·x·y + x1·x + y1·y,

which are hyperparameters, as the learning rate is; the true potential is only what members are ranked by. A surrogate
that opens downwards sends its member away without bound, until the potential and then the position are no longer
finite; PBT rescues such members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phyletic.errors import InvalidArgument
from phyletic.randomness import RandomStream
from phyletic.space import Float

if TYPE_CHECKING:
    from phyletic.study.study import Study
    from phyletic.workers.live_trial import LiveTrial
    from phyletic.workers.loop import Trials

Array = npt.NDArray[np.float64]

MINIMA = ((-0.558224, 1.441726), (0.623499, 0.028038), (-0.050011, 0.466694))
"""The three minima, the deepest first; they are −146.70, −108.17 and −80.77 deep."""
OPTIMUM = -146.699517
"""The least potential."""
BOUNDS = ((-1.5, 1.2), (-0.2, 2.0))
"""Where members are born: the least and largest x, and y."""
COEFFICIENTS = ("xx", "yy", "xy", "x1", "y1")
"""The surrogate's coefficients, by the names of their terms."""

_A = np.array([-200.0, -100.0, -170.0, 15.0])
_XX = np.array([-1.0, -1.0, -6.5, 0.7])
_XY = np.array([0.0, 0.0, 11.0, 0.6])
_YY = np.array([-10.0, -10.0, -6.5, 0.7])
_X = np.array([1.0, 0.0, -0.5, -1.0])
_Y = np.array([0.0, 0.5, 1.5, 1.0])


def potential(place: npt.ArrayLike) -> Array:
    """Return the potential; infinite far away, as its last term overflows there.

    Args:
        place: x and y, shape (..., 2).

    Returns:
        Shape (...).

    Example:
        >>> potential(MINIMA).round(2)
        array([-146.7 , -108.17,  -80.77])
    """
    places = np.asarray(place, dtype=float)[..., None, :]
    with np.errstate(over="ignore", invalid="ignore"):
        dx, dy = places[..., 0] - _X, places[..., 1] - _Y
        terms = _A * np.exp(_XX * dx**2 + _XY * dx * dy + _YY * dy**2)
        return np.asarray(terms.sum(axis=-1))


def space(reach: float = 5.0) -> dict[str, Any]:
    """Return the hyperparameters: the surrogate's coefficients, from −reach to reach, and the learning rate.

    Args:
        reach: Above 0. From about 20 on, many members are lost at birth.

    Raises:
        InvalidArgument: ``reach`` is not above 0.
    """
    if not reach > 0:
        raise InvalidArgument("reach", reach, "above 0")
    return {
        "lr": Float(1e-3, 1e-1, log=True, limits=(1e-4, 1.0)),
        **{name: Float(-reach, reach) for name in COEFFICIENTS},
    }


def descend(place: Array, coefficients: npt.ArrayLike, learning_rate: float) -> Array:
    """Return the place after one step of gradient descent on the surrogate.

    Args:
        place: x and y.
        coefficients: In the order of :data:`COEFFICIENTS`.
        learning_rate: Above 0.
    """
    xx, yy, xy, x1, y1 = np.asarray(coefficients, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = np.array([2 * xx * place[0] + xy * place[1] + x1, 2 * yy * place[1] + xy * place[0] + y1])
        return np.asarray(place - learning_rate * slope)


def build(trial: LiveTrial) -> dict[str, Array]:
    """Return a member at birth: a place drawn from the region around the minima."""
    stream = RandomStream(trial.seed)
    return {"place": np.array([low + (high - low) * stream.random() for low, high in BOUNDS])}


def train(trials: Trials | Study) -> None:
    """Train members; reports ``potential``, which is to be minimised, ``x`` and ``y``.

    Args:
        trials: The source of trials.
    """
    for trial in trials.attach(build):
        coefficients = [trial[name] for name in COEFFICIENTS]
        for _ in trial.range():
            trial.state.place = descend(trial.state.place, coefficients, trial["lr"])
        place = trial.state.place
        trial.report(potential=float(potential(place)), x=float(place[0]), y=float(place[1]))
