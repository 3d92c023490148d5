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
        self._forms: dict[str, Form] = {}

    def run(self, connection: Connection, rows: list[dict[str, Any]]) -> int:
        """Run the statement for each row of parameters and return how many rows of the table it met, in all.

        What the driver raises comes as it is, not as SQLAlchemy's error.
        """
        dialect = connection.dialect
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = self.form(dialect)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(form.sql, [form.encode(row) for row in rows])
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def form(self, dialect: Dialect) -> Form:
        """Return the statement as a database's driver takes it."""
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        parameters: list[tuple[str, Encoder | None]] = [
            (name, compiled.binds[name].type.bind_processor(dialect)) for name in names or ()
        ]
        return Form(str(compiled), parameters, named=not compiled.positional)


class Form:
    """One statement in one database's SQL.

    Args:
        sql: The text, with the driver's own placeholders.
        parameters: Each parameter's name, and what encodes its value; None if the driver takes the value as it is.
        named: Whether the driver takes parameters by name; else by position.
    """

    def __init__(self, sql: str, parameters: list[tuple[str, Encoder | None]], *, named: bool) -> None:
        self.sql = sql
        self.parameters = parameters
        self.named = named

    def encode(self, row: dict[str, Any]) -> Any:
        """Return a row's parameters as the driver takes them."""
        if self.named:
            return {name: row[name] if encode is None else encode(row[name]) for name, encode in self.parameters}
        return tuple([row[name] if encode is None else encode(row[name]) for name, encode in self.parameters])
