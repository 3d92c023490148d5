"""What reaches a service from another machine: credentials, and checkpoints over HTTP."""
