"""What the user made, and what is made of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from supertau.benchmarks.images import parquet
from supertau.benchmarks.images.cifar import Cifar10
from supertau.benchmarks.results import Run, read_run
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.verbs.score import score
from supertau.search_spaces.spaces import get_space

from .intact import POOL, Site, architectures, settings
from .reading import Case, attempt, differing, report_of


@contextmanager
def caches_in(folder: Path) -> Iterator[None]:
    """Keep decoded images out of the user's cache folder."""
    before, parquet.user_cache_folder = parquet.user_cache_folder, lambda: folder
    try:
        yield
    finally:
        parquet.user_cache_folder = before


def images(folder: Path, seed: int) -> torch.Tensor:
    """Write images as Parquet, and read them once, which caches them decoded."""
    rows = []
    for pixels in np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue()})
    path = folder / "cifar10" / "train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"img": rows, "label": range(8)}).to_parquet(path)
    with caches_in(folder):
        return Cifar10().load("train", folder)[0]


def decoded_images(suffix: str, site: Site, folder: Path) -> Case:
    """The cache of decoded images, or its checksum."""
    true = images(folder / "data", 0)
    images(folder / "other", 1)
    (path,), (other,) = ((folder / name / "decoded").glob(f"*{suffix}") for name in ("data", "other"))

    def problems() -> list[str]:
        def load() -> torch.Tensor:
            with caches_in(folder / "data"):
                return Cifar10().load("train", folder / "data")[0]

        got, error, found = attempt(load)
        if error:
            found.append(f"refused: {error}")
        if got is not None and not torch.equal(got, true):
            found.append("other pixels")
        return found

    return Case(folder, path, other, problems)


def truth_table(suffix: str, site: Site, folder: Path) -> Case:
    """A ground truth that is given by --truth-path."""
    folder.mkdir(parents=True)
    texts = list(next(one for one in site.numbers.values() if one.record.estimator == "params").scores["architecture"])
    for seed, name in ((1, "other"), (0, "mine")):
        accuracy = np.random.default_rng(seed).uniform(10, 90, len(texts)).round(2)
        _write(pd.DataFrame({"architecture": texts, "accuracy": accuracy}), folder / f"{name}{suffix}")
    path = folder / f"mine{suffix}"
    an_hour_ago = time.time() - 3600
    os.utime(folder / f"other{suffix}", (an_hour_ago, an_hour_ago))  # mv keeps the time of what it moves
    config = resolve("params", preset="smoke", pool=POOL, truth="cifar10", truth_path=str(path))
    first = run(config, settings(folder / "results")).judgement()
    content = path.read_bytes()

    def trials() -> np.ndarray:
        return get_space("nasbench201").truth("cifar10", path).mean

    true = trials()

    def problems() -> list[str]:
        now, _, found = attempt(trials)
        made, error, strange = attempt(lambda: run(config, settings(folder / "results")))
        found += strange
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.judgement().truth.key == first.truth.key:
            if now is None:
                found.append("the file cannot be read, and the judgement by what it was is given without a word")
            elif now.shape != true.shape or not np.array_equal(now, true):
                found.append("judged by what the file was, not by what it is")
        path.write_bytes(content)  # the user puts it back
        again, error, strange = attempt(lambda: run(config, settings(folder / "results")))
        found += strange + ([f"putting it back does not help: {error}"] if error else [])
        if again is not None and again.judgement() != first:
            found.append("after it was put back the judgement is another one")
        return found

    return Case(folder, path, folder / f"other{suffix}", problems)


def _write(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)


def pool_file(site: Site, folder: Path) -> Case:
    """A file of architectures to rank."""
    folder.mkdir(parents=True)
    path, other = folder / "mine.txt", folder / "other.txt"
    path.write_text("\n".join(architectures()) + "\n")
    other.write_text("\n".join(architectures(40, 1)) + "\n")
    content = path.read_bytes()

    def go() -> Run:
        return run(resolve("params", preset="smoke", pool=str(path)), settings(folder / "results"))

    first = go()

    def problems() -> list[str]:
        made, error, found = attempt(go)
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.folder == first.folder and path.read_bytes() != content:
            found.append("taken for the pool that it was")
        path.write_bytes(content)  # the user puts it back
        again = go()
        if again.record != first.record:
            found.append("after it was put back the record is another one")
        return found

    return Case(folder, path, other, problems)


def score_table(suffix: str, site: Site, folder: Path) -> Case:
    """A table of scores made elsewhere."""
    shutil.copytree(site.scored(0), folder)
    path, other = folder / f"mine{suffix}", site.scored(1) / f"mine{suffix}"
    content = path.read_bytes()
    first = score(path, name="mine", results=folder / "results")

    def problems() -> list[str]:
        made, error, found = attempt(lambda: score(path, name="mine", results=folder / "results"))
        if error and path.name not in error:
            found.append(f"the error does not name the file: {error}")
        if made is not None and made.folder == first.folder and not made.scores.equals(first.scores):
            found.append("taken for the scores that they were")
        path.write_bytes(content)  # the user puts it back
        again = score(path, name="mine", results=folder / "results")
        if again.folder != first.folder or not again.scores.equals(first.scores):
            found.append("after it was put back the record is another one")
        return found + report_of(folder)[0]

    return Case(folder, path, other, problems)


def record_of_scores(pattern: str, site: Site, folder: Path) -> Case:
    """What `supertau score` wrote."""
    shutil.copytree(site.scored(0), folder)
    elsewhere = site.whole.folder if "truth" in pattern else next(site.scored(1).glob("results/runs/mine-*"))
    (path,), (other,) = folder.glob(f"results/runs/mine-*/{pattern}"), elsewhere.glob(pattern)
    (intact,) = (site.scored(0) / "results").glob("runs/mine-*")

    def problems() -> list[str]:
        found = site.misread(folder, "mine")
        made, error, strange = attempt(lambda: score(folder / "mine.csv", name="mine", results=folder / "results"))
        if made is None:
            return [*found, *strange, error and f"the same command does not help: {error}"]
        made.check()
        found += differing(made.folder, intact, ("scores.parquet", "truth.parquet"))
        true = read_run(intact)
        assert true is not None
        if made.record.judgements != true.record.judgements:
            found.append("the metrics differ in the end")
        return found + report_of(folder)[0]

    return Case(folder, path, other, problems)
