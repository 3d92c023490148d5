"""Blobs over HTTP: what a server's answers mean for checkpoints, and how long a client goes on."""

from __future__ import annotations

import errno
import random
import ssl
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from checkpoint_server import Server, serving
from starlette.applications import Starlette

from phyletic.backoff import pauses
from phyletic.checkpoints import Blobs, Checkpoints, blobs_at
from phyletic.checkpoints.cached_blobs import CachedBlobs
from phyletic.checkpoints.http_blobs import HttpBlobs
from phyletic.checkpoints.http_requests import Patience
from phyletic.credentials import Credentials
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument, NotAuthenticated
from phyletic.failpoints import armed
from phyletic.service.checkpoint_limits import CheckpointLimits

ID, OTHER = "a" * 32, "b" * 32
STATE = f"{ID}.safetensors"


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path / "server") as running:
        yield running


def impatient(server: Server, token: str | None = None, address: str | None = None) -> HttpBlobs:
    return HttpBlobs(
        address or server.address,
        Credentials(token or server.token()),
        Patience(give_up_after=0.0, connect=1.0, sleep=lambda seconds: None),
    )


def test_trouble_with_the_server_is_never_damage(server: Server, tmp_path: Path) -> None:
    """Check each kind of trouble: a damaged checkpoint is given up, which must not happen to a sound one."""
    reference = Checkpoints(server.blobs()).publish(ID, {"x": np.arange(1000)})
    gone = server.token(lasting=1e-9)
    elsewhere = server.address.replace("digits", "nothing")
    down = "http://127.0.0.1:9/v1/studies/digits/checkpoints"
    trouble = [
        impatient(server, gone),
        impatient(server, "unknown-token"),
        impatient(server, server.token(study="other")),
        impatient(server, address=elsewhere),
        impatient(server, address=down),
        impatient(server, address=f"{server.url}/v1/studies/digits/checkpoints".replace("http", "https")),
    ]
    for blobs in trouble:
        for use in (
            Checkpoints(blobs).open,
            Checkpoints(blobs).verify,
            lambda one, b=blobs: Checkpoints(b).exists(one.id),
        ):
            with pytest.raises(CheckpointError) as raised:
                use(reference)
            assert not isinstance(raised.value, CheckpointDamaged), raised.value
    server.studies.refused.add((ID, "read"))
    with pytest.raises(CheckpointError) as raised:
        Checkpoints(impatient(server)).open(reference)
    assert not isinstance(raised.value, CheckpointDamaged)
    server.studies.refused.clear()
    server.studies.folder.rename(tmp_path / "not mounted")
    with pytest.raises(CheckpointError, match="is its disk mounted") as raised:
        Checkpoints(impatient(server)).open(reference)
    assert not isinstance(raised.value, CheckpointDamaged)


def test_what_is_really_missing_is_damage(server: Server) -> None:
    blobs = server.blobs()
    kept = Checkpoints(blobs).publish(OTHER, {"x": 1})
    reference = Checkpoints(blobs).publish(ID, {"x": 1})
    server.folder.delete([STATE])
    with pytest.raises(CheckpointDamaged):
        Checkpoints(blobs).open(reference)
    Checkpoints(blobs).verify(kept)


def test_no_error_shows_the_token(server: Server) -> None:
    token = "phyletic_0123456789abcdef_" + "S" * 43
    for blobs in (impatient(server, token), impatient(server, token, "http://127.0.0.1:9/v1/studies/s/checkpoints")):
        with pytest.raises(OSError) as raised:
            blobs.put([(STATE, [b"x"])])
        assert "SSSS" not in str(raised.value)
        assert "SSSS" not in repr(raised.value)
        assert "SSSS" not in blobs.address + blobs.location + repr(blobs)


def test_a_client_goes_on_until_the_server_is_back(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        address, token = server.address, server.token()
    slept: list[float] = []
    back = threading.Event()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            back.set()
        time.sleep(0.01 if len(slept) < 5 else 0.1)

    def serve_again() -> None:
        back.wait()
        port = int(address.split(":")[2].split("/")[0])
        config = uvicorn.Config(
            Starlette(routes=server.routes.routes()), host="127.0.0.1", port=port, log_level="critical", lifespan="off"
        )
        again.append(uvicorn.Server(config))
        again[0].run()

    again: list[uvicorn.Server] = []
    thread = threading.Thread(target=serve_again)
    thread.start()
    blobs = HttpBlobs(address, Credentials(token), Patience(sleep=sleep, draw=lambda: 0.0))
    try:
        blobs.put([(STATE, [b"x"])])
        assert blobs.get(STATE).read_bytes() == b"x"
    finally:
        again[0].should_exit = True
        thread.join()
    assert slept[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_a_client_gives_up_after_a_time_without_progress() -> None:
    now = [0.0]
    patience = Patience(
        60.0, 0.1, 1.0, lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: 0.0
    )
    blobs = HttpBlobs("http://127.0.0.1:9/v1/studies/s/checkpoints", Credentials("token-token"), patience)
    with pytest.raises(TimeoutError, match="did not answer for 60 s"):
        blobs.exists(STATE)
    assert 60 <= now[0] < 80


def test_pauses_double_up_to_the_longest_and_vary() -> None:
    steady, wild = pauses(lambda: 0.0), pauses(random.Random(0).random)
    first = [next(steady) for _ in range(12)]
    assert first[:4] == [0.1, 0.2, 0.4, 0.8]
    assert first[-1] == 15.0
    for longest in first:
        assert longest / 2 <= next(wild) <= longest
    assert max(pause for _, pause in zip(range(9), pauses(lambda: 0.0, longest=2.0), strict=False)) == 2.0


def test_refusals_are_not_said_again(tmp_path: Path) -> None:
    with serving(tmp_path, CheckpointLimits(checkpoint=5 << 20, total=6 << 20)) as server:
        blobs = server.blobs()
        with pytest.raises(CheckpointError, match="at most 5242880 bytes a checkpoint"):
            Checkpoints(blobs).publish(ID, {"x": np.zeros(1 << 20)})
        assert [method for method, _ in server.requests].count("PUT") == 1, "asked once, and not one byte was sent"


def test_a_worker_drops_what_it_did_not_tell_and_nothing_else(server: Server) -> None:
    blobs = server.blobs()
    store = Checkpoints(blobs)
    store.publish(ID, {"x": 1})
    told = store.publish(OTHER, {"x": 2})
    server.studies.refused.add((OTHER, "discard"))
    store.delete(ID, OTHER)
    assert not store.exists(ID)
    store.verify(told)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/v1/studies/digits",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:1/v1/studies//checkpoints",
        "http://127.0.0.1:1/v1/studies/a/b/checkpoints",
        "http://user:secret@127.0.0.1:1/v1/studies/digits/checkpoints",
        "http://127.0.0.1/v1/studies/digits/checkpoints",
        "http:/data",
        "https://",
    ],
)
def test_other_addresses_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHYLETIC_TOKEN", "token-token")
    with pytest.raises(InvalidArgument) as raised:
        blobs_at(address)
    assert "secret" not in str(raised.value)


def test_an_address_finds_its_token_and_cache_itself(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(NotAuthenticated, match="PHYLETIC_TOKEN_FILE"):
        blobs_at(server.address)
    monkeypatch.setenv("PHYLETIC_TOKEN", server.token())
    Checkpoints(blobs_at(server.address)).publish(ID, {"x": 1})
    assert (tmp_path / "home" / "phyletic" / "checkpoints" / STATE).exists()
    monkeypatch.setenv("PHYLETIC_CACHE", str(tmp_path / "named"))
    monkeypatch.setenv("PHYLETIC_CACHE_BYTES", "lots")
    with pytest.raises(InvalidArgument, match="PHYLETIC_CACHE_BYTES"):
        blobs_at(server.address)
    monkeypatch.setenv("PHYLETIC_CACHE_BYTES", "1000")
    blobs_at(server.address).get(STATE)
    assert (tmp_path / "named" / STATE).exists()


def test_tls_checks_the_server_and_may_ask_for_a_certificate(server: Server, tmp_path: Path) -> None:
    pem = {}
    for name in ("server", "client"):
        key, certificate = tmp_path / f"{name}.key", tmp_path / f"{name}.crt"
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} "
        command += f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
        subprocess.run(command.split(), check=True, capture_output=True)
        pem[name] = certificate, key
    config = uvicorn.Config(
        Starlette(routes=server.routes.routes()), host="127.0.0.1", port=0, log_level="critical", lifespan="off",
        ssl_certfile=pem["server"][0], ssl_keyfile=pem["server"][1], ssl_ca_certs=str(pem["client"][0]),
        ssl_cert_reqs=ssl.CERT_REQUIRED, timeout_graceful_shutdown=0,
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    address, token = f"https://127.0.0.1:{port}/v1/studies/digits/checkpoints", server.token()
    patience = Patience(give_up_after=0.0, connect=2.0, answer=2.0, sleep=lambda seconds: None)
    try:
        good = HttpBlobs(address, Credentials(token, pem["server"][0], *pem["client"]), patience)
        good.put([(STATE, [b"x"])])
        assert good.get(STATE).read_bytes() == b"x"
        for shown in (
            Credentials(token),
            Credentials(token, pem["client"][0], *pem["client"]),
            Credentials(token, pem["server"][0]),
            Credentials(token, pem["server"][0], *pem["server"]),
        ):
            with pytest.raises(OSError, match=r"TLS|did not answer"):
                HttpBlobs(address, shown, patience).get(STATE)
    finally:
        running.should_exit = True
        thread.join()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.ENOTEMPTY])
@pytest.mark.parametrize("cached", [False, True])
def test_trouble_with_this_machines_disk_is_never_damage(
    server: Server, tmp_path: Path, cached: bool, error: int
) -> None:
    """Check that the copy's trouble is not taken for the original's.

    Args:
        server: A server.
        tmp_path: An empty folder.
        cached: Whether there is a cache.
        error: What the disk says.
    """

    def fail(name: str) -> None:
        if name in ("disk.write.before", "disk.rename.before"):
            raise OSError(error, "the disk fails")

    made = [Checkpoints(server.blobs()).publish(ID, {"x": 1})]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_bytes(b"x")
    made.append(Checkpoints(server.blobs()).publish_folder(OTHER, tmp_path / "mine"))
    blobs: Blobs = CachedBlobs(server.blobs(), tmp_path / "cache") if cached else server.blobs()
    for reference in made:
        for use in (Checkpoints(blobs).open, lambda one: Checkpoints(blobs).path(one.id)):
            with armed(fail), pytest.raises(CheckpointError) as raised:
                use(reference)
            assert not isinstance(raised.value, CheckpointDamaged), raised.value
        Checkpoints(blobs).verify(reference)
