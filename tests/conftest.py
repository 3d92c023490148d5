"""Settings for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

from hypothesis import HealthCheck, settings

# Every run uses the same examples and no deadline: a busy machine must not fail a test.
settings.register_profile(
    "phyletic", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("phyletic")

# Keras reads this on import, here and in the processes that tests start. The test extra installs torch.
os.environ.setdefault("KERAS_BACKEND", "torch")

# The logs of workers of a server, its notes for clients and the caches of checkpoints are kept there.
for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
    os.environ[name] = tempfile.mkdtemp(prefix="phyletic-home-")
    atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)

# If a shell starts the tests in the background or with nohup, they and the processes they start ignore these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
