"""Simulated studies whose every message crosses the wire as bytes: the same events, whatever goes wrong."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

pytest.importorskip("google.protobuf")

from phyletic.coordinator.messages import Command, Reply
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_from_message, command_to_message, reply_from_message, reply_to_message
from phyletic.simulate import drawn_settings, simulate
from phyletic.simulate.simulated_study import SimulatedStudy

PARTS = 2
SEEDS = int(os.environ.get("PHYLETIC_SERVICE_SEEDS", "60"))


def through_the_wire(execute):
    """Return what decides commands, with each command and each reply encoded and decoded on its way."""

    def executing(self: SimulatedStudy, *commands: Command) -> tuple[Reply, ...] | None:
        raw = [command_to_message(command).SerializeToString() for command in commands]
        replies = execute(self, *[command_from_message(pb.Command.FromString(one)) for one in raw])
        if replies is None:
            return None
        answers = [reply_to_message(reply).SerializeToString() for reply in replies]
        return tuple(reply_from_message(pb.Reply.FromString(one)) for one in answers)

    return executing


@pytest.mark.parametrize("part", range(PARTS))
def test_bytes_change_no_event_whatever_goes_wrong(part, monkeypatch):
    execute = SimulatedStudy._execute
    deaths = 0
    for seed in range(part, SEEDS, PARTS):
        settings = drawn_settings(seed)
        settings["faults"] = replace(settings["faults"], detached=1.0)
        direct = simulate(**settings)
        monkeypatch.setattr(SimulatedStudy, "_execute", through_the_wire(execute))
        wired = simulate(**settings)
        monkeypatch.setattr(SimulatedStudy, "_execute", execute)
        assert not wired.violations, f"seed {seed}: {wired.violations}"
        assert wired.incidents == direct.incidents, f"seed {seed}"
        assert repr(wired.trials()) == repr(direct.trials()), f"seed {seed}"
        deaths += wired.incidents.deaths
    # the owner, which is the server, died and another one went on
    assert deaths
