"""Checkpoints over plain HTTP: who may, which names, parts that go on, digests, limits."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from checkpoint_server import Server, serving

from phyletic.checkpoints import Checkpoints
from phyletic.failpoints import armed
from phyletic.records import CheckpointReference
from phyletic.service.checkpoint_limits import CheckpointLimits
from phyletic.service.roles import Role
from phyletic.service.uploads import Upload, Uploads

ID, OTHER = "a" * 32, "b" * 32
HOME = "/v1/studies/digits/checkpoints"


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path) as running:
        yield running


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def error(self) -> str:
        assert self.headers["Phyletic-Error"] == json.loads(self.body)["error"]
        return json.loads(self.body)["error"]


def call(server: Server, method: str, path: str, body: bytes | None = None, token: str | None = "", **headers: str):
    """Make a request, of a worker unless a token is given; None for no token.

    Args:
        server: The server.
        method: The method.
        path: The path, sent as it is.
        body: The body.
        token: The token.
        **headers: Headers, with ``_`` for ``-``.
    """
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        shown["Authorization"] = f"Bearer {token or server.token()}"
    try:
        connection.request(method, path, body, shown)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def put(server: Server, path: str, content: bytes, **more: str):
    return call(server, "PUT", path, content, Phyletic_Digest=digest(content), **more)


def stored(server: Server) -> list[str]:
    """Return all files of the server but its tokens."""
    below = server.studies.folder.parent
    return sorted(
        str(path.relative_to(below)) for path in below.rglob("*") if path.is_file() and "tokens" not in path.parts[-2]
    )


# --- who may ---


METHODS = {"GET": Role.READ, "HEAD": Role.READ, "PUT": Role.WORKER, "POST": Role.WORKER, "DELETE": Role.WORKER}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", [None, *Role])
def test_each_method_needs_its_role(server: Server, role: Role | None, method: str) -> None:
    put(server, f"{HOME}/{ID}/files/x", b"x")
    token = None if role is None else server.token(role)
    path = f"{HOME}/{ID}/files/x" if method != "POST" else f"{HOME}/{ID}"
    content = b"y" if method == "PUT" else None
    answer = call(server, method, path, content, token, Phyletic_Digest=digest(b"y"))
    if role is None:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    elif role.covers(METHODS[method]):
        assert answer.status in (200, 201, 204)
    else:
        assert answer.status == 403
    if role is None or not role.covers(METHODS[method]):
        assert stored(server) == [f"checkpoints/{ID}/files/x"]
        assert server.folder.get(f"{ID}/files/x").read_bytes() == b"x"


@pytest.mark.parametrize("method", METHODS)
def test_expired_revoked_and_foreign_tokens_are_refused(server: Server, method: str) -> None:
    expired = server.token("admin", lasting=1e-9)
    foreign = server.token("admin", study="other")
    revoked, text = server.tokens.create("admin", now=time.time())
    server.tokens.revoke(revoked.id)
    for token, status in ((expired, 401), (text, 401), (foreign, 403), ("nonsense", 401)):
        answer = call(server, method, f"{HOME}/{ID}", b"", token, Phyletic_Digest=digest(b""))
        assert answer.status == status
        assert token.encode() not in answer.body
    assert stored(server) == []


def test_a_token_for_the_study_is_enough(server: Server) -> None:
    token = server.token("worker", study="digits")
    assert call(server, "PUT", f"{HOME}/{ID}", b"x", token, Phyletic_Digest=digest(b"x")).status == 201
    assert call(server, "GET", f"{HOME}/{ID}", None, token).body == b"x"


def test_the_coordinator_decides_which_ids_are_used(server: Server) -> None:
    put(server, f"{HOME}/{ID}", b"x")
    server.studies.refused |= {(ID, "read"), (OTHER, "write"), (ID, "discard")}
    for method, id in (("GET", ID), ("HEAD", ID), ("PUT", OTHER), ("POST", OTHER), ("DELETE", ID)):
        answer = call(server, method, f"{HOME}/{id}", b"", Phyletic_Digest=digest(b""))
        assert answer.status == (202 if method == "DELETE" else 403)
    assert stored(server) == [f"checkpoints/{ID}.safetensors"]
    assert json.loads(call(server, "GET", f"{HOME}/", None, server.token("admin")).body) == {"names": []}
    assert call(server, "GET", f"{HOME}/").status == 403


def test_a_path_that_is_a_file_here_and_a_folder_there_is_the_request_that_is_wrong(server: Server) -> None:
    """It is no trouble of the server's disk, for which clients would wait."""
    put(server, f"{HOME}/{ID}/files/a", b"x")
    put(server, f"{HOME}/{ID}/files/b/c", b"x")
    before = stored(server)
    for below in ("a/b", "a/b/", "b"):
        answer = put(server, f"{HOME}/{ID}/files/{below}", b"" if below.endswith("/") else b"y")
        assert (answer.status, answer.error) == (400, "InvalidArgument"), below
    for method in ("GET", "HEAD", "DELETE"):
        answer = call(server, method, f"{HOME}/{ID}/files/a/b")
        assert (answer.status, answer.headers["Phyletic-Missing"]) == (404, "blob")
    assert stored(server) == before


def test_a_study_that_does_not_exist_is_not_a_missing_checkpoint(server: Server) -> None:
    answer = call(server, "GET", f"/v1/studies/nothing/checkpoints/{ID}")
    assert (answer.status, answer.error, answer.headers["Phyletic-Missing"]) == (404, "NotFound", None)
    answer = call(server, "GET", f"{HOME}/{ID}")
    assert (answer.status, answer.headers["Phyletic-Missing"]) == (404, "blob")


def test_a_study_may_have_a_slash_in_its_name(server: Server) -> None:
    assert put(server, f"/v1/studies/a%2Fb/checkpoints/{ID}", b"x").status == 201


# --- names ---


@pytest.mark.parametrize(
    "path",
    [
        "../tokens/x",
        "%2e%2e/tokens/x",
        "..%2ftokens%2fx",
        "A" * 32,
        "a" * 31,
        "a" * 33,
        f"{ID}.safetensors",
        f"{ID}/",
        f"{ID}/x",
        f"{ID}/.part",
        f"{ID}/files",
        f"{ID}/manifest.json/",
        f"{ID}/manifest.json/x",
        f"{ID}/filesx/y",
        f"{ID}/files/../../x",
        f"{ID}/files/%2e%2e/%2E%2E/x",
        f"{ID}/files/..",
        f"{ID}/files/.",
        f"{ID}/files//x",
        f"{ID}/files/a%2F..%2F..%2F..%2Fx",
        f"{ID}/files/a%2fb",
        f"{ID}/files/a%5Cb",
        f"{ID}/files/a\\b",
        f"{ID}/files/a%00b",
        f"{ID}/files/a%0Ab",
        f"{ID}/files/%ff",
        f"{ID}/files/%c0%ae%c0%ae/x",
        f"{ID}/files/" + "a" * 256,
        f"{ID}/files/" + "%C3%A9" * 128,
        f"{ID}/files/" + "a/" * 70 + "x",
        f"{ID}/files/" + "/".join(["a" * 200] * 12),
        "//etc/passwd",
        f"{ID}//etc/passwd",
        f"{ID}/files//etc/passwd",
    ],
)
def test_no_name_leads_anywhere_else(server: Server, path: str) -> None:
    before = sorted(Path(server.studies.folder.parent).rglob("*"))
    for method in ("PUT", "GET", "HEAD", "DELETE", "POST"):
        if method != "PUT" and path in (f"{ID}/", f"{ID}/files"):
            continue  # a folder, which can be asked for and deleted
        answer = call(server, method, f"{HOME}/{path}", b"x", Phyletic_Digest=digest(b"x"))
        assert answer.status in (400, 404, 405), (method, answer.status)
        assert answer.headers["Phyletic-Missing"] is None
    after = sorted(path for path in Path(server.studies.folder.parent).rglob("*") if "tokens" not in path.parts)
    assert after == [path for path in before if "tokens" not in path.parts]


@pytest.mark.parametrize("name", ["a b", "é", "100%", "%2e%2e", ".hidden", "...", "a.part", ".part", "x?y#z", "files"])
def test_a_name_that_a_file_may_have_comes_back(server: Server, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    (folder / name).write_bytes(b"top")
    (folder / "deep" / name).write_bytes(b"deep")
    reference = Checkpoints(server.blobs()).publish_folder(ID, folder)
    Checkpoints(server.blobs()).verify(reference)
    Checkpoints(server.folder).verify(reference)


# --- bytes ---


def test_a_part_at_a_time(server: Server) -> None:
    content, path = random.Random(0).randbytes(100), f"{HOME}/{ID}"
    whole = {"Phyletic_Digest": digest(content)}
    for start, end, status, there in (
        (0, 40, 202, 40),
        (60, 100, 409, 40),  # a gap
        (40, 60, 202, 60),
        (20, 60, 409, 60),  # said again
    ):
        ranged = f"bytes {start}-{end - 1}/100"
        answer = call(server, "PUT", path, content[start:end], Content_Range=ranged, **whole)
        assert (answer.status, int(answer.headers["Upload-Offset"])) == (status, there)
        assert json.loads(answer.body) == {"received": there}
        assert call(server, "HEAD", path).status == 404
    asked = call(server, "PUT", path, b"", Content_Range="bytes */100", **whole)
    assert (asked.status, asked.headers["Upload-Offset"]) == (202, "60")
    assert call(server, "PUT", path, content[60:], Content_Range="bytes 60-99/100", **whole).status == 201
    assert call(server, "PUT", path, content[60:], Content_Range="bytes 60-99/100", **whole).status == 200
    found = call(server, "GET", path)
    assert (found.body, found.headers["Phyletic-Digest"]) == (content, digest(content))
    assert stored(server) == [f"checkpoints/{ID}.safetensors"]


def test_an_upload_goes_on_after_the_server_was_restarted(tmp_path: Path) -> None:
    content, path = random.Random(0).randbytes(1000), f"{HOME}/{ID}"
    whole = {"Phyletic_Digest": digest(content)}
    with serving(tmp_path) as server:
        call(server, "PUT", path, content[:600], Content_Range="bytes 0-599/1000", **whole)
    with serving(tmp_path) as server:
        asked = call(server, "PUT", path, b"", Content_Range="bytes */1000", **whole)
        assert asked.headers["Upload-Offset"] == "600"
        assert call(server, "PUT", path, content[600:], Content_Range="bytes 600-999/1000", **whole).status == 201


def test_what_a_cut_off_request_brought_counts(server: Server) -> None:
    content, path = random.Random(0).randbytes(5 << 20), f"{HOME}/{ID}"
    host, _, port = urlsplit(server.url).netloc.partition(":")
    head = f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.token()}\r\n"
    head += f"Phyletic-Digest: {digest(content)}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + content[: 3 << 20])
    offset = "0"
    while int(offset) < 3 << 20:
        asked = call(server, "PUT", path, b"", Content_Range=f"bytes */{len(content)}", Phyletic_Digest=digest(content))
        offset = asked.headers["Upload-Offset"] or "0"
    assert int(offset) == 3 << 20
    before = len(server.requests)
    server.blobs(part=1 << 20).put([(f"{ID}.safetensors", [content])])
    sent = [method for method, _ in server.requests[before:]]
    assert sent == ["PUT"] * 3, "one question and two parts, not all of them"
    assert call(server, "GET", path).body == content


def test_a_client_that_says_nothing_more_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, idle=0.05) as server:
        host, _, port = urlsplit(server.url).netloc.partition(":")
        head = f"PUT {HOME}/{ID} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.token()}\r\n"
        head += f"Phyletic-Digest: {digest(b'xy')}\r\nContent-Length: 2\r\n\r\nx"
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head.encode())
            assert b" 503 " in connection.recv(1000)
        assert put(server, f"{HOME}/{ID}", b"xy").status == 201


def test_bytes_with_another_digest_are_never_visible(server: Server) -> None:
    wrong = call(server, "PUT", f"{HOME}/{ID}", b"x", Phyletic_Digest=digest(b"y"))
    assert (wrong.status, wrong.error) == (422, "CheckpointDamaged")
    assert stored(server) == []
    assert put(server, f"{HOME}/{ID}", b"y").status == 201
    assert put(server, f"{HOME}/{ID}", b"z").status == 409
    assert put(server, f"{HOME}/{ID}", b"y").status == 200
    assert call(server, "GET", f"{HOME}/{ID}").body == b"y"


def test_parts_of_two_contents_never_mix(server: Server) -> None:
    for content in (b"a" * 100, b"b" * 100):
        for start in (0, 50):
            ranged = f"bytes {start}-{start + 49}/100"
            path = f"{HOME}/{ID}/files/x"
            answer = call(server, "PUT", path, content[:50], Content_Range=ranged, Phyletic_Digest=digest(content))
            assert answer.status == (202, 201)[start > 0]
        assert server.folder.get(f"{ID}/files/x").read_bytes() == content


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Phyletic_Digest": "sha256:abc"},
        {"Phyletic_Digest": "md5:" + "0" * 64},
        {"Content_Range": "bytes 0-0"},
        {"Content_Range": "bytes 0-5/10"},
        {"Content_Range": "bytes 5-4/10"},
        {"Content_Range": "bytes 0-0/0"},
        {"Content_Range": "bytes 9-9/9"},
        {"Content_Range": "bytes */10"},
        {"Content_Range": "bytes 0-0/" + "9" * 30},
        {"Content_Range": "lines 0-0/1"},
        {"Content_Length": "-1"},
    ],
)
def test_bad_headers_write_nothing(server: Server, headers: dict[str, str]) -> None:
    if headers and "Phyletic_Digest" not in headers:
        headers = {"Phyletic_Digest": digest(b"x"), **headers}
    # a server that refuses a length reads no body, and bytes that it did not read may reset the connection
    body = b"" if "Content_Length" in headers else b"x"
    answer = call(server, "PUT", f"{HOME}/{ID}", body, **headers)
    assert answer.status == 400
    assert stored(server) == []


def test_a_download_goes_on_unless_the_bytes_changed(server: Server) -> None:
    content = random.Random(0).randbytes(1000)
    put(server, f"{HOME}/{ID}", content)
    mark = call(server, "GET", f"{HOME}/{ID}").headers["ETag"]
    assert mark == f'"{digest(content)}"'
    rest = call(server, "GET", f"{HOME}/{ID}", Range="bytes=600-", If_Range=mark)
    assert (rest.status, rest.body, rest.headers["Content-Range"]) == (206, content[600:], "bytes 600-999/1000")
    other = call(server, "GET", f"{HOME}/{ID}", Range="bytes=600-", If_Range='"sha256:other"')
    assert (other.status, other.body) == (200, content)
    assert call(server, "GET", f"{HOME}/{ID}", Range="bytes=2000-").status == 416


def test_a_client_receives_no_byte_twice_after_a_cut(server: Server) -> None:
    content = random.Random(0).randbytes(8 << 20)
    put(server, f"{HOME}/{ID}", content)
    faults = ["cut late"]
    server.fault = lambda method: faults.pop() if faults else None
    server.sent = 0
    assert server.blobs().get(f"{ID}.safetensors").read_bytes() == content
    assert not faults
    assert len(content) <= server.sent < len(content) + (1 << 20)


def test_a_full_disk_is_said_and_the_upload_can_go_on(server: Server) -> None:
    def full(name: str) -> None:
        if name == "disk.write.before":
            raise OSError(28, "No space left on device")

    token = server.token()
    with armed(full):
        answer = call(server, "PUT", f"{HOME}/{ID}", b"x", token, Phyletic_Digest=digest(b"x"))
    assert (answer.status, answer.error) == (507, "StorageError")
    assert put(server, f"{HOME}/{ID}", b"x").status == 201


# --- limits ---


def test_limits_of_bytes(tmp_path: Path) -> None:
    with serving(tmp_path, CheckpointLimits(checkpoint=100, total=250)) as server:
        assert put(server, f"{HOME}/{ID}", bytes(101)).error == "LimitExceeded"
        asked = call(server, "PUT", f"{HOME}/{ID}", b"", Content_Range="bytes */101", Phyletic_Digest=digest(b""))
        assert (asked.status, asked.error) == (413, "LimitExceeded")
        for name in "abc":  # the files of one checkpoint count together
            answer = put(server, f"{HOME}/{ID}/files/{name}", bytes(40))
            assert answer.status == (413 if name == "c" else 201)
        assert put(server, f"{HOME}/{OTHER}", bytes(100)).status == 201
        assert put(server, f"{HOME}/{'c' * 32}", bytes(100)).status == 413
        part = call(
            server, "PUT", f"{HOME}/{'d' * 32}", bytes(60), Content_Range="bytes 0-59/80", Phyletic_Digest=digest(b"")
        )
        assert part.status == 413, "what is still to come counts"
        assert put(server, f"{HOME}/{'d' * 32}", bytes(60)).status == 201
    with serving(tmp_path, CheckpointLimits(checkpoint=100, total=250)) as server:
        assert put(server, f"{HOME}/{'c' * 32}", bytes(100)).status == 413, "what was there before counts"
        server.folder.delete([f"{OTHER}.safetensors"])
    with serving(tmp_path, CheckpointLimits(checkpoint=100, total=250)) as server:
        assert put(server, f"{HOME}/{'c' * 32}", bytes(100)).status == 201


def test_unfinished_uploads_are_swept_by_age_and_with_their_id(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    assert uploads.sweep(before=time.time()) == 0
    first, second = (Upload("digits", f"{id}.safetensors", 10, digest(b"")) for id in (ID, OTHER))
    uploads.append(first, 0, b"abc")
    uploads.append(second, 0, b"abcd")
    assert uploads.bytes_held() == 7
    assert uploads.sweep(before=time.time() - 60) == 0
    uploads.discard(first.place)
    assert (uploads.received(first), uploads.received(second)) == (0, 4)
    assert uploads.sweep(before=time.time() + 60) == 1
    assert uploads.bytes_held() == 0
    assert (tmp_path / "uploads").stat().st_mode & 0o777 == 0o700


# --- any language ---


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_publishes_its_files_and_gets_them_back(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("weights 1 2 3\n")
    (tmp_path / "token").write_text(f'header = "Authorization: Bearer {server.token()}"\n')
    script = f"""
set -eu
home={server.address}/{ID}
digest=$(sha256sum model.txt | cut -d' ' -f1)
curl -sSf -K token -T model.txt -H "Phyletic-Digest: sha256:$digest" $home/files/model.txt
curl -sSf -K token -X POST $home -o reference.json
curl -sSf -K token $home/files/model.txt -o again.txt
cmp model.txt again.txt
"""
    subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, check=True, capture_output=True, env={"PATH": os.environ["PATH"]}
    )
    said = json.loads((tmp_path / "reference.json").read_text())
    Checkpoints(server.folder).verify(CheckpointReference(**said))
