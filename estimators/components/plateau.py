"""A learning rate that is lowered when the loss stops falling, as torch's ReduceLROnPlateau, with a state to resume."""

from __future__ import annotations

import math

from supertau.estimators.state import Stateful


class Plateau(Stateful):
    """Multiplies `rate` by a factor when the loss has not fallen for more than `patience` epochs.

    As torch's ReduceLROnPlateau with its defaults: a fall counts when it is more than 1e-4 of the best loss.
    """

    state = ("rate", "best", "bad")

    def __init__(self, rate: float, factor: float, patience: int) -> None:
        self.rate, self.factor, self.patience = rate, factor, patience
        self.best, self.bad = math.inf, 0

    def step(self, loss: float) -> None:
        """Adapt the rate to the mean loss of an epoch."""
        if loss < self.best * (1 - 1e-4):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            if self.rate * (1 - self.factor) > 1e-8:
                self.rate *= self.factor
            self.bad = 0
