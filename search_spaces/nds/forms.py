"""The forms in which people have networks of NDS.

    d16-1-4_w64-128-16_b0.25-0.5-1_g2-1-2                         the text form here: depths, widths, ...
    {"block_type": "res_basic_block", "ds": [1, 16, ...], ...}    the official `net` dictionary, the stem first
    {"net": {...}, "min_test_top1": ..., ...}                     an entry of an official file

The functions here know no space: they return the values of each decision, one per stage, by letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from supertau.search_spaces.errors import shortened

STRIDES = (1, 2, 2)
"""Of the first block of each stage, CIFAR-10."""
STEM = 16
"""Width of the published networks' stem, hence the `NetworkConfig.channels` at which widths are those of the grids."""

TEXT_ORDER = "dwbg"
KEYS = {"d": "ds", "w": "ws", "b": "bot_muls", "g": "num_gs"}
"""Lists of decisions in a `net` dictionary, by the letter of the text form."""
LONGEST = 2000
"""Characters; a `net` dictionary has less than 500."""

_LONGEST_TEXT = 200
_PART = re.compile(r"([dwbg])([0-9]+(?:\.[0-9]+)?(?:-[0-9]+(?:\.[0-9]+)?)*)", re.ASCII)

Values = Mapping[str, Sequence[float]]


class Wrong(Exception):
    """What is wrong with a dictionary."""


def shown(value: object) -> str:
    """Return a value as messages show it."""
    return shortened(f"keys {', '.join(map(str, value))}" if isinstance(value, dict) else repr(value), 120)


def field(job: Any, key: str, *kinds: type) -> Any:
    """Return a value of a dictionary; raise Wrong unless it is there and of one of the types."""
    if not isinstance(job, dict) or key not in job:
        raise Wrong(f"no '{key}'; it holds {shown(job)}.")
    if not isinstance(job[key], kinds) or isinstance(job[key], bool):
        raise Wrong(f"'{key}' is {shown(job[key])}; expected {' or '.join(kind.__name__ for kind in kinds)}.")
    return job[key]


def numbers(job: Any, key: str) -> list[float]:
    """Return a list of numbers of a dictionary; raise Wrong."""
    values = field(job, key, list)
    if not all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
        raise Wrong(f"'{key}' is {shown(values)}; expected numbers.")
    return list(values)


def text_values(text: str, letters: Sequence[str]) -> Values | None:
    """Return the values of a text form that has just some letters, None for any other text."""
    if len(text) > _LONGEST_TEXT:
        return None
    parts = [_PART.fullmatch(part) for part in text.strip().split("_")]
    values = {p[1]: [float(v) for v in p[2].split("-")] for p in parts if p}
    if None in parts or [p[1] for p in parts if p] != [letter for letter in TEXT_ORDER if letter in letters]:
        return None
    return values if all(len(of_stages) == len(STRIDES) for of_stages in values.values()) else None


def net_values(net: Any, letters: Sequence[str], official: str, block_type: str) -> Values:
    """Return the values of a `net` dictionary without the stem's; official, block_type: of the space.

    Raises Wrong for a network of cells, of ImageNet, of another space, and where a list is missing or too short.
    """
    if field(net, "block_type", str) != block_type:
        raise Wrong(f"block_type is {net['block_type']!r}; those of {official} are {block_type!r}.")
    values = {letter: numbers(net, key) for letter, key in KEYS.items()}
    strides = numbers(net, "ss")
    if strides[:1] != [1]:
        raise Wrong(f"the stem's stride is {shown(strides[:1])[1:-1]}: a network for ImageNet; CIFAR-10's have 1.")
    for letter, key in KEYS.items():
        # the lists of decisions that a block does not have are empty
        length = len(STRIDES) + 1 if letter in letters else 0
        if len(values[letter]) != length:
            raise Wrong(f"{key} is {shown(net[key])}; expected {length} numbers, stem first.")
    if strides != [1, *STRIDES] or values["d"][0] != 1 or values["w"][0] != STEM:
        raise Wrong(
            f"ss, ds[0] and ws[0] are {strides}, {values['d'][0]:g} and {values['w'][0]:g}; expected "
            f"{[1, *STRIDES]}, 1 and {STEM}, the stem being first."
        )
    return {letter: values[letter][1:] for letter in letters}


def nearest_values(values: Values, grids: Mapping[str, Sequence[float]]) -> Values:
    """Return values with each that is not on its grid replaced by the closest that is."""
    return {
        letter: [min(grids[letter], key=lambda known, value=value: abs(known - value)) for value in of_stages]  # type: ignore[misc]
        for letter, of_stages in values.items()
    }
