"""A monitor for the tests of estimators."""

from supertau.estimators import Monitor


class Listener(Monitor):
    """Calls a function after each step with the estimator, the step, the last step and the learning rate.

    rates: the learning rates so far.
    """

    def __init__(self, then=lambda *_: None):
        self.then, self.rates = then, []

    def after_step(self, estimator, step, total, loss, learning_rate):
        self.rates.append(learning_rate)
        self.then(estimator, step, total, learning_rate)
