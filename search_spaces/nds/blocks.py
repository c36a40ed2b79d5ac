"""Stages of equal blocks, what all spaces of NDS have in common: encoding and text form, sizes of stages, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, NoReturn

from supertau.search_spaces.architecture import Architecture, Cost, NetworkConfig
from supertau.search_spaces.errors import InvalidArchitecture, shortened
from supertau.search_spaces.nds import forms
from supertau.search_spaces.nds.forms import STEM, STRIDES, TEXT_ORDER, Values
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.values import literal

KINDS = {"w": "width", "b": "bottleneck multiplier", "g": "groups", "d": "depth"}
"""Decisions of a stage in the order of the encoding, by their letter in the text form."""

Block = Literal["basic", "bottleneck", "plain"]
Grid = tuple[float, ...]


class Stage(NamedTuple):
    """One stage of a network: blocks, channels that enter and leave each, channels inside, groups of its 3x3."""

    depth: int
    width: int
    inner: int
    groups: int


class BlockSpace(SearchSpace):
    """A space of such networks: what follows from its block and its grids.

    Networks and ground truth need this file, so the methods that return them are in `supertau.search_spaces.nds.space`.
    """

    block: Block
    """basic: 3x3, 3x3; bottleneck: 1x1, 3x3 in groups, 1x1; both with a shortcut. plain: 3x3, 3x3 without one."""
    grids: dict[str, Grid]
    """Options of each decision of a stage, by letter, in the order of the encoding."""
    official: str
    """Name of the official file, and what it calls the block."""
    official_block: str
    benchmark = NetworkConfig(channels=STEM, cells=1, image_size=32)
    files = ("cifar10",)
    is_sliced = True

    # --- text and validity ------------------------------------------------------------------------------------------
    def values(self, architecture: Architecture) -> dict[str, Grid]:
        """Return the values of each decision, one per stage, by letter."""
        self.check(architecture)
        each = len(self.grids)
        return {
            letter: tuple(grid[option] for option in architecture[at::each])
            for at, (letter, grid) in enumerate(self.grids.items())
        }

    def encode(self, values: Mapping[str, Sequence[float]]) -> Architecture:
        """Return the architecture of values per stage; raise InvalidArchitecture where one is not on its grid."""
        options: list[int] = []
        for stage in range(len(STRIDES)):
            for letter, grid in self.grids.items():
                value = values[letter][stage]
                if value not in grid:
                    raise InvalidArchitecture(
                        f"{self.name}: {KINDS[letter]} {value:g} of stage {stage + 1} is not on the grid "
                        f"{', '.join(f'{known:g}' for known in grid)}."
                    )
                options.append(grid.index(value))
        return tuple(options)

    def format(self, architecture: Architecture) -> str:
        """Return depths, widths and, in ResNeXt, multipliers and groups: ``d16-1-4_w64-128-16_b0.25-0.5-1_g2-1-2``."""
        values = self.values(architecture)
        return "_".join(
            letter + "-".join(f"{value:g}" for value in values[letter]) for letter in TEXT_ORDER if letter in values
        )

    def parse(self, text: str) -> Architecture:
        """Return the architecture of a text form or official `net` dictionary.

        Raises InvalidArchitecture with what is wrong, stage, value and grid.
        """
        is_net = text.lstrip()[:1] == "{" and len(text) <= forms.LONGEST
        values = self._net(text) if is_net else forms.text_values(text, tuple(self.grids))
        if values is None:
            self._unreadable(text)
        try:
            return self.encode(values)
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"{error} It stands in '{text}'.") from None

    def _net(self, text: str) -> Values:
        try:
            net = literal(text)
            if isinstance(net, dict) and isinstance(net.get("net"), dict):
                net = net["net"]
            if isinstance(net, dict) and "genotype" in net:
                self._unreadable(text, "a network of cells; the spaces of cells in NDS are not supported")
            return forms.net_values(net, tuple(self.grids), self.official, self.official_block)
        except (forms.Wrong, ValueError) as error:
            self._unreadable(text, str(error).rstrip("."))

    def _unreadable(self, text: str, why: str = "") -> NoReturn:
        example = self.format((0,) * len(self.choices))
        raise InvalidArchitecture(
            f"{self.name}: cannot read '{shortened(text)}'{why and ': '}{why}; expected a form like {example}"
        )

    def nearest(self, text: str) -> str | None:
        """Return a text form with each value that is not on its grid replaced by the closest one."""
        values = forms.text_values(text, tuple(self.grids))
        return self.format(self.encode(forms.nearest_values(values, self.grids))) if values else None

    # --- membership -------------------------------------------------------------------------------------------------
    def canonical(self, architecture: Architecture) -> str:
        """Return the text form: every decision has an effect, so no two architectures are the same network."""
        return self.format(architecture)

    def is_connected(self, architecture: Architecture) -> bool:
        """Return True: the blocks are a chain."""
        return True

    def has_live_convolution(self, architecture: Architecture) -> bool:
        """Return True."""
        return True

    # --- tokens -----------------------------------------------------------------------------------------------------
    @property
    def vocabulary(self) -> int:
        """Number of options over the kinds of decisions; each kind has a range of its own, in the encoding's order."""
        return sum(map(len, self.grids.values()))

    def _ranges(self) -> list[range]:
        """Return the tokens of each kind of decision."""
        ranges, start = [], 0
        for grid in self.grids.values():
            ranges.append(range(start, start + len(grid)))
            start += len(grid)
        return ranges

    def tokens(self, architecture: Architecture) -> tuple[int, ...]:
        """Return one token per decision."""
        return tuple(r[option] for r, option in zip(self._ranges() * len(STRIDES), architecture, strict=True))

    def from_tokens(self, tokens: Sequence[int]) -> Architecture:
        """Return the architecture of a complete sequence of allowed tokens."""
        return tuple(r.index(int(token)) for r, token in zip(self._ranges() * len(STRIDES), tokens, strict=True))

    def allowed_tokens(self, prefix: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of the next decision's kind."""
        return tuple(self._ranges()[len(prefix) % len(self.grids)])

    # --- networks ---------------------------------------------------------------------------------------------------
    def stages(self, architecture: Architecture, config: NetworkConfig) -> tuple[Stage, ...]:
        """Return the stages of a network of a size: widths grow with `channels`, the width of the stem.

        A width is w * channels / 16, rounded, at least 1; channels inside a bottleneck are that times the multiplier,
        rounded to a multiple of the groups. At 16 channels both are exact; far below, neighbours on a grid may become
        the same network. `cells` means nothing here: depth is a decision.
        """
        values = self.values(architecture)
        ones = (1,) * len(STRIDES)
        return tuple(
            _scaled(*of_stage, config.channels)
            for of_stage in zip(values["d"], values["w"], values.get("b", ones), values.get("g", ones), strict=True)
        )

    def largest(self, config: NetworkConfig) -> Stage:
        """Return the most blocks and channels that a stage can have; groups are 1."""
        depth, width = max(self.grids["d"]), max(self.grids["w"])
        multipliers, groups = self.grids.get("b", (1,)), self.grids.get("g", (1,))
        # rounding to a multiple of the groups may go up
        inner = max(_scaled(depth, width, b, g, config.channels).inner for b in multipliers for g in groups)
        return _scaled(depth, width, 1, 1, config.channels)._replace(inner=inner)

    def cost(self, architecture: Architecture, config: NetworkConfig) -> Cost:
        """Return parameters and multiply-accumulates of convolutions and classifier.

        At the benchmark's size the parameters are the data set's `params`. Its `flops` count, beside what is counted
        here, 5 for every number that leaves a batch norm and 1 for every bias of the classifier.
        """
        width, side = config.channels, config.image_size
        parameters = config.image_channels * 9 * width + 2 * width
        macs = config.image_channels * 9 * width * side * side
        for stage, stride in zip(self.stages(architecture, config), STRIDES, strict=True):
            narrow, width, entering, side = width, stage.width, side, -(-side // stride)
            first = self._block_cost(narrow, stage, stride, entering**2, side**2)
            other = self._block_cost(width, stage, 1, side**2, side**2)
            parameters += first.parameters + (stage.depth - 1) * other.parameters
            macs += first.macs + (stage.depth - 1) * other.macs
        return Cost(parameters + width * config.classes + config.classes, macs + width * config.classes)

    def _block_cost(self, narrow: int, stage: Stage, stride: int, entering: int, leaving: int) -> Cost:
        """Return the cost of a block that `narrow` channels enter; entering, leaving: pixels before and after."""
        width, inner = stage.width, stage.inner
        if self.block == "bottleneck":  # the stride is in the 3x3
            before = narrow * inner
            after = 9 * inner * inner // stage.groups + inner * width
            norms = 2 * inner + width
        else:
            before = 0
            after = 9 * narrow * width + 9 * width * width
            norms = 2 * width
        if self.block != "plain" and (narrow != width or stride != 1):
            after += narrow * width
            norms += width
        return Cost(before + after + 2 * norms, before * entering + after * leaving)


def _scaled(depth: float, width: float, multiplier: float, groups: float, channels: int) -> Stage:
    scaled, parts = max(1, round(width * channels / STEM)), int(groups)
    return Stage(int(depth), scaled, parts * max(1, round(scaled * multiplier / parts)), parts)
