"""A server with TLS that knows its clients by certificates: who gets in, and what the others are told."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import phyletic as ph
from phyletic.errors import InvalidArgument, Unreachable
from phyletic.remote.connections import is_here
from phyletic.service.listening import tls_files
from phyletic.service.server import GRACE_SECONDS, Server, serving
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import drawing

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
VARIABLES = ("PHYLETIC_TLS_CA", "PHYLETIC_TLS_CERTIFICATE", "PHYLETIC_TLS_KEY")


@dataclasses.dataclass(frozen=True)
class Pem:
    """Two authorities, ``ours`` and ``other``, and certificates that each of them signed."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def authority(self, name: str) -> None:
        self._openssl("req", "-x509", *CURVE, "-days", "2", "-subj", f"/CN={name}",
                      "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.crt"))  # fmt: skip

    def certificate(self, name: str, authority: str, extension: str) -> None:
        request, extensions = self.path(f"{name}.csr"), self.folder / f"{name}.extensions"
        extensions.write_text(extension)
        self._openssl("req", *CURVE, "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"), "-out", request)
        self._openssl("x509", "-req", "-days", "2", "-in", request, "-extfile", str(extensions), "-CAcreateserial",
                      "-CA", self.path(f"{authority}.crt"), "-CAkey", self.path(f"{authority}.key"),
                      "-out", self.path(f"{name}.crt"))  # fmt: skip
        (self.folder / f"{name}.key").chmod(0o600)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    made = Pem(tmp_path_factory.mktemp("pem"))
    for authority in ("ours", "other"):
        made.authority(authority)
    made.certificate("server", "ours", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made.certificate("client", "ours", "extendedKeyUsage=clientAuth")
    made.certificate("stranger", "other", "extendedKeyUsage=clientAuth")
    return made


@pytest.fixture(scope="module")
def server(pem: Pem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tls = tls_files(pem.path("server.crt"), pem.path("server.key"), pem.path("ours.crt"))
    storage = f"sqlite:///{tmp_path_factory.mktemp('served')}/study.db"
    with serving(storage, host="localhost", http_port=0, tls=tls) as server:
        yield server


@pytest.fixture
def shown(pem: Pem, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the variables of a client on another machine: it has the token, and sees no note or file."""

    def show(certificate: str | None = "client", ca: str | None = "ours") -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("PHYLETIC_TOKEN_FILE", str(server.token_file))
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        if ca is not None:
            monkeypatch.setenv("PHYLETIC_TLS_CA", pem.path(f"{ca}.crt"))
        if certificate is not None:
            monkeypatch.setenv("PHYLETIC_TLS_CERTIFICATE", pem.path(f"{certificate}.crt"))
            monkeypatch.setenv("PHYLETIC_TLS_KEY", pem.path(f"{certificate}.key"))

    show()
    return show


def url_of(server: Server, scheme: str) -> str:
    return server.url if scheme == "grpcs" else server.http_url


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_a_study_is_run_and_its_checkpoints_go_through_the_service(
    server: Server, shown: Callable[..., None], scheme: str
) -> None:
    url = url_of(server, scheme)
    assert url.startswith(f"{scheme}://localhost:")
    assert not is_here(url)
    study = example_study(url, name=scheme)
    assert study.checkpoints.location == f"{server.http_url}/v1/studies/{scheme}/checkpoints"
    drawing()(study)
    assert facts(study) == reference()
    assert study.restore().keys() == {"weights"}
    # they are files of the server, which it has received
    stored = server.token_file.with_name("study.checkpoints")
    assert {trial.checkpoint.id for trial in study.trials() if trial.number >= 15} <= {
        path.name.partition(".")[0] for path in stored.iterdir()
    }
    assert ph.connect(url).version == ph.__version__


def test_the_address_stands_for_the_host_where_the_certificate_has_it(
    server: Server, shown: Callable[..., None]
) -> None:
    for url in (server.url, server.http_url):
        assert ph.connect(url.replace("localhost", "127.0.0.1")).version == ph.__version__


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
@pytest.mark.parametrize(
    ("certificate", "ca", "named"),
    [
        (None, "ours", "TLS: .*set PHYLETIC_TLS_CERTIFICATE and PHYLETIC_TLS_KEY"),
        ("stranger", "ours", "TLS: the server may not trust the certificate in PHYLETIC_TLS_CERTIFICATE"),
        ("client", "other", "CERTIFICATE_VERIFY_FAILED.*TLS: this machine does not trust.*PHYLETIC_TLS_CA"),
        ("client", None, "CERTIFICATE_VERIFY_FAILED.*TLS: this machine does not trust.*PHYLETIC_TLS_CA"),
    ],
    ids=["no certificate", "a certificate of another authority", "another authority", "no authority"],
)
def test_who_has_the_wrong_files_is_refused_and_told_which(
    server: Server, shown: Callable[..., None], scheme: str, certificate: str | None, ca: str | None, named: str
) -> None:
    shown(certificate, ca)
    before = server.token_file.with_name("study.db").read_bytes()
    for use in (ph.connect, example_study):
        with pytest.raises(Unreachable, match=f"(?s){named}") as refused:
            use(url_of(server, scheme))
        assert server.token_file.read_text().strip() not in str(refused.value)
    assert server.token_file.with_name("study.db").read_bytes() == before


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_who_speaks_without_tls_is_told_to_use_it(server: Server, shown: Callable[..., None], scheme: str) -> None:
    url = url_of(server, scheme)
    with pytest.raises(Unreachable, match=f"If the server has TLS, use {url}"):
        ph.connect(url.replace("s://", "://"))


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_who_speaks_tls_to_a_server_without_it_is_told_so(
    shown: Callable[..., None], tmp_path: Path, scheme: str
) -> None:
    with serving(f"sqlite:///{tmp_path}/study.db", http_port=0) as plain:
        url = plain.url if scheme == "grpcs" else plain.http_url
        with pytest.raises(Unreachable, match=f"The server may have no TLS: then use {url}"):
            ph.connect(url.replace("://", "s://"))


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_files_that_tls_cannot_use_are_named_at_once(
    server: Server, pem: Pem, shown: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", pem.path("client.key"), "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    locked.chmod(0o600)
    for variable, value, named in (
        ("PHYLETIC_TLS_CA", pem.path("client.key"), "PHYLETIC_TLS_CA .*certificates in PEM"),
        ("PHYLETIC_TLS_KEY", pem.path("server.key"), "PHYLETIC_TLS_CERTIFICATE .*whose private key"),
        ("PHYLETIC_TLS_KEY", str(locked), "without a password"),
    ):
        shown()
        monkeypatch.setenv(variable, value)
        with pytest.raises(InvalidArgument, match=named):
            ph.connect(url_of(server, scheme))


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_no_token_goes_to_another_host_without_tls(shown: Callable[..., None], scheme: str) -> None:
    """Check it with a host that listens: it hears nothing."""
    with socket.create_server(("0.0.0.0", 0)) as listening:
        listening.settimeout(0.3)
        port = listening.getsockname()[1]
        for host in (_address(), "10.1.2.3", "server.example"):
            for use in (ph.connect, example_study, ph.studies):
                with pytest.raises(InvalidArgument, match=f"a URL with TLS.*{scheme}s://{host}:{port}"):
                    use(f"{scheme}://{host}:{port}")
        with pytest.raises(TimeoutError):
            listening.accept()


def _address() -> str:
    """Return an address of this machine that others reach, or any other than loopback if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of a datagram, this sends nothing
        except OSError:
            return "192.0.2.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_a_client_that_keeps_its_connection_does_not_delay_the_end(
    pem: Pem, shown: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    tls = tls_files(pem.path("server.crt"), pem.path("server.key"))
    with serving(f"sqlite:///{tmp_path}/study.db", host="localhost", http_port=0, tls=tls) as server:
        monkeypatch.setenv("PHYLETIC_TOKEN_FILE", str(server.token_file))
        connected = ph.connect(url_of(server, scheme))
        assert connected.studies() == []
        ending = time.monotonic()
    assert time.monotonic() - ending < GRACE_SECONDS
