"""Databases on network file systems are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import phyletic as ph
from phyletic.errors import StorageUnsupported
from phyletic.storage.sqlite_filesystems import mounts_of_this_machine, refuse_network_file_system

LINUX = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/local xfs rw 0 0
server:/data /with\040space lustre rw 0 0
me@server: /mnt/ssh fuse.sshfs rw 0 0
rootless /mnt/overlay fuse.fuse-overlayfs rw 0 0
server:/old /mnt/hidden nfs rw 0 0
/dev/vdc /mnt/hidden ext4 rw 0 0
"""
MACOS = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
//me@server/share on /Volumes/My Share (smbfs, nodev, nosuid, mounted by me)
"""


@pytest.mark.parametrize(
    ("table", "path", "kind"),
    [
        (LINUX, "/home/me/a.db", "nfs4"),
        (LINUX, "/home/me/deeper/than/exists/a.db", "nfs4"),
        (LINUX, "/with space/a.db", "lustre"),
        (LINUX, "/mnt/ssh/a.db", "fuse.sshfs"),
        (MACOS, "/Volumes/My Share/a.db", "smbfs"),
    ],
)
def test_a_network_file_system_is_refused_by_name(table: str, path: str, kind: str) -> None:
    with pytest.raises(StorageUnsupported, match=kind.replace(".", r"\.")) as caught:
        refuse_network_file_system(Path(path), table)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("table", "path"),
    [
        (LINUX, "/a.db"),
        (LINUX, "/homework/a.db"),
        (LINUX, "/home/local/a.db"),
        (LINUX, "/mnt/overlay/a.db"),
        (LINUX, "/mnt/hidden/a.db"),
        (MACOS, "/System/Volumes/Data/Users/me/a.db"),
        ("", "/a.db"),
    ],
)
def test_a_local_file_system_is_accepted(table: str, path: str) -> None:
    refuse_network_file_system(Path(path), table)


def test_the_mounts_of_this_machine_include_the_root() -> None:
    assert " / " in mounts_of_this_machine()


def test_a_study_on_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"server:/export {tmp_path} nfs4 rw 0 0\n"
    monkeypatch.setattr("phyletic.storage.sqlite_filesystems.mounts_of_this_machine", lambda: table)
    with pytest.raises(StorageUnsupported, match="nfs4"):
        ph.Study("study", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", storage=tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []
