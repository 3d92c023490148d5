"""The findings of ``phyletic doctor``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from phyletic import disk
from phyletic.cli import doctor, main


def by_topic(storage: str | None) -> dict[str, doctor.Finding]:
    return {finding.topic: finding for finding in doctor.examine(storage)}


def test_the_doctor_finds_no_problem_on_a_machine_that_runs_these_tests(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--storage", str(tmp_path / "study.db"), "--json"])
    assert result.exit_code == 0, result.output
    findings = {finding["topic"]: finding for finding in json.loads(result.output)}
    assert {"python", "phyletic", "libraries", "sqlite", "storage", "disk", "disk space", "gpu"} <= set(findings)
    assert list(tmp_path.iterdir()) == []
    text = CliRunner().invoke(main, ["doctor", "--storage", str(tmp_path / "study.db")]).output
    assert "forces a small write in" in text


def test_a_missing_extra_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda library: None if library in ("torch", "rich") else real(library))
    found = {finding.topic: finding for finding in doctor._libraries()}
    assert (found["extra torch"].level, found["extra torch"].text) == ("note", "not installed: torch")
    assert "pip install 'phyletic[torch]'" in found["extra torch"].advice
    assert found["libraries"].level == "problem"
    assert "not installed: rich" in found["libraries"].text


def test_a_slow_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def slow(descriptor: int) -> None:
        now[0] += 0.2

    monkeypatch.setattr(disk, "fsync", slow)
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: now[0])
    finding = doctor._fsync(tmp_path)
    assert finding.level == "note"
    assert "200.00 ms" in finding.text
    assert finding.advice


def test_an_unusable_storage_is_a_problem(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--storage", "mysql://host/db"])
    assert result.exit_code == 1
    assert "not supported" in result.output
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        assert by_topic(str(tmp_path / "closed" / "study.db"))["disk"].level == "problem"


def test_gpus_that_torch_cannot_see_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(doctor, "_nvidia", lambda: ["Some GPU, 80 GiB"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = {finding.topic: finding for finding in doctor._gpus()}
    assert found["gpu"].text == "1: Some GPU, 80 GiB"
    assert found["torch"].level == "problem"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert {finding.topic: finding for finding in doctor._gpus()}["torch"].level == "ok"


def test_the_doctor_says_what_mps_means_for_members_that_share_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mps() -> list[doctor.Finding]:
        result = CliRunner().invoke(main, ["doctor", "--storage", str(tmp_path / "study.db"), "--json"])
        findings = [doctor.Finding(**finding) for finding in json.loads(result.output)]
        return [finding for finding in findings if finding.topic == "mps"]

    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    monkeypatch.setattr(doctor, "_nvidia", list)
    assert mps() == []

    monkeypatch.setattr(doctor, "_nvidia", lambda: ["Some GPU, 80 GiB"])
    (absent,) = mps()
    assert absent.level == "note"
    assert "take turns" in absent.text
    assert "nvidia-cuda-mps-control -d" in absent.advice

    # a container sees the pipe of a daemon on its host, and not its process
    (tmp_path / "pipes").mkdir()
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "pipes"))
    assert mps()[0].level == "note"
    os.mkfifo(tmp_path / "pipes" / "control")
    (piped,) = mps()
    assert piped.level == "ok"
    assert str(tmp_path / "pipes") in piped.text
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY")

    sleep = shutil.which("sleep")
    assert sleep is not None
    daemon = shutil.copy(sleep, tmp_path / "nvidia-cuda-mps-control")
    monkeypatch.setattr(doctor, "_nvidia", list)
    with subprocess.Popen([daemon, "600"]) as process:
        try:
            (running,) = mps()
        finally:
            process.kill()
    assert running.level == "ok"
    assert f"pid {process.pid}" in running.text
    assert "at the same time" in running.text
