"""The server's figures as Prometheus reads them."""

from __future__ import annotations

import resource

from phyletic.service.hosted_studies import HostedStudies

_FIGURES = (
    ("commands_total", "counter", "Commands that were decided.", "decided"),
    ("commits_total", "counter", "Batches of commands that were decided together.", "commits"),
    ("waiting_commands", "gauge", "Commands that wait for a decision.", "waiting"),
    ("held_asks", "gauge", "Asks that are held while there is no trial.", "held"),
)


def metrics_text(studies: HostedStudies, only: str | None = None, *, ready: bool) -> str:
    """Return the figures of a server.

    Args:
        studies: The studies that it serves.
        only: Name of the only study to tell of; None for all.
        ready: Whether it takes commands.
    """
    lines = ["# HELP phyletic_ready Whether the server takes commands.", "# TYPE phyletic_ready gauge"]
    lines.append(f"phyletic_ready {int(ready)}")
    hosts = {name: host for name, host in list(studies.hosts.items()) if only in (None, name)}
    for name, kind, meaning, attribute in _FIGURES:
        lines += [f"# HELP phyletic_{name} {meaning}", f"# TYPE phyletic_{name} {kind}"]
        lines += [
            f"phyletic_{name}{{study={_quoted(study)}}} {getattr(host, attribute)}" for study, host in hosts.items()
        ]
    used = resource.getrusage(resource.RUSAGE_SELF)
    lines += ["# HELP process_cpu_seconds_total Processor time.", "# TYPE process_cpu_seconds_total counter"]
    lines.append(f"process_cpu_seconds_total {used.ru_utime + used.ru_stime:.3f}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
