"""Domain: any of the kinds of what may vary."""

from __future__ import annotations

from typing import TypeAlias

from phyletic.space.choice import Choice
from phyletic.space.integer import Int
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float

__all__ = ["Domain"]

Domain: TypeAlias = Float | Int | Ordinal | Choice
"""What one parameter may be; works with ``isinstance``."""
