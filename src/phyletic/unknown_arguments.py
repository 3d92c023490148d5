"""Unknown arguments: an error that names ours for a word of Optuna, Ray Tune or Keras, or for an argument's true place.

A decorator looks at the names of keyword arguments before a call. Type checkers, editors and ``inspect.signature`` see
the function or class as it is written.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from phyletic.errors import UnknownArgument

T = TypeVar("T", bound=Callable[..., object])


class _Place(NamedTuple):
    """The place of arguments: how they are written there, and what is called with that."""

    form: str
    of: str


_PLACES = {
    "Study": _Place("{}", "ph.Study"),
    "Study.run": _Place("{}", "study.run"),
    "RayWorkers": _Place("workers=ph.RayWorkers({})", "study.run"),
    "Budget": _Place("budget=ph.Budget({})", "ph.Study"),
    "PBT": _Place("algorithm=ph.PBT({})", "ph.Study"),
    "Truncation": _Place("exploit=ph.Truncation({})", "ph.PBT"),
    "Perturb": _Place("explore=ph.Perturb({})", "ph.PBT"),
    "Float": _Place('space={{"...": ph.Float({})}}', "ph.Study"),
    "Choice": _Place('space={{"...": ph.Choice({})}}', "ph.Study"),
    "Ordinal": _Place('space={{"...": ph.Ordinal({})}}', "ph.Study"),
}

# by place and by our argument, the words that others use for it, and our own word where it may be said elsewhere
_WORDS: dict[str, dict[str, str]] = {
    "Study": {
        'name="..."': "study_name project_name experiment_name",
        'mode="max" or mode="min"': "direction directions mode maximize minimize goal",
        'metric="..." and mode="max" or mode="min"': "objective",
        'metric="..."': "metric metrics monitor metric_name",
        "space={...}": """space search_space param_space hyperparam_mutations hyperparameter_mutations hyperparameters
            hyperparam_bounds param_distributions param_grid params config distributions""",
        "algorithm=ph.PBT(...)": "algorithm sampler scheduler search_alg tuner oracle strategy",
        "budget=ph.Budget(steps=...)": "budget stop",
        'storage="study.db"': "storage storage_path database db url local_dir directory path file",
        'checkpoints="folder"': "checkpoints checkpoint_dir checkpoint_path checkpoint_folder",
        "seed=...": "seed random_state random_seed rng",
        "initial=[{...}]": "initial points_to_evaluate initial_points default enqueue_trial",
        'sampling="sobol"': "sampling",
        "max_failures=...": "max_failures max_retries retries",
        "max_losses=...": "max_losses",
        "keep_best=...": "keep_best num_to_keep keep_checkpoints_num max_to_keep",
    },
    "Study.run": {
        "train, a function that loops over the trials it gets": "train objective trainable func fn function",
        "command=[...]": "command cmd",
        "workers=...": """workers n_jobs n_workers num_workers max_workers max_concurrent_trials max_concurrent
            processes jobs""",
        "devices=[0, 1]": """devices device gpus gpu num_gpus n_gpus gpus_per_trial resources resources_per_trial
            accelerators""",
        "threads=...": "threads n_threads num_threads num_cpus",
        'reload="always"': "reload reuse_actors",
        "verbose=0, 1 or 2": "verbose verbosity show_progress_bar progress_bar quiet",
        "trial_timeout=...": "trial_timeout",
        "grace=...": "grace",
        "environment={...}": "environment env env_vars runtime_env",
        "callbacks=[...]": "callbacks callback",
    },
    "RayWorkers": {
        "count=...": "count workers num_workers n_workers num_actors actors",
        "min=...": "min min_workers min_size",
        "max=...": "max max_workers max_size",
        "num_cpus=...": "num_cpus cpus cpus_per_worker",
        "num_gpus=...": "num_gpus gpus use_gpu gpus_per_worker",
        "resources={...}": "resources resources_per_worker custom_resources",
        "runtime_env={...}": "runtime_env env working_dir",
        'placement="SPREAD"': "placement placement_strategy strategy scheduling_strategy",
        "gang=...": "gang ranks world_size nproc_per_node",
        "memory_fraction=...": "memory_fraction gpu_memory_fraction",
    },
    "Budget": {
        "steps=...": """steps max_steps n_steps num_steps total_steps max_t epochs n_epochs max_epochs num_epochs
            iterations max_iterations training_iteration generations n_generations""",
        "trials=...": "trials n_trials num_trials max_trials",
        "seconds=...": "seconds timeout time_budget_s time_budget max_seconds max_time",
        "target=...": "target goal_score threshold target_score",
        "patience=...": "patience",
    },
    "PBT": {
        "population=...": "population population_size pop_size num_samples n_population num_members members",
        "interval=...": "interval perturbation_interval perturb_interval ready_interval exploit_interval",
        "interval_seconds=...": "interval_seconds",
        "exploit=ph.Truncation(...)": "exploit selection",
        "explore=[ph.Perturb(), f], with f(hyperparameters, rng)": "explore custom_explore_fn mutation",
        "synchronous=True": "synchronous synch sync asynchronous",
        "burn_in=...": "burn_in burn_in_period warmup grace_period",
        "early_stopping=ph.MedianStopping()": "early_stopping pruner stopper",
        "gate=ph.NoiseGate(a=...)": "gate",
        'inherit="weights"': "inherit",
        'compare="matched"': "compare",
    },
    "Truncation": {"fraction=...": "fraction quantile_fraction quantile"},
    "Perturb": {
        "factors=(0.8, 1.2)": "factors perturbation_factors perturb_factors factor",
        "resample_probability=...": "resample_probability resample_prob",
    },
    "Float": {
        "low=...": "low lower min_value min minimum lower_bound",
        "high=...": "high upper max_value max maximum upper_bound",
        "log=True": "log log_scale sampling log_uniform",
        "step=...": "step q",
        "limits=(lowest, highest)": "limits bounds",
        "fixed=True": "fixed",
    },
    "Choice": {"options=[...]": "options choices categories values"},
    "Ordinal": {"values=[...]": "values sequence options"},
}
# arguments that have no counterpart, and why none is needed
_NEEDLESS = {
    "load_if_exists": "leave it out, because a study that exists is opened",
    "resume": "leave it out, because a study that exists goes on when it is run",
    "overwrite": "leave it out; ph.delete_study(name, storage) deletes a study",
    "time_attr": "leave it out, because interval counts your steps, and interval_seconds seconds",
    "catch": "leave it out, because a trial that raises is tried again, as Study(max_failures=...) says",
    "gc_after_trial": "leave it out, because memory never holds two members",
}


def explain_unknown_arguments(target: T) -> T:
    """Decorate a function, or a class with an ``__init__`` of its own, so that unknown arguments are explained.

    A word of the table raises :class:`UnknownArgument` with our argument, and so does one that is nearly the name of an
    argument. Any other unknown name is Python's own TypeError.

    Example:
        >>> @explain_unknown_arguments
        ... def halve(number=0, digits=3): ...
        >>> halve(digit=2)
        Traceback (most recent call last):
        phyletic.errors.UnknownArgument: halve has no argument digit: did you mean digits?
    """
    if isinstance(target, type):
        target.__init__ = _explained(target.__init__)  # type: ignore[misc]
        return target
    return cast(T, _explained(target))


def _explained(function: Callable[..., object]) -> Callable[..., object]:
    known = tuple(inspect.signature(function).parameters)
    owner = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*arguments: object, **named: object) -> object:
        __tracebackhide__ = True  # notebooks and pytest leave this frame out of tracebacks
        for word in named:
            if word not in known and (advice := _advice(owner, known, word)):
                raise UnknownArgument(f"{owner} has no argument {word}: {advice}")
        return function(*arguments, **named)

    return call


def _advice(owner: str, known: tuple[str, ...], word: str) -> str:
    """Return what to do instead of giving an unknown argument; "" if nothing is known.

    Args:
        owner: The name of what was called.
        known: The names of its arguments.
        word: The unknown name.
    """
    if word in _NEEDLESS:
        return _NEEDLESS[word]
    found = [(place, ours) for place, table in _WORDS.items() for ours, words in table.items() if word in words.split()]
    # an argument of its own comes first
    for _, ours in found:
        if ours.partition("=")[0].partition(",")[0] in known:
            return f"give {ours}"
    if found:
        form, of = _PLACES[found[0][0]]
        ours = form.format(found[0][1])
        return f"give {ours}" if of == f"ph.{owner}" else f"give {ours} to {of}"
    import difflib  # only for an error

    near = difflib.get_close_matches(word, [name for name in known if name not in ("self", "_")], 1, 0.7)
    return f"did you mean {near[0]}?" if near else ""
