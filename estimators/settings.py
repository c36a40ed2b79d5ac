"""Settings of an estimator: a frozen dataclass whose annotations say which values are allowed, checked once here.

@dataclass(frozen=True)
class MyConfig(Settings):
    mode: Literal["fast", "exact"] = "fast"     # a wrong name raises UnknownName with the nearest match
    draws: Count = 100                          # an integer of at least 1
    noise: Annotated[float, Range(at_least=0)] = 0.1
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from supertau.search_spaces.errors import SupertauError, unknown


@dataclass(frozen=True)
class Range:
    """The numbers a field allows: finite, and within those bounds that are given."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least} to {self.at_most}"
        bounds = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{words} {bound}" for words, bound in bounds.items() if bound is not None)

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def check(self, name: str, value: Any) -> None:
        """Raise SupertauError unless the value is a number in the range."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise SupertauError(f"{name} must be a finite number, got {value!r}.")
        if value not in self:
            raise SupertauError(f"{name} must be {self}, got {value!r}.")


Count = Annotated[int, Range(at_least=1)]
CountOrZero = Annotated[int, Range(at_least=0)]
Positive = Annotated[float, Range(above=0)]
ZeroOrMore = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
ShareBelowOne = Annotated[float, Range(at_least=0, below=1)]


@dataclass(frozen=True)
class Settings:
    """Base of an estimator's Config. Every field is checked against its annotation when an instance is made.

    Checked are names (`Literal`) and ranges (`Annotated` with `Range`), also of the members of a tuple and of what may
    be None. The types themselves are checked where settings come from outside: from the command line or a record.
    A subclass that relates several fields to each other extends `__post_init__`, calling super().__post_init__ first.
    """

    def __post_init__(self) -> None:
        annotations = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            check(field.name, getattr(self, field.name), annotations[field.name])


def check(name: str, value: Any, annotation: Any) -> None:
    """Raise SupertauError when an annotation does not allow a value: UnknownName where it lists the names there are."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        check(name, value, parts[0])
        for extra in parts[1:]:
            if isinstance(extra, Range):
                extra.check(name, value)
    elif origin is Literal:
        if value not in parts:
            raise unknown(name, str(value), map(str, parts))
    elif origin in (Union, UnionType):
        others = [part for part in parts if part is not NoneType]
        if len(others) == 1 and value is not None:
            check(name, value, others[0])
    elif origin is tuple and parts[-1] is Ellipsis:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise SupertauError(f"{name} must be a list of values, got {value!r}.")
        for member in value:
            check(name, member, parts[0])
