"""What ``phyletic kubernetes`` writes follows the schemas of Kubernetes and of KubeRay, unknown fields refused.

tests/fixtures/kuberay_rayjob_v1.json is the schema of ray.io/v1 in ray-operator/config/crd/bases/ray.io_rayjobs.yaml of
KubeRay 1.7.0, under the licence in kuberay.LICENSE beside it (Apache 2.0), written as JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result

from phyletic.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures"
WORKER = ["grpcs://head:7070", "digits", "train.py:train"]
IMAGE = ["--image", "registry.example/me/train:1"]
SECRET = "w0rk3r-s3cr3t"
VERSIONS = ("1.31", "1.34", "1.37")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
         "-subj", "/CN=head", "-keyout", "head.key", "-out", "head.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path / "head.crt"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["kubernetes", *arguments])


def written(*arguments: str) -> dict[str, Any]:
    result = call(*arguments, *IMAGE, "--output", "k8s")
    assert result.exit_code == 0, result.output
    return {path.name: yaml.safe_load(path.read_text()) for path in Path("k8s").glob("*.yaml")}


def without_unknown_fields(schema: Any) -> Any:
    """Return a schema of a custom resource that refuses what the API server would only drop."""
    if isinstance(schema, list):
        return [without_unknown_fields(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: without_unknown_fields(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def rayjob_schema() -> dict[str, Any]:
    schema = without_unknown_fields(json.loads((FIXTURES / "kuberay_rayjob_v1.json").read_text())["schema"])
    # a custom resource's schema leaves the metadata to the API server
    schema["properties"]["metadata"] = {
        "type": "object", "additionalProperties": False, "required": ["name"],
        "properties": {"name": {"type": "string"}, "labels": {"type": "object"}},
    }  # fmt: skip
    return dict(schema)


def pod_of_job(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


ALL = ["--workers", "4", "--gpus", "1", "--cpus", "500m", "--memory", "16Gi", "--namespace", "ml", "--secret", "s3"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [[], ALL], ids=["least", "all"])
def test_a_job_follows_the_schema_of_kubernetes(version: str, options: list[str]) -> None:
    job = written(*WORKER, *options)["worker.yaml"]
    kubernetes_validate.validate(job, version, strict=True)
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("options", [[], [*ALL, "--claim", "study"]], ids=["least", "all"])
def test_a_rayjob_follows_the_schema_of_kuberay(options: list[str]) -> None:
    job = written("--ray", "train.py", *options)["rayjob.yaml"]
    validator = jsonschema.Draft202012Validator(rayjob_schema())
    validator.validate(job)
    pod = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    for place, field in ((job["spec"], "entrypiont"), (pod, "gracePeriod"), (pod["containers"][0], "imag")):
        place[field] = "x"
        with pytest.raises(jsonschema.ValidationError, match=field):
            validator.validate(job)
        del place[field]
    validator.validate(job)


def test_an_ended_node_costs_nothing_and_leaves_time_to_hand_back() -> None:
    job = written(*WORKER, "--workers", "4")["worker.yaml"]
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    rules = spec["podFailurePolicy"]["rules"]
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules
    assert pod_of_job(job)["terminationGracePeriodSeconds"] == 60
    assert pod_of_job(job)["restartPolicy"] == "Never"  # which a failure policy needs


def test_the_token_comes_from_a_secret_and_nothing_runs_as_root(certificate: Path) -> None:
    job = written(*WORKER, "--ca", str(certificate))["worker.yaml"]
    container = pod_of_job(job)["containers"][0]
    environment = {one["name"]: one for one in container["env"]}
    assert environment["PHYLETIC_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "digits-token", "key": "token"}}
    assert environment["PHYLETIC_TLS_CA"]["value"] == "/run/phyletic/ca.crt"
    ray = written("--ray", "train.py", "--force")["rayjob.yaml"]["spec"]
    templates = [
        job["spec"]["template"], ray["submitterPodTemplate"], ray["rayClusterSpec"]["headGroupSpec"]["template"],
        ray["rayClusterSpec"]["workerGroupSpecs"][0]["template"],
    ]  # fmt: skip
    for template in templates:
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert template["spec"]["automountServiceAccountToken"] is False
        for one in template["spec"]["containers"]:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False


def as_kubernetes_expands(text: str) -> str:
    """Return what becomes of a part of a container's command: $$ is a dollar, $(HOME) a variable of the container."""
    return re.sub(r"\$(\$|\(HOME\))", lambda found: "$" if found[1] == "$" else "/tmp", text)


def test_what_a_pod_runs_is_a_command_of_the_package() -> None:
    text = "python 'a b.py' $(HOME) $$ $HOME"
    job = written(*WORKER[:2], "--command", text)["worker.yaml"]
    program, name, *arguments = map(as_kubernetes_expands, pod_of_job(job)["containers"][0]["command"])
    assert (program, name) == ("phyletic", "worker")
    outer = click.Context(main, **main.context_settings)
    command = main.get_command(outer, name)
    assert command is not None
    with command.make_context(name, arguments, parent=outer) as context:
        assert context.params["command"] == text


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_builds_the_folder(certificate: Path) -> None:
    written(*WORKER, *ALL, "--ca", str(certificate))
    built = subprocess.run(["kubectl", "kustomize", "k8s"], check=True, capture_output=True, text=True).stdout
    documents = {document["kind"]: document for document in yaml.safe_load_all(built)}
    assert {one["metadata"]["namespace"] for one in documents.values()} == {"ml"}
    configuration = documents["ConfigMap"]
    assert configuration["data"]["ca.crt"] == certificate.read_text()
    (volume,) = (one for one in pod_of_job(documents["Job"])["volumes"] if one["name"] == "ca")
    assert volume["configMap"]["name"] == configuration["metadata"]["name"]


def test_the_next_commands_are_printed() -> None:
    result = call(*WORKER, *IMAGE, "--output", "my k8s", "--namespace", "ml")
    lines = [line.strip() for line in result.output.splitlines()]
    assert "kubectl create secret generic digits-token --namespace ml --from-file=token=worker.token" in lines
    assert f"kubectl apply -k '{Path.cwd()}/my k8s'" in lines


def test_files_of_others_are_left_alone_unless_force_is_given() -> None:
    written(*WORKER)
    written(*WORKER, "--workers", "2")  # what it wrote itself it replaces
    manifest = Path("k8s/worker.yaml")
    manifest.write_text(manifest.read_text().replace("parallelism: 2", "parallelism: 1"))
    changed = {path.name: path.read_text() for path in Path("k8s").iterdir()}
    result = call(*WORKER, *IMAGE, "--output", "k8s", "--workers", "3", "--namespace", "ml")
    assert result.exit_code == 1
    assert "--force" in result.output
    assert {path.name: path.read_text() for path in Path("k8s").iterdir()} == changed
    assert written(*WORKER, "--workers", "3", "--force")["worker.yaml"]["spec"]["parallelism"] == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*WORKER, "--token", SECRET], "--token"),
        ([f"grpcs://me:{SECRET}@head:7070", *WORKER[1:]], "URL"),
        (["grpcs://localhost:7070", *WORKER[1:]], "URL"),
        (["grpc://head:7070", *WORKER[1:]], "URL"),
        (["grpcs://head:7070", "a\nb", "train.py:train"], "STUDY"),
        (WORKER[:2], "give either"),
        (WORKER[:1], "--ray"),
        ([], "--ray"),
        ([*WORKER, "--ray", "train.py"], "--ray"),
        (["--ray", "train.sh"], "--ray"),
        (["--ray", "a b.py"], "--ray"),
        (["--ray", "a;b.py"], "--ray"),
        (["--ray", "train.py", "--claim", "A"], "--claim"),
        ([*WORKER, "--claim", "a"], "--claim"),
        ([*WORKER, "--name", "Digits"], "--name"),
        ([*WORKER, "--name", "digits-"], "--name"),
        ([*WORKER, "--name", "a" * 46], "--name"),
        ([*WORKER, "--namespace", "ml.a"], "--namespace"),
        ([*WORKER, "--secret", "a_b"], "--secret"),
        ([*WORKER, "--cpus", "four"], "--cpus"),
        ([*WORKER, "--memory", "16"], "--memory"),
        ([*WORKER, "--workers", "0"], "--workers"),
        ([*WORKER, "--user", "0"], "--user"),
        ([*WORKER, "--image", "a b"], "--image"),
        ([*WORKER, "--image", ""], "--image"),
        ([*WORKER, "--ca", "none.crt"], "--ca"),
        ([*WORKER, "--output", "file"], "--output"),
        ([*WORKER, "--output", "file/k8s"], "--output"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(arguments: list[str], named: str) -> None:
    Path("file").touch()
    result = call(*IMAGE, "--output", "k8s", *arguments)
    assert result.exit_code in (1, 2)
    assert named in result.stderr
    assert SECRET not in result.output
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_private_key_is_no_certificate(certificate: Path) -> None:
    both = Path("both.pem")
    both.write_text(certificate.read_text() + Path("head.key").read_text())
    result = call(*WORKER, *IMAGE, "--output", "k8s", "--ca", "both.pem")
    assert result.exit_code == 1
    assert "without a private key" in result.output
    assert not Path("k8s").exists()
