"""How long to wait before a call is said again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

FIRST, LONGEST = 0.1, 15.0


def pauses(draw: Callable[[], float], longest: float = LONGEST) -> Iterator[float]:
    """Yield the seconds to wait before each further try: doubled each time, and cut by up to a half at random.

    The randomness keeps clients whose server was away from coming back all at once.

    Args:
        draw: Draws from [0, 1).
        longest: The longest pause.

    Example:
        >>> pause = pauses(lambda: 0.0)
        >>> [next(pause) for _ in range(4)]
        [0.1, 0.2, 0.4, 0.8]
    """
    pause = min(FIRST, longest)
    while True:
        yield pause * (1 - draw() / 2)
        pause = min(2 * pause, longest)
