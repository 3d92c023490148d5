"""The bytes of checkpoints in a service, over HTTP; a transfer that was cut off goes on where it was."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from phyletic import disk
from phyletic.checkpoints.blobs import Content
from phyletic.checkpoints.checkpoint_names import PACKED, path_of
from phyletic.checkpoints.digest import Digest, digest_of_file, hashed
from phyletic.checkpoints.http_requests import HttpRequests, Patience, Tries, text_of
from phyletic.checkpoints.local_copies import LocalCopies
from phyletic.checkpoints.read_errors import elsewhere
from phyletic.credentials import Credentials, server_url
from phyletic.errors import InvalidArgument

if TYPE_CHECKING:
    import urllib3

_WORTH_ASKING = 1 << 20
_PIECE = 1 << 20
_WRONG_DIGESTS = 3
_PATH = re.compile(r"/v1/studies/[^/]+/checkpoints")


class HttpBlobs:
    """Blobs that a service keeps; readers get copies in a temporary folder.

    Every error is an OSError, and none of them but FileNotFoundError says that a blob is missing: a server that is
    away, full or unwilling must not make a checkpoint look damaged.

    Args:
        address: ``http://HOST:PORT/v1/studies/STUDY/checkpoints``, or the same with ``https``.
        credentials: What to show to the server.
        patience: How long to go on trying.
        part: Bytes to send with one request.

    Raises:
        InvalidArgument: The address has another form.
    """

    def __init__(
        self, address: str, credentials: Credentials, patience: Patience | None = None, part: int = 16 << 20
    ) -> None:
        url = server_url(address, "address")
        if not url.scheme.startswith("http") or not _PATH.fullmatch(url.path):
            raise InvalidArgument("address", str(url), "http(s)://HOST:PORT/v1/studies/STUDY/checkpoints")
        self._address, self._part = str(url), part
        self._requests = HttpRequests(self._address, credentials, patience or Patience())
        self._copies = LocalCopies()
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """The address."""
        return self._address

    @property
    def address(self) -> str:
        """The address, which holds no secret: another process finds its credentials itself."""
        return self._address

    # Sending

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Send blobs; each is durable on the server before the next is begun."""
        for key, content in files:
            if isinstance(content, Path):
                self._send(key, content)
                continue
            with self._temporary() as path:
                parts = () if key.endswith("/") else content
                with contextlib.closing(Digest()) as digest:
                    disk.write_parts(disk.create_file(path, 0o600), hashed(parts, digest), durable=False)
                    self._send(key, path, digest.text())

    def _send(self, key: str, path: Path, digest: str | None = None) -> None:
        """Send a file in parts, going on behind what has arrived.

        Args:
            key: Its key.
            path: The file.
            digest: Its digest, if it is known.
        """
        size, digest = path.stat().st_size, digest or digest_of_file(path)
        # asked first, so that a refusal does not cut off the bytes on their way
        received = None if size > _WORTH_ASKING else 0
        tries = self._requests.tries(f"{key} cannot be sent")
        wrong = 0
        with path.open("rb") as file:
            while True:
                body, headers = b"", {"Phyletic-Digest": digest}
                if received is None:
                    headers["Content-Range"] = f"bytes */{size}"
                elif size:
                    file.seek(received)
                    body = file.read(self._part)
                    headers["Content-Range"] = f"bytes {received}-{received + len(body) - 1}/{size}"
                answer = self._requests.once("PUT", path_of(key), tries, headers=headers, body=body)
                if answer is None:
                    received = None
                elif answer.status in (200, 201):
                    return
                elif "Upload-Offset" in answer.headers and answer.status in (202, 409):
                    found = min(int(answer.headers["Upload-Offset"]), size)
                    if found > (received or 0):
                        tries.progress()
                    elif answer.status == 409:
                        tries.pause(f"it has {found} bytes")
                    received = None if found == size else found
                elif answer.status == 422 and wrong < _WRONG_DIGESTS:
                    wrong, received = wrong + 1, 0
                    tries.pause(text_of(answer))
                else:
                    raise self._requests.refused(path_of(key), answer)

    # Receiving

    def get(self, key: str) -> Path:
        """Return copies of the blobs under the key, in a temporary folder."""
        path = self.staging(key)
        with elsewhere(key):
            self.fetch(key, path)
        return path

    @property
    def immutable(self) -> bool:
        """True: the server refuses them."""
        return True

    def fetch(self, key: str, path: Path) -> dict[str, str]:
        """Copy a blob, or all blobs below a key, to a local path, in place of what is there.

        Args:
            key: The key.
            path: The file or folder to make.

        Returns:
            Digests by path below the key: none, since each was compared once its file had come.

        Raises:
            FileNotFoundError: The key has no blobs.
            OSError: The server does not answer or refuses, or the disk failed.
        """
        if "/" in key or key.endswith(PACKED):
            if self._receive(key, path):
                return {}
            key = key.removesuffix("/") + "/"
        names = self._names(key)
        disk.remove_tree(path)
        disk.make_folder(str(path), durable=False)
        for name in names:
            if name.endswith("/"):
                disk.make_folder(f"{path}/{name.removesuffix('/')}", durable=False)
        for name in names:
            below = path / name
            if not name.endswith("/") and not self._receive(f"{key.removesuffix('/')}/{name}", below):
                raise FileNotFoundError(errno.ENOENT, f"{key}/{name} became a folder", str(below))
        return {}

    def _receive(self, key: str, path: Path) -> bool:
        """Copy one blob; return False if the key is that of a folder."""
        tries = self._requests.tries(f"{key} cannot be received")
        unfinished = path.with_name(f"{path.name}.part")
        offset, mark, wrong = 0, "", 0
        try:
            while True:
                headers = {"Range": f"bytes={offset}-", "If-Range": mark} if offset and mark else {}
                answer = self._requests.once("GET", path_of(key), tries, headers=headers, stream=True)
                if answer is None:
                    continue
                if answer.status == 303:
                    return False
                if answer.status not in (200, 206):
                    raise self._requests.refused(path_of(key), answer)
                if answer.status == 200:
                    offset = 0
                    disk.make_folder(str(path.parent), durable=False)
                    disk.append(unfinished, 0, b"")
                mark = answer.headers.get("ETag", "")
                offset, complete = self._write(answer, unfinished, offset, tries)
                if not complete:
                    continue
                if digest_of_file(unfinished) == answer.headers.get("Phyletic-Digest"):
                    disk.remove_tree(path)  # a reader may have mapped an earlier copy
                    disk.rename(unfinished, path)
                    return True
                wrong, offset = wrong + 1, 0
                if wrong == _WRONG_DIGESTS:
                    raise OSError(errno.EAGAIN, f"{key} arrived with another digest {wrong} times", self._address)
        finally:
            disk.unlink(unfinished)

    @staticmethod
    def _write(answer: urllib3.BaseHTTPResponse, path: Path, offset: int, tries: Tries) -> tuple[int, bool]:
        """Write an answer's body behind what has arrived; return how much there is, and whether that is all.

        Args:
            answer: The answer.
            path: The unfinished file.
            offset: How much of it has arrived.
            tries: Notes progress.
        """
        import urllib3

        try:
            for piece in answer.stream(_PIECE):
                disk.append(path, offset, piece)
                offset += len(piece)
                tries.progress()
        except urllib3.exceptions.HTTPError as error:
            tries.pause(str(error))
            return offset, False
        return offset, True

    def exists(self, key: str) -> bool:
        """Whether the server has any blobs under a key; for the empty key, whether it can reach its own store."""
        with elsewhere(self._address):
            return self._asked(key)

    def _asked(self, key: str) -> bool:
        tries = self._requests.tries(f"nothing says whether {key or 'the store'} exists")
        while True:
            answer = self._requests.once("HEAD", path_of(key), tries)
            if answer is None:
                continue
            if answer.status == 200:
                return True
            if "Phyletic-Missing" in answer.headers:
                return False
            raise self._requests.refused(path_of(key), answer)

    def names(self) -> list[str]:
        """Return the first names of all keys of the study."""
        return self._names("")

    def _names(self, key: str) -> list[str]:
        tries = self._requests.tries("the names of blobs cannot be received")
        while True:
            answer = self._requests.once("GET", path_of(key), tries)
            if answer is None:
                continue
            if answer.status == 200:
                return [str(name) for name in json.loads(answer.data)["names"]]
            raise self._requests.refused(path_of(key), answer)

    # Deleting

    def delete(self, keys: Iterable[str]) -> None:
        """Drop what a running attempt has put and not told; the study's owner, on the server, deletes all else."""
        for key in keys:
            tries = self._requests.tries(f"{key} cannot be dropped")
            while (answer := self._requests.once("DELETE", path_of(key), tries)) is None:
                pass
            if answer.status not in (202, 204) and "Phyletic-Missing" not in answer.headers:
                raise self._requests.refused(path_of(key), answer)
            self._copies.remove(key)

    def sync(self) -> None:
        """Nothing to do: the owner, on the server, makes its deletions durable."""

    # Local files

    def staging(self, key: str) -> Path:
        """Return a place in the temporary folder."""
        return self._copies.path(key)

    def stage(self, key: str) -> Path:
        """Make this place an empty folder."""
        return self._copies.stage(key)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self.staging(f".{os.urandom(8).hex()}")
        try:
            yield path
        finally:
            disk.unlink(path)
