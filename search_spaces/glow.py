"""CLOSENet (CLOSE, arXiv:2207.07868's released network): operations whose parameters no edge owns.

    GLOW block   one full set of a cell's operations, without an edge index; a cell owns a list of them
    edge         has an operation type only, and borrows that operation's parameters from the block its gate picks
    level        how many blocks, from the first, are active; all are allocated from the start

A `Gate` decides which block serves which edge: a network that learns it, a random draw, or a table.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import torch
from torch import nn

from supertau.search_spaces.architecture import Architecture, NetworkConfig
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import SearchSpace
from supertau.search_spaces.supernet import Edge, MakeModule, Sharing, Slot, Supernet

WIT = Literal["add", "copy", "off"]
"""What a newly activated block takes from the one it comes from (weight inheritance), called its predecessor here.

add: every entry of its state becomes its own initial value plus the predecessor's present one, batch-norm statistics
and counters included. copy: the predecessor's values; integer counters stay. off: nothing.
"""


class Gate(nn.Module, ABC):
    """Picks a GLOW block for every edge of an architecture, by its number (see `Edge`)."""

    @abstractmethod
    def gates(self, architecture: Architecture, level: int) -> torch.Tensor:
        """Return what multiplies the output of each active block in a training step: (edges, level), rows one-hot."""

    @abstractmethod
    def blocks(self, architectures: Sequence[Architecture], level: int) -> list[tuple[int, ...]]:
        """Return the block of each edge of each architecture when scored, whichever others are among them."""

    def source(self, block: int) -> int:
        """Return the block that a new one inherits from: the one before."""
        return block - 1

    def inherit(self, block: int, source: int, wit: WIT) -> None:
        """Let the gate's parameters of a block inherit from those of another; by default it has none."""


def _name(option: int, form: int) -> str:
    return f"{option}_{form}" if form else str(option)


def inherit(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], wit: WIT) -> None:
    """Change the first tensor of each pair, in place, by what it inherits from the second."""
    with torch.no_grad():
        for own, previous in pairs:
            if wit == "add":
                own.add_(previous)
            elif wit == "copy" and own.is_floating_point():
                own.copy_(previous)


class SeededDropout(nn.Module):
    """Dropout that draws from a generator of its own, so that a run can be repeated and resumed.

    share: (k, n) when the values are the k-th of n equal parts of a batch; the draw is then the whole batch's.
    """

    def __init__(self, probability: float, generator: torch.Generator, share: tuple[int, int] = (0, 1)) -> None:
        super().__init__()
        self.probability, self.generator, self.share = probability, generator, share

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.probability:
            return values
        part, parts = self.share
        shape = (parts * len(values), *values.shape[1:])
        drawn = torch.rand(shape, generator=self.generator, device=values.device).chunk(parts)[part]
        return values * (drawn >= self.probability) / (1 - self.probability)


@dataclass
class Lent:
    """The blocks of one training step.

    picks: the picked one per edge; None: the first on all. gates: (edges, level), what learns from all active blocks;
    None: the picked ones run alone.
    """

    picks: Sequence[int] | None
    gates: torch.Tensor | None


@dataclass
class Assignment:
    """What all GLOW blocks of a supernet look up.

    level: number of active blocks. lent: set while a training step runs. scored: block per edge of architectures
    that are scored.
    """

    level: int
    lent: Lent | None = None
    scored: dict[Architecture, tuple[int, ...]] = field(default_factory=dict)


class _OneHotSum(torch.autograd.Function):
    """The sum of gate times output for gates that are one-hot: in value the picked output.

    The gradient of a gate is <gradient of the sum, its output>; that of an output that is not picked is zero, so such
    outputs may be computed without a graph.
    """

    @staticmethod
    def forward(ctx: Any, gates: torch.Tensor, picked: int, *outputs: torch.Tensor) -> torch.Tensor:
        ctx.picked = picked
        ctx.save_for_backward(*outputs)
        return outputs[picked].view_as(outputs[picked])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        outputs = ctx.saved_tensors
        of_gates = torch.stack([(gradient * output).sum() for output in outputs])
        return of_gates, None, *(gradient if block == ctx.picked else None for block in range(len(outputs)))


class GlowBlocks(Sharing):
    """The GLOW blocks of one cell.

    slots, make: as for every `Sharing`. blocks: how many to allocate. plain: see `CLOSENet`. Operations without
    parameters are the same in every block and are made once.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        make: MakeModule,
        *,
        blocks: int,
        assignment: Assignment,
        plain: bool,
    ) -> None:
        super().__init__()
        self.assignment, self.plain = assignment, plain
        self.forms = [slot.form for slot in slots]
        operations = sorted({(option, slot.form) for slot in slots for option in slot.options})
        first = {_name(*operation): make(*operation) for operation in operations}
        self.weightless = nn.ModuleDict({name: module for name, module in first.items() if not module.state_dict()})
        own = {name: module for name, module in first.items() if name not in self.weightless}
        weighted = [operation for operation in operations if _name(*operation) in own]
        others = ({_name(*operation): make(*operation) for operation in weighted} for _ in range(blocks - 1))
        self.blocks = nn.ModuleList(nn.ModuleDict(block) for block in (own, *others))

    def operation(self, architecture: Architecture, edge: Edge) -> nn.Module:
        name = _name(edge.option, self.forms[edge.slot])
        if name in self.weightless:
            return self.weightless[name]
        return self._module(self.assignment.scored[architecture][edge.number], name)

    def run(self, architecture: Architecture, edge: Edge, state: torch.Tensor, *sizes: Any) -> torch.Tensor:
        """Return the sum of gate times output over the active blocks, in value the picked block's output."""
        name, lent = _name(edge.option, self.forms[edge.slot]), self.assignment.lent
        if lent is None or name in self.weightless:  # the gates sum to one
            return super().run(architecture, edge, state, *sizes)
        picked = 0 if lent.picks is None else lent.picks[edge.number]
        if lent.gates is None:
            own: torch.Tensor = self._module(picked, name)(state, *sizes)
            return own
        modules = [self._module(block, name) for block in range(self.assignment.level)]
        gates = lent.gates[edge.number]
        if self.plain:
            outputs = [module(state, *sizes) for module in modules]
            return reduce(operator.add, (gate * output for gate, output in zip(gates, outputs, strict=True)))
        outputs = []
        for block, module in enumerate(modules):
            with torch.set_grad_enabled(torch.is_grad_enabled() and block == picked):
                outputs.append(module(state, *sizes))
        mixed: torch.Tensor = _OneHotSum.apply(gates, picked, *outputs)
        return mixed

    def inherit(self, block: int, source: int, wit: WIT) -> None:
        """Let every operation of a block inherit from that of another."""
        own, previous = (self.blocks[k].state_dict() for k in (block, source))
        inherit(zip(own.values(), previous.values(), strict=True), wit)

    def _module(self, block: int, name: str) -> nn.Module:
        operations = self.blocks[block]
        assert isinstance(operations, nn.ModuleDict)
        return operations[name]


class CLOSENet(Supernet):
    """A space's supernet whose cells own GLOW blocks, and the gate that assigns them.

    blocks: allocated per cell; level: active at first. dropout: of what enters the classifier. plain: train as the
    method is written, every active block with a gradient (zero for those not picked, so that weight decay and momentum
    move them) and the gate even when there is one block; otherwise blocks that are not picked only run forward, which
    gives the gate the same gradient for less, and the gate is not run while there is one block.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: NetworkConfig,
        gate: Gate,
        *,
        blocks: int,
        level: int = 1,
        affine: bool = False,
        dropout: nn.Module | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= level <= blocks:
            raise SupertauError(f"the level of a CLOSENet is its number of active blocks, 1 to {blocks}, got {level}.")
        self.config, self.gate, self.plain, self.assignment = config, gate, plain, Assignment(level)
        self.picks: tuple[int, ...] | None = None
        """Block of each edge in the last training step; None when the gate was not used."""

        def share(slots: Sequence[Slot], make: MakeModule) -> GlowBlocks:
            return GlowBlocks(slots, make, blocks=blocks, assignment=self.assignment, plain=plain)

        self.net = space.supernet(config, affine=affine, sharing=share)
        self.dropout = dropout or nn.Identity()
        self.register_load_state_dict_post_hook(_forget)

    @property
    def classifier(self) -> nn.Linear:  # type: ignore[override]
        """The classifier of the network inside."""
        return self.net.classifier

    @property
    def level(self) -> int:
        """Number of active blocks."""
        return self.assignment.level

    def set_level(self, level: int) -> None:
        """Make so many blocks active, without inheritance: for loading a checkpoint."""
        self.assignment.level = level
        self.forget()

    def activate(self, wit: WIT) -> None:
        """Make the next block active; it and its part of the gate inherit from the one it comes from."""
        source = self.gate.source(self.level)
        for module in self.net.modules():
            if isinstance(module, GlowBlocks):
                module.inherit(self.level, source, wit)
        self.gate.inherit(self.level, source, wit)
        self.set_level(self.level + 1)

    def forget(self) -> None:
        """Drop what the gate said about architectures to score: call it when the gate's weights have changed."""
        self.assignment.scored.clear()

    def features(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Return the features: in training mode of one training step, otherwise of the architecture as scored."""
        if not self.training:
            self._assign([architecture])
            return self.net.features(images, architecture)
        self.forget()  # a training step changes the gate
        gates = self.gate.gates(architecture, self.level) if self.level > 1 or self.plain else None
        self.picks = None if gates is None else tuple(gates.argmax(1).tolist())
        with self._lent(gates):
            features = self.net.features(images, architecture)
        if self.plain and gates is not None:
            # The method multiplies the output of every edge, weightless or dead, so that the gate has a gradient in
            # every step. What that adds is zero: equal outputs give a softmax none.
            features = features + 0 * gates.sum()
        dropped: torch.Tensor = self.dropout(features)
        return dropped

    def forward_many(self, images: torch.Tensor, architectures: Sequence[Architecture]) -> torch.Tensor:
        """Return the logits of architectures as they are scored."""
        self._assign(architectures)
        return self.net.forward_many(images, architectures)

    def path_modules(self, architecture: Architecture) -> Iterator[nn.Module]:
        self._assign([architecture])
        yield from self.net.path_modules(architecture)

    def _assign(self, architectures: Sequence[Architecture]) -> None:
        scored = self.assignment.scored
        new = [architecture for architecture in dict.fromkeys(architectures) if architecture not in scored]
        if new:
            scored.update(zip(new, self.gate.blocks(new, self.level), strict=True))

    @contextmanager
    def _lent(self, gates: torch.Tensor | None) -> Iterator[None]:
        constant = gates is not None and not (gates.requires_grad or self.plain)  # drawn, not learned
        self.assignment.lent = Lent(self.picks, None if constant else gates)
        try:
            yield
        finally:
            self.assignment.lent = None


def _forget(net: nn.Module, _keys: Any) -> None:
    assert isinstance(net, CLOSENet)
    net.forget()
