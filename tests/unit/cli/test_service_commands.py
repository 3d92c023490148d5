"""``phyletic serve``, ``worker`` and ``up`` say what is wrong in a line, and mean what their exit status says."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

pytest.importorskip("grpc")
pytest.importorskip("starlette")

from phyletic.cli import main
from phyletic.errors import NotAuthenticated
from phyletic.evolution import PBT
from phyletic.service.server import serving
from phyletic.study.study import Study
from phyletic.testing.example import example_study, facts, reference

TRAIN = """
from phyletic.testing.training import drawing

train = drawing()

def broken(trials):
    for trial in trials.attach(lambda trial: {"x": 0.0}):
        raise ValueError("a bug")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "service_train.py").write_text(TRAIN)
    return tmp_path


def phyletic(*arguments, **options):
    command = [sys.executable, "-m", "phyletic", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_a_worker_ends_with_0_only_if_the_study_is_finished(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        study = example_study(server.url)
        done = phyletic("worker", server.url, "study", "service_train.py:train", "--workers", 2, "--quiet")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert facts(study) == reference()
        again = phyletic("worker", server.url, "study", "service_train.py:train", "--quiet")
        assert again.returncode == 0


def test_a_worker_uploads_in_the_background_if_asked_to(folder):
    printing = "\n\ndef printing(trials):\n    print(trials._in_background)\n    train(trials)\n"
    (folder / "service_train.py").write_text(TRAIN + printing)
    with serving(f"sqlite:///{folder}/study.db") as server:
        study = example_study(server.url)
        done = phyletic("worker", server.url, "study", "service_train.py:printing", "--upload", "background", "--quiet")
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
        assert facts(study) == reference()


def test_a_worker_that_was_stopped_ends_with_1(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        study = example_study(server.url, steps=2**40)
        command = [sys.executable, "-m", "phyletic", "worker", server.url, "study", "service_train.py:train", "-q"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
            while len(study.trials()) < 7:
                time.sleep(0.02)
            study.stop()
            _, said = worker.communicate(timeout=30)
        assert worker.returncode == 1
        assert "not finished: this worker was stopped" in said


def test_a_bug_ends_a_worker_with_its_place(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        example_study(server.url)
        done = phyletic("worker", server.url, "study", "service_train.py:broken", "--quiet")
    assert done.returncode == 1
    assert "a bug" in done.stderr


def test_a_worker_says_once_that_the_server_is_not_there_and_gives_up_when_it_is_told_to(folder):
    done = phyletic("worker", "grpc://127.0.0.1:9", "study", "service_train.py:train", "--give-up-after", 1)
    assert done.returncode == 1
    assert done.stderr.count("trying again until it answers, for at most 1 s") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "sqlite:///a.db", "study", "service_train.py:train"], "must be grpc://HOST:PORT"),
        (["worker", "grpc://127.0.0.1:9", "study", "service_train.py:nothing"], "a name that service_train.py defines"),
        (["worker", "grpc://127.0.0.1:9", "study"], "give either MODULE:FUNCTION or --command"),
        (["worker", "grpc://127.0.0.1:9", "study", "train"], "has no module"),
        (["serve", "study.txt"], "a path that ends in .db"),
        (["up", "service_train.py:train", "service_train.py:train"], "a phyletic.Study"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, arguments, said):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2)
    assert said in result.output
    assert not (folder / "study.txt").exists()


def test_a_server_names_the_process_that_owns_the_database(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        example_study(server.url)
        done = phyletic("serve", f"sqlite:///{folder}/study.db", "--grpc-port", 0, "--http-port", 0)
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr


def test_a_port_that_is_taken_is_named(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        port = server.url.rpartition(":")[2]
        done = phyletic("serve", f"sqlite:///{folder}/other.db", "--grpc-port", port, "--http-port", 0)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr.replace("'", "")


def test_commands_that_read_and_change_studies_take_a_server_for_their_storage(folder):
    with serving(f"sqlite:///{folder}/study.db") as server:
        example_study(server.url)
        phyletic("worker", server.url, "study", "service_train.py:train", "--quiet")
        for arguments in (["studies"], ["show", "study"], ["best", "study"], ["schedule", "study"], ["pause", "study"]):
            done = phyletic(*arguments, "--storage", server.url)
            assert done.returncode == 0, done.stderr
            assert done.stdout
        assert Study("study", storage=server.url).control.paused


def test_ctrl_c_ends_a_server_well(folder):
    command = [sys.executable, "-m", "phyletic", "serve", f"sqlite:///{folder}/study.db"]
    with subprocess.Popen(
        [*command, "--grpc-port", "0", "--http-port", "0"], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as server:  # fmt: skip
        assert server.stdout.readline().startswith("serving")
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def test_a_server_whose_token_was_removed_says_how_to_make_others(folder):
    storage = f"sqlite:///{folder}/study.db"
    with serving(storage) as server:
        example_study(server.url)
    server.token_file.unlink()
    command = [sys.executable, "-m", "phyletic", "serve", storage, "--grpc-port", "0", "--http-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        lines = [process.stdout.readline() for _ in range(5)]
        assert f"was removed; phyletic token create {storage} makes others" in lines[3]
        with pytest.raises(NotAuthenticated, match="phyletic token create"):
            Study("study", storage=lines[1].split()[1])
        process.terminate()
    assert process.returncode == 0


def test_a_server_takes_code_by_the_name_of_its_file(folder, monkeypatch):
    (folder / "own_rules.py").write_text("def mine(hyperparameters, rng):\n    return hyperparameters\n")
    monkeypatch.syspath_prepend(folder)
    mine = importlib.import_module("own_rules").mine
    command = [sys.executable, "-m", "phyletic", "serve", "sqlite:///study.db", "--grpc-port", "0", "--http-port", "0"]
    allow = ["--allow", "own_rules.py:mine"]
    with subprocess.Popen([*command, *allow], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        lines = [process.stdout.readline() for _ in range(5)]
        study = example_study(lines[1].split()[1], algorithm=PBT(2, 2, explore=mine))
        assert study.ask().number == 0
        process.terminate()
    assert process.returncode == 0
