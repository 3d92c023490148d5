"""Column types: numbers that stay what they are, and records as JSON that other tools can read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from phyletic.records.encodings import decode_number, encode_number

_encode = msgspec.json.Encoder().encode
_decode_metrics = msgspec.json.Decoder(dict[str, float | int | str]).decode


class Number(sa.types.TypeDecorator[float]):
    """A float that may be NaN or infinite, and NULL as a value of its own.

    SQLite turns a NaN into NULL, so there it is stored as the text ``NaN``, which sorts above all numbers.
    """

    impl = sa.Double
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Encode a NaN; SQLAlchemy's own type would make a number of the text again."""
        return _nan_as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        """Decode a NaN."""
        return None if value is None else float(value)


class Json(sa.types.TypeDecorator[Any]):
    """A record as JSON text.

    Args:
        kind: The type that is encoded, and decoded to.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._decode_encoded_numbers = msgspec.json.Decoder(kind, strict=False).decode

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Encode a record; JSON has no NaN and no infinities, so these become text."""
        return _record_as_text

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Decode a record."""
        if value is None:
            return None
        try:
            return self._decode(value)
        except msgspec.ValidationError:
            return self._decode_encoded_numbers(value)


class Metrics(sa.types.TypeDecorator[dict[str, float]]):
    """Numbers by name, as a JSON object."""

    impl = sa.Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Encode each number."""
        return _numbers_as_text

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, float] | None:
        """Decode each number."""
        if value is None:
            return None
        return {name: decode_number(number) for name, number in _decode_metrics(value).items()}


def _record_as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = _encode(value)
    if b"null" in text:
        text = _encode(_with_encoded_numbers(msgspec.to_builtins(value)))
    return text.decode()


def _numbers_as_text(value: dict[str, float] | None) -> str | None:
    if value is None:
        return None
    return _encode({name: encode_number(number) for name, number in value.items()}).decode()


def _with_encoded_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return encode_number(value)
    if isinstance(value, dict):
        return {key: _with_encoded_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_encoded_numbers(item) for item in value]
    return value


def _nan_as_text(value: float | None) -> float | str | None:
    return "NaN" if value is not None and value != value else value
