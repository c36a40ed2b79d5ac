"""Gates of CLOSE (arXiv:2207.07868): which GLOW block serves which edge. GATE learns it from an architecture's graph.

    encoder   node states flow along the edges, each message gated by the edge's operation (as in GATES,
              arXiv:2004.01899); the embedding of a node encodes the sub-graph upstream of it, operations included
    edge i->j concat(E_i, E_j) -> MLP -> one logit per block, of which those of active blocks count
    training  Gumbel noise, softmax at temperature T, hard one-hot forward, the soft gradient backward
    scoring   the block with the largest logit, or a sample drawn once per architecture

In a space without cells, the released code assigns the blocks of a stage by a table (`TableGate`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from supertau.estimators.training.batch_norm import evaluating
from supertau.estimators.training.generators import STREAMS
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.glow import WIT, Gate, SeededDropout, inherit
from supertau.search_spaces.space import Architecture, FlowGraph, SearchSpace

Pick = Literal["argmax", "sample"]
"""How a block is picked for an architecture to score; sample: with Gumbel noise that seed and architecture decide."""
Join = Literal["sum", "mean"]
"""How the messages that enter a node are joined."""


def architecture_stream(seed: int, architecture: Architecture) -> np.random.Generator:
    """Return a generator that depends on seed and architecture alone, not on the order or set that is scored."""
    return np.random.default_rng([seed, STREAMS.index("gate"), 1, *architecture])


def straight_through(logits: torch.Tensor, noise: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return one-hot rows (exactly) at the largest logits + noise, with the gradient of their softmax over T."""
    soft = functional.softmax((logits + noise) / temperature, 1)
    hard = functional.one_hot(soft.argmax(1), soft.shape[1]).to(soft.dtype)
    return hard + (soft - soft.detach())


class FlowLayer(nn.Module):
    """One step of the flow: messages along the edges, each scaled by the sigmoid of a map of its operation."""

    def __init__(self, narrow: int, width: int, operation: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(narrow, width).uniform_(-(width**-0.5), width**-0.5))
        self.attention = nn.Linear(operation, width)

    def forward(
        self, nodes: torch.Tensor, operations: torch.Tensor, sources: list[int], routes: torch.Tensor
    ) -> torch.Tensor:
        """Return node states (nodes, width).

        nodes: (nodes, narrow); operations: (edges, operation) embeddings; routes: (nodes, edges + nodes), 1 where an
        edge's message, or a node's own state, enters a node.
        """
        states = nodes @ self.weight
        messages = torch.sigmoid(self.attention(operations)) * states[sources]
        return routes @ torch.cat([messages, states])


class FlowEncoder(nn.Module):
    """Embeds the nodes of a cell.

    options: number of operations; inputs: number of input nodes per kind of cell. Input nodes start from learned
    vectors and keep their own state; other nodes are the sum or mean of their messages and start from zero, or with
    learned_nodes from one vector per kind of cell, at first zero.
    """

    def __init__(
        self,
        options: int,
        inputs: Sequence[int],
        operation: int,
        node: int,
        hidden: int,
        layers: Sequence[int],
        join: Join = "sum",
        learned_nodes: bool = False,
    ) -> None:
        super().__init__()
        self.join = join
        self.operations = nn.Embedding(options, operation)
        self.inputs = nn.ParameterList(torch.randn(count, node) for count in inputs)
        self.others = nn.ParameterList(torch.zeros(node) for _ in inputs) if learned_nodes else None
        self.first = nn.Linear(node, hidden)
        widths = (hidden, *layers)
        self.layers = nn.ModuleList(FlowLayer(a, b, operation) for a, b in itertools.pairwise(widths))

    def forward(self, graph: FlowGraph, kind: int) -> torch.Tensor:
        """Return the embeddings (nodes, layers[-1]) of a cell of one kind."""
        learned = self.inputs[kind]
        live = [(source, target, option) for source, target, option in graph.edges if option is not None]
        sources = [source for source, _, _ in live]
        operations = self.operations(torch.tensor([o for *_, o in live], dtype=torch.int64, device=learned.device))
        routes = torch.zeros(graph.nodes, len(live) + graph.nodes)
        routes[[target for _, target, _ in live], range(len(live))] = 1
        if self.join == "mean":
            routes /= routes.sum(1, keepdim=True).clamp(min=1)
        routes[graph.inputs, [len(live) + node for node in graph.inputs]] = 1
        routes = routes.to(learned.device)
        others = learned.new_zeros(learned.shape[1]) if self.others is None else self.others[kind]
        start = others.expand(graph.nodes, -1).index_copy(0, torch.tensor(graph.inputs, device=learned.device), learned)
        states = self.first(start)
        for number, layer in enumerate(self.layers):
            states = layer(functional.relu(states) if number else states, operations, sources, routes)
        return states


class GATE(Gate):
    """The learned assignment.

    blocks: K, the number of logits. normalise: put a layer norm (without weights) on the node embeddings.
    generator: of noise and dropout in training, on the device; seed, pick: of the picks for scoring.
    """

    def __init__(
        self,
        space: SearchSpace,
        blocks: int,
        *,
        operation: int,
        node: int,
        hidden: int,
        flow: Sequence[int],
        mlp: Sequence[int],
        dropout: float,
        temperature: float,
        normalise: bool,
        pick: Pick,
        seed: int,
        generator: torch.Generator,
        join: Join = "sum",
        learned_nodes: bool = False,
    ) -> None:
        super().__init__()
        self.space, self.temperature, self.normalise, self.pick = space, temperature, normalise, pick
        self.seed, self.generator, self.total = seed, generator, blocks
        example = space.flow(space.sample(np.random.default_rng(0)))
        inputs = [len(graph.inputs) for graph in example]
        self.encoder = FlowEncoder(space.operations, inputs, operation, node, hidden, flow, join, learned_nodes)
        widths = (2 * flow[-1], *mlp)
        parts: list[nn.Module] = []
        for narrow, width in itertools.pairwise(widths):
            parts += [nn.Linear(narrow, width), nn.ReLU(), SeededDropout(dropout, generator)]
        self.hidden = nn.Sequential(*parts)
        self.output = nn.Linear(widths[-1], blocks)

    def logits(self, architecture: Architecture) -> torch.Tensor:
        """Return (edges, K) for all edges of all kinds of cells, those without an operation included."""
        pairs = []
        for kind, graph in enumerate(self.space.flow(architecture)):
            nodes = self.encoder(graph, kind)
            if self.normalise:
                nodes = functional.layer_norm(nodes, nodes.shape[1:])
            sources, targets = [e[0] for e in graph.edges], [e[1] for e in graph.edges]
            pairs.append(torch.cat([nodes[sources], nodes[targets]], 1))
        logits: torch.Tensor = self.output(self.hidden(torch.cat(pairs)))
        return logits

    def gates(self, architecture: Architecture, level: int) -> torch.Tensor:
        logits = self.logits(architecture)[:, :level]
        noise = torch.empty_like(logits).exponential_(generator=self.generator).log().neg()  # Gumbel(0, 1)
        return straight_through(logits, noise, self.temperature)

    def blocks(self, architectures: Sequence[Architecture], level: int) -> list[tuple[int, ...]]:
        # One by one: the rounding of a batched product depends on the size of the batch.
        with torch.no_grad(), evaluating(self):
            return [
                self._picked(self.logits(architecture).cpu(), architecture, level) for architecture in architectures
            ]

    def _picked(self, logits: torch.Tensor, architecture: Architecture, level: int) -> tuple[int, ...]:
        if self.pick == "sample":
            noise = architecture_stream(self.seed, architecture).gumbel(size=(len(logits), self.total))
            logits = logits + torch.from_numpy(noise)
        return tuple(logits[:, :level].argmax(1).tolist())

    def inherit(self, block: int, source: int, wit: WIT) -> None:
        """Let the block's logit, a row of the last layer, inherit from another row."""
        inherit([(p[block], p[source]) for p in (self.output.weight, self.output.bias)], wit)

    def replace_output(self) -> None:
        """Replace the last layer's parameters by new ones of the same values, which no existing optimiser updates."""
        self.output.weight = nn.Parameter(self.output.weight.detach().clone())
        self.output.bias = nn.Parameter(self.output.bias.detach().clone())


class RandomGate(Gate):
    """A uniformly drawn block per edge: a new one in every training step, one per architecture when scored."""

    def __init__(self, space: SearchSpace, *, seed: int, generator: torch.Generator) -> None:
        super().__init__()
        self.space, self.seed, self.generator = space, seed, generator

    def gates(self, architecture: Architecture, level: int) -> torch.Tensor:
        shape = (self._edges(architecture),)
        drawn = torch.randint(level, shape, generator=self.generator, device=self.generator.device)
        return functional.one_hot(drawn, level).float()

    def blocks(self, architectures: Sequence[Architecture], level: int) -> list[tuple[int, ...]]:
        drawn = (architecture_stream(self.seed, a).random(self._edges(a)) for a in architectures)
        return [tuple(int(block) for block in uniform * level) for uniform in drawn]

    def _edges(self, architecture: Architecture) -> int:
        return sum(len(graph.edges) for graph in self.space.flow(architecture)) or self.space.chain


class TableGate(Gate):
    """Assigns the positions of a stage to blocks by a table, whatever the architecture.

    Neighbouring positions share a block; a new block takes over the right half of the leftmost group that can be cut.
    """

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.positions = positions

    def gates(self, architecture: Architecture, level: int) -> torch.Tensor:
        return functional.one_hot(torch.tensor(self.table(level)[0]), level).float()

    def blocks(self, architectures: Sequence[Architecture], level: int) -> list[tuple[int, ...]]:
        return [self.table(level)[0]] * len(architectures)

    def source(self, block: int) -> int:
        """Return the block whose positions a new one takes over."""
        return self.table(block + 1)[1]

    def table(self, level: int) -> tuple[tuple[int, ...], int]:
        """Return the block of each position, and the block that the last one was split from; single ones stay whole."""
        groups = [(0, self.positions, 0)]
        source = 0
        for block in range(1, level):
            at = next((i for i, (start, stop, _) in enumerate(groups) if stop - start > 1), None)
            if at is None:
                raise SupertauError(
                    f"{level} blocks were asked for a stage of {self.positions} positions, one each at most."
                )
            start, stop, source = groups[at]
            middle = (start + stop) // 2
            groups[at : at + 1] = [(start, middle, source), (middle, stop, block)]
        return tuple(block for start, stop, block in groups for _ in range(start, stop)), source
