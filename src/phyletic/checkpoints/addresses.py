"""From an address to the blobs that it leads to.

============================================================  ========================================================
``/data/checkpoints``, ``volatile:/data/checkpoints``         a folder, whose bytes survive a loss of power or need not
``memory:``                                                   the memory of this process
``s3://bucket/prefix``, ``gs://...``, ``az://...``            an object store, with a cache
``http(s)://HOST:PORT/v1/studies/STUDY/checkpoints``          a service, with a cache
============================================================  ========================================================

The settings of a store may follow as ``#cache_bytes=...&store_timeout=...``: so they reach the workers of a study, and
are kept nowhere else. A user gives them as arguments of ``Study``, and this module alone writes them into an address.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from phyletic import disk
from phyletic.checkpoints.blobs import VOLATILE, Blobs, FolderBlobs, MemoryBlobs
from phyletic.checkpoints.object_address import MEMORY, check_object_address, is_object_store
from phyletic.errors import InvalidArgument

_CACHE_BYTES = 10_000_000_000
_LEAST_TIMEOUT, _LONGEST_TIMEOUT = 0.1, 86_400.0
_memory = MemoryBlobs()


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a process uses a store that lies elsewhere; None leaves a setting to the environment.

    Attributes:
        cache_bytes: Bytes that the cache on this machine may have, at least 1; ``PHYLETIC_CACHE_BYTES``, or 10 GB.
        store_timeout: Seconds after which a request to an object store is given up, from 0.1 to 86,400;
            ``PHYLETIC_STORE_TIMEOUT``, or 120.

    Raises:
        InvalidArgument: One is out of its range.
    """

    cache_bytes: int | None = None
    store_timeout: float | None = None

    def __post_init__(self) -> None:
        size, seconds = self.cache_bytes, self.store_timeout
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < 2**63):
            raise InvalidArgument("cache_bytes", size, "a whole number of bytes of at least 1, or None for 10 GB")
        if seconds is not None and not _is_timeout(seconds):
            raise InvalidArgument("store_timeout", seconds, "seconds from 0.1 to 86400, or None for 120")

    def of_environment(self) -> tuple[int, float]:
        """Return both settings: those that are given, then those of the environment, then the defaults."""
        size, seconds = self.cache_bytes, self.store_timeout
        if size is None:
            named = os.environ.get("PHYLETIC_CACHE_BYTES") or str(_CACHE_BYTES)
            if not named.isascii() or not named.isdigit():
                raise InvalidArgument("PHYLETIC_CACHE_BYTES", named, "a whole number of bytes")
            size = int(named)
        if seconds is None:
            seconds = _seconds("PHYLETIC_STORE_TIMEOUT", "120")
            if not _is_timeout(seconds):
                raise InvalidArgument("PHYLETIC_STORE_TIMEOUT", seconds, "seconds from 0.1 to 86400")
        return size, seconds

    def require_none(self, place: str) -> None:
        """Raise InvalidArgument if one is given for checkpoints that lie in a folder.

        Args:
            place: The folder.
        """
        for name, value in (("cache_bytes", self.cache_bytes), ("store_timeout", self.store_timeout)):
            if value is not None:
                raise InvalidArgument(name, value, f"left out: the checkpoints are in {place}, and in no object store")

    def added_to(self, address: str) -> str:
        """Return an address with these settings.

        Example:
            >>> StoreSettings(store_timeout=5).added_to("s3://bucket")
            's3://bucket#store_timeout=5'
        """
        given = {"cache_bytes": self.cache_bytes, "store_timeout": self.store_timeout}
        text = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
        return f"{address}#{text}" if text else address


def _is_timeout(seconds: object) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return False
    return _LEAST_TIMEOUT <= seconds <= _LONGEST_TIMEOUT


def blobs_at(address: str) -> Blobs:
    """Return the blobs that have an address; a table is at the top of this module.

    Those of a service or an object store come with a cache on this machine: in the folder that ``PHYLETIC_CACHE`` names
    (``~/.cache/phyletic/checkpoints`` otherwise), of at most ``cache_bytes``. A service's transfers that fail are tried
    again without end, or for ``PHYLETIC_GIVE_UP_AFTER`` seconds without progress.

    Args:
        address: What the property ``address`` of blobs returns.

    Raises:
        InvalidArgument: No kind of blobs has such an address.
        NotAuthenticated: There is no token for the service.
        MissingDependency: The library that reaches an object store is not installed.

    Example:
        >>> blobs_at("volatile:/data/checkpoints").location
        '/data/checkpoints'
    """
    place, _, after = address.partition("#") if not address.startswith(("/", VOLATILE)) else (address, "", "")
    if place == MEMORY:
        return _memory
    if place.startswith(("http:", "https:")):
        return _service_blobs(place, _read_settings(after))
    if is_object_store(place):
        return object_blobs(place, _read_settings(after))
    path = address.removeprefix(VOLATILE)
    if not path.startswith("/"):
        allowed = (
            f"an absolute path, with {VOLATILE!r} before it or not, the URL of an object store, "
            "or the URL of a study's checkpoints"
        )
        raise InvalidArgument("address", address, allowed)
    return FolderBlobs(path, durable=path == address)


def object_blobs(address: str, settings: StoreSettings) -> Blobs:
    """Return the blobs in an object store, with a cache on this machine.

    Args:
        address: Without settings.
        settings: How this process uses it.
    """
    from phyletic.checkpoints.cached_blobs import CachedBlobs
    from phyletic.checkpoints.object_blobs import ObjectBlobs
    from phyletic.checkpoints.object_store import ObjectStore

    size, seconds = settings.of_environment()
    remote = ObjectBlobs(ObjectStore(check_object_address("address", address), seconds))
    return CachedBlobs(remote, _cache(), size, settings.added_to(address))


def _service_blobs(address: str, settings: StoreSettings) -> Blobs:
    from phyletic.checkpoints.cached_blobs import CachedBlobs
    from phyletic.checkpoints.http_blobs import HttpBlobs
    from phyletic.checkpoints.http_requests import Patience
    from phyletic.credentials import credentials_for, server_url

    url = server_url(address, "address")
    size, _ = settings.of_environment()
    remote = HttpBlobs(
        str(url), credentials_for(url), Patience(give_up_after=_seconds("PHYLETIC_GIVE_UP_AFTER", "inf"))
    )
    return CachedBlobs(remote, _cache(), size, settings.added_to(str(url)))


def _read_settings(text: str) -> StoreSettings:
    given = dict(one.partition("=")[::2] for one in text.split("&")) if text else {}
    return msgspec.convert(given, StoreSettings, strict=False)


def _cache() -> Path:
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get("PHYLETIC_CACHE") or f"{above}/phyletic/checkpoints"
    return disk.local_path("PHYLETIC_CACHE", named, "the path of a folder")


def _seconds(name: str, default: str) -> float:
    """Return the number of seconds that an environment variable has.

    Args:
        name: The variable.
        default: Its text if it is not set.
    """
    text = os.environ.get(name) or default
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(name, text, "a number of seconds") from None
