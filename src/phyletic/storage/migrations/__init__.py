"""Steps from each earlier schema to the next, run by Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

__all__ = ["SCRIPTS", "migrate"]

SCRIPTS = Path(__file__).parent
"""Where the revisions are, in the folder ``versions``."""


def migrate(connection: Connection, target: str = "head") -> None:
    """Bring a database to a revision, within the transaction that the caller has begun.

    Args:
        connection: The connection that writes.
        target: The revision to reach.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def steps(current: Any, context: Any) -> Any:
        del context
        return script._upgrade_revs(target, current)

    with EnvironmentContext(config, script, fn=steps, destination_rev=target) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
