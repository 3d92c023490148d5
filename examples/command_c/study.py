"""Evolve the learning rate of a program in C, which is started once for each trial."""

import os
import subprocess
from pathlib import Path

import phyletic as ph

PROGRAM = Path("train").absolute()
subprocess.run(["cc", "-o", PROGRAM, Path(__file__).with_name("train.c")], check=True)

study = ph.Study(
    "c",
    space={"lr": ph.Float(1e-3, 0.5, log=True)},
    metric="loss",
    mode="min",
    algorithm=ph.PBT(population=4, interval=5, synchronous=True),
    budget=ph.Budget(steps=int(os.environ.get("STEPS", "20"))),
    storage="c.db",
    seed=0,
)
arguments = ["-l", "{lr}", "-b", "{start_step}", "-n", "{steps}", "-o", "{save_to}", "-r", "{report}"]
study.run(
    command=[str(PROGRAM), *arguments, "-i", "{load_from}"],  # -i is left out for a newborn, which loads nothing
    workers=int(os.environ.get("WORKERS", "2")),
)
