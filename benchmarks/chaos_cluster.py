"""Kill actors, nodes, drivers and the connection to the object store of a small Ray cluster; see ``chaos.py``.

Two nodes of Ray on this machine, each with room for one of a study's two actors, and checkpoints in an S3 server (moto,
which keeps objects in memory and so is never killed itself) behind a forwarder, whose death is that of a server: it
breaks all transfers, and nobody answers until it is started again. Killed in turn are actors, the second node's raylet,
the forwarder and the driver that owns the study; and once a study the head with its raylet, and then its driver.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
from chaos_figures import Figures
from chaos_study import Plan, compare, compare_finished, notes, own, unfinished

__all__ = ["kill_cluster"]

WAYS = ("actor", "actor", "actor", "actor", "second node", "store", "store", "driver")
KILLS_OF_A_STUDY = 12
_ACTOR = "ray::PhyleticWorker"
_BUCKET = "chaos"
_PATIENCE = 60.0
_FORWARDER = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        there = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


class Cluster:
    """Two nodes of Ray, and an S3 server behind a forwarder.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.front, self.back = _free_port(), _free_port(), _free_port()
        self.environment = {
            **os.environ,
            "RAY_ADDRESS": f"127.0.0.1:{self.port}",
            "RAY_AUTH_MODE": "disabled",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.front}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "AKIACHAOSCHAOS",
            "AWS_SECRET_ACCESS_KEY": "chaos/secret",
            "AWS_REGION": "us-east-1",
            "PHYLETIC_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        self._start("moto", [_moto_server(), "-H", "127.0.0.1", "-p", str(self.back)])
        self.start("store")
        _make_bucket(self.front)
        self.start("head")
        self.start("second node")
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("second node", "head", "store", "moto"):
            self.kill(name)

    def start(self, name: str) -> None:
        """Start a part that does not run."""
        ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1", '--resources={"slot": 1}']
        if name == "store":
            self._start(name, [sys.executable, "-c", _FORWARDER, str(self.front), str(self.back)])
            _wait_for_port(self.front)
        elif name == "head":
            # a new port for each head, since the sockets of the one before may linger
            self.port = _free_port()
            self.environment["RAY_ADDRESS"] = f"127.0.0.1:{self.port}"
            self._start(name, [*ray, "--head", f"--port={self.port}", "--include-dashboard=false"])
            _wait_for_port(self.port)
        else:
            self._start(name, [*ray, f"--address=127.0.0.1:{self.port}"])

    def _start(self, name: str, command: list[str]) -> None:
        environment = {key: value for key, value in self.environment.items() if key != "RAY_ADDRESS"}
        with (self.folder / "cluster.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill a part: of a node the raylet, and then what it leaves."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        family = [process.pid]
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(process.pid).children(recursive=True)
            children.sort(key=lambda child: child.name() != "raylet")
            family = [child.pid for child in children if not _is_actor(child)] + family
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def actors(self) -> list[psutil.Process]:
        """Return the processes of actors on both nodes."""
        found = []
        for name in ("head", "second node"):
            with contextlib.suppress(psutil.Error, KeyError):
                found += [
                    child
                    for child in psutil.Process(self.processes[name].pid).children(recursive=True)
                    if _is_actor(child)
                ]
        return found


class ClusterChaos:
    """Kills the cluster under one study again and again, and compares.

    Args:
        folder: Where the study lives.
        plan: What it is.
        kills: How many; then it is let run to its end.
        cluster: The cluster.
        draw: Decides when and who.
        ways: In which ways in turn.
        figures: Where the figures go.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        kills: int,
        cluster: Cluster,
        draw: random.Random,
        ways: Iterator[str],
        figures: Figures,
    ) -> None:
        self.folder, self.plan, self.left, self.cluster = folder, plan, kills, cluster
        self.draw, self.ways, self.figures = draw, ways, figures
        self.head_after = kills - 4 if kills > 8 else -1

    def run(self) -> None:
        """Start drivers until the study is finished."""
        while True:
            self.figures.owners += 1
            known: list[psutil.Process] = []
            status = self.live(known)
            if status:
                self.wrong(f"the driver ended with status {status}: {(self.folder / 'log').read_text()[-3000:]}")
                return
            self.wait_for_orphans(known)
            for part in ("head", "second node", "store"):
                if part not in self.cluster.processes:
                    self.cluster.start(part)
            self.compare()
            if ["finished"] in notes(self.folder):
                self.conclude()
                return

    def live(self, known: list[psutil.Process]) -> int | None:
        """Kill until the driver is dead; return its exit status, or None where it was killed.

        Args:
            known: Takes the actors that were seen.
        """
        command = [sys.executable, __file__, str(self.folder), json.dumps(asdict(self.plan))]
        with (self.folder / "log").open("ab") as log:
            driver = subprocess.Popen(command, stdout=log, stderr=log, env=self.cluster.environment)
        began, said, back = time.monotonic(), self.said(), {}
        while self.said() < said + 2 and driver.poll() is None and time.monotonic() < began + _PATIENCE:
            time.sleep(0.02)
        last = time.monotonic()
        while driver.poll() is None:
            until = time.monotonic() + (self.draw.uniform(0.05, 1.5) if self.left > 0 else 1.0)
            while time.monotonic() < until and driver.poll() is None:
                for part in [part for part, when in back.items() if time.monotonic() > when]:
                    del back[part]
                    self.cluster.start(part)
                time.sleep(0.02)
            known += self.cluster.actors()
            if self.said() > said:
                said, last = self.said(), time.monotonic()
            elif time.monotonic() > last + 3 * _PATIENCE:
                self.wrong(f"nothing happened for {3 * _PATIENCE:g} s")
                driver.kill()
            if driver.poll() is not None or self.left <= 0:
                continue
            way = "head" if self.left == self.head_after else next(self.ways)
            if not self.strike(way, driver, back):
                continue
            self.left -= 1
            self.figures.kills[way] += 1
            if way == "driver":
                driver.wait()
                return None
            if way == "head":
                # Ray ends a driver whose head is gone after a minute; a person is less patient
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(self.draw.uniform(0.0, 5.0))
                driver.kill()
                driver.wait()
                self.cluster.kill("second node")
                return None
        return driver.returncode

    def strike(self, way: str, driver: subprocess.Popen[bytes], back: dict[str, float]) -> bool:
        """Kill something; return whether it was there.

        Args:
            way: What.
            driver: The driver.
            back: When parts are started again; takes another.
        """
        if way == "driver":
            driver.kill()
        elif way == "actor":
            actors = self.cluster.actors()
            if not actors:
                return False
            with contextlib.suppress(psutil.Error):
                self.draw.choice(actors).kill()
        elif way in back:
            return False
        else:
            self.cluster.kill(way)
            if way != "head":
                back[way] = time.monotonic() + self.draw.uniform(0.1, 2.0)
        return True

    def said(self) -> int:
        """Return how many things were noted."""
        file = self.folder / "notes"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def wait_for_orphans(self, known: list[psutil.Process]) -> None:
        """Wait until no actor of a driver that is gone runs any more."""
        began = time.monotonic()
        while left := [process for process in {*known, *self.cluster.actors()} if process.is_running()]:
            if time.monotonic() > began + _PATIENCE:
                self.wrong(f"actors outlived their driver: {left}")
                for process in left:
                    process.kill()
                return
            time.sleep(0.02)
        self.figures.ended.append(time.monotonic() - began)

    def compare(self) -> None:
        """Compare what is stored, by what the store itself has."""
        cache = self.folder / "cache of the comparison"
        os.environ["PHYLETIC_CACHE"] = str(cache)
        self.figures.unfinished += unfinished(self.folder, self.plan)
        wrong, verified = compare(self.folder, self.plan)
        self.wrong(*wrong)
        self.figures.verified += verified
        shutil.rmtree(cache, ignore_errors=True)

    def conclude(self) -> None:
        """Compare the finished study, and take its figures."""
        wrong, trials = compare_finished(self.folder, self.plan)
        self.wrong(*wrong)
        self.figures.finished(str(self.plan), notes(self.folder), trials)

    def wrong(self, *texts: str) -> None:
        """Note violations."""
        self.figures.wrong += [f"{self.folder.name} ({self.plan}): {text}" for text in texts]


def kill_cluster(kills: int, seed: int, folder: Path) -> Figures:
    """Run studies on a cluster until so many kills are done.

    Args:
        kills: How many.
        seed: Of the moments and the victims; which line they meet depends on the machine.
        folder: Where the studies live.
    """
    draw, figures, began = random.Random(seed), Figures(), time.monotonic()
    ways = itertools.chain.from_iterable(iter(lambda: draw.sample(WAYS, len(WAYS)), None))
    kinds = itertools.cycle(itertools.product((True, False), (False, True)))
    with Cluster(folder) as cluster:
        os.environ.update({name: value for name, value in cluster.environment.items() if name.startswith("AWS_")})
        for place in itertools.count():
            done = sum(figures.kills.values())
            if done >= kills or figures.wrong:
                return figures
            synchronous, folders = next(kinds)
            plan = Plan(
                workers=2,
                synchronous=synchronous,
                folders=folders,
                seed=seed + place,
                engine="ray",
                checkpoints=f"s3://{_BUCKET}/study-{place}",
            )
            home = folder / f"study-{place}"
            home.mkdir()
            ClusterChaos(home, plan, min(KILLS_OF_A_STUDY, kills - done), cluster, draw, ways, figures).run()
            seconds = time.monotonic() - began
            print(f"{sum(figures.kills.values())} of {kills} kills after {seconds:.0f} s", file=sys.stderr, flush=True)
    raise AssertionError


def _is_actor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(part.startswith(_ACTOR) for part in process.cmdline())
    return False


def _moto_server() -> str:
    beside = Path(sys.prefix, "moto", "bin", "moto_server")
    found = str(beside) if beside.exists() else shutil.which("moto_server")
    if found is None:
        sys.exit("moto_server is not installed: pip install 'moto[server]'")
    return found


def _make_bucket(port: int) -> None:
    import http.client

    deadline = time.monotonic() + _PATIENCE
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("PUT", f"/{_BUCKET}", headers={"Content-Length": "0"})
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _drive(folder: Path, plan: Plan) -> None:
    """Be the driver: join the cluster, and run the study to its end."""
    import logging

    import ray

    ray.init(logging_level=logging.WARNING, log_to_driver=False)
    own(folder, plan)


if __name__ == "__main__":
    _drive(Path(sys.argv[1]), Plan(**json.loads(sys.argv[2])))
