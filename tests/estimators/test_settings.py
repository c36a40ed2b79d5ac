"""Settings: names and ranges are checked when a Config is made, with errors that say what was wrong and expected."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_type_hints

import pytest

from supertau.benchmarks.runs.plan import validated
from supertau.estimators import ESTIMATORS, Estimator
from supertau.estimators.settings import Count, CountOrZero, Positive, Range, Settings, Share, ShareBelowOne, check
from supertau.search_spaces.errors import SupertauError, UnknownName


@dataclass(frozen=True)
class Example(Settings):
    mode: Literal["fast", "exact"] = "fast"
    views: Literal[2, 4] = 4
    choice: Literal["fast", "exact"] | None = None
    columns: tuple[Literal["one", "two"], ...] = ()
    draws: Count = 1
    extra: CountOrZero = 0
    limit: Count | None = None
    rate: Positive = 0.5
    rates: tuple[Positive, ...] = (0.1, 1.0)
    share: Share = 1
    dropout: ShareBelowOne = 0.0
    crop: Annotated[float, Range(above=0, at_most=1)] = 1.0
    free: float = math.inf
    other: int | str = 0


class Method(Estimator):
    Config = Example

    def score(self, architectures):
        raise NotImplementedError


def test_values_in_range_pass():
    Example(mode="exact", views=2, choice="exact", columns=("two", "one"), draws=7, limit=1, rate=1e-9, share=0)
    Example(columns=["one"], rates=[2], share=0.5, crop=0.1, free=-math.inf, other="text")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "exakt"}, r"unknown mode 'exakt'\. Did you mean 'exact'\? Available: exact, fast\."),
        ({"mode": None}, "unknown mode 'None'"),
        ({"views": 3}, r"unknown views '3'\. Available: 2, 4\."),
        ({"choice": "fat"}, r"unknown choice 'fat'\. Did you mean 'fast'\?"),
        ({"columns": ("one", "too")}, r"unknown columns 'too'\. Did you mean 'two'\?"),
    ],
)
def test_a_name_that_is_not_allowed_is_unknown_with_the_nearest_one(values, message):
    with pytest.raises(UnknownName, match=message):
        Example(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"draws": 0}, r"draws must be at least 1, got 0\."),
        ({"extra": -1}, "extra must be at least 0, got -1"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"rate": 0.0}, "rate must be above 0, got 0.0"),
        ({"rate": math.nan}, "rate must be a finite number, got nan"),
        ({"rate": math.inf}, "rate must be a finite number, got inf"),
        ({"rate": "0.5"}, "rate must be a finite number, got '0.5'"),
        ({"rates": (0.1, 0)}, "rates must be above 0, got 0"),
        ({"rates": 0.1}, "rates must be a list of values, got 0.1"),
        ({"columns": "one"}, "columns must be a list of values, got 'one'"),
        ({"share": 1.5}, "share must be from 0 to 1, got 1.5"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"crop": 0}, "crop must be above 0 and at most 1, got 0"),
    ],
)
def test_a_number_out_of_range_says_what_was_expected(values, message):
    with pytest.raises(SupertauError, match=message):
        Example(**values)


def test_a_subclass_in_another_module_keeps_the_checks_and_adds_its_own():
    @dataclass(frozen=True)
    class Narrower(Example):
        draws: Annotated[int, Range(at_least=10)] = 10

        def __post_init__(self):
            super().__post_init__()
            if self.rate > self.share:
                raise SupertauError("rate must not be above share")

    with pytest.raises(UnknownName):
        Narrower(mode="exakt")
    with pytest.raises(SupertauError, match="draws must be at least 10, got 9"):
        Narrower(draws=9)
    with pytest.raises(SupertauError, match="rate must not be above share"):
        Narrower(rate=2.0)


def test_a_value_is_checked_against_an_annotation_without_a_config():
    check("sampling", "space", Literal["space", "live"])
    with pytest.raises(UnknownName, match=r"unknown sampling 'spaces'\. Did you mean 'space'"):
        check("sampling", "spaces", Literal["space", "live"])


def test_types_are_checked_and_lists_become_tuples_where_values_come_from_outside():
    assert validated(Method, {"rates": [1, 2], "draws": 3}) == Example(rates=(1.0, 2.0), draws=3)
    with pytest.raises(SupertauError, match=r"setting Method\.draws='many'"):
        validated(Method, {"draws": "many"})
    with pytest.raises(SupertauError, match="draws must be at least 1"):
        validated(Method, {"draws": 0})
    with pytest.raises(SupertauError, match=r"setting Method\.mode='exakt': Input should be 'fast' or 'exact'"):
        validated(Method, {"mode": "exakt"})


@dataclass(frozen=True)
class Plain:
    """As a plugin may write it."""

    draws: int = 1


class WithPlainConfig(Method):
    Config = Plain


def test_a_config_without_the_base_class_works():
    assert WithPlainConfig.configured("smoke", {"draws": 2}).config == Plain(2)
    assert validated(WithPlainConfig, {"draws": 2}) == Plain(2)


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if ESTIMATORS.origin(n) == "supertau"])
def test_configs_of_the_suite_are_checked(name):
    cls = ESTIMATORS.get(name)
    assert issubclass(cls.Config, Settings)
    hints = get_type_hints(cls.Config, include_extras=True)
    limited = [name for name, hint in hints.items() if "Literal" in str(hint) or "Range" in str(hint)]
    for field in limited:
        with pytest.raises(SupertauError, match=field):
            cls.Config(**{field: "no such value"})
