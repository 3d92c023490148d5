"""The network between simulated workers and the owner: messages are late, lost or doubled, and sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from phyletic.coordinator.messages import Ask, Command, Join, Reply
from phyletic.simulate.observer import Observer
from phyletic.simulate.worker import Worker
from phyletic.simulate.world import World

Execute: TypeAlias = Callable[..., tuple[Reply, ...] | None]
"""Lets the owner decide the commands that it is given; returns None if the owner gives no answer."""


@dataclass(frozen=True)
class Answer:
    """The answer to a message of a worker.

    Attributes:
        worker: The worker.
        session: Its session when it sent the message.
        request: The number of the request; None for a message that is sent only once.
        commands: The commands that were decided.
        replies: A reply for each.
        changed: :attr:`Observer.changed` after the decision.
    """

    worker: Worker
    session: str
    request: int | None
    commands: tuple[Command, ...]
    replies: tuple[Reply, ...]
    changed: int


def as_protobuf(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Return commands as they arrive after they have crossed a network as bytes of the service's messages."""
    from phyletic.remote.v1 import phyletic_v1_pb2 as pb
    from phyletic.remote.wire import command_from_message, command_to_message

    sent = [command_to_message(command).SerializeToString() for command in commands]
    return tuple([command_from_message(pb.Command.FromString(content)) for content in sent])


def replies_as_protobuf(replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
    """Return replies as they arrive after they have crossed a network as bytes of the service's messages."""
    from phyletic.remote.v1 import phyletic_v1_pb2 as pb
    from phyletic.remote.wire import reply_from_message, reply_to_message

    sent = [reply_to_message(reply).SerializeToString() for reply in replies]
    return tuple([reply_from_message(pb.Reply.FromString(content)) for content in sent])


class Network:
    """Carries commands to the owner and its replies back.

    Args:
        world: The world of the simulation.
        observer: The observer of the owner.
        execute: Lets the owner decide a batch.
        answered: Called when an answer arrives.
        gone: The sessions that are known to have ended.
    """

    def __init__(
        self, world: World, observer: Observer, execute: Execute, answered: Callable[[Answer], None], gone: set[str]
    ) -> None:
        self._world, self._observer, self._execute, self._answered, self._gone = (
            world,
            observer,
            execute,
            answered,
            gone,
        )
        self._requests = 0

    def request(self, worker: Worker, *commands: Command) -> None:
        """Send commands and wait for the answer; send them again until it comes."""
        self._requests += 1
        worker.awaited, worker.request = self._requests, commands
        self.send(worker, self._requests, commands)

    def send(self, worker: Worker, number: int | None, commands: tuple[Command, ...]) -> None:
        """Send commands.

        Args:
            worker: The sender.
            number: The number of the request; None to send the commands only once.
            commands: What to decide.
        """
        world, faults = self._world, self._world.faults
        if number is not None and faults.unanswered:
            world.after(faults.again, partial(self._send_again, worker, number))
        if world.now < worker.cut_until:
            world.happened["unreachable"] += 1
            return
        doubled, lost = world.happens(faults.duplicate), world.happens(faults.lose)
        world.happened.update(doubled=doubled, lost=lost)
        for _ in range(1 + doubled - lost):
            world.after(self._delay(), partial(self._arrive, worker, worker.session, number, commands))

    def _delay(self) -> float:
        world = self._world
        delay = world.speeds.latency * 2 * world.chance.random()
        if world.happens(world.faults.delay):
            world.happened["delayed"] += 1
            delay += world.faults.detection * world.chance.random()
        return delay

    def _send_again(self, worker: Worker, number: int) -> None:
        if worker.awaited == number and worker.left is None:
            self._world.happened["repeated"] += 1
            self.send(worker, number, worker.request)

    def _arrive(self, worker: Worker, session: str, number: int | None, commands: tuple[Command, ...]) -> None:
        """Have a message decided when it arrives; a session that is known to have ended gets no trial.

        Args:
            worker: The sender.
            session: Its session when it sent the message.
            number: The number of the request; None if the worker sends the commands only once.
            commands: What to decide.
        """
        world = self._world
        if world.now < self._observer.asleep_until:
            world.at(self._observer.asleep_until, partial(self._arrive, worker, session, number, commands))
            return
        if session in self._gone:
            commands = tuple(command for command in commands if not isinstance(command, (Ask, Join)))
        if not commands:
            return
        replies = self._execute(*(as_protobuf(commands) if world.protobuf else commands))
        if replies is not None and world.protobuf:
            replies = replies_as_protobuf(replies)
        lost = world.happens(world.faults.lose)
        cut = world.now < worker.cut_until
        world.happened.update(lost=lost, unreachable=cut and not lost)
        if replies is not None and not lost and not cut:
            answer = Answer(worker, session, number, commands, replies, self._observer.changed)
            world.after(self._delay(), partial(self._answered, answer))
