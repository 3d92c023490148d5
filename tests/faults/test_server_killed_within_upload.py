"""A server that is killed anywhere within an upload: nothing half-written is visible, and the client goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import checkpoint_server
import pytest

from phyletic.checkpoints import FolderBlobs
from phyletic.checkpoints.http_blobs import HttpBlobs
from phyletic.checkpoints.http_requests import Patience
from phyletic.credentials import Credentials
from phyletic.service.tokens import Tokens

STATE = f"{'a' * 32}.safetensors"


def start(folder: Path, port: int, failpoint: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "PHYLETIC_FAILPOINT": failpoint}
    command = [sys.executable, checkpoint_server.__file__, str(folder), str(port)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    "failpoint",
    [
        "disk.create.before:1",
        "disk.write.after:1",  # one part has come
        "disk.write.after:3",
        "disk.write.after:4",  # within the copy to its place
        "disk.fsync.before:1",
        "disk.rename.before:1",
        "disk.rename.after:1",
        "disk.fsync_folder.after:1",
        "disk.unlink.before:1",
    ],
)
def test_a_server_killed_within_an_upload(tmp_path: Path, failpoint: str) -> None:
    content = random.Random(0).randbytes(3 << 20)
    token = Tokens(tmp_path / "tokens").create("worker", now=time.time())[1]
    doomed = start(tmp_path, 0, failpoint)
    assert doomed.stdout is not None
    url = doomed.stdout.readline().strip()
    patience = Patience(give_up_after=60.0, sleep=lambda seconds: time.sleep(0.02))
    blobs = HttpBlobs(f"{url}/v1/studies/digits/checkpoints", Credentials(token), patience, part=1 << 20)
    sending = threading.Thread(target=blobs.put, args=([(STATE, [content])],))
    sending.start()
    assert doomed.wait(60) == -signal.SIGKILL
    folder = FolderBlobs(tmp_path / "checkpoints")
    assert not folder.exists(STATE) or folder.get(STATE).read_bytes() == content
    server = start(tmp_path, int(url.rpartition(":")[2]))
    try:
        sending.join(60)
        assert not sending.is_alive()
        assert folder.get(STATE).read_bytes() == content
        assert blobs.get(STATE).read_bytes() == content
        assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name != STATE]
    finally:
        server.communicate("")
