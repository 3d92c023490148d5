"""Keras models and optimizers come back bit for bit, in place, even if Keras names their variables differently."""

import numpy as np
import pytest

import phyletic as ph
from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.errors import CheckpointError
from phyletic.workers.seeding import seed_everything

keras = pytest.importorskip("keras")

ID, OTHER = "a" * 32, "b" * 32
IMAGES = np.random.RandomState(0).rand(64, 6).astype("float32")
LABELS = (IMAGES.sum(axis=1) > 3).astype("int32")


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints"))


def build(seed, *, compiled=True, width=5):
    seed_everything(seed)
    layers = [keras.layers.Dense(width, "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2)])
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
        model.evaluate(IMAGES[:1], LABELS[:1], verbose=0)  # otherwise its first fit would draw more random numbers
    return model


def train(model, seed=0):
    seed_everything(seed)
    model.fit(IMAGES, LABELS, batch_size=16, verbose=0)
    return model


def arrays(model):
    return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def load(store, reference, state):
    with store.open(reference) as checkpoint:
        checkpoint.restore(state)
        checkpoint.verify()
    return state


def test_weights_optimizer_and_dropout_come_back_and_training_continues_unchanged(store):
    model = train(build(1))
    reference = store.publish(ID, {"model": model})
    saved = arrays(model)
    fresh = build(2)  # its optimizer has no variables yet, and its layers have other names
    assert [variable.path for variable in fresh.variables] != [variable.path for variable in model.variables]
    state = {"model": fresh}
    assert load(store, reference, state)["model"] is fresh
    assert same(arrays(fresh), saved)
    assert same(arrays(train(model, 5)), arrays(train(fresh, 5)))
    assert not same(arrays(model), saved)
    load(store, reference, {"model": model})
    assert same(arrays(model), saved)


def test_an_untrained_checkpoint_resets_a_trained_model(store):
    model = build(1)
    reference = store.publish(ID, {"model": model})
    trained = train(build(2))
    load(store, reference, {"model": trained})
    assert same(arrays(trained), arrays(model))
    assert int(trained.optimizer.iterations.numpy()) == 0


def test_an_optimizer_may_be_a_separate_entry(store):
    def make(seed):
        model = build(seed, compiled=False)
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(model.trainable_variables)
        return {"model": model, "optimizer": optimizer}

    state = make(1)
    state["optimizer"].apply([keras.ops.ones(v.shape) for v in state["model"].trainable_variables])
    reference = store.publish(ID, state)
    other = load(store, reference, make(2))
    for name in state:
        assert same([v.numpy() for v in other[name].variables], [v.numpy() for v in state[name].variables])
    unbuilt = keras.optimizers.SGD(0.1, momentum=0.9)
    with pytest.raises(CheckpointError, match=r"optimizer\.build\(model\.trainable_variables\)"):
        load(store, reference, {**make(3), "optimizer": unbuilt})


def test_a_state_that_does_not_fit_is_an_error_that_says_what_to_do(store):
    reference = store.publish(ID, {"model": train(build(1))})
    with pytest.raises(CheckpointError, match=r"has shape \(6, 5\) at variable 0, and the live object \(6, 7\)"):
        load(store, reference, {"model": build(1, width=7)})
    with pytest.raises(CheckpointError, match="compile the model in build"):
        load(store, reference, {"model": build(1, compiled=False)})
    with pytest.raises(CheckpointError, match="the state holds nothing"):
        load(store, reference, {})
    unbuilt = keras.Sequential([keras.layers.Dense(5)])
    unbuilt.compile("adam")
    with pytest.raises(CheckpointError, match="begin it with keras"):
        load(store, reference, {"model": unbuilt})


def test_value_returns_the_arrays_without_a_live_object(store):
    model = train(build(1))
    with store.open(store.publish(ID, {"model": model})) as checkpoint:
        assert dict(checkpoint.entries) == {"model": "keras"}
        value = checkpoint.value("model")
    assert same([*value["variables"], *value["optimizer"]], arrays(model))


def test_the_random_states_of_keras_follow_the_seed():
    seed_everything(3)
    first = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    seed_everything(3)
    assert np.array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), first)


def test_a_population_trains_and_nothing_leaks_between_its_members():
    def members(trials):
        for trial in trials.attach(lambda trial: {"model": build(trial.seed)}):
            model = trial.state.model
            trial.apply(model.optimizer)
            for _ in trial.range():
                model.fit(IMAGES, LABELS, batch_size=16, verbose=0)
            trial.report(loss=model.evaluate(IMAGES, LABELS, verbose=0))

    study = ph.Study(
        "keras",
        space={"learning_rate": ph.Float(1e-3, 1e-1, log=True)},
        metric="loss",
        mode="min",
        algorithm=ph.PBT(2, 1, exploit=ph.Truncation(0.5), synchronous=True),
        budget=ph.Budget(steps=3),
        seed=0,
    )
    assert study.check(members) == []
    members(study)
    trials = study.trials()
    assert any(trial.decision.kind == "exploit" for trial in trials)
    assert all(trial.applied == pytest.approx(trial.hyperparameters) for trial in trials)
    restored = study.restore(model=build(99))["model"]
    assert restored.evaluate(IMAGES, LABELS, verbose=0) == pytest.approx(study.best.score)
