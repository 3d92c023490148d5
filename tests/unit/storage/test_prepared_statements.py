"""Each database can run every prepared statement: all its parameters are passed, and typed if need be."""

import re

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from phyletic.storage import writing
from phyletic.storage.prepared import Prepared

STATEMENTS = {name: made for name, made in vars(writing).items() if isinstance(made, Prepared)}


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_compiles_and_finds_each_of_its_parameters(name, dialect):
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
