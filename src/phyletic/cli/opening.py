"""Opening a stored study by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phyletic.errors import NotFound

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["open_study"]


def open_study(name: str, storage: str) -> Study:
    """Open a study to read it; nothing is written, so it may be running.

    Raises:
        NotFound: The storage does not exist, or holds no study of that name; the message lists those it holds.
    """
    from phyletic.study.study import Study, studies

    names = [identity.name for identity in studies(storage)]
    if name not in names:
        held = f"it holds: {', '.join(names)}" if names else "it holds none"
        raise NotFound(f"there is no study {name!r} in {storage}; {held}")
    return Study(name, storage=storage)
