"""``phyletic kubernetes``: a folder of manifests for workers of a service, or for a Ray cluster that runs a script."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click

from phyletic.cli.manifests import Pods, kustomization, ray_job, worker_job
from phyletic.cli.shared_options import setting
from phyletic.cli.worker_command import NoTokenCommand, WorkerCommand, checked_worker, worker_arguments
from phyletic.cli.yaml_text import yaml_text
from phyletic.credentials import server_url
from phyletic.errors import InvalidArgument

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_NAME = 45
"""Characters of a name: what Kubernetes and KubeRay add must fit into 63."""
_USER, _RAY_USER = 10001, 1000
"""Of the images that deploy/Containerfile makes, and of those that rayproject publishes."""
_IMAGE = re.compile(r"[a-z0-9][\w./:@-]{0,499}", re.ASCII)
_SCRIPT = re.compile(r"[\w./+-]+\.py", re.ASCII)
_CPUS = re.compile(r"[1-9][0-9]{0,4}m|[1-9][0-9]{0,3}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9]", re.ASCII)
_MEMORY = re.compile(r"[1-9][0-9]{0,8}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)", re.ASCII)
_WRITTEN = re.compile(r"# Written by phyletic kubernetes, digest ([0-9a-f]{16})\n")


@click.command(
    cls=NoTokenCommand,
    short_help="Write manifests that start workers on Kubernetes.",
    epilog="Example: phyletic kubernetes grpcs://head:7070 digits train.py:train --image me/train --output k8s",
)
@worker_arguments(required=False)
@click.option("--ray", "script", metavar="SCRIPT.py", help="In place of a service: a script that uses ph.RayWorkers.")
@click.option("--image", required=True, metavar="IMAGE", help="The image, with phyletic and your code in it.")
@click.option("--output", required=True, metavar="FOLDER", help="The folder to write.")
@setting("--workers", click.IntRange(1, 10_000), 1, "How many pods train.")
@setting("--gpus", click.IntRange(0, 64), 0, "GPUs of each (nvidia.com/gpu).")
@click.option("--cpus", metavar="COUNT", help="Processors that each requests, such as 4 or 500m.")
@click.option("--memory", metavar="SIZE", help="Memory of each, such as 16Gi.")
@click.option("--name", metavar="NAME", help="The Job's name.  [default: the study's, or the script's]")
@click.option("--namespace", metavar="NAME", help="The namespace.  [default: your context's]")
@click.option("--ca", metavar="FILE", help="The root of the server's certificate, unless the image trusts it.")
@click.option(
    "--secret", multiple=True, metavar="NAME", help="A Secret whose keys the pods get as variables. Repeatable."
)
@click.option("--claim", metavar="NAME", help="With --ray: a PersistentVolumeClaim that the head mounts at /data.")
@click.option(
    "--user", type=click.IntRange(1, 2**31 - 1), help="Number of the pods' user.  [default: 10001; Ray: 1000]"
)
@click.option(
    "--force", is_flag=True, help="Replace files that this command did not write, or that were changed since."
)
def kubernetes(
    url: str | None,
    study: str | None,
    train: tuple[str, str] | None,
    command: str | None,
    checkpoints: str | None,
    script: str | None,
    image: str,
    output: str,
    workers: int,
    gpus: int,
    cpus: str | None,
    memory: str | None,
    name: str | None,
    namespace: str | None,
    ca: str | None,
    secret: Sequence[str],
    claim: str | None,
    user: int | None,
    force: bool,
) -> None:
    """Write manifests: pods that run MODULE:FUNCTION for STUDY, which the server at URL decides for.

    A folder with a kustomization.yaml and one manifest, an Indexed Job. A pod that ends with its node hands its trial
    back within 60 s, is replaced, and counts as no failure. The worker's token is in a Secret, which you make with the
    command that is printed.

    With --ray, URL, STUDY and MODULE:FUNCTION are left out, and the manifest is a RayJob of KubeRay: the head runs
    SCRIPT.py (a path in the image), whose study.run(train, workers=ph.RayWorkers(...)) trains in the other pods.
    """
    given = (url, study, train, command, checkpoints, ca)
    if script is not None and given != (None,) * len(given):
        raise click.UsageError("--ray leaves out URL, STUDY, MODULE:FUNCTION, --command, --checkpoints and --ca")
    if script is None and (url is None or study is None):
        raise click.UsageError("give URL, STUDY and MODULE:FUNCTION, or --ray SCRIPT.py")
    if script is None and claim is not None:
        raise click.UsageError("--claim needs --ray")
    pods = Pods(
        name=resource_name(study or PurePosixPath(script or "").stem) if name is None else name,
        image=image,
        workers=workers,
        gpus=gpus,
        cpus=cpus,
        memory=memory,
        user=user or (_USER if script is None else _RAY_USER),
        secrets=tuple(secret),
    )
    check_pods(pods)
    _check_resource("--namespace", namespace, _LABEL)
    if script is None:
        worker = checked_worker(url or "", study or "", train, command, checkpoints)
        texts = worker_files(pods, worker, namespace, None if ca is None else certificates(ca))
    else:
        texts = ray_files(pods, script, namespace, claim)
    folder = write_folder(output, texts, force=force)
    where = "" if namespace is None else f" --namespace {namespace}"
    click.echo(f"wrote {', '.join(sorted(texts))} into {folder}. Next:")
    if script is None:
        click.echo(f"  kubectl create secret generic {pods.name}-token{where} --from-file=token=worker.token")
    click.echo(f"  kubectl apply -k {shlex.quote(str(folder))}")
    click.echo(f"  kubectl get pods{where} -l app.kubernetes.io/instance={pods.name}")


def worker_files(pods: Pods, worker: WorkerCommand, namespace: str | None, ca: str | None) -> dict[str, str]:
    """Return the files for workers of a service.

    Args:
        pods: What the pods are.
        worker: What each worker is told.
        namespace: The namespace; None for that of the user's context.
        ca: The root of the server's certificate, in PEM; None if the image trusts it.

    Raises:
        InvalidArgument: Pods cannot reach the server.
    """
    if server_url(worker.url, "URL").loopback:
        raise InvalidArgument("URL", worker.url, "an address that pods reach: this one is the pod itself")
    name = None if ca is None else f"{pods.name}-ca"
    job = worker_job(pods, worker, token_secret=f"{pods.name}-token", ca=name)
    listed = kustomization("worker.yaml", namespace, None if name is None else (name, "ca.crt"))
    texts = {"worker.yaml": _marked(yaml_text(job)), "kustomization.yaml": _marked(yaml_text(listed))}
    return texts if ca is None else {**texts, "ca.crt": ca}


def ray_files(pods: Pods, script: str, namespace: str | None, claim: str | None) -> dict[str, str]:
    """Return the files for a Ray cluster that runs a script.

    Args:
        pods: What the workers' pods are.
        script: The script's path in the image.
        namespace: The namespace; None for that of the user's context.
        claim: A PersistentVolumeClaim that the head mounts; None for none.

    Raises:
        InvalidArgument: The script or the claim has no name that can be used.
    """
    if not _SCRIPT.fullmatch(script) or script.startswith("-"):
        allowed = "the path of a .py file in the image, of letters, digits and any of _ . / + -"
        raise InvalidArgument("--ray", script, allowed)
    _check_resource("--claim", claim, _SUBDOMAIN)
    listed = kustomization("rayjob.yaml", namespace)
    job = ray_job(pods, script, claim=claim)
    return {"rayjob.yaml": _marked(yaml_text(job)), "kustomization.yaml": _marked(yaml_text(listed))}


def resource_name(text: str) -> str:
    """Return a name for a resource that resembles a text.

    Example:
        >>> resource_name("Größe_2")
        'gr-e-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_NAME].strip("-") or "phyletic"


def check_pods(pods: Pods) -> None:
    """Raise InvalidArgument, with the name of the option, unless pods can be made."""
    _check_resource("--name", pods.name, _LABEL)
    if len(pods.name) > _LONGEST_NAME:
        raise InvalidArgument("--name", pods.name, f"at most {_LONGEST_NAME} characters long")
    if not _IMAGE.fullmatch(pods.image):
        raise InvalidArgument("--image", pods.image, "the name of an image, such as registry.example/me/train:1")
    if pods.cpus is not None and not _CPUS.fullmatch(pods.cpus):
        raise InvalidArgument("--cpus", pods.cpus, "a number of processors, such as 4, 0.5 or 500m")
    if pods.memory is not None and not _MEMORY.fullmatch(pods.memory):
        raise InvalidArgument("--memory", pods.memory, "a size with a unit, such as 16Gi or 500Mi")
    for secret in pods.secrets:
        _check_resource("--secret", secret, _SUBDOMAIN)


def _check_resource(option: str, text: str | None, form: re.Pattern[str]) -> None:
    if text is not None and not (form.fullmatch(text) and ".." not in text):
        longest = 63 if form is _LABEL else 253
        allowed = f"a name of Kubernetes: a-z, 0-9 and - between them, at most {longest} characters (RFC 1123)"
        raise InvalidArgument(option, text, allowed)


def certificates(path: str) -> str:
    """Return the text of a file of certificates.

    Raises:
        InvalidArgument: It cannot be read, or holds something else, such as a private key.
    """
    import ssl

    from phyletic.disk import local_path

    allowed = "a file of certificates in PEM"
    file = local_path("--ca", path, allowed)
    try:
        text = file.read_text("ascii")
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError) as error:
        raise InvalidArgument("--ca", path, allowed, f"{error}") from None
    if "PRIVATE KEY" in text:
        raise InvalidArgument("--ca", path, f"{allowed}, without a private key")
    return text


# Files


def _marked(text: str) -> str:
    """Return a text after a line with its digest, by which :func:`write_folder` sees whether a person changed it."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"# Written by phyletic kubernetes, digest {digest}\n{text}"


def _unchanged(text: str) -> bool:
    found = _WRITTEN.match(text)
    return found is not None and _marked(text[found.end() :]) == text


def write_folder(output: str, texts: dict[str, str], *, force: bool) -> Path:
    """Write files into a folder, which is made if it is missing; return its path.

    Args:
        output: The folder.
        texts: The text of each file.
        force: Whether to replace files that somebody else wrote or changed.

    Raises:
        InvalidArgument: The folder cannot be made, or such a file is in it; then nothing was written.
    """
    from phyletic import disk

    allowed = "the path of a folder"
    folder = disk.local_path("--output", output, allowed)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("--output", output, f"{allowed}, not of a file")
    for file, text in texts.items():
        path = folder / file
        if force or not (path.exists() or path.is_symlink()):
            continue
        there = path.read_text(errors="replace") if path.is_file() else ""
        if not (there == text or _unchanged(there)):
            hint = f"{path} was written or changed by somebody else: --force replaces it"
            raise InvalidArgument("--output", output, "a folder without files that this command would replace", hint)
    try:
        disk.make_folder(str(folder))
        for file, text in texts.items():
            unfinished = folder / f"{file}.part"
            disk.unlink(unfinished)
            disk.write_file(unfinished, [text.encode()])
            disk.rename(unfinished, folder / file)
        disk.fsync_folder(folder)
    except OSError as error:
        raise InvalidArgument("--output", output, f"{allowed} that can be written ({error.strerror})") from None
    return folder
