"""Generated from ``phyletic_v1.proto`` by ``python -m phyletic.remote.stubs``."""
