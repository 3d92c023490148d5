"""The container file and the compose file are well formed, and agree with each other and with the package.

compose_spec.json is the schema of compose files as docker-compose 1.29.2 ships it, under the licence beside it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from phyletic.cli import main
from phyletic.private_files import require_private
from phyletic.service.listening import tls_files

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def container() -> list[dict[str, Any]]:
    parsed = DockerfileParser(fileobj=(DEPLOY / "Containerfile").open("rb"))
    return [line for line in parsed.structure if line["instruction"] != "COMMENT"]


def values(container: list[dict[str, Any]], instruction: str) -> list[str]:
    return [line["value"] for line in container if line["instruction"] == instruction]


def test_the_compose_file_follows_its_schema(compose: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    without_name = {key: value for key, value in compose.items() if key != "name"}  # younger than this schema
    jsonschema.Draft7Validator(schema).validate(without_name)
    without_name["services"]["server"]["portz"] = []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(without_name)
    del without_name["services"]["server"]["portz"]


def test_the_compose_file_builds_the_container_file(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        build = service["build"]
        assert (DEPLOY / build["context"]).resolve() == ROOT
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or source.startswith(("./", "${")), volume


def test_the_commands_are_those_of_the_package(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        name, *arguments = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", one) for one in service["command"]]
        outer = click.Context(main, **main.context_settings)
        command = main.get_command(outer, name)
        assert command is not None
        with command.make_context(name, arguments, parent=outer) as context:
            assert context.params.get("storage", "sqlite:////data/studies.db") == "sqlite:////data/studies.db"


def test_only_loopback_reaches_the_server_from_outside_and_only_with_tls(compose: dict[str, Any]) -> None:
    server = compose["services"]["server"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    options = dict(option.removeprefix("--").split("=") for option in server["command"] if option.startswith("--"))
    assert options["host"] == "0.0.0.0"
    for option, name in (("tls-certificate", "server.crt"), ("tls-key", "server.key")):
        assert options[option] == f"/run/tls/{name}"
    worker = compose["services"]["worker"]
    assert worker["command"][1] == "grpcs://server:7070"
    assert not any("TOKEN" in name and name != "PHYLETIC_TOKEN_FILE" for name in worker["environment"])


def test_the_container_file_copies_what_there_is_and_runs_as_a_user(container: list[dict[str, Any]]) -> None:
    assert len(values(container, "FROM")) == 2
    ignored = (ROOT / ".containerignore").read_text()
    assert ignored == (ROOT / ".dockerignore").read_text()
    kept = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    for copy in values(container, "COPY"):
        if not copy.startswith("--from"):
            for source in copy.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in kept, "left out by .containerignore"
    instructions = [line["instruction"] for line in container]
    assert values(container, "USER") == ["phyletic"]
    assert instructions.index("USER") < instructions.index("ENTRYPOINT")
    assert json.loads(values(container, "ENTRYPOINT")[0]) == ["phyletic"]
    assert {line["instruction"] for line in container} <= {
        *("FROM", "ARG", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD")
    }


def test_the_container_has_an_extra_that_exists_and_a_python_that_is_supported(container: list[dict[str, Any]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = (value.partition("=")[2] for value in values(container, "ARG"))
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for image in values(container, "FROM"):
        found = re.match(r"docker\.io/library/python:(3\.\d+)-slim", image)
        assert found is not None
        assert f"Programming Language :: Python :: {found[1]}" in project["classifiers"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_secrets_are_made_as_the_server_wants_them(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    environment = {**os.environ, "OWNER": str(os.geteuid())}
    subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True, env=environment)
    secrets = tmp_path / "secrets"
    files = tls_files(secrets / "server" / "server.crt", secrets / "server" / "server.key")
    assert files is not None
    require_private("token", secrets / "worker" / "token")
    ssl.create_default_context(cafile=secrets / "worker" / "server.crt")
    again = subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert again.returncode == 1
    assert "exists already" in again.stderr
