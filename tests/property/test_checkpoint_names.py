"""Whatever path a client sends, its key stays below the checkpoints, and every key of a checkpoint has a path."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from phyletic.checkpoints.checkpoint_names import id_of, key_of, parts_of, path_of
from phyletic.errors import InvalidArgument

ID = "0123456789abcdef" * 2
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))
PIECES = st.sampled_from(
    [ID, "files", "manifest.json", "/", "//", "..", ".", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%00", "%", "%zz", "\x00",
     "é", "%c3%a9", "%ff", "a", ".part", "~", "?", "#", ID.upper(), "%252e%252e%252f"]
)  # fmt: skip
PATHS = st.lists(PIECES, max_size=12).map("".join).flatmap(lambda path: st.sampled_from([path, f"{ID}/files/{path}"]))


@given(PATHS | st.text(max_size=80))
@example(f"{ID}/files/..%2f..%2fetc")
@example(f"{ID}/files/%2e%2e/%2e%2e/x")
def test_a_path_is_refused_or_stays_below_its_checkpoint(path: str) -> None:
    try:
        key = key_of(path)
    except InvalidArgument:
        return
    assert re.fullmatch(rf"{ID}(\.safetensors|/manifest\.json|/files(/.+)?)?/?", key, re.DOTALL), key
    below = os.path.normpath(f"/checkpoints/{key}")
    assert below == "/checkpoints/" + key.removesuffix("/"), "no component means another folder"
    assert not {"\0", "\\"} & set(key)
    assert id_of(key) == ID
    assert key_of(path_of(key)) == key


@given(st.lists(NAMES, min_size=1, max_size=6), st.booleans())
def test_every_file_of_a_checkpoint_has_a_path(names: list[str], folder: bool) -> None:
    key = f"{ID}/files/{'/'.join(names)}{'/' * folder}"
    assert key_of(path_of(key)) == key


@given(st.text(min_size=1, max_size=200), PATHS)
def test_a_study_of_any_name_is_found_again(study: str, path: str) -> None:
    try:
        encoded = quote(study, safe="")
    except UnicodeEncodeError:
        return
    sent = path.encode("ascii", "replace").split(b"?")[0]
    assert parts_of(f"/v1/studies/{encoded}/checkpoints/".encode() + sent) == (study, sent.decode())


@given(st.binary(max_size=100))
def test_other_bytes_are_refused_or_read(raw: bytes) -> None:
    for sent in (raw, b"/v1/studies/" + raw, b"/v1/studies/" + raw + b"/checkpoints/" + raw):
        try:
            _, path = parts_of(sent)
            key_of(path)
        except InvalidArgument:
            pass
