"""What holds for every test."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# The same examples in every run, and none judged by the time it took: a busy machine is no failure.
settings.register_profile(
    "phyletic", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("phyletic")

# Keras asks when it is imported, here and in the processes that tests start; torch is what the tests install.
os.environ.setdefault("KERAS_BACKEND", "torch")

# A shell that starts the tests in the background, or nohup, has them and all that they start ignore these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
