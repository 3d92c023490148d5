"""Probe an object store, for ``phyletic doctor``: what it can do, and how long it takes."""

from __future__ import annotations

import os
import statistics
import time

import msgspec

from phyletic.checkpoints.object_address import MEMORY, check_object_address
from phyletic.checkpoints.object_store import ObjectStore
from phyletic.errors import InvalidArgument, StoreUnreachable

_ANSWER_SECONDS = 4.0
_ROUND_TRIPS = 5


class Probed(msgspec.Struct, frozen=True):
    """What a probe found of a store that can be written, read, listed and deleted from.

    Attributes:
        conditional: Whether the store refuses to write an object that exists, if the request says so.
        round_trip: Seconds that reading a small object takes, as the median of a few.
    """

    conditional: bool
    round_trip: float


def probe(address: str) -> Probed:
    """Write, read, list and delete an object of its own in a store.

    Args:
        address: The store, as ``Study(checkpoints=...)`` takes it.

    Raises:
        InvalidArgument: It is no address of an object store.
        MissingDependency: obstore is not installed.
        StoreUnreachable: The store does not answer or refuses within some seconds, or answers wrongly.
    """
    place = check_object_address("checkpoints", address)
    if place == MEMORY:
        raise InvalidArgument("checkpoints", address, "an object store, such as s3://BUCKET/PREFIX")
    store = ObjectStore(place, _ANSWER_SECONDS)
    name = f"probe-{os.urandom(8).hex()}"
    key, content = f"{name}/object", os.urandom(32)
    written = store.create(key, content)
    try:
        times = []
        for _ in range(_ROUND_TRIPS):
            began = time.perf_counter()
            read = store.get(key)
            times.append(time.perf_counter() - began)
        conditional = not store.create(key, b"another")
        listed = store.keys(name)
    finally:
        store.delete([key])
    for fine, what in (
        (written and read == content, "an object that was written comes back with other bytes"),
        (listed == [key], f"an object that was written is not listed: {listed}"),
        (store.keys(name) == [], "an object that was deleted is listed"),
    ):
        if not fine:
            raise StoreUnreachable(f"{place}: {what}")
    return Probed(conditional, statistics.median(times))
