"""Statements whose SQL is made once.

The statement is written in SQLAlchemy Core and stays the definition. Running it through ``Connection.execute`` costs
some 20 to 50 microseconds; a decision is written with seven statements while other workers wait, so the SQL and the
order and encoding of its parameters are taken from Core once for each database, and given to the driver itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert, Update
from sqlalchemy.engine import Dialect

Encoder = Callable[[Any], Any]


class Cursor:
    """The driver's cursor of one write.

    Args:
        connection: A connection in a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect
        self.driver: Any = connection.connection.cursor()


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

    def run(self, cursor: Cursor, rows: list[dict[str, Any]]) -> int:
        """Run the statement for each row of parameters and return how many rows of the table it met, in all.

        What the driver raises comes as it is, not as SQLAlchemy's error.
        """
        form = self._forms.get(cursor.dialect.name)
        if form is None:
            form = self._forms[cursor.dialect.name] = self.form(cursor.dialect)
        driver = cursor.driver
        if len(rows) == 1:
            driver.execute(form.sql, form.encode(rows[0]))
        else:
            driver.executemany(form.sql, [form.encode(row) for row in rows])
        return int(driver.rowcount)

    def form(self, dialect: Dialect) -> Form:
        """Return the statement as a database's driver takes it."""
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        names = list(compiled.positiontup or ()) if compiled.positional else list(compiled.binds)
        encoders = {name: compiled.binds[name].type.bind_processor(dialect) for name in names}
        return Form(str(compiled), names, encoders, named=not compiled.positional)


class Form:
    """One statement in one database's SQL.

    Args:
        sql: The text, with the driver's own placeholders.
        names: Its parameters, in order.
        encoders: What encodes a parameter's value; None if the driver takes it as it is.
        named: Whether the driver takes parameters by name; else by position.
    """

    def __init__(self, sql: str, names: list[str], encoders: dict[str, Any], *, named: bool) -> None:
        self.sql = sql
        self.names = names
        self.named = named
        self._values = itemgetter(*names)
        self._encoded: list[tuple[int, Encoder]] = [
            (place, encoders[name]) for place, name in enumerate(names) if encoders[name] is not None
        ]

    def encode(self, row: dict[str, Any]) -> Any:
        """Return a row's parameters as the driver takes them."""
        values = list(self._values(row))
        for place, encode in self._encoded:
            values[place] = encode(values[place])
        return dict(zip(self.names, values, strict=True)) if self.named else values
