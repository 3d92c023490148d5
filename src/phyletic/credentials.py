"""What a client shows to a service: its token, and the files of TLS.

A token is never in a URL, an argument or a log. It comes from the file that ``PHYLETIC_TOKEN_FILE`` names, else from
``PHYLETIC_TOKEN``, else, if the server runs on this machine for the same user, from the file that it made at its first
start. A server leaves a note in a folder of its user, from which clients learn where that file is.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from phyletic import disk
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, NotAuthenticated
from phyletic.private_files import read_private, require_private, write_private

_SCHEMES = {"grpc": False, "grpcs": True, "http": False, "https": True}
_ALLOWED = "grpc://HOST:PORT, grpcs://HOST:PORT (with TLS), http://HOST:PORT or https://HOST:PORT"
_TOKEN = re.compile(r"[\x21-\x7e]{8,512}")
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


@dataclass(frozen=True)
class ServerUrl:
    """The address of a server, which holds no secret.

    Attributes:
        scheme: ``"grpc"``, ``"grpcs"``, ``"http"`` or ``"https"``.
        host: A name or an IP address, without brackets.
        port: The port.
        path: What follows, without a ``/`` at its end.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def secure(self) -> bool:
        """Whether TLS protects what is sent."""
        return _SCHEMES[self.scheme]

    @property
    def loopback(self) -> bool:
        """Whether what is sent stays on this machine."""
        return _LOOPBACK.fullmatch(self.host) is not None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Credentials:
    """What a client shows to a server, and what it trusts.

    Attributes:
        token: The token; kept out of the representation, so that no log shows it.
        ca: The root certificates to trust, in PEM; None for the system's.
        certificate: The client's certificate for mTLS, or None.
        key: Its private key, or None.
    """

    token: str = field(repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def server_url(value: object, name: str = "storage") -> ServerUrl:
    """Return the parts of a server's URL.

    Args:
        value: The user's URL.
        name: The argument's name, for messages.

    Raises:
        InvalidArgument: It is not the URL of a server, or holds a user, a password or a query, none of which the
            message repeats.

    Example:
        >>> str(server_url("grpc://[::1]:7077"))
        'grpc://[::1]:7077'
    """
    if not isinstance(value, str):
        raise InvalidArgument(name, value, _ALLOWED)
    scheme, separator, rest = value.partition("://")
    # hidden before anything is parsed, since the messages of parsers repeat what they were given
    shown = f"{scheme[:10]}{separator}{re.sub(r'^.*@', '...@', rest.split('?')[0].split('#')[0], flags=re.DOTALL)}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise InvalidArgument(name, shown, _ALLOWED) from None
    if "@" in rest or parts.query or parts.fragment or "?" in rest or "#" in rest:
        hint = "A token in a URL ends up in logs and lists of processes: set PHYLETIC_TOKEN_FILE instead"
        raise InvalidArgument(name, shown, "a URL without a user, a password or a query", hint)
    if scheme not in _SCHEMES or not parts.hostname or not port or any(not " " < letter <= "~" for letter in rest):
        raise InvalidArgument(name, shown, _ALLOWED)
    return ServerUrl(scheme, parts.hostname, port, parts.path.rstrip("/"))


def credentials_for(
    url: ServerUrl, environment: Mapping[str, str] = os.environ, notes: Path | None = None
) -> Credentials:
    """Return what to show to a server.

    Args:
        url: The server.
        environment: Has ``PHYLETIC_TOKEN_FILE`` or ``PHYLETIC_TOKEN``; for TLS, ``PHYLETIC_TLS_CA``,
            ``PHYLETIC_TLS_CERTIFICATE`` and ``PHYLETIC_TLS_KEY``.
        notes: The folder of the servers' notes; None for the user's.

    Raises:
        InvalidArgument: A file cannot be used, others can read it, or the token would travel without TLS.
        NotAuthenticated: There is no token for this server.
    """
    require_protected(url, "storage")
    token = _token(url, environment, notes)
    ca, certificate, key = (
        _file(name, environment) for name in ("PHYLETIC_TLS_CA", "PHYLETIC_TLS_CERTIFICATE", "PHYLETIC_TLS_KEY")
    )
    if (certificate is None) != (key is None):
        missing = "PHYLETIC_TLS_CERTIFICATE" if certificate is None else "PHYLETIC_TLS_KEY"
        raise InvalidArgument(missing, None, "set too, since a certificate and its key belong together")
    if key is not None:
        require_private("PHYLETIC_TLS_KEY", key)
    if url.secure:
        _require_pem(ca, certificate, key)
    return Credentials(token, ca, certificate, key)


def require_protected(url: ServerUrl, name: str) -> None:
    """Raise InvalidArgument if a token would travel to a server without TLS, unless it stays on this machine.

    Args:
        url: The server.
        name: The argument that names it, for the message.
    """
    if not (url.secure or url.loopback):
        hint = f"Use {'grpcs' if url.scheme == 'grpc' else 'https'}://{url.host}:{url.port}, or reach it through ssh -L"
        allowed = "a URL with TLS unless the host is this machine, since anyone on the way could read the token"
        raise InvalidArgument(name, str(url), allowed, hint)


def _token(url: ServerUrl, environment: Mapping[str, str], notes: Path | None) -> str:
    named, given = environment.get("PHYLETIC_TOKEN_FILE"), environment.get("PHYLETIC_TOKEN")
    if named:
        path = local_path("PHYLETIC_TOKEN_FILE", named, "the path of a file that holds a token")
        return _checked("PHYLETIC_TOKEN_FILE", read_private("PHYLETIC_TOKEN_FILE", path))
    if given:
        return _checked("PHYLETIC_TOKEN", given.strip())
    found = noted_token_file(url, notes or _notes(environment)) if url.loopback else None
    if found is not None:
        return _checked("the server's token file", read_private("the server's token file", found))
    raise NotAuthenticated(
        f"there is no token for {url}: set PHYLETIC_TOKEN_FILE to a file that holds one, readable by its user only; "
        "on the server's machine, phyletic token create STORAGE makes one"
    )


def _checked(name: str, text: str) -> str:
    """Return a token, or raise an error that does not repeat it."""
    if not _TOKEN.fullmatch(text):
        raise InvalidArgument(name, "...", "one token, as phyletic token create prints it")
    return text


def _file(name: str, environment: Mapping[str, str]) -> Path | None:
    if not environment.get(name):
        return None
    path = local_path(name, environment[name], "the path of a file in PEM")
    if not path.is_file() or not os.access(path, os.R_OK):
        raise InvalidArgument(name, str(path), "a file that exists and can be read")
    return path


def _require_pem(ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """Raise InvalidArgument unless TLS can use these files: the libraries that use them later say little of why."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            raise InvalidArgument("PHYLETIC_TLS_CA", str(ca), "a file of certificates in PEM", f"{error}") from None
    if certificate is not None and key is not None:
        try:
            # without the callback, the library would ask on the terminal for the password of an encrypted key
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:
            allowed = "a certificate in PEM whose private key, without a password, is in PHYLETIC_TLS_KEY"
            raise InvalidArgument("PHYLETIC_TLS_CERTIFICATE", str(certificate), allowed, f"{error}") from None


# The note that a server leaves for clients of the same user on this machine


class _Note(msgspec.Struct, frozen=True):
    token_file: str
    pid: int
    began: float


def _notes(environment: Mapping[str, str] = os.environ) -> Path:
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "phyletic" / "servers"


def note_server(ports: Iterable[int], token_file: Path, notes: Path | None = None) -> None:
    """Note, for this user's clients on this machine, where the token of a server is that this process runs.

    Args:
        ports: The ports on which it listens.
        token_file: The file that holds its token.
        notes: The folder of the notes; None for the user's.

    Raises:
        OSError: The note could not be written.
    """
    folder = notes or _notes()
    disk.make_folder(str(folder), mode=0o700)
    note = _Note(str(token_file.absolute()), os.getpid(), _began(os.getpid()) or 0.0)
    for port in ports:
        write_private(folder / f"{port}.json", msgspec.json.encode(note))


def forget_server(ports: Iterable[int], notes: Path | None = None) -> None:
    """Remove this process's notes of its server."""
    for port in ports:
        path = (notes or _notes()) / f"{port}.json"
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            if msgspec.json.decode(path.read_bytes(), type=_Note).pid == os.getpid():
                disk.unlink(path)


def noted_token_file(url: ServerUrl, notes: Path | None = None) -> Path | None:
    """Return the file with the token of a server on this machine; None unless a process of this user notes one.

    A note whose process has ended counts as none: another user's program may listen on the port by now, and would be
    shown the token.
    """
    path = (notes or _notes()) / f"{url.port}.json"
    try:
        note = msgspec.json.decode(read_private("the server's note", path), type=_Note)
    except (InvalidArgument, msgspec.MsgspecError):
        return None
    return Path(note.token_file) if note.began and _began(note.pid) == note.began else None


def _began(pid: int) -> float | None:
    """Return when a running process began; None if it has ended."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError):
        return None
