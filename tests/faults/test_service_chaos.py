"""kill -9 of the server and its workers at random: the trials of an uninterrupted run, none lost or told twice.

For 1,000 kills: ``PHYLETIC_SERVICE_KILLS=1000 python -m pytest -s tests/faults/test_service_chaos.py``.
"""

import os
import random
import subprocess
import sys
import time

import pytest

pytest.importorskip("grpc")

from test_service_killed import KillableServer

from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts
from phyletic.testing.training import drawing

KILLS = int(os.environ.get("PHYLETIC_SERVICE_KILLS", "60"))
TRAIN = """
import time
from phyletic.testing.training import drawing

train = drawing(lambda trial: time.sleep(0.05))
"""


class Worker:
    """``phyletic worker`` in a process of its own."""

    def __init__(self, server, folder, name):
        self.log = folder / f"{name}.log"
        self.command = [sys.executable, "-m", "phyletic", "worker", server.url, "study", "chaos_train.py:train"]
        self.folder = folder
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "--lease", "3", "--quiet"], cwd=self.folder, stdout=log, stderr=log
            )

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_nothing_is_lost_whatever_is_killed(tmp_path):
    chance = random.Random(KILLS)
    (tmp_path / "chaos_train.py").write_text(TRAIN)
    steps = 16 + 2 * KILLS
    server = KillableServer(tmp_path)
    server.start()
    study = example_study(server.url, steps=steps, max_losses=10_000)
    study.close()
    workers = [Worker(server, tmp_path, f"worker-{n}") for n in range(2)]
    kills, began = 0, time.monotonic()
    try:
        while kills < KILLS:
            time.sleep(chance.uniform(0.1, 1.2))
            kills += 1
            if chance.random() < 0.5:
                server.kill()
                server.start()
            else:
                worker = chance.choice(workers)
                worker.kill()
                worker.start()
        ended = [worker.process.wait(300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
        if sys.exc_info()[1] is not None:
            server.kill()
    assert ended == [0, 0], [worker.log.read_text()[-3000:] for worker in workers]
    study = Study("study", storage=server.url)
    expected = example_study(steps=steps)
    drawing()(expected)
    assert facts(study) == facts(expected)
    assert all(trial.failures == 0 for trial in study.trials())
    losses = sum(trial.losses for trial in study.trials())
    print(f"{kills} kills, {len(study.trials())} trials, {losses} attempts lost, {time.monotonic() - began:.0f} s")
    assert server.terminate() == 0
    # only what is needed is left on the disk
    kept = {trial.checkpoint.id for trial in study_of(server).trials() if trial.checkpoint is not None}
    left = {path.stem for path in (tmp_path / "study.checkpoints").iterdir()}
    assert left <= kept
    assert len(left) <= 3 * 5 + 1


def study_of(server):
    return Study("study", storage=server.storage)
