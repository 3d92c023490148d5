"""Addresses of checkpoints in object stores: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``.

An address never holds a secret. It is stored in the database, shown in messages and sent to workers, so an address with
a user, a key or options is refused, and the error does not repeat it.
"""

from __future__ import annotations

import re

from phyletic.errors import InvalidArgument

OBJECT_STORES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
"""The schemes, with how the environment variables of each begin."""
MEMORY = "memory:"
"""The address of checkpoints in the memory of this process."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_EXAMPLE = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, memory: or the path of a folder"
_SECRETS = (
    "credentials come from the environment (AWS_ACCESS_KEY_ID and the like) or the machine's role, never from the "
    "address, which is stored and shown"
)


def is_url(address: str) -> bool:
    """Whether a text is meant as a URL, and not as the path of a folder.

    Example:
        >>> is_url("s3://bucket"), is_url("memory:"), is_url("ftp://host"), is_url("/data/a:b"), is_url("run:1")
        (True, True, True, False, False)
    """
    scheme, colon, rest = address.partition(":")
    return bool(colon) and (scheme in (*OBJECT_STORES, "memory") or (rest.startswith("//") and "/" not in scheme))


def is_object_store(address: str) -> bool:
    """Whether an address is that of an object store."""
    return address.partition("://")[0] in OBJECT_STORES and "://" in address


def check_object_address(name: str, address: str) -> str:
    """Return an address in its one form, without a slash at its end.

    Args:
        name: The argument's name, for the error.
        address: What the user gave; :func:`is_url` is true of it.

    Raises:
        InvalidArgument: It has an unknown scheme, no bucket, or a place for a secret, which the error does not repeat.

    Example:
        >>> check_object_address("checkpoints", "s3://bucket/runs/")
        's3://bucket/runs'
    """
    found = _SCHEME.match(address)
    scheme = found[1] if found else ""
    if address == MEMORY:
        return address
    if any(sign in address.removeprefix(f"{scheme}:") for sign in "@?#:"):
        raise InvalidArgument(name, f"{scheme}:...", f"an address without a user, options or a fragment: {_SECRETS}")
    if scheme not in OBJECT_STORES or not address.startswith(f"{scheme}://"):
        raise InvalidArgument(name, address, _EXAMPLE)
    bucket, _, prefix = address.removeprefix(f"{scheme}://").partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgument(name, address, f"an address with the name of a bucket: {scheme}://BUCKET/PREFIX")
    parts = prefix.split("/") if prefix else []
    if not all(part and part not in (".", "..") and part.isascii() and part.isprintable() for part in parts):
        raise InvalidArgument(name, address, "a prefix of printable ASCII names with one / between them")
    return f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"
