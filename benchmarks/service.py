"""What a pair of tell and ask costs through a server, with workers that train nothing.

``python benchmarks/service.py --workers 8 --seconds 10`` starts a server on this machine and client processes whose
sessions tell a result with the next ask at once. Each tell is on the disk when it is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import subprocess
import sys
import tempfile
import time

import grpc
import psutil

import phyletic as ph
from phyletic.coordinator.messages import Ask, Granted, Join, Tell
from phyletic.records import Evaluation
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import command_to_message, reply_from_message

CALL = "/phyletic.v1.Phyletic/Exchange"


async def session(call, number, pause, until, taken):
    identity = f"{number:032x}"
    asking = [Join(session=identity, worker=f"w{number}", lease_seconds=120.0), Ask(session=identity)]
    commands = list(asking)
    while time.monotonic() < until:
        request = pb.ExchangeRequest(study="bench", commands=[command_to_message(one) for one in commands])
        began = time.monotonic()
        reply = await call(request, timeout=60)
        taken.append(time.monotonic() - began)
        granted = reply_from_message(reply.replies[-1])
        commands = list(asking)
        if isinstance(granted, Granted):
            await asyncio.sleep(pause)
            trial, lease = granted.first.trial, granted.first.lease
            score = (Evaluation(trial.start_step + 1, "score", float(trial.number % 97)),)
            commands.insert(0, Tell(lease=lease, evaluations=score, steps_done=1))
        else:
            await asyncio.sleep(0.02)


def client(target, first, count, pause, seconds, results):
    async def run():
        taken = []
        async with grpc.aio.insecure_channel(target) as channel:
            call = channel.unary_unary(
                CALL,
                request_serializer=pb.ExchangeRequest.SerializeToString,
                response_deserializer=pb.ExchangeReply.FromString,
            )
            until = time.monotonic() + seconds
            await asyncio.gather(*[session(call, first + n, pause, until, taken) for n in range(count)])
        return taken

    results.put(asyncio.run(run()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8, help="sessions")
    parser.add_argument("--clients", type=int, default=2, help="processes that have the sessions")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of a trial")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "phyletic", "serve", f"sqlite:///{folder}/bench.db"]
        server = subprocess.Popen([*command, "--grpc-port", "0", "--http-port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            server.stdout.readline()
            url = server.stdout.readline().split()[-1]
            ph.Study(
                "bench",
                space={"lr": ph.Float(1e-4, 1e-1, log=True)},
                metric="score",
                mode="max",
                algorithm=ph.PBT(2 * options.workers, 1),
                budget=ph.Budget(trials=2**40),
                storage=url,
            )
            measure(url.removeprefix("grpc://"), server.pid, options)
        finally:
            server.terminate()
            server.wait()


def measure(target, pid, options):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    each = options.workers // options.clients or 1
    clients = [
        context.Process(target=client, args=(target, 1 + n * each, each, options.pause, options.seconds, results))
        for n in range(min(options.clients, options.workers))
    ]
    process = psutil.Process(pid)
    before = process.cpu_times()
    for one in clients:
        one.start()
    taken = sorted(second for _ in clients for second in results.get())
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    for one in clients:
        one.join()
    count = len(taken)
    print(
        f"{each * len(clients)} workers: {count / options.seconds:.0f} pairs/s, "
        f"p50 {1e3 * taken[count // 2]:.1f} ms, p99 {1e3 * taken[count * 99 // 100]:.1f} ms, "
        f"server {1e3 * spent / count:.2f} ms of processor time a pair, {process.memory_info().rss / 2**20:.0f} MB"
    )


if __name__ == "__main__":
    main()
