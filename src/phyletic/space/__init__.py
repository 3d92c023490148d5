"""The search space: domains, and spaces made of them."""

from phyletic.space.choice import Choice
from phyletic.space.crossed import grid
from phyletic.space.definition import Domain, Parameter
from phyletic.space.integer import Int
from phyletic.space.ordinal import Ordinal
from phyletic.space.real import Float
from phyletic.space.space import Space

__all__ = ["Choice", "Domain", "Float", "Int", "Ordinal", "Parameter", "Space", "grid"]
