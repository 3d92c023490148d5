"""What every store of checkpoints has to pass.

Derive a class in a test file, name it ``Test...``, and say how a store is made::

    class TestLocalCheckpoints(CheckpointStoreConformance):
        def make(self, tmp_path):
            return LocalCheckpoints(tmp_path / "checkpoints")
"""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phyletic.checkpoints import CheckpointStore
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument, NotFound, StateUnsupported
from phyletic.failpoints import armed
from phyletic.records import CheckpointReference

__all__ = ["CheckpointStoreConformance"]

_A, _B = "a" * 32, "0123456789abcdef" * 2
_BAD_IDS = ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "../" + "a" * 29, "a" * 31 + "/", "a" * 32 + "\n", None, 7]


class _Stopped(Exception):
    pass


class CheckpointStoreConformance(ABC):
    """A suite for pytest: derive a class from it, and give it a store."""

    @abstractmethod
    def make(self, tmp_path: Path) -> CheckpointStore:
        """Return an empty store; called again with the same path, another object on the same store."""

    def damage(self, store: CheckpointStore, reference: CheckpointReference, change: str) -> None:
        """Damage a published state: ``change`` is ``"flip"``, ``"truncate"`` or ``"remove"``.

        This works on the file at ``store.path``; a store that has none overrides it.
        """
        path = store.path(reference.id)
        content = bytearray(path.read_bytes())
        path.unlink()
        if change == "flip":
            content[-1] ^= 1
            path.write_bytes(content)
        elif change == "truncate":
            path.write_bytes(content[: len(content) // 2])

    @pytest.fixture
    def store(self, tmp_path: Path) -> CheckpointStore:
        """An empty store."""
        return self.make(tmp_path)

    def test_a_state_comes_back(self, store: CheckpointStore) -> None:
        state = {"weights": np.arange(6.0).reshape(2, 3), "history": [1, 2.5, math.inf, None, "text", (True, b"\0")]}
        reference = store.publish(_A, state)
        assert reference.id == _A
        assert reference.digest.startswith("sha256:")
        restored: dict[str, Any] = {"weights": None}
        with store.open(reference) as checkpoint:
            assert checkpoint.packed
            assert list(checkpoint.entries) == ["weights", "history"]
            checkpoint.restore(restored)
            checkpoint.verify()
        np.testing.assert_array_equal(restored["weights"], state["weights"])
        assert restored["history"] == state["history"]
        restored["weights"][0, 0] = 7.0
        assert store.exists(_A)
        store.verify(reference)

    def test_entries_can_be_read_one_by_one(self, store: CheckpointStore) -> None:
        with store.open(store.publish(_A, {"x": [1], "y": {"z": 2}})) as checkpoint:
            assert checkpoint.value("y") == {"z": 2}
            with pytest.raises(NotFound, match="'w'"):
                checkpoint.value("w")

    def test_an_entry_of_another_member_does_not_stay(self, store: CheckpointStore) -> None:
        held: dict[str, object] = {"x": 0, "leak": 1}
        with store.open(store.publish(_A, {"x": 1})) as checkpoint:
            checkpoint.restore(held)
        assert held == {"x": 1}

    def test_the_same_state_may_be_published_again(self, store: CheckpointStore, tmp_path: Path) -> None:
        first = store.publish(_A, {"x": 1})
        assert self.make(tmp_path).publish(_A, {"x": 1}) == first
        store.verify(first)

    def test_another_state_under_the_same_id_is_refused(self, store: CheckpointStore) -> None:
        first = store.publish(_A, {"x": 1})
        with pytest.raises(CheckpointError, match="already"):
            store.publish(_A, {"x": 2})
        store.verify(first)

    def test_equal_states_have_equal_digests(self, store: CheckpointStore) -> None:
        first, second = (store.publish(id, {"x": {3, 1, 2}, "y": np.ones(3)}) for id in (_A, _B))
        assert (first.digest, first.size) == (second.digest, second.size)

    def test_other_processes_see_what_is_published(self, store: CheckpointStore, tmp_path: Path) -> None:
        reference = store.publish(_A, {"x": 1})
        with self.make(tmp_path).open(reference) as checkpoint:
            assert checkpoint.value("x") == 1

    @pytest.mark.parametrize("id", _BAD_IDS)
    def test_bad_ids_are_refused(self, store: CheckpointStore, tmp_path: Path, id: Any) -> None:
        (tmp_path / "files").mkdir()
        reference = CheckpointReference(id, "sha256:" + "0" * 64, 1)
        for use in (
            lambda: store.publish(id, {"x": 1}),
            lambda: store.publish_folder(id, tmp_path / "files"),
            lambda: store.staging(id),
            lambda: store.exists(id),
            lambda: store.path(id),
            lambda: store.delete(id),
            lambda: store.open(reference),
            lambda: store.verify(reference),
        ):
            with pytest.raises(InvalidArgument, match="id is"):
                use()

    def test_what_cannot_be_saved_is_named(self, store: CheckpointStore) -> None:
        with pytest.raises(StateUnsupported, match=r"state\['a'\] at 'b/1'.*object.*state_dict"):
            store.publish(_A, {"a": {"b": [0, object()]}})
        assert not store.exists(_A)

    def test_deleting_is_idempotent(self, store: CheckpointStore) -> None:
        store.delete(_A)
        assert store.ids() == []
        kept = store.publish(_B, {"x": 1})
        store.publish(_A, {"x": 1})
        assert store.ids() == sorted([_A, _B])
        store.delete(_A)
        assert not store.exists(_A)
        store.delete(_A, "c" * 32)
        assert store.ids() == [_B]
        store.verify(kept)
        with pytest.raises(NotFound):
            store.path(_A)

    def test_a_missing_checkpoint_is_damage(self, store: CheckpointStore) -> None:
        reference = store.publish(_A, {"x": 1})
        store.delete(_A)
        for use in (store.verify, store.open):
            with pytest.raises(CheckpointDamaged, match=_A):
                use(reference)

    @pytest.mark.parametrize("change", ["flip", "truncate", "remove"])
    def test_damage_is_found(self, store: CheckpointStore, change: str) -> None:
        reference = store.publish(_A, {"x": np.arange(1000)})
        self.damage(store, reference, change)
        with pytest.raises(CheckpointDamaged, match=_A):
            store.verify(reference)
        with pytest.raises(CheckpointDamaged, match=_A):
            _restored(store, reference)

    def test_a_reference_to_other_bytes_is_damage(self, store: CheckpointStore) -> None:
        first, second = store.publish(_A, {"x": 1}), store.publish(_B, {"x": 2})
        with pytest.raises(CheckpointDamaged, match="expected"):
            store.verify(CheckpointReference(first.id, second.digest, first.size))

    def test_files_come_back(self, store: CheckpointStore, tmp_path: Path) -> None:
        folder = _files(tmp_path / "mine")
        reference = store.publish_folder(_A, folder)
        assert _contents(folder) == _contents(store.path(_A))
        assert store.exists(_A)
        store.verify(reference)
        with store.open(reference) as checkpoint:
            assert not checkpoint.packed
            assert _contents(checkpoint.path) == _contents(folder)
            checkpoint.verify()
        assert store.publish_folder(_A, folder) == reference
        store.delete(_A)
        assert not store.exists(_A)

    def test_staged_files_are_taken_over(self, store: CheckpointStore, tmp_path: Path) -> None:
        staged = store.staging(_A)
        assert list(staged.iterdir()) == []
        _files(staged)
        expected = _contents(staged)
        assert not store.exists(_A)
        reference = store.publish_folder(_A, staged, move=True)
        assert _contents(store.path(_A)) == expected
        assert not staged.exists()
        assert store.ids() == [_A]
        store.verify(reference)

    @pytest.mark.parametrize("change", ["flip", "truncate", "remove", "add"])
    def test_damaged_files_are_found(self, store: CheckpointStore, tmp_path: Path, change: str) -> None:
        reference = store.publish_folder(_A, _files(tmp_path / "mine"))
        damaged = store.path(_A) / "deep" / "weights.bin"
        content = bytearray(damaged.read_bytes())
        if change == "add":
            damaged = damaged.with_name("new")
        content[0] ^= change == "flip"
        damaged.unlink(missing_ok=True)
        if change != "remove":
            damaged.write_bytes(content[: -1 if change == "truncate" else None])
        for use in (store.verify, lambda each: store.open(each).verify()):
            with pytest.raises(CheckpointDamaged, match=damaged.name):
                use(reference)

    @pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
    def test_only_files_and_folders_are_taken(self, store: CheckpointStore, tmp_path: Path, kind: str) -> None:
        folder = _files(tmp_path / "mine")
        if kind == "pipe":
            os.mkfifo(folder / "odd")
        else:
            (folder / "odd").symlink_to(tmp_path if kind == "folder link" else "/etc/hostname")
        with pytest.raises(InvalidArgument, match="odd"):
            store.publish_folder(_A, folder)
        assert not store.exists(_A)

    def test_half_written_is_never_visible(self, store: CheckpointStore, tmp_path: Path) -> None:
        folder = _files(tmp_path / "mine")
        publications: tuple[Callable[[str], CheckpointReference], ...] = (
            lambda id: store.publish(id, {"x": np.arange(10)}),
            lambda id: store.publish_folder(id, folder),
        )
        for publish in publications:
            for stop_at in range(1000):
                id = f"{stop_at:032x}"
                try:
                    with armed(_stop_after(stop_at)):
                        publish(id)
                except _Stopped:
                    if store.exists(id):
                        store.verify(publish(id))
                    store.delete(id)
                else:
                    assert stop_at > 4, "a publication passes failpoints, or nobody can tell what a crash leaves"
                    store.delete(id)
                    break

    def test_sweeping_leaves_the_living_alone(self, store: CheckpointStore, tmp_path: Path) -> None:
        reference = store.publish(_B, {"x": 1})
        staged = _files(store.staging(_A))
        self.make(tmp_path).sweep()
        store.sweep()
        store.verify(store.publish_folder(_A, staged, move=True))
        store.verify(reference)


def _stop_after(count: int) -> Any:
    left = count

    def handler(name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise _Stopped(name)

    return handler


def _restored(store: CheckpointStore, reference: CheckpointReference) -> dict[str, object]:
    state: dict[str, object] = {}
    with store.open(reference) as checkpoint:
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
