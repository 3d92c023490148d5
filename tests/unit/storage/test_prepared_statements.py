"""Every prepared statement works on each database: it gets all its parameters, with types if necessary."""

import re

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from phyletic.storage import writing
from phyletic.storage.prepared import Prepared

STATEMENTS = {name: made for name, made in vars(writing).items() if isinstance(made, Prepared)}


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_compiles_and_gets_all_its_parameters(name, dialect):
    form = STATEMENTS[name].form(dialect)
    row = dict.fromkeys(form.names)
    assert row
    passed = form.encode(row)
    if form.named:
        placeholders = re.findall(r"%\((\w+)\)s", form.sql)
        assert set(placeholders) == set(passed)
    else:
        placeholders = re.findall(r"\?", form.sql)
        assert len(placeholders) == len(passed)
    # PostgreSQL refuses a parameter of unknown type beside NULL
    assert not re.search(r"(%\(\w+\)s|\?) IS (NOT )?NULL", form.sql), form.sql
