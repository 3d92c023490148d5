"""Commands that make, list and revoke the tokens of a service."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phyletic.cli.output import echo_json, echo_table, moment
from phyletic.cli.shared_options import json_option
from phyletic.errors import InvalidArgument

if TYPE_CHECKING:
    from phyletic.service.tokens import Token, Tokens

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.group(
    short_help="Make, list and revoke the tokens of a service.",
    epilog="Example: phyletic token create sqlite:///digits.db --role worker",
)
def token() -> None:
    """Make, list and revoke the tokens by which a service knows its users.

    Run these commands on the machine that holds the database. A running server heeds each at the next request.
    """


def _lasting(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return the seconds that a text such as ``7d`` stands for.

    Args:
        context: Of the command.
        parameter: The option.
        text: Its value.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{text!r} is not a number with a unit, such as 30m, 12h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def _tokens(storage: str) -> Tokens:
    from phyletic.service.tokens import Tokens
    from phyletic.storage import open_database

    database = open_database(storage)
    if database.private:
        raise InvalidArgument("storage", storage, "a file, since tokens are stored beside it")
    folder: Path = database.folder("tokens")
    if not folder.parent.is_dir():
        raise InvalidArgument("storage", storage, f"in a folder that exists: {folder.parent} does not")
    return Tokens(folder)


def _shown(token: Token) -> dict[str, Any]:
    """Return what may be shown of a token: all but its hash."""
    return {
        "id": token.id,
        "role": str(token.role),
        "study": token.study,
        "created": token.created,
        "expires": token.expires,
    }


@token.command(
    short_help="Make a token.",
    epilog="Example: phyletic token create sqlite:///digits.db --role worker --study digits --expires-in 7d",
)
@click.argument("storage")
@click.option(
    "--role",
    type=click.Choice(["read", "worker", "admin"]),
    default="worker",
    show_default=True,
    help="read: look at studies; worker: train too; admin: create and change studies too.",
)
@click.option("--study", metavar="NAME", help="The only study it may be used for; otherwise all.")
@click.option(
    "--expires-in", "lasting", metavar="TIME", callback=_lasting, help="When it ends: 30m, 12h or 7d; otherwise never."
)
@json_option
def create(storage: str, role: str, study: str | None, lasting: float | None, as_json: bool) -> None:
    """Make a token for the studies in STORAGE, and print it; it is shown only now, since just its hash is stored.

    Write it into a file that only its user can read, and name that file in PHYLETIC_TOKEN_FILE on the worker's machine.
    """
    made, text = _tokens(storage).create(role, now=time.time(), study=study, lasting=lasting)
    if as_json:
        echo_json({**_shown(made), "token": text})
    else:
        click.echo(f"token {made.id}, role {made.role}; this is the only time it is shown:", err=True)
        click.echo(text)


@token.command(name="list", short_help="List the tokens.", epilog="Example: phyletic token list sqlite:///digits.db")
@click.argument("storage")
@json_option
def list_(storage: str, as_json: bool) -> None:
    """List the tokens for the studies in STORAGE, without their secrets, which are not stored."""
    found = _tokens(storage).list_tokens()
    if as_json:
        echo_json([_shown(each) for each in found])
        return
    now = time.time()
    rows = [
        [each.id, str(each.role), each.study or "all", moment(each.created), _end(each.expires, now)] for each in found
    ]
    echo_table(["id", "role", "study", "created", "expires"], rows, left=(0, 1, 2, 3, 4))


def _end(expires: float | None, now: float) -> str:
    if expires is None:
        return "never"
    return moment(expires) if expires > now else f"expired {moment(expires)}"


@token.command(
    short_help="Revoke a token.", epilog="Example: phyletic token revoke sqlite:///digits.db 0123456789abcdef"
)
@click.argument("storage")
@click.argument("id")
@json_option
def revoke(storage: str, id: str, as_json: bool) -> None:
    """Revoke the token ID for the studies in STORAGE; a running server refuses it from the next request on."""
    gone = _tokens(storage).revoke(id)
    if as_json:
        echo_json({**_shown(gone), "revoked": True})
    else:
        click.echo(f"token {gone.id}, role {gone.role}, is revoked")
