"""What is committed to a study, as it happens, from any sequence number on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from phyletic.records import StudyChange
from phyletic.study.study import Study

_LOOK_SECONDS = 1.0
_LOOKS = 5
"""How often a watcher looks whether the server ends before it says that nothing is new."""
_MOST_CHANGES = 500


async def committed_changes(study: Study, since: int, serving: Callable[[], bool]) -> AsyncIterator[list[StudyChange]]:
    """Yield what is committed after a sequence number, in order; an empty list now and then while nothing is.

    The changes come from the store, so a watcher that is slow or comes again misses none.

    Args:
        study: The study.
        since: The sequence number; -1 for all.
        serving: Whether to go on.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    end = study.owner.feed.call(lambda changes: loop.call_soon_threadsafe(news.set))
    try:
        while serving():
            news.clear()
            changes = await asyncio.to_thread(study.changes, since, limit=_MOST_CHANGES)
            if changes:
                since = changes[-1].sequence
                yield changes
                continue
            for _ in range(_LOOKS):
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _LOOK_SECONDS)
                if news.is_set() or not serving():
                    break
            else:
                yield []
    finally:
        end()
