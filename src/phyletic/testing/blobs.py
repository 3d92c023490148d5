"""The suite that every kind of blobs must pass, alone and under checkpoints.

Derive a class in a test file, name it ``Test...``, and define how it makes blobs::

    class TestFolderBlobs(BlobsConformance):
        def make(self, tmp_path):
            return FolderBlobs(tmp_path / "checkpoints")
"""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

import math
import random
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phyletic.checkpoints import Blobs, Checkpoints, blobs_at
from phyletic.errors import CheckpointDamaged, CheckpointError, NotFound
from phyletic.failpoints import armed
from phyletic.records import CheckpointReference

__all__ = ["BlobsConformance", "CachedBlobsConformance", "RemoteBlobsConformance"]

_A, _B, _C = "a" * 32, "0123456789abcdef" * 2, "c" * 32
_STATE = f"{_A}.safetensors"
_KILLED_AT = """
import os, signal, sys
from phyletic.checkpoints import Checkpoints, blobs_at
from phyletic.failpoints import armed
left = int(sys.argv[3])
def step(name):
    global left
    left -= name.startswith(sys.argv[4])
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints = Checkpoints(blobs_at(sys.argv[1]))
with armed(step):
    checkpoints.publish(sys.argv[2], {"content": bytes(int(sys.argv[5]))})
"""
_KILLED = """
import os, signal, sys
from phyletic.checkpoints import blobs_at
def parts():
    yield bytes(3 << 20)
    os.kill(os.getpid(), signal.SIGKILL)
blobs_at(sys.argv[1]).put([(sys.argv[2], parts())])
"""


class _Stopped(Exception):
    pass


class BlobsConformance(ABC):
    """A suite for pytest: derive a class from it, and define how it makes blobs.

    Attributes:
        one_kind: Whether the blobs keep all of an id together, so that it is a state or a user's own files, as every
            checkpoint is, and cannot be both.
        steps: How the names of the failpoints begin at which a process is killed while it publishes.
        publish_bytes: Bytes that it publishes.
    """

    one_kind = False
    steps = "disk."
    publish_bytes = 1000

    @abstractmethod
    def make(self, tmp_path: Path) -> Blobs:
        """Return empty blobs; called again in a test, another object on the same blobs."""

    def damage(self, blobs: Blobs, key: str, change: str) -> None:
        """Damage the bytes under a key.

        Args:
            blobs: The blobs.
            key: The key.
            change: ``"flip"``, ``"truncate"``, ``"remove"``, or ``"add"``, which puts another blob beside it.
        """
        content = bytearray(blobs.get(key).read_bytes())
        if change == "add":
            key = key.rpartition("/")[0] + "/new"
        else:
            blobs.delete([key])
        content[-1] ^= change == "flip"
        if change != "remove":
            blobs.put([(key, [content[: -1 if change == "truncate" else None]])])

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        """Empty blobs."""
        return self.make(tmp_path)

    @pytest.fixture
    def checkpoints(self, blobs: Blobs) -> Checkpoints:
        """Checkpoints on empty blobs."""
        return Checkpoints(blobs)

    def test_bytes_come_back(self, blobs: Blobs) -> None:
        large = np.arange(500_000)
        blobs.put([(_STATE, [b"one", memoryview(b"two")]), (f"{_B}/files/c/d", [large.view(np.uint8).data])])
        blobs.put([(f"{_C}.safetensors", [])])
        assert blobs.get(_STATE).read_bytes() == b"onetwo"
        assert blobs.get(f"{_B}/files/c/d").read_bytes() == large.tobytes()
        assert blobs.get(f"{_C}.safetensors").read_bytes() == b""
        assert _ids(blobs) == sorted([_A, _B, _C])

    def test_a_key_also_names_all_that_is_below_it(self, blobs: Blobs) -> None:
        below, state = f"{_A}/files", f"{_C}.safetensors" if self.one_kind else _STATE
        blobs.put([(f"{below}/empty/", ()), (f"{below}/x", [b"x"]), (f"{below}/deep/y", [b"y"]), (state, [b"z"])])
        found = {"deep": None, "deep/y": b"y", "empty": None, "x": b"x"}
        assert _contents(blobs.get(below)) == found
        assert _contents(blobs.get(_A)) == {"files": None, **{f"files/{name}": found[name] for name in found}}
        assert blobs.exists(below)
        assert blobs.exists(_A)
        blobs.delete([_A])
        assert not blobs.exists(f"{below}/x")
        assert not blobs.exists(_A)
        assert blobs.get(state).read_bytes() == b"z"

    def test_what_is_missing_is_not_found(self, blobs: Blobs) -> None:
        assert blobs.names() == []
        for key in (_A, _STATE, f"{_A}/files/x"):
            assert not blobs.exists(key)
            with pytest.raises(FileNotFoundError):
                blobs.get(key)
        blobs.delete([_STATE, f"{_B}/files"])
        blobs.sync()
        blobs.put([(_STATE, [b"1"])])
        assert blobs.exists("")
        assert not blobs.exists(f"{_A}/files/b")

    @pytest.mark.parametrize("seed", range(3))
    def test_blobs_are_a_dictionary(self, blobs: Blobs, seed: int) -> None:
        draw, known = random.Random(seed), dict[str, bytes]()
        keys = (_STATE, f"{_B}/files/x", f"{_B}/files/y/z", f"{_C}.safetensors")
        for _ in range(60):
            some = draw.sample(keys, draw.randint(1, 3))
            if draw.random() < 0.6:
                # a state never changes: a store may refuse other bytes under its key
                blobs.delete([key for key in some if key in known and "/" not in key])
                contents = {key: draw.randbytes(draw.choice((0, 10, 70_000))) for key in some}
                blobs.put([(key, [content[:5], content[5:]]) for key, content in contents.items()])
                known |= contents
            else:
                deleted = draw.choice([some, [_B], [f"{_B}/files/y", f"{_C}.safetensors"]])
                blobs.delete(deleted)
                known = {key: known[key] for key in known if not any(f"{key}/".startswith(f"{d}/") for d in deleted)}
            for key in keys:
                assert blobs.exists(key) == (key in known)
                assert key not in known or blobs.get(key).read_bytes() == known[key]

    def test_what_fails_half_way_is_not_there_and_what_came_before_is(self, blobs: Blobs) -> None:
        def parts() -> Iterator[bytes]:
            yield bytes(3 << 20)
            raise _Stopped

        last = f"{_C}.safetensors"
        for key in (f"{_B}.safetensors", f"{_B}/files/c"):
            with pytest.raises(_Stopped):
                blobs.put([(_STATE, [b"1"]), (key, parts()), (last, [b"1"])])
            assert blobs.exists(_STATE)
            assert not blobs.exists(last)
            assert not blobs.exists(key)
            blobs.delete([_STATE, key])
            blobs.put([(key, [b"1"])])
            blobs.delete([key, _B])

    def test_files_that_were_written_in_the_staging_folder_are_put(self, blobs: Blobs) -> None:
        below = f"{_A}/files"
        assert not blobs.staging(below).exists()
        folder = blobs.stage(below)
        (folder / "old").touch()
        assert list(blobs.stage(below).iterdir()) == []
        assert folder == blobs.staging(below)
        (folder / "x").write_bytes(b"x")
        blobs.put([(f"{below}/", ()), (f"{below}/x", folder / "x"), (f"{_A}/manifest.json", [b"1"])])
        assert blobs.get(f"{below}/x").read_bytes() == b"x"
        blobs.delete([_A])
        assert not folder.exists()

    def test_a_put_may_be_said_again(self, blobs: Blobs, tmp_path: Path) -> None:
        """Check that a put whose answer was lost has one effect, whichever object repeats it."""
        files: list[tuple[str, list[bytes]]] = [(_STATE, [b"one"]), (f"{_B}/files/x", [b"x"])]
        for each in (blobs, blobs, self.make(tmp_path)):
            each.put([*files, (f"{_B}/files/e/", []), (f"{_B}/manifest.json", [b"{}"])])
        assert _ids(blobs) == sorted([_A, _B])
        assert blobs.get(_STATE).read_bytes() == b"one"
        assert _contents(blobs.get(_B)) == {"files": None, "files/e": None, "files/x": b"x", "manifest.json": b"{}"}

    def test_a_process_killed_within_a_put_leaves_nothing_visible(self, blobs: Blobs) -> None:
        try:
            address = blobs.address
        except CheckpointError:
            return  # no other process can reach them
        keys = (f"{_A}.safetensors", f"{_B}/files/x")
        for key in keys:
            ended = subprocess.run([sys.executable, "-c", _KILLED, address, key], capture_output=True, text=True)
            assert ended.returncode == -signal.SIGKILL, ended.stderr
            assert not blobs.exists(key)
        blobs.put([(key, [b"whole"]) for key in keys])
        assert [blobs.get(key).read_bytes() for key in keys] == [b"whole", b"whole"]

    def test_a_process_killed_at_each_step_of_publishing_leaves_all_or_nothing(self, blobs: Blobs) -> None:
        try:
            address = blobs.address
        except CheckpointError:
            return  # no other process can reach them
        checkpoints, state = Checkpoints(blobs), {"content": bytes(self.publish_bytes)}
        for count in range(1, 1000):
            id = f"{count:032x}"
            arguments = [sys.executable, "-c", _KILLED_AT, address, id, str(count), self.steps, str(self.publish_bytes)]
            ended = subprocess.run(arguments, capture_output=True, text=True)
            there = checkpoints.exists(id)
            # another attempt publishes the same, or finds that it is
            checkpoints.verify(checkpoints.publish(id, state))
            checkpoints.delete(id)
            if ended.returncode == 0:
                break
            assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert there
        assert count > 1, "there are steps to be killed at"
        assert checkpoints.ids() == []

    def test_an_address_leads_to_the_same_blobs(self, blobs: Blobs) -> None:
        try:
            address = blobs.address
        except CheckpointError:
            return  # no other process can reach them
        blobs.put([(_STATE, [b"1"])])
        other = blobs_at(address)
        assert other.get(_STATE).read_bytes() == b"1"
        assert (other.address, other.location) == (address, blobs.location)

    def test_a_state_comes_back(self, checkpoints: Checkpoints) -> None:
        state = {"weights": np.arange(6.0).reshape(2, 3), "history": [1, 2.5, math.inf, None, "text", (True, b"\0")]}
        reference = checkpoints.publish(_A, state)
        assert reference.id == _A
        assert reference.digest.startswith("sha256:")
        restored: dict[str, Any] = {"weights": None}
        with checkpoints.open(reference) as checkpoint:
            assert checkpoint.packed
            assert list(checkpoint.entries) == ["weights", "history"]
            checkpoint.restore(restored)
            checkpoint.verify()
        np.testing.assert_array_equal(restored["weights"], state["weights"])
        assert restored["history"] == state["history"]
        restored["weights"][0, 0] = 7.0
        assert checkpoints.exists(_A)
        assert checkpoints.path(_A).stat().st_size == reference.size
        checkpoints.verify(reference)

    def test_the_same_state_may_be_published_again(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        first = checkpoints.publish(_A, {"x": 1})
        assert Checkpoints(self.make(tmp_path)).publish(_A, {"x": 1}) == first
        checkpoints.verify(first)

    def test_other_objects_see_what_is_published(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        reference = checkpoints.publish(_A, {"x": 1})
        with Checkpoints(self.make(tmp_path)).open(reference) as checkpoint:
            assert checkpoint.value("x") == 1

    def test_deleting_is_idempotent(self, checkpoints: Checkpoints) -> None:
        checkpoints.delete(_A)
        checkpoints.sync()
        assert checkpoints.ids() == []
        kept = checkpoints.publish(_B, {"x": 1})
        checkpoints.publish(_A, {"x": 1})
        assert checkpoints.ids() == sorted([_A, _B])
        checkpoints.delete(_A)
        assert not checkpoints.exists(_A)
        checkpoints.delete(_A, "c" * 32)
        checkpoints.sync()
        assert checkpoints.ids() == [_B]
        checkpoints.verify(kept)
        with pytest.raises(NotFound):
            checkpoints.path(_A)

    def test_a_missing_checkpoint_is_damage(self, checkpoints: Checkpoints) -> None:
        reference = checkpoints.publish(_A, {"x": 1})
        checkpoints.delete(_A)
        for use in (checkpoints.verify, checkpoints.open):
            with pytest.raises(CheckpointDamaged, match=_A):
                use(reference)

    @pytest.mark.parametrize("change", ["flip", "truncate", "remove"])
    def test_damage_is_found(self, blobs: Blobs, checkpoints: Checkpoints, change: str) -> None:
        """Check that verifying and restoring find a damaged state.

        Args:
            blobs: Empty blobs.
            checkpoints: A store of checkpoints in these blobs.
            change: As for :meth:`damage`.
        """
        reference = checkpoints.publish(_A, {"x": np.arange(1000)})
        self.damage(blobs, f"{_A}.safetensors", change)
        with pytest.raises(CheckpointDamaged, match=_A):
            checkpoints.verify(reference)
        with pytest.raises(CheckpointDamaged, match=_A):
            _restored(checkpoints, reference)

    def test_files_come_back(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        folder = _files(tmp_path / "mine")
        reference = checkpoints.publish_folder(_A, folder)
        assert _contents(folder) == _contents(checkpoints.path(_A))
        assert checkpoints.exists(_A)
        checkpoints.verify(reference)
        with checkpoints.open(reference) as checkpoint:
            assert not checkpoint.packed
            assert _contents(checkpoint.path) == _contents(folder)
            checkpoint.verify()
        assert checkpoints.publish_folder(_A, folder) == reference
        checkpoints.delete(_A)
        assert not checkpoints.exists(_A)

    def test_staged_files_are_taken_over(self, checkpoints: Checkpoints) -> None:
        (checkpoints.staging(_A) / "earlier").touch()
        staged = checkpoints.staging(_A)
        assert list(staged.iterdir()) == []
        _files(staged)
        expected = _contents(staged)
        assert not checkpoints.exists(_A)
        with pytest.raises(NotFound):
            checkpoints.path(_A)
        reference = checkpoints.publish_folder(_A, staged)
        assert _contents(checkpoints.path(_A)) == expected
        assert checkpoints.ids() == [_A]
        checkpoints.verify(reference)
        assert checkpoints.publish_folder(_A, staged) == reference
        assert checkpoints.publish_folder(_B, staged).digest == reference.digest

    def test_what_was_staged_and_not_published_is_deleted_with_its_id(self, checkpoints: Checkpoints) -> None:
        staged = _files(checkpoints.staging(_A))
        checkpoints.delete(_A)
        assert not staged.exists()
        assert checkpoints.ids() == []

    @pytest.mark.parametrize("change", ["flip", "truncate", "remove", "add"])
    def test_damaged_files_are_found(self, blobs: Blobs, checkpoints: Checkpoints, tmp_path: Path, change: str) -> None:
        """Check that verifying finds damage to a user's own files.

        Args:
            blobs: Empty blobs.
            checkpoints: A store of checkpoints in these blobs.
            tmp_path: An empty folder.
            change: As for :meth:`damage`.
        """
        reference = checkpoints.publish_folder(_A, _files(tmp_path / "mine"))
        self.damage(blobs, f"{_A}/files/deep/weights.bin", change)
        name = "new" if change == "add" else "weights.bin"
        for use in (checkpoints.verify, lambda each: checkpoints.open(each).verify()):
            with pytest.raises(CheckpointDamaged, match=name):
                use(reference)

    def test_half_written_is_never_visible(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        folder = _files(tmp_path / "mine")
        publications: tuple[Callable[[str], CheckpointReference], ...] = (
            lambda id: checkpoints.publish(id, {"x": np.arange(10)}),
            lambda id: checkpoints.publish_folder(id, folder),
        )
        for publish in publications:
            for stop_at in range(1000):
                id = f"{stop_at:032x}"
                try:
                    with armed(_stop_after(stop_at)):
                        publish(id)
                except _Stopped:
                    if checkpoints.exists(id):
                        checkpoints.verify(publish(id))
                    checkpoints.delete(id)
                else:
                    checkpoints.delete(id)
                    break
        assert checkpoints.ids() == []


class RemoteBlobsConformance(BlobsConformance):
    """A suite for blobs that a server keeps: what the network loses, cuts off or spoils changes nothing."""

    @abstractmethod
    def fail(self, fault: str) -> None:
        """Make the server's next answer fail.

        Args:
            fault: ``"lose"``: the request has its effect, and its answer is lost. ``"cut"``: the answer ends half way.
                ``"spoil"``: a byte of the answer changes. ``"hang up"``: the connection ends within the request.
        """

    @pytest.mark.parametrize("fault", ["lose", "hang up", "cut", "spoil"])
    @pytest.mark.parametrize("size", [0, 10, 3 << 20])
    def test_bytes_arrive_through_a_fault(self, blobs: Blobs, tmp_path: Path, fault: str, size: int) -> None:
        """Check both directions.

        Args:
            blobs: Empty blobs.
            tmp_path: An empty folder.
            fault: As for :meth:`fail`.
            size: How many bytes.
        """
        content = random.Random(size).randbytes(size)
        self.fail(fault)
        blobs.put([(_STATE, [content])])
        self.fail(fault)
        assert blobs.exists(_STATE)
        other = self.make(tmp_path / "elsewhere")
        self.fail(fault)
        assert other.get(_STATE).read_bytes() == content

    def test_a_published_state_never_changes(self, blobs: Blobs) -> None:
        blobs.put([(_STATE, [b"first"])])
        with pytest.raises(OSError, match="never used for another"):
            blobs.put([(_STATE, [b"other"])])
        assert blobs.get(_STATE).read_bytes() == b"first"

    def test_published_files_never_change(self, checkpoints: Checkpoints, blobs: Blobs, tmp_path: Path) -> None:
        """Check that nothing is added to a published folder either.

        Args:
            checkpoints: A store of checkpoints.
            blobs: Its blobs.
            tmp_path: An empty folder.
        """
        reference = checkpoints.publish_folder(_A, _files(tmp_path / "mine"))
        for key in (f"{_A}/files/nothing", f"{_A}/files/new", f"{_A}/manifest.json"):
            with pytest.raises(OSError, match="published already"):
                blobs.put([(key, [b"other"])])
        Checkpoints(self.make(tmp_path / "elsewhere")).verify(reference)


class CachedBlobsConformance(BlobsConformance):
    """A suite for a cache in front of blobs that a server keeps."""

    @abstractmethod
    def make(self, tmp_path: Path, limit: int = 10**9) -> Blobs:
        """Return empty blobs, or another object on the same ones.

        Args:
            tmp_path: The cache's folder lies in it.
            limit: Bytes that the cache may have.
        """

    @abstractmethod
    def transferred(self) -> int:
        """Return how many bytes the server has sent so far."""

    @abstractmethod
    def spoil(self, key: str) -> None:
        """Change a byte of what the cache holds under a key."""

    def test_what_was_made_here_is_not_transferred(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        references = [checkpoints.publish(_A, {"x": np.arange(1000)})]
        references.append(checkpoints.publish_folder(_B, _files(tmp_path / "mine")))
        staged = _files(checkpoints.staging(_C))
        references.append(checkpoints.publish_folder(_C, staged))
        before = self.transferred()
        for store in (checkpoints, Checkpoints(self.make(tmp_path))):
            for reference in references:
                store.verify(reference)
        assert self.transferred() == before

    def test_what_was_fetched_is_fetched_once(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        references = [checkpoints.publish(_A, {"x": np.arange(1000)})]
        references.append(checkpoints.publish_folder(_B, _files(tmp_path / "mine")))
        other, again = (Checkpoints(self.make(tmp_path / "elsewhere")) for _ in range(2))
        before = self.transferred()
        for reference in references:
            other.verify(reference)
        after = self.transferred()
        assert after > before
        for reference in references:
            again.verify(reference)
            other.verify(reference)
        assert self.transferred() == after

    def test_what_is_spoilt_here_is_fetched_again(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        state = checkpoints.publish(_A, {"x": np.arange(1000)})
        files = checkpoints.publish_folder(_B, _files(tmp_path / "mine"))
        for key, reference in ((_STATE, state), (f"{_B}/files/deep/weights.bin", files)):
            self.spoil(key)
            before = self.transferred()
            checkpoints.verify(reference)
            assert self.transferred() > before
        (checkpoints.path(_B) / "added by a reader").touch()
        checkpoints.verify(files)

    def test_the_least_recently_used_makes_room(self, tmp_path: Path) -> None:
        size, names = 100_000, [f"{count:032x}" for count in range(30)]
        blobs = self.make(tmp_path, limit=1_000_000)
        before = self.transferred()
        for count, name in enumerate(names):
            blobs.put([(f"{name}.safetensors", [bytes(size)])])
            for used in [names[0], *names[max(count - 3, 1) : count + 1]]:  # the first one again and again
                blobs.get(f"{used}.safetensors")
            kept = sum(path.stat().st_size for path in tmp_path.glob("cache/*.safetensors"))
            assert kept <= 1_000_000
        assert self.transferred() == before
        blobs.get(f"{names[1]}.safetensors")
        assert self.transferred() > before

    def test_what_is_open_is_never_removed(self, tmp_path: Path) -> None:
        here, there = self.make(tmp_path, limit=300_000), self.make(tmp_path, limit=300_000)
        stored = Checkpoints(here)
        reference = stored.publish_folder(_A, _files(tmp_path / "mine"))
        folder, staged = stored.path(_A), _files(stored.staging(_B))
        expected = _contents(folder)
        for count in range(10):
            there.put([(f"{count:032x}.safetensors", [bytes(100_000)])])
        assert _contents(folder) == expected == _contents(staged)
        stored.verify(stored.publish_folder(_B, staged))
        stored.verify(reference)

    def test_what_a_killed_process_left_makes_room(self, tmp_path: Path) -> None:
        blobs = self.make(tmp_path, limit=300_000)
        blobs.put([(_STATE, [b"1"])])
        for left in (f"{_B}.safetensors", "0123.filling/blob", f"{_C}/files/x"):
            path = tmp_path / "cache" / left
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(bytes(1000))
        for count in range(10):
            blobs.put([(f"{count:032x}.safetensors", [bytes(100_000)])])
        assert not {_B + ".safetensors", "0123.filling", _C} & {path.name for path in (tmp_path / "cache").iterdir()}

    def test_a_cache_that_is_deleted_costs_a_transfer(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        reference = checkpoints.publish(_A, {"x": np.arange(1000)})
        shutil.rmtree(tmp_path / "cache")
        checkpoints.verify(reference)


def _stop_after(count: int) -> Any:
    left = count

    def handler(name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise _Stopped(name)

    return handler


def _restored(checkpoints: Checkpoints, reference: CheckpointReference) -> dict[str, object]:
    state: dict[str, object] = {}
    with checkpoints.open(reference) as checkpoint:
        checkpoint.restore(state)
        checkpoint.verify()
    return state


def _files(folder: Path) -> Path:
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "manifest.json").write_text("{}")
    (folder / "nothing").touch()
    return folder


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def _ids(blobs: Blobs) -> list[str]:
    """Return the ids of all first names: a store may leave out the ending of a state's name."""
    return sorted(name.removesuffix(".safetensors") for name in blobs.names())
