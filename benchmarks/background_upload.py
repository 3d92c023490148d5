"""What uploading in the background gains where an upload takes as long as training.

    python benchmarks/background_upload.py

Four members, asynchronous; a trial trains for half a second, and its checkpoint takes half a second more to be put into
a folder, as into an object store far away. "trials/s" counts from the start of the first trial to the last result.
Rounds of both ways alternate, so that a change of the machine's speed meets both. "saving" is what the worker itself
waits for in each trial that is uploaded in the background: the copy of the state, and the rest of the upload before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from conditions import conditions, parser, quartiles, show, work_folder

import phyletic as ph

SECONDS = 0.5
WAYS: tuple[Literal["before_tell", "background"], ...] = ("before_tell", "background")


class SlowBlobs:
    """Blobs in a folder, whose puts take as long as a trial."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def put(self, files: Iterable[tuple[str, Any]]) -> None:
        """Put files, after a while."""
        time.sleep(SECONDS)
        self._blobs.put(files)


def once(storage: Path, upload: Literal["before_tell", "background"], workers: int, size: int, trials: int) -> Any:
    """Run a study, and return its trials a second and the median seconds that its workers waited for saving."""

    def train(source: Any) -> None:
        if type(source._store._blobs).__name__ != "SlowBlobs":
            source._store._blobs = SlowBlobs(source._store._blobs)
        for trial in source.attach(lambda trial: {"weights": np.zeros(size // 8)}):
            end = time.perf_counter() + SECONDS
            for _ in trial.range():
                while time.perf_counter() < end:
                    trial.state.weights[:1000] += trial["lr"]
            trial.report(score=float(trial.state.weights[0]))

    study = ph.Study(
        "slow store",
        space={"lr": ph.Float(0.1, 1.0, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population=4, interval=1),
        budget=ph.Budget(trials=trials),
        storage=storage,
        seed=0,
    )
    study.run(train, workers=workers, upload=upload, verbose=0)
    ended = study.trials()
    study.close()
    assert all(trial.attempts == 1 for trial in ended)
    seconds = max(trial.finished or 0.0 for trial in ended) - min(trial.started or 0.0 for trial in ended)
    return len(ended) / seconds, statistics.median(trial.timings.saving for trial in ended)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--trials", type=int, default=16, help="for each worker")
    arguments.add_argument("--megabytes", type=int, nargs="+", default=[1])
    given = arguments.parse_args()
    rows = []
    with work_folder(given.folder) as folder:
        for workers in (0, 2):
            for megabytes in given.megabytes:
                rates: dict[str, list[float]] = {way: [] for way in WAYS}
                waits = []
                for number in range(given.rounds):
                    for way in WAYS:
                        file = folder / f"{workers}-{megabytes}-{way}-{number}.db"
                        rate, saving = once(file, way, workers, megabytes * 10**6, given.trials * max(workers, 1))
                        rates[way].append(rate)
                        if way == "background":
                            waits.append(saving)
                ratios = [after / before for before, after in zip(*rates.values(), strict=True)]
                low, middle, high = quartiles(ratios)
                rows.append(
                    {
                        "workers": workers,
                        "state (MB)": megabytes,
                        "before_tell (trials/s)": statistics.median(rates["before_tell"]),
                        "background (trials/s)": statistics.median(rates["background"]),
                        "ratio": middle,
                        "quartiles": f"{low:.2f}-{high:.2f}",
                        "saving (ms)": 1e3 * statistics.median(waits),
                    }
                )
        show("uploads as long as training", rows, conditions(folder), as_json=given.json)


if __name__ == "__main__":
    main()
