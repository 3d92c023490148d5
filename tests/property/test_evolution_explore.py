"""For any space, values and rule, explored values stay in the space, and their recorded changes are true."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from phyletic.evolution import Gaussian, Perturb, Resample
from phyletic.evolution.explore import Chain, same
from phyletic.evolution.suggestion import changes_between
from phyletic.randomness import RandomStream
from phyletic.space import Int, Space
from phyletic.testing.generations import SPACES

CHEAP = settings(max_examples=200, deadline=None, derandomize=True)
FACTORS = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=4).map(tuple)
PROBABILITIES = st.sampled_from([0.0, 0.25, 1.0])
RULES = st.one_of(
    st.builds(Perturb, FACTORS, PROBABILITIES),
    st.builds(Resample, PROBABILITIES),
    st.builds(Gaussian, st.floats(1e-6, 1e3), PROBABILITIES),
)
CHAINS = st.one_of(RULES, st.lists(RULES, min_size=1, max_size=3).map(lambda rules: Chain(tuple(rules))))
STREAMS = st.integers(0, 10_000).map(lambda seed: RandomStream(seed, 1))


@CHEAP
@given(st.sampled_from(sorted(SPACES)), CHAINS, STREAMS, st.integers(1, 5))
def test_explored_values_are_in_the_space(name, rule, stream, times):
    space = SPACES[name]
    values = space.sample(stream)
    for _ in range(times):
        new, how = rule.explore(space, values, stream)
        checked = space.validate(new)
        assert list(new) == list(checked)
        assert all(same(new[path], checked[path]) for path in new)
        assert set(how) <= set(new)
        for path, before in values.items():
            parameter = space.parameters.get(path)
            if parameter is None or parameter.fixed:
                assert same(new[path], before) if parameter is not None else path not in new or same(new[path], before)
            if path in new and path not in how:
                assert same(new[path], before)
        values = new


@CHEAP
@given(st.integers(1, 60), st.lists(st.floats(0.3, 3.0).filter(lambda f: f != 1.0), min_size=1).map(tuple), STREAMS)
def test_a_whole_number_moves_unless_it_is_at_a_limit(value, factors, stream):
    domain = Int(1, 50, limits=(1, 60))
    new = Perturb(factors).explore(Space({"n": domain}), {"n": value}, stream).values["n"]
    assert new != value or value in (1, 60)


@CHEAP
@given(st.sampled_from(sorted(SPACES)), RULES, STREAMS)
def test_changes_lead_from_the_old_values_to_the_new(name, rule, stream):
    space = SPACES[name]
    own, source = space.sample(stream), space.sample(stream)
    new, how = rule.explore(space, source, stream)
    replayed = dict(own)
    for change in changes_between(own, source, new, how):
        assert not same(change.before, change.after)
        if change.how == "dropped":
            assert same(replayed.pop(change.path), change.before)
        else:
            replayed[change.path] = change.after
        if change.how == "inherited":
            assert same(source[change.path], change.after)
        elif change.how != "dropped":
            assert same(source.get(change.path), change.before)
    assert {path: (type(value), value) for path, value in replayed.items()} == {
        path: (type(value), value) for path, value in new.items()
    }
