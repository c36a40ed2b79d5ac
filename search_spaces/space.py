"""The search-space interface: what an estimator and the harness may ask of any space.

An estimator never asks *which* space it is on. What a method needs to know of a space is a method here, so that a new
space works with every estimator.
"""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from supertau.search_spaces.architecture import Architecture, Cost, FlowGraph, NetworkConfig
from supertau.search_spaces.errors import NAMED, InvalidArchitecture, InvalidArchitectures, SupertauError
from supertau.search_spaces.truth import GroundTruth, Surrogate
from supertau.search_spaces.values import as_text, is_number

if TYPE_CHECKING:  # these import torch, which only commands that train should do
    from torch import nn

    from supertau.search_spaces.supernet import MakeSharing, Supernet

LISTED = 100_000
"""A space of at most this many encodings can be listed."""


class SearchSpace(ABC):
    """A finite set of architectures, each a tuple of small integers, with their networks and ground truth."""

    name: str
    title: str = ""
    """How reports call the space; its name when empty."""
    choices: tuple[int, ...]
    """Number of options of each decision; architecture[i] lies in range(choices[i])."""
    benchmark: NetworkConfig = NetworkConfig()
    """Size of the stand-alone networks at which costs are given: that of the published benchmark."""

    @property
    def size(self) -> int:
        """Number of encodings, isomorphic ones counted apart."""
        return int(np.prod([int(c) for c in self.choices], dtype=object))

    # --- text and validity ------------------------------------------------------------------------------------------
    @abstractmethod
    def format(self, architecture: Architecture) -> str:
        """Return the benchmark's own text form."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Return the architecture of a text form; raise InvalidArchitecture saying what was expected.

        A space also reads the forms of other code bases, where it is plain what they mean.
        """

    def read(self, values: Sequence[object]) -> list[Architecture]:
        """Return the architectures of all values of a file or column, in their order.

        A value is a text form, or a number, list, dictionary or object that means one. One form is decided on for all:
        numbers among texts are refused, and so is what the space knows to be written in another numbering. Raises
        InvalidArchitectures with the reason for each offending row; the reasons of the first five name the nearest
        architecture.
        """
        texts: list[str] = []
        architectures: list[Architecture] = []
        wrong: dict[int, str] = {}
        for row, value in enumerate(values):
            text = ""
            try:
                text = as_text(value)
                architectures.append(self.parse(text))
            except InvalidArchitecture as error:
                wrong[row] = str(error)
            texts.append(text)
        numbers = [row for row, text in enumerate(texts) if is_number(text)]
        if 0 < len(numbers) < len(texts):
            are_few = 2 * len(numbers) <= len(texts)
            for row in numbers if are_few else sorted({*range(len(texts))} - {*numbers}):
                kinds = ("number", "texts") if are_few else ("text", "numbers")
                wrong.setdefault(row, f"{texts[row].strip()} is a {kinds[0]} among {kinds[1]}; use one form for all.")
        if not wrong:
            return architectures
        rows = sorted(wrong)
        for row in rows[:NAMED]:
            guess = self.nearest(texts[row])
            wrong[row] += f" Nearest: {guess}" if guess else ""
        suspicion = self.suspicion(texts, wrong)
        if suspicion:
            wrong[rows[0]] += f" {suspicion}"
        raise InvalidArchitectures({row: wrong[row] for row in rows}, len(texts))

    def suspicion(self, texts: Sequence[str], wrong: Mapping[int, str]) -> str:
        """Return a sentence on what a column that cannot be read seems to be as a whole, or nothing.

        texts: all its values; wrong: rows that cannot be read, with the reasons.
        """
        return ""

    def nearest(self, text: str) -> str | None:
        """Return the text form that a misspelt one most likely means, at once; None where there is no good guess."""
        return None

    def check(self, architecture: Architecture) -> None:
        """Raise InvalidArchitecture when an encoding has the wrong length or an option out of range."""
        if len(architecture) != len(self.choices):
            raise InvalidArchitecture(
                f"{self.name}: an architecture has {len(self.choices)} decisions, got {architecture}."
            )
        for position, (option, count) in enumerate(zip(architecture, self.choices, strict=True)):
            if not 0 <= option < count:
                raise InvalidArchitecture(
                    f"{self.name}: decision {position} of {architecture} is {option}, expected 0 to {count - 1}."
                )

    # --- membership -------------------------------------------------------------------------------------------------
    def enumerate(self) -> Iterator[Architecture]:
        """Yield every architecture, in the benchmark's official order; raise SupertauError where there are too many."""
        if not self.is_listable:
            raise SupertauError(
                f"{self.name} has {float(self.size):.2g} architectures, too many to list; name a file of "
                "architectures, or a sample of them: random:COUNT."
            )
        return itertools.product(*map(range, self.choices))

    @abstractmethod
    def canonical(self, architecture: Architecture) -> str:
        """Return a key that isomorphic architectures share."""

    @abstractmethod
    def is_connected(self, architecture: Architecture) -> bool:
        """Return whether any path leads from the input to the output."""

    @abstractmethod
    def has_live_convolution(self, architecture: Architecture) -> bool:
        """Return whether an operation with weights lies on a path from the input to the output."""

    @property
    def is_listable(self) -> bool:
        """Whether `enumerate` lists the space."""
        return self.size <= LISTED

    def unique(self, members: Iterable[Architecture] | None = None) -> list[Architecture]:
        """Return the first of each isomorphism class among some architectures, by default all in official order."""
        seen: dict[str, Architecture] = {}
        for architecture in self.enumerate() if members is None else members:
            seen.setdefault(self.canonical(architecture), architecture)
        return list(seen.values())

    # --- variation --------------------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return one architecture, uniform over the encodings."""
        return tuple(int(rng.integers(count)) for count in self.choices)

    def mutate(self, architecture: Architecture, rng: np.random.Generator, probability: float) -> Architecture:
        """Redraw each decision with a probability, uniformly over all its options, the present one included."""
        return tuple(
            int(rng.integers(count)) if rng.random() < probability else option
            for option, count in zip(architecture, self.choices, strict=True)
        )

    def crossover(self, one: Architecture, two: Architecture, rng: np.random.Generator) -> Architecture:
        """Take each decision from either parent with probability one half."""
        return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, two, strict=True))

    def order(self, architecture: Architecture) -> Architecture:
        """Return a key by which architectures with work in common are neighbours: by default the encoding itself.

        Neighbours in lexicographic order have their first decisions, hence their first operations, in common.
        """
        return architecture

    # --- what particular methods need ------------------------------------------------------------------------------
    def disjoint_pair(self, rng: np.random.Generator) -> tuple[Architecture, Architecture]:
        """Return two connected architectures that differ in every decision that has more than one option (Pi-NAS).

        Each decision draws two options without replacement; a pair with a disconnected member is drawn again.
        """
        while True:
            drawn = [rng.choice(count, size=min(2, count), replace=False) for count in self.choices]
            one, two = (tuple(int(options[i]) for options in drawn) for i in (0, -1))
            if self.is_connected(one) and self.is_connected(two):
                return one, two

    def disjoint_partner(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a connected architecture that differs from one as those of `disjoint_pair` do from each other."""
        while True:
            drawn = tuple(
                (option + int(rng.integers(1, count))) % count if count > 1 else option
                for option, count in zip(architecture, self.choices, strict=True)
            )
            if self.is_connected(drawn):
                return drawn

    @property
    def vocabulary(self) -> int:
        """Number of distinct tokens of `tokens`, which are range(vocabulary)."""
        return max(self.choices)

    tokens_per_step: int = 1
    """How many successive tokens an encoder reads as one (NAO), such as a pair of predecessor and operation."""

    def tokens(self, architecture: Architecture) -> tuple[int, ...]:
        """Return an architecture as a sequence of tokens, the same length for all (NAO)."""
        return architecture

    def from_tokens(self, tokens: Sequence[int]) -> Architecture:
        """Return the architecture of a complete sequence of allowed tokens."""
        return tuple(int(token) for token in tokens)

    def allowed_tokens(self, prefix: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens that may follow a prefix of a valid sequence."""
        return tuple(range(self.choices[len(prefix)]))

    def rewritten(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return another encoding of the same network where the space has a cheap one, else the same (NAO)."""
        return architecture

    def flow(self, architecture: Architecture) -> tuple[FlowGraph, ...]:
        """Return the data flow of each kind of cell (CLOSE); nothing for a space without cells, which is a `chain`."""
        return ()

    @property
    def operations(self) -> int:
        """Number of operations that an edge of `flow` may name."""
        return max(self.choices)

    is_sliced: bool = False
    """Whether operations of several sizes are slices of one kernel, so that a path of a fresh supernet is not
    distributed as a fresh stand-alone network."""

    chain: int = 0
    """Positions of a stage of equal blocks that may share parameters (CLOSE), in a space without cells."""

    # --- networks ---------------------------------------------------------------------------------------------------
    @abstractmethod
    def cost(self, architecture: Architecture, config: NetworkConfig) -> Cost:
        """Return parameters and multiply-accumulates of the stand-alone network."""

    @abstractmethod
    def supernet(self, config: NetworkConfig, *, affine: bool = False, sharing: MakeSharing | None = None) -> Supernet:
        """Return a supernet; affine says whether batch norms inside cells have weight and bias.

        sharing: makes the owner of one cell's parameters; None: every position owns its own.
        """

    @abstractmethod
    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the stand-alone network, called as ``network(images)``."""

    # --- ground truth -----------------------------------------------------------------------------------------------
    truths: tuple[str, ...] = ()
    """Data sets whose ground truth needs no download, the default first."""
    files: tuple[str, ...] = ()
    """Data sets whose ground truth is read from files that the user downloads."""
    aliases: Mapping[str, str] = {}
    """Further names of data sets, in small letters and digits only, each with the name used here."""

    def resolve_dataset(self, name: str) -> str:
        """Return the name used here, in records too, of a data set however it is written: 'CIFAR-10' is 'cifar10'.

        A name that is not known comes back as it is: a table of one's own may be of any data set.
        """
        known = {_letters(known): known for known in (*self.truths, *self.files)}
        return {**self.aliases, **known}.get(_letters(name), name)

    @abstractmethod
    def truth(
        self,
        dataset: str,
        path: Path | None = None,
        *,
        split: str | None = None,
        epochs: int | None = None,
        trust_pickle: bool = False,
    ) -> GroundTruth | Surrogate:
        """Return ground truth: of the file or folder at the path; without a path, built in or from the cache folder.

        dataset: a name that `resolve_dataset` knows or, for a table, any. split: the images that the accuracy is
        measured on; epochs: training length. None takes the source's only or usual ones. Raises UnknownName for a data
        set that needs a path; DataError that says what there is, where a source has no such split or epochs.
        """


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
