"""Numbers and texts as JSON and a database keep them."""

from __future__ import annotations

import math
import operator
from typing import Any


def whole_number(value: object) -> int | None:
    """Return a whole number of any type as an int; None for anything else (truth values, classes, arrays, 1.0).

    Example:
        >>> import numpy as np
        >>> whole_number(np.int64(3)), whole_number(3.0), whole_number(True)
        (3, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:
        return None


def is_unicode(text: str) -> bool:
    r"""Whether a text can be stored and sent: a text with half of a surrogate pair or a NUL cannot.

    Example:
        >>> is_unicode("größe"), is_unicode("\ud800"), is_unicode("\0")
        (True, False, False)
    """
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    r"""Return a text that can be stored and sent: write characters that are not Unicode (in file names) as digits.

    Example:
        >>> as_unicode("no file a\udcff")
        'no file a\\udcff'
    """
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def encode_number(number: float) -> float | str:
    """Encode a number for JSON, which would turn NaN and infinities into null.

    Example:
        >>> encode_number(float("-inf")), encode_number(0.5)
        ('-Infinity', 0.5)
    """
    if math.isfinite(number):
        return number
    if number != number:
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def encode_numbers(data: Any) -> Any:
    """Encode all numbers of plain data for JSON, by :func:`encode_number`.

    Example:
        >>> encode_numbers({"score": [float("nan"), 1.5]})
        {'score': ['NaN', 1.5]}
    """
    if isinstance(data, dict):
        return {name: encode_numbers(item) for name, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [encode_numbers(item) for item in data]
    return encode_number(data) if isinstance(data, float) else data


def decode_number(encoded: float | str) -> float:
    """Decode a number from :func:`encode_number`.

    Example:
        >>> decode_number("NaN")
        nan
    """
    return float(encoded)
