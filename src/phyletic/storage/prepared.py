"""Statements whose SQL is made once.

The statement is written in SQLAlchemy Core and stays the definition. Running it through ``Connection.execute`` costs
some 20 to 50 microseconds; a decision is written with seven statements while other workers wait, so the SQL and the
order and encoding of its parameters are taken from Core once for each database, and given to the driver itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Insert, Update
from sqlalchemy.engine import Dialect

__all__ = ["Prepared"]

Encoder = Callable[[Any], Any]


class Prepared:
    """An INSERT or UPDATE, run for any number of rows at once.

    Args:
        statement: The statement.
        columns: The columns it sets, by name; each is a parameter of the same name.
    """

    def __init__(self, statement: Insert | Update, columns: Iterable[str]) -> None:
        self._statement = statement
        self._columns = list(columns)
        self._forms: dict[str, tuple[str, list[tuple[str, Encoder | None]]]] = {}

    def run(self, connection: Connection, rows: list[dict[str, Any]]) -> int:
        """Run the statement for each row of parameters and return how many rows of the table it met, in all.

        What the driver raises comes as it is, not as SQLAlchemy's error.
        """
        dialect = connection.dialect
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = self._form(dialect)
        sql, parameters = form
        values = [
            tuple([row[name] if encode is None else encode(row[name]) for name, encode in parameters]) for row in rows
        ]
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(sql, values)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _form(self, dialect: Dialect) -> tuple[str, list[tuple[str, Encoder | None]]]:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        return str(compiled), [
            (name, compiled.binds[name].type.bind_processor(dialect)) for name in compiled.positiontup or ()
        ]
