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

__all__ = ["BlobsConformance"]

_A, _B = "a" * 32, "0123456789abcdef" * 2


class _Stopped(Exception):
    pass


class BlobsConformance(ABC):
    """A suite for pytest: derive a class from it, and define how it makes blobs."""

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
        blobs.put([("a", [b"one", memoryview(b"two")]), ("b/c/d", [large.view(np.uint8).data]), ("nothing", [])])
        assert blobs.get("a").read_bytes() == b"onetwo"
        assert blobs.get("b/c/d").read_bytes() == large.tobytes()
        assert blobs.get("nothing").read_bytes() == b""
        assert sorted(blobs.names()) == ["a", "b", "nothing"]

    def test_a_key_also_names_all_that_is_below_it(self, blobs: Blobs) -> None:
        blobs.put([("a/empty/", ()), ("a/x", [b"x"]), ("a/deep/y", [b"y"]), ("ab", [b"z"])])
        folder = blobs.get("a")
        assert _contents(folder) == {"deep": None, "deep/y": b"y", "empty": None, "x": b"x"}
        blobs.delete(["a"])
        assert not blobs.exists("a/x")
        assert not blobs.exists("a")
        assert blobs.get("ab").read_bytes() == b"z"

    def test_what_is_missing_is_not_found(self, blobs: Blobs) -> None:
        assert blobs.names() == []
        assert not blobs.exists("a")
        with pytest.raises(FileNotFoundError):
            blobs.get("a")
        blobs.delete(["a", "b/c"])
        blobs.sync()
        blobs.put([("a", [b"1"])])
        assert blobs.exists("")
        assert not blobs.exists("a/b")

    @pytest.mark.parametrize("seed", range(3))
    def test_blobs_are_a_dictionary(self, blobs: Blobs, seed: int) -> None:
        draw, known = random.Random(seed), dict[str, bytes]()
        keys = ("a", "b/x", "b/y/z", "c")
        for _ in range(60):
            some = draw.sample(keys, draw.randint(1, 3))
            if draw.random() < 0.6:
                contents = {key: draw.randbytes(draw.choice((0, 10, 70_000))) for key in some}
                blobs.put([(key, [content[:5], content[5:]]) for key, content in contents.items()])
                known |= contents
            else:
                deleted = draw.choice([some, ["b"], ["b/y", "c"]])
                blobs.delete(deleted)
                known = {key: known[key] for key in known if not any(f"{key}/".startswith(f"{d}/") for d in deleted)}
            for key in keys:
                assert blobs.exists(key) == (key in known)
                assert key not in known or blobs.get(key).read_bytes() == known[key]

    def test_what_fails_half_way_is_not_there_and_what_came_before_is(self, blobs: Blobs) -> None:
        def parts() -> Iterator[bytes]:
            yield bytes(3 << 20)
            raise _Stopped

        for key in ("b", "b/c"):
            with pytest.raises(_Stopped):
                blobs.put([("a", [b"1"]), (key, parts()), ("z", [b"1"])])
            assert blobs.exists("a")
            assert not blobs.exists("z")
            assert not blobs.exists(key)
            blobs.delete(["a", key])
            blobs.put([(key, [b"1"])])
            blobs.delete([key, "b"])

    def test_files_that_were_written_in_the_staging_folder_are_put(self, blobs: Blobs) -> None:
        assert not blobs.staging("a/files").exists()
        folder = blobs.stage("a/files")
        (folder / "old").touch()
        assert list(blobs.stage("a/files").iterdir()) == []
        assert folder == blobs.staging("a/files")
        (folder / "x").write_bytes(b"x")
        blobs.put([("a/files/", ()), ("a/files/x", folder / "x"), ("a/last", [b"1"])])
        assert blobs.get("a/files/x").read_bytes() == b"x"
        blobs.delete(["a"])
        assert not folder.exists()

    def test_an_address_leads_to_the_same_blobs(self, blobs: Blobs) -> None:
        try:
            address = blobs.address
        except CheckpointError:
            return  # no other process can reach them
        blobs.put([("a", [b"1"])])
        other = blobs_at(address)
        assert other.get("a").read_bytes() == b"1"
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
