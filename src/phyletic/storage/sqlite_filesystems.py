"""Which file systems can hold a database that is being written.

In WAL mode SQLite's processes share memory through a file beside the database, and the owner is known by a lock. File
systems that several machines share provide neither reliably.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from phyletic.errors import StorageUnsupported

# A FUSE file system names itself after the dot; these keep their files on another machine.
_NETWORK = re.compile(
    r"afpfs|afs|beegfs|ceph|cifs|coda|davfs|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs[34]?|ocfs2|orangefs|panfs|pvfs2"
    r"|smb[23]?|smbfs|webdav|wekafs"
    r"|fuse\.(alluxio|blobfuse2?|ceph|curlftpfs|davfs|gcsfuse|glusterfs|goofys|juicefs|moosefs|mount-s3|rclone|s3fs"
    r"|seaweedfs|smbnetfs|sshfs)"
)


def refuse_network_file_system(database: Path, mounts: str | None = None) -> None:
    """Raise where a database would lie on a network file system.

    Args:
        database: The database's real path; it need not exist yet.
        mounts: A mounts table in the form of ``/proc/mounts`` or of the ``mount`` command; None for this machine's.

    Raises:
        StorageUnsupported: It would; the message names the file system and its place.
    """
    place, kind = _mount_of(database, mounts_of_this_machine() if mounts is None else mounts)
    if _NETWORK.fullmatch(kind):
        raise StorageUnsupported(
            f"{database} is on {place}, a network file system ({kind}), where SQLite cannot keep a study safe: put the "
            "storage on a disk of the machine that runs the study"
        )


def mounts_of_this_machine() -> str:
    """Return the mounts table, empty where it cannot be known."""
    try:
        if sys.platform == "darwin":
            return subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=True).stdout
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except (OSError, subprocess.SubprocessError):
        return ""


def _mount_of(path: Path, mounts: str) -> tuple[str, str]:
    # The longest mount point above the path; of two at the same place the later one hides the earlier.
    place, kind = "", ""
    for line in mounts.splitlines():
        point, its_kind = _parsed(line)
        if point and len(point) >= len(place) and (path == Path(point) or Path(point) in path.parents):
            place, kind = point, its_kind
    return place, kind


def _parsed(line: str) -> tuple[str, str]:
    bsd = re.fullmatch(r".* on (/.*) \(([^,)]+).*\)", line)
    if bsd:
        return bsd[1], bsd[2]
    fields = line.split(" ")
    if len(fields) < 3:
        return "", ""
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1])
    return point, fields[2]
