"""A server for the tests of object stores; `make test-object-store` installs what they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_server import Proxy, environment, moto, proxied


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of an S3 server."""
    with moto() as port:
        yield port


@pytest.fixture
def proxy(server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server; the environment leads there."""
    with proxied(server) as proxy:
        for name, value in environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PHYLETIC_CACHE", str(tmp_path / "cache"))
        yield proxy
