"""The findings of ``phyletic doctor``."""

from __future__ import annotations

import json
import os
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
