"""torch states come back bit for bit, in place, and can be read without phyletic."""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.comparison import difference
from phyletic.errors import CheckpointError

ID, OTHER = "a" * 32, "b" * 32
DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex32", "complex64", "complex128", "float8_e5m2", "float8_e4m3fn",
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Checkpoints(FolderBlobs(tmp_path / "checkpoints"))


def build(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.PReLU(), torch.nn.Linear(5, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], [3])
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD(model.parameters(), lr=0.1))
    generator = torch.Generator().manual_seed(seed)
    average = torch.optim.swa_utils.AveragedModel(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    return {
        "model": model, "optimizer": optimizer, "scheduler": scheduler, "plateau": plateau, "generator": generator,
        "average": average, "scaler": scaler,
    }  # fmt: skip


def train(state, steps):
    for _ in range(steps):
        batch = torch.randn(16, 6, generator=state["generator"])
        state["optimizer"].zero_grad()
        loss = state["model"](batch).square().sum()
        state["scaler"].scale(loss).backward()
        state["scaler"].step(state["optimizer"])
        state["scaler"].update()
        state["scheduler"].step()
        state["plateau"].step(loss.item())
        state["average"].update_parameters(state["model"])


def load(store, reference, state):
    with store.open(reference) as checkpoint:
        checkpoint.restore(state)
        checkpoint.verify()


def test_a_childs_weights_are_its_parents_checkpoint_byte_for_byte(store):
    parent, child = build(0), build(1)
    train(parent, 5)
    train(child, 2)
    objects = dict(child)
    reference = store.publish(ID, parent)
    load(store, reference, child)
    assert child == objects, "objects that can take their state in place stay the same objects"
    again = store.publish(OTHER, child)
    assert difference(store, reference, again) == []
    assert again.digest == reference.digest
    assert store.path(OTHER).read_bytes() == store.path(ID).read_bytes()

    # training continues exactly as the parent's does
    train(parent, 4)
    train(child, 4)
    assert difference(store, store.publish("c" * 32, parent), store.publish("d" * 32, child)) == []
    assert "model/0.weight" in difference(store, reference, store.publish("e" * 32, child))


def test_training_after_a_restore_does_not_change_the_file(store):
    state = build(0)
    train(state, 3)
    reference = store.publish(ID, state)
    checkpoint = store.open(reference)
    store.delete(ID)  # an open checkpoint stays readable
    checkpoint.restore(state)
    train(state, 3)
    checkpoint.verify()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map in /proc")
def test_restored_values_do_not_share_memory_with_the_file(store):
    """Otherwise a process that trains would die if a network file system lost the file."""
    state = build(0)
    train(state, 2)
    state["arrays"] = [np.ones(3), torch.ones(3), 1j * torch.ones(3)]
    reference = store.publish(ID, state)
    with store.open(reference) as checkpoint:
        assert ID in Path("/proc/self/maps").read_text()
        checkpoint.restore(state)
        values = [checkpoint.value(name) for name in checkpoint.entries]
        checkpoint.verify()
    del checkpoint
    gc.collect()
    assert ID not in Path("/proc/self/maps").read_text()
    assert len(values) == len(state)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 3, 2)])
def test_each_dtype_and_shape_comes_back(store, dtype, shape):
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    count = int(np.prod(shape))
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (count * kind.itemsize,), dtype=torch.uint8)
    value = raw.view(kind).reshape(shape)
    kept = [value, value.transpose(0, -1), value[::2]] if shape and count else [value]
    reference = store.publish(ID, {"x": kept, "y": {"pad": torch.ones(1, dtype=torch.uint8), "z": value}})
    with store.open(reference) as checkpoint:
        checkpoint.verify()
        for restored, expected in zip(checkpoint.value("x"), kept, strict=True):
            assert restored.dtype == kind
            assert restored.shape == expected.shape
            bits = [each.contiguous().reshape(-1).view(torch.uint8) for each in (restored, expected)]
            assert torch.equal(*bits)
    store.delete(ID)


def test_conjugate_and_negative_views_come_back(store):
    value = torch.randn(3, dtype=torch.complex64)
    with store.open(store.publish(ID, {"x": [value.conj(), value.conj().imag]})) as checkpoint:
        conjugate, negative = checkpoint.value("x")
    assert torch.equal(conjugate, value.conj().resolve_conj())
    assert torch.equal(negative, -value.imag)


def test_tied_weights_stay_tied(store):
    def tied():
        model = torch.nn.ModuleList([torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)])
        model[1].weight = model[0].weight
        return model

    saved, loaded = tied(), tied()
    load(store, store.publish(ID, {"m": saved}), {"m": loaded})
    assert loaded[1].weight is loaded[0].weight
    assert torch.equal(loaded[0].weight, saved[0].weight)


def test_safetensors_alone_can_read_the_arrays(store):
    state = build(0)
    train(state, 2)
    store.publish(ID, {**state, "tree": {"a": np.arange(3), "b": 0.5}})
    arrays = load_file(store.path(ID))
    for name, value in state["model"].state_dict().items():
        assert torch.equal(arrays[f"model/{name}"], value)
    assert torch.equal(arrays["optimizer/state/0/exp_avg"], state["optimizer"].state_dict()["state"][0]["exp_avg"])
    with safe_open(store.path(ID), "np") as file:
        assert file.get_tensor("tree/a").tolist() == [0, 1, 2]
        manifest = json.loads(file.metadata()["phyletic"])
    assert manifest["entries"]["optimizer"]["adapter"] == "state_dict"
    assert manifest["entries"]["tree"]["tree"]["dict"]["b"] == 0.5


def test_any_object_with_a_state_dict_is_saved_through_it(store):
    class Buffer:
        def __init__(self):
            self.items = torch.zeros(3)

        def state_dict(self):
            return {"items": self.items, "size": torch.Size([3])}

        def load_state_dict(self, state):
            self.items = state["items"]
            self.size = state["size"]

    saved, loaded = Buffer(), Buffer()
    saved.items += 1
    reference = store.publish(ID, {"buffer": saved})
    with store.open(reference) as checkpoint:
        assert checkpoint.entries == {"buffer": "state_dict"}
        checkpoint.restore({"buffer": loaded})
        loaded.items += 1  # it keeps the tensor that it got, which must not be memory of the file
        checkpoint.verify()
    store.verify(reference)
    assert loaded.items.tolist() == [2, 2, 2]
    assert loaded.size == (3,)


def test_a_state_that_does_not_fit_is_an_error_that_names_the_entry(store):
    reference = store.publish(ID, {"model": torch.nn.Linear(2, 3)})
    for live, said in ((torch.nn.Linear(2, 4), "size mismatch"), (None, "holds nothing"), (3, "holds a int")):
        with store.open(reference) as checkpoint, pytest.raises(CheckpointError, match=f"'model'(?s:.*){said}"):
            checkpoint.restore({"model": live})


def test_a_large_state_comes_back(store):
    torch.manual_seed(0)
    saved, loaded = torch.nn.Linear(1500, 1500), torch.nn.Linear(1500, 1500)
    reference = store.publish(ID, {"m": saved})
    assert reference.size > 9_000_000
    load(store, reference, {"m": loaded})
    assert torch.equal(saved.weight, loaded.weight)
    store.verify(reference)


def test_a_snapshot_stays_as_it_was_when_training_goes_on(store):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    other = {"half": torch.ones(5, dtype=torch.bfloat16), "turned": torch.arange(6.0).reshape(2, 3).T}
    state = {"model": model, "optimizer": optimizer, "other": other}

    def step():
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        other["half"].add_(1)
        other["turned"].mul_(2)

    step()
    before = store.publish(ID, state)
    snapshot = store.snapshot(state)
    step()
    assert store.publish(OTHER, snapshot).digest == before.digest
    assert store.publish("c" * 32, state).digest != before.digest
