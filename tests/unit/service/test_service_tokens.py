"""Tokens: which call each role may make, for which study and how long, and what is stored of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from phyletic.cli import main
from phyletic.errors import InvalidArgument, NotAllowed, NotAuthenticated, NotFound, StorageError
from phyletic.service.roles import CALLS, Role
from phyletic.service.tokens import Tokens, bearer, first_token

NOW = 1e9


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "digits.tokens")


@pytest.mark.parametrize(("role", "call"), list(itertools.product(Role, CALLS)))
def test_a_role_may_make_its_calls_and_no_others(tokens: Tokens, role: Role, call: str) -> None:
    order = ["read", "worker", "admin"]
    token, text = tokens.create(role, now=NOW)
    if order.index(role) >= order.index(CALLS[call].role):
        assert tokens.authorise(text, call, "digits", now=NOW) == token
    else:
        with pytest.raises(NotAllowed, match=f"{call} needs a token with role {CALLS[call].role}"):
            tokens.authorise(text, call, "digits", now=NOW)


@pytest.mark.parametrize(("role", "call"), list(itertools.product(Role, CALLS)))
def test_a_token_for_one_study_is_refused_for_another(tokens: Tokens, role: Role, call: str) -> None:
    _, text = tokens.create(role, now=NOW, study="digits")
    allowed = role.covers(CALLS[call].role)
    for study in ("digits", "other", "digit", "Digits", None):
        if allowed and (study == "digits" or not CALLS[call].names_a_study):
            assert tokens.authorise(text, call, study, now=NOW).study == "digits"
        else:
            with pytest.raises(NotAllowed):
                tokens.authorise(text, call, study, now=NOW)


def test_what_the_roles_are_for() -> None:
    """State the table again by hand for the calls that matter most, so that a slip in it is seen."""
    for call in ("Control", "CreateStudy"):
        assert CALLS[call].role is Role.ADMIN
        assert CALLS[call].names_a_study
    for call in ("Exchange", "PutCheckpoint", "DiscardCheckpoint"):
        assert CALLS[call].role is Role.WORKER
        assert CALLS[call].names_a_study
    for call in ("GetStudy", "ListTrials", "Watch", "GetCheckpoint"):
        assert CALLS[call].names_a_study


def test_an_unknown_call_is_refused_to_all(tokens: Tokens) -> None:
    _, text = tokens.create("admin", now=NOW)
    with pytest.raises(NotAllowed, match="no such call"):
        tokens.authorise(text, "DropTables", "digits", now=NOW)


def test_an_expired_token_is_refused_from_its_moment_on(tokens: Tokens) -> None:
    _, text = tokens.create("read", now=NOW, lasting=60)
    tokens.authorise(text, "Hello", None, now=NOW + 59.9)
    with pytest.raises(NotAuthenticated, match="expired"):
        tokens.authorise(text, "Hello", None, now=NOW + 60)


def test_a_revoked_token_is_refused_at_once_by_every_process(tokens: Tokens, tmp_path: Path) -> None:
    server = Tokens(tmp_path / "digits.tokens")
    token, text = tokens.create("read", now=NOW)
    server.authorise(text, "Hello", None, now=NOW)
    assert tokens.revoke(token.id) == token
    with pytest.raises(NotAuthenticated, match="revoked"):
        server.authorise(text, "Hello", None, now=NOW)
    with pytest.raises(NotFound, match=token.id):
        tokens.revoke(token.id)
    assert tokens.list_tokens() == []


@pytest.mark.parametrize(
    "text", [None, "", "x", "phyletic_" + "0" * 16 + "_" + "A" * 43, "phyletic_../../etc_" + "A" * 43, "é", "\udc80"]
)
def test_no_token_and_unknown_ones_are_refused(tokens: Tokens, text: str | None) -> None:
    tokens.create("read", now=NOW)
    with pytest.raises(NotAuthenticated) as refused:
        tokens.authorise(text, "Hello", None, now=NOW)
    assert not text or len(text) < 3 or text not in str(refused.value)


def test_the_secret_counts_and_not_only_the_id(tokens: Tokens) -> None:
    _, text = tokens.create("admin", now=NOW)
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    for wrong in (other, text[:-1], text + "A", text.upper()):
        with pytest.raises(NotAuthenticated):
            tokens.authorise(wrong, "Hello", None, now=NOW)


def test_only_hashes_are_stored_in_files_of_their_user(tokens: Tokens, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        token, text = tokens.create("admin", now=NOW)
        assert first_token(Tokens(tmp_path / "first.tokens"), tmp_path / "first.token", now=NOW)
    finally:
        os.umask(old)
    for path in [*tmp_path.glob("*.tokens/*"), tmp_path / "first.token"]:
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "digits.tokens").stat().st_mode & 0o777 == 0o700
    stored = (tmp_path / "digits.tokens" / f"{token.id}.json").read_text()
    assert text.split("_", 2)[2] not in stored


def test_files_that_others_can_read_or_add_to_are_refused(tokens: Tokens, tmp_path: Path) -> None:
    token, text = tokens.create("admin", now=NOW)
    fresh = Tokens(tmp_path / "digits.tokens")
    (tmp_path / "digits.tokens").chmod(0o777)
    with pytest.raises(StorageError, match="chmod 700"):
        fresh.authorise(text, "Hello", None, now=NOW)
    (tmp_path / "digits.tokens").chmod(0o700)
    (tmp_path / "digits.tokens" / f"{token.id}.json").chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        fresh.authorise(text, "Hello", None, now=NOW)


def test_a_file_under_the_name_of_another_token_is_refused(tokens: Tokens, tmp_path: Path) -> None:
    admin, _ = tokens.create("admin", now=NOW)
    reader, text = tokens.create("read", now=NOW)
    folder = tmp_path / "digits.tokens"
    (folder / f"{admin.id}.json").rename(folder / f"{reader.id}.json")
    with pytest.raises(StorageError, match="holds token"):
        tokens.authorise(text, "Control", "digits", now=NOW)


@pytest.mark.parametrize(
    ("role", "more"),
    [("root", {}), ("read", {"lasting": 0}), ("read", {"lasting": float("nan")}), ("read", {"study": " "})],
)
def test_bad_arguments_write_nothing(tokens: Tokens, tmp_path: Path, role: str, more: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        tokens.create(role, now=NOW, **more)
    assert not (tmp_path / "digits.tokens").exists()


def test_the_first_start_makes_one_admin_token(tokens: Tokens, tmp_path: Path) -> None:
    path = tmp_path / "digits.token"
    assert first_token(tokens, path, now=NOW)
    text = path.read_text().strip()
    assert tokens.authorise(text, "CreateStudy", "any", now=NOW).role is Role.ADMIN
    assert not first_token(tokens, path, now=NOW)
    path.unlink()  # a person who removed it made tokens of their own
    assert not first_token(tokens, path, now=NOW)
    assert len(tokens.list_tokens()) == 1


def test_a_first_token_that_others_can_read_stops_the_start(tokens: Tokens, tmp_path: Path) -> None:
    path = tmp_path / "digits.token"
    first_token(tokens, path, now=NOW)
    path.chmod(0o640)
    with pytest.raises(InvalidArgument, match="chmod 600"):
        first_token(tokens, path, now=NOW)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic c2VjcmV0", "secret"])
def test_other_headers_are_refused_and_not_repeated(header: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        bearer(header)
    assert "c2VjcmV0" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_commands_make_list_and_revoke(tmp_path: Path) -> None:
    def call(*arguments: str) -> object:
        result = CliRunner().invoke(main, ["token", *arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    storage = str(tmp_path / "digits.db")
    made = call("create", storage, "--role", "worker", "--study", "digits", "--expires-in", "2h")
    assert isinstance(made, dict)
    tokens = Tokens(tmp_path / "digits.tokens")
    token = tokens.authorise(made["token"], "Exchange", "digits", now=made["created"])
    assert (token.id, token.expires) == (made["id"], made["created"] + 7200)
    assert call("list", storage) == [{key: made[key] for key in made if key != "token"}]
    call("revoke", storage, made["id"])
    assert call("list", storage) == []
    for bad in (["create", ":memory:"], ["create", storage, "--expires-in", "0d"], ["revoke", storage, "../x"]):
        result = CliRunner().invoke(main, ["token", *bad])
        assert result.exit_code, bad
    assert call("list", storage) == []


def test_only_the_token_is_printed_on_standard_output(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "phyletic", "token", "create", str(tmp_path / "digits.db")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    Tokens(tmp_path / "digits.tokens").authorise(ended.stdout.strip(), "Exchange", "digits", now=NOW)
    assert ended.stdout.strip() not in ended.stderr
