"""What a study costs beside training that is small but real: the digits with PyTorch.

    python benchmarks/digits_overhead.py

8 members, 10 rounds of 1 epoch each of a network 64-64-10, in this process, one thread. "plain" is a loop that does the
same work without a study: it loads each member's checkpoint with ``torch.load``, sets the hyperparameters, trains,
evaluates, and saves with ``torch.save`` as a careful person would (a temporary file, fsync, rename, fsync of the
folder); after each round the worst two copy the checkpoints of the best two. Runs of one and the other alternate.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, fsync_seconds, parser, quartiles, show, work_folder

import phyletic as ph
from phyletic.problems import digits, digits_torch

MEMBERS, ROUNDS, BATCH = 8, 10, 32


def with_phyletic(storage: Path) -> float:
    study = ph.Study(
        "digits",
        space=digits_torch.SPACE,
        metric="accuracy",
        mode="max",
        algorithm=ph.PBT(MEMBERS, 1, exploit=ph.Truncation(0.25), synchronous=True),
        budget=ph.Budget(steps=ROUNDS),
        storage=storage,
        seed=0,
    )
    study.run(digits_torch.train, workers=0, verbose=0)
    return float(study.best.score or 0.0)


def save(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def plain(folder: Path) -> float:
    folder.mkdir()
    chance = random.Random(0)
    data = digits.load()
    images = torch.tensor(data.train.images, dtype=torch.float32)
    labels = torch.tensor(data.train.labels)
    built = digits_torch.build(None)  # type: ignore[arg-type]
    model, optimizer = built["model"], built["optimizer"]
    values = [
        {"lr": 10 ** chance.uniform(-4, 0), "momentum": chance.uniform(0.1, 0.99), "weight_decay": 1e-4}
        for _ in range(MEMBERS)
    ]
    parents = [-1] * MEMBERS
    best = 0.0
    for round_ in range(ROUNDS):
        scores = []
        for member in range(MEMBERS):
            torch.manual_seed(round_ * MEMBERS + member)
            if round_ == 0:
                built = digits_torch.build(None)  # type: ignore[arg-type]
                model, optimizer = built["model"], built["optimizer"]
            else:
                state = torch.load(folder / f"{round_ - 1}-{parents[member]}.pt", weights_only=True)
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            optimizer.param_groups[0].update(values[member])
            model.train()
            for batch in torch.randperm(len(labels)).split(BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
            scores.append(digits_torch.evaluate(model, data.validation)[0])
            save(folder / f"{round_}-{member}.pt", {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
            if round_ > 1:
                (folder / f"{round_ - 2}-{member}.pt").unlink()
        best = max(best, *scores)
        order = sorted(range(MEMBERS), key=lambda member: scores[member])
        parents = list(range(MEMBERS))
        for loser, winner in zip(order[:2], order[-2:], strict=True):
            parents[loser] = winner
            values[loser] = {name: value * chance.choice((0.8, 1.2)) for name, value in values[winner].items()}
            values[loser]["momentum"] = min(0.99, values[loser]["momentum"])
    return best


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7, help="runs of each, after one that is not counted")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    wall: dict[str, list[float]] = {"phyletic": [], "plain": []}
    busy: dict[str, list[float]] = {"phyletic": [], "plain": []}
    with work_folder(given.folder) as folder:
        fsyncs = []
        for number in range(given.rounds + 1):
            for name, action, place in (
                ("phyletic", with_phyletic, folder / f"{number}.db"),
                ("plain", plain, folder / f"{number}.plain"),
            ):
                start, cpu = time.perf_counter(), time.process_time()
                action(place)
                if number:
                    wall[name].append(time.perf_counter() - start)
                    busy[name].append(time.process_time() - cpu)
            fsyncs.append(fsync_seconds(folder) * 1e3)
        rows: list[dict[str, Any]] = []
        for name in wall:
            low, middle, high = quartiles(wall[name])
            cpu = quartiles(busy[name])[1]
            rows.append({"": name, "wall (s)": middle, "quartiles": f"{low:.3f}-{high:.3f}", "processor (s)": cpu})
        ratios = [quartiles([a / b for a, b in zip(of["phyletic"], of["plain"], strict=True)]) for of in (wall, busy)]
        rows.append(
            {
                "": "ratio",
                "wall (s)": round(ratios[0][1], 3),
                "quartiles": f"{ratios[0][0]:.3f}-{ratios[0][2]:.3f}",
                "processor (s)": round(ratios[1][1], 3),
            }
        )
        measured_in = conditions(folder, "torch") | {"fsync_ms": round(quartiles(fsyncs)[1], 3)}
        show(f"digits: {MEMBERS} members, {ROUNDS} rounds", rows, measured_in, as_json=given.json)


if __name__ == "__main__":
    main()
