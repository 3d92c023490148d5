"""Applying hyperparameters to mappings, functions and registered classes, and detecting drift."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.errors import ApplyFailed, HyperparameterDrift, InvalidArgument
from phyletic.workers.apply import apply, drift, register

values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans(), st.just("relu"), st.none()
)


@settings(derandomize=True, max_examples=50)
@given(st.dictionaries(st.sampled_from("abcdef"), values), st.dictionaries(st.sampled_from("abcdef"), values))
def test_a_mapping_takes_only_the_values_of_its_own_keys(hyperparameters, parameters):
    shared = {key: value for key, value in hyperparameters.items() if key in parameters}
    expected = {**parameters, **shared}
    if not shared:
        with pytest.raises(ApplyFailed, match="no hyperparameter matches"):
            apply(hyperparameters, parameters)
    else:
        applied = apply(hyperparameters, parameters)
        assert applied.values == shared
        assert drift([applied]) is None
    assert parameters == expected


def test_the_last_part_of_a_path_matches():
    parameters = {"eta": 0.3, "depth": 6}
    assert apply({"booster.tree.eta": 0.1, "width": 3}, parameters).values == {"booster.tree.eta": 0.1}
    assert parameters == {"eta": 0.1, "depth": 6}


def test_two_paths_with_the_same_last_part_need_names():
    hyperparameters = {"head.lr": 0.1, "body.lr": 0.2}
    parameters = {"lr": 1.0}
    with pytest.raises(ApplyFailed, match=r"'head\.lr' and 'body\.lr' both match lr"):
        apply(hyperparameters, parameters)
    assert parameters == {"lr": 1.0}
    assert apply(hyperparameters, parameters, names={"lr": "body.lr"}).values == {"body.lr": 0.2}
    assert parameters == {"lr": 0.2}


def test_names_apply_only_the_named_hyperparameters():
    parameters = {"lr": 1.0, "decay": 0.0}
    assert apply({"head_lr": 0.1, "decay": 0.5}, parameters, names={"lr": "head_lr"}).values == {"head_lr": 0.1}
    assert parameters == {"lr": 0.1, "decay": 0.0}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"rate": "lr"}, "dict has no setting 'rate': its settings are 'lr', 'decay'"),
        ({"lr": "rate"}, "lr='rate', but the hyperparameters are 'lr'"),
    ],
)
def test_names_that_do_not_exist_are_refused_before_anything_is_set(names, message):
    parameters = {"lr": 1.0, "decay": 0.0}
    with pytest.raises(ApplyFailed, match=message):
        apply({"lr": 0.1}, parameters, names={"decay": "lr", **names})
    assert parameters == {"lr": 1.0, "decay": 0.0}


def test_an_error_about_no_match_names_both_sides():
    with pytest.raises(ApplyFailed, match=r"hyperparameters are 'rate', the settings 'lr', 'depth'\. Name them"):
        apply({"rate": 0.1}, {"lr": 1.0, "depth": 3})


def test_a_mapping_that_does_not_take_a_value_is_an_error():
    class Rounding(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, round(value))

    with pytest.raises(ApplyFailed, match=r"'lr' was applied to lr of .*Rounding as 0.3, but it reads back as 0"):
        apply({"lr": 0.3}, Rounding(lr=1))


def test_drift_names_path_value_found_and_target():
    parameters = {"eta": 0.3, "depth": 6}
    applied = apply({"booster.eta": 0.1, "depth": 2}, parameters)
    parameters["depth"] = 2
    assert drift([applied]) is None
    parameters["eta"] = 0.05
    error = drift([applied])
    assert isinstance(error, HyperparameterDrift)
    assert str(error).startswith("'booster.eta' was applied to eta of dict as 0.1, but is 0.05 at the trial's end.")
    del parameters["eta"]
    assert "the key is gone" in str(drift([applied]))


def test_a_function_sets_and_returns_what_took_effect():
    seen = {}

    def configure(hyperparameters):
        seen.update(hyperparameters)
        hyperparameters["lr"] = "the function's own copy"
        return {"lr": 0.09}

    hyperparameters = {"lr": 0.1, "width": 3}
    for function in (configure, functools.partial(configure)):
        applied = apply(hyperparameters, function)
        assert applied.values == {"lr": 0.09}
        assert drift([applied]) is None
    assert seen == hyperparameters == {"lr": 0.1, "width": 3}


@pytest.mark.parametrize("returned", [None, {}, 0.1])
def test_a_function_must_return_what_took_effect(returned):
    with pytest.raises(ApplyFailed, match="must return what took effect"):
        apply({"lr": 0.1}, lambda hyperparameters: returned)


def test_a_function_may_only_return_hyperparameters():
    with pytest.raises(ApplyFailed, match="returned 'rate', but the hyperparameters are 'lr'"):
        apply({"lr": 0.1}, lambda hyperparameters: {"rate": 0.1})


def test_names_and_groups_are_not_passed_to_functions():
    with pytest.raises(ApplyFailed, match="set them inside it"):
        apply({"lr": 0.1}, lambda hyperparameters: hyperparameters, names={"rate": "lr"})


class Agent:
    """An agent that trains with ``schedule["rate"]``; its ``learning_rate`` is only the initial value."""

    def __init__(self):
        self.learning_rate = 1.0
        self.schedule = {"rate": 1.0}


def test_no_attribute_is_set_on_an_object_of_an_unknown_class():
    agent = Agent()
    with pytest.raises(ApplyFailed, match=r"does not know .*Agent.*register"):
        apply({"learning_rate": 0.1}, agent)
    assert agent.learning_rate == 1.0


def test_a_registered_class_and_its_subclasses_are_supported():
    class Taught(Agent):
        pass

    class Derived(Taught):
        pass

    register(
        Taught,
        read=lambda agent: {"learning_rate": agent.schedule["rate"]},
        write=lambda agent, name, value: agent.schedule.__setitem__("rate", value),
    )
    agent = Derived()
    applied = apply({"learning_rate": 0.1}, agent)
    assert applied.values == {"learning_rate": 0.1}
    assert agent.schedule == {"rate": 0.1}
    agent.schedule["rate"] = 0.2
    assert "Derived" in str(drift([applied]))


def test_a_registered_writer_that_sets_the_wrong_place_is_an_error():
    class Missed(Agent):
        pass

    register(
        Missed,
        read=lambda agent: {"learning_rate": agent.schedule["rate"]},
        write=lambda agent, name, value: setattr(agent, name, value),
    )
    with pytest.raises(ApplyFailed, match=r"reads back as 1\.0"):
        apply({"learning_rate": 0.1}, Missed())


def test_register_requires_a_class():
    with pytest.raises(InvalidArgument, match="kind"):
        register("Agent", read=dict, write=lambda *_: None)


@pytest.mark.parametrize("extra", [{"group": 0}, {"scheduler": object()}])
def test_groups_and_schedulers_are_refused_for_mappings(extra):
    with pytest.raises(ApplyFailed, match=f"{next(iter(extra))}= is for torch optimizers"):
        apply({"lr": 0.1}, {"lr": 1.0}, **extra)
