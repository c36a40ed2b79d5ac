"""CLOSE: curriculum learning on the sharing extent (Zhou et al., ECCV 2022, arXiv:2207.07868).

    supernet     CLOSENet: no edge owns parameters; a gate lends each edge one of its cell's GLOW blocks
    step         one architecture, one mini-batch; on each edge sum_k gate_k * block_k(x), gates one-hot by Gumbel noise
    curriculum   training starts with one block per cell, which all edges share, and adds one at a time
    WIT          a new block inherits from the one before
    SRT          once, optimiser and schedule start anew
    score        the path with the blocks that the gate picks

The method is told from the authors' released code (aw_nas) and slides, not from the body of the paper. That code has
defects that change its results: `mode="reference"` keeps them, `mode="fixed"`, the default, is ours and has not been
measured against the published numbers.

    reference: gate and network share one SGD with weight decay. While there is one block the gate's gradient is zero,
    not absent, so it decays to nothing before it is first used; and at each activation its last layer becomes new
    parameters that the optimiser does not hold until SRT builds another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch.nn import functional

from supertau.estimators.components.gate import GATE, Join, Pick, RandomGate, TableGate
from supertau.estimators.one_shot import NDS_RECIPE, SCORING_SETTINGS, OneShot, OneShotConfig, one_shot_presets
from supertau.estimators.problem import Problem
from supertau.estimators.training.generators import (
    numpy_state,
    numpy_stream,
    seeded_weights,
    set_numpy_state,
    torch_stream,
)
from supertau.estimators.training.loop import TrainingLoop
from supertau.estimators.training.sampling import PathSampler, Sampling
from supertau.search_spaces.errors import SupertauError, unknown
from supertau.search_spaces.glow import WIT, CLOSENet, Gate, SeededDropout
from supertau.search_spaces.space import Architecture

Mode = Literal["fixed", "reference"]
GateKind = Literal["learned", "random"]
Schedule = Literal["auto", "cosine", "plateau"]

PROBES = 200
"""Architectures whose assignment `diagnostics` describes."""
COLLAPSE_SHARE, COLLAPSE_EPOCHS = 0.99, 5
"""One block serves more than this share of all edges for so many epochs: the gate has collapsed."""


@dataclass(frozen=True)
class CLOSEConfig(OneShotConfig):
    """Settings of CLOSE; "code" is the authors' configuration for NAS-Bench-201."""

    batch_size: int = 256  # code; its vanilla supernet: 512
    learning_rate: float = 0.05  # code
    nesterov: bool = False  # code
    final_learning_rate: float = 0.001  # ours, as the other estimators: the code has no cosine
    sampling: Sampling = "unique-live"  # code
    dropout: float = 0.1  # code; before the classifier
    mode: Mode = "fixed"  # ours; see the top of this file
    activations: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6)  # code `cl-246`: epochs 1, 201, 401, 601 of 1000
    fixed_blocks: int = 0  # slides' ablation: 2 to 5 blocks from the first step on; 0: the curriculum
    wit: WIT = "add"  # code; slides: copy
    srt: bool = True  # code and slides; fixed_blocks with or without: UNVERIFIED
    srt_at: float = 0.4  # code: epoch 401 of 1000
    gate: GateKind = "learned"  # a table in a space without cells, as in the code; random: the ablation without GATE
    assignment: Literal["auto", "argmax", "sample"] = "auto"  # slides: argmax (fixed); code: sample (reference)
    schedule: Schedule = "auto"  # code: plateau (reference); it never falls in a short run, hence cosine (fixed)
    plateau_factor: float = 0.5  # code
    plateau_patience: int = 30  # code; in epochs
    gate_learning_rate: float = 0.001  # ours: Adam of mode fixed; in a toy SGD did not learn the gate
    temperature: float = 5.0  # code; constant
    gate_operation: int = 48  # code; width of an operation's embedding
    gate_node: int = 48  # code; width of a node's initial state
    gate_hidden: int = 96  # code; width of a node's state when it enters the first flow layer
    gate_flow: tuple[int, ...] = (128,) * 5  # code; widths of the flow layers
    gate_mlp: tuple[int, ...] = (200,) * 3  # code; hidden widths of the map from an edge's two nodes to logits
    gate_dropout: float = 0.1  # code; in that map
    gate_join: Join = "sum"  # code; mean over the two input slots of a node of NAS-Bench-301
    gate_learned_nodes: bool = False  # code; on NAS-Bench-301 intermediate nodes start from a learned vector

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mode", get_args(Mode)),
            ("wit", get_args(WIT)),
            ("gate", get_args(GateKind)),
            ("schedule", get_args(Schedule)),
            ("gate_join", get_args(Join)),
            ("assignment", ("auto", *get_args(Pick))),
        ):
            if getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        starts = self.activations
        if not starts or starts[0] != 0 or list(starts) != sorted(starts) or starts[-1] >= 1:
            raise SupertauError(
                "activations are the fractions of the run at which blocks become active: expected rising numbers from "
                f"0 to below 1, the first one 0, got {starts}."
            )
        if self.fixed_blocks < 0:
            raise SupertauError(f"fixed_blocks must be 0 (curriculum) or a number of blocks, got {self.fixed_blocks}.")
        for name in ("srt_at", "dropout", "gate_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SupertauError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}.")
        for name in ("temperature", "gate_learning_rate"):
            if getattr(self, name) <= 0:
                raise SupertauError(f"{name} must be positive, got {getattr(self, name)}.")
        if not self.gate_flow:
            raise SupertauError("gate_flow needs at least one width: without a flow layer no edge enters the gate.")

    @property
    def starts(self) -> tuple[float, ...]:
        """Fractions of the run at which the blocks become active, one per block."""
        return (0.0,) * self.fixed_blocks if self.fixed_blocks else self.activations

    @property
    def pick(self) -> Pick:
        """How a block is picked for scoring."""
        if self.assignment == "auto":
            return "argmax" if self.mode == "fixed" else "sample"
        return self.assignment

    @property
    def on_plateau(self) -> bool:
        """Whether the learning rate waits for the loss to stop falling; otherwise it follows a cosine."""
        return self.schedule == "plateau" or (self.schedule == "auto" and self.mode == "reference")


class Plateau:
    """A learning rate that is lowered when the loss has not fallen for more than `patience` epochs.

    As torch's ReduceLROnPlateau with its defaults: what counts is a fall by more than 1e-4 of the best loss.
    """

    def __init__(self, rate: float, factor: float, patience: int) -> None:
        self.rate, self.factor, self.patience = rate, factor, patience
        self.best, self.bad = math.inf, 0

    def step(self, loss: float) -> None:
        """Hear the mean loss of an epoch."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            if self.rate * (1 - self.factor) > 1e-8:
                self.rate *= self.factor
            self.bad = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what changes."""
        return {"rate": self.rate, "best": self.best, "bad": self.bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.rate, self.best, self.bad = state["rate"], state["best"], state["bad"]


SAME_AS_SPOS = {
    "batch_size": 64,
    "learning_rate": 0.025,
    "nesterov": True,
    "sampling": "space",
    "dropout": 0.0,
}
"""The recipe of SPOS's small presets, so that only the method differs; its paper preset is not ours."""


class CLOSE(OneShot):
    """Single-path training of a CLOSENet whose sharing extent shrinks along the way."""

    Config = CLOSEConfig
    title = "CLOSE"
    source = "Zhou et al., ECCV 2022, arXiv:2207.07868"
    on_several_devices = True
    scoring_settings = (*SCORING_SETTINGS, "assignment")
    presets = one_shot_presets(
        standard=SAME_AS_SPOS,
        quick={**SAME_AS_SPOS, "learning_rate": 0.1},
        smoke={**SAME_AS_SPOS, "batch_size": 32},
        **{"paper:nds-resnet": NDS_RECIPE, "paper:nds-resnexta": NDS_RECIPE},  # code
    )
    space_settings: ClassVar[dict[str, dict[str, Any]]] = {
        "nasbench301": {
            # code `cl-2468`; that it is the headline's is an inference: the slides ablate up to 5 blocks
            "activations": (0.0, 0.2, 0.4, 0.6, 0.8),
            "sampling": "space",  # code
            "gate_operation": 32, "gate_node": 32, "gate_hidden": 32, "gate_flow": (64,) * 4,  # code
            "gate_join": "mean", "gate_learned_nodes": True,  # code
        },
        "nds-resnet": {  # code: 9 blocks, then two at a time
            "activations": (*(0.0,) * 9, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8), "sampling": "space",
        },
        "nds-resnexta": {  # code: 9 blocks, then one at a time
            "activations": (*(0.0,) * 9, 0.2, 0.4, 0.6, 0.8), "sampling": "space",
        },
        "nds-resnextb": {"sampling": "space"},  # ours: classes cannot be listed
        "nds-vanilla": {"sampling": "space"},  # ours
    }  # fmt: skip
    config: CLOSEConfig
    supernet: CLOSENet

    def build(self, problem: Problem) -> CLOSENet:
        c = self.config
        self.noise = torch_stream(problem.seed, "gate", problem.device)  # Gumbel noise and dropout
        with seeded_weights(problem.seed):
            return CLOSENet(
                problem.space,
                problem.network,
                self.make_gate(problem),
                blocks=len(c.starts),
                level=1 if self._splits_at_first(problem) else c.starts.count(0.0),
                affine=c.affine,
                dropout=SeededDropout(c.dropout, self.noise, (problem.processes.index, problem.processes.size)),
                plain=c.mode == "reference" and not problem.space.chain,  # where nothing is learned, nothing is mixed
            ).to(problem.device)

    def _splits_at_first(self, problem: Problem) -> bool:
        """Whether blocks that are active from the start inherit too: in the code they do on a chain."""
        return self.config.mode == "reference" and problem.space.chain > 0

    def make_gate(self, problem: Problem) -> Gate:
        """Return the gate that the configuration asks for."""
        c = self.config
        if c.gate == "random":
            return RandomGate(problem.space, seed=problem.seed, generator=self.noise)
        if problem.space.chain:
            return TableGate(problem.space.chain)
        return GATE(
            problem.space,
            len(c.starts),
            operation=c.gate_operation,
            node=c.gate_node,
            hidden=c.gate_hidden,
            flow=c.gate_flow,
            mlp=c.gate_mlp,
            dropout=c.gate_dropout,
            temperature=c.temperature,
            normalise=c.mode == "fixed",  # ours: in a toy, Adam without it saturated the logits
            pick=c.pick,
            seed=problem.seed,
            generator=self.noise,
            join=c.gate_join,
            learned_nodes=c.gate_learned_nodes,
        )

    def start(self, problem: Problem) -> None:
        super().start(problem)
        c, gate = self.config, list(self.supernet.gate.parameters())
        while self.supernet.level < c.starts.count(0.0):
            self.supernet.activate(c.wit)
        own = bool(gate) and c.mode == "fixed"
        self.loop = TrainingLoop(
            [p for p in self.supernet.parameters() if not own or all(p is not g for g in gate)],
            problem,
            self.objective,
            self.optimisation(),
            companions=[torch.optim.Adam(gate, lr=c.gate_learning_rate, weight_decay=0.0, fused=True)] if own else (),
            before_step=self.before_step,
        )
        self.loop.schedule = self.learning_rate
        self.sampler = PathSampler(problem.space, c.sampling, numpy_stream(problem.seed, "paths"))
        self.epoch = len(problem.train) // c.batch_size
        self.plateau = self._new_plateau()
        self.activated_at = [0] * self.supernet.level
        self.restarted_at: int | None = None
        self.epoch_loss = torch.zeros((), device=problem.device)
        self.epoch_usage = [0] * len(c.starts)
        self.epochs_collapsed = 0
        self.collapsed_at: int | None = None
        rng = numpy_stream(problem.seed, "probe")
        self._probes = [problem.space.sample(rng) for _ in range(PROBES)]
        self._gate_norm = self._norm_of_gate()

    # --- a step -----------------------------------------------------------------------------------------------------
    def objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One drawn path, its edges mixed over the active blocks, one mini-batch, cross-entropy."""
        architecture = self.sampler()
        logits = self.supernet(self.inputs(images), architecture)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        self.epoch_loss = self.epoch_loss + self.problem.processes.mean(loss)
        if self.supernet.level > 1 and self.supernet.picks is not None:
            for block, exists in zip(self.supernet.picks, self._existing(architecture), strict=True):
                self.epoch_usage[block] += exists
        return loss

    def learning_rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step; after SRT the schedule begins again, over what is left of the run."""
        if self.config.on_plateau:
            return self.plateau.rate
        past = self.restarted_at or 0
        return self.loop.optimisation.rate(step - past, total - past)

    # --- the curriculum ---------------------------------------------------------------------------------------------
    def before_step(self, step: int, total: int) -> None:
        """Do what is due at the start of a step, in the order of the code: blocks, restart, schedule.

        What has been done is part of the state, so that a run taken up does not do it again.
        """
        while self.supernet.level < len(self.config.starts):
            if step < self.due(self.config.starts[self.supernet.level], total):
                break
            self.activate(step)
        if self.config.srt and self.restarted_at is None and step >= self.due(self.config.srt_at, total):
            self.restart(step)
        if step and step % self.epoch == 0:
            self.end_epoch(step)

    def due(self, fraction: float, total: int) -> int:
        """Return the step at whose start something happens: at a fraction of the run, in mode reference of its epochs.

        An epoch is as many batches as the training images fill; the last one may be incomplete.
        """
        unit = 1 if self.config.mode == "fixed" else self.epoch
        return math.floor(fraction * math.ceil(total / unit) + 1e-9) * unit

    def activate(self, step: int) -> None:
        """Make the next block active (WIT)."""
        self.supernet.activate(self.config.wit)
        self.activated_at.append(step)
        if self.config.mode == "reference" and isinstance(self.supernet.gate, GATE):
            self.supernet.gate.replace_output()
        self._check_optimisers()

    def restart(self, step: int) -> None:
        """Begin again with optimiser and schedule (SRT)."""
        if self.config.mode == "reference":
            (group,) = self.loop.optimiser.param_groups
            group["params"] = list(self.supernet.parameters())
        self.loop.restart_optimiser()
        self.plateau = self._new_plateau()
        self.restarted_at = step
        self._check_optimisers()

    def end_epoch(self, step: int) -> None:
        """Tell the schedule the mean loss of the epoch that ended, and watch the gate."""
        if self.config.on_plateau:
            self.plateau.step(self.epoch_loss.item() / self.epoch)
        self.epoch_loss = torch.zeros_like(self.epoch_loss)
        collapsed = max(self.epoch_usage) > COLLAPSE_SHARE * sum(self.epoch_usage)
        self.epochs_collapsed = self.epochs_collapsed + 1 if collapsed else 0
        if self.epochs_collapsed >= COLLAPSE_EPOCHS and self.collapsed_at is None:
            self.collapsed_at = step
        self.epoch_usage = [0] * len(self.epoch_usage)

    def outside_optimisers(self) -> list[str]:
        """Return the names of parameters that no optimiser updates."""
        held = {id(p) for p in self.loop.parameters}
        return [name for name, p in self.supernet.named_parameters() if id(p) not in held]

    def _check_optimisers(self) -> None:
        if self.config.mode == "fixed":
            assert not self.outside_optimisers(), f"no optimiser holds {self.outside_optimisers()}"

    def _new_plateau(self) -> Plateau:
        c = self.config
        return Plateau(c.learning_rate, c.plateau_factor, c.plateau_patience)

    # --- state and figures ------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "sampler": numpy_state(self.sampler.rng),
            "noise": self.noise.get_state(),
            "level": self.supernet.level,
            "activated_at": list(self.activated_at),
            "restarted_at": self.restarted_at,
            "output_replaced": bool(self.outside_optimisers()),
            "plateau": self.plateau.state_dict(),
            "epoch_loss": self.epoch_loss,
            "epoch_usage": list(self.epoch_usage),
            "epochs_collapsed": self.epochs_collapsed,
            "collapsed_at": self.collapsed_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["output_replaced"]:
            assert isinstance(self.supernet.gate, GATE)
            self.supernet.gate.replace_output()
        super().load_state_dict(state)
        set_numpy_state(self.sampler.rng, state["sampler"])
        self.noise.set_state(state["noise"].cpu())
        self.supernet.set_level(state["level"])
        self.activated_at, self.restarted_at = list(state["activated_at"]), state["restarted_at"]
        self.plateau.load_state_dict(state["plateau"])
        self.epoch_loss = state["epoch_loss"].to(self.problem.device)
        self.epoch_usage = list(state["epoch_usage"])
        self.epochs_collapsed, self.collapsed_at = state["epochs_collapsed"], state["collapsed_at"]

    def diagnostics(self) -> dict[str, Any]:
        """Return the curriculum as it went, and the assignment of PROBES random architectures.

        mean_active_blocks: forward passes per edge and step; only one per image counts as a pass of the budget.
        usage: share of each active block per edge, over the architectures in which the edge has an operation.
        entropy: of those shares, in nats. gate_norm_ratio: present over initial length of the gate's parameters.
        collapsed_at: step at whose start one block had served nearly all edges of COLLAPSE_EPOCHS epochs.
        """
        steps = self.loop.step
        usage = self._usage()
        warnings = [] if self.collapsed_at is None else ["in training one block came to serve nearly all edges"]
        if self.supernet.level > 1 and max(map(min, zip(*usage, strict=True))) > COLLAPSE_SHARE:
            warnings.append("one block serves nearly all edges when scored")
        reference = self.config.mode == "reference" and self.config.gate == "learned"
        return {
            **super().diagnostics(),
            "mode": self.config.mode,
            "active_blocks": self.supernet.level,
            "activated_at": list(self.activated_at),
            "restarted_at": self.restarted_at,
            "mean_active_blocks": sum(steps - at for at in self.activated_at) / steps if steps else 0.0,
            "usage": usage,
            "entropy": [-sum(share * math.log(share) for share in shares if share) for shares in usage],
            "gate_norm_ratio": self._norm_of_gate() / self._gate_norm if self._gate_norm else None,
            "collapsed_at": self.collapsed_at,
            "warnings": warnings,
            "outside_optimisers": self.outside_optimisers(),
            "defects": ["gate decays before it is used", "gate's last layer leaves the optimiser"] if reference else [],
        }

    def _usage(self) -> list[list[float]]:
        level = self.supernet.level
        picks = self.supernet.gate.blocks(self._probes, level)
        counts = [[0] * level for _ in picks[0]]
        for architecture, blocks in zip(self._probes, picks, strict=True):
            for edge, (block, exists) in enumerate(zip(blocks, self._existing(architecture), strict=True)):
                counts[edge][block] += exists
        return [[count / max(1, sum(row)) for count in row] for row in counts]

    def _existing(self, architecture: Architecture) -> list[bool]:
        """Return for each edge whether it has an operation."""
        space = self.problem.space
        flow = [option is not None for graph in space.flow(architecture) for *_, option in graph.edges]
        return flow or [True] * space.chain

    def _norm_of_gate(self) -> float:
        return math.sqrt(sum(p.detach().double().square().sum().item() for p in self.supernet.gate.parameters()))
