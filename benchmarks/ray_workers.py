"""What Ray actors cost beside local workers, and beside Ray Tune's PBT.

    python benchmarks/ray_workers.py                 (about 10 minutes)
    python benchmarks/ray_workers.py --only toy,digits

Needs ``pip install 'ray[tune]' torch``. Ray is started here, with 2 CPUs, before anything is measured. The runs of one
comparison take turns, round by round; figures are medians of the rounds.

- toy: the toy of figure 2, 2 members, 50 trials of 4 steps, with 2 local workers, with 2 actors, and with Tune's PBT,
  which has the same CPUs, reuses its actors and trains 4 steps for each of its 50 results. All are asynchronous.
- digits: 8 members, 80 trials of 1 epoch of a network 64-64-10, with the same three.
- turn: from the end of a body to the begin of the next in the same worker, with a state of one number; 1 worker, and 2.
- exploit: from a loser's published checkpoint to the first step of its child, once it has read all parameters of a
  state of 100 MB; 1 worker.
- death: from SIGKILL of a worker in a trial to the record of the lost attempt; 2 workers.
- rate: results a second of 8 workers that train nothing; each waits until its checkpoint and result are on the disk.

"whole" is the whole call, from a new study to its last trial, with the start of its workers; "first to last" is from
the first result to the last.
"""

from __future__ import annotations

import logging
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from conditions import conditions, fsync_seconds, parser, show, work_folder
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

import phyletic as ph
from phyletic import failpoints
from phyletic.problems import digits, digits_torch, quadratic

PARTS = ("toy", "digits", "turn", "exploit", "death", "rate")
CPUS = 2
BATCH = 32


class Run:
    """The times of one run.

    Args:
        whole: Seconds of the whole call.
        finished: When each result came, in seconds since 1970.
    """

    def __init__(self, whole: float, finished: list[float]) -> None:
        self.whole = whole
        self.between = max(finished) - min(finished)
        self.results = len(finished)


def run_study(folder: Path, train: Callable[..., object], workers: Any, **settings: Any) -> tuple[Run, ph.Study]:
    """Make a study, run it to its end, and return its times."""
    begun = time.perf_counter()
    study = ph.Study("study", mode="max", storage=folder / "study.db", seed=0, **settings)
    study.run(train, workers=workers, verbose=0)
    whole = time.perf_counter() - begun
    return Run(whole, [trial.finished for trial in study.trials() if trial.finished is not None]), study


def places(count: int) -> dict[str, Any]:
    """Return the two kinds of workers that are compared, by name; their actors share the CPUs."""
    return {"local": count, "ray": ph.RayWorkers(count, num_cpus=min(1.0, CPUS / count))}


def in_turn(folder: Path, rounds: int, actions: dict[str, Callable[[Path], Any]]) -> dict[str, list[Any]]:
    """Run actions in turn, each in an empty folder, and return what they gave."""
    found: dict[str, list[Any]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            with work_folder(folder) as empty:
                found[name].append(action(empty))
    return found


def medians(values: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(times) for name, times in values.items()}


# --- toy and digits, beside Ray Tune -----------------------------------------------------------------------------


class TuneToy(tune.Trainable):
    """The toy for Ray Tune: one iteration is one interval."""

    def setup(self, config: dict[str, float]) -> None:
        self.theta = np.array(quadratic.START)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self.h = np.array([new_config["h0"], new_config["h1"]])
        return True

    def step(self) -> dict[str, float]:
        for _ in range(quadratic.INTERVAL):
            self.theta = quadratic.PAPER.step(self.theta, self.h)
        return {"objective": float(quadratic.PAPER.objective(self.theta))}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        np.save(Path(checkpoint_dir, "theta.npy"), self.theta)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.theta = np.load(Path(checkpoint_dir, "theta.npy"))


class TuneDigits(tune.Trainable):
    """The digits for Ray Tune: one iteration is one epoch."""

    def setup(self, config: dict[str, float]) -> None:
        torch.set_num_threads(1)
        data = digits.load()
        self.images = torch.tensor(data.train.images, dtype=torch.float32)
        self.labels = torch.tensor(data.train.labels)
        self.validation = data.validation
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        built = digits_torch.build(None)  # type: ignore[arg-type]
        self.model, self.optimizer = built["model"], built["optimizer"]
        self.values = {name: new_config[name] for name in digits_torch.SPACE}
        return True

    def step(self) -> dict[str, float]:
        self.optimizer.param_groups[0].update(self.values)
        self.model.train()
        for batch in torch.randperm(len(self.labels)).split(BATCH):
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.model(self.images[batch]), self.labels[batch]).backward()
            self.optimizer.step()
        accuracy, loss = digits_torch.evaluate(self.model, self.validation)
        return {"accuracy": accuracy, "loss": loss}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, Path(checkpoint_dir, "state.pt"))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        state = torch.load(Path(checkpoint_dir, "state.pt"), weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class ResultTimes(tune.Callback):
    """Notes when each result came to Tune's process."""

    def __init__(self) -> None:
        self.finished: list[float] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **further: Any) -> None:
        self.finished.append(time.time())


def run_tune(folder: Path, trainable: type, metric: str, space: dict[str, Any], members: int, rounds: int) -> Run:
    """Run Tune's PBT with actors that are reused, and return its times."""
    times = ResultTimes()
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        quantile_fraction=0.5 if members < 4 else 0.25,
        hyperparam_mutations=space,
    )
    begun = time.perf_counter()
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=metric, mode="max", scheduler=scheduler, num_samples=members, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder), stop={"training_iteration": rounds}, callbacks=[times], verbose=0
        ),
    )
    results = tuner.fit()
    whole = time.perf_counter() - begun
    assert not results.errors, results.errors
    return Run(whole, times.finished)


def rows_beside_tune(name: str, found: dict[str, list[Run]]) -> Iterator[dict[str, Any]]:
    """Give a row for each kind of worker."""
    between = medians({kind: [run.between for run in runs] for kind, runs in found.items()})
    whole = medians({kind: [run.whole for run in runs] for kind, runs in found.items()})
    for kind, runs in found.items():
        yield {
            "": f"{name}, {kind}",
            "results": runs[0].results,
            "whole (s)": round(whole[kind], 2),
            "first to last (s)": round(between[kind], 3),
            "from - to": f"{min(run.between for run in runs):.2f} - {max(run.between for run in runs):.2f}",
            "of local": round(between[kind] / between["local"], 2),
            "Tune's over it": round(between["tune"] / between[kind], 1),
        }


def toy(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    settings = {
        "space": quadratic.SPACE,
        "initial": quadratic.INITIAL,
        "metric": "objective",
        "algorithm": ph.PBT(2, quadratic.INTERVAL),
        "budget": ph.Budget(trials=50),
    }
    space = {name: tune.uniform(0.0, 1.0) for name in quadratic.SPACE}
    actions: dict[str, Callable[[Path], Run]] = {
        kind: lambda empty, workers=workers: run_study(empty, quadratic.train, workers, **settings)[0]
        for kind, workers in places(2).items()
    }
    actions["tune"] = lambda empty: run_tune(empty, TuneToy, "objective", space, 2, 25)
    return rows_beside_tune("toy", in_turn(folder, rounds, actions))


def digits_network(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    settings = {
        "space": digits_torch.SPACE,
        "metric": "accuracy",
        "algorithm": ph.PBT(8, 1, exploit=ph.Truncation(0.25)),
        "budget": ph.Budget(trials=80),
    }
    space = {
        "lr": tune.loguniform(1e-4, 1.0),
        "momentum": tune.uniform(0.1, 0.99),
        "weight_decay": tune.loguniform(1e-6, 1e-1),
    }
    actions: dict[str, Callable[[Path], Run]] = {
        kind: lambda empty, workers=workers: run_study(empty, digits_torch.train, workers, **settings)[0]
        for kind, workers in places(2).items()
    }
    actions["tune"] = lambda empty: run_tune(empty, TuneDigits, "accuracy", space, 8, 10)
    return rows_beside_tune("digits", in_turn(folder, rounds, actions))


# --- actors beside local workers ---------------------------------------------------------------------------------

SMALL = {"space": {"lr": ph.Float(1e-4, 1e-1, log=True)}, "metric": "score"}


def build(trial: Any) -> dict[str, Any]:
    return {"weights": [0.0]}


def train_nothing(trials: Any) -> None:
    ended = 0.0
    for trial in trials.attach(build):
        gap = time.perf_counter() - ended if ended else 0.0
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0], gap=gap)
        ended = time.perf_counter()


def turn(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    for count in (1, 2):

        def measure(empty: Path, workers: Any) -> float:
            settings = {"algorithm": ph.PBT(4, 1), "budget": ph.Budget(steps=100), **SMALL}
            _, study = run_study(empty, train_nothing, workers, **settings)
            return 1e3 * statistics.median(trial.metrics["gap"] for trial in study.trials() if trial.metrics["gap"])

        yield from rows_of(f"turn, {count} worker{'s' * (count > 1)} (ms)", folder, rounds, measure, count)


def exploit(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    width = round((100e6 / 4 / 10) ** 0.5)

    def build(trial: Any) -> dict[str, Any]:
        return {"model": torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(10)))}

    def train(trials: Any) -> None:
        published = 0.0

        def note(name: str) -> None:
            nonlocal published
            if name == "disk.fsync_folder.after":
                published = time.perf_counter()

        with failpoints.armed(note):
            for trial in trials.attach(build):
                model, gap = trial.state.model, 0.0
                for _ in trial.range():
                    with torch.no_grad():
                        sum(float(parameter.sum()) for parameter in model.parameters())
                        if trial.record.decision.kind == "exploit":
                            gap = time.perf_counter() - published
                        model[0].bias += trial["lr"]
                trial.report(score=-float(trial.member), gap=gap)

    def measure(empty: Path, workers: Any) -> float:
        settings = {"algorithm": ph.PBT(2, 1), "budget": ph.Budget(steps=10), **SMALL}
        _, study = run_study(empty, train, workers, **settings)
        # the first load in a process also imports
        return 1e3 * statistics.median([one.metrics["gap"] for one in study.trials() if one.metrics["gap"]][1:])

    yield from rows_of("exploit of 100 MB (ms)", folder, rounds, measure, 1)


def death(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    def measure(empty: Path, workers: Any) -> float:
        def train(trials: Any) -> None:
            for trial in trials.attach(build):
                if trial.number == 1 and trial.record.losses == 0:
                    (empty / "pid.part").write_text(str(os.getpid()))
                    (empty / "pid.part").rename(empty / "pid")
                    time.sleep(600)
                for _ in trial.range():
                    trial.state.weights[0] += trial["lr"]
                trial.report(score=trial.state.weights[0])

        killed = 0.0

        def kill() -> None:
            nonlocal killed
            while not (empty / "pid").exists():
                time.sleep(0.01)
            time.sleep(0.2)
            killed = time.time()
            os.kill(int((empty / "pid").read_text()), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        settings = {"algorithm": ph.PBT(2, 1), "budget": ph.Budget(steps=3), **SMALL}
        _, study = run_study(empty, train, workers, **settings)
        killer.join()
        (ended,) = (event.at for event in study.events() if event.kind == "attempt ended")
        return 1e3 * (ended - killed)

    yield from rows_of("death (ms)", folder, rounds, measure, 2)


def rate(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    def measure(empty: Path, workers: Any) -> float:
        settings = {"algorithm": ph.PBT(8, 1), "budget": ph.Budget(steps=100), **SMALL}
        run, _ = run_study(empty, train_nothing, workers, **settings)
        return run.results / run.between

    yield from rows_of("rate, 8 workers (results/s)", folder, rounds, measure, 8)


def rows_of(
    name: str, folder: Path, rounds: int, measure: Callable[[Path, Any], float], count: int
) -> Iterator[dict[str, Any]]:
    """Give the row of a figure, local workers beside actors."""
    actions = {
        kind: lambda empty, workers=workers: measure(empty, workers)  # type: ignore[misc]
        for kind, workers in places(count).items()
    }
    found = in_turn(folder, rounds, actions)
    middle = medians(found)
    yield {
        "": name,
        "local": round(middle["local"], 1),
        "ray": round(middle["ray"], 1),
        "ratio": round(middle["ray"] / middle["local"], 2),
        "ray, all": " ".join(f"{value:.1f}" for value in found["ray"]),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    chosen = given.only.split(",")
    # Tune's tables would mix with ours, and it warns of each log that a reused actor cannot copy
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    with work_folder(given.folder) as folder:
        for title, parts in (
            (f"beside Ray Tune {ray.__version__}", {"toy": toy, "digits": digits_network}),
            ("actors beside local workers", {"turn": turn, "exploit": exploit, "death": death, "rate": rate}),
        ):
            rows: list[dict[str, Any]] = []
            loads, fsyncs = [], []
            for name, part in parts.items():
                if name in chosen:
                    loads.append(os.getloadavg()[0])
                    rows += part(folder.resolve(), given.rounds)
                    loads.append(os.getloadavg()[0])
                    fsyncs.append(fsync_seconds(folder) * 1e3)
            if rows:
                measured_in = conditions(folder, "ray", "torch")
                measured_in["load"] = f"{min(loads):.1f} to {max(loads):.1f}"
                measured_in["fsync_ms"] = round(statistics.median(fsyncs), 3)
                show(title, rows, measured_in, as_json=given.json)
    ray.shutdown()


if __name__ == "__main__":
    main()
