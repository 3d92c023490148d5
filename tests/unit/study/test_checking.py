"""Study.check names state that is missing from checkpoints, and finds nothing in clean code."""

import itertools
import json
import random
import time
import zipfile

import numpy as np
import pytest

import phyletic as ph
from phyletic import errors
from phyletic.testing.example import example_study
from phyletic.testing.training import drawing

SPACE = {"lr": ph.Float(1e-3, 1e-1, log=True)}


def study_of(**changes):
    return example_study(space=SPACE, **changes)


def check(train, **changes):
    """Return what check finds, and the likely causes that it names, apart."""
    found = study_of(**changes).check(train)
    causes = [text.removeprefix("likely cause: ") for text in found if text.startswith("likely cause: ")]
    differing = found[: len(found) - len(causes)]
    assert not any(text.startswith("likely") for text in differing)  # causes come last
    return differing, causes


def test_check_finds_nothing_in_clean_code():
    assert example_study().check(drawing()) == []


def test_check_does_not_change_the_study(tmp_path):
    study = example_study(tmp_path / "study.db")
    study.check(drawing())
    assert study.trials() == []


def test_state_that_build_does_not_return_is_named_by_its_effects():
    def train(trials):
        momentum = np.zeros(2)
        for trial in trials.attach(lambda trial: {"weights": np.ones(2), "steps": 0}):
            for _ in trial.range():
                momentum = 0.9 * momentum + np.random.standard_normal(2)
                trial.state.weights += trial["lr"] * momentum
                trial.state.steps += 1
            trial.report(score=float(trial.state.weights.sum()), steps=trial.state.steps)

    found, causes = check(train)
    assert found == ["weights", "metrics/score"]
    assert [cause.split(",")[:2] for cause in causes] == [["momentum", " a local variable of train()"]]


def test_a_leak_of_one_tensor_of_a_model_is_named():
    torch = pytest.importorskip("torch")

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.calls = 0  # neither a parameter nor a buffer: no checkpoint holds it
            self.register_buffer("total", torch.zeros(()))

        def forward(self, inputs):
            self.calls += 1
            self.total += self.calls
            return self.layer(inputs)

    def train(trials):
        for trial in trials.attach(lambda trial: {"model": Counting()}):
            for _ in trial.range():
                trial.state.model(torch.ones(1, 1))
            trial.report(score=trial["lr"])

    found, causes = check(train)
    assert found == ["model/total"]
    assert [cause.split(",")[0] for cause in causes] == ["trial.state.model.calls"]
    assert "make it a buffer" in causes[0]


def test_an_iterator_beside_the_state_is_found():
    def train(trials):
        batches = iter(range(10**6))
        for trial in trials.attach(lambda trial: {"seen": []}):
            for _ in trial.range():
                trial.state.seen.append(next(batches))
            trial.report(score=trial["lr"])

    found, causes = check(train)
    assert found == ["seen/2", "seen/3"]
    assert [cause.split(",")[0] for cause in causes] == ["batches"]


def test_training_that_the_seed_does_not_determine_is_reported_differently():
    generator = random.Random()

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            trial.state.weights[0] += trial["lr"] * generator.random()
            trial.report(score=trial.state.weights[0])

    found, causes = check(train)
    assert found
    assert all("already after the first trial" in name for name in found)
    assert [cause.split(",")[:2] for cause in causes] == [["generator", " a variable that encloses train()"]]
    assert "an earlier run of the training code had changed" in causes[0]


def test_nan_scores_are_not_a_difference():
    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [trial["lr"]]}):
            trial["lr"]
            trial.report(score=float("nan"))

    assert study_of().check(train) == []


def test_an_interval_in_seconds_needs_steps():
    study = study_of(algorithm=ph.PBT(2, interval_seconds=0.1))
    with pytest.raises(errors.InvalidArgument, match="steps is None, but must be given"):
        study.check(drawing())
    assert study.check(drawing_without_width, steps=2) == []


def drawing_without_width(trials):
    for trial in trials.attach(lambda trial: {"weights": np.ones(2)}):
        for _ in trial.range():
            trial.state.weights += trial["lr"] * np.random.standard_normal(2)
        trial.report(score=float(trial.state.weights.sum()))


# --- causes -------------------------------------------------------------------------------------------------------

CACHE = {"sum": 0.0}


def nudge(trial):
    CACHE["sum"] += 1.0
    return CACHE["sum"]


def accumulate(state, amounts):
    for amount in amounts:
        yield state.weights.__setitem__(0, state.weights[0] + amount)


class Trainer:
    def __init__(self):
        self.inner = {"seen": [0]}

    def train(self, trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                self.inner["seen"].append(1)
                trial.state.weights[0] += trial["lr"] * len(self.inner["seen"])
            trial.report(score=trial.state.weights[0])


def test_a_global_variable_of_a_function_that_training_calls_is_named():
    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"] * nudge(trial)
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["weights/0 (already after the first trial: the training is not determined by trial.seed)"]
    assert [cause.split(",")[:2] for cause in causes] == [
        ["CACHE", f" a global variable of {__name__} (at CACHE['sum'])"]
    ]


def test_an_attribute_of_the_object_whose_method_trains_is_named():
    found, causes = check(Trainer().train)
    assert found
    assert [cause.split(",")[:2] for cause in causes] == [
        ["self", " a local variable of train() (at len(self.inner['seen']))"]
    ]


def test_a_generator_and_an_array_that_go_on_are_named_and_what_stays_the_same_is_not():
    def train(trials):
        numbers = (number for number in range(1000))
        history, table, label = np.zeros(3), np.arange(500_000), "same"
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            local = len(label) + table[0]
            for _ in trial.range():
                history[1] += 1
                local += next(numbers) + history[1]
            trial.state.weights[0] += trial["lr"] * local
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["weights/0"]
    assert sorted(cause.split(",")[0] for cause in causes) == ["history", "numbers"]


def test_a_global_generator_that_the_two_runs_draw_from_differently_is_named():
    def train(trials):
        spare = None  # a second value that is drawn with the first, as random.gauss has it
        for trial in trials.attach(lambda trial: {"weights": np.zeros(1)}):
            for _ in range(3):
                value, spare = np.random.standard_normal(2) if spare is None else (spare, None)
                trial.state.weights += trial["lr"] * value
            trial.report(score=0.0, steps_done=trial.steps)

    found, causes = check(train)
    assert found == ["weights"]
    assert [cause.split(",")[0].split(":")[0] for cause in causes] == ["spare", "draws from numpy.random"]


def test_a_model_left_in_the_other_mode_is_named():
    torch = pytest.importorskip("torch")

    def build(trial):
        return {"model": torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Dropout(0.5)), "sum": torch.zeros(())}

    def train(trials):
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.sum += trial["lr"] * trial.state.model(torch.ones(2)).sum().detach()
            trial.state.model.eval()
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["sum"]
    assert causes[0].startswith("trial.state.model.training, ")
    assert "Call train() or eval()" in causes[0]
    assert any(cause.startswith("draws from torch's global generator: ") for cause in causes)


def test_an_optimizer_that_build_does_not_return_is_named():
    torch = pytest.importorskip("torch")

    def train(trials):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        for trial in trials.attach(lambda trial: {"weight": torch.zeros(1)}):
            trial["lr"]
            with torch.no_grad():
                weight.copy_(trial.state.weight)
            for _ in trial.range():
                weight.grad = torch.ones(1)
                optimizer.step()
            trial.state.weight = weight.detach().clone()
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["weight"]
    assert [cause.split(",")[0] for cause in causes] == ["weight", "optimizer"]


def test_gradients_that_stay_are_named():
    torch = pytest.importorskip("torch")

    def accumulating(trials):
        def build(trial):
            return {"layer": torch.nn.Linear(2, 1)}

        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.layer(torch.ones(2)).backward()
                with torch.no_grad():
                    trial.state.layer.weight -= trial["lr"] * trial.state.layer.weight.grad
            trial.report(score=0.0)

    found, causes = check(accumulating)
    assert found == ["layer/weight"]
    assert causes == [
        "trial.state.layer.weight.grad, a gradient left by the trial before. "
        "Clear gradients before a trial's first backward pass"
    ]


def test_a_loader_with_persistent_workers_is_named():
    torch = pytest.importorskip("torch")

    class Noise(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, place):
            return torch.rand(())  # from the generator of the worker's process

    def training(persistent):
        def train(trials):
            loader = torch.utils.data.DataLoader(Noise(), num_workers=1, persistent_workers=persistent)
            for trial in trials.attach(lambda trial: {"sum": torch.zeros(())}):
                for _ in trial.range():
                    for batch in loader:
                        trial.state.sum += trial["lr"] * batch.sum()
                trial.report(score=0.0)

        return train

    assert check(training(False)) == ([], [])
    found, causes = check(training(True))
    assert found == ["sum"]
    assert causes[0].startswith("loader, a DataLoader with persistent_workers=True: ")
    assert any(cause.startswith("draws from torch's global generator: ") for cause in causes)


def test_what_check_looks_at_is_bounded_and_may_be_hostile():
    class Hostile:
        @property
        def __dict__(self):
            raise RuntimeError("not to be touched")

        def __repr__(self):
            raise RuntimeError("not to be touched")

    def train(trials):
        momentum, hostile, circle = 0.0, Hostile(), []
        many = [[float(place)] for place in range(100_000)]
        circle.append(circle)
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                momentum += 1.0
                trial.state.weights[0] += (
                    trial["lr"] * momentum * len(many) * len(circle) * isinstance(hostile, Hostile)
                )
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["weights/0"]
    assert [cause.split(",")[0] for cause in causes] == ["momentum"]


def test_a_variable_of_which_only_a_part_was_looked_at_is_not_named():
    def train(trials):
        history = []
        steady = [[0.0] * 1000 for _ in range(30)]  # more values than check looks at
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            for _ in trial.range():
                history.append([0.0] * 1000)
                trial.state.weights[0] += trial["lr"] * len(history) + steady[0][0]
            trial.report(score=0.0)

    found, causes = check(train)
    assert found == ["weights/0"]
    assert [cause.split(",")[0] for cause in causes] == ["history"]


# --- files --------------------------------------------------------------------------------------------------------


def files(write):
    """Return training code that saves its state by a function of (path, weights) and never loads more than that."""

    def save(state, folder):
        write(folder, state.weights)

    def load(state, folder):
        state.weights = np.load(folder / "truth.npy")

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": np.zeros(2)}, save=save, load=load):
            for _ in trial.range():
                trial.state.weights = trial.state.weights + trial["lr"]
            trial.report(score=0.0)

    return train


def archive(path, members):
    with zipfile.ZipFile(path, "w") as written:
        for name, content in members.items():
            written.writestr(zipfile.ZipInfo(name, (2000 + next(TIMES) % 100, 1, 1, 0, 0, 0)), content)


TIMES = itertools.count()


def test_archives_that_differ_only_by_times_are_no_difference(tmp_path):
    def write(folder, weights):
        np.save(folder / "truth.npy", weights)
        archive(folder / "inner.zip", {"a": weights.tobytes()})
        noted = {"keras_version": "3", "date_saved": f"2026-01-01@{next(TIMES)}"}
        archive(
            folder / "model.keras",
            {"w": weights.tobytes(), "metadata.json": json.dumps(noted), "in": (folder / "inner.zip").read_bytes()},
        )

    assert check(files(write)) == ([], [])


def test_members_of_archives_whose_contents_differ_are_named(tmp_path):
    def write(folder, weights):
        np.save(folder / "truth.npy", weights)
        archive(folder / "inner.zip", {"same": b"1", "other": str(next(TIMES))})
        members = {"a": b"1", f"only {next(TIMES)}": b"", "in": (folder / "inner.zip").read_bytes()}
        archive(folder / "model.npz", members)
        (folder / "log").write_text(str(next(TIMES)))

    found = [name.partition(" (already")[0] for name in check(files(write))[0]]
    assert {name for name in found if "only" not in name} == {"inner.zip/other", "log", "model.npz/in/other"}
    assert len([name for name in found if name.startswith("model.npz/only")]) == 2


@pytest.mark.parametrize("content", [b"PK\x05\x06" + b"\0" * 30, b"PK\x03\x04 no archive"])
def test_a_file_that_only_looks_like_an_archive_is_compared_by_its_bytes(content):
    def write(folder, weights):
        np.save(folder / "truth.npy", weights)
        (folder / "odd.zip").write_bytes(content + bytes([next(TIMES) % 256]) * 5)

    found = check(files(write))[0]
    assert [name.partition(" (")[0] for name in found] == ["odd.zip"]


def test_a_keras_model_saved_twice_is_the_same():
    keras = pytest.importorskip("keras")

    def write(folder, weights):
        np.save(folder / "truth.npy", weights)
        layers = [keras.Input((2,), name="in"), keras.layers.Dense(1, kernel_initializer="ones", name="a")]
        model = keras.Sequential(layers, name="b")
        time.sleep(1.1)  # Keras notes seconds
        model.save(folder / "model.keras")

    assert check(files(write)) == ([], [])
