"""Wrong and odd command lines, drawn at random from what people and scripts type by mistake."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest.mock import patch

from supertau.benchmarks.cli.app import COMMANDS
from supertau.benchmarks.runs.plan import resolve
from supertau.benchmarks.runs.runner import run
from supertau.benchmarks.runs.settings import Settings

from .command_line import quote, supertau
from .intact import architectures
from .tally import Row

PART = "command lines"

TEXTS = (
    "", " ", "\t", "a\nb", "spoos", "SPOS", "spos ", "spos=0", "spos=-1", "spos=1e3", "spos=2=3", "=", "=3", ",",
    "spos,close", "no_such_module:Class", "os:path", "json:JSONDecoder", "json:", ":JSONDecoder", "a:b:c", ":", "os",
    "../spos", "./spos", "spos.py", "τ-net", "模型", "🙂", "e\u0301tude", "\u202egnp.exe", "\u2028", "caf\udce9",
    "\x1b[31mred", "[red]", "[/]", "{0}", "%s%n", "$HOME", "~nobody", "'; rm", '"', "\\", "a" * 300, "x" * 5000, "none",
    "None", "null", "NaN", "true", "-", "--", "-1", "0", "*", "?", "all", "all:0", "all:1", "all:-3", "all:x", "all:",
    "all:1e2", "random:1", "unique:999999999999", "connected:²", "cifar-10", "cifar11", "kendal_tau", "digits ",
    "smoke\r",
)  # fmt: skip
NUMBERS = (
    "", " ", "-1", "0", "1.5", "-0.5", "nan", "inf", "-inf", "1e400", "1e3", "9" * 20, "-" + "9" * 20, "one", "0x10",
    "1_000", "\uff11\uff12", "²", "+3", "1,5", "1 2", "true", "--", "9" * 5000, "1", "2", "3",
)  # fmt: skip
SETTINGS = (
    "", "=", "=1", "batch_size", "batch_size=", "batch_size=-1", "batch_size=0", "batch_size=1.5", "batch_size=x",
    "batch_size=[1]", "batch_size=null", "batch_size={}", "batch_size=NaN", "batchsize=1", "bn=", "bn=none", "bn=[]",
    "bn=batch,batch", 'bn=["batch"', "learning_rate=nan", "learning_rate=-1", "learning_rate=Infinity",
    "learning_rate=fast", "τ=1", "x" * 3000 + "=1", "seed=1=2", "__class__=1", "sampling=no",
    "checkpoint=nothing.pt", "caf\udce9=1",
)  # fmt: skip
SMALL_NUMBERS = ("", "-1", "0", "1", "2", "1.5", "nan", "one", "-" + "9" * 20, "\uff11x", "true")
"""For what a command would do as often as it is told."""


@dataclass(frozen=True)
class Spec:
    """What is drawn for one command.

    always: what each of its lines begins with. usual, odd: values of the argument; a command without one has no usual
    ones. options: values of each option. guard: what each line ends with, so that nothing large is ever carried out.
    """

    always: tuple[str, ...]
    usual: Sequence[str]
    odd: Sequence[str]
    options: dict[str, Sequence[str]]
    weight: int
    guard: tuple[str, ...] = ()


FILES = (
    "missing.csv", "folder", "empty.csv", "header.csv", "binary.csv", "latin1.csv", "utf16.csv", "wrong.csv",
    "twice.csv", "nan.csv", "infinite.csv", "text.csv", "columns.csv", "list.json", "deep.json", "number.json",
    "half.json", "broken.csv.gz", "model.pkl", "link.csv", "good.csv", "good.csv/", "", " ", "-", "x" * 5000,
    "caf\udce9.csv", "結果.csv",
)  # fmt: skip
FOLDERS = (
    "empty.csv", "empty.csv/below", "folder", "empty", "nowhere", "", " ", "x" * 300, "caf\udce9", "結果", "results",
    "-",
)  # fmt: skip
DATA_SETS, VIEWS = (*TEXTS, "cifar10", "cifar100"), (*TEXTS, "all", "unique", "trained")
FLAGS: dict[str, Sequence[str]] = {"--json": (), "--quiet": (), "--results": FOLDERS}
TRUTHS: dict[str, Sequence[str]] = {
    "--truth": DATA_SETS, "--truth-path": FILES, "--truth-split": (*TEXTS, "x-test"), "--truth-epochs": NUMBERS,
}  # fmt: skip
SIZES = ("image-size", "train", "validation", "channels", "cells", "passes", "curve-points", "curve-pool")
PLANNED: dict[str, Sequence[str]] = {
    **FLAGS, **TRUTHS, "--space": TEXTS, "--preset": TEXTS, "--pool": (*TEXTS, *FILES), "--images": TEXTS,
    "--set": SETTINGS, "--validation-split": (*TEXTS, "test"), "--seeds": SMALL_NUMBERS, "--first-seed": NUMBERS,
    "--device": TEXTS, "--devices": NUMBERS, "--workers": NUMBERS, "--threads": NUMBERS, "--scoring-memory": NUMBERS,
    "--executor": (*TEXTS, "ray", "local"), "--ray-address": TEXTS, "--gpus": NUMBERS,
    **{f"--{size}": NUMBERS for size in SIZES},
}  # fmt: skip
CARRIED_OUT: dict[str, Sequence[str]] = {
    **TRUTHS, "--pool": tuple(text for text in (*TEXTS, *FILES) if text != "all"), "--set": SETTINGS,
    "--device": ("", "cpu:7", "cuda", "mps", "meta"), "--results": FOLDERS,
}  # fmt: skip
SPECS: dict[str, Spec] = {
    "run": Spec(("run", "-e", "spos", "--preset", "smoke"), (), TEXTS, PLANNED, 10, ("--device", "tpu")),
    "run, carried out": Spec(
        ("run", "-e", "spos", "--preset", "smoke", "--threads", "1", "--curve-points", "0", "--pool", "all:20"),
        (), (), CARRIED_OUT, 2,
    ),
    "score": Spec(
        ("score",), ("good.csv", "columns.csv"), FILES,
        {**FLAGS, **TRUTHS, "--space": TEXTS, "--name": TEXTS, "--column": (*TEXTS, "one"), "--lower-is-better": (),
         "--seed": NUMBERS, "--source": TEXTS, "--trust-pickle": ()},
        8,
    ),
    "report": Spec(
        ("report", "--no-figures"), (), TEXTS,
        {**FLAGS, "--to": FOLDERS, "--truth": DATA_SETS, "--columns": (*TEXTS, "score,score"), "--view": VIEWS}, 4,
    ),
    "compare": Spec(
        ("compare", "params"), ("random", "params"), TEXTS,
        {**FLAGS, "--metric": TEXTS, "--view": VIEWS, "--truth": DATA_SETS, "--column-a": TEXTS, "--column-b": TEXTS},
        4,
    ),
    "search": Spec(
        ("search",), ("params", "random"), TEXTS,
        {**FLAGS, "--population": SMALL_NUMBERS, "--generations": SMALL_NUMBERS, "--mutation": NUMBERS,
         "--max-params": NUMBERS, "--max-macs": NUMBERS, "--seed": NUMBERS, "--device": TEXTS},
        4, ("--population", "4"),
    ),
    "list": Spec(("list",), ("spaces", "metrics"), TEXTS, {"--json": ()}, 2),
    "check": Spec(("check",), ("params",), TEXTS, {**FLAGS, "--space": TEXTS}, 2, ("no_such_estimator",)),
    "new-estimator": Spec(
        ("new-estimator",), ("my-method", "My_Method"), (*TEXTS, "spos", "class", "tests", "numpy"),
        {"--to": FOLDERS, "--json": (), "--quiet": ()}, 4,
    ),
    "data fetch": Spec(("data", "fetch"), ("no-such-data",), TEXTS, {"--force": (), "--quiet": ()}, 1),
    "data verify": Spec(("data", "verify"), ("cifar10", "cifar100"), TEXTS, {"--json": ()}, 1),
    "truth train": Spec(
        ("truth", "train"), (), TEXTS,
        {**FLAGS, "--recipe": TEXTS, "--pool": TEXTS, "--seeds": SMALL_NUMBERS, "--images": TEXTS, "--epochs": NUMBERS,
         "--out": FILES, "--name": TEXTS, "--workers": NUMBERS, "--cells": NUMBERS},
        2, ("--space", "nasbench201", "--pool", "no_such_pool"),
    ),
    "truth check": Spec(
        ("truth", "check", "--space", "nasbench201"), FILES, FILES, {**FLAGS, "--count": NUMBERS, "--space": TEXTS}, 2,
    ),
    "supertau": Spec(
        (), (*COMMANDS, "help", "runs"), TEXTS, {"--version": (), "--help": (), "--verbose": ()}, 1,
        ("--no-such-option",),
    ),
}  # fmt: skip


def campaign(count: int, seed: int, folder: Path) -> list[Row]:
    """Carry out so many command lines, each in a folder with results and odd files; return one row per command."""
    random = Random(seed)
    rows = {name: Row(PART, name) for name in SPECS}
    prepare(folder)
    slowest = (0.0, "")
    with patch.dict("os.environ", {"SUPERTAU_DATA": str(folder / "no-data"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}):
        for name in random.choices(list(SPECS), [spec.weight for spec in SPECS.values()], k=count):
            line = draw(SPECS[name], random)
            answer = supertau(*line, folder=folder)
            rows[name].count([f"{problem}: `supertau {quote(line)}`" for problem in answer.problems()])
            slowest = max(slowest, (answer.seconds, quote(line)))
    print(f"The slowest of {count} command lines took {slowest[0]:.1f} s: supertau {slowest[1]}")
    return [row for row in rows.values() if row.tried]


def draw(spec: Spec, random: Random) -> list[str]:
    """Return one line: what a command needs, its argument and up to three options, now and then one too few or many."""
    line = list(spec.always)
    if spec.usual and random.random() < 0.95:
        line.append(random.choice(spec.usual if random.random() < 0.5 else spec.odd))
    if spec.odd and random.random() < 0.05:
        line.append(random.choice(spec.odd))
    if random.random() < 0.03:
        line.append(random.choice(("--no-such-option", "-x", "--resluts=x")))
    for option in random.choices(list(spec.options), k=random.choices((0, 1, 2, 3), (1, 6, 3, 1))[0]):
        line.append(option)
        if spec.options[option] and random.random() < 0.97:
            line.append(random.choice(spec.options[option]))
    return [*line, *spec.guard]


def prepare(folder: Path) -> None:
    """Write results and odd files into a new folder."""
    folder.mkdir(parents=True)
    for name in ("params", "random"):
        run(resolve(name, preset="smoke"), Settings(folder / "results" / "local", threads=1))
    texts = architectures(30)
    rows = [f"{text},{place}" for place, text in enumerate(texts)]
    (folder / "folder").mkdir()
    (folder / "folder" / "inside").write_text("in the way")
    (folder / "empty").mkdir()
    (folder / "link.csv").symlink_to("missing.csv")

    def csv(*lines: str, head: str = "architecture,score") -> str:
        return "\n".join((head, *lines)) + "\n"

    contents: dict[str, str | bytes] = {
        "empty.csv": "",
        "header.csv": csv(),
        "binary.csv": bytes(range(256)) * 4,
        "latin1.csv": csv(*rows, head="architecture,größe").encode("latin-1"),
        "utf16.csv": csv(*rows).encode("utf-16"),
        "wrong.csv": csv(*rows, "|conv_9x9~0|,1"),
        "twice.csv": csv(*rows, rows[0]),
        "nan.csv": csv(*rows[1:], f"{texts[0]},nan"),
        "infinite.csv": csv(*rows[1:], f"{texts[0]},inf"),
        "text.csv": csv(*rows[1:], f"{texts[0]},good"),
        "columns.csv": csv(*(f"{row},{row[-1]}" for row in rows), head="architecture,one,two"),
        "list.json": json.dumps(texts),
        "deep.json": "[" * 2000 + "]" * 2000,
        "number.json": "1e999",
        "half.json": json.dumps(dict.fromkeys(texts, 1.0))[:500],
        "broken.csv.gz": gzip.compress(csv(*rows).encode())[:60],
        "model.pkl": pickle.dumps({"a": 1}),
        "good.csv": csv(*rows),
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
