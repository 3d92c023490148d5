"""What publishing and restoring a checkpoint costs.

Usage: ``python benchmarks/publish.py``; ``--folder`` (default: the current one) decides which disk is measured.

Each row is the median of several rounds, with the range that holds the middle half of them. Beside phyletic's own
times stand the least that any program would need: for publishing, writing as many bytes to a file with an fsync of
the file and the folder; for restoring, ``safetensors.torch.load_file`` and ``load_state_dict``. Rounds of one and the
other alternate, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, parser, quartiles, show, work_folder
from safetensors.torch import load_file

from phyletic.checkpoints import Checkpoints, FolderBlobs


def measured(actions: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each action in each round; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for count in range(rounds + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action(count)
            if count:
                times[name].append(time.perf_counter() - start)
    return times


def model(megabytes: float) -> torch.nn.Module:
    """Return a torch model of about this size, of ten layers."""
    width = max(1, round((megabytes * 1e6 / 4 / 10) ** 0.5))
    return torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(10)))


def write_bare(path: Path, content: bytes) -> None:
    """Write bytes durably, and nothing else."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def publishing(store: Checkpoints, bare: Path, state: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Publish a state under a new id each round, and write as many bytes."""
    size = store.publish(f"{0:032x}", state).size
    store.delete(f"{0:032x}")
    content = os.urandom(size)

    def publish(count: int) -> None:
        store.publish(f"{count:032x}", state)

    def write(count: int) -> None:
        write_bare(bare / str(count), content)

    times = measured({"phyletic": publish, "bare": write}, rounds)
    store.delete(*(f"{count:032x}" for count in range(rounds + 1)))
    for path in bare.iterdir():
        path.unlink()
    return times


def restoring(store: Checkpoints, megabytes: float, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Restore a model, and a model with its optimizer, by phyletic and by safetensors alone."""
    saved, loaded = model(megabytes), model(megabytes)
    reference = store.publish("a" * 32, {"model": saved})

    def restore(count: int) -> None:
        checkpoint = store.open(reference)
        checkpoint.restore({"model": loaded})
        pending.append(checkpoint)

    def settle(count: int) -> None:
        pending.pop().verify()

    def bare(count: int) -> None:
        arrays = load_file(path)
        loaded.load_state_dict({name.removeprefix("model/"): value for name, value in arrays.items()})

    def restore_and_verify(count: int) -> None:
        restore(count)
        settle(count)

    pending: list[Any] = []
    path = store.path(reference.id)
    times = measured({"phyletic": restore, "wait": settle, "bare": bare, "verified": restore_and_verify}, rounds)
    for mine, theirs in zip(saved.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    store.delete(reference.id)
    return {
        f"restore {megabytes:g} MB": {"phyletic": times["phyletic"], "bare": times["bare"]},
        f"restore {megabytes:g} MB, digest checked": {"phyletic": times["verified"], "bare": times["bare"]},
    }


def main() -> None:
    given = parser(__doc__).parse_args()
    with work_folder(given.folder) as folder:
        (folder / "bare").mkdir()
        store = Checkpoints(FolderBlobs(folder / "checkpoints"))
        measured_times = {
            "publish two numbers": publishing(store, folder / "bare", {"x": 0.25, "y": 0.5}, 200),
            "publish 1 MB": publishing(store, folder / "bare", {"model": model(1)}, 50),
            "publish 100 MB": publishing(store, folder / "bare", {"model": model(100)}, 7),
            **restoring(store, 1, 50),
            **restoring(store, 100, 15),
        }
        rows = []
        for name, times in measured_times.items():
            row: dict[str, Any] = {"": name}
            for who in ("phyletic", "bare"):
                low, middle, high = (1e3 * seconds for seconds in quartiles(times[who]))
                row |= {f"{who} (ms)": middle, f"{who} quartiles": f"{low:.2f}-{high:.2f}"}
            rows.append({**row, "ratio of medians": row["phyletic (ms)"] / row["bare (ms)"]})
        title = "publishing and restoring a checkpoint, files in the page cache when restored"
        show(title, rows, conditions(folder, "torch", "safetensors"), as_json=given.json)


if __name__ == "__main__":
    main()
