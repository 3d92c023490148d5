"""Evolve the learning rate of a shell script, which is started once for each trial."""

import os
from pathlib import Path

import phyletic as ph

SCRIPT = Path(__file__).with_name("train.sh")

study = ph.Study(
    "shell",
    space={"lr": ph.Float(1e-3, 0.5, log=True)},
    metric="loss",
    mode="min",
    algorithm=ph.PBT(population=4, interval=5, synchronous=True),
    budget=ph.Budget(steps=int(os.environ.get("STEPS", "20"))),
    storage="shell.db",
    seed=0,
)
study.run(
    command=["sh", str(SCRIPT), "{lr}", "{start_step}", "{steps}", "{save_to}", "{report}", "{load_from}"],
    workers=int(os.environ.get("WORKERS", "2")),
)
