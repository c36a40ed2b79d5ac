"""Declared state: every kind of attribute goes through a checkpoint file and comes back equal and independent."""

from collections import Counter

import numpy as np
import pytest
import torch
from states import loaded, same, stored
from torch import nn

from supertau.estimators.state import Stateful
from supertau.search_spaces.errors import SupertauError


class Inner(Stateful):
    state = ("count",)

    def __init__(self):
        self.count = 0


class Example(Stateful):
    state = (
        "network", "optimiser", "inner", "later", "draws", "noise", "array", "tensor", "updates", "number", "text",
        "nothing", "nested",
    )  # fmt: skip

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.network = nn.Linear(2, 2)
        for parameter in self.network.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        self.inner = Inner()
        self.later: Inner | None = None
        self.draws = np.random.default_rng(seed)
        self.noise = generator
        self.array = np.zeros(0)
        self.tensor = torch.zeros(2)
        self.updates: Counter[tuple[int, ...]] = Counter()
        self.number, self.text, self.nothing = 0.0, "", 1
        self.nested: dict = {}
        self.unnamed = seed

    def load_state_dict(self, state):
        if state["later"] is not None:
            self.later = Inner()
        super().load_state_dict(state)


def used(seed):
    """Return an example whose every attribute has changed."""
    example = Example(seed)
    example.network(torch.ones(1, 2)).sum().backward()
    example.optimiser.step()
    example.inner.count, example.later = 3, Inner()
    example.later.count = 4
    example.draws.random(3)
    torch.rand(3, generator=example.noise)
    example.array = np.array([0.1, -0.0, np.pi])
    example.tensor = torch.tensor([1, 2, 3])
    example.updates[(1, 2, 3)] += 2
    example.number, example.text, example.nothing = 0.1 + 0.2, "text", None
    example.nested = {"list": [1, (2, torch.ones(1)), None], 3: {"deeper": True}}
    return example


def test_every_kind_comes_back():
    one, other = used(1), Example(2)
    kept = {name: getattr(other, name) for name in ("network", "optimiser", "inner", "draws", "noise")}
    other.load_state_dict(loaded(stored(one.state_dict())))
    assert same(other.state_dict(), one.state_dict())
    assert tuple(one.state_dict()) == Example.state
    assert all(getattr(other, name) is value for name, value in kept.items())  # restored in place
    assert other.array.tobytes() == one.array.tobytes()
    assert (other.later.count, other.nothing, other.updates) == (4, None, one.updates)
    assert type(other.updates) is Counter
    assert (other.number, other.text) == (one.number, "text")
    assert other.nested["list"][1] == (2, torch.ones(1))
    assert other.draws.random() == one.draws.random()
    assert torch.equal(torch.rand(2, generator=other.noise), torch.rand(2, generator=one.noise))
    assert other.unnamed == 2


def test_what_was_restored_is_independent_of_the_state():
    state = loaded(stored(used(1).state_dict()))
    one, other = Example(2), Example(3)
    one.load_state_dict(state)
    one.nested["list"].append(1)
    one.nested["list"][1][1].add_(1)
    one.array += 1
    one.tensor += 1
    one.updates[(1, 2, 3)] += 1
    other.load_state_dict(state)
    assert same(other.state_dict(), used(1).state_dict())


class Subclass(Inner):
    state = (*Inner.state, "more")

    def __init__(self):
        super().__init__()
        self.more = None


def test_a_subclass_extends_the_state_of_its_parent():
    example = Subclass()
    example.count, example.more = 2, [1]
    other = Subclass()
    other.load_state_dict(example.state_dict())
    assert (other.count, other.more) == (2, [1])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({1, 2}, "set"),
        (lambda: 0, "function"),
        ([object()], "object"),
        ({(1, 2): 0}, "dict"),
        (np.float64(1), "float64"),
    ],
)
def test_what_cannot_be_stored_is_an_error_that_names_it(value, kind):
    example = Inner()
    example.count = value
    with pytest.raises(SupertauError, match=rf"Inner\.count cannot be stored: it is or contains a {kind}\."):
        example.state_dict()


def test_an_attribute_that_is_not_there_is_an_error():
    class Forgetful(Stateful):
        state = ("absent",)

    with pytest.raises(AttributeError, match="absent"):
        Forgetful().state_dict()


def test_a_tensor_keeps_the_device_of_the_attribute():
    example = Example(1)
    example.tensor = torch.zeros(2, device="meta")
    state = Example(2).state_dict()
    example.load_state_dict(state)
    assert example.tensor.device.type == "meta"
