"""scikit-learn estimators that train step by step, and the values that their ``partial_fit`` really reads.

``set_params`` on a fitted estimator reads back well whether or not training reads the value again. So this file only
knows classes whose source we have read: the solver of an MLP holds copies, the "optimal" learning rate ignores
``eta0``, and the passive-aggressive algorithms use ``C`` under another name.
"""

from __future__ import annotations

from typing import Any

from phyletic.errors import ApplyFailed
from phyletic.records import Value
from phyletic.workers.targets.target import Setting, Target, agreed, ancestry, kind_of, plain


def describe(target: Any) -> Target | None:
    """Describe a scikit-learn estimator; returns None for anything else.

    Raises:
        ApplyFailed: This file does not know how the estimator trains.
    """
    kinds = ancestry(target, "sklearn")
    if "BaseEstimator" not in kinds:
        return None
    if "Pipeline" in kinds:
        raise ApplyFailed(
            f"{kind_of(target)} is a pipeline, which cannot train step by step. Prepare the data once, and apply to "
            'the estimator that is trained: trial.apply(pipeline.named_steps["..."])'
        )
    if "BaseMultilayerPerceptron" in kinds:
        return _multilayer_perceptron(target)
    if kinds & {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"}:
        return _passive_aggressive(target, regressor="PassiveAggressiveRegressor" in kinds)
    if kinds & {"SGDClassifier", "SGDRegressor", "Perceptron"}:
        return _stochastic_gradient_descent(target)
    raise ApplyFailed(
        f"how {kind_of(target)} trains is not known, and set_params on a fitted estimator may change nothing. Say how "
        "with phyletic.workers.apply.register, or give apply a function that sets values and returns what took effect"
    )


def _parameter(estimator: Any, name: str) -> Setting:
    """Return a parameter that ``partial_fit`` reads from the estimator at each call."""

    def write(value: Value) -> None:
        estimator.set_params(**{name: value})

    return Setting(lambda: plain(estimator.get_params()[name]), write)


def _multilayer_perceptron(estimator: Any) -> Target:
    solver = estimator.solver
    settings = {"alpha": _parameter(estimator, "alpha")}
    copied = {
        "sgd": {"momentum": "momentum", "nesterovs_momentum": "nesterov"},
        "adam": {"beta_1": "beta_1", "beta_2": "beta_2", "epsilon": "epsilon"},
        "lbfgs": {},
    }
    if solver != "lbfgs":
        settings["batch_size"] = _parameter(estimator, "batch_size")
        settings["learning_rate_init"] = _learning_rate_init(estimator)
    if solver == "sgd" and estimator.learning_rate == "invscaling":
        settings["power_t"] = _copied(estimator, "power_t", "power_t")
    for name, attribute in copied[solver].items():
        settings[name] = _copied(estimator, name, attribute)
    candidates = {"learning_rate_init", "batch_size", "power_t", *copied["sgd"], *copied["adam"]}
    unused = f"solver={solver!r} with learning_rate={estimator.learning_rate!r} does not use it"
    refused = dict.fromkeys(candidates - set(settings), unused)
    return Target(kind_of(estimator), settings, refused=refused)


def _copied(estimator: Any, name: str, *attributes: str) -> Setting:
    """Return a parameter that the solver copied into attributes when the first ``partial_fit`` made it."""
    own = _parameter(estimator, name)

    def read() -> Value:
        solver = getattr(estimator, "_optimizer", None)
        return agreed([own.read(), *(plain(getattr(solver, attribute)) for attribute in attributes if solver)])

    def write(value: Value) -> None:
        own.write(value)
        solver = getattr(estimator, "_optimizer", None)
        for attribute in attributes if solver else ():
            setattr(solver, attribute, value)

    return Setting(read, write)


def _learning_rate_init(estimator: Any) -> Setting:
    # training steps by learning_rate, which starts as learning_rate_init; Adam, "adaptive" and "invscaling" change it
    # by themselves, so that only their base rate counts
    constant = estimator.solver == "sgd" and estimator.learning_rate == "constant"
    attributes = ["learning_rate_init", "learning_rate"] if constant else ["learning_rate_init"]
    copied = _copied(estimator, "learning_rate_init", *attributes)

    def write(value: Value) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ApplyFailed(f"learning_rate_init is {value!r}, but must be a number above 0")
        solver = getattr(estimator, "_optimizer", None)
        if solver and not constant:
            solver.learning_rate *= value / solver.learning_rate_init
        copied.write(value)

    return Setting(copied.read, write)


def _stochastic_gradient_descent(estimator: Any) -> Target:
    rate, penalty, loss = estimator.learning_rate, estimator.penalty, estimator.loss
    used = {
        "alpha": penalty is not None or rate == "optimal",
        "l1_ratio": penalty == "elasticnet",
        "eta0": rate != "optimal",
        "power_t": rate == "invscaling",
        "epsilon": loss in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"),
    }
    known = {name: is_used for name, is_used in used.items() if name in estimator.get_params()}
    reason = f"with learning_rate={rate!r}, penalty={penalty!r} and loss={loss!r} it is not used"
    return Target(
        kind_of(estimator),
        {name: _parameter(estimator, name) for name, is_used in known.items() if is_used},
        refused={name: reason for name, is_used in known.items() if not is_used},
    )


def _passive_aggressive(estimator: Any, *, regressor: bool) -> Target:
    def read() -> Value:
        return agreed([plain(estimator.C), plain(estimator.eta0)])

    def write(value: Value) -> None:
        estimator.set_params(C=value)
        # training reads C here; older versions read C itself and ignore eta0
        estimator.eta0 = value

    settings = {"C": Setting(read, write)}
    if regressor:
        settings["epsilon"] = _parameter(estimator, "epsilon")
    return Target(kind_of(estimator), settings)
