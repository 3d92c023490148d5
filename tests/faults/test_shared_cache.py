"""Processes that share a cache, some of them killed: no sound checkpoint ever looks damaged, and the limit holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.blobs import Content
from phyletic.checkpoints.cached_blobs import CachedBlobs

WORK = """
import random, shutil, sys
from pathlib import Path
import numpy as np
from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.cached_blobs import CachedBlobs

class Elsewhere(FolderBlobs):
    def put(self, files):
        super().put((key, [content.read_bytes()] if isinstance(content, Path) else content) for key, content in files)

    def fetch(self, key, path):
        found = self.get(key)
        (shutil.copytree if found.is_dir() else shutil.copyfile)(found, path)
        return {}

folder, seed, count, limit = Path(sys.argv[1]), *map(int, sys.argv[2:])
draw = random.Random(seed)
store = Checkpoints(CachedBlobs(Elsewhere(folder / "remote"), folder / "cache", limit))
known = {}
for step in range(count):
    id = f"{seed:016x}{step:016x}"
    if draw.random() < 0.3:
        if draw.random() < 0.5:
            known[id] = store.publish(id, {"x": np.full(draw.randrange(20_000), step, np.uint8)})
        else:
            staged = store.staging(id)
            (staged / "deep").mkdir()
            (staged / "deep" / "x").write_bytes(bytes(draw.randrange(20_000)))
            known[id] = store.publish_folder(id, staged)
    others = [name for name in store.ids() if store.exists(name)]
    for id in draw.sample(others, min(3, len(others))):
        path = store.path(id)
        content = path if path.is_file() else path / "deep" / "x"
        assert content.read_bytes() is not None
    for id in draw.sample(sorted(known), min(3, len(known))):
        store.verify(known[id])
"""


@pytest.mark.parametrize("killed", [0, 12])
def test_processes_share_a_small_cache(tmp_path: Path, killed: int) -> None:
    limit = 200_000

    def start(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORK, str(tmp_path), str(seed), "60", str(limit)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    for seed in range(killed):
        doomed = start(1000 + seed)
        time.sleep(0.25 + 0.03 * seed)
        doomed.send_signal(signal.SIGKILL)
        doomed.communicate()
    for each in [start(seed) for seed in range(3)]:
        _, error = each.communicate()
        assert each.returncode == 0, error
    last = Checkpoints(CachedBlobs(_Elsewhere(tmp_path / "remote"), tmp_path / "cache", limit))
    for count in range(30):
        last.publish(f"f{count:031x}", {"x": np.zeros(10_000, np.uint8)})
    held = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert held <= limit
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert not {name for name in names if name.endswith((".filling", ".part"))}
    assert {name.removesuffix(".entry") for name in names} <= names, "an entry without what it describes"


class _Elsewhere(FolderBlobs):
    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        super().put((key, [content.read_bytes()] if isinstance(content, Path) else content) for key, content in files)

    def fetch(self, key: str, path: Path) -> dict[str, str]:
        raise AssertionError("nothing is fetched here")
