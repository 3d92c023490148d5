"""Version 1 of the protocol only grows."""

import json
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf")

from phyletic.remote.v1 import phyletic_v1_pb2 as pb

RELEASED = Path(__file__).parents[2] / "fixtures" / "phyletic_v1.json"


def described() -> dict[str, str]:
    """Return every field and call of the protocol, each with its number and type."""
    found: dict[str, str] = {}
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            kind = field.message_type.name if field.message_type else f"scalar {field.type}"
            shape = "repeated" if field.is_repeated else "optional" if field.has_presence else "single"
            oneof = field.containing_oneof
            inside = "" if oneof is None or oneof.name.startswith("_") else f" of {oneof.name}"
            found[f"{message.name}.{field.name}"] = f"{field.number} {shape} {kind}{inside}"
    for service in pb.DESCRIPTOR.services_by_name.values():
        for call in service.methods:
            stream = "stream " if call.server_streaming else ""
            found[f"{service.name}/{call.name}"] = f"{call.input_type.name} -> {stream}{call.output_type.name}"
    return found


def test_version_1_only_grows() -> None:
    before, now = json.loads(RELEASED.read_text()), described()
    assert {name: now.get(name) for name in before} == before
    assert sorted(now.keys() - before.keys()) == [], f"add what is new to {RELEASED.name}"
