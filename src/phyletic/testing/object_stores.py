"""The suite that blobs in an object store must pass, beside those of :mod:`phyletic.testing.blobs`."""
# ruff: noqa: D102 - the names of the tests say what they check

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import pytest

from phyletic.checkpoints import Blobs, Checkpoints
from phyletic.checkpoints.object_store import ObjectStore
from phyletic.errors import CheckpointDamaged, CheckpointError, StoreUnreachable
from phyletic.testing.blobs import RemoteBlobsConformance

__all__ = ["ObjectBlobsConformance"]

_A, _B = "a" * 32, "0123456789abcdef" * 2


class ObjectBlobsConformance(RemoteBlobsConformance):
    """A suite for blobs in an object store: faults at each request, clocks that are off, stores that stay away."""

    one_kind = True
    steps = "objects."
    publish_bytes = 40 << 20

    @abstractmethod
    def fail_at(self, count: int, fault: str) -> None:
        """Make an answer fail.

        Args:
            count: Which of the next requests, from 0.
            fault: As for :meth:`fail`; or ``"503"``, ``"expired"`` or ``"denied"``, for an answer of that kind.
        """

    @abstractmethod
    def failed(self) -> bool:
        """Return whether the answer that :meth:`fail_at` named was asked for, and has failed."""

    @abstractmethod
    def fail_always(self, fault: str) -> None:
        """Make every answer fail from now on; ``""`` ends it."""

    @abstractmethod
    def skew(self, seconds: float) -> None:
        """Let the store's clock be off by some seconds."""

    @abstractmethod
    def ignore_conditions(self) -> None:
        """Let the store write an object although one is there and the request forbids it."""

    @abstractmethod
    def store(self) -> ObjectStore:
        """Return the objects themselves."""

    @abstractmethod
    def impatient(self, tmp_path: Path) -> Blobs:
        """Return blobs as ``make`` does that give up after less than a second."""

    @pytest.mark.parametrize("fault", ["503", "lose", "cut"])
    def test_a_fault_at_any_request_changes_nothing(self, tmp_path: Path, fault: str) -> None:
        """Check publishing, opening and deleting.

        Args:
            tmp_path: An empty folder.
            fault: As for :meth:`fail_at`.
        """
        here = Checkpoints(self.make(tmp_path / "here"))
        state, folder = {"x": np.arange(300_000)}, tmp_path / "files"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "weights").write_bytes(bytes(range(256)))
        for count in range(1000):
            there = Checkpoints(self.make(tmp_path / f"there {count}"))
            self.fail_at(count, fault)
            references = [here.publish(_A, state), here.publish_folder(_B, folder)]
            for reference in references:
                there.verify(reference)
            here.delete(_A, _B)
            assert here.ids() == []
            if not self.failed():
                break
        assert count > 5

    def test_a_clock_that_is_off_changes_nothing(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        for seconds in (-1e8, 1e8):
            self.skew(seconds)
            reference = checkpoints.publish(_A, {"x": 1})
            assert Checkpoints(self.make(tmp_path / "elsewhere")).publish(_A, {"x": 1}) == reference
            checkpoints.verify(reference)
            checkpoints.delete(_A)
            assert checkpoints.ids() == []

    def test_a_store_that_ignores_conditions_is_usable(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        self.ignore_conditions()
        reference = checkpoints.publish(_A, {"x": 1})
        assert Checkpoints(self.make(tmp_path / "elsewhere")).publish(_A, {"x": 1}) == reference
        checkpoints.verify(reference)

    @pytest.mark.parametrize("fault", ["503", "hang up", "expired", "denied"])
    def test_a_store_that_stays_away_is_named_and_makes_nothing_look_damaged(self, tmp_path: Path, fault: str) -> None:
        """Check every call.

        Args:
            tmp_path: An empty folder.
            fault: As for :meth:`fail_at`.
        """
        reference = Checkpoints(self.make(tmp_path / "here")).publish(_A, {"x": 1})
        away = Checkpoints(self.impatient(tmp_path / "there"))
        self.fail_always(fault)
        calls = (
            lambda: away.publish(_B, {"x": 1}),
            lambda: away.open(reference),
            lambda: away.verify(reference),
            lambda: away.exists(_A),
            lambda: away.path(_A),
            lambda: away.delete(_A),
            away.ids,
        )
        for call in calls:
            with pytest.raises(StoreUnreachable, match=away.location) as caught:
                call()
            assert not isinstance(caught.value, CheckpointDamaged)
        self.fail_always("")
        away.verify(reference)
        assert not away.exists(_B)

    def test_a_part_that_is_lost_or_changed_is_damage(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        objects = self.store()
        for change in ("lost", "changed"):
            reference = checkpoints.publish(_A, {"x": np.arange(1000)})
            elsewhere = Checkpoints(self.make(tmp_path / change))
            if change == "lost":
                objects.delete([f"{_A}/0"])
            else:
                objects.put(f"{_A}/0", bytes(reference.size))
            with pytest.raises(CheckpointDamaged, match=f"{_A}/0"):
                elsewhere.verify(reference)
            checkpoints.delete(_A)

    def test_without_a_manifest_nothing_is_published(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        reference = checkpoints.publish(_A, {"x": 1})
        self.store().delete([f"{_A}/manifest.json"])
        elsewhere = Checkpoints(self.make(tmp_path / "elsewhere"))
        assert not elsewhere.exists(_A)
        assert elsewhere.ids() == [_A]
        with pytest.raises(CheckpointDamaged, match="missing"):
            elsewhere.open(reference)
        elsewhere.delete(_A)
        assert elsewhere.ids() == []
        assert self.store().keys(_A) == []

    def test_no_part_is_shared(self, checkpoints: Checkpoints) -> None:
        references = [checkpoints.publish(id, {"x": 1}) for id in (_A, _B)]
        assert sorted(self.store().keys(_A)) == [f"{_A}/0", f"{_A}/manifest.json"]
        checkpoints.delete(_A)
        checkpoints.verify(references[1])

    def test_another_manifest_under_an_id_is_refused(self, checkpoints: Checkpoints, blobs: Blobs) -> None:
        checkpoints.publish(_A, {"x": 1})
        with pytest.raises(CheckpointError, match="never used for another"):
            checkpoints.publish(_A, {"x": 2})
        assert not self.store().create(f"{_A}/manifest.json", b"{}")
        assert self.store().create(f"{_B}/manifest.json", b"{}")
        assert self.store().create(f"{_B}/manifest.json", b"{}"), "a lost answer makes a client meet its own object"
