"""What may be wrong with TLS where a server does not answer: libraries only say that a connection was closed."""

from __future__ import annotations

from phyletic.credentials import Credentials, server_url

_CLOSED = ("Socket closed", "Connection aborted", "Connection reset", "EOF occurred", "ALERT", "alert")


def tls_hint(url: str, credentials: Credentials, text: str) -> str:
    """Return what to do, to stand behind the error's text; "" if the failure has nothing to do with TLS.

    Args:
        url: A server that has never answered.
        credentials: What was shown to it.
        text: How the connection failed.

    Example:
        >>> tls_hint("grpc://localhost:7070", Credentials("token"), "Socket closed")
        '. If the server has TLS, use grpcs://localhost:7070'
    """
    server = server_url(url)
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return f". The server may have no TLS: then use {url.replace('s://', '://', 1)}"
    if "CERTIFICATE_VERIFY_FAILED" in text and "mismatch" not in text:
        return ". TLS: this machine does not trust the server's certificate; set PHYLETIC_TLS_CA to its root's file"
    if not any(closed in text for closed in _CLOSED):
        return ""
    if not server.secure:
        return f". If the server has TLS, use {url.replace('://', 's://', 1)}"
    if credentials.certificate is None:
        hint = "if the server asks for a client's certificate, set PHYLETIC_TLS_CERTIFICATE and PHYLETIC_TLS_KEY"
    else:
        hint = "the server may not trust the certificate in PHYLETIC_TLS_CERTIFICATE"
    return f". TLS: {hint}"
