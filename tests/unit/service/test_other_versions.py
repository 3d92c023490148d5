"""Clients and servers of other versions: what both know works, and what they do not have in common is said."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import grpc
import httpx

import phyletic as ph
from phyletic.errors import StorageUnsupported
from phyletic.remote.connections import connection_to
from phyletic.remote.grpc_connection import REFUSED, SERVICE, TOKEN
from phyletic.remote.v1 import phyletic_v1_pb2 as pb
from phyletic.remote.wire import to_message
from phyletic.service.server import Server, serving
from phyletic.study.study import Study
from phyletic.testing.example import example_study

SESSION = "a" * 32
USES = [ph.connect, ph.studies, example_study, lambda url: Study("study", storage=url)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(f"sqlite:///{tmp_path}/study.db", http_port=0) as running:
        yield running


def called(server: Server, name: str, request: Any) -> Any:
    """Make a call as a program without phyletic makes it; return the reply, or the error that was refused."""
    metadata = [(TOKEN, f"Bearer {server.token_file.read_text().strip()}")]
    method = SERVICE.methods_by_name[name]
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = make(f"/{SERVICE.full_name}/{name}")
        try:
            raw = call(request.SerializeToString(), timeout=20, metadata=metadata)
            if method.server_streaming:
                stream, raw = raw, next(raw)
                stream.cancel()
        except grpc.RpcError as error:
            return pb.Refused.FromString(dict(error.trailing_metadata())[REFUSED])
    return getattr(pb, method.output_type.name).FromString(raw)


def new_study(name: str = "study") -> pb.CreateStudyRequest:
    """Return the request for a study, with what it cannot be without."""
    identity = to_message(example_study().identity, pb.StudyIdentity)
    made = pb.StudyIdentity(name=name, space=identity.space, metrics=identity.metrics, algorithm=identity.algorithm)
    return pb.CreateStudyRequest(identity=made)


def asking(session: str = SESSION) -> list[pb.Command]:
    return [
        pb.Command(join=pb.Join(session=session, worker="w")),
        pb.Command(ask=pb.Ask(session=session, slots=1)),
    ]


# --- an older client ---


def test_a_client_that_knows_the_first_fields_only_trains_a_study(server: Server) -> None:
    assert called(server, "Hello", pb.HelloRequest(version="0.1")).protocols == ["phyletic.v1"]
    assert called(server, "Hello", pb.HelloRequest()).version == ph.__version__
    made = called(server, "CreateStudy", new_study())
    assert made.study.identity.name == "study"
    assert made.study.identity.sampling == "random"
    reply = called(server, "Exchange", pb.ExchangeRequest(study="study", commands=asking()))
    assert (len(reply.changes), reply.changes_missed) == (0, False)
    grant = reply.replies[-1].granted.grants[0]
    beat = pb.Command(heartbeat=pb.Heartbeat(lease=grant.lease))
    told = pb.Command(
        tell=pb.Tell(
            lease=grant.lease,
            steps_done=grant.trial.steps,
            evaluations=[pb.Evaluation(step=grant.trial.steps, metric="score", value=0.5)],
        )
    )
    for command in (beat, told):
        (done,) = called(server, "Exchange", pb.ExchangeRequest(study="study", commands=[command])).replies
        assert done.WhichOneof("reply") == "done", done
    assert done.done.trial.score == 0.5
    again = called(server, "Exchange", pb.ExchangeRequest(study="study", commands=asking()))
    lease = again.replies[-1].granted.grants[0].lease
    failed = pb.ExchangeRequest(study="study", commands=[pb.Command(fail=pb.Fail(lease=lease, error="x"))])
    assert called(server, "Exchange", failed).replies[0].done.trial.failures == 1
    control = pb.ControlRequest(study="study", command=pb.Command(control=pb.Control(keep_best=2)))
    assert called(server, "Control", control).reply.WhichOneof("reply") == "done"
    rows = called(server, "ListTrials", pb.ListTrialsRequest(study="study", since=-1)).rows
    assert [(one.trial.number, one.trial.state) for one in rows.trials[:2]] == [(0, "completed"), (1, "waiting")]
    assert len(called(server, "Watch", pb.WatchRequest(study="study")).changes) > 0
    assert [one.name for one in called(server, "ListStudies", pb.ListStudiesRequest()).studies] == ["study"]


def test_the_same_over_http(server: Server) -> None:
    """The requests have no field that came later, and those that are left out have their defaults."""
    headers = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
    with httpx.Client(base_url=f"{server.http_url}/v1/studies", headers=headers, timeout=20) as client:
        example_study(server.url)
        exchange = {
            "commands": [{"type": "Join", "session": SESSION, "worker": "w"}, {"type": "Ask", "session": SESSION}]
        }
        reply = client.post("/study/exchange", json=exchange).json()
        assert (reply["changes"], reply["changes_missed"]) == ([], False)
        lease = reply["replies"][-1]["grants"][0]["lease"]
        tell = {"type": "Tell", "lease": lease, "steps_done": 2,
                "evaluations": [{"step": 2, "metric": "score", "value": 1.0}]}  # fmt: skip
        assert client.post("/study/exchange", json={"commands": [tell]}).json()["replies"][0]["trial"]["score"] == 1.0


# --- a newer client ---


UNKNOWN = b"\xc2\x3e\x05newer\xc8\x3e\x07"
"""Fields 1000 and 1001, which no message has."""


def with_unknown_fields(message: Any) -> Any:
    """Return a copy of a message that has unknown fields, as have all messages within it."""
    copy = type(message).FromString(message.SerializeToString())

    def add(part: Any) -> None:
        for field, value in part.ListFields():
            if field.message_type is not None:
                for one in value if field.is_repeated else [value]:
                    add(one)
        part.MergeFromString(UNKNOWN)

    add(copy)
    assert len(copy.SerializeToString()) > len(message.SerializeToString())
    return copy


def test_fields_that_are_not_known_change_nothing(server: Server) -> None:
    created = called(server, "CreateStudy", with_unknown_fields(new_study("newer")))
    known = called(server, "CreateStudy", new_study("known"))
    for part in ("space", "algorithm", "metrics", "seed"):
        assert getattr(created.study.identity, part) == getattr(known.study.identity, part)
    definition = pb.StudyDefinition(
        space=known.study.identity.space, metric="score", mode="max", algorithm=known.study.identity.algorithm
    )
    for name, request in {
        "Hello": pb.HelloRequest(version="99"),
        "GetStudy": pb.GetStudyRequest(study="newer"),
        "ListStudies": pb.ListStudiesRequest(),
        "Exchange": pb.ExchangeRequest(study="newer", commands=asking()),
        "Control": pb.ControlRequest(study="newer", command=pb.Command(pin=pb.Pin(trial=0, keep=True))),
        "ListTrials": pb.ListTrialsRequest(study="newer", since=-1),
        "Watch": pb.WatchRequest(study="newer", since=-1),
        "Suggest": pb.SuggestRequest(study=definition, k=2, seed=3),
        "EarlyStop": pb.EarlyStopRequest(study=definition),
    }.items():
        # Exchange first gives a trial; said again, it gives the same one
        reply = called(server, name, with_unknown_fields(request))
        assert type(reply) is not pb.Refused, (name, reply)
        assert called(server, name, request) == reply or name in ("GetStudy", "Control", "ListTrials")


def test_a_command_that_is_not_known_is_refused_and_has_no_effect(server: Server) -> None:
    called(server, "CreateStudy", new_study())
    newer = pb.Command.FromString(UNKNOWN)
    refused = called(server, "Exchange", pb.ExchangeRequest(study="study", commands=[*asking(), newer]))
    assert (refused.error, refused.name) == ("InvalidArgument", "command")
    assert len(called(server, "ListTrials", pb.ListTrialsRequest(study="study", since=-1)).rows.trials) == 0
    refused = called(server, "Control", pb.ControlRequest(study="study", command=newer))
    assert (refused.error, refused.name) == ("InvalidArgument", "command")


def test_over_http_what_programs_write_is_taken_and_what_people_write_is_checked(server: Server) -> None:
    headers = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
    example_study(server.url)
    with httpx.Client(base_url=f"{server.http_url}/v1/studies/study", headers=headers, timeout=20) as client:
        exchange = {
            "commands": [{"type": "Join", "session": SESSION, "worker": "w", "newer": 1}], "newer": {"deep": [1]},
        }  # fmt: skip
        assert client.post("/exchange", json=exchange).json()["replies"][0]["type"] == "Done"
        refused = client.post("/ask", json={"worker": "w", "slot": 2})
        assert refused.status_code == 400
        assert "slot" in refused.json()["message"]


# --- a server of another version ---


class OtherServer:
    """A server over gRPC of a version that is not this one's.

    Args:
        protocols: What it says that it speaks; None for a server that is none of phyletic's.
    """

    def __init__(self, protocols: list[str] | None) -> None:
        self.calls: list[str] = []
        self._protocols = protocols
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        self.calls.append(name)
        if name != "Hello" or self._protocols is None:
            return None
        reply = pb.HelloReply(version="99.0", protocols=self._protocols, http_port=0)
        return grpc.unary_unary_rpc_method_handler(lambda raw, context: reply.SerializeToString())

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def other(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherServer]:
    monkeypatch.setenv("PHYLETIC_TOKEN", "token-of-another-server")
    made = OtherServer(request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("other", [["phyletic.v2", "phyletic.v9"], []], indirect=True)
def test_a_server_that_speaks_other_protocols_is_asked_nothing_more(other: OtherServer) -> None:
    named = r"runs phyletic 99\.0, which speaks (phyletic\.v2, phyletic\.v9|nothing), but .* speaks phyletic\.v1"
    for use in USES:
        with pytest.raises(StorageUnsupported, match=named):
            use(other.url)
    assert set(other.calls) == {"Hello"}


@pytest.mark.parametrize("other", [["phyletic.v1", "phyletic.v2"]], indirect=True)
def test_one_protocol_in_common_is_enough_and_asked_for_once(other: OtherServer) -> None:
    connection = connection_to(other.url)
    assert connection.version() == "99.0"
    # this server has no other calls, which is said too
    for _ in range(3):
        with pytest.raises(StorageUnsupported, match=r"no such call of phyletic\.v1"):
            connection.study("study")
    assert other.calls == ["Hello", "GetStudy", "GetStudy", "GetStudy"]


@pytest.mark.parametrize("other", [None], indirect=True)
def test_what_is_no_server_of_phyletic_is_said_to_be_none(other: OtherServer) -> None:
    for use in USES:
        with pytest.raises(StorageUnsupported, match="is no server of phyletic, or one of another version"):
            use(other.url)


@contextlib.contextmanager
def web_server(status: int, content: str) -> Iterator[str]:
    """Serve one answer to all requests; give the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_GET

        def log_message(self, *given: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OTHER_API = json.dumps({"info": {"title": "shop", "version": "3"}, "paths": {"/v1/orders": {}}})
NEWER_API = json.dumps({"info": {"title": "phyletic", "version": "99.0"}, "paths": {"/v2/studies": {}}})


@pytest.mark.parametrize(
    ("status", "content"), [(404, "Not Found"), (200, "<html>hello"), (200, "{}"), (200, OTHER_API), (200, NEWER_API)]
)
def test_what_is_no_server_of_phyletic_over_http_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, status: int, content: str
) -> None:
    monkeypatch.setenv("PHYLETIC_TOKEN", "token-of-another-server")
    with web_server(status, content) as url:
        for use in USES:
            with pytest.raises(StorageUnsupported, match=r"no server of phyletic|has no /v1/studies"):
                use(url)
