"""Tokens: make, list and revoke them, and decide whether one allows a call.

A token is a text, ``phyletic_<id>_<secret>``. Its secret has 256 random bits, and only its SHA-256 hash is stored. A
slow hash (scrypt, argon2) protects passwords, which people choose and attackers can guess; nothing guesses 256 random
bits, so a fast hash is as safe, and a request costs microseconds.

Each token is a file of its own in a folder beside the database, ``digits.tokens/<id>.json``. So creating and revoking
one needs no lock between the command line and a running server, and has its effect with the next request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec

from phyletic import disk
from phyletic.errors import InvalidArgument, NotAllowed, NotAuthenticated, NotFound, StorageError
from phyletic.private_files import read_private, write_private
from phyletic.service.roles import CALLS, Role

_TEXT = re.compile(r"phyletic_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_ID = re.compile(r"[0-9a-f]{16}")
_NOBODY = "0" * 64
_LONGEST_LIFE = 10 * 366 * 86400.0

Draw = Callable[[int], bytes]
"""Returns so many random bytes, unpredictable ones."""


class Token(msgspec.Struct, frozen=True):
    """What is stored of a token.

    Attributes:
        id: Names it in lists, logs and for revoking it; it is no secret.
        role: What it may do.
        study: The only study it may be used for; None for all.
        created: When, in seconds since 1970.
        expires: When it ends, in seconds since 1970; None for never.
        digest: The SHA-256 hash of its text.
    """

    id: str
    role: Role
    study: str | None
    created: float
    expires: float | None
    digest: str


class Tokens:
    """The tokens of one database.

    Args:
        folder: Where they are stored; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], Token]] = {}

    def create(
        self,
        role: str,
        *,
        now: float,
        study: str | None = None,
        lasting: float | None = None,
        draw: Draw = secrets.token_bytes,
    ) -> tuple[Token, str]:
        """Make a token, and return it with its text, which is stored nowhere.

        Args:
            role: ``"read"``, ``"worker"`` or ``"admin"``.
            now: The time in seconds since 1970.
            study: The only study it may be used for; None for all.
            lasting: Seconds after which it expires; None for never.
            draw: The source of its secret.

        Raises:
            InvalidArgument: An argument cannot be used.
            StorageError: It could not be stored.
        """
        if role not in list(Role):
            raise InvalidArgument("role", role, "one of " + ", ".join(Role))
        if lasting is not None and not 0 < lasting <= _LONGEST_LIFE:
            raise InvalidArgument("lasting", lasting, "a number of seconds above 0 and of at most ten years, or None")
        if study is not None and not (isinstance(study, str) and study.strip()):
            raise InvalidArgument("study", study, "the name of a study, or None for all")
        id = draw(8).hex()
        text = f"phyletic_{id}_{urlsafe_b64encode(draw(32)).decode().rstrip('=')}"
        expires = None if lasting is None else now + lasting
        token = Token(id=id, role=Role(role), study=study, created=now, expires=expires, digest=_digest(text))
        try:
            disk.make_folder(str(self._folder.absolute()), mode=0o700)
            self._require_own()
            write_private(self._path(id), msgspec.json.format(msgspec.json.encode(token), indent=1))
        except OSError as error:
            raise StorageError(f"a token could not be stored in {self._folder}: {error}") from error
        return token, text

    def list_tokens(self) -> list[Token]:
        """Return all tokens that were not revoked, also expired ones, oldest first.

        Raises:
            StorageError: They cannot be read.
        """
        try:
            ids = [path.stem for path in self._folder.iterdir() if path.suffix == ".json" and _ID.fullmatch(path.stem)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"the tokens in {self._folder} cannot be listed: {error}") from error
        found = [token for id in ids if (token := self._read(id)) is not None]
        return sorted(found, key=lambda token: (token.created, token.id))

    def revoke(self, id: str) -> Token:
        """Revoke a token: a running server refuses it from the next request on.

        Raises:
            NotFound: No token has this id.
            StorageError: It could not be removed.
        """
        token = self._read(id) if _ID.fullmatch(id) else None
        if token is None:
            held = ", ".join(each.id for each in self.list_tokens()) or "none"
            raise NotFound(f"there is no token {id[:64]!r} in {self._folder}; it holds: {held}")
        try:
            disk.unlink(self._path(id))
            disk.fsync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"token {id} could not be revoked: {error}") from error
        return token

    def authorise(self, text: str | None, call: str, study: str | None, *, now: float) -> Token:
        """Return the token of a request, if it allows the call.

        Args:
            text: The token's text; None if the request had none.
            call: The name of the call, as in :data:`phyletic.service.roles.CALLS`.
            study: The study that the call is about; None if it is about none.
            now: The time in seconds since 1970.

        Raises:
            NotAuthenticated: There is no token, or it is unknown, revoked or expired.
            NotAllowed: It does not allow this call, or not for this study.
            StorageError: The tokens cannot be read.
        """
        token = self._authenticated(text, now)
        rule = CALLS.get(call)
        if rule is None:
            raise NotAllowed(f"no token allows {call}: the service has no such call")
        if not token.role.covers(rule.role):
            raise NotAllowed(
                f"{call} needs a token with role {rule.role}, but token {token.id} has role {token.role}; "
                f"make one on the server's machine: phyletic token create STORAGE --role {rule.role}"
            )
        if rule.names_a_study and token.study not in (None, study):
            raise NotAllowed(f"token {token.id} is for study {token.study!r} only")
        return token

    def _authenticated(self, text: str | None, now: float) -> Token:
        if not text:
            raise NotAuthenticated(
                "the request has no token; set PHYLETIC_TOKEN_FILE to a file that holds one "
                "(phyletic token create makes tokens on the server's machine)"
            )
        match = _TEXT.fullmatch(text)
        token = self._read(match[1]) if match else None
        # always one comparison, whose time does not depend on where the texts differ
        same = hmac.compare_digest(_digest(text), token.digest if token else _NOBODY)
        if token is None or not same:
            raise NotAuthenticated("the token of the request is unknown or was revoked")
        if token.expires is not None and now >= token.expires:
            raise NotAuthenticated(f"token {token.id} has expired")
        return token

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _read(self, id: str) -> Token | None:
        """Return a stored token, read again only if its file has changed."""
        path = self._path(id)
        try:
            status = path.stat(follow_symlinks=False)
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            if id in self._known and self._known[id][0] == mark:
                return self._known[id][1]
            self._require_own()
            token = msgspec.json.decode(read_private("token", path), type=Token)
        except FileNotFoundError:
            self._known.pop(id, None)
            return None
        except (InvalidArgument, msgspec.MsgspecError, OSError) as error:
            raise StorageError(f"{path} cannot be used: {error}") from error
        if token.id != id:
            raise StorageError(f"{path} cannot be used: it holds token {token.id}")
        self._known[id] = mark, token
        return token

    def _require_own(self) -> None:
        """Raise StorageError if others could put tokens into the folder."""
        status = self._folder.stat()
        if stat.S_IMODE(status.st_mode) & 0o022 or status.st_uid not in (os.geteuid(), 0):
            raise StorageError(f"others can write to {self._folder}, and so make tokens: chmod 700 {self._folder}")


def first_token(tokens: Tokens, path: Path, *, now: float, draw: Draw = secrets.token_bytes) -> bool:
    """Make an admin token at the first start of a server, in a file that only its user may read.

    Args:
        tokens: The tokens of the database.
        path: The file to write its text to.
        now: The time in seconds since 1970.
        draw: The source of its secret.

    Returns:
        Whether one was made: not if the file exists, nor if a person removed it and the database has tokens.

    Raises:
        InvalidArgument: The file exists, and others can read it.
        StorageError: The token could not be stored.
    """
    if path.exists():
        read_private("token", path)
        return False
    if tokens.list_tokens():
        return False
    token, text = tokens.create("admin", now=now, draw=draw)
    try:
        write_private(path, f"{text}\n".encode())
    except OSError as error:
        tokens.revoke(token.id)
        raise StorageError(f"the first token could not be written to {path}: {error}") from error
    return True


def bearer(header: str | None) -> str | None:
    """Return the token in an Authorization header; None if the request has no such header.

    Raises:
        NotAuthenticated: The header is of another form; the message does not repeat it.

    Example:
        >>> bearer("Bearer secret")
        'secret'
    """
    if header is None:
        return None
    kind, _, text = header.strip().partition(" ")
    if kind.lower() != "bearer" or not text.strip():
        raise NotAuthenticated("the Authorization header must be: Bearer TOKEN")
    return text.strip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
