"""Architectures as values of people's files: numbers, nested lists, dictionaries and objects as the text they mean."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from typing import Any

from supertau.search_spaces.errors import InvalidArchitecture, shortened

_LARGEST = 1e15
_NUMBER = re.compile(r"\s*-?[0-9]+(?:\.0*)?\s*", re.ASCII)


def as_text(value: object) -> str:
    """Return the text of a value: of a whole number its digits, of a list, dictionary or object its ``repr``.

    Arrays become lists first. Raises InvalidArchitecture for what is no architecture in any space: an empty value, a
    truth value, a number with a fraction.
    """
    if isinstance(value, str):
        text = value
    elif value is None or (isinstance(value, float) and math.isnan(value)):
        text = ""
    else:
        try:
            value = _plain(value)
            text = repr(value)
        except (ValueError, RecursionError):  # numbers with thousands of digits; lists that hold themselves
            raise InvalidArchitecture(f"a value of type {type(value).__name__} is not an architecture.") from None
        if isinstance(value, bool):
            raise InvalidArchitecture(f"the truth value {value} is not an architecture.")
        if isinstance(value, int | float):
            if not (abs(value) < _LARGEST and value == int(value)):
                raise InvalidArchitecture(f"the number {shortened(text)} is not an architecture.")
            return str(int(value))
    if not text.strip():
        raise InvalidArchitecture("the value is empty.")
    return text


def is_number(text: str) -> bool:
    """Return whether a text is a whole number."""
    return _NUMBER.fullmatch(text) is not None


def _plain(value: Any) -> Any:
    """Return a value with Python's own numbers and lists in place of numpy's, at any depth."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {_plain(key): _plain(of_key) for key, of_key in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value


def literal(text: str) -> Any:
    """Return the value of a text in Python's notation or JSON's, of which nothing is run; the caller limits its length.

    Raises ValueError for any other text, and where a dictionary has a key twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about strange text
            tree = ast.parse(text.strip(), mode="eval").body
        dictionaries = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
        keys = [[key and ast.dump(key) for key in node.keys] for node in dictionaries]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("not a list or dictionary") from error
    for of_dictionary in keys:
        if len(set(of_dictionary)) < len(of_dictionary):
            raise ValueError("a key is there twice")
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return json.loads(text)  # has true, false and null, which are names in Python
