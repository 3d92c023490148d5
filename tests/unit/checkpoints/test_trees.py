"""Trees of plain data and arrays come back bit for bit."""

import collections
import math
import struct

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as st_numpy

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.comparison import difference
from phyletic.errors import StateUnsupported

ID, OTHER = "a" * 32, "b" * 32
Pair = collections.namedtuple("Pair", ["left", "right"])

keys = st.one_of(
    st.text(st.characters(), max_size=5),
    st.integers(),
    st.booleans(),
    st.none(),
    st.tuples(st.integers(), st.text(max_size=2)),
)
numbers = st.one_of(st.integers(), st.integers(-(2**200), 2**200), st.floats(), st.complex_numbers(), st.booleans())
texts = st.one_of(st.text(), st.text(st.characters()), st.binary(max_size=2000), st.just(b"\0" * 5000))
dtypes = st.one_of(
    st_numpy.scalar_dtypes(),
    st_numpy.unicode_string_dtypes(),
    st_numpy.byte_string_dtypes(),
    st_numpy.floating_dtypes(endianness=">"),
)
numpy_arrays = st_numpy.arrays(dtypes, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
layouts = st.sampled_from([lambda x: x, np.asfortranarray, lambda x: x[::-1] if x.ndim else x, lambda x: x.T])
strided = st.builds(lambda array, arrange: arrange(array), numpy_arrays, layouts)
leaves = st.one_of(st.none(), numbers, texts, strided)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=12,
)
sets = st.one_of(st.sets(keys, max_size=5), st.frozensets(keys, max_size=5))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Checkpoints(FolderBlobs(tmp_path_factory.mktemp("checkpoints")))


def roundtrip(store, value, live=None):
    reference = store.publish(ID, {"x": value})
    state = {} if live is None else {"x": live}
    try:
        with store.open(reference) as checkpoint:
            checkpoint.restore(state)
            checkpoint.verify()
            plain = checkpoint.value("x")
    finally:
        store.delete(ID)
    return state["x"], plain


def same(a, b):
    """Check that two values are equal to the bit and of equal types."""
    if isinstance(b, np.ndarray):
        assert isinstance(a, np.ndarray)
        assert a.shape == b.shape
        assert a.dtype == b.dtype.newbyteorder("=")
        assert a.tobytes() == b.astype(b.dtype.newbyteorder("=")).tobytes()
        assert a.flags.writeable
        assert a.base is None
        return
    assert type(a) is type(b)
    if isinstance(b, float):
        assert struct.pack("<d", a) == struct.pack("<d", b)
    elif isinstance(b, complex):
        same(a.real, b.real)
        same(a.imag, b.imag)
    elif isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    elif isinstance(b, dict):
        assert [*map(repr, a)] == [*map(repr, b)]
        for left, right in zip(a.values(), b.values(), strict=True):
            same(left, right)
    else:
        assert a == b


@given(value=trees)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_trees_come_back_bit_for_bit(store, value):
    live = Pair(None, value)  # the class of a named tuple comes from the live state
    restored, plain = roundtrip(store, Pair(value, value), Pair(value, live.right))
    assert type(restored) is Pair
    assert type(plain) is tuple
    same(restored.left, value)
    same(restored.right, value)


@given(value=sets)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_sets_come_back(store, value):
    restored, _ = roundtrip(store, value)
    assert type(restored) is type(value)
    assert restored == value


@given(value=st_numpy.arrays(st_numpy.scalar_dtypes(), ()).map(lambda array: array[()]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_numpy_scalars_keep_their_type(store, value):
    restored, _ = roundtrip(store, [value])
    assert type(restored[0]) is type(value)
    assert np.asarray(restored[0]).tobytes() == np.asarray(value).astype(value.dtype.newbyteorder("=")).tobytes()


@pytest.mark.parametrize("text", ["", "\ud800", "\x00", "é", "𝄞"])
def test_awkward_texts_come_back_as_values_and_keys(store, text):
    value = {text: text, "inner": [np.str_(text), np.bytes_(text.encode("utf-8", "surrogatepass"))]}
    restored = roundtrip(store, value)[0]
    assert restored == value
    assert [*map(type, restored["inner"])] == [np.str_, np.bytes_]


def test_mappings_come_back_as_dicts_in_their_order(store):
    value = collections.OrderedDict(b=1, a=collections.defaultdict(list, z=[1]))
    restored, _ = roundtrip(store, value)
    assert type(restored) is type(restored["a"]) is dict
    assert list(restored) == ["b", "a"]
    assert restored == value


def test_colliding_names_are_kept_apart(store):
    value = {"a/b": np.zeros(2), "a": {"b": np.ones(2)}, 1: np.full(2, 2.0), "1": np.full(2, 3.0)}
    same(roundtrip(store, value)[0], value)
    store.delete(ID)
    state = {"__metadata__": np.ones(3), "x": 1}
    with store.open(store.publish(ID, state)) as checkpoint:
        same(checkpoint.value("__metadata__"), np.ones(3))
    store.delete(ID)


def test_arrays_under_keys_that_are_not_unicode_come_back(store):
    value = {chr(0xD800): np.ones(2), chr(0xD801): {chr(0xDFFF): np.zeros(1)}}
    same(roundtrip(store, value)[0], value)
    for name in ("\ud800", 5):
        with pytest.raises(StateUnsupported, match="names of entries"):
            store.publish(ID, {name: 1})


def test_a_long_integer_comes_back(store):
    value = -(10**10000)  # longer than Python converts to decimal digits
    assert roundtrip(store, value)[0] == value


def test_tensors_in_a_tree_are_copied_into_the_live_ones(store):
    saved = {"w": torch.arange(4.0).requires_grad_(), "other": torch.ones(2, dtype=torch.int8)}
    weights = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    restored, plain = roundtrip(store, saved, {"w": weights, "other": torch.zeros(3)})
    assert restored["w"] is weights
    assert optimizer.param_groups[0]["params"][0] is weights
    assert weights.tolist() == [0, 1, 2, 3]
    assert weights.requires_grad
    assert weights.is_leaf
    assert torch.equal(restored["other"], saved["other"])
    assert plain["w"].requires_grad
    plain["w"].sum().backward()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "builtins.object"),
        (np.array([object()]), "dtype object"),
        (np.ma.masked_array([1], [True]), "MaskedArray"),
        (np.zeros(2, [("a", "f4")]), "dtype"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.zeros(2, device="meta"), "meta"),
        (lambda: None, "function"),
        (torch.nn.Linear(1, 1), "Linear"),
    ],
)
def test_an_unsupported_value_is_named_with_its_place(store, value, said):
    with pytest.raises(StateUnsupported, match=rf"state\['entry'\] at 'deep/0' is .*{said}"):
        store.publish(ID, {"entry": {"deep": [value]}})
    assert not store.exists(ID)


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_quantised_tensors_are_refused(store):
    with pytest.raises(StateUnsupported, match="quantised"):
        store.publish(ID, {"x": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)})


def test_a_state_that_contains_itself_is_refused(store):
    value = []
    value.append(value)
    with pytest.raises(StateUnsupported, match="contains itself"):
        store.publish(ID, {"x": value})


def test_plain_data_too_large_for_a_header_is_refused(store, monkeypatch):
    monkeypatch.setattr("phyletic.checkpoints.packed.MAXIMUM_HEADER", 1000)
    with pytest.raises(StateUnsupported, match="numpy arrays"):
        store.publish(ID, {"x": list(range(1000))})


@given(first=trees, second=trees)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_difference_is_empty_for_equal_trees_only(store, first, second):
    references = store.publish(ID, {"x": [first]}), store.publish(OTHER, {"x": [second]})
    try:
        assert difference(store, references[0], references[0]) == []
        found = difference(store, *references)
        assert (found == []) == (references[0].digest == references[1].digest)
        assert all(name.startswith("x/0") for name in found)
    finally:
        store.delete(ID, OTHER)


def test_difference_compares_bits(store):
    first = store.publish(ID, {"x": [math.nan, 0.0, np.zeros(1), {"a": 1}, 1], "y": 1})
    second = store.publish(OTHER, {"x": [math.nan, -0.0, -np.zeros(1), {"b": 1}, True], "z": 1})
    found = difference(store, first, second)
    store.delete(ID, OTHER)
    assert found == ["x/1", "x/2", "x/3/a", "x/3/b", "x/4", "y", "z"]
