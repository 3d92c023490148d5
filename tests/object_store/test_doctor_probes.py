"""``phyletic doctor --checkpoints`` says what an object store can do."""

import json
import secrets

import pytest
from click.testing import CliRunner
from object_server import BUCKET, SECRET

from phyletic.checkpoints.object_store import ObjectStore
from phyletic.cli import main


def findings(address):
    result = CliRunner().invoke(main, ["doctor", "--checkpoints", address, "--json"])
    assert SECRET not in result.output
    return {finding["topic"]: finding for finding in json.loads(result.output)}, result.exit_code


@pytest.mark.parametrize("unconditional", [False, True])
def test_a_store_is_probed_and_left_as_it_was(proxy, unconditional):
    proxy.unconditional = unconditional
    address = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    found, status = findings(address)
    assert status == 0
    assert found["store"]["level"] == "ok"
    assert found["store conditional create"]["level"] == ("note" if unconditional else "ok")
    assert ("ignored" if unconditional else "honoured") in found["store conditional create"]["text"]
    assert " ms" in found["store round trip"]["text"]
    assert ObjectStore(address).first_names() == []


@pytest.mark.parametrize("fault", ["503", "denied", "expired"])
def test_a_store_that_refuses_is_a_problem(proxy, fault):
    proxy.fault = lambda method, path: fault if method == "PUT" else None
    found, status = findings(f"s3://{BUCKET}/{secrets.token_hex(8)}")
    assert status == 1
    assert found["store"]["level"] == "problem"
    assert found["store"]["advice"]


def test_a_wrong_address_is_a_problem_without_its_secret(proxy):
    for wrong in ("memory:", "/folder", f"s3://k:{SECRET}@bucket"):
        found, status = findings(wrong)
        assert (found["store"]["level"], status) == ("problem", 1)
