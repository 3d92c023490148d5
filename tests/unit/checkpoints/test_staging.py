"""What is unfinished belongs to whoever lives, and is swept when nobody does."""

import gc
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phyletic.checkpoints import LocalCheckpoints

ID = "a" * 32


@pytest.fixture
def store(tmp_path):
    return LocalCheckpoints(tmp_path / "checkpoints")


def left(store):
    return [path for path in (store.root / "staging").iterdir() if path.suffix != ".owner"]


def test_what_a_dead_process_left_is_swept_and_a_living_ones_is_not(store):
    code = (
        "import sys, pathlib, phyletic.checkpoints as c\n"
        "staged = c.LocalCheckpoints(pathlib.Path(sys.argv[1])).staging('a' * 32)\n"
        "(staged / 'inner').mkdir(); (staged / 'inner' / 'file').touch(); (staged / 'link').symlink_to('/etc')\n"
        "print(staged, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        staged = Path(child.stdout.readline().strip())
        store.sweep()
        assert staged.exists()
        child.send_signal(signal.SIGKILL)
        child.wait()
        store.sweep(keep=[ID])
        assert staged.exists()
        store.sweep()
    assert list((store.root / "staging").iterdir()) == []
    assert Path("/etc/passwd").exists()


def test_a_forked_child_stages_in_its_own_name(store):
    staged = store.staging(ID)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (store.staging(ID) / "file").touch()
            store.publish("b" * 32, {"x": 1})
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert len(left(store)) == 2
    LocalCheckpoints(store.root).sweep()
    assert left(store) == [staged.parent]
    store.publish_folder(ID, staged, move=True)


def test_what_others_put_there_is_left_alone(store):
    store.publish(ID, {"x": 1})
    for name in ("note", "note.txt", "a.b.c.d"):
        (store.root / "staging" / name).touch()
    store.sweep()
    assert {path.name for path in left(store)} == {"note", "note.txt", "a.b.c.d"}


def test_sweeping_a_store_that_was_never_used_makes_nothing(store):
    store.sweep()
    store.delete(ID)
    assert not store.root.exists()


def test_a_store_whose_folder_was_removed_makes_it_again(store):
    import shutil

    store.publish(ID, {"x": 1})
    shutil.rmtree(store.root)
    store.verify(store.publish(ID, {"x": 1}))


def test_a_store_can_be_sent_to_another_process(store):
    reference = store.publish(ID, {"x": 1})
    pickle.loads(pickle.dumps(store)).verify(reference)


def test_the_store_may_be_reached_through_a_link(store, tmp_path):
    (tmp_path / "real").mkdir()
    store.root.symlink_to(tmp_path / "real")
    staged = store.staging(ID)
    (staged / "file").touch()
    store.verify(store.publish_folder(ID, staged, move=True))


def test_a_folder_is_let_go_of_with_its_last_store_unless_something_in_it_is_unfinished(tmp_path):
    def open_descriptors():
        gc.collect()
        return len(os.listdir("/dev/fd"))  # noqa: PTH208

    def sweep():
        LocalCheckpoints(tmp_path / "checkpoints").sweep()

    before = open_descriptors()
    first = LocalCheckpoints(tmp_path / "checkpoints")
    second = LocalCheckpoints(tmp_path / "checkpoints")
    third = LocalCheckpoints(tmp_path / "checkpoints")
    third.publish("b" * 32, {"x": 1})
    del third
    staged = first.staging(ID)
    assert len(list(staged.parent.parent.glob("*.owner"))) == 1
    (staged / "file").touch()
    del first
    sweep()
    assert staged.exists()
    del second
    assert open_descriptors() == before + 1
    sweep()
    assert staged.exists()
    third = LocalCheckpoints(tmp_path / "checkpoints")
    third.verify(third.publish_folder(ID, staged, move=True))
    assert open_descriptors() == before + 1
    del third
    assert open_descriptors() == before
    sweep()
    assert list((tmp_path / "checkpoints" / "staging").iterdir()) == []


def test_what_a_dead_process_left_is_swept_though_a_child_that_it_forked_lives(store):
    code = (
        "import os, signal, sys, pathlib, phyletic.checkpoints as c\n"
        "store = c.LocalCheckpoints(pathlib.Path(sys.argv[1])); staged = store.staging('a' * 32)\n"
        "if os.fork() == 0: print(staged, flush=True); sys.stdin.read(); os._exit(0)\n"
        "signal.pause()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        staged = Path(parent.stdout.readline().strip())
        parent.kill()
        parent.wait()
        store.sweep()
        assert not staged.exists()
