"""The Terraform plans are well formed, their variables are declared and checked, and machines start what is meant.

``terraform`` itself checks the module that needs no provider; the plans that need Oracle's are only read.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import hcl2
import pytest
import yaml

from phyletic.cli import main

DEPLOY = Path(__file__).parents[3] / "deploy"
BOOTSTRAP = DEPLOY / "oci" / "modules" / "bootstrap"
PLANS = [DEPLOY / "oci", DEPLOY / "oci-one-gpu", BOOTSTRAP]
NAMES = [str(plan.relative_to(DEPLOY)) for plan in PLANS]
UNCHECKED = {"packages", "torch", "driver", "study", "train", "head_shape"}
"""Variables that a plan only hands to the module, which checks them."""

needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")


@functools.cache
def texts(plan: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(plan.glob("*.tf")))


@functools.cache
def blocks(plan: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return a plan's blocks of a kind by their labels, such as ``oci_core_instance.head``."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(plan.glob("*.tf")):
        with path.open() as file:
            for block in hcl2.load(file).get(kind, []):
                labels = []
                while len(block) >= 1 and isinstance(block, dict) and kind_of(block) is not None:
                    label = kind_of(block)
                    labels.append(str(label).strip('"'))
                    block = block[label]
                found[".".join(labels)] = block
    return found


def kind_of(block: dict[str, Any]) -> str | None:
    """Return the label of a block that holds nothing else; None for its body."""
    names = [name for name in block if not name.startswith("__")]
    return names[0] if len(names) == 1 and names[0].startswith('"') else None


@pytest.mark.parametrize("plan", PLANS, ids=NAMES)
def test_every_variable_that_is_used_is_declared_and_every_declared_one_is_used(plan: Path) -> None:
    used = set(re.findall(r"\bvar\.(\w+)", re.sub(r'error_message\s*=\s*"[^"]*"', "", texts(plan))))
    declared = blocks(plan, "variable")
    assert used == set(declared)
    for name, variable in declared.items():
        assert variable["description"], name
        assert "type" in variable, name


@pytest.mark.parametrize("plan", PLANS, ids=NAMES)
def test_every_variable_is_validated_here_or_in_the_module(plan: Path) -> None:
    for name, variable in blocks(plan, "variable").items():
        if plan == BOOTSTRAP or name not in UNCHECKED | {"code"}:
            assert variable.get("validation"), name
        else:
            assert name == "head_shape" or name in blocks(BOOTSTRAP, "variable"), name


@pytest.mark.parametrize("plan", PLANS[:2], ids=NAMES[:2])
def test_a_module_gets_what_it_declares_and_what_is_named_exists(plan: Path) -> None:
    for name, module in blocks(plan, "module").items():
        assert (plan / module["source"].strip('"')).resolve() == BOOTSTRAP, name
        declared = blocks(BOOTSTRAP, "variable")
        given = {key for key in module if not key.startswith("__")} - {"source"}
        assert given <= set(declared), name
        assert {key for key, variable in declared.items() if "default" not in variable} <= given, name
    references = set(re.findall(r"\b(oci_\w+\.\w+|module\.\w+|data\.oci_\w+\.\w+)", texts(plan)))
    existing = {
        *blocks(plan, "resource"),
        *(f"data.{name}" for name in blocks(plan, "data")),
        *(f"module.{name}" for name in blocks(plan, "module")),
    }
    resources = {one for one in references if f"data.{one}" not in references}
    assert resources <= existing


def test_workers_are_preemptible_and_no_secret_is_in_the_plan() -> None:
    instances = blocks(DEPLOY / "oci", "resource")
    assert "preemptible_instance_config" in instances["oci_core_instance.worker"]
    assert "preemptible_instance_config" not in instances["oci_core_instance.head"]
    everything = "\n".join(map(texts, PLANS))
    assert not re.search(r"tls_private_key|customer_secret_key|PHYLETIC_TOKEN=|BEGIN .*PRIVATE", everything)


# With terraform


def terraform(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["terraform", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terraform") / "bootstrap"
    shutil.copytree(BOOTSTRAP, folder)
    terraform(folder, "init", "-input=false", "-no-color")
    return folder


@needs_terraform
def test_the_plans_are_formatted() -> None:
    terraform(DEPLOY, "fmt", "-check", "-diff", "-recursive")


@needs_terraform
def test_the_module_is_valid_and_passes_its_own_tests(module: Path) -> None:
    terraform(module, "validate", "-no-color")
    assert "0 failed" in terraform(module, "test", "-no-color")


ROLES = {
    "head": {"role": "head", "shape": "VM.Standard.E5.Flex", "server": "head.here", "bucket": "phyletic"},
    "worker": {
        "role": "worker", "shape": "VM.GPU.A10.2", "server": "head.here", "bucket": "phyletic", "study": "digits",
        "train": "train.py:train", "torch": "2.13.0", "code": {"train.py": base64.b64encode(b"x = 1\n").decode()},
    },
    "alone": {"role": "alone", "shape": "VM.GPU.A10.1", "study": "train.py:study", "train": "train.py:train"},
}  # fmt: skip


@needs_terraform
@pytest.mark.parametrize("role", ROLES)
def test_a_machine_starts_a_command_of_the_package_by_scripts_that_bash_reads(module: Path, role: str) -> None:
    variables = module / f"{role}.tfvars.json"
    variables.write_text(json.dumps({**ROLES[role], "packages": ["phyletic[service]==0.1.0", "timm>=1"]}))
    state = f"-state={role}.tfstate"
    terraform(module, "apply", "-auto-approve", "-input=false", state, f"-var-file={variables.name}")
    outputs = json.loads(terraform(module, "output", "-json", state))
    text = gzip.decompress(base64.b64decode(outputs["user_data"]["value"])).decode()
    assert text.startswith("#cloud-config\n")
    machine = yaml.safe_load(text)
    files = {file["path"]: file for file in machine["write_files"]}
    script = files["/opt/phyletic/install.sh"]["content"]
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    assert "${" not in text.replace("${#", ""), "a placeholder is left"
    unit = files["/etc/systemd/system/phyletic.service"]["content"]
    (started,) = re.findall(r"^ExecStart=\S+/phyletic (.*)$", unit, re.MULTILINE)
    name, *arguments = started.split()
    with click.Context(main, **main.context_settings) as outer:
        command = main.get_command(outer, name)
        assert command is not None
        with command.make_context(name, arguments, parent=outer) as context:
            assert context.params.get("devices") == {"head": None, "worker": "0,1", "alone": "0"}[role]
    assert name == {"head": "serve", "worker": "worker", "alone": "run"}[role]
    assert machine["runcmd"] == ["/opt/phyletic/install.sh"]
    assert files["/opt/phyletic/packages.txt"]["content"].splitlines()[-2:] == ["phyletic[service]==0.1.0", "timm>=1"]
