"""A study may have any printable name, over each protocol, and is never taken for another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")

import phyletic as ph
from phyletic.errors import NotAllowed
from phyletic.service.server import Server, serving
from phyletic.service.tokens import Tokens
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import drawing

NAMES = [
    "a", "a/b", "a/rows", "rows", "a/checkpoints/x", "checkpoints/", "/", "a//b", ".", "..", "../a", "...", "a b",
    "a%2Fb", "%2e%2e", "a?b#c", "%", "+", "é ü", "日本" * 100, "x" * 200, "\\", "a;b=c", "studies", "watch?since=1",
]  # fmt: skip


@pytest.fixture(scope="module", params=["url", "http_url"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server, and its URL for one of the protocols."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('served')}/study.db", http_port=0) as server:
        yield server, getattr(server, request.param)


@pytest.fixture(autouse=True)
def elsewhere(served: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints go through the service, as from another machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PHYLETIC_TOKEN_FILE", str(served[0].token_file))


@pytest.mark.parametrize("name", NAMES)
def test_a_study_of_any_name_is_run_and_read(served: tuple[Server, str], name: str) -> None:
    _, url = served
    study = example_study(url, name=name, steps=4)
    drawing()(study)
    assert facts(study) == reference()[:10]
    assert study.restore().keys() == {"weights"}
    study.pause()
    again = Study(name, storage=url)
    assert (again.identity.uuid, again.identity.name, again.control.paused) == (study.identity.uuid, name, True)
    assert next(iter(ph.connect(url).watch(name))).kind == "owner"


def test_a_token_of_a_study_is_for_no_other_whose_name_begins_with_it(
    served: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = served
    for name in ("team", "team/rows", "team/../other", "other"):
        example_study(url, name=name)
    _, text = Tokens(server.token_file.with_name("study.tokens")).create("worker", now=0.0, study="team")
    monkeypatch.delenv("PHYLETIC_TOKEN_FILE")
    monkeypatch.setenv("PHYLETIC_TOKEN", text)
    assert Study("team", storage=url).name == "team"
    for name in ("team/rows", "team/../other", "other", "Team"):
        with pytest.raises(NotAllowed, match="for study 'team' only"):
            Study(name, storage=url)
