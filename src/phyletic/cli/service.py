"""``phyletic serve``, ``phyletic worker`` and ``phyletic up``: a server, and workers wherever they are."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import click

from phyletic.cli.run import load, parse_devices, split_command, split_reference
from phyletic.cli.shared_options import FiniteRange, setting, training_options
from phyletic.cli.slurm_requeue import current_job, requeue_job
from phyletic.errors import InvalidArgument, Unreachable
from phyletic.workers.interrupts import SignalExit, leaving_on

if TYPE_CHECKING:
    from phyletic.service.server import Server
    from phyletic.study.study import Study

GRPC_PORT = 7070
HTTP_PORT = 7071


@click.command(
    short_help="Serve the studies of a database to workers on other machines.",
    epilog="Example: phyletic serve sqlite:///digits.db",
)
@click.argument("storage", metavar="STORAGE")
@setting("--host", str, "127.0.0.1", "The name or address to listen at; one that others can reach needs TLS.")
@setting("--grpc-port", click.IntRange(0, 65535), GRPC_PORT, "The port of gRPC; 0 takes a free one.")
@setting("--http-port", click.IntRange(0, 65535), HTTP_PORT, "The port of HTTP; 0 takes a free one.")
@click.option("--tls-certificate", metavar="FILE", help="The server's certificate, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its private key, which only you can read.")
@click.option("--client-ca", metavar="FILE", help="The root of the certificates that clients must then show (mTLS).")
@click.option(
    "--allow",
    multiple=True,
    type=split_reference,
    metavar="MODULE:NAME",
    help="A function or class of your own that studies may use. Can be given several times.",
)
@setting("--max-sessions", click.IntRange(min=1), 20_000, "How many workers it takes at once.")
@setting("--max-checkpoint-bytes", click.IntRange(min=1), 16 << 30, "The most bytes of one checkpoint that is sent.")
@setting("--max-stored-bytes", click.IntRange(min=1), 1 << 40, "The most bytes of all checkpoints together.")
def serve(
    storage: str,
    host: str,
    grpc_port: int,
    http_port: int,
    tls_certificate: str | None,
    tls_key: str | None,
    client_ca: str | None,
    allow: tuple[tuple[str, str], ...],
    max_sessions: int,
    max_checkpoint_bytes: int,
    max_stored_bytes: int,
) -> None:
    """Serve the studies of STORAGE (such as sqlite:///digits.db) over gRPC and HTTP, until SIGTERM or Ctrl-C.

    Workers join and leave at any time: phyletic worker grpc://HOST:PORT STUDY MODULE:FUNCTION. Every call needs a
    token. The first start makes one, in a file beside the database, which programs of yours on this machine find by
    themselves; for other machines, phyletic token create makes them.
    """
    from phyletic.service.checkpoint_limits import CheckpointLimits
    from phyletic.service.listening import tls_files
    from phyletic.service.logs import log_to_stderr
    from phyletic.service.server import Server

    log_to_stderr()
    server = Server(
        storage,
        host=host,
        grpc_port=grpc_port,
        http_port=http_port,
        tls=tls_files(tls_certificate, tls_key, client_ca),
        allow=[f"{found.__module__}:{found.__qualname__}" for found in (load(*one) for one in allow)],
        most_sessions=max_sessions,
        checkpoints=CheckpointLimits(max_checkpoint_bytes, max_stored_bytes),
    )
    _serve(server, storage)


def _serve(server: Server, storage: str) -> None:
    """Run a server in this thread, until a signal."""
    import asyncio

    def began() -> None:
        click.echo(f"serving {storage}")
        click.echo(f"  gRPC: {server.url}")
        if server.http_url:
            click.echo(f"  HTTP: {server.http_url}")
        if server.token_file.exists():
            click.echo(f"  token: {server.token_file}, for programs of yours on this machine")
        else:
            click.echo(f"  token: {server.token_file} was removed; phyletic token create {storage} makes others")
        click.echo(f"  a worker: phyletic worker {server.url} STUDY train.py:train")
        sys.stdout.flush()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.run(began)

    asyncio.run(run())


@click.command(
    short_help="Run trials of a study that a server decides for.",
    epilog="Example: phyletic worker grpc://localhost:7070 digits train.py:train --workers 4",
)
@click.argument("url", metavar="URL")
@click.argument("study")
@click.argument("train", type=split_reference, metavar="MODULE:FUNCTION", required=False)
@click.option("--command", metavar="TEXT", help="In place of the function: a program, run once for each trial.")
@training_options
@setting("--lease", FiniteRange(min=0, min_open=True), 120.0, "Seconds of silence after which others get its trials.")
@setting("--grace", FiniteRange(min=0, min_open=True), 10.0, "Seconds after SIGTERM to hand trials back.")
@click.option(
    "--give-up-after",
    type=FiniteRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End if the server has not answered for so long.  [default: never]",
)
@click.option("--checkpoints", metavar="FOLDER", help="Where this machine sees the folder of checkpoints.")
@click.option("--requeue", is_flag=True, help="In a Slurm job: after a signal, hand back and queue the job again.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every trial.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def worker(
    url: str,
    study: str,
    train: tuple[str, str] | None,
    command: str | None,
    workers: int | None,
    devices: str | None,
    reload: Literal["changed", "always"],
    upload: Literal["before_tell", "background"],
    lease: float,
    grace: float,
    give_up_after: float | None,
    checkpoints: str | None,
    requeue: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Run trials of STUDY, which the server at URL decides for, with your training code or a command.

    MODULE:FUNCTION names the training code, as for phyletic run; with --command, one process of a program runs each
    trial instead. A worker that cannot reach the server trains on and tries again.

    The exit status is 0 only if the study is finished. SIGTERM hands the running trials back, and the status is 143;
    SIGUSR1 does the same, unless your code handles it, and the status is 138.
    """
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet exclude each other")
    if (train is None) == (command is None):
        raise click.UsageError("give either MODULE:FUNCTION or --command")
    if train is not None and not train[0]:
        raise click.BadParameter(f"{train[1]!r} has no module", param_hint="MODULE:FUNCTION")
    argv = None if command is None else split_command(command)
    gpus = None if devices is None else parse_devices(devices)
    job = current_job() if requeue else None
    try:
        # from its first moment on: a worker whose imports are slow may be warned before its first trial
        with leaving_on(signal.SIGUSR1, *([signal.SIGTERM] if requeue else [])):
            function = None if train is None else load(*train)
            if function is not None and not callable(function):
                raise InvalidArgument("MODULE:FUNCTION", function, "a function of one argument, the source of trials")
            found = _join(url, study, lease, give_up_after, checkpoints)
            ending = found.run(
                function,
                command=argv,
                workers=workers,
                devices=gpus,
                reload=reload,
                upload=upload,
                grace=grace,
                verbose=0 if quiet else 2 if verbose else 1,
            )
    except SignalExit as exit:
        if job is not None and not exit.finished:
            click.echo(requeue_job(job), err=True)
        raise
    if ending != "finished":
        click.echo(f"study {study!r} is not finished: this worker was stopped", err=True)
        sys.exit(1)


def _join(url: str, name: str, lease: float, give_up_after: float | None, checkpoints: str | None) -> Study:
    """Return a server's study, once the server answers.

    Args:
        url: The server.
        name: The study.
        lease: Seconds of silence after which others get the trials of this worker.
        give_up_after: Seconds after which it raises Unreachable; None waits for ever.
        checkpoints: Where this machine sees the folder of checkpoints; None for where the server has it.
    """
    from phyletic.backoff import pauses
    from phyletic.credentials import server_url
    from phyletic.study.study import Study

    server_url(url, "URL")
    if give_up_after is not None:
        # for the transfers of checkpoints, also those of this worker's local processes
        os.environ["PHYLETIC_GIVE_UP_AFTER"] = f"{give_up_after:g}"
    began, pause, said = time.monotonic(), pauses(random.random), False
    while True:
        try:
            found = Study(name, storage=url, checkpoints=checkpoints)
            break
        except Unreachable as error:
            if give_up_after is not None and time.monotonic() - began >= give_up_after:
                raise
            if not said:
                limit = "" if give_up_after is None else f", for at most {give_up_after:g} s"
                click.echo(f"{error}; trying again until it answers{limit}", err=True)
            said = True
        time.sleep(next(pause))
    owner: Any = found.owner
    owner.keep_trying(lease_seconds=lease, give_up_after=give_up_after)
    owner.database.patience = float("inf") if give_up_after is None else give_up_after
    return found


@click.command(
    short_help="Serve a study on this machine and run workers for it.",
    epilog="Example: phyletic up train.py:study train.py:train --workers 8",
)
@click.argument("study", metavar="MODULE:STUDY")
@click.argument("train", type=split_reference, metavar="MODULE:FUNCTION")
@setting("--workers", click.IntRange(min=1), 2, "Local processes.")
@setting("--grpc-port", click.IntRange(0, 65535), GRPC_PORT, "The port of gRPC; 0 takes a free one.")
@setting("--http-port", click.IntRange(0, 65535), HTTP_PORT, "The port of HTTP; 0 takes a free one.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def up(study: str, train: tuple[str, str], workers: int, grpc_port: int, http_port: int, quiet: bool) -> None:
    """Serve the stored study that MODULE:STUDY names, and run MODULE:FUNCTION in workers here until it is finished.

    The commands for separate terminals are printed first. Workers of other machines may join meanwhile.
    """
    from phyletic.cli.run import find_study
    from phyletic.service.server import serving
    from phyletic.study.study import Study

    found, module = find_study(study, None)
    if found.database.private:
        raise InvalidArgument("MODULE:STUDY", study, 'a stored study: ph.Study(..., storage="study.db")')
    function = load(train[0] or module, train[1])
    name, storage = found.name, found.storage
    found.close()
    with serving(storage, grpc_port=grpc_port, http_port=http_port) as server:
        if not quiet:
            ports = [server.url.rpartition(":")[2], server.http_url.rpartition(":")[2]]
            given = (
                "" if ports == [str(GRPC_PORT), str(HTTP_PORT)] else f" --grpc-port {ports[0]} --http-port {ports[1]}"
            )
            click.echo("the same in separate terminals:")
            click.echo(f"  phyletic serve {storage}{given}")
            click.echo(f"  phyletic worker {server.url} {name} {train[0] or module}:{train[1]} --workers {workers}")
        with Study(name, storage=server.url) as remote:
            ending = remote.run(function, workers=workers, verbose=0 if quiet else 1)
    if not quiet:
        click.echo(f"the study is in {storage}")
    if ending != "finished":
        sys.exit(1)
