"""An export is read by other libraries alone, in a process without phyletic, and equals what was stored bit for bit."""

import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import phyletic as ph
from phyletic.cli import main
from phyletic.errors import CheckpointDamaged, InvalidArgument, NotFound
from phyletic.failpoints import armed

# runs in the test and in a process without phyletic: a value as one text that tells every bit and every type
FLAT = '''
import base64, json, struct

def flat(value):
    kind = type(value).__name__
    if kind == "Tensor":
        raw = value.detach().contiguous().reshape(-1).view(__import__("torch").uint8).numpy().tobytes()
        return f"tensor {value.dtype} {tuple(value.shape)} {raw.hex()}"
    if kind == "ndarray":
        return f"array {value.dtype} {value.shape} {value.tobytes().hex()}"
    if hasattr(value, "dtype"):
        return f"{kind} {value.dtype} {value.tobytes().hex()}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flat(key)}: {flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"{'list' if isinstance(value, list) else 'tuple'}[" + ", ".join(map(flat, value)) + "]"
    if isinstance(value, (set, frozenset)):
        return f"{kind}" + str(sorted(map(flat, value)))
    if isinstance(value, float):
        return "float " + struct.pack(">d", value).hex()
    return f"{kind} {ascii(value)}"

def lift(node, arrays):
    """What the README says of the marks."""
    if isinstance(node, list):
        return [lift(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    mark = next(iter(node), "")
    if not mark.startswith("$") or mark.startswith("$$"):
        return {key[1:] if key.startswith("$") else key: lift(value, arrays) for key, value in node.items()}
    content = lift(node[mark], arrays)
    if mark == "$array":
        return arrays[content]
    if mark in ("$scalar", "$scalar bytes"):
        import numpy
        dtype = numpy.dtype(node["dtype"])
        return dtype.type(content) if mark == "$scalar" else numpy.frombuffer(bytes.fromhex(content), dtype)[0]
    if mark == "$float":
        return float(content) if not content[:1].isdigit() else struct.unpack(">d", bytes.fromhex(content))[0]
    return {
        "$tuple": tuple, "$namedtuple": tuple, "$set": set, "$frozenset": frozenset, "$pairs": dict,
        "$complex": lambda parts: complex(*parts), "$bytes": base64.b64decode,
        "$long bytes": lambda name: arrays[name].tobytes(),
        "$text": lambda digits: bytes.fromhex(digits).decode("utf-8", "surrogatepass"),
        "$numpy str": __import__("numpy").str_, "$numpy bytes": __import__("numpy").bytes_,
    }[mark](content)

def tree(stem):
    import os
    arrays = {}
    if os.path.exists(stem + ".npz"):
        import numpy
        arrays = dict(numpy.load(stem + ".npz", allow_pickle=False))
    if os.path.exists(stem + ".safetensors"):
        from safetensors.torch import load_file
        arrays = load_file(stem + ".safetensors")
    if not os.path.exists(stem + ".json"):
        return next(iter(arrays.values()))
    with open(stem + ".json", encoding="utf-8") as file:
        return lift(json.load(file), arrays)
'''
HERE = {}
exec(FLAT, HERE)
flat = HERE["flat"]


def elsewhere(folder, code):
    """Run code in a folder, in a process that cannot import phyletic; return what it prints."""
    script = f"import sys\nsys.modules['phyletic'] = None\n{FLAT}\n{code}"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def read(folder, expression):
    """Return the bits of what an expression reads in a folder, in a process without phyletic."""
    return elsewhere(folder, f"print(flat({expression}))")


def study_with(state, storage=None, **changes):
    """Return a study whose only trial left a state, or the files that a function wrote."""
    settings = {"space": {"lr": ph.Float(0.1, 1.0)}, "metric": "score", "mode": "max", "seed": 0}
    study = ph.Study(
        "study", algorithm=ph.PBT(1, 2), budget=ph.Budget(trials=1), storage=storage, **{**settings, **changes}
    )
    trial = study.ask()
    study.tell(trial, score=0.5, checkpoint=state(trial) if callable(state) else state)
    return study


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


COMMON = {"README.md", "schedule.json", "schedule.csv", "lineage.json"}

TREES = {
    "an array": np.arange(6, dtype=">i2").reshape(2, 3).astype("<i2"),
    "arrays by name": {"w": np.array([0.1, -0.0, np.nan]), "inner": {"b": np.array(2, np.float16)}},
    "types that only numpy has": [np.array([1j, 2], "c8"), np.array(["ab", "c"]), np.array(["2020-01-01"], "M8[D]")],
    "no array": {"a": [1, 2.5, None, True, "text"], "b": {}},
    "marked": {
        "$a": (1, (2,)), "b": {1, 2}, "c": frozenset([3]), "d": 1j, "e": b"bytes", "f": b"x" * 2000, "g": 2**80,
        "h": [float("nan"), float("inf"), -float("inf"), -0.0], "i": {1: "one", (2, 3): [4]}, "j": "\ud800",
        "k": np.float32(0.1), "l": np.int8(-3), "m": np.float64("nan"), "n": np.str_("s"), "o": np.complex64(1j),
        "$array": "not one", "p": np.datetime64("2020-01-01"),
    },
    "odd names": {"a": np.zeros(1), "a.npy": np.ones(1), "": np.full(1, 2.0), "nul\0": np.full(1, 3.0)},
    "names that are too long": {"x" * 5000: np.zeros(2), "$": [np.ones(3)]},
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_a_tree_comes_back_from_numpy_and_json_alone(tmp_path, name):
    folder = study_with({"params": TREES[name]}).export(tmp_path / "out")
    assert read(folder, "tree('params')") == flat(TREES[name])
    assert not (folder / "params.safetensors").exists()


def test_bytes_and_texts_are_files_as_they_are(tmp_path):
    state = {"booster": b"\0" * 3000 + b"\xff", "short": b"ab", "model": "tree\r\nleaf_value=ü\n"}
    folder = study_with(state).export(tmp_path / "out")
    assert names(folder) == COMMON | {"booster.bin", "short.bin", "model.txt"}
    assert (folder / "booster.bin").read_bytes() == state["booster"]
    assert (folder / "short.bin").read_bytes() == state["short"]
    assert (folder / "model.txt").read_bytes() == state["model"].encode()


def torch_state():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(torch.float64)
    model[0].to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model[1].parameters(), lr=0.01, betas=(0.8, 0.9))
    model[1](torch.ones(2, 4, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def test_a_state_dict_is_a_file_that_torch_loads_as_weights_only(tmp_path):
    state = torch_state()
    folder = study_with(state).export(tmp_path / "out")
    assert names(folder) == COMMON | {"model.pt", "optimizer.pt", "scheduler.pt"}
    for name, value in state.items():
        expected = flat(dict(value.state_dict()))
        assert read(folder, f"__import__('torch').load('{name}.pt', weights_only=True)") == expected
    elsewhere(
        folder,
        """
import torch
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
model.load_state_dict(torch.load("model.pt", weights_only=True), strict=True)
torch.optim.AdamW(model[1].parameters()).load_state_dict(torch.load("optimizer.pt", weights_only=True))
""",
    )


def test_without_torch_a_state_dict_is_tensors_and_json(tmp_path, monkeypatch):
    state = torch_state()
    study = study_with(state)
    expected = {name: flat(dict(value.state_dict())) for name, value in state.items()}
    monkeypatch.setitem(sys.modules, "torch", None)
    folder = study.export(tmp_path / "out")
    written = {"model.safetensors", "model.json", "optimizer.safetensors", "optimizer.json", "scheduler.json"}
    assert names(folder) == COMMON | written
    assert "torch was not there to write a .pt file" in (folder / "README.md").read_text()
    for name in state:
        assert read(folder, f"tree({name!r})") == expected[name]


def test_a_state_dict_that_weights_only_refuses_is_tensors_and_json(tmp_path):
    torch = pytest.importorskip("torch")

    class Mixed:
        def state_dict(self):
            return {"t": torch.ones(2, dtype=torch.complex64), "seen": frozenset([1])}

        def load_state_dict(self, state):
            raise NotImplementedError

    folder = study_with({"mixed": Mixed()}).export(tmp_path / "out")
    assert names(folder) == COMMON | {"mixed.safetensors", "mixed.json"}
    assert "weights_only=True) refuses" in (folder / "README.md").read_text()
    # the safetensors format has no complex numbers: the JSON says what the raw bytes are
    expected = np.ones(2, np.complex64).tobytes().hex()
    array = json.loads((folder / "mixed.json").read_text())["t"]
    assert array == {"$array": "t", "dtype": "complex64", "shape": [2]}
    assert read(folder, "tree('mixed')['t']") == f"tensor torch.uint8 (16,) {expected}"


def test_a_tree_of_types_that_numpy_lacks_is_in_the_safetensors_format(tmp_path):
    torch = pytest.importorskip("torch")
    value = {"a": torch.tensor([1.5, -0.0], dtype=torch.bfloat16), "b": torch.arange(3), "c": [1]}
    folder = study_with({"params": value}).export(tmp_path / "out")
    assert names(folder) == COMMON | {"params.safetensors", "params.json"}
    assert read(folder, "tree('params')") == flat(value)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_an_estimator_stays_the_pickle_it_is_and_is_never_opened(tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.SGDClassifier().fit([[0.0], [1.0]], [0, 1])
    expected = pickle.dumps(model, protocol=5)
    trapped = linear_model.SGDClassifier()
    trapped.bomb = Bomb(str(tmp_path / "opened"))
    folder = study_with({"trapped": trapped, "model": model}).export(tmp_path / "out")
    assert not (tmp_path / "opened").exists()
    assert (folder / "model.pkl").read_bytes() == expected
    assert f"by scikit-learn {sys.modules['sklearn'].__version__};" in (folder / "README.md").read_text()
    code = "import pickle\nprint(flat(pickle.load(open('model.pkl', 'rb')).coef_))"
    assert elsewhere(folder, code) == flat(model.coef_)


def test_random_states_are_left_out_and_the_readme_says_so(tmp_path):
    folder = study_with({"noise": np.random.default_rng(0), "x": 1}).export(tmp_path / "out")
    assert names(folder) == COMMON | {"x.json"}
    assert "entry 'noise': a random state" in (folder / "README.md").read_text()


def test_your_own_files_are_copied_as_they_are(tmp_path):
    mine = tmp_path / "mine"
    (mine / "inner").mkdir(parents=True)
    (mine / "empty").mkdir()
    (mine / "inner" / "w.bin").write_bytes(os.urandom(100_000))
    (mine / "README.md").write_text("mine")
    folder = study_with(mine).export(tmp_path / "out")
    assert names(folder) == COMMON | {"files/inner/w.bin", "files/README.md"}
    assert (folder / "files/inner/w.bin").read_bytes() == (mine / "inner" / "w.bin").read_bytes()
    assert (folder / "files/empty").is_dir()


KERAS = """
import keras

def build(trial):
    layers = [keras.layers.Dense(trial["width"], "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return {"model": model, "other": keras.optimizers.SGD(), "lineage": trial.lineage}
"""


def test_a_keras_model_is_its_variables_and_with_build_the_whole_model(tmp_path, monkeypatch):
    pytest.importorskip("keras")
    (tmp_path / "keras_code.py").write_text(KERAS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import keras_code

    made = {}

    def state(trial):
        made.update(keras_code.build(trial))
        made["model"].fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        return made

    space = {"width": ph.Choice([4, 5], fixed=True)}
    study = study_with(state, tmp_path / "study.db", space=space)
    model = made["model"]
    arrays = {
        f"{group}/{place}": variable.numpy()
        for group, variables in (("variables", model.variables), ("optimizer", model.optimizer.variables))
        for place, variable in enumerate(variables)
    }
    folder = study.export(tmp_path / "plain")
    assert names(folder) == COMMON | {"model.npz", "other.npz", "lineage-2.txt"}
    assert read(folder, "dict(__import__('numpy').load('model.npz'))") == flat(arrays)

    given = ["--storage", str(tmp_path / "study.db"), "--build", "keras_code.py:build"]
    said = CliRunner().invoke(main, ["export", "study", "whole", *given])
    assert said.exit_code == 0, said.output
    assert names(tmp_path / "whole") == names(folder) | {"model.keras"}
    code = """
import keras
model = keras.models.load_model("model.keras")
print(flat([v.numpy() for v in model.weights] + [v.numpy() for v in model.optimizer.variables]))
"""
    # Keras itself does not save the random state of dropout
    weights = [*model.weights, *model.optimizer.variables]
    assert elsewhere(tmp_path / "whole", code) == flat([variable.numpy() for variable in weights])


def test_build_must_make_the_models_of_the_checkpoint(tmp_path):
    keras = pytest.importorskip("keras")
    layer = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(InvalidArgument, match="left out: it is for Keras models"):
        study_with({"x": 1}).export(tmp_path / "out", build=lambda trial: {"x": 1})
    study = study_with({"model": layer})
    with pytest.raises(InvalidArgument, match="a function whose result has 'model'"):
        study.export(tmp_path / "out", build=lambda trial: {"net": layer})
    with pytest.raises(InvalidArgument, match="returns a dictionary, not a list"):
        study.export(tmp_path / "out", build=lambda trial: [layer])
    assert not (tmp_path / "out").exists()


def grown(storage=None, trials=6):
    study = ph.Study(
        "grown", space={"lr": ph.Float(0.1, 1.0)}, metric="accuracy", mode="max", seed=0, storage=storage,
        algorithm=ph.PBT(2, 3, synchronous=True), budget=ph.Budget(trials=trials),
    )  # fmt: skip
    while not isinstance(trial := study.ask(), ph.Finished):
        study.tell(trial, accuracy=trial.number / 10, checkpoint={"w": np.array([trial.number])})
    return study


def test_schedule_and_lineage_are_those_of_the_trial_and_the_best_is_the_default(tmp_path):
    study = grown()
    assert read(study.export(tmp_path / "best"), "tree('w')") == flat(np.array([5]))
    folder = study.export(tmp_path / "third", trial=study.trial(3))
    assert read(folder, "tree('w')") == flat(np.array([3]))
    assert ph.Schedule.from_json((folder / "schedule.json").read_text()) == study.schedule(3)
    assert (folder / "schedule.csv").read_text() == study.schedule(3).to_csv()
    rows = json.loads((folder / "lineage.json").read_text())["trials"]
    assert [row["number"] for row in rows] == [trial.number for trial in study.lineage(3)]
    for row, trial in zip(rows, study.lineage(3), strict=True):
        facts = (
            trial.member,
            trial.start_step,
            trial.end_step,
            trial.hyperparameters,
            trial.decision.kind,
            trial.score,
        )
        keys = ("member", "start_step", "end_step", "hyperparameters", "decision", "score")
        assert tuple(row[key] for key in keys) == facts
    text = (folder / "README.md").read_text()
    assert "# grown: trial 3" in text
    assert "accuracy 0.3 (max)" in text
    assert f"phyletic {ph.__version__}" in text


def test_a_score_that_is_not_a_number_is_valid_json(tmp_path):
    study = grown()
    study.set_budget(ph.Budget(trials=7))
    study.tell(study.ask(), accuracy=float("nan"), checkpoint={"w": 0})
    folder = study.export(tmp_path / "out", trial=6)
    rows = json.loads((folder / "lineage.json").read_text(), parse_constant=pytest.fail)["trials"]
    assert rows[-1]["score"] == "NaN"


def test_the_lines_of_the_readme_load_each_file(tmp_path):
    sklearn = pytest.importorskip("sklearn.linear_model")
    torch = pytest.importorskip("torch")
    state = {
        **torch_state(), "bf": torch.ones(2, dtype=torch.bfloat16), "tree": {"a": np.zeros(2), "b": (1,)},
        "blob": b"b", "text": "t", "estimator": sklearn.SGDClassifier(),
    }  # fmt: skip
    folder = study_with(state).export(tmp_path / "out")
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 7
    begin = "import torch\nmodel = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))\n"
    elsewhere(folder, begin + "\n".join(blocks))
    for name in names(folder) - {"README.md"}:
        assert f"| `{name}` |" in (folder / "README.md").read_text()


def test_files_have_the_names_of_entries_but_never_leave_the_folder(tmp_path):
    state = {"../up": 1, "a/b": 2, "A_b": 3, "": 4, ".hidden": 5, "README": 6, "x" * 300: 7, "\0": 8}
    folder = study_with(state).export(tmp_path / "inside" / "out")
    assert {path.name for path in (tmp_path / "inside").iterdir()} == {"out"}
    written = names(folder) - COMMON
    assert all("/" not in name for name in written)
    assert len({name.casefold() for name in written | COMMON}) == len(state) + len(COMMON)
    assert sorted(json.loads((folder / name).read_text()) for name in written) == list(range(1, 9))


@pytest.mark.parametrize("inside", ["file", "folder"])
def test_a_folder_that_holds_something_is_refused_and_nothing_is_written(tmp_path, inside):
    study = study_with({"x": 1})
    target = tmp_path / "out"
    target.mkdir()
    study.export(target)  # an empty one is taken
    (tmp_path / "other").mkdir()
    made = tmp_path / "other" / "mine"
    made.touch() if inside == "file" else made.mkdir()
    for folder in (target, tmp_path / "other", target / "README.md", tmp_path / "other" / "mine" / "x" / "y"):
        before = sorted(tmp_path.rglob("*"))
        if folder.parent.parent.name == "mine" and inside == "folder":
            continue
        with pytest.raises(InvalidArgument, match="a folder that does not exist, or is empty"):
            study.export(folder)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_checkpoint_and_one_that_was_collected_write_nothing(tmp_path):
    study = grown(tmp_path / "study.db")
    path = study.checkpoint_path(5)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=path.name):
        study.export(tmp_path / "out")
    study.set_budget(ph.Budget(trials=12))
    grown(tmp_path / "study.db", 12)
    with pytest.raises(NotFound, match="trial 0 has no checkpoint"):
        study.export(tmp_path / "out", trial=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_while_writing_leaves_nothing(tmp_path, existed):
    study = grown()
    if existed:
        (tmp_path / "a" / "out").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    passed = []

    def full(name):
        passed.append(name)
        if name == "disk.write.before" and passed.count(name) == 2:
            raise OSError(28, "No space left on device")

    with armed(full), pytest.raises(InvalidArgument, match=r"can be written.*No space left"):
        study.export(tmp_path / "a" / "out")
    assert sorted(tmp_path.rglob("*")) == before
    study.export(tmp_path / "a" / "out")


def test_the_command_prints_what_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = grown(tmp_path / "study.db")
    study.close()
    common = ["--storage", str(tmp_path / "study.db")]
    said = CliRunner().invoke(main, ["export", "grown", "out", "--trial", "4", "--json", *common])
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert (document["study"], document["trial"]["number"]) == ("grown", 4)
    assert document["folder"] == str(tmp_path / "out")
    assert set(document["files"]) == names(tmp_path / "out") == COMMON | {"w.npz"}
    text = CliRunner().invoke(main, ["export", "grown", "more", *common])
    assert "trial 5 of study grown (accuracy 0.5)" in text.output
    again = CliRunner().invoke(main, ["export", "grown", "more", *common])
    assert again.exit_code == 1
    assert "folder is 'more', but must be a folder that does not exist, or is empty" in again.output
    bad = CliRunner().invoke(main, ["export", "grown", "third", "--build", "build", *common])
    assert bad.exit_code == 2
    assert not (tmp_path / "third").exists()
