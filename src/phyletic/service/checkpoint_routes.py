"""The bytes of checkpoints over HTTP, for workers on other machines and programs in any language.

``/v1/studies/<study>/checkpoints/<path>``, with the paths of :mod:`phyletic.checkpoints.checkpoint_names`:

=======  ============================================================================================================
PUT      Send a blob, whole or in parts. ``Phyletic-Digest: sha256:<hex>`` is the digest of the whole blob;
         ``Content-Range: bytes 0-99/200`` says which part it is, ``bytes */200`` only asks. 201: it is durable and
         visible; 200: it was there already; 202: ``Upload-Offset`` bytes of it are there; 409 with ``Upload-Offset``:
         the part does not begin there; 422: the digest is another one, and all of it was dropped.
GET      Receive a blob; ``Range`` and ``If-Range`` go on with one. ``ETag`` and ``Phyletic-Digest`` have its digest. Of
         a folder, receive the names below it.
HEAD     Ask whether it exists.
POST     To ``<id>``: publish the files that were put below ``<id>/files/``; the answer is the reference to tell.
DELETE   Drop what a running attempt has put and not told: 204. 202: it is the study's owner's to delete, and stays.
=======  ============================================================================================================

The server compares digests and never looks into what the bytes hold.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from phyletic.checkpoints import Blobs, Checkpoints
from phyletic.checkpoints.checkpoint_names import PACKED, id_of, key_of, parts_of
from phyletic.errors import CheckpointError, InvalidArgument, NotAllowed, PhyleticError, StorageBusy
from phyletic.service.checkpoint_limits import CheckpointLimits, StoredBytes
from phyletic.service.file_digests import FileDigests
from phyletic.service.http_errors import error_response
from phyletic.service.logs import REQUEST, begin_request, note_token
from phyletic.service.tokens import Tokens, bearer
from phyletic.service.uploads import Upload, Uploads

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

DIGEST, OFFSET, MISSING = "Phyletic-Digest", "Upload-Offset", "Phyletic-Missing"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_RANGE = re.compile(r"bytes (?:(\d{1,16})-(\d{1,16})|\*)/(\d{1,16})")
_WRITTEN_AT_ONCE = 1 << 20
_CALLS = {
    "GET": "GetCheckpoint",
    "HEAD": "GetCheckpoint",
    "PUT": "PutCheckpoint",
    "POST": "PutCheckpoint",
    "DELETE": "DiscardCheckpoint",
}


class StudyCheckpoints(Protocol):
    """What the routes ask of the server about its studies; called in threads."""

    def blobs(self, study: str) -> Blobs:
        """Return the blobs of a study.

        Raises:
            NotFound: There is no such study.
        """

    def may(self, study: str, id: str, action: Literal["read", "write", "discard"]) -> bool:
        """Whether the study's checkpoint may be read, written or discarded.

        Reading: the id is one of the study's. Writing: it is that of an attempt or of its next save, and was not told.
        Discarding: the same, and the attempt is running.
        """


@dataclass(frozen=True)
class CheckpointRoutes:
    """Serves the checkpoints of a server's studies.

    Attributes:
        studies: Knows the studies.
        tokens: Who may call.
        uploads: The unfinished uploads.
        limits: The limits of bytes.
        clock: Seconds since 1970.
        idle: Seconds without a byte after which the server breaks an upload off, and keeps what has come.
    """

    studies: StudyCheckpoints
    tokens: Tokens
    uploads: Uploads
    limits: CheckpointLimits = field(default_factory=CheckpointLimits)
    clock: Callable[[], float] = time.time
    idle: float = 20.0
    _stored: StoredBytes = field(init=False)
    _digests: FileDigests = field(init=False, default_factory=FileDigests)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stored", StoredBytes(self.limits, self.uploads.bytes_held))

    def routes(self) -> list[Route]:
        """Return the routes for a Starlette application that serves them at its root."""
        from starlette.routing import Route

        path = "/v1/studies/{study:path}/checkpoints/{path:path}"
        return [Route(path, self._answer, methods=["GET", "HEAD", "PUT", "POST", "DELETE"])]

    async def _answer(self, request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        begin_request(request.headers.get(REQUEST))
        try:
            return await self._handle(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except (NotADirectoryError, IsADirectoryError) as error:
            if request.method != "PUT":
                return Response(status_code=404, headers={MISSING: "blob"})
            allowed = "a path of which no part is a file here and a folder there"
            return error_response(InvalidArgument("path", request.url.path[:200], allowed, f"{error.strerror}"))
        except FileNotFoundError:
            return Response(status_code=404, headers={MISSING: "blob"})
        except Exception as error:
            return error_response(error)

    async def _handle(self, request: Request) -> Response:
        """Check who calls and what for, then answer."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        study, path = parts_of(request.scope["raw_path"])
        call = "ListCheckpoints" if not path and request.method == "GET" else _CALLS[request.method]
        given = bearer(request.headers.get("authorization"))
        note_token(self.tokens.authorise(given, call, study, now=self.clock()).id)
        if not path and request.method not in ("GET", "HEAD"):
            raise InvalidArgument("path", path, "the path of a checkpoint")
        key = key_of(path) if path else ""
        blobs = await run_in_threadpool(self.studies.blobs, study)
        action: Literal["read", "write", "discard"] = "read"
        if request.method in ("PUT", "POST", "DELETE"):
            action = "discard" if request.method == "DELETE" else "write"
        if key and not await run_in_threadpool(self.studies.may, study, id_of(key), action):
            if action == "discard":
                return Response(status_code=202)
            raise _refusal(action, study, id_of(key))
        if request.method == "HEAD":
            return await run_in_threadpool(_exists, blobs, key)
        if request.method == "GET":
            return await run_in_threadpool(self._get, blobs, study, key, path)
        place = (study, id_of(key))
        if request.method == "PUT":
            return await self._put(request, blobs, study, key)
        work = self._publish if request.method == "POST" else self._discard
        return await run_in_threadpool(work, blobs, key, place)

    # Reading

    def _get(self, blobs: Blobs, study: str, key: str, path: str) -> Response:
        """Answer with a file's bytes, or with the names in a folder.

        Args:
            blobs: The study's blobs.
            study: The study.
            key: The key that is asked for; the empty one for the names of all checkpoints.
            path: What the client wrote for it.
        """
        from starlette.responses import FileResponse, JSONResponse, Response

        if not key:
            names = [name for name in blobs.names() if self.studies.may(study, id_of(name), "read")]
            return JSONResponse({"names": sorted(names)})
        found = blobs.get(key.removesuffix("/"))
        if found.is_dir():
            if not path.endswith("/"):
                return Response(status_code=303, headers={"Location": f"{path.rpartition('/')[2]}/"})
            return JSONResponse({"names": _names_below(found, unfinished=".part" if key == id_of(key) else None)})
        if key.endswith("/"):
            raise FileNotFoundError(key)
        digest = self._digests.of(found)
        headers = {DIGEST: digest, "ETag": f'"{digest}"', "Cache-Control": "private, no-store"}
        return FileResponse(found, headers=headers, media_type="application/octet-stream")

    # Writing

    async def _put(self, request: Request, blobs: Blobs, study: str, key: str) -> Response:
        """Take a blob or a part of it.

        Args:
            request: The request.
            blobs: The study's blobs.
            study: The study.
            key: The key of the blob.
        """
        from starlette.concurrency import run_in_threadpool

        if key in (id_of(key), f"{id_of(key)}/files"):
            raise InvalidArgument("path", key, "the path of a blob: a folder of files is put file by file")
        part = _part(request, key)
        upload = Upload(study, key, part.size, part.digest)
        there = await run_in_threadpool(self._published, blobs, key, part.digest)
        if there:
            return _progress(200, part.size)
        with self.uploads.claim(upload.place, part.size):
            await run_in_threadpool(self._stored.require_room, blobs, key, part.size)
            received = await run_in_threadpool(self.uploads.received, upload)
            start = received if part.start is None else part.start
            if start and start != received:
                return _progress(409, received)
            if part.start is not None:
                received = await self._receive(request, upload, start, part.end)
            if received < part.size:
                return _progress(202, received)
            await run_in_threadpool(self.uploads.complete, upload, blobs)
            await run_in_threadpool(self._stored.add, blobs, key, part.size)
        return _progress(201, part.size)

    async def _receive(self, request: Request, upload: Upload, start: int, end: int) -> int:
        """Write the request's body behind what has arrived; return how much of the upload there is then.

        Args:
            request: The request.
            upload: What the body belongs to.
            start: Where in the upload the body begins.
            end: Where it ends.
        """
        from starlette.concurrency import run_in_threadpool

        offset, pending = start, bytearray()

        async def write() -> None:
            nonlocal offset, pending
            full, pending = pending, bytearray()
            await run_in_threadpool(self.uploads.append, upload, offset, full)
            offset += len(full)

        stream = aiter(request.stream())
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(anext(stream), self.idle)
                except StopAsyncIteration:
                    break
                if offset + len(pending) + len(piece) > end:
                    raise InvalidArgument("body", f"more than {end - start} bytes", "as long as its headers say")
                pending += piece
                if len(pending) >= _WRITTEN_AT_ONCE:
                    await write()
        except TimeoutError:
            raise StorageBusy(f"no byte came for {self.idle:g} seconds: go on with the upload") from None
        finally:
            # also keeps what came before the client was cut off
            await write()
        return offset

    def _published(self, blobs: Blobs, key: str, digest: str) -> bool:
        """Whether this very blob is there already.

        Args:
            blobs: The study's blobs.
            key: The key of the blob.
            digest: Its digest.

        Raises:
            CheckpointError: The checkpoint is published with other content, which never changes.
        """
        final = key if key.endswith(PACKED) else f"{id_of(key)}/manifest.json"
        try:
            found = blobs.get(key.removesuffix("/"))
            same = found.is_dir() if key.endswith("/") else found.is_file() and self._digests.of(found) == digest
        except (FileNotFoundError, NotADirectoryError):
            same = False
        if not same and blobs.exists(final):
            raise CheckpointError(
                f"checkpoint {id_of(key)} is published already with other content; "
                "an id is never used for another checkpoint"
            )
        return same

    def _publish(self, blobs: Blobs, key: str, place: tuple[str, str]) -> Response:
        """Write the manifest of files that a client has put, and answer with the reference.

        Args:
            blobs: The study's blobs.
            key: The key that the client named.
            place: The study and the checkpoint's id.
        """
        from starlette.responses import Response

        if not key.endswith(PACKED):
            raise InvalidArgument("path", key, "the id of a checkpoint alone")
        with self.uploads.claim(place, 0):
            reference = Checkpoints(blobs).publish_folder(place[1], blobs.get(f"{place[1]}/files"))
        return Response(msgspec.json.encode(reference), 201, media_type="application/json")

    def _discard(self, blobs: Blobs, key: str, place: tuple[str, str]) -> Response:
        """Delete what no result refers to.

        Args:
            blobs: The study's blobs.
            key: The key to delete, with all below it.
            place: The study and the checkpoint's id.
        """
        from starlette.responses import Response

        with self.uploads.claim(place, 0):
            self.uploads.discard(place)
            blobs.delete([key.removesuffix("/")])
        return Response(status_code=204)


@dataclass(frozen=True)
class _Part:
    """A part of a blob: from ``start`` to before ``end``; ``start`` is None if the client only asks."""

    start: int | None
    end: int
    size: int
    digest: str


def _part(request: Request, key: str) -> _Part:
    """Return which part of a blob a request has."""
    digest = request.headers.get(DIGEST, "")
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(DIGEST, digest, "sha256: and the 64 digits of 0-9 and a-f of the whole blob's SHA-256")
    stated = request.headers.get("content-length", "")
    if not re.fullmatch(r"\d{1,16}", stated):
        raise InvalidArgument("Content-Length", stated, "the number of bytes in the body (no chunked transfer)")
    length, ranged = int(stated), request.headers.get("content-range")
    if key.endswith("/") and length:
        raise InvalidArgument("Content-Length", length, "0 for a folder")
    if ranged is None:
        return _Part(0, length, length, digest)
    match = _RANGE.fullmatch(ranged)
    if match is None:
        raise InvalidArgument("Content-Range", ranged, "such as bytes 0-99/200, or bytes */200 to ask what is there")
    size = int(match[3])
    if match[1] is None:
        if length:
            raise InvalidArgument("Content-Length", length, "0 with a Content-Range that only asks")
        return _Part(None, size, size, digest)
    start, end = int(match[1]), int(match[2]) + 1
    if not start < end <= size or end - start != length:
        raise InvalidArgument("Content-Range", ranged, f"a range within the size, of the {length} bytes in the body")
    return _Part(start, end, size, digest)


def _progress(status: int, received: int) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"received": received}, status, {OFFSET: str(received)})


def _exists(blobs: Blobs, key: str) -> Response:
    from starlette.responses import Response

    if blobs.exists(key.removesuffix("/")):
        return Response(status_code=200)
    return Response(status_code=404 if key else 503, headers={MISSING: "blob" if key else "store"})


def _names_below(folder: Path, unfinished: str | None) -> list[str]:
    """Return the paths of all files and folders below a folder, in order; those of folders end in ``/``.

    Args:
        folder: The folder.
        unfinished: The name in it that a file has while it is written, which is left out.
    """
    below = ((path.relative_to(folder).as_posix(), path.is_dir()) for path in folder.rglob("*"))
    return sorted(path + "/" * is_folder for path, is_folder in below if path != unfinished)


def _refusal(action: str, study: str, id: str) -> PhyleticError:
    """Return the error for what the study's coordinator does not allow.

    Args:
        action: What was asked for.
        study: The study.
        id: The checkpoint's id.
    """
    why = {
        "read": "is none of its checkpoints",
        "write": "is not that of an attempt that has yet to tell its result",
    }
    return NotAllowed(f"checkpoint {id} of study {study!r} {why[action]}")
