"""The paths of checkpoints in the URLs of a service, and the keys of blobs that they stand for.

::

    checkpoints/<id>                    <id>.safetensors        a state
    checkpoints/<id>/                   <id>                    all that a user's own files are
    checkpoints/<id>/manifest.json      <id>/manifest.json
    checkpoints/<id>/files/a/b          <id>/files/a/b
    checkpoints/<id>/files/a/           <id>/files/a/           a folder

No other key can be named, so no path from a client leads out of the checkpoints.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from phyletic.errors import InvalidArgument

PACKED = ".safetensors"
_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME, _LONGEST_PATH, _DEEPEST = 255, 2048, 64
_ALLOWED = "an id of 32 digits of 0-9 and a-f, or below it manifest.json or files/NAME"


STUDIES = "/v1/studies"


def study_path(study: str) -> str:
    """Return the path of a study in a service's URLs.

    Example:
        >>> study_path("a/b"), study_path("..")
        ('/v1/studies/a%2Fb', '/v1/studies/%2E%2E')
    """
    quoted = quote(study, safe="")
    # clients and proxies take names of dots alone for ways up
    return f"{STUDIES}/{quoted if quoted.strip('.') else quoted.replace('.', '%2E')}"


def parts_of(raw_path: bytes) -> tuple[str, str]:
    """Return the study in a URL's path, and what follows ``checkpoints/``, still percent-encoded.

    Args:
        raw_path: The path as the client sent it: ``/v1/studies/<study>/checkpoints/...``.

    Raises:
        InvalidArgument: It has another form, or the name is not UTF-8.

    Example:
        >>> parts_of(b"/v1/studies/a%2Fb/checkpoints/0/x")
        ('a/b', '0/x')
    """
    pieces = raw_path.split(b"?")[0].decode("ascii", "replace").split("/", 5)
    if len(pieces) != 6 or [*pieces[:3], pieces[4]] != ["", "v1", "studies", "checkpoints"] or not pieces[3]:
        raise InvalidArgument("path", _shown(raw_path), "/v1/studies/STUDY/checkpoints/...")
    return decoded(pieces[3]), pieces[5]


def key_of(path: str) -> str:
    """Return the key of what follows ``checkpoints/`` in a URL.

    Args:
        path: Percent-encoded; each name is decoded once, after the path was split.

    Raises:
        InvalidArgument: No checkpoint has such a path.

    Example:
        >>> key_of("0123456789abcdef0123456789abcdef")
        '0123456789abcdef0123456789abcdef.safetensors'
    """
    if len(path) > 3 * _LONGEST_PATH:
        raise InvalidArgument("path", path, f"{_ALLOWED}, of at most {_LONGEST_PATH} bytes")
    id, slash, below = path.partition("/")
    if not _ID.fullmatch(id):
        raise InvalidArgument("path", path, _ALLOWED)
    if not below:
        return id if slash else id + PACKED
    names = [decoded(name) for name in below.removesuffix("/").split("/")]
    folder = below.endswith("/")
    placed = names == ["manifest.json"] if len(names) == 1 and not folder else names[0] == "files"
    if names == ["files"]:
        placed = True
    if not placed or len(names) > _DEEPEST or not all(_is_name(name) for name in names):
        raise InvalidArgument("path", path, f"{_ALLOWED}, where no name is '.', '..' or has '/', '\\' or NUL in it")
    key = f"{id}/{'/'.join(names)}"
    if len(key.encode()) > _LONGEST_PATH:
        raise InvalidArgument("path", path, f"{_ALLOWED}, of at most {_LONGEST_PATH} bytes")
    return f"{key}/" if folder else key


def path_of(key: str) -> str:
    """Return the percent-encoded path of a key, to follow ``checkpoints/`` in a URL.

    Example:
        >>> path_of("0123456789abcdef0123456789abcdef/files/a b")
        '0123456789abcdef0123456789abcdef/files/a%20b'
    """
    if "/" not in key:
        return key.removesuffix(PACKED) if key.endswith(PACKED) else f"{key}/" if key else ""
    return "/".join(quote(name, safe="") for name in key.split("/"))


def id_of(key: str) -> str:
    """Return the id of the checkpoint that a key belongs to."""
    return key.partition("/")[0].removesuffix(PACKED)


def _is_name(name: str) -> bool:
    return (
        name not in ("", ".", "..")
        and not any(letter in "/\\" or ord(letter) < 32 or ord(letter) == 127 for letter in name)
        and len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME
    )


def decoded(name: str) -> str:
    """Return a name of a URL's path, of which the path was split before; raises InvalidArgument if it is no UTF-8."""
    try:
        return unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        raise InvalidArgument("path", name, "names in UTF-8, percent-encoded") from None


def _shown(raw: bytes) -> str:
    return raw[:200].decode("ascii", "replace")
