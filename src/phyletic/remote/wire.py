"""Records and messages as protobuf, and back: a record's field is the protobuf field of the same name.

The two sides are matched once for each type; a field that the protobuf message does not have (the process of a local
worker) does not travel. Numbers that are not finite travel as they are.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from phyletic.coordinator.messages import Command, Reply
from phyletic.errors import InvalidArgument
from phyletic.remote.v1 import phyletic_v1_pb2 as pb

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_Put = Callable[[Any, Message, str], None]
"""Puts a value into a message's field."""
_Take = Callable[[Message, str], Any]
"""Takes a value out of a message's field."""


def to_message(record: Any, kind: type[M]) -> M:
    """Return the protobuf message of a record.

    Args:
        record: A record or a message of :mod:`phyletic.coordinator.messages`.
        kind: The protobuf type, which has the record's name.
    """
    message = kind()
    _fill(record, message)
    return message


def from_message(message: Message, kind: type[T]) -> T:
    """Return the record of a protobuf message.

    Args:
        message: The message.
        kind: The record's type.

    Raises:
        InvalidArgument: The message does not say what a record needs.
    """
    take: Any = _taker
    record: T = take(kind)(message)
    return record


def command_to_message(command: Command) -> pb.Command:
    """Return the protobuf message of a command."""
    return _union_to_message(command, pb.Command())


def command_from_message(message: pb.Command) -> Command:
    """Return the command of a protobuf message, or raise InvalidArgument."""
    command: Command = _union_from_message(message, "command", Command)
    return command


def reply_to_message(reply: Reply) -> pb.Reply:
    """Return the protobuf message of a reply."""
    return _union_to_message(reply, pb.Reply())


def reply_from_message(message: pb.Reply) -> Reply:
    """Return the reply of a protobuf message, or raise InvalidArgument."""
    reply: Reply = _union_from_message(message, "reply", Reply)
    return reply


# --- plain values ----------------------------------------------------------------------------------------------------


def put_value(value: Any, message: pb.Value) -> None:
    """Put plain data into a message."""
    if value is None:
        message.null = True
    elif isinstance(value, bool):
        message.boolean = value
    elif isinstance(value, int):
        if -(2**63) <= value < 2**63:
            message.integer = value
        else:
            message.large_integer = str(value)
    elif isinstance(value, float):
        message.number = value
    elif isinstance(value, str):
        message.text = value
    elif isinstance(value, Mapping):
        message.map.SetInParent()
        put_values(value, message.map.entries)
    elif isinstance(value, (list, tuple)):
        message.list.SetInParent()
        for item in value:
            put_value(item, message.list.values.add())
    else:
        # a record within an event's payload
        put_value(msgspec.to_builtins(value), message)


def take_value(message: pb.Value) -> Any:
    """Return the plain data of a message, or raise InvalidArgument; protobuf itself limits how deep it is nested."""
    match message.WhichOneof("kind"):
        case "null":
            return None
        case "list":
            return [take_value(item) for item in message.list.values]
        case "map":
            return take_values(message.map.entries)
        case "large_integer":
            digits = message.large_integer
            if len(digits) > 1000 or not digits.removeprefix("-").isdecimal():
                raise InvalidArgument("value", digits, "decimal digits, at most 1000")
            return int(digits)
        case None:
            raise InvalidArgument("value", None, "given: null says that there is none")
        case kind:
            return getattr(message, kind)


def put_values(values: Mapping[str, Any], entries: Any) -> None:
    """Put plain data by name into a list of named values."""
    for name, value in values.items():
        entry = entries.add(name=str(name))
        put_value(value, entry.value)


def take_values(entries: Any) -> dict[str, Any]:
    """Return plain data by name, or raise InvalidArgument."""
    taken = {entry.name: take_value(entry.value) for entry in entries}
    if len(taken) != len(entries):
        raise InvalidArgument("names", [entry.name for entry in entries], "different from each other")
    return taken


# --- spaces and algorithms -------------------------------------------------------------------------------------------


def _put_space(document: Mapping[str, Any], message: pb.Space) -> None:
    message.format = document["format"]
    _put_entries(document["entries"], message.entries)


def _put_entries(entries: Any, message: Any) -> None:
    for entry in entries:
        made = message.add(name=entry["name"])
        domain = getattr(made, entry["type"])
        domain.SetInParent()
        for key, value in entry.items():
            if key == "entries":
                _put_entries(value, domain.entries)
            elif key == "spaces":
                for space in value:
                    _put_entries(space, domain.spaces.add().entries)
            elif key not in ("name", "type"):
                put_value(value, getattr(domain, key))


def _take_space(message: pb.Space) -> dict[str, Any]:
    return {"format": message.format, "entries": _take_entries(message.entries)}


def _take_entries(entries: Any) -> list[dict[str, Any]]:
    taken = []
    for entry in entries:
        kind = entry.WhichOneof("domain")
        if kind is None:
            raise InvalidArgument("space", entry.name, "entries with a domain")
        domain = getattr(entry, kind)
        made: dict[str, Any] = {"name": entry.name, "type": kind}
        if kind == "group":
            made["entries"] = _take_entries(domain.entries)
        else:
            for field in domain.DESCRIPTOR.fields:
                if field.name == "spaces":
                    if len(domain.spaces):
                        made["spaces"] = [_take_entries(space.entries) for space in domain.spaces]
                elif domain.HasField(field.name):
                    made[field.name] = take_value(getattr(domain, field.name))
        taken.append(made)
    return taken


def _put_algorithm(document: Mapping[str, Any], message: pb.Algorithm) -> None:
    message.type = document["type"]
    put_values({key: value for key, value in document.items() if key != "type"}, message.settings)


def _take_algorithm(message: pb.Algorithm) -> dict[str, Any]:
    return {"type": message.type, **take_values(message.settings)}


# --- records ---------------------------------------------------------------------------------------------------------

_DOCUMENTS: dict[str, tuple[Callable[[Any, Any], None], Callable[[Any], Any]]] = {
    "Space": (_put_space, _take_space),
    "Algorithm": (_put_algorithm, _take_algorithm),
    "Value": (put_value, take_value),
    "NamedValues": (
        lambda value, message: put_values(value, message.entries),
        lambda message: take_values(message.entries),
    ),
    "NamedTexts": (
        lambda value, message: _put_pairs(value, message.entries),
        lambda message: {entry.name: entry.value for entry in message.entries},
    ),
    "ScoreAtStep": (
        lambda value, message: _put_pair(value, message),
        lambda message: (message.step, message.score),
    ),
}
"""Messages whose value is no record, each with what puts it in and takes it out."""


def _put_pair(value: tuple[int, float], message: pb.ScoreAtStep) -> None:
    message.step, message.score = value


def _put_pairs(value: Mapping[str, Any], entries: Any) -> None:
    for name, item in value.items():
        entries.add(name=name, value=item)


def _fill(record: Any, message: Message) -> None:
    putters: Any = _putters
    for name, put in putters(type(record), message.DESCRIPTOR):
        value = getattr(record, name)
        if value is not None:
            put(value, message, name)


@functools.cache
def _putters(kind: type, descriptor: Descriptor) -> tuple[tuple[str, _Put], ...]:
    """Return how each field of a record is put into a message.

    Args:
        kind: The record's type.
        descriptor: The message's type.
    """
    fields = descriptor.fields_by_name
    return tuple((name, _putter(fields[name])) for name in _fields(kind) if name in fields)


def _putter(field: FieldDescriptor) -> _Put:
    repeated, inner = field.is_repeated, field.message_type
    if inner is None and repeated:
        # a set has no order: in order, the same set is the same bytes
        return lambda value, message, name: getattr(message, name).extend(
            sorted(value) if isinstance(value, frozenset) else value
        )
    if inner is None:
        return lambda value, message, name: setattr(message, name, value)
    if inner.name == "NamedValue":
        return lambda value, message, name: put_values(value, getattr(message, name))
    if inner.name == "NamedNumber":
        return lambda value, message, name: _put_pairs(value, getattr(message, name))
    if inner.name in ("Reply", "Command"):
        put: Callable[[Any, Any], object] = _union_to_message
    else:
        put = _DOCUMENTS[inner.name][0] if inner.name in _DOCUMENTS else _fill
    if repeated:

        def put_all(value: Any, message: Message, name: str) -> None:
            entries = getattr(message, name)
            for item in value:
                put(item, entries.add())

        return put_all

    def put_one(value: Any, message: Message, name: str) -> None:
        part = getattr(message, name)
        part.SetInParent()
        put(value, part)

    return put_one


@functools.cache
def _taker(kind: Any) -> Callable[[Message], Any]:
    """Return what makes a record of a message."""
    hints = typing.get_type_hints(kind)
    by_descriptor: dict[Any, list[tuple[str, _Take]]] = {}

    def take(message: Message) -> Any:
        takes = by_descriptor.get(message.DESCRIPTOR)
        if takes is None:
            fields: Any = message.DESCRIPTOR.fields_by_name
            known = [(name, default) for name, default in _fields(kind).items() if name in fields]
            takes = [(name, _take_field(fields[name], hints[name], default)) for name, default in known]
            by_descriptor[message.DESCRIPTOR] = takes
        return kind(**{name: take(message, name) for name, take in takes})

    return take


def _take_field(field: FieldDescriptor, hint: Any, default: Any) -> _Take:
    """Return what takes a field's value out of a message.

    Args:
        field: The field.
        hint: The type of the record's field.
        default: The value of the record's field if none is given; None if it must be given.
    """
    inner = field.message_type
    wanted = _without_none(hint)
    if inner is not None and inner.name in ("NamedValue", "NamedNumber"):
        if inner.name == "NamedNumber":
            return lambda message, name: {entry.name: entry.value for entry in getattr(message, name)}
        return lambda message, name: take_values(getattr(message, name))
    if field.is_repeated:
        make: Any = get_origin(wanted) or tuple
        one = _take_one(field, next(iter(get_args(wanted)), Any))
        return lambda message, name: make([one(item) for item in getattr(message, name)])
    one = _take_one(field, wanted, default)
    if not field.has_presence or type(None) not in get_args(hint):
        # a message that is absent says what an empty one says
        return lambda message, name: one(getattr(message, name))
    return lambda message, name: one(getattr(message, name)) if message.HasField(name) else None


def _take_one(field: FieldDescriptor, wanted: Any, default: Any = None) -> Callable[[Any], Any]:
    """Return what makes one value of a field.

    Args:
        field: The field.
        wanted: The type of the value.
        default: What a word that is left out stands for; None for nothing.
    """
    inner = field.message_type
    if inner is None:
        words: dict[str, Any]
        if get_origin(wanted) is Literal:
            words = {word: word for word in get_args(wanted)}
        elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            words = {str(word.value): word for word in wanted}
        else:
            return lambda value: value
        # who does not know the field leaves it out
        return functools.partial(_one_of, field.name, words if default is None else {"": default, **words})
    if inner.name == "Reply":
        return lambda message: _union_from_message(message, "reply", Reply)
    if inner.name in _DOCUMENTS:
        return _DOCUMENTS[inner.name][1]
    return _taker(wanted)


def _one_of(name: str, words: Mapping[str, Any], value: str) -> Any:
    if value not in words:
        raise InvalidArgument(name, value, f"one of {', '.join(map(repr, words))}")
    return words[value]


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        left = [part for part in get_args(hint) if part is not type(None)]
        return left[0] if len(left) == 1 else hint
    return hint


def _fields(kind: Any) -> dict[str, Any]:
    """Return the names of a record's fields, each with its value if it is not given; None if it must be given."""
    absent = (msgspec.NODEFAULT, dataclasses.MISSING)
    found: Any = msgspec.structs.fields(kind) if issubclass(kind, msgspec.Struct) else dataclasses.fields(kind)
    return {field.name: None if field.default in absent else field.default for field in found}


# --- one of several --------------------------------------------------------------------------------------------------


def _union_to_message(value: Any, message: M) -> M:
    part = getattr(message, type(value).__name__.lower())
    part.SetInParent()
    _fill(value, part)
    return message


@functools.cache
def _kinds(union: Any) -> dict[str, type]:
    return {kind.__name__.lower(): kind for kind in get_args(union)}


def _union_from_message(message: Any, oneof: str, union: Any) -> Any:
    name = message.WhichOneof(oneof)
    kinds = _kinds(union)
    if name is None:
        raise InvalidArgument(oneof, None, f"one of {', '.join(kinds)}")
    return _taker(kinds[name])(getattr(message, name))
