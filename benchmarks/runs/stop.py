"""The wish to stop that comes as SIGTERM."""

from __future__ import annotations


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: what Ctrl-C would do is done, and processes that were started are asked to stop as well.

    Ctrl-C reaches those by itself, from the terminal; SIGTERM reaches one process only.
    """
