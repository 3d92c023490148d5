"""Publishing and reading checkpoints in every store: ids, entries, digests and refusals."""

import os

import numpy as np
import pytest

from phyletic.checkpoints import Checkpoints, FolderBlobs, MemoryBlobs
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument, NotFound, StateUnsupported
from phyletic.records import CheckpointReference

_A, _B = "a" * 32, "0123456789abcdef" * 2
_BAD_IDS = ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "../" + "a" * 29, "a" * 31 + "/", "a" * 32 + "\n", None, 7]


@pytest.fixture(params=["folder", "memory"])
def checkpoints(request, tmp_path):
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints") if request.param == "folder" else MemoryBlobs())


def _files(folder):
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "nothing").touch()
    return folder


def test_entries_can_be_read_one_by_one(checkpoints):
    with checkpoints.open(checkpoints.publish(_A, {"x": [1], "y": {"z": 2}})) as checkpoint:
        assert checkpoint.value("y") == {"z": 2}
        with pytest.raises(NotFound, match="'w'"):
            checkpoint.value("w")


def test_restoring_removes_an_entry_of_another_member(checkpoints):
    held: dict[str, object] = {"x": 0, "leak": 1}
    with checkpoints.open(checkpoints.publish(_A, {"x": 1})) as checkpoint:
        checkpoint.restore(held)
    assert held == {"x": 1}


def test_publishing_many_equals_publishing_each_alone(checkpoints):
    states: dict[str, dict[str, object]] = {_A: {"x": np.zeros(200_000)}, _B: {"y": 1}, "c" * 32: {"x": np.ones(3)}}
    references = checkpoints.publish_many(states)
    assert references == [checkpoints.publish(id, state) for id, state in states.items()]
    for reference in references:
        checkpoints.verify(reference)
    assert checkpoints.publish_many({}) == []


@pytest.mark.parametrize(
    "made",
    [
        lambda: np.arange(6.0),
        lambda: np.arange(1_000_000),
        lambda: np.arange(24).reshape(2, 3, 4)[:, ::2],
        lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
        lambda: np.arange(3) * 1j,
        lambda: np.arange(3, dtype=">i4"),
        lambda: np.zeros((0, 3)),
        lambda: np.array(1.5),
    ],
)
def test_a_snapshot_stays_as_it_was_when_the_state_changes(checkpoints, made):
    state = {"weights": made(), "deep": {"moments": [made()]}, "count": [1], "long": bytes(2000)}
    before = checkpoints.publish(_A, state)
    snapshot = checkpoints.snapshot(state)
    state["weights"][...] = 9
    state["deep"]["moments"][0][...] = 9
    state["count"].append(2)
    after = checkpoints.publish(_B, snapshot)
    assert (after.digest, after.size) == (before.digest, before.size)
    checkpoints.verify(after)
    assert before.size == snapshot.size
    if made().size:
        assert checkpoints.publish("c" * 32, state).digest != before.digest


def test_a_snapshot_of_what_cannot_be_saved_is_refused(checkpoints):
    with pytest.raises(StateUnsupported, match="thread"):
        checkpoints.snapshot({"thread": object()})


def test_another_state_under_the_same_id_is_refused(checkpoints, tmp_path):
    first = checkpoints.publish(_A, {"x": 1})
    second = checkpoints.publish_folder(_B, _files(tmp_path / "mine"))
    (tmp_path / "mine" / "nothing").write_text("something")
    for publish in (
        lambda: checkpoints.publish(_A, {"x": 2}),
        lambda: checkpoints.publish_many({"c" * 32: {"x": 2}, _A: {"x": 2}}),
        lambda: checkpoints.publish_folder(_A, tmp_path / "mine"),
        lambda: checkpoints.publish_folder(_B, tmp_path / "mine"),
        lambda: checkpoints.publish(_B, {"x": 1}),
        lambda: checkpoints.staging(_B),
    ):
        with pytest.raises(CheckpointError, match="already"):
            publish()
    checkpoints.verify(first)
    checkpoints.verify(second)


def test_equal_states_have_equal_digests(checkpoints):
    first, second = (checkpoints.publish(id, {"x": {3, 1, 2}, "y": np.ones(3)}) for id in (_A, _B))
    assert (first.digest, first.size) == (second.digest, second.size)


@pytest.mark.parametrize("id", _BAD_IDS)
def test_bad_ids_are_refused(checkpoints, tmp_path, id):
    (tmp_path / "files").mkdir()
    reference = CheckpointReference(id, "sha256:" + "0" * 64, 1)
    for use in (
        lambda: checkpoints.publish(id, {"x": 1}),
        lambda: checkpoints.publish_many({_A: {"x": 1}, id: {"x": 1}}),
        lambda: checkpoints.publish_folder(id, tmp_path / "files"),
        lambda: checkpoints.staging(id),
        lambda: checkpoints.exists(id),
        lambda: checkpoints.path(id),
        lambda: checkpoints.delete(id),
        lambda: checkpoints.open(reference),
        lambda: checkpoints.verify(reference),
    ):
        with pytest.raises(InvalidArgument, match="id is"):
            use()
    assert checkpoints.ids() == []


def test_an_unsupported_value_is_named(checkpoints):
    with pytest.raises(StateUnsupported, match=r"state\['a'\] at 'b/1'.*object.*state_dict"):
        checkpoints.publish_many({_B: {"a": 1}, _A: {"a": {"b": [0, object()]}}})
    assert checkpoints.ids() == []


def test_a_reference_with_another_digest_is_damage(checkpoints):
    first, second = checkpoints.publish(_A, {"x": 1}), checkpoints.publish(_B, {"x": 2})
    with pytest.raises(CheckpointDamaged, match="expected"):
        checkpoints.verify(CheckpointReference(first.id, second.digest, first.size))


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_only_files_and_folders_are_published(checkpoints, tmp_path, kind):
    for folder in (_files(tmp_path / "mine"), _files(checkpoints.staging(_A))):
        if kind == "pipe":
            os.mkfifo(folder / "odd")
        else:
            (folder / "odd").symlink_to(tmp_path if kind == "folder link" else "/etc/hostname")
        with pytest.raises(InvalidArgument, match="odd"):
            checkpoints.publish_folder(_A, folder)
        assert not checkpoints.exists(_A)
