"""What is written as YAML is read as what it was, by a reader of YAML 1.1."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from phyletic.cli.yaml_text import yaml_text

TEXTS = st.one_of(
    st.text(alphabet=st.characters(categories=("L", "M", "N", "P", "S", "Zs")), max_size=12),
    st.sampled_from(
        ["", "yes", "No", "on", "null", "~", "1e3", "0x1F", "1_000", "12:30:00", "2026-01-01", ".nan", "=", "<<", "- a",
         "a: b", "a #b", "a:", ":a", "&a", "*a", "!a", "%a", "@a", "`a", "'", '"', "\\", "a\nb", "500m", "grpcs://h:1"]
    ),
)  # fmt: skip
DOCUMENTS = st.recursive(
    st.one_of(TEXTS, st.integers(-(10**9), 10**9), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_a_document_is_read_as_it_was_written(document: object) -> None:
    read = yaml.safe_load(yaml_text(document))  # type: ignore[arg-type]
    assert read == document
    assert repr(read) == repr(document)  # True is no 1
