"""Figures are drawn without a backend of matplotlib, so what the environment says of one must not matter."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "MPLBACKEND"


@contextmanager
def no_backend() -> Iterator[None]:
    """Let matplotlib be imported inside the block as if the environment named no backend.

    Notebooks export the name of one that only they have, and processes that they start inherit it; matplotlib then
    refuses to be imported. Where it is imported already, nothing changes.
    """
    named = os.environ.pop(VARIABLE, None)
    # It logs that a home folder is read-only, and where it keeps its cache instead: nothing that a user must act on.
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if named is not None:
            os.environ[VARIABLE] = named
