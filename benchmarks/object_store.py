"""What checkpoints in an object store cost, beside a folder and beside bare transfers.

Usage: ``python benchmarks/object_store.py`` starts moto, an S3 server in Python, on this machine (``moto_server`` must
be installed; ``make test-object-store`` does that). ``--address s3://BUCKET/PREFIX`` measures another store, with the
credentials of the environment. ``--folder`` decides which disk holds the folder of checkpoints and the cache.

A row is the median of the rounds, in seconds, of one size. *publish*: encode, write the cached copy, upload, publish.
*folder*: publish in a folder. *bare upload*: obstore uploads a file with the same bytes, in parts, by its defaults.
*open*: open through an empty cache, until the bytes are here and compared with their digests. *bare download*: obstore
streams the object to a file. *cached*: open what the cache holds, load and verify it, *local*: the same from a folder.
The actions alternate, so that a change of the machine's speed meets all.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import obstore
from conditions import conditions, parser, show, work_folder

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.cached_blobs import CachedBlobs
from phyletic.checkpoints.object_blobs import ObjectBlobs
from phyletic.checkpoints.object_store import ObjectStore, opened
from phyletic.records import CheckpointReference

MEGABYTES = (1, 64, 512)


@contextmanager
def moto() -> Iterator[str]:
    """Run moto for the length of the block; give the address of a bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    beside = Path(sys.prefix, "moto", "bin", "moto_server")
    program = str(beside) if beside.exists() else "moto_server"
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/benchmark", method="PUT", data=b""))
                break
            except OSError:
                time.sleep(0.1)
        os.environ |= {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        yield "s3://benchmark/checkpoints"
    finally:
        server.kill()
        server.wait()


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def download(store: obstore.store.ObjectStore, key: str, path: Path) -> None:
    """Stream an object to a file."""
    with path.open("wb") as file:
        for piece in obstore.get(store, key).stream(min_chunk_size=8 << 20):
            file.write(piece)


def load(store: Checkpoints, reference: CheckpointReference) -> None:
    """Open, restore and verify a checkpoint."""
    state: dict[str, object] = {}
    with store.open(reference) as opened:
        opened.restore(state)
        opened.verify()


def measured(address: str, folder: Path, megabytes: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of each action for one size.

    Args:
        address: The store.
        folder: An empty folder.
        megabytes: The size of a checkpoint, in 10**6 bytes.
        rounds: How often to measure.
    """
    state = {"weights": np.frombuffer(np.random.default_rng(0).bytes(megabytes * 10**6), np.uint8)}
    bare = opened(address, 120.0)
    local = Checkpoints(FolderBlobs(folder / "local"))
    objects = ObjectBlobs(ObjectStore(address))
    here = Checkpoints(CachedBlobs(objects, folder / "cache"))
    times: dict[str, list[float]] = {}
    for count in range(-1, rounds):  # the first round is not counted
        id = f"{megabytes * 1000 + count + 1:032x}"
        seconds = {}
        seconds["folder"] = timed(lambda id=id: local.publish(id, state))
        path = local.path(id)
        seconds["bare upload"] = timed(lambda path=path: obstore.put(bare, "bare", path))
        published: list[CheckpointReference] = []
        seconds["publish"] = timed(lambda id=id, to=published: to.append(here.publish(id, state)))
        reference = published[0]
        seconds["bare download"] = timed(lambda: download(bare, "bare", folder / "downloaded"))
        empty = Checkpoints(CachedBlobs(objects, folder / "empty"))
        seconds["open"] = timed(lambda empty=empty, reference=reference: empty.open(reference).close())
        load(local, reference)  # the memory that a first load takes would be counted for one of them
        pair = [("local", local), ("cached", here)]
        for name, store in pair if count % 2 else reversed(pair):
            seconds[name] = timed(lambda store=store, reference=reference: load(store, reference))
        for store in (here, local):
            store.delete(id)
        shutil.rmtree(folder / "empty")
        (folder / "downloaded").unlink()
        for name, one in seconds.items() if count >= 0 else ():
            times.setdefault(name, []).append(one)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--address", help="the store; moto by default")
    arguments.add_argument("--rounds", default=3, type=int, help="rounds of each size")
    given = arguments.parse_args()
    with moto() if given.address is None else _given(given.address) as address, work_folder(given.folder) as folder:
        rows = []
        for megabytes in MEGABYTES:
            times = measured(address, folder, megabytes, given.rounds)
            ratios = {
                "publish/(folder+upload)": times["publish"] / (times["folder"] + times["bare upload"]),
                "open/download": times["open"] / times["bare download"],
                "cached/local": times["cached"] / times["local"],
            }
            rows.append({"MB": megabytes, **{name: round(value, 4) for name, value in {**times, **ratios}.items()}})
        show("object store", rows, conditions(folder, "obstore"), as_json=given.json)


@contextmanager
def _given(address: str) -> Iterator[str]:
    yield address


if __name__ == "__main__":
    main()
