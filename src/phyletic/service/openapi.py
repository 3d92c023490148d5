"""The description of the HTTP calls, generated from the records."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from phyletic.coordinator.messages import Done, Finished, Granted, Wait
from phyletic.records import StudyChange, StudyIdentity
from phyletic.remote.http_connection import ExchangeReply, RowsPage
from phyletic.service.json_requests import (
    AskRequest,
    ControlRequest,
    ExchangeRequest,
    FailRequest,
    Failure,
    HeartbeatRequest,
    NewStudy,
    StudyDocument,
    TellRequest,
    TrialPage,
)
from phyletic.version import __version__


class StudyList(msgspec.Struct, frozen=True):
    """The studies of a server.

    Attributes:
        studies: Their identities, in the order in which they were created.
    """

    studies: tuple[StudyIdentity, ...]


_STUDY = "/v1/studies/{study}"
_CALLS: tuple[tuple[str, str, str, Any, Any], ...] = (
    ("/v1/studies", "get", "List the studies.", None, StudyList),
    ("/v1/studies", "post", "Create a study, or return the one that is the same.", NewStudy, StudyDocument),
    (_STUDY, "get", "Return a study.", None, StudyDocument),
    (f"{_STUDY}/trials", "get", "Return trials by number, in pages.", None, TrialPage),
    (f"{_STUDY}/watch", "get", "Stream what is committed, as server-sent events.", None, StudyChange),
    (f"{_STUDY}/rows", "get", "Return what was written after a sequence number, in pages.", None, RowsPage),
    (f"{_STUDY}/ask", "post", "Ask for trials.", AskRequest, Granted | Wait | Finished),
    (f"{_STUDY}/exchange", "post", "Have commands decided in one transaction.", ExchangeRequest, ExchangeReply),
    (f"{_STUDY}/tell", "post", "Tell the result of an attempt.", TellRequest, Done),
    (f"{_STUDY}/fail", "post", "Say that an attempt ended without a result.", FailRequest, Done),
    (f"{_STUDY}/heartbeat", "post", "Say that an attempt is alive.", HeartbeatRequest, Done),
    (f"{_STUDY}/control", "post", "Change the study's control.", ControlRequest, StudyDocument),
)
_PAGE = {"since": "only what was written after this sequence number", "after": "the last trial of the page before"}


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    kinds = [kind for _, _, _, request, reply in _CALLS for kind in (request, reply) if kind is not None]
    template = "#/components/schemas/{name}"
    schemas, components = msgspec.json.schema_components([*kinds, Failure], ref_template=template)
    of = dict(zip(map(id, kinds), schemas, strict=False))
    paths: dict[str, Any] = {}
    for path, method, meaning, request, reply in _CALLS:
        stream = path.endswith("/watch")
        media = "text/event-stream" if stream else "application/json"
        operation: dict[str, Any] = {
            "summary": meaning,
            "operationId": f"{method} {path}".replace("/v1/studies", "studies").replace("/{study}/", " ").strip(),
            "responses": {
                "201" if method == "post" and request is NewStudy else "200": {
                    "description": "done",
                    "content": {media: {"schema": of[id(reply)]}},
                },
                "default": {
                    "description": "why it had no effect",
                    "content": {"application/json": {"schema": schemas[-1]}},
                },
            },
        }
        if request is not None:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": of[id(request)]}}}
        if path.endswith("/trials") or stream:
            names = _PAGE if not stream else {"since": _PAGE["since"]}
            operation["parameters"] = [
                {"name": name, "in": "query", "description": text, "schema": {"type": "integer"}}
                for name, text in names.items()
            ]
        place = paths.setdefault(path, {})
        if "{study}" in path:
            place["parameters"] = [{"name": "study", "in": "path", "required": True, "schema": {"type": "string"}}]
        place[method] = operation
    paths[f"{_STUDY}/checkpoints/{{path}}"] = _checkpoint_path(schemas[-1])
    return {
        "openapi": "3.1.0",
        "info": {"title": "phyletic", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _checkpoint_path(failure: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the calls that carry a checkpoint's bytes.

    Args:
        failure: The schema of a refusal.
    """
    meanings = {
        "put": "Send a checkpoint's file, whole or in parts; Phyletic-Digest has the SHA-256 of all of it.",
        "get": "Receive a checkpoint's file; Range goes on with one.",
        "post": "Publish the files that were put below an id.",
        "delete": "Drop what a running attempt has put and not told.",
    }
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    refused = {"description": "why it had no effect", "content": {"application/json": {"schema": failure}}}
    done = {"put": "201", "get": "200", "post": "201", "delete": "204"}
    operations: dict[str, Any] = {
        method: {
            "summary": meaning,
            "operationId": f"{method} checkpoint",
            "responses": {done[method]: {"description": "done"}, "default": refused},
        }
        for method, meaning in meanings.items()
    }
    operations["put"]["requestBody"] = {"required": True, "content": content}
    operations["get"]["responses"]["200"]["content"] = content
    names = ("study", "path")
    place = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"parameters": place, **operations}
