"""What a study on a server costs: durable results a second, latency, thousands of workers at once.

    python benchmarks/service.py                     (about 20 minutes)
    python benchmarks/service.py --only pairs

The server is ``phyletic serve`` on a SQLite file; clients are other processes on this machine, over loopback, and their
workers train nothing. A pair is the result of a trial and the ask for the next one, in one call; the result is on the
disk when it is answered.

- pairs: as many pairs a second as the clients can ask for, with 1, 8 and 64 workers.
- workers: 100 workers with trials of 10 s, 1,000 of 30 s and 5,000 of 60 s, with heartbeats, for two minutes each.
- growth: the same as pairs with 8 workers, on a study of 1,000 members with 3,000 trials, and with --trials.
- optuna: 8 clients of Optuna's gRPC proxy on a SQLite file (pip install optuna) beside 8 of ours, in turns.
- toy: the toy with 2 local workers on a file, and with 2 workers of a server, in turns.

"server ms" is the server's processor time for each pair, and "core" the share of one core that it used.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from conditions import conditions, parser, show, work_folder

PARTS = ("pairs", "workers", "growth", "optuna", "toy")
CLIENTS = 2
"""Processes that the simulated workers of a server share."""


# --- the server --------------------------------------------------------------------------------------------------


class Served:
    """A server on a new SQLite file.

    Args:
        folder: Where the file is.
    """

    def __init__(self, folder: Path) -> None:
        self.storage = folder / "served.db"
        command = [sys.executable, "-m", "phyletic", "serve", f"sqlite:///{self.storage}", "--grpc-port", "0"]
        self._process = subprocess.Popen(
            [*command, "--http-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if found := re.search(r"grpc://\S+:\d+", line):
                self.url = found[0].rstrip(".,")
                break
        else:
            raise SystemExit("the server did not start:\n" + "".join(lines))
        self.process = psutil.Process(self._process.pid)

    @property
    def processor(self) -> float:
        """Seconds of the processor that the server has used."""
        times = self.process.cpu_times()
        return times.user + times.system

    def stop(self) -> None:
        """End the server in good order."""
        self._process.terminate()
        self._process.communicate(timeout=60)


@contextmanager
def serving(parent: Path, fill: Callable[[Path], None] = lambda path: None) -> Iterator[Served]:
    """Give a server on a new file that is removed at the end.

    Args:
        parent: Where to put the file.
        fill: Writes into it before the server starts.
    """
    with work_folder(parent) as folder:
        fill(folder / "served.db")
        served = Served(folder)
        try:
            yield served
        finally:
            served.stop()


def create(url: str, population: int) -> str:
    """Create a study on a server, and return its name."""
    import phyletic as ph

    study = ph.Study(
        secrets.token_hex(4),
        space={"lr": ph.Float(1e-4, 1e-1, log=True), "units": ph.Int(8, 256, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, 1),
        storage=url,
        seed=0,
    )
    return study.name


# --- simulated workers -------------------------------------------------------------------------------------------


def client(url: str, study: str, workers: int, trial_seconds: float, seconds: float, pairs: int) -> None:
    """Run simulated workers, and print what they measured as JSON.

    Args:
        url: The server.
        study: The study.
        workers: How many.
        trial_seconds: How long each trial takes.
        seconds: For how long to measure, after each worker has had its first trial.
        pairs: End after so many pairs; 0 for no such limit.
    """
    latencies: list[float] = []
    errors: list[str] = []

    async def work(call: Any, begin: float, end: float) -> None:
        from phyletic.coordinator.messages import Ask, Granted, Heartbeat, Join, Tell
        from phyletic.records import Evaluation

        session = secrets.token_hex(16)
        join = Join(session=session, worker="simulated", lease_seconds=120.0)
        await asyncio.sleep(random.uniform(0, trial_seconds))
        (*_, answer) = await call([join, Ask(session=session)])
        while isinstance(answer, Granted) and time.monotonic() < end and not (0 < pairs <= len(latencies)):
            grant = answer.first
            over = time.monotonic() + trial_seconds
            while (left := over - time.monotonic()) > 0:
                await asyncio.sleep(min(left, 15.0))
                if left > 15.0:
                    await call([Heartbeat(lease=grant.lease, step=grant.trial.start_step)])
            told = Tell(
                lease=grant.lease, steps_done=1, evaluations=(Evaluation(grant.trial.start_step + 1, "score", 0.5),)
            )
            asked = time.monotonic()
            try:
                (*_, answer) = await call([told, join, Ask(session=session)])
            except Exception as error:
                errors.append(str(error)[:200])
                return
            if asked >= begin:
                latencies.append(time.monotonic() - asked)

    async def run() -> float:
        import grpc

        from phyletic.credentials import credentials_for, server_url
        from phyletic.remote.grpc_connection import SERVICE, TOKEN
        from phyletic.remote.v1 import phyletic_v1_pb2 as pb
        from phyletic.remote.wire import command_to_message, reply_from_message

        metadata = [(TOKEN, f"Bearer {credentials_for(server_url(url)).token}")]
        async with grpc.aio.insecure_channel(url.removeprefix("grpc://")) as channel:
            method = channel.unary_unary(
                f"/{SERVICE.full_name}/Exchange",
                request_serializer=pb.ExchangeRequest.SerializeToString,
                response_deserializer=pb.ExchangeReply.FromString,
            )

            async def call(commands: list[Any]) -> list[Any]:
                request = pb.ExchangeRequest(study=study)
                request.commands.extend([command_to_message(command) for command in commands])
                reply = await method(request, timeout=60, metadata=metadata)
                return [reply_from_message(one) for one in reply.replies]

            begin = time.monotonic() + trial_seconds
            await asyncio.gather(*[work(call, begin, begin + seconds) for _ in range(workers)])
            return time.monotonic() - begin

    took = asyncio.run(run())
    print(json.dumps({"latencies": latencies, "errors": errors, "seconds": took}))


def drive(
    served: Served, study: str, workers: int, *, trial_seconds: float = 0.0, seconds: float = 10.0, pairs: int = 0
) -> dict[str, Any]:
    """Run simulated workers in some processes, and return a row of figures.

    Args:
        served: The server.
        study: The study.
        workers: How many workers.
        trial_seconds: How long each trial takes.
        seconds: For how long to measure.
        pairs: End after about so many pairs; 0 for no such limit.
    """
    count = min(CLIENTS, workers)
    shares = [workers // count + (place < workers % count) for place in range(count)]
    each = [url_and_more(served.url, study, share, trial_seconds, seconds, pairs // count) for share in shares]
    clients = [
        subprocess.Popen([sys.executable, __file__, "--client", *one], stdout=subprocess.PIPE, text=True)
        for one in each
    ]
    time.sleep(trial_seconds + 1.5)
    before, began = served.processor, time.monotonic()
    most = 0.0
    while any(one.poll() is None for one in clients):
        most = max(most, served.process.memory_info().rss / 1e6)
        time.sleep(0.2)
        if time.monotonic() - began > seconds - 2 and not pairs:
            break
    used, took = served.processor - before, time.monotonic() - began
    said = [json.loads(one.communicate()[0]) for one in clients]
    latencies = sorted(latency for one in said for latency in one["latencies"])
    measured = max(one["seconds"] for one in said)
    rate = len(latencies) / measured
    return {
        "workers": workers,
        "trial s": trial_seconds,
        "pairs": len(latencies),
        "pairs/s": rate,
        "p50 ms": statistics.median(latencies) * 1e3,
        "p99 ms": latencies[int(len(latencies) * 0.99)] * 1e3,
        "server ms": used / took / rate * 1e3,
        "core": used / took,
        "MB": most,
        "errors": sum(len(one["errors"]) for one in said),
    }


def url_and_more(*values: object) -> list[str]:
    """Return arguments of a client as texts."""
    return [str(value) for value in values]


# --- the parts ---------------------------------------------------------------------------------------------------


def measure_pairs(folder: Path) -> list[dict[str, Any]]:
    """Return a row for 1, 8 and 64 workers without training."""
    rows = []
    for workers in (1, 8, 64):
        with serving(folder) as served:
            rows.append(drive(served, create(served.url, workers), workers, seconds=12.0))
    return rows


def measure_workers(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Return a row for each fleet: the more workers, the longer their trials."""
    rows = []
    for workers, trial_seconds in ((100, 10.0), (1_000, 30.0), (5_000, 60.0)):
        with serving(folder) as served:
            study = create(served.url, workers)
            rows.append(drive(served, study, workers, trial_seconds=trial_seconds, seconds=seconds))
    return rows


def measure_growth(folder: Path, trials: int) -> list[dict[str, Any]]:
    """Return a row for a study of a thousand members and few trials, and one for the same with many."""
    from million import copied, played

    rows = []
    for most in (3_000, trials):

        def fill(path: Path, most: int = most) -> None:
            played(path)
            copied(path, most)

        with serving(folder, fill) as served:
            rows.append({"trials": most, **drive(served, "million", 8, seconds=12.0)})
    return rows


def measure_optuna(folder: Path, seconds: float = 15.0, rounds: int = 2) -> list[dict[str, Any]]:
    """Return rows for eight clients of Optuna's proxy and of ours, in turns."""
    rows = []
    for _ in range(rounds):
        with work_folder(folder) as place:
            rows.append({"server": "Optuna's gRPC proxy", **optuna_pairs(place, seconds)})
        with serving(folder) as served:
            figures = drive(served, create(served.url, 8), 8, seconds=seconds)
            rows.append({"server": "phyletic serve", "clients": 8, "pairs/s": figures["pairs/s"]})
    return rows


def optuna_pairs(folder: Path, seconds: float) -> dict[str, Any]:
    """Return the rate of asks and tells of eight processes at Optuna's proxy, on a SQLite file."""
    port = str(random.randint(20_000, 60_000))
    server = subprocess.Popen([sys.executable, __file__, "--optuna-server", str(folder / "optuna.db"), port])
    try:
        clients = [
            subprocess.Popen(
                [sys.executable, __file__, "--optuna-client", port, str(seconds)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(8)
        ]
        return {"clients": 8, "pairs/s": sum(float(one.communicate()[0].split()[-1]) for one in clients)}
    finally:
        server.kill()
        server.wait()


def optuna_server(path: str, port: str) -> None:
    """Serve a SQLite file by Optuna's proxy until killed."""
    from optuna.storages import RDBStorage, run_grpc_proxy_server

    run_grpc_proxy_server(RDBStorage(f"sqlite:///{path}"), host="localhost", port=int(port))


def optuna_client(port: str, seconds: str) -> None:
    """Ask and tell at Optuna's proxy for some seconds, and print the pairs a second."""
    import optuna
    from optuna.storages import GrpcStorageProxy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = GrpcStorageProxy(host="localhost", port=int(port))
    storage.wait_server_ready(timeout=60)
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, sampler=optuna.samplers.RandomSampler()
    )
    count, began = 0, time.monotonic()
    while time.monotonic() - began < float(seconds):
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_int("units", 8, 256, log=True)
        study.tell(trial, 0.5)
        count += 1
    print(count / (time.monotonic() - began))


def measure_toy(folder: Path, rounds: int = 3) -> list[dict[str, Any]]:
    """Return the seconds of the toy with two workers: local ones, and those of a server."""
    rows = []
    for _ in range(rounds):
        with work_folder(folder) as place:
            rows.append({"workers": "2, local", "seconds": toy(f"sqlite:///{place / 'toy.db'}")})
        with serving(folder) as served:
            rows.append({"workers": "2, of a server", "seconds": toy(served.url)})
    return rows


def toy(storage: str) -> float:
    """Return the seconds from the start to the end of the toy's run with two workers, in a process of its own."""
    code = (
        "import sys, time; import phyletic as ph; from phyletic.problems import quadratic; began = time.monotonic(); "
        "study = ph.Study('toy', space=quadratic.SPACE, initial=quadratic.INITIAL, metric='objective', mode='max', "
        "algorithm=ph.PBT(2, quadratic.INTERVAL, synchronous=True), budget=ph.Budget(steps=400), "
        "storage=sys.argv[1], seed=0); "
        "study.run(quadratic.train, workers=2, verbose=0); print(time.monotonic() - began)"
    )
    ended = subprocess.run([sys.executable, "-c", code, storage], capture_output=True, text=True, check=True)
    return float(ended.stdout.split()[-1])


def main() -> None:
    """Measure the parts that were asked for, and print a table for each."""
    if len(sys.argv) > 1 and sys.argv[1] == "--client":
        url, study, workers, trial_seconds, seconds, pairs = sys.argv[2:]
        client(url, study, int(workers), float(trial_seconds), float(seconds), int(pairs))
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--optuna-server":
        optuna_server(*sys.argv[2:])
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--optuna-client":
        optuna_client(*sys.argv[2:])
        return
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=PARTS, action="append", help="measure these parts only")
    arguments.add_argument("--trials", type=int, default=1_000_000, help="trials of the grown study")
    arguments.add_argument("--seconds", type=float, default=120.0, help="for how long each number of workers runs")
    given = arguments.parse_args()
    parts = {
        "pairs": lambda: measure_pairs(given.folder),
        "workers": lambda: measure_workers(given.folder, given.seconds),
        "growth": lambda: measure_growth(given.folder, given.trials),
        "optuna": lambda: measure_optuna(given.folder),
        "toy": lambda: measure_toy(given.folder),
    }
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in given.only or PARTS:
        rows = parts[name]()
        show(f"service: {name}", rows, conditions(given.folder, "grpcio", "optuna"), as_json=given.json)


if __name__ == "__main__":
    main()
