"""Nested spaces: exactly the active parameters have values, and JSON keeps the whole space."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.errors import InvalidSpace
from phyletic.randomness import RandomStream
from phyletic.space import Choice, Float, Int, Ordinal, Space
from phyletic.space.paths import flatten, lookup, nest

QUICK = settings(derandomize=True, max_examples=60, deadline=None, database=None)

NAMES = st.sampled_from(["lr", "depth", "a b", "ünï", "x", "optimizer"])
LABELS = st.sampled_from(["sgd", "adam", "none", "x"])
FIXED = st.booleans()
LEAVES = st.one_of(
    st.builds(lambda low, width, fixed: Float(low, low + width, fixed=fixed), st.floats(-9, 9), st.floats(1, 9), FIXED),
    st.builds(
        lambda low, width, fixed: Int(low, low + width, fixed=fixed), st.integers(-9, 9), st.integers(1, 9), FIXED
    ),
    st.builds(lambda fixed: Float(0.001, 1.0, log=True, limits=(1e-6, 10.0), fixed=fixed), FIXED),
    st.builds(lambda fixed: Ordinal([16, 32, "all"], fixed=fixed), FIXED),
    st.builds(lambda fixed: Choice([True, None, "relu", 1], fixed=fixed), FIXED),
    st.sampled_from([1, 2.5, "text", None, False]),
)
DEFINITIONS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda items: st.one_of(
            st.dictionaries(NAMES, items, max_size=3),
            st.builds(
                lambda spaces, fixed: Choice(spaces, fixed=fixed),
                st.dictionaries(LABELS, st.dictionaries(NAMES, items, max_size=2), min_size=1, max_size=3),
                st.sampled_from([None, True, False]),
            ),
        ),
        max_leaves=10,
    ),
    max_size=4,
)
SPACES = DEFINITIONS.map(Space)
SEEDS = st.integers(0, 2**32)


def typed(values: dict[str, Any]) -> list[tuple[str, type, Any]]:
    return [(path, type(value), value) for path, value in values.items()]


def check(space: Space, values: dict[str, Any]) -> None:
    """Check that the values cover exactly the active parameters, in order, and lie in their domains."""
    active = space.active(values)
    for parameter in space.parameters.values():
        exists = all(values.get(path) == option for path, option in parameter.requires)
        assert exists == (parameter in active) == (parameter.path in values)
        if exists:
            assert parameter.domain.contains(values[parameter.path])
    expected = {parameter.path for parameter in active}
    for path, constant in space.constants.items():
        if all(values.get(choice) == option for choice, option in space.requires(path)):
            assert (type(values[path]), values[path]) == (type(constant), constant)
            expected.add(path)
    assert values.keys() == expected
    order = [entry for entry in space.parameters if entry in values]
    assert [path for path in values if path in space.parameters] == order
    assert typed(space.validate(values)) == typed(values)


@QUICK
@given(SPACES, SEEDS, st.data())
def test_every_operation_that_produces_values_produces_valid_ones(space: Space, seed: int, data: st.DataObject) -> None:
    stream = RandomStream(seed)
    sampled = space.sample(stream)
    check(space, sampled)
    units = st.lists(st.floats(0, 1, exclude_max=True), min_size=space.dimensions, max_size=space.dimensions)
    check(space, space.from_units(data.draw(units)))
    other = space.sample(stream)
    check(space, space.with_fixed_of(sampled, other))
    explored = {
        path: space.parameters[path].domain.perturb(value, 1.2, stream) if path in space.parameters else value
        for path, value in sampled.items()
    }
    repaired = space.repair(explored, stream)
    check(space, repaired)
    assert all(value == explored[path] for path, value in repaired.items() if path in explored)


@QUICK
@given(SPACES, SEEDS, st.data())
def test_completing_keeps_what_is_given(space: Space, seed: int, data: st.DataObject) -> None:
    stream = RandomStream(seed)
    whole = space.sample(stream)
    paths = data.draw(st.lists(st.sampled_from(sorted(whole)), unique=True)) if whole else []
    partial = {path: whole[path] for path in paths}
    for given_as in (partial, nest({path: whole[path] for path in whole if path in partial})):
        completed = space.complete(given_as, stream)
        check(space, completed)
        assert typed({path: completed[path] for path in paths}) == typed(partial)


@QUICK
@given(SPACES, SEEDS)
def test_fixed_values_come_with_the_weights_and_the_others_stay(space: Space, seed: int) -> None:
    stream = RandomStream(seed)
    values, source = space.sample(stream), space.sample(stream)
    mixed = space.with_fixed_of(values, source)
    for path, parameter in space.parameters.items():
        if parameter.fixed:
            assert (path in mixed) == (path in source)
            assert mixed.get(path) == source.get(path)
        elif path in mixed and not any(
            path == choice for other in space.parameters.values() if other.fixed for choice, _ in other.requires
        ):
            assert mixed[path] == (values if path in values else source)[path]


@QUICK
@given(SPACES, SEEDS)
def test_nesting_and_flattening_undo_each_other(space: Space, seed: int) -> None:
    values = space.sample(RandomStream(seed))
    nested = nest(values)
    choices = [
        path for path, p in space.parameters.items() if isinstance(p.domain, Choice) and p.domain.spaces is not None
    ]
    assert flatten(nested, choices) == values
    assert space.validate(nested) == values
    for path, value in values.items():
        assert lookup(values, path) == value


@QUICK
@given(DEFINITIONS)
def test_a_space_survives_json_and_pickle(definition: dict[str, Any]) -> None:
    space = Space(definition)
    text = json.dumps(space.to_json())
    for again in (Space.from_json(json.loads(text)), pickle.loads(pickle.dumps(space)), Space(definition)):
        assert again == space
        assert hash(again) == hash(space)
        assert list(again.parameters.items()) == list(space.parameters.items())
        assert typed(dict(again.constants)) == typed(dict(space.constants))
        assert json.dumps(again.to_json()) == text
        assert space.difference(again) is None


@QUICK
@given(DEFINITIONS, DEFINITIONS)
def test_spaces_are_equal_exactly_if_no_difference_is_named(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, two = Space(first), Space(second)
    assert (one == two) == (one.difference(two) is None) == (two.difference(one) is None)


@QUICK
@given(SPACES)
def test_a_grid_holds_each_branch_once(space: Space) -> None:
    if space.dimensions > 5:
        return
    places = space.grid(2)
    for values in places:
        check(space, values)
    assert len({repr(values) for values in places}) == len(places)
    for path, parameter in space.parameters.items():
        found = {repr(values[path]) for values in places if path in values}
        assert found == {repr(value) for value in parameter.domain.grid(2)}


@QUICK
@given(SPACES, SEEDS, st.data())
def test_values_for_inactive_parameters_are_refused(space: Space, seed: int, data: st.DataObject) -> None:
    stream = RandomStream(seed)
    values = space.sample(stream)
    absent = [parameter for path, parameter in space.parameters.items() if path not in values]
    if absent:
        extra = data.draw(st.sampled_from(absent))
        with pytest.raises(InvalidSpace) as caught:
            space.validate({**values, extra.path: extra.domain.sample(stream)})
        assert extra.path in str(caught.value)
    present = [path for path in values if path in space.parameters]
    if present:
        missing = data.draw(st.sampled_from(present))
        with pytest.raises(InvalidSpace) as caught:
            space.validate({path: value for path, value in values.items() if path != missing})
        assert missing in str(caught.value)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({}), st.just([[1]])
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Return every container in a document with each of its keys."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [(document, key) for key in keys] + [place for key in keys for place in places(document[key])]


@settings(QUICK, max_examples=200)
@given(SPACES, JUNK, st.data())
def test_a_damaged_document_is_a_typed_error_or_another_space(space: Space, junk: Any, data: st.DataObject) -> None:
    document = space.to_json()
    container, key = data.draw(st.sampled_from(places(document)))
    action = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "replace":
        container[key] = junk
    elif action == "remove":
        del container[key]
    elif isinstance(container, dict):
        container[data.draw(st.sampled_from(["low", "step", "limits", "log", "fixed", "spaces", "value", "no"]))] = junk
    else:
        container.append(junk)
    try:
        found = Space.from_json(document)
    except InvalidSpace:
        return
    assert Space.from_json(found.to_json()) == found
    assert (found == space) == (found.difference(space) is None)
    check(found, found.sample(RandomStream(0)))
