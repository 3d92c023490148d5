"""What reaches a service from another machine: credentials, and checkpoints over HTTP."""

from phyletic.remote.blobs_address import blobs_at

__all__ = ["blobs_at"]
