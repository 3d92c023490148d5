"""A process killed anywhere in a publication leaves either a whole checkpoint or none."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import phyletic as ph
from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.errors import NotFound
from phyletic.failpoints import armed
from phyletic.records import CheckpointReference

ID, OTHER = "a" * 32, "b" * 32

# Forks a child for every failpoint on the way, since a new interpreter for each would take a hundred times as long.
# The same code kills a process that is started with PHYLETIC_FAILPOINT; one test below starts such a process.
PROGRAM = """
import itertools, json, os, sys
from pathlib import Path
import numpy as np
from phyletic import failpoints
from phyletic.checkpoints import Checkpoints, FolderBlobs

top, kind = Path(sys.argv[1]), sys.argv[2]

def publish(root):
    store = Checkpoints(FolderBlobs(root))
    if kind == "state":
        return store.publish("a" * 32, {"x": np.arange(3), "large": np.arange(400_000), "y": [1, 2]})
    if kind == "folder":
        return store.publish_folder("a" * 32, top / "mine")
    if kind == "staged":
        staged = store.staging("a" * 32)
        (staged / "inner").mkdir()
        (staged / "inner" / "weights").write_bytes(bytes(1000))
        return store.publish_folder("a" * 32, staged)
    store.delete("a" * 32, "b" * 32)

def prepare(root):
    store = Checkpoints(FolderBlobs(root))
    (top / "mine" / "inner").mkdir(parents=True, exist_ok=True)
    (top / "mine" / "inner" / "weights").write_bytes(bytes(1000))
    (top / "mine" / "small").write_bytes(b"1")
    if kind == "delete":
        store.publish("a" * 32, {"x": 1})
        store.publish_folder("b" * 32, top / "mine")

passed = []
prepare(top / "whole")
with failpoints.armed(passed.append):
    reference = publish(top / "whole")
print(json.dumps(None if reference is None else [reference.id, reference.digest, reference.size]))
for count, name in enumerate(passed):
    root = top / f"{count:03d}"
    prepare(root)
    child = os.fork()
    if child == 0:
        os.environ["PHYLETIC_FAILPOINT"] = f"{name}:{passed[:count + 1].count(name)}"
        failpoints._arm_from_environment()
        publish(root)
        os._exit(0)
    print(json.dumps([name, os.waitpid(child, 0)[1]]))
"""


def killed_everywhere(tmp_path, kind):
    """Run the program; return the reference of an undisturbed run, and (failpoint, root) for each kill."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path, kind], capture_output=True, text=True, check=True)
    first, *lines = map(json.loads, run.stdout.splitlines())
    assert {status for _, status in lines} == {signal.SIGKILL}
    return first and CheckpointReference(*first), [
        (name, tmp_path / f"{count:03d}") for count, (name, _) in enumerate(lines)
    ]


def left(root):
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


@pytest.mark.parametrize("kind", ["state", "folder", "staged"])
def test_a_killed_publication_is_whole_or_absent(tmp_path, kind):
    reference, killed = killed_everywhere(tmp_path, kind)
    seen = set()
    for name, root in killed:
        store = Checkpoints(FolderBlobs(root))
        seen.add((name, store.exists(ID)))
        if store.exists(ID):
            store.verify(reference)
        assert store.ids() == ([ID] if left(root) else [])
        if not store.exists(ID):
            with pytest.raises(NotFound):
                store.path(ID)
        store.delete(ID)
        assert left(root) == []
    for step in ("write", "fsync", "rename", "fsync_folder"):
        assert {f"disk.{step}.before", f"disk.{step}.after"} <= {name for name, _ in seen}
    assert ("disk.rename.before", False) in seen
    assert ("disk.rename.after", True) in seen, "the rename makes it visible"
    assert not any(visible for name, visible in seen if name.startswith("disk.write"))


def test_a_killed_publication_can_be_repeated(tmp_path):
    _, killed = killed_everywhere(tmp_path, "state")
    state = {"x": np.arange(3), "large": np.arange(400_000), "y": [1, 2]}
    for _, root in killed:
        store = Checkpoints(FolderBlobs(root))
        store.verify(store.publish(ID, state))


def test_a_killed_deletion_can_be_repeated(tmp_path):
    _, killed = killed_everywhere(tmp_path, "delete")
    assert "disk.unlink.after" in {name for name, _ in killed}
    for _, root in killed:
        store = Checkpoints(FolderBlobs(root))
        store.delete(ID, OTHER)
        assert not store.exists(ID)
        assert not store.exists(OTHER)
        assert left(root) == []


def test_a_process_started_with_a_failpoint_is_killed_there(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from phyletic.checkpoints import Checkpoints, FolderBlobs\n"
        "Checkpoints(FolderBlobs(pathlib.Path(sys.argv[1]))).publish('a' * 32, {'x': 1})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env={**os.environ, "PHYLETIC_FAILPOINT": "disk.rename.before"}
    )
    assert run.returncode == -signal.SIGKILL
    store = Checkpoints(FolderBlobs(tmp_path))
    assert not store.exists(ID)
    assert left(tmp_path) == [f"{ID}.safetensors.part"]
    assert store.ids() == [ID]
    store.delete(ID)
    assert left(tmp_path) == []


def test_a_small_publication_costs_two_fsyncs(tmp_path):
    store = Checkpoints(FolderBlobs(tmp_path))
    store.publish(OTHER, {"x": 1})
    passed = []
    with armed(passed.append):
        store.publish(ID, {"x": 1.5, "y": 2.5})
    assert [name for name in passed if name.endswith("after")] == [
        "disk.create.after", "disk.write.after", "disk.fsync.after", "disk.rename.after", "disk.fsync_folder.after",
    ]  # fmt: skip


def test_results_told_together_share_one_fsync_of_the_folder(tmp_path):
    study = ph.Study(
        "many",
        space={"x": ph.Float(0, 1)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(8, 1),
        storage=tmp_path / "a.db",
    )
    counts = []
    for _ in range(2):  # the first round also creates the folder
        trials = study.ask(count=8)
        passed: list[str] = []
        with armed(passed.append):
            study.tell(trials, [{"score": 1.0}] * 8, checkpoint=[{"x": trial["x"]} for trial in trials])
        counts.append((passed.count("disk.fsync.after"), passed.count("disk.fsync_folder.after")))
    study.close()
    assert counts[1] == (8, 1)
