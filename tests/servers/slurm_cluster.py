"""A Slurm of one node, for a test: its daemons run as this user, on ports and in a folder of their own.

It needs Debian's slurmctld, slurmd and slurm-client, installed or unpacked (``dpkg -x``) into a folder that the
variable ``SLURM_ROOT`` names. The node has two slots and two partitions: a job of ``high`` preempts jobs of ``low``,
after as much time as the cluster grants them.

``python tests/servers/slurm_cluster.py`` starts one and prints the variables with which sbatch and squeue reach it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("slurmctld", "slurmd", "slurmstepd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{signal}
KillWait={kill_wait}
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace}
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def programs() -> dict[str, str] | None:
    """Return where Slurm's programs are; None unless all of them are there."""
    root = Path(os.environ.get("SLURM_ROOT", "/"))
    path = os.pathsep.join(str(root / folder) for folder in ("usr/bin", "usr/sbin"))
    found = {name: shutil.which(name, path=path) or shutil.which(f"{name}-wlm", path=path) for name in _PROGRAMS}
    return {name: place for name, place in found.items() if place} if all(found.values()) else None


@dataclass
class SlurmCluster:
    """A running Slurm.

    Attributes:
        folder: Its configuration, state and logs.
        environment: Variables with which its commands reach it.
    """

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands, and return what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def submit(self, *arguments: str, folder: Path, **variables: str) -> str:
        """Submit a job with sbatch, and return its number.

        Args:
            *arguments: Of sbatch.
            folder: The folder in which it runs.
            **variables: More variables of its environment.
        """
        done = subprocess.run(
            ["sbatch", "--parsable", *arguments],
            env={**self.environment, **variables}, cwd=folder, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"sbatch {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """Return what the controller says of a job: ``JobState``, ``Restarts``, ``ExitCode`` and others."""
        words = self.call("scontrol", "show", "job", "-o", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def cancel_all(self, seconds: float = 30) -> None:
        """End all jobs, and wait until they are gone."""
        until = time.monotonic() + seconds
        while jobs := self.call("squeue", "-h", "-o", "%A").split():
            self.call("scancel", "--signal=KILL", "--batch", *jobs)
            self.call("scancel", *jobs)
            if time.monotonic() > until:
                raise RuntimeError(f"jobs do not end: {self.call('squeue')}")
            time.sleep(0.2)

    def wait(self, number: str, *states: str, seconds: float = 60) -> dict[str, str]:
        """Wait until a job has one of these states, and return what the controller says of it then."""
        until = time.monotonic() + seconds
        while (found := self.job(number))["JobState"] not in states:
            if time.monotonic() > until:
                raise TimeoutError(f"job {number} is {found['JobState']}, not one of {states}: {found}")
            time.sleep(0.1)
        return found


@contextmanager
def slurm_cluster(
    folder: Path, *, grace: int = 20, kill_wait: int = 20, send_user_signal: bool = True
) -> Iterator[SlurmCluster]:
    """Start a Slurm, and end it with its jobs.

    Args:
        folder: For its configuration, state and logs.
        grace: Seconds that a preempted job has.
        kill_wait: Seconds from SIGTERM to SIGKILL.
        send_user_signal: Whether a preempted job gets the signal that it asked for, before SIGTERM.
    """
    found = programs()
    assert found is not None
    usr = Path(found["sbatch"]).parents[1]
    plugins = next(usr.glob("lib/*/slurm-wlm"), None) or next(usr.glob("lib/*/slurm"))
    commands = folder / "bin"  # the names of the daemons differ among Debian's versions
    for part in ("state", "spool", "bin"):
        (folder / part).mkdir(parents=True)
    for name, place in found.items():
        (commands / name).symlink_to(place)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            controller=_free_port(),
            node=_free_port(),
            user=os.environ.get("USER") or "root",
            plugins=plugins,
            folder=folder,
            signal="SlurmctldParameters=preempt_send_user_signal" if send_user_signal else "",
            kill_wait=kill_wait,
            grace=grace,
        )
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
        "SLURM_CONF": str(configuration),
        "LD_LIBRARY_PATH": f"{plugins}:{plugins.parent}",
        "PATH": f"{commands}:{os.environ['PATH']}",
    }
    daemons = [
        subprocess.Popen([found["slurmctld"], "-D"], env=environment, stderr=subprocess.DEVNULL),
        subprocess.Popen(
            [found["slurmd"], "-D", "-d", found["slurmstepd"]], env=environment, stderr=subprocess.DEVNULL
        ),
    ]
    cluster = SlurmCluster(folder, environment)
    try:
        _wait_until_idle(cluster, daemons)
        yield cluster
    finally:
        _end(cluster, daemons)


def _wait_until_idle(cluster: SlurmCluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + 60
    while True:
        logs = "".join(path.read_text()[-3000:] for path in cluster.folder.glob("*.log"))
        if any(daemon.poll() is not None for daemon in daemons) or time.monotonic() > until:
            raise RuntimeError(f"Slurm did not start:\n{logs}")
        with contextlib.suppress(RuntimeError):  # the controller does not listen yet
            if cluster.call("sinfo", "-h", "-p", "low", "-o", "%T").strip() == "idle":
                return
        time.sleep(0.2)


def _end(cluster: SlurmCluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    # without its controller, a node ends what it runs by itself
    with contextlib.suppress(RuntimeError):
        cluster.cancel_all()
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    if programs() is None:
        sys.exit(f"Slurm is not installed, nor in SLURM_ROOT: needs {', '.join(_PROGRAMS)}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, slurm_cluster(Path(place) / "slurm") as running:
        for variable in ("SLURM_CONF", "LD_LIBRARY_PATH", "PATH"):
            print(f"export {variable}={running.environment[variable]}")
        print("# Ctrl-C ends it", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
