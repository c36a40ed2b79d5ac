"""File names made from titles: plain letters, and no two the same."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence


def slug(text: str) -> str:
    """Return a file name of text: lower-case letters, digits and hyphens, with a hash where something was lost."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    kept = re.sub(r"[ ,_()=.-]", "", text.lower()).isascii() and re.fullmatch(r"[\w ,()=.@+-]*", text)
    return plain if kept and plain else f"{plain or 'x'}-{_hash(text)}"


def file_names(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return a file name for each (text, identity); equal ones get a hash of what they stand for."""
    names = [slug(text) for text, _ in texts]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name}-{_hash(identity)}"
        for name, (_, identity) in zip(names, texts, strict=True)
    ]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
