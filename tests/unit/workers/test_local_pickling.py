"""Training functions can be sent to another process, or the error names the part that cannot."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from phyletic.errors import InvalidArgument
from phyletic.workers.pickling import pack, pack_program, unpack

FACTOR = 3


def train_here(trials: int) -> int:
    return helper(trials)


def helper(number: int) -> int:
    return number * FACTOR


class Trainer:
    def __init__(self, offset: int) -> None:
        self.offset = offset

    def __call__(self, trials: int) -> int:
        return trials + self.offset

    def method(self, trials: int) -> int:
        return trials - self.offset


def call_elsewhere(packed: bytes, folder: Path) -> str:
    """Unpack and call in a fresh interpreter with this one's ``sys.path``, as a worker does."""
    (folder / "packed").write_bytes(packed)
    code = "import sys, pathlib; sys.path[:] = sys.argv[2:]; from phyletic.workers.pickling import unpack; "
    code += "print(unpack(pathlib.Path(sys.argv[1]).read_bytes())(5))"
    path = [str(Path(entry).absolute()) for entry in sys.path]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder / "packed"), *path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_functions_of_a_test_file_can_be_called_in_another_process(tmp_path: Path) -> None:
    assert call_elsewhere(pack(train_here), tmp_path) == "15"
    assert call_elsewhere(pack(Trainer(10)), tmp_path) == "15"


@pytest.mark.parametrize("name", ["known_here_alone", "json"])
def test_a_module_that_another_process_could_not_import_travels_by_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text(
        "FACTOR = 4\ndef help(n):\n    return n * FACTOR\ndef train(n):\n    return help(n)"
    )
    spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)
    packed = pack(module.train)
    monkeypatch.undo()
    assert call_elsewhere(packed, tmp_path) == "20"


def test_closures_lambdas_partials_and_methods_travel() -> None:
    factor = 7
    trains: list[tuple[Any, int]] = [
        (lambda trials: trials * factor, 35),
        (functools.partial(lambda offset, trials: trials + offset, 100), 105),
        (Trainer(2).method, 3),
    ]
    for train, expected in trains:
        assert unpack(pack(train))(5) == expected


def test_a_function_of_an_importable_module_travels_by_name() -> None:
    assert len(pack(pack)) < 200


@pytest.mark.parametrize("kind", ["closure", "global", "partial", "attribute"])
def test_a_value_that_cannot_be_pickled_is_named(kind: str) -> None:
    lock = threading.Lock()

    def closing(trials: object) -> object:
        return lock

    scope: dict[str, Any] = {"lock": lock, "__name__": "__main__"}
    exec("def looking(trials):\n    return lock", scope)
    trainer = Trainer(1)
    trainer.lock = lock  # type: ignore[attr-defined]
    train = {
        "closure": closing,
        "global": scope["looking"],
        "partial": functools.partial(helper, lock=lock),
        "attribute": trainer,
    }[kind]
    with pytest.raises(InvalidArgument, match=r"'lock'.*_thread.lock.*cannot be pickled") as caught:
        pack(train)
    assert caught.value.name == "train"
    assert "workers=0" in str(caught.value)


def test_an_object_that_is_not_callable_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="train is 3"):
        pack(3)  # type: ignore[arg-type]


def test_program_definitions_are_found_in_the_workers_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    source = "class Model:\n    pass\n\ndef train(trials):\n    return Model()\n"
    exec(compile(source, "script.py", "exec"), vars(main))
    main.__file__ = "script.py"
    monkeypatch.setattr(sys, "argv", ["script.py", "a\udcff"])
    (tmp_path / "program").write_bytes(pack_program())
    (tmp_path / "train").write_bytes(pack(main.train))
    code = (
        "import sys, pathlib, pickle; from phyletic.workers.pickling import become_program, unpack; "
        "program, train = (pathlib.Path(path).read_bytes() for path in sys.argv[1:]); "
        "become_program(program); model = unpack(train)(None); "
        "print(type(pickle.loads(pickle.dumps(model))).__name__, sys.modules['__main__'].__file__, ascii(sys.argv))"
    )
    files = [str(tmp_path / name) for name in ("program", "train")]
    done = subprocess.run([sys.executable, "-P", "-c", code, *files], capture_output=True, text=True, check=False)
    assert done.stdout.split(maxsplit=2) == ["Model", str(Path("script.py").absolute()), f"{sys.argv!a}\n"], done
