"""score: judge scores that were made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supertau.benchmarks.judging.external import keep_scores
from supertau.benchmarks.judging.forms import Given
from supertau.benchmarks.results import Run


def score(
    scores: Given,
    *,
    name: str | None = None,
    space: str = "nasbench201",
    truth: str | None = None,
    truth_path: Path | str | None = None,
    truth_split: str | None = None,
    truth_epochs: int | None = None,
    columns: Sequence[str] | None = None,
    lower_is_better: bool = False,
    seed: int = 0,
    source: str = "",
    trust_pickle: bool = False,
    results: Path | str = "results/local",
) -> Run:
    """Judge scores by ground truth, and write a record of them; nothing is trained.

    Args:
        scores: a CSV, JSON or Parquet file, a frame with architectures in a column 'architecture' or as the index, or
            a dictionary {architecture: score}. Architectures are in a form that the space reads.
        name: what the leaderboard calls the method [default: the name of the file]. Several seeds share a name.
        truth: data set of the ground truth [default: the space's first].
        truth_path: a file or folder to read it from [default: built in, or in the data folder].
        truth_split: the images that true accuracies were measured on, where the source has several, e.g. 'x-test'.
        truth_epochs: length of the true trainings, where the source has several.
        columns: which columns are scores; the first is the primary [default: 'score', else the only numeric one that
            is no index, seed or rank].
        lower_is_better: the scores are losses or places in a ranking; the record holds them negated.
        seed: which run of the method this is.
        source: where the scores come from, for the record.
        trust_pickle: read a ground-truth file that could run code when loaded.

    Returns:
        The run: `run.metrics` has tau, P@top5% and the others with 95 % intervals, noise ceiling and chance;
        `run.record.diagnostics["table"]["notes"]` says what was taken from the table.

    Raises:
        DataError: for a file that cannot be read, several columns that could be the score, architectures that are
            unknown or there twice, scores that are not finite, and architectures without ground truth; it names lines.

    Example:
        >>> import supertau
        >>> space = supertau.get_space("nasbench201")
        >>> first = list(space.enumerate())[:500]
        >>> mine = {space.format(cell): cell.count(3) for cell in first}
        >>> run = supertau.score(mine, name="number of 3x3 convolutions", results=folder)
        >>> run.metrics.query("view == 'all' and key == 'kendall_tau'")[["value", "ceiling"]].round(2).values.tolist()
        [[0.49, 0.93]]
    """
    return keep_scores(
        scores, results=Path(results), name=name, space=space, truth=truth, truth_path=truth_path,
        truth_split=truth_split, truth_epochs=truth_epochs, columns=columns,
        lower_is_better=lower_is_better, source=source, seed=seed, trust_pickle=trust_pickle,
    )  # fmt: skip
