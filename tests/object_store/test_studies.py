"""Studies whose checkpoints are in an object store: workers, exploits, outages, servers, and what is refused."""

from __future__ import annotations

import secrets
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from object_server import BUCKET, SECRET

pytest.importorskip("obstore", reason="obstore is not installed: make test-object-store")

import phyletic as ph
from phyletic import errors
from phyletic.checkpoints import blobs_at


def train(trials):
    for trial in trials.attach(lambda trial: {"weights": [0.0] * 1000}):
        for _ in trial.range():
            trial.state.weights[0] += trial["lr"]
        trial.report(score=trial.state.weights[0])


@pytest.fixture
def address(proxy):
    return f"s3://{BUCKET}/{secrets.token_hex(8)}"


def make(tmp_path, address, steps=8, **options):
    return ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max",
        algorithm=ph.PBT(4, 2), budget=ph.Budget(steps=steps), storage=tmp_path / "study.db", seed=0,
        checkpoints=address, **options,
    )  # fmt: skip


def objects(address):
    """Return the ids that have objects."""
    return set(blobs_at(address).names())


def test_two_workers_exploit_and_download_nothing(tmp_path, address, proxy):
    study = make(tmp_path, address)
    assert study.run(train, workers=2, verbose=0) == "finished"
    exploits = [trial for trial in study.trials() if trial.decision.kind == "exploit"]
    assert exploits
    for trial in exploits:
        assert study.trial(trial.parent).member != trial.member
    assert proxy.sent == 0, "all parents were made on this machine"
    uploaded = [path for method, path in proxy.requests if method == "PUT"]
    assert len(uploaded) == 2 * len(study.trials()), "a part and a manifest for each trial, none for an exploit"
    kept = {
        trial.checkpoint.id
        for trial in study.trials()
        if trial.checkpoint and study.checkpoints.exists(trial.checkpoint.id)
    }
    assert objects(address) == kept
    assert len(kept) < len(study.trials())
    assert study.checkpoint_path().is_file()
    assert study.control.checkpoints == study.checkpoints.location == study.status().checkpoints == address


def test_a_study_goes_on_on_another_machine(tmp_path, address, proxy, monkeypatch):
    make(tmp_path, address).run(train, workers=0, verbose=0)
    monkeypatch.setenv("PHYLETIC_CACHE", str(tmp_path / "another machine"))
    study = ph.Study("study", storage=tmp_path / "study.db", budget=ph.Budget(steps=12))
    before = {trial.number for trial in study.trials()}
    study.run(train, workers=2, verbose=0)
    new = [trial for trial in study.trials() if trial.number not in before]
    assert new
    assert all(trial.parent is not None for trial in new)
    assert proxy.sent > 0
    exported = study.export(tmp_path / "exported")
    assert exported.exists()


def test_no_secret_is_stored_or_shown(tmp_path, address, proxy):
    study = make(tmp_path, address, store_timeout=0.5, cache_bytes=10**9)
    proxy.fault = lambda method, path: "expired"
    with pytest.raises(errors.StudyFailed) as caught:
        study.run(train, workers=0, verbose=0)
    assert "ExpiredToken" in "".join(
        event.payload["error"] for event in study.events() if event.kind == "attempt ended"
    )
    shown = str(caught.value) + "".join(map(str, study.events())) + study.checkpoints.address
    del study
    database = sqlite3.connect(tmp_path / "study.db")
    shown += "".join(database.iterdump())
    assert SECRET not in shown
    assert "AKIATEST" not in shown
    assert "cache_bytes" not in "".join(database.iterdump())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_outage_releases_trials_and_the_third_in_a_row_stops_the_study(tmp_path, address, proxy, workers):
    study = make(tmp_path, address, store_timeout=0.4)
    proxy.fault = lambda method, path: "503" if method == "PUT" else None
    with pytest.raises(errors.StudyFailed, match=f"{address} could not be reached at the end of . attempts in a row"):
        study.run(train, workers=workers, verbose=0)
    ended = [event.payload for event in study.events() if event.kind == "attempt ended"]
    assert len([payload for payload in ended if payload["cause"] == "unreachable"]) >= 3
    assert {payload["cause"] for payload in ended} <= {"unreachable", "released"}
    assert all("SlowDown" in payload["error"] for payload in ended if payload["cause"] == "unreachable")
    assert all(trial.failures == trial.losses == 0 for trial in study.trials())
    proxy.fault = lambda method, path: None
    assert study.run(train, workers=workers, verbose=0) == "finished"
    assert not [event for event in study.events() if event.kind == "trial given up"]


def test_ends_that_are_not_in_a_row_do_not_stop_a_study(tmp_path, address, proxy):
    plan = iter([True, True, False] * 3)

    def hurt(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            fault = "503" if next(plan, False) else None
            proxy.fault = lambda method, path, fault=fault: fault if method == "PUT" else None
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            trial.report(score=trial.state.weights[0])

    study = make(tmp_path, address, store_timeout=0.3)
    assert study.run(hurt, workers=0, verbose=0) == "finished"
    causes = [event.payload["cause"] for event in study.events() if event.kind == "attempt ended"]
    assert causes == ["unreachable"] * 6


def test_a_short_outage_is_not_noticed_and_heartbeats_go_on(tmp_path, address, proxy):
    study = make(tmp_path, address)
    hurt = iter(["503", "hang up", "lose", "expired", "denied", "cut"])
    lock = threading.Lock()

    def fault(method, path):
        with lock:
            return next(hurt, None) if method == "PUT" else None

    proxy.fault = fault
    assert study.run(train, workers=2, verbose=0) == "finished"
    assert not [event for event in study.events() if event.kind == "attempt ended"]


def test_a_save_within_a_trial_that_does_not_reach_the_store_is_left_out(tmp_path, address, proxy):
    def failing(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            proxy.fault = lambda method, path: "503" if method == "PUT" else None
            for _ in trial.range():
                trial.state.weights[0] += trial["lr"]
            proxy.fault = lambda method, path: None
            trial.report(score=trial.state.weights[0])

    study = ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", storage=tmp_path / "study.db", seed=0,
        algorithm=ph.PBT(2, 4, save_every=2), budget=ph.Budget(steps=4), checkpoints=address, store_timeout=0.2,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="could not be saved within trial 0.*SlowDown"):
        study.run(failing, workers=0, verbose=0)
    assert study.finished
    assert not [event for event in study.events() if event.kind == "attempt ended"]


def test_a_store_that_ignores_conditions_is_usable(tmp_path, address, proxy):
    proxy.unconditional = True
    study = make(tmp_path, address)
    assert study.run(train, workers=2, verbose=0) == "finished"


def test_a_clock_that_is_off_changes_nothing(tmp_path, address, proxy):
    proxy.skew = 5 * 365 * 86400.0
    assert make(tmp_path, address).run(train, workers=2, verbose=0) == "finished"
    proxy.skew = -proxy.skew
    study = ph.Study("study", storage=tmp_path / "study.db", budget=ph.Budget(steps=12))
    assert study.run(train, workers=0, verbose=0) == "finished"
    kept = {t.checkpoint.id for t in study.trials() if t.checkpoint and study.checkpoints.exists(t.checkpoint.id)}
    assert objects(address) == kept


def test_the_settings_reach_the_workers(tmp_path, address, proxy):
    study = make(tmp_path, address, cache_bytes=123_456_789, store_timeout=7)
    assert study.checkpoints.address == f"{address}#cache_bytes=123456789&store_timeout=7"
    there = blobs_at(study.checkpoints.address)
    assert (there._limit, there._remote._store.timeout) == (123_456_789, 7)


def test_a_study_is_deleted_with_its_objects(tmp_path, address, proxy):
    make(tmp_path, address).run(train, workers=0, verbose=0)
    assert objects(address)
    script = "import sys, phyletic as ph; ph.delete_study('study', sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "study.db")], check=True)
    assert objects(address) == set()


def test_workers_of_a_server_use_the_store_directly(tmp_path, address, proxy):
    make(tmp_path, address)
    server = subprocess.Popen(
        [sys.executable, "-m", "phyletic", "serve", str(tmp_path / "study.db"), "--grpc-port", "0", "--http-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said = ""
        while "grpc://" not in said:
            line = server.stdout.readline()
            assert line, said
            said += line
        url = next(word for word in said.replace(",", " ").split() if word.startswith("grpc://"))
        script = textwrap.dedent("""
            import sys
            sys.path.insert(0, sys.argv[2])
            import phyletic as ph
            from test_studies import train
            study = ph.Study("study", storage=sys.argv[1])
            study.run(train, workers=0, verbose=0)
            print(study.checkpoints.address, len(study.trials()))
        """)
        ended = subprocess.run(
            [sys.executable, "-c", script, url, str(__file__).rpartition("/")[0]],
            capture_output=True, text=True, env=environment_for_servers(tmp_path),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.split()[0] == address
        assert int(ended.stdout.split()[1]) > 8
    finally:
        server.terminate()
        server.wait()


def environment_for_servers(tmp_path):
    import os
    from pathlib import Path

    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'servers'}"}


@pytest.mark.parametrize(
    "wrong",
    [
        "ftp://bucket/x",
        "s3://",
        "s3:///prefix",
        "s3:bucket",
        "gs://",
        "az://",
        "s3://bucket/../up",
        f"s3://KEY:{SECRET}@bucket/x",
        f"s3://KEY:{SECRET}/x",
        f"s3://bucket/x?aws_secret_access_key={SECRET}",
        f"s3://bucket/x#{SECRET}",
        f"https://user:{SECRET}@host/x",
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(tmp_path, wrong):
    with pytest.raises(errors.InvalidArgument, match="checkpoints") as caught:
        make(tmp_path, wrong)
    assert SECRET not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["nothing listens", "no bucket", "it hangs", "denied"])
def test_an_unreachable_store_is_an_error_and_nothing_is_written(tmp_path, address, proxy, monkeypatch, how):
    proxy.patience = 6.0
    if how == "nothing listens":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    elif how == "no bucket":
        address = "s3://another-bucket/x"
    else:
        proxy.fault = lambda method, path: "hang" if how == "it hangs" else "denied"
    script = """if True:
        import pathlib, sys
        sys.path[:0] = sys.argv[1:3]
        import test_studies
        test_studies.make(pathlib.Path(sys.argv[3]), sys.argv[4])
    """
    here = __file__.rpartition("/")[0]
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script, here, f"{here}/../servers", str(tmp_path / "new"), address],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    took = time.monotonic() - began
    assert "StoreUnreachable: " + address in ended.stderr
    assert SECRET not in ended.stderr
    assert not (tmp_path / "new").exists()
    assert took < 30


def test_a_setting_for_a_folder_is_refused(tmp_path):
    for setting in ({"cache_bytes": 10}, {"store_timeout": 3.0}):
        with pytest.raises(errors.InvalidArgument, match=next(iter(setting))):
            make(tmp_path, tmp_path / "folder", **setting)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_for_this_process_alone(tmp_path):
    study = make(tmp_path, "memory:")
    with pytest.raises(errors.InvalidArgument, match="memory of this process"):
        study.run(train, workers=2, verbose=0)
    assert study.trials() == []
    assert study.run(train, workers=0, verbose=0) == "finished"
    assert study.control.checkpoints == "memory:"
    trial = make(tmp_path, "memory:", steps=10).ask()
    assert trial.parent is not None
