"""Decide where a server may listen: on loopback, or elsewhere with TLS."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument
from phyletic.private_files import require_private

Resolve = Callable[[str], Sequence[str]]
"""Returns the addresses of a host's name."""


@dataclass(frozen=True)
class TlsFiles:
    """The files of a server's TLS, as PEM.

    Attributes:
        certificate: The server's certificate, with the chain that leads to the root.
        key: Its private key, which only the server's user can read.
        client_ca: The root of the certificates that clients must show (mTLS); None if they need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class Listening:
    """Where a server may listen.

    Attributes:
        address: An IP address. Listen on this, and do not resolve the host's name again: it might lead elsewhere.
        tls: The files of its TLS; None on loopback without TLS.
    """

    address: str
    tls: TlsFiles | None


def tls_files(certificate: object, key: object, client_ca: object = None) -> TlsFiles | None:
    """Return the files of a server's TLS, checked; None if none is given.

    Args:
        certificate: Path of the certificate, or None.
        key: Path of its private key, or None.
        client_ca: Path of the root of the clients' certificates, or None.

    Raises:
        InvalidArgument: One is missing or cannot be used, others can read the key, or the two do not belong together.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        missing = "tls_certificate" if certificate is None else "tls_key"
        raise InvalidArgument(missing, None, "given too", "TLS needs both a certificate and its private key")
    files = TlsFiles(
        certificate=_readable("tls_certificate", certificate),
        key=_readable("tls_key", key),
        client_ca=None if client_ca is None else _readable("client_ca", client_ca),
    )
    require_private("tls_key", files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # without the callback, the library would ask on the terminal for the password of an encrypted key
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (OSError, ValueError) as error:
        allowed = "a certificate in PEM whose private key, without a password, is tls_key"
        raise InvalidArgument("tls_certificate", str(files.certificate), allowed, f"{error}") from None
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except OSError as error:
            raise InvalidArgument("client_ca", str(files.client_ca), "certificates in PEM", f"{error}") from None
    return files


def check_listening(host: object, tls: TlsFiles | None, resolve: Resolve | None = None) -> Listening:
    """Return where to listen.

    Args:
        host: The name or IP address that the user wants to listen on.
        tls: The files of TLS, from :func:`tls_files`.
        resolve: Finds the addresses of a name; None asks the system.

    Raises:
        InvalidArgument: The host has no address, or it can be reached from other machines and there is no TLS.

    Example:
        >>> check_listening("127.0.0.1", None)
        Listening(address='127.0.0.1', tls=None)
    """
    if not isinstance(host, str) or not host.strip():
        raise InvalidArgument("host", host, "a name or an IP address, such as 127.0.0.1, or 0.0.0.0 for all addresses")
    address = _address(host.strip().removeprefix("[").removesuffix("]"), resolve or _resolved)
    if tls is None and not _is_loopback(address):
        raise InvalidArgument(
            "host",
            host,
            "127.0.0.1, ::1 or localhost unless there is TLS",
            "Other machines can reach this address, and without TLS anyone on the way can read tokens. Give "
            "--tls-certificate FILE and --tls-key FILE, or listen on 127.0.0.1 and let workers connect through "
            "ssh -L",
        )
    return Listening(address, tls)


def _readable(name: str, value: object) -> Path:
    path = local_path(name, value, "the path of a file in PEM")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InvalidArgument(name, str(path), "a file that exists and can be read", f"{error.strerror}") from None
    return path


def _address(host: str, resolve: Resolve) -> str:
    """Return an IP address of a host; if it has several, one that is not loopback, so that TLS is asked for."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = list(resolve(host))
    except (OSError, UnicodeError) as error:
        raise InvalidArgument("host", host, "a name that has an address", f"{error}") from None
    return min(found, key=_is_loopback)


def _resolved(host: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
