"""How many threads the linear algebra below numpy may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


@contextmanager
def limited_threads(n: int) -> Iterator[None]:
    """Use at most n threads for matrix products inside the block.

    Judging multiplies many small matrices. On a machine that is busy otherwise, threads that wait for one another make
    them several times slower; a single one loses little on an idle machine.
    """
    with threadpool_limits(limits=n, user_api="blas"):
        yield
