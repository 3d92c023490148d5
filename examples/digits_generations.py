"""Five networks, five generations: the best four continue, and a perturbed copy of the best replaces the fifth.

The program asks for a generation, trains each trial from its parent's files, writes files of its own, and tells the
accuracy. It trains with scikit-learn, PyTorch or Keras.
"""

import argparse
import math
import os
import pickle
from pathlib import Path

import numpy as np

import phyletic as ph
from phyletic import plots

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads this when it is imported, below

MNIST = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"
"""The file in which ``keras.datasets.mnist.load_data()`` leaves MNIST."""


def load():
    """Return training and validation images and labels: 12 000 of MNIST if it is there, else scikit-learn's digits."""
    if MNIST.exists():
        with np.load(MNIST) as found:
            images, labels = found["x_train"][:12_000].reshape(12_000, -1) / 255, found["y_train"][:12_000]
        name, count = "MNIST", 10_000
    else:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.RandomState(0).permutation(len(labels))
        images, labels = images[order] / 16, labels[order]
        name, count = "the digits of scikit-learn", 1_200
    images, labels = images.astype("float32"), labels.astype("int64")
    print(f"{name}: {count} training images, {len(labels) - count} validation images")
    return images[:count], labels[:count], images[count:], labels[count:]


# For each library, `train` loads the files in `start` (None for a newborn), trains, writes files into `folder` and
# returns the accuracy. `score` loads such files and returns their accuracy.


def train_sklearn(trial, data, start, folder):
    from sklearn.neural_network import MLPClassifier

    images, labels, *chosen_by = data
    np.random.seed(trial.seed)
    if start is None:
        model = MLPClassifier((32,), solver="sgd", momentum=0.9, batch_size=32)
    else:
        model = pickle.loads((start / "model.pickle").read_bytes())
    trial.apply(model, learning_rate_init="learning_rate")
    for _ in trial.range():
        model.partial_fit(images, labels, classes=range(10))
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    return model.score(*chosen_by)


def score_sklearn(folder, data):
    return pickle.loads((folder / "model.pickle").read_bytes()).score(*data[2:])


def torch_network():
    import torch

    torch.set_num_threads(1)  # so small a network gains nothing from more
    return torch.nn.Sequential(torch.nn.LazyLinear(32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def train_torch(trial, data, start, folder):
    import torch

    images, labels = torch.tensor(data[0]), torch.tensor(data[1])
    torch.manual_seed(trial.seed)
    model = torch_network()
    model(images[:1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    if start is not None:
        model.load_state_dict(torch.load(start / "model.pt"))
        optimizer.load_state_dict(torch.load(start / "optimizer.pt"))
    trial.apply(optimizer, lr="learning_rate")  # after the load, which restored the parent's learning rate
    for _ in trial.range():
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    torch.save(model.state_dict(), folder / "model.pt")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    return score_torch(folder, data)


def score_torch(folder, data):
    import torch

    model = torch_network()
    model.load_state_dict(torch.load(folder / "model.pt"))
    with torch.no_grad():
        return float((model(torch.tensor(data[2])).argmax(dim=1) == torch.tensor(data[3])).float().mean())


def train_keras(trial, data, start, folder):
    import keras

    images, labels, *chosen_by = data
    keras.utils.set_random_seed(trial.seed)
    if start is None:
        layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10, activation="softmax")]
        model = keras.Sequential([keras.Input(images.shape[1:]), *layers])
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    else:
        model = keras.models.load_model(start / "model.keras")  # with its optimizer
    trial.apply(model.optimizer)
    for _ in trial.range():
        model.fit(images, labels, batch_size=32, verbose=0)
    model.save(folder / "model.keras")
    return model.evaluate(*chosen_by, verbose=0, return_dict=True)["accuracy"]


def score_keras(folder, data):
    import keras

    model = keras.models.load_model(folder / "model.keras")
    return model.evaluate(*data[2:], verbose=0, return_dict=True)["accuracy"]


LIBRARIES = {
    "sklearn": (train_sklearn, score_sklearn),
    "torch": (train_torch, score_torch),
    "keras": (train_keras, score_keras),
}


def rank(trial):
    """Return the rank of a trial's member in the last generation, 0 for the best; infinity for a newborn."""
    place = trial.record.decision.rank
    return math.inf if place is None else place


def told_as(trial):
    """Describe what happened to a member: new, continued, or a copy with a perturbed learning rate."""
    decision = trial.record.decision
    if decision.kind == "birth":
        return f"new, learning rate {trial['learning_rate']:.5f}"
    if decision.kind == "continue":
        return f"continue, learning rate {trial['learning_rate']:.5f}"
    (change,) = [change for change in decision.changes if change.path == "learning_rate"]
    return f"perturbed copy of trial {trial.parent}, learning rate {change.before:.5f} to {change.after:.5f}"


def search(library, folder):
    train, score = LIBRARIES[library]
    study = ph.Study(
        f"digits with {library}",
        space={"learning_rate": ph.Float(1e-4, 1e-2, log=True, limits=(1e-6, 1e-1))},
        metric="accuracy",
        mode="max",
        algorithm=ph.PBT(5, 1, exploit=ph.Truncation(0.2), explore=ph.Perturb((0.8, 1.2), 0.0), synchronous=True),
        budget=ph.Budget(trials=25),
        storage=folder / f"{library}.db",
        seed=0,
    )
    data = load()
    while isinstance((generation := study.ask(count=5))[0], ph.LiveTrial):
        for trial in sorted(generation, key=rank):
            accuracy = train(trial, data, trial.load_from, trial.save_to)
            study.tell(trial, accuracy=accuracy)
            place = f"generation {trial.generation + 1}, trial {trial.number:2} of lineage {trial.lineage}"
            print(f"{place:48} {told_as(trial)}: accuracy {accuracy:.4f}")

    frame = study.trials_dataframe()
    print(frame[["generation", "member", "parent", "decision", "hyperparameters.learning_rate", "score"]].to_string())
    best, path = study.best, study.checkpoint_path()
    rate = best.hyperparameters["learning_rate"]
    print(f"best: trial {best.number}, accuracy {best.score:.4f}, learning rate {rate:.5f}")
    print(f"its checkpoint: {path}")
    print(f"accuracy after loading it: {score(path, data):.4f}")
    picture = folder / f"{library}.png"
    plots.plot(study, "summary", title=study.name).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--output", type=Path, default=Path("digits-generations"), help="folder of study and picture")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    search(options.library, options.output)
