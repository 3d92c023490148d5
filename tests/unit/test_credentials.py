"""Where a client's token comes from, and that it shows nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phyletic.credentials import credentials_for, forget_server, note_server, server_url
from phyletic.errors import InvalidArgument, NotAuthenticated

SECRET = "phyletic_0000000000000000_" + "s" * 43
URL = server_url("grpc://127.0.0.1:7077")


def private(path: Path, text: str = SECRET + "\n", mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_file_comes_before_the_variable_and_the_note_last(tmp_path: Path) -> None:
    file = private(tmp_path / "token", "file-token\n")
    note_server([7077], Path(private(tmp_path / "noted", "noted-token")), tmp_path / "notes")
    both = {"PHYLETIC_TOKEN_FILE": file, "PHYLETIC_TOKEN": "given-token"}
    assert credentials_for(URL, both, tmp_path / "notes").token == "file-token"
    del both["PHYLETIC_TOKEN_FILE"]
    assert credentials_for(URL, both, tmp_path / "notes").token == "given-token"
    assert credentials_for(URL, {}, tmp_path / "notes").token == "noted-token"
    with pytest.raises(NotAuthenticated, match="PHYLETIC_TOKEN_FILE"):
        credentials_for(server_url("grpcs://other:7077"), {}, tmp_path / "notes")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InvalidArgument, match="chmod 600") as refused:
        credentials_for(URL, {"PHYLETIC_TOKEN_FILE": private(tmp_path / "token", mode=mode)}, tmp_path)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", ["", "two\ntokens that are long", "short", "with blank inside", "x" * 600])
def test_a_file_without_one_token_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    for environment in (
        {"PHYLETIC_TOKEN_FILE": private(tmp_path / "token", text)},
        {"PHYLETIC_TOKEN": text or "\n"},
    ):
        with pytest.raises(InvalidArgument) as refused:
            credentials_for(URL, environment, tmp_path)
        assert not text or text not in str(refused.value)


def test_a_missing_file_does_not_fall_back_to_the_variable(tmp_path: Path) -> None:
    environment = {"PHYLETIC_TOKEN_FILE": str(tmp_path / "missing"), "PHYLETIC_TOKEN": SECRET}
    with pytest.raises(InvalidArgument, match="PHYLETIC_TOKEN_FILE"):
        credentials_for(URL, environment, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "grpc://user:hunter22@host:1",
        "grpc://hunter22@host:1",
        "grpc://host:1?token=hunter22",
        "grpc://host:1#hunter22",
        "https://user:hunter22@[::1:1",
        "grpc://user:hunter22@host:port",
        "grpc://a@b:hunter22@host:1",
        "grpc://user:hunter22@host:1\n",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        server_url(url)
    assert "hunter22" not in str(refused.value)
    assert "hunter22" not in repr(refused.value.value)


@pytest.mark.parametrize("url", ["host:1", "grpc://host", "grpc://:1", "ftp://host:1", "grpc://ho st:1", None, 7, ""])
def test_what_is_no_url_of_a_server_is_refused(url: object) -> None:
    with pytest.raises(InvalidArgument, match="grpc://HOST:PORT"):
        server_url(url)


def test_no_token_travels_in_the_clear(tmp_path: Path) -> None:
    for url, instead in (("grpc://10.0.0.1:7077", "grpcs://10.0.0.1:7077"), ("http://host:1", "https://host:1")):
        with pytest.raises(InvalidArgument, match=instead):
            credentials_for(server_url(url), {"PHYLETIC_TOKEN": SECRET}, tmp_path)
        credentials_for(server_url(instead), {"PHYLETIC_TOKEN": SECRET}, tmp_path)
    # a name that only begins like loopback is another machine
    with pytest.raises(InvalidArgument):
        credentials_for(server_url("http://localhost.evil.example:1"), {"PHYLETIC_TOKEN": SECRET}, tmp_path)


def test_credentials_do_not_show_the_token(tmp_path: Path) -> None:
    assert SECRET not in repr(credentials_for(URL, {"PHYLETIC_TOKEN": SECRET}, tmp_path))


def test_the_note_of_a_server_that_ended_counts_as_none(tmp_path: Path) -> None:
    """Check that another program on its port is not shown the token."""
    private(tmp_path / "token")
    code = f"from phyletic.credentials import note_server as n; from pathlib import Path as P; n([7077], P({str(tmp_path / 'token')!r}), P({str(tmp_path / 'notes')!r}))"  # noqa: E501
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "notes" / "7077.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotAuthenticated):
        credentials_for(URL, {}, tmp_path / "notes")


def test_a_server_removes_only_its_own_note(tmp_path: Path) -> None:
    note_server([1, 2], tmp_path / "token", tmp_path)
    other = (tmp_path / "2.json").read_text().replace(f'"pid":{os.getpid()}', '"pid":1')
    (tmp_path / "2.json").write_text(other)
    forget_server([1, 2, 3], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2.json"]


def test_the_files_of_tls_are_checked(tmp_path: Path) -> None:
    key, certificate = private(tmp_path / "key"), private(tmp_path / "certificate", mode=0o644)
    token = {"PHYLETIC_TOKEN": SECRET}
    both = {"PHYLETIC_TLS_CERTIFICATE": certificate, "PHYLETIC_TLS_KEY": key}
    found = credentials_for(URL, {**token, **both, "PHYLETIC_TLS_CA": certificate}, tmp_path)
    assert (found.ca, found.certificate, found.key) == (Path(certificate), Path(certificate), Path(key))
    for wrong, named in (
        ({"PHYLETIC_TLS_KEY": key}, "PHYLETIC_TLS_CERTIFICATE"),
        ({"PHYLETIC_TLS_CERTIFICATE": certificate}, "PHYLETIC_TLS_KEY"),
        ({"PHYLETIC_TLS_CA": str(tmp_path / "missing")}, "PHYLETIC_TLS_CA"),
        ({**both, "PHYLETIC_TLS_KEY": certificate}, "chmod 600"),
    ):
        with pytest.raises(InvalidArgument, match=named):
            credentials_for(URL, {**token, **wrong}, tmp_path)
