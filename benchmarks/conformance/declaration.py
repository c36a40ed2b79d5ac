"""Checks of what a class says about itself; nothing is trained here."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from supertau.benchmarks.conformance.case import Case
from supertau.benchmarks.presets import PRESETS
from supertau.benchmarks.runs.plan import validated
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.spaces import SPACES

ROLES = ("estimator", "baseline", "zero_cost", "ceiling")
RESERVED = ("architecture", "passes", "seconds", "images")
"""Columns of the stored tables and shards that are not scores."""


def config_is_plain(case: Case) -> None:
    """`Config` is a frozen dataclass of defaults that survives JSON: it is stored in the record and hashed."""
    config: Any = getattr(case.cls, "Config", None)
    assert isinstance(config, type), f"{case.name} has no class attribute Config: add `Config = MyConfig`."
    assert is_dataclass(config), f"{case.name}.Config is {config!r}: make it a dataclass."
    frozen = config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert frozen, f"{config.__name__} can be changed: write @dataclass(frozen=True)."
    bare = [f.name for f in fields(config) if f.default is MISSING and f.default_factory is MISSING]
    assert not bare, f"{config.__name__}: {', '.join(bare)} without a default: every field needs one."
    settings = case.make().config
    assert settings == case.make().config, (
        f"{config.__name__}: equal settings compare as different: keep the dataclass's ==."
    )
    try:
        text = json.dumps(asdict(settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{config.__name__} is not JSON ({error}): use numbers, text, booleans, None, and tuples or dicts of them."
        ) from error
    try:
        again = validated(case.cls, json.loads(text))
    except SupertauError as error:
        raise AssertionError(f"{config.__name__} read back from a record: {error} Correct the field's type.") from error
    assert again == settings, (
        f"{config.__name__} became {again} after JSON, was {settings}: use tuples in place of lists."
    )


def presets_are_valid(case: Case) -> None:
    """`presets` and `space_settings` name presets, spaces and fields of Config: no value is silently left out."""
    entries = [("presets", key, values) for key, values in case.cls.presets.items()]
    entries += [("space_settings", key, values) for key, values in case.cls.space_settings.items()]
    for where, key, values in entries:
        preset, _, space = key.partition(":") if where == "presets" else ("", "", key)
        place = f"{case.name}.{where}"
        assert not preset or preset in PRESETS, f"{place}: {unknown('preset', preset, PRESETS)}"
        assert not space or space in SPACES, f"{place}: {unknown('search space', space, SPACES)}"
        names = [f.name for f in fields(case.cls.Config)]
        for name in values:
            assert name in names, f"{place}['{key}']: {unknown('setting', name, names)}"
        try:
            validated(case.cls, json.loads(json.dumps(values)))
        except (SupertauError, TypeError) as error:
            raise AssertionError(f"{place}['{key}']: {error} Correct the value.") from error


def columns_are_declared(case: Case) -> None:
    """`score_columns()` names each column once, without a fit: records and tables are laid out by it."""
    columns = case.make().score_columns()
    assert isinstance(columns, tuple), f"{case.name}.score_columns() is {columns!r}: return a tuple of names."
    assert columns, f"{case.name}.score_columns() is empty: name at least one column, the primary first."
    for column in columns:
        assert isinstance(column, str), f"{case.name}.score_columns(): {column!r} is not text."
        assert column.strip(), f"{case.name}.score_columns(): a column's name is empty."
        assert column not in RESERVED, f"{case.name}.score_columns(): '{column}' is a column of the suite: rename it."
    assert len(set(columns)) == len(columns), f"{case.name}.score_columns() {columns}: a name stands twice."
    again = case.make().score_columns()
    assert again == columns, f"{case.name}.score_columns() gave {columns}, then {again}: it may depend on Config only."


def role_is_known(case: Case) -> None:
    """`role` is one that reports know, and 'ceiling' stands for seeing ground truth: such a row is not a competitor."""
    role, sees = case.cls.role, case.cls.uses_truth
    assert role in ROLES, f"{case.name}.role: {unknown('role', role, ROLES)}"
    assert (role == "ceiling") == sees, (
        f"{case.name}: role '{role}' with uses_truth={sees}; role 'ceiling' and uses_truth=True go together only."
    )
