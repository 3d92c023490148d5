"""A server listens on loopback unless it has TLS, and its files are checked before it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from phyletic.errors import InvalidArgument
from phyletic.service.listening import TlsFiles, check_listening, tls_files


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "server.crt", folder / "server.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    named = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *named], check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert check_listening(host, None).tls is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "8.8.8.8", "::ffff:10.0.0.1", "fe80::1%eth0"])
def test_any_other_address_needs_tls_and_the_error_says_what_to_do(host: str) -> None:
    with pytest.raises(InvalidArgument, match=r"--tls-certificate FILE and --tls-key FILE.*ssh -L"):
        check_listening(host, None)


def test_a_name_is_judged_by_all_its_addresses_and_resolved_once() -> None:
    assert check_listening("here", None, lambda host: ["127.0.1.1"]).address == "127.0.1.1"
    with pytest.raises(InvalidArgument, match="TLS"):
        check_listening("here", None, lambda host: ["127.0.0.1", "10.1.2.3"])


@pytest.mark.parametrize("host", ["", " ", None, 7, "no such host.invalid"])
def test_what_is_no_host_is_refused(host: object) -> None:
    with pytest.raises(InvalidArgument, match="host"):
        check_listening(host, None)


def test_with_tls_any_address_will_do(pem: tuple[Path, Path]) -> None:
    files = tls_files(*map(str, pem), str(pem[0]))
    assert files == TlsFiles(*pem, pem[0])
    assert check_listening("0.0.0.0", files).tls == files
    assert tls_files(None, None) is None


def test_the_files_of_tls_are_checked(pem: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pem
    (tmp_path / "text").write_text("no certificate")
    shared = tmp_path / "shared.key"
    shared.write_bytes(key.read_bytes())
    shared.chmod(0o640)
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    encrypted.chmod(0o600)
    for files, message in (
        ((certificate, None), "tls_key is None"),
        ((None, key), "tls_certificate is None"),
        ((None, None, certificate), "is None"),
        ((certificate, tmp_path / "missing"), "tls_key .* exists"),
        ((tmp_path / "missing", key), "tls_certificate .* exists"),
        ((certificate, shared), r"tls_key .*chmod 600"),
        ((tmp_path / "text", key), "tls_certificate .* PEM"),
        ((certificate, encrypted), "without a password"),
        ((certificate, key, tmp_path / "text"), "client_ca .* PEM"),
        ((certificate, key, tmp_path), "client_ca"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            tls_files(*files)
