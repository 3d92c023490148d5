"""What may come in: the texts, lengths, counts and numbers of commands, checked before any batch has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from phyletic.coordinator.ask import MOST_SLOTS
from phyletic.coordinator.control import LARGEST_POPULATION, check_control
from phyletic.coordinator.messages import (
    MOST_EVALUATIONS,
    Ancestors,
    Ask,
    Command,
    Control,
    Enqueue,
    Fail,
    Heartbeat,
    Join,
    Leave,
    Pin,
    Save,
    Stop,
    Tell,
)
from phyletic.coordinator.sessions import check_lease_seconds, check_worker
from phyletic.errors import InvalidArgument
from phyletic.evolution import Algorithm, GridSearch
from phyletic.records import CheckpointReference, Evaluation, Lease
from phyletic.records.encodings import is_unicode
from phyletic.remote.remote_owner import LEASE_SECONDS
from phyletic.space import Space
from phyletic.space.values import storable

LARGEST_MESSAGE = 4 << 20
"""Bytes of a request."""
MOST_COMMANDS = 10_000
"""Commands of one exchange."""
SHORTEST_LEASE = 0.5
"""Seconds of a lease; for shorter ones the server would be busy with the passing of time alone."""
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_LONGEST_ERROR = 1 << 20
_LONGEST_TEXT = 10_000
_MOST_VALUES = 10_000
_LARGEST_NUMBER = 2**53
_NUMBERS_OF_TRIALS = {
    "member": LARGEST_POPULATION - 1,
    **dict.fromkeys(("number", "parent", "start_step", "end_step", "steps"), _LARGEST_NUMBER),
}

CONTROLS = (Control, Pin, Enqueue, Stop)
"""The commands that change a study's control; all others are those of sessions."""


def admit(commands: Sequence[Command]) -> tuple[Command, ...]:
    """Return the commands of sessions as they are decided: each session that asks joins, and its leases end in time.

    Raises:
        InvalidArgument: One of them cannot be decided; the message names what.
    """
    if len(commands) > MOST_COMMANDS:
        raise InvalidArgument("commands", f"{len(commands)} commands", f"at most {MOST_COMMANDS} at once")
    admitted: list[Command] = []
    joined: set[str] = set()
    for command in commands:
        if isinstance(command, CONTROLS):
            raise InvalidArgument("commands", type(command).__name__, "those of sessions; Control takes this one")
        check(command)
        if isinstance(command, Join):
            joined.add(command.session)
            seconds = LEASE_SECONDS if command.lease_seconds is None else command.lease_seconds
            # the processes of other machines are not this one's to end
            command = replace(command, pid=None, created=None, lease_seconds=seconds)
        elif isinstance(command, Ask) and command.session not in joined:
            raise InvalidArgument("commands", "Ask", "a Join of the same session and then the Ask")
        admitted.append(command)
    return tuple(admitted)


def check(command: Command) -> None:
    """Raise InvalidArgument, naming what is wrong, unless a command can be decided."""
    match command:
        case Join():
            _check_session(command.session)
            check_worker(command.worker)
            if command.lease_seconds is not None:
                check_lease_seconds(command.lease_seconds)
                if command.lease_seconds < SHORTEST_LEASE:
                    raise InvalidArgument("lease_seconds", command.lease_seconds, f"at least {SHORTEST_LEASE:g}")
        case Leave():
            _check_session(command.session)
            _check_text("error", command.error or "", _LONGEST_ERROR)
        case Ask():
            _check_session(command.session)
            _check_number("slots", command.slots, 1, MOST_SLOTS)
            _check_count("in_memory", command.in_memory, MOST_SLOTS)
        case Tell():
            _check_lease(command.lease)
            _check_tell(command)
        case Fail():
            _check_lease(command.lease)
            _check_text("error", command.error, _LONGEST_ERROR)
        case Save():
            _check_lease(command.lease)
            _check_checkpoint(command.checkpoint)
            _check_number("step", command.step)
        case Heartbeat():
            _check_lease(command.lease)
            _check_number("first", command.first)
            if command.step is not None:
                _check_number("step", command.step)
            _check_evaluations(command.evaluations, MOST_EVALUATIONS)
        case Ancestors() | Pin():
            _check_number("trial", command.trial)
        case Control():
            check_control(command)
        case Enqueue():
            _check_values("values", command.values)
        case Stop():
            pass


def check_population(algorithm: Algorithm, space: Space) -> None:
    """Raise InvalidArgument if an algorithm has so many members that a few bytes would take all of the memory.

    Args:
        algorithm: The algorithm.
        space: Its search space, on which the points of a grid depend.
    """
    if isinstance(algorithm, GridSearch):
        points = algorithm.points
        for count in points.values() if isinstance(points, Mapping) else [points]:
            _check_number("points", count, 1, LARGEST_POPULATION)
    _check_number("population", algorithm.population_size(space), 1, LARGEST_POPULATION)


def check_trials(trials: Iterable[Mapping[str, object]]) -> None:
    """Raise InvalidArgument if trials that a client sends have numbers that no trial has."""
    for trial in trials:
        for name, most in _NUMBERS_OF_TRIALS.items():
            number = trial.get(name)
            if isinstance(number, int):
                _check_number(name, number, 0, most)


def _check_tell(command: Tell) -> None:
    _check_evaluations(command.evaluations, 10 * MOST_EVALUATIONS)
    _check_number("steps_done", command.steps_done)
    if command.checkpoint is not None:
        _check_checkpoint(command.checkpoint)
    _check_values("applied", command.applied)
    _check_count("remarks", command.remarks, 1000)
    for remark in command.remarks:
        _check_text("remarks", remark, _LONGEST_TEXT)


def _check_session(session: str) -> None:
    if not _IDENTITY.fullmatch(session):
        raise InvalidArgument("session", session, "32 hexadecimal digits")


def _check_lease(lease: Lease) -> None:
    _check_number("lease.trial", lease.trial)
    _check_number("lease.fence", lease.fence)
    _check_text("lease.token", lease.token, 100)
    _check_session(lease.session)


def _check_checkpoint(reference: CheckpointReference) -> None:
    if not _IDENTITY.fullmatch(reference.id[:32]):
        raise InvalidArgument("checkpoint.id", reference.id, "the id of the grant")
    _check_text("checkpoint.id", reference.id, 100)
    _check_text("checkpoint.digest", reference.digest, 200)
    _check_number("checkpoint.size", reference.size)


def _check_evaluations(evaluations: Sequence[Evaluation], most: int) -> None:
    _check_count("evaluations", evaluations, most)
    for evaluation in evaluations:
        _check_number("evaluations.step", evaluation.step)
        _check_text("evaluations.metric", evaluation.metric, 200)


def _check_values(name: str, values: Mapping[str, object]) -> None:
    _check_count(name, list(values), _MOST_VALUES)
    for path, value in values.items():
        _check_text(name, path, 1000)
        if not storable(value) and not (isinstance(value, float) and value != value):
            raise InvalidArgument(f"{name}[{path!r}]", value, "text, null, a truth value or a finite number")


def _check_text(name: str, text: str, longest: int) -> None:
    """Raise InvalidArgument unless a text can be stored.

    Args:
        name: Its name.
        text: The text.
        longest: Its greatest length.
    """
    if len(text) > longest or not is_unicode(text):
        raise InvalidArgument(name, text[:100], f"text of at most {longest} characters, without NUL")


def _check_number(name: str, number: int, least: int = 0, most: int = _LARGEST_NUMBER) -> None:
    """Raise InvalidArgument unless a number is in its range.

    Args:
        name: Its name.
        number: The number.
        least: The least allowed.
        most: The greatest allowed.
    """
    if not least <= number <= most:
        raise InvalidArgument(name, number, f"a whole number from {least} to {most}")


def _check_count(name: str, given: Iterable[object], most: int) -> None:
    """Raise InvalidArgument if there are too many of something.

    Args:
        name: Its name.
        given: All of them.
        most: The greatest number allowed.
    """
    count = len(list(given))
    if count > most:
        raise InvalidArgument(name, f"{count} entries", f"at most {most} entries")
