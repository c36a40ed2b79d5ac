"""Every kind of file that a run leaves or reads: how one comes about, and what must hold when it is damaged.

What a run wrote is refused or has no influence; the remedy is the same command, or what the error says, and leads to
the bytes that were there. What the user made has no checksum: it is refused with its name, or counts as what it is now,
never as what it was; the remedy is to put it back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from supertau.benchmarks.record import Phase

from .files_of_runs import (
    checkpoint_for_another_pool,
    checkpoint_of_a_search,
    file_of_an_unfinished_run,
    result_of_a_search,
    state_of_a_search,
    table_of_a_run,
    training,
)
from .files_of_users import decoded_images, pool_file, record_of_scores, score_table, truth_table
from .intact import Site
from .reading import Case

Kind = Callable[[Site, Path], Case]
KINDS: dict[str, Kind] = {
    "record of a run": partial(table_of_a_run, "record.json"),
    "scores of a run": partial(table_of_a_run, "scores.parquet"),
    "truth of a run": partial(table_of_a_run, "truth.parquet"),
    "second truth of a run": partial(table_of_a_run, "truth-*.parquet"),
    "curve of a run": partial(table_of_a_run, "curve.parquet"),
    "checkpoint, for a search": checkpoint_of_a_search,
    "checkpoint, for another pool": checkpoint_for_another_pool,
    "checkpoint, training unfinished": partial(file_of_an_unfinished_run, "checkpoint.pt", Phase.TRAIN, 3),
    "checkpoint, scoring unfinished": partial(file_of_an_unfinished_run, "checkpoint.pt", Phase.SCORE, 256),
    "record of an unfinished run": partial(file_of_an_unfinished_run, "record.json", Phase.SCORE, 256),
    "shard of scores": partial(file_of_an_unfinished_run, "shards/*.npz", Phase.SCORE, 256),
    "point of the curve": partial(file_of_an_unfinished_run, "curve/*.npz", Phase.SCORE, 256),
    "result of a search": result_of_a_search,
    "state of a search": state_of_a_search,
    "stand-alone training": training,
    "decoded images": partial(decoded_images, ".npy"),
    "checksum of decoded images": partial(decoded_images, ".sha256"),
    "ground truth, CSV": partial(truth_table, ".csv"),
    "ground truth, Parquet": partial(truth_table, ".parquet"),
    "pool file": pool_file,
    "score table, CSV": partial(score_table, ".csv"),
    "score table, Parquet": partial(score_table, ".parquet"),
    "record of scores from elsewhere": partial(record_of_scores, "record.json"),
    "scores from elsewhere": partial(record_of_scores, "scores.parquet"),
    "truth of scores from elsewhere": partial(record_of_scores, "truth.parquet"),
}
