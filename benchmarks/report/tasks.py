"""Which runs may stand in one table: those that ranked the same pool of the same space against the same truth.

What a record was judged by is part of what it is. Two truths of one name, such as two splits, never share a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.record import PoolInfo, Record, Role, Status, TruthInfo
from supertau.benchmarks.report.judged import Judged
from supertau.benchmarks.results import Run
from supertau.search_spaces.spaces import SPACES


@dataclass(frozen=True)
class Images:
    """What the estimators of a table trained on."""

    name: str
    size: int
    train: int | None
    validation: int | None
    validation_split: str


@dataclass(frozen=True, eq=False)
class Task:
    """What was ranked against what.

    truth: None when no run of the table was judged, then only its name, `dataset`, is known. pool: None for a run that
    failed before it chose one; without a digest only its name is known. images, preset: None for scores made elsewhere,
    which do not depend on them.
    """

    space: str
    dataset: str
    truth: TruthInfo | None
    pool: PoolInfo | None
    images: Images | None
    preset: str | None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two tasks must share to be the same; the name of the pool counts only where its content is unknown."""
        truth = self.truth.identity if self.truth is not None else self.dataset
        pool = None if self.pool is None else self.pool.digest or self.pool.name
        return self.space, truth, pool, self.images, self.preset

    @property
    def is_open(self) -> bool:
        """Whether the task leaves open what was trained on."""
        return self.images is None or self.preset is None

    @property
    def title(self) -> str:
        """A heading: space, truth, images, preset."""
        name = (SPACES.get(self.space).title if self.space in SPACES else "") or self.space
        parts = [f"{name}, ranked against {self.dataset}"]
        if self.images is not None:
            parts.append(f"trained on {self.images.name}")
        if self.preset is not None:
            parts.append(f"preset {self.preset}")
        return ", ".join(parts)

    def details(self) -> list[tuple[str, object]]:
        """Return what may tell tasks of one title apart, the most telling first."""
        truth, pool, images = self.truth, self.pool, self.images
        return [
            ("split", truth and truth.split),
            ("epochs", truth and truth.epochs),
            ("truth by", truth and truth.source),
            ("truth file", truth and truth.sha256 and truth.sha256[:8]),
            ("pool", pool and pool.name),
            ("pool", pool and pool.digest),
            ("image size", images and images.size),
            ("training images", images and images.train),
            ("validation images", images and images.validation),
            ("validated on", images and images.validation_split),
        ]


@dataclass
class Members:
    """The runs of one table. judged: those with a result. others: those without, each with the reason.

    pools: names of the pool, which may have several; they do not tell tables apart.
    """

    task: Task
    judged: list[Judged] = field(default_factory=list)
    others: list[tuple[Run, str]] = field(default_factory=list)

    @property
    def pools(self) -> list[str]:
        """The names of the pool, the most common first."""
        names = [j.record.pool.name for j in self.judged if j.record.pool and not _is_part(j.record)]
        return [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]

    def accepts(self, task: Task) -> bool:
        """Return whether a run of a task fits: whatever its task says is the same here."""
        mine = self.task
        return (
            mine.space == task.space
            and (mine.dataset == task.dataset if task.truth is None else mine.identity[1] == task.identity[1])
            and self._has_pool(task.pool)
            and task.images in (None, mine.images)
            and task.preset in (None, mine.preset)
        )

    def _has_pool(self, pool: PoolInfo | None) -> bool:
        if pool is None or self.task.pool is None:
            return pool is None
        if pool.digest and self.task.pool.digest:
            return pool.digest == self.task.pool.digest
        return pool.name in {self.task.pool.name, *self.pools}


def collect(
    judged: Iterable[Judged], others: Iterable[tuple[Run, str]] = (), dataset: str | None = None
) -> list[Members]:
    """Return one entry per task, in a stable order.

    judged: each run once for each of its judgements. others: runs without a result, with the reason. dataset: the truth
    that is asked for, of runs without a result, too. A run that leaves parts of its task open joins every table it
    fits; a noise ceiling, every table whose pool holds all of its architectures; one that fits none has its own.
    """
    tables: list[Members] = []
    pairs = [(task_of(j), j) for j in judged]
    # Full tasks first, so that what leaves parts open finds the tables it fits.
    for task, one in sorted(pairs, key=lambda p: (_is_part(p[1].record), p[0].is_open)):
        fitting = [t for t in tables if (_holds(t, task, one) if _is_part(one.record) else t.accepts(task))]
        for table in fitting or [_new(tables, task)]:
            table.judged.append(one)
    for run, reason in others:
        task = _unjudged(run.record, dataset)
        for table in [t for t in tables if t.accepts(task)] or [_new(tables, task)]:
            table.others.append((run, reason))
    return sorted(tables, key=lambda t: [str(part) for part in t.task.identity])


def _new(tables: list[Members], task: Task) -> Members:
    tables.append(Members(task))
    return tables[-1]


def _is_part(record: Record) -> bool:
    """Return whether a run may be judged on a part of a table's pool: only some architectures have a noise ceiling."""
    return record.role is Role.CEILING


def _holds(table: Members, task: Task, one: Judged) -> bool:
    """Return whether a table fits a noise ceiling: all as in `accepts`, and its pool holds all architectures."""
    mine = table.task
    same = (mine.space, mine.identity[1], mine.images, mine.preset) == (
        task.space, task.identity[1], task.images, task.preset,
    )  # fmt: skip
    return same and set(one.run.scores["architecture"]) <= set(table.judged[0].run.scores["architecture"])


def task_of(one: Judged) -> Task:
    """Return the task of a run for one of its judgements."""
    record, truth = one.record, one.judgement.truth
    config = record.config
    return Task(record.space, truth.dataset, truth, record.pool, _images(config), config.preset if config else None)


def _images(config: RunConfig | None) -> Images | None:
    if config is None:
        return None
    return Images(config.images, config.image_size, config.train, config.validation, config.validation_split)


def _unjudged(record: Record, dataset: str | None) -> Task:
    """Return the task of a run without a result."""
    config, pool = record.config, record.pool
    if config is None:
        return Task(record.space, dataset or "unknown truth", None, pool, None, None)
    pool = pool or PoolInfo(config.pool, 0, "")
    return Task(record.space, dataset or config.truth, None, pool, _images(config), config.preset)


def titles(tasks: Sequence[Task]) -> list[str]:
    """Return a heading per task; where several would be the same, with what tells them apart."""
    headings = [task.title for task in tasks]
    for title in [t for t, count in Counter(headings).items() if count > 1]:
        same = [place for place, text in enumerate(headings) if text == title]
        details = [tasks[place].details() for place in same]
        texts = [title] * len(same)
        for column in zip(*details, strict=True):
            if len(set(texts)) == len(texts):
                break
            if len({str(value) for _, value in column}) > 1:
                pairs = zip(texts, column, strict=True)
                texts = [f"{text}, {name} {'unknown' if value is None else value}" for text, (name, value) in pairs]
        for place, text in zip(same, texts, strict=True):
            headings[place] = text
    return headings


def reason_of(record: Record) -> str:
    """Return why a run has no result."""
    failure = record.failure
    if record.status is not Status.FAILED:
        return f"no result: the run is '{record.status}' (interrupted, or still going)"
    if failure is None:
        return "error: no message in the record"
    message = f"{failure.type}: {failure.message}"
    where = [("step", failure.step), ("learning rate", failure.learning_rate)]
    known = [f"{name} {value}" for name, value in where if value is not None]
    return f"{message} ({', '.join(known)})" if known else message
