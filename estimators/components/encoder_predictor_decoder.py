"""Encoder-predictor-decoder over token sequences (NAO: Luo et al., NeurIPS 2018; sizes as in NAO-V2's released code).

    encoder    tokens -> embedding -> LSTM -> H, every step of length one;  e = mean of H over its steps, of length one
    predictor  sigmoid(w e + b): the quality of the architecture, in (0, 1)
    decoder    an LSTM that starts from e and attends to H -> tokens
    loss       0.8 squared error of the predictor + 0.2 negative log-likelihood of the tokens
    new ones   H' = H + eta * d(predictor)/dH, of length one again, decoded greedily; eta = 1, 2, 3, ...

From a space it uses SearchSpace.tokens, from_tokens, allowed_tokens, vocabulary and rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from supertau.estimators.estimator import Floats
from supertau.estimators.training.generators import seeded_weights
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.space import Architecture, SearchSpace


@dataclass(frozen=True)
class EPDSettings:
    """Settings of an encoder-predictor-decoder; the defaults are those of the released code of NAO-V2."""

    width: int = 64  # of both LSTMs and of what enters them
    tokens_per_step: int = 1  # the code: 2, (predecessor, operation) pairs of 32 + 32; a space of operations alone: 1
    mse_weight: float = 0.8  # the other 0.2 go to the decoder
    learning_rate: float = 1e-3
    batch_size: int = 100
    clip: float = 5.0
    epochs: int = 1000
    held_out: float = 0.1  # for the diagnostics only
    expansion: int = 10  # each training sequence and up to nine rewritten ones, where the space rewrites


class EPD(nn.Module):
    """The three networks; B sequences of L tokens, S = L / tokens_per_step steps of the encoder, width W."""

    def __init__(self, vocabulary: int, settings: EPDSettings) -> None:
        super().__init__()
        if settings.tokens_per_step < 1 or settings.width % settings.tokens_per_step:
            raise SupertauError(
                f"tokens_per_step must divide the encoder's width of {settings.width}, got {settings.tokens_per_step}."
            )
        self.settings, self.start_token = settings, vocabulary
        width = settings.width
        self.encoder_embedding = nn.Embedding(vocabulary + 1, width // settings.tokens_per_step)
        self.encoder = nn.LSTM(width, width, batch_first=True)
        self.predictor = nn.Linear(width, 1)
        self.decoder_embedding = nn.Embedding(vocabulary + 1, width)
        self.decoder = nn.LSTM(width, width, batch_first=True)
        self.query = nn.Linear(width, width, bias=False)
        self.mix = nn.Linear(2 * width, width, bias=False)
        self.output = nn.Linear(width, vocabulary + 1)

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return H (B, S, W), every step of length one, of tokens (B, L)."""
        steps = self.encoder_embedding(tokens).reshape(len(tokens), -1, self.settings.width)
        return functional.normalize(self.encoder(steps)[0], dim=-1)

    def pool(self, states: torch.Tensor) -> torch.Tensor:
        """Return e (B, W), of length one, of H."""
        return functional.normalize(states.mean(1), dim=-1)

    def predict(self, states: torch.Tensor) -> torch.Tensor:
        """Return the predicted quality (B,) of H, in (0, 1)."""
        return torch.sigmoid(self.predictor(self.pool(states))).squeeze(-1)

    def decode(
        self,
        states: torch.Tensor,
        fed: torch.Tensor,
        hidden: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return log-probabilities (B, T, vocabulary + 1) of the tokens after those fed (B, T), and the LSTM's state.

        hidden: the state to continue from; without it both parts of the state start as e.
        """
        if hidden is None:
            pooled = self.pool(states)[None]
            hidden = (pooled, pooled)
        outputs, hidden = self.decoder(self.decoder_embedding(fed), hidden)
        attention = torch.softmax(self.query(outputs) @ states.transpose(1, 2), -1)
        mixed = torch.tanh(self.mix(torch.cat([attention @ states, outputs], -1)))
        return functional.log_softmax(self.output(mixed), -1), hidden

    def loss(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch: tokens (B, L), targets (B,) in [0, 1]; the decoder is fed the true tokens."""
        states = self.encode(tokens)
        error = functional.mse_loss(self.predict(states), targets)
        start = torch.full_like(tokens[:, :1], self.start_token)
        log_odds, _ = self.decode(states, torch.cat([start, tokens[:, :-1]], 1))
        likelihood = functional.nll_loss(log_odds.flatten(0, 1), tokens.flatten())
        return self.settings.mse_weight * error + (1 - self.settings.mse_weight) * likelihood

    def ascent(self, states: torch.Tensor) -> torch.Tensor:
        """Return the gradient of each sequence's predicted quality with respect to its own H, (B, S, W)."""
        with torch.enable_grad():
            states = states.detach().requires_grad_()
            gradient: torch.Tensor = torch.autograd.grad(self.predict(states).sum(), states)[0]
        return gradient


def make_epd(
    space: SearchSpace, settings: EPDSettings, generator: torch.Generator, device: torch.device | str = "cpu"
) -> EPD:
    """Return an untrained model for a space's sequences, its weights decided by the generator."""
    with seeded_weights(int(torch.randint(2**31, (), generator=generator))):
        return EPD(space.vocabulary, settings).to(device)


def tokenised(epd: EPD, space: SearchSpace, architectures: Sequence[Architecture]) -> torch.Tensor:
    """Return the tokens (B, L) of architectures on the model's device."""
    tokens = torch.tensor([space.tokens(a) for a in architectures], dtype=torch.int64)
    group = epd.settings.tokens_per_step
    if tokens.shape[1] % group:
        raise SupertauError(
            f"{space.name}: sequences of {tokens.shape[1]} tokens cannot be read {group} at a time; "
            "SearchSpace.tokens_per_step must divide their length (1 always does)."
        )
    return tokens.to(epd.output.weight.device)


# --- targets and training -------------------------------------------------------------------------------------------


def rank_targets(accuracies: Floats) -> Floats:
    """Return rank / (n - 1) in [0, 1], (n,): 0 is the worst, 1 the best; equal accuracies share their mean rank."""
    ranks: Floats = stats.rankdata(accuracies) - 1
    return ranks / max(1, len(accuracies) - 1)


def minmax_targets(accuracies: Floats) -> Floats:
    """Return accuracies scaled to [0, 1], (n,); 1/2 when all are equal."""
    low, high = accuracies.min(), accuracies.max()
    scaled: Floats = (accuracies - low) / (high - low) if high > low else np.full(len(accuracies), 0.5)
    return scaled


def expanded(
    space: SearchSpace, architectures: Sequence[Architecture], times: int, rng: np.random.Generator
) -> tuple[list[Architecture], list[int]]:
    """Return each architecture followed by up to times - 1 rewritten encodings of it, and the row of its origin."""
    copies: list[Architecture] = []
    rows: list[int] = []
    for row, architecture in enumerate(architectures):
        rewritten = (space.rewritten(architecture, rng) for _ in range(times - 1))
        encodings = [architecture, *(other for other in rewritten if other != architecture)]
        copies += encodings
        rows += [row] * len(encodings)
    return copies, rows


def fit(
    epd: EPD,
    space: SearchSpace,
    architectures: Sequence[Architecture],
    targets: Floats,
    *,
    generator: torch.Generator,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Train on nine tenths of the architectures with a new Adam; return figures on the other tenth.

    targets: (n,) in [0, 1]. generator: decides the split and the order of batches; rng: the rewriting.
    Figures: trained_on (sequences), held_out (architectures), loss (mean over the last epoch), pairwise_accuracy,
    tau_b, hamming; None for what is undefined. Raises SupertauError for fewer than two architectures.
    """
    if len(architectures) < 2:
        raise SupertauError(f"the predictor needs at least 2 evaluated architectures, got {len(architectures)}.")
    settings = epd.settings
    order = torch.randperm(len(architectures), generator=generator).tolist()
    held_out = round(settings.held_out * len(order))
    test, train = order[:held_out], order[held_out:]
    sequences, rows = expanded(space, [architectures[row] for row in train], settings.expansion, rng)
    tokens = tokenised(epd, space, sequences)
    wanted = torch.tensor(targets[train][rows], dtype=torch.float32, device=tokens.device)
    optimiser = torch.optim.Adam(epd.parameters(), lr=settings.learning_rate)
    loss = float("nan")
    for _ in range(settings.epochs):
        total = torch.zeros((), device=tokens.device)
        batches = torch.randperm(len(tokens), generator=generator).to(tokens.device).split(settings.batch_size)
        for batch in batches:
            optimiser.zero_grad(set_to_none=True)
            value = epd.loss(tokens[batch], wanted[batch])
            value.backward()
            nn.utils.clip_grad_norm_(epd.parameters(), settings.clip)
            optimiser.step()
            total += value.detach() * len(batch)
        loss = total.item() / len(tokens)
    figures = {"trained_on": len(tokens), "held_out": held_out, "loss": loss if settings.epochs else None}
    return {**figures, **_tested(epd, space, [architectures[row] for row in test], targets[test])}


@torch.no_grad()
def _tested(epd: EPD, space: SearchSpace, architectures: list[Architecture], targets: Floats) -> dict[str, Any]:
    """Return how well held-out architectures are ordered and rebuilt."""
    if not architectures:
        return {"pairwise_accuracy": None, "tau_b": None, "hamming": None}
    tokens = tokenised(epd, space, architectures)
    states = epd.encode(tokens)
    predicted = epd.predict(states).double().cpu().numpy()
    rebuilt = torch.tensor(decoded(epd, space, states), device=tokens.device)
    return {
        "pairwise_accuracy": pairwise_accuracy(predicted, targets),
        "tau_b": tau_b(predicted, targets),
        "hamming": (rebuilt != tokens).sum(1).double().mean().item(),
    }


def pairwise_accuracy(predicted: Floats, targets: Floats) -> float | None:
    """Return the share of pairs with different targets that are strictly ordered as their targets; None without one.

    The released code counts pairs of equal targets too, as right or wrong by their position.
    """
    signs = np.sign(np.subtract.outer(targets, targets))
    pairs = signs > 0
    if not pairs.any():
        return None
    return float((np.sign(np.subtract.outer(predicted, predicted)) == signs)[pairs].mean())


def tau_b(one: Floats, other: Floats) -> float | None:
    """Return Kendall's tau-b; None where it is undefined."""
    if len(one) < 2:
        return None
    value = float(stats.kendalltau(one, other).statistic)
    return value if np.isfinite(value) else None


@torch.no_grad()
def predict(epd: EPD, space: SearchSpace, architectures: Sequence[Architecture]) -> Floats:
    """Return the predicted quality (N,), in (0, 1)."""
    # One at a time: in a batch a matrix product may round differently, and a score would depend on the others.
    values = [epd.predict(epd.encode(tokenised(epd, space, [a]))).item() for a in architectures]
    return np.array(values, dtype=np.float64)


# --- generation -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def decoded(epd: EPD, space: SearchSpace, states: torch.Tensor) -> list[list[int]]:
    """Return the greedy sequence of each H (B, S, W); every token is one that the space allows after its prefix."""
    prefixes: list[list[int]] = [[] for _ in states]
    fed = torch.full((len(states), 1), epd.start_token, device=states.device)
    hidden = None
    for _ in range(states.shape[1] * epd.settings.tokens_per_step):
        log_odds, hidden = epd.decode(states, fed, hidden)
        mask = torch.full(log_odds[:, 0].shape, float("-inf"))
        for row, prefix in enumerate(prefixes):
            mask[row, list(space.allowed_tokens(prefix))] = 0
        fed = (log_odds[:, 0] + mask.to(log_odds.device)).argmax(-1, keepdim=True)
        for prefix, token in zip(prefixes, fed[:, 0].tolist(), strict=True):
            prefix.append(token)
    return prefixes


def generate(
    epd: EPD,
    space: SearchSpace,
    seeds: Sequence[Architecture],
    *,
    seen: set[str],
    wanted: int,
    largest_step: int,
) -> tuple[list[Architecture], int]:
    """Return up to `wanted` unseen architectures and the last step length, in range(1, largest_step + 1).

    Every step starts from the seeds' own H and has the length eta along the gradient, for eta = 1, 2, 3, ...
    seen: canonical keys that do not count as new.
    """
    with torch.no_grad():
        states = epd.encode(tokenised(epd, space, seeds))
    gradient = epd.ascent(states)
    new: dict[str, Architecture] = {}
    eta = 0
    while len(new) < wanted and eta < largest_step:
        eta += 1
        for tokens in decoded(epd, space, functional.normalize(states + eta * gradient, dim=-1)):
            architecture = space.from_tokens(tokens)
            key = space.canonical(architecture)
            if key not in seen:
                new.setdefault(key, architecture)
    return list(new.values())[:wanted], eta
