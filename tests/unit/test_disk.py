"""The only module that writes files."""

import itertools
import os
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from phyletic import disk
from phyletic.failpoints import armed


@given(parts=st.lists(st.binary(max_size=30)), size=st.integers(1, 40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_gathering_keeps_the_bytes_and_joins_only_small_parts(parts, size):
    pieces = list(disk.gathered(parts, size))
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) for piece in pieces)
    assert all(len(piece) <= size or piece in parts for piece in pieces)
    assert all(len(a) + len(b) > size for a, b in itertools.pairwise(pieces))


def test_large_parts_are_not_copied():
    large = bytearray(100)
    assert [piece is large for piece in disk.gathered([b"a", large, b"b"], 10)] == [False, True, False]


def test_every_operation_passes_its_failpoints_in_order(tmp_path):
    passed = []
    with armed(passed.append):
        disk.write_file(tmp_path / "a", [b"one", memoryview(b"two"), b"3" * (2 << 20)])
        disk.rename(tmp_path / "a", tmp_path / "b")
        disk.fsync_folder(tmp_path)
        disk.unlink(tmp_path / "b")
        disk.unlink(tmp_path / "b")
    assert passed == [
        f"disk.{name}.{when}"
        for name in ("create", "write", "write", "fsync", "rename", "fsync_folder", "unlink", "unlink")
        for when in ("before", "after")
    ]


def test_a_partial_write_is_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    disk.write_file(tmp_path / "a", [b"0123456789" * 5])
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 5


def test_an_existing_file_is_never_overwritten(tmp_path):
    (tmp_path / "a").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    for name in ("a", "link"):
        with pytest.raises(FileExistsError):
            disk.write_file(tmp_path / name, [b"new"])
    assert (tmp_path / "a").read_text() == "kept"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("durable", [True, False])
def test_folders_are_made_durably(tmp_path, durable):
    passed = []
    with armed(passed.append):
        disk.make_folder(f"{tmp_path}/a/b", durable=durable)
        disk.make_folder(f"{tmp_path}/a/b", durable=durable)
    assert (tmp_path / "a" / "b").is_dir()
    assert passed.count("disk.fsync_folder.after") == 2 * durable


def test_removing_a_tree_follows_no_link(tmp_path):
    (tmp_path / "kept" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").touch()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    disk.remove_tree(tmp_path / "tree")
    disk.remove_tree(tmp_path / "tree")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    disk.remove_tree(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (tmp_path / "kept" / "inner").is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the names of open files")
def test_each_sync_reaches_its_own_file_or_folder(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr(disk, "_FULL_FSYNC", None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: forced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    disk.write_file(tmp_path / "a", [b"1"])
    assert forced.pop() == tmp_path / "a"
    disk.fsync_file(tmp_path / "a")
    assert forced.pop() == tmp_path / "a"
    disk.make_folder(f"{tmp_path}/folder")
    assert forced.pop() == tmp_path
    disk.fsync_folder(tmp_path / "folder")
    assert forced == [tmp_path / "folder"]


def test_each_change_of_the_disk_lies_between_its_two_failpoints(tmp_path, monkeypatch):
    happened = []

    def noted(name):
        change = getattr(os, name)

        def noting(*arguments, **options):
            happened.append(name)
            return change(*arguments, **options)

        return noting

    monkeypatch.setattr(disk, "_FULL_FSYNC", None)
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").touch()
    changes = {
        "open": "create",
        "mkdir": "mkdir",
        "write": "write",
        "fsync": "fsync",
        "replace": "rename",
        "unlink": "unlink",
        "rmdir": "unlink",
    }
    opened = os.open
    for name in changes:
        monkeypatch.setattr(os, name, noted(name))
    with armed(happened.append):
        disk.write_file(tmp_path / "a", [b"1"])
        disk.make_folder(f"{tmp_path}/folder", durable=False)
        monkeypatch.setattr(os, "open", opened)  # the remaining calls open only existing files
        disk.fsync_file(tmp_path / "a")
        disk.rename(tmp_path / "a", tmp_path / "b")
        disk.fsync_folder(tmp_path)
        disk.unlink(tmp_path / "b")
        disk.remove_tree(tmp_path / "tree")
    made = [place for place, name in enumerate(happened) if name in changes]
    assert [happened[place] for place in made] == [
        *("open", "write", "fsync", "mkdir", "fsync", "replace", "fsync", "unlink", "unlink", "rmdir", "rmdir")
    ]
    for place in made:
        point = happened[place - 1].removesuffix(".before")
        assert happened[place - 1 : place + 2] == [f"{point}.before", happened[place], f"{point}.after"]
        assert point.startswith(f"disk.{changes[happened[place]]}")
    assert len(happened) == 3 * len(made)
