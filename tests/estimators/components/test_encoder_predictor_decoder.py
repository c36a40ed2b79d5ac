"""The encoder-predictor-decoder: each part by hand, what it learns, what it decodes and generates."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from supertau.estimators.components import encoder_predictor_decoder as epd
from supertau.estimators.components.encoder_predictor_decoder import EPD, EPDSettings
from supertau.estimators.training.generators import torch_stream
from supertau.search_spaces.errors import SupertauError
from supertau.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()


class Nodes(NASBench201):
    """Two nodes of two (predecessor, operation) pairs: predecessors 0-2, different within a node; operations 3-5.

    An architecture lists its tokens; swapping the pairs of a node gives the same network.
    """

    name = "nodes"
    choices = (3, 3) * 4
    vocabulary = 6

    def tokens(self, architecture):
        return tuple(option + 3 * (i % 2) for i, option in enumerate(architecture))

    def from_tokens(self, tokens):
        return tuple(token - 3 * (i % 2) for i, token in enumerate(tokens))

    def allowed_tokens(self, prefix):
        if len(prefix) % 2:
            return (3, 4, 5)
        taken = prefix[-2] if len(prefix) % 4 == 2 else None
        return tuple(token for token in range(3) if token != taken)

    def canonical(self, architecture):
        pairs = list(zip(architecture[::2], architecture[1::2], strict=True))
        return str([sorted(pairs[:2]), sorted(pairs[2:])])

    def rewritten(self, architecture, rng):
        start = 4 * int(rng.integers(2))
        node = architecture[start : start + 4]
        return (*architecture[:start], *node[2:], *node[:2], *architecture[start + 4 :])


NODES = Nodes()


def valid_nodes(count, seed=0):
    """Return random members of the toy space, by the rule of its masks."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        tokens = []
        while len(tokens) < 8:
            tokens.append(int(rng.choice(NODES.allowed_tokens(tokens))))
        found.append(NODES.from_tokens(tokens))
    return found


def model(space=SPACE, seed=0, **settings):
    return epd.make_epd(space, EPDSettings(**settings), torch.Generator().manual_seed(seed))


def cells(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def fitted(epd_model, space, architectures, targets, seed=0):
    generator = torch_stream(seed, "predictor")
    return epd.fit(epd_model, space, architectures, targets, generator=generator, rng=np.random.default_rng(seed))


def array(tensor):
    return tensor.detach().double().numpy()


# --- the three networks, by hand ------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_code():
    held = {name: tuple(value.shape) for name, value in model().named_parameters()}
    assert held["encoder_embedding.weight"] == (6, 64)  # five operations and the start token
    assert held["encoder.weight_ih_l0"] == held["encoder.weight_hh_l0"] == (4 * 64, 64)
    assert held["decoder.weight_ih_l0"] == held["decoder.weight_hh_l0"] == (4 * 64, 64)
    assert held["predictor.weight"] == (1, 64)
    assert not any(name.endswith("_l1") for name in held)
    pairs = {name: tuple(value.shape) for name, value in model(NODES, tokens_per_step=2).named_parameters()}
    assert pairs["encoder_embedding.weight"] == (7, 32)
    assert pairs["decoder_embedding.weight"] == (7, 64)
    assert pairs["encoder.weight_ih_l0"] == (256, 64)


@pytest.mark.parametrize("group", [1, 2])
def test_states_have_length_one_and_so_has_their_mean(group):
    net, tokens = model(NODES, tokens_per_step=group), torch.tensor([NODES.tokens(a) for a in valid_nodes(5)])
    states = net.encode(tokens)
    assert states.shape == (5, 8 // group, 64)
    embedded = net.encoder_embedding.weight[tokens]  # (5, 8, 64 / group)
    steps = torch.stack([torch.cat(list(embedded[:, i : i + group].unbind(1)), -1) for i in range(0, 8, group)], 1)
    raw = array(net.encoder(steps)[0])
    np.testing.assert_allclose(array(states), raw / np.linalg.norm(raw, axis=2, keepdims=True), atol=1e-6)
    assert np.abs(np.linalg.norm(raw, axis=2) - 1).max() > 0.1  # without it they have other lengths
    mean = array(states).mean(1)
    pooled = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(array(net.pool(states)), pooled, atol=1e-6)
    logits = pooled @ array(net.predictor.weight)[0] + net.predictor.bias.item()
    np.testing.assert_allclose(array(net.predict(states)), 1 / (1 + np.exp(-logits)), atol=1e-6)


def decoder_by_hand(net, states, fed):
    """Return log-probabilities (T, V) of one sequence, every step of the LSTM and of the attention written out."""
    memory = array(states)
    hidden = cell = memory.mean(0) / np.linalg.norm(memory.mean(0))
    weights = {name: array(value) for name, value in net.decoder.named_parameters()}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    rows = []
    for token in fed:
        gates = weights["weight_ih_l0"] @ array(net.decoder_embedding.weight)[token] + weights["bias_ih_l0"]
        gates = gates + weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]
        into, forget, new, out = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(new)
        hidden = sigmoid(out) * np.tanh(cell)
        scores = memory @ (array(net.query.weight) @ hidden)
        attention = np.exp(scores - scores.max())
        context = attention / attention.sum() @ memory
        mixed = np.tanh(array(net.mix.weight) @ np.concatenate([context, hidden]))
        logits = array(net.output.weight) @ mixed + array(net.output.bias)
        rows.append(logits - np.log(np.exp(logits).sum()))
    return np.stack(rows)


def test_decoder_starts_from_the_pooled_state_and_attends_to_all_steps():
    net, tokens = model(), torch.tensor(cells(3))
    with torch.no_grad():
        states = net.encode(tokens)
        fed = torch.cat([torch.full((3, 1), 5), tokens[:, :-1]], 1)
        whole, _ = net.decode(states, fed)
        hidden, parts = None, []
        for i in range(6):
            part, hidden = net.decode(states, fed[:, i : i + 1], hidden)
            parts.append(part)
    np.testing.assert_allclose(array(torch.cat(parts, 1)), array(whole), atol=1e-5)
    for row in range(3):
        np.testing.assert_allclose(array(whole[row]), decoder_by_hand(net, states[row], fed[row].tolist()), atol=1e-5)


@pytest.mark.parametrize("space", [SPACE, NODES])
def test_loss_is_four_fifths_squared_error_and_one_fifth_likelihood_of_true_tokens(space):
    net = model(space, tokens_per_step=1 if space is SPACE else 2)
    architectures = cells(7) if space is SPACE else valid_nodes(7)
    tokens, targets = epd.tokenised(net, space, architectures), np.linspace(0, 1, 7)
    states = net.encode(tokens)
    squared = ((array(net.predict(states)) - targets) ** 2).mean()
    chosen = []
    for row, sequence in zip(states, tokens.tolist(), strict=True):
        log_odds = decoder_by_hand(net, row, [space.vocabulary, *sequence[:-1]])  # start token, then the truth
        chosen += [log_odds[i, token] for i, token in enumerate(sequence)]
    expected = 0.8 * squared - 0.2 * np.mean(chosen)
    assert net.loss(tokens, torch.tensor(targets).float()).item() == pytest.approx(expected, abs=1e-5)


# --- greedy decoding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_decoded_tokens_are_the_most_likely_of_the_allowed_ones(seed):
    net = model(NODES, seed=seed, tokens_per_step=2)
    with torch.no_grad():
        for parameter in net.output.parameters():
            parameter.mul_(20)  # untrained outputs hardly differ
        states = net.encode(epd.tokenised(net, NODES, valid_nodes(20, seed)))
    sequences = epd.decoded(net, NODES, states)
    masked = 0
    for row, sequence in zip(states, sequences, strict=True):
        log_odds = decoder_by_hand(net, row, [NODES.vocabulary, *sequence[:-1]])
        for i, token in enumerate(sequence):
            allowed = NODES.allowed_tokens(sequence[:i])
            assert token in allowed
            assert log_odds[i, token] >= max(log_odds[i, list(allowed)]) - 1e-5
            masked += token != log_odds[i].argmax()
        assert len(sequence) == 8
        assert sequence[0] != sequence[2]
        assert sequence[4] != sequence[6]
    assert masked > 20  # without the masks other tokens would have been taken


# --- targets, figures, augmentation ---------------------------------------------------------------------------------


def test_rank_targets():
    np.testing.assert_array_equal(epd.rank_targets(np.array([30.0, 10, 50, 20, 40])), [0.5, 0, 1, 0.25, 0.75])
    np.testing.assert_array_equal(epd.rank_targets(np.array([10.0, 10, 80, 90, 10])), [0.25, 0.25, 0.75, 1, 0.25])
    np.testing.assert_array_equal(epd.rank_targets(np.array([7.0, 7, 7])), [0.5, 0.5, 0.5])


def test_minmax_targets():
    np.testing.assert_allclose(epd.minmax_targets(np.array([10.0, 90, 91, 92])), [0, 80 / 82, 81 / 82, 1])
    np.testing.assert_array_equal(epd.minmax_targets(np.array([7.0, 7])), [0.5, 0.5])


def test_pairwise_accuracy_is_strict_and_leaves_ties_of_the_targets_out():
    def accuracy(predicted, targets):
        return epd.pairwise_accuracy(np.array(predicted, float), np.array(targets, float))

    assert accuracy([1, 2, 3], [1, 2, 3]) == 1
    assert accuracy([3, 2, 1], [1, 2, 3]) == 0
    assert accuracy([1, 3, 2], [1, 2, 3]) == pytest.approx(2 / 3)
    assert accuracy([5, 5, 5], [1, 2, 3]) == 0  # a tied prediction orders nothing
    # The released code's count takes the pair of equal targets as right here and as wrong in the other order.
    assert accuracy([1, 2, 3], [1, 1, 2]) == accuracy([2, 1, 3], [1, 1, 2]) == 1
    assert accuracy([2, 1, 1.5], [1, 1, 2]) == 0.5
    assert accuracy([1, 2], [4, 4]) is None
    assert accuracy([1], [4]) is None


def test_pairwise_accuracy_and_tau_without_ties():
    rng = np.random.default_rng(0)
    predicted, targets = rng.normal(size=(2, 40))
    accuracy, tau = epd.pairwise_accuracy(predicted, targets), epd.tau_b(predicted, targets)
    assert tau == pytest.approx(2 * accuracy - 1)
    assert tau == pytest.approx(stats.kendalltau(predicted, targets).statistic)
    assert epd.tau_b(np.ones(4), targets[:4]) is None
    assert epd.tau_b(np.ones(1), targets[:1]) is None


def test_training_sequences_are_rewritten_only_where_the_space_can():
    rng = np.random.default_rng(0)
    assert epd.expanded(SPACE, cells(4), 10, rng) == (cells(4), [0, 1, 2, 3])
    originals = valid_nodes(6)
    copies, rows = epd.expanded(NODES, originals, 10, rng)
    assert len(copies) == 60
    assert rows == [row for row in range(6) for _ in range(10)]
    for copied, row in zip(copies, rows, strict=True):
        assert NODES.canonical(copied) == NODES.canonical(originals[row])
        assert (copied == originals[row]) == (copied is originals[row])
    assert len({c for c, row in zip(copies, rows, strict=True) if row == 0}) == 3  # itself, either node swapped
    assert epd.expanded(NODES, originals, 1, rng)[0] == originals


# --- training -------------------------------------------------------------------------------------------------------


def test_it_learns_a_toy_target_and_to_rebuild():
    architectures = cells(150)
    quality = np.array([a.count(3) + 0.5 * a.count(2) - 0.7 * (a[3] == 0) for a in architectures])
    net = model(epochs=120)
    figures = fitted(net, SPACE, architectures, epd.rank_targets(quality))
    assert (figures["trained_on"], figures["held_out"]) == (135, 15)
    assert figures["pairwise_accuracy"] > 0.8
    assert figures["tau_b"] > 0.55
    assert figures["hamming"] < 2.5  # of 6; guessing: 4.8
    untrained = fitted(model(epochs=0), SPACE, architectures, epd.rank_targets(quality))
    assert untrained["hamming"] > 3.5
    assert untrained["loss"] is None
    fresh = cells(300, seed=9)
    truth = np.array([a.count(3) + 0.5 * a.count(2) - 0.7 * (a[3] == 0) for a in fresh])
    assert epd.pairwise_accuracy(epd.predict(net, SPACE, fresh), truth) > 0.8


def test_held_out_figures_are_of_architectures_left_out_of_training(monkeypatch):
    architectures, seen = valid_nodes(30), []
    monkeypatch.setattr(EPD, "loss", lambda self, tokens, wanted: seen.append(tokens) or self.predictor.bias.sum())
    net = model(NODES, tokens_per_step=2, epochs=2, batch_size=50)
    targets = np.linspace(0, 1, 30)
    tested = []
    monkeypatch.setattr(
        epd, "_tested", lambda _m, _s, held, wanted: tested.extend(zip(held, wanted, strict=True)) or {}
    )
    figures = fitted(net, NODES, architectures, targets)
    assert figures == {"trained_on": 270, "held_out": 3, "loss": pytest.approx(net.predictor.bias.item(), abs=0.02)}
    assert [len(tokens) for tokens in seen] == [50, 50, 50, 50, 50, 20] * 2
    trained = {NODES.canonical(NODES.from_tokens(row)) for tokens in seen for row in tokens.tolist()}
    assert trained == {NODES.canonical(a) for a in architectures} - {NODES.canonical(a) for a, _ in tested}
    assert len(tested) == 3
    assert all(targets[architectures.index(a)] == wanted for a, wanted in tested)
    first, second = ([row for tokens in seen[i : i + 6] for row in tokens.tolist()] for i in (0, 6))
    assert first != second
    assert sorted(first) == sorted(second)


def test_figures_of_the_held_out_tenth_by_hand():
    net, held = model(epochs=0), cells(8)
    targets = np.arange(8) / 7
    figures = epd._tested(net, SPACE, held, targets)
    rebuilt = epd.decoded(net, SPACE, net.encode(torch.tensor(held)))
    wrong = [sum(a != b for a, b in zip(one, two, strict=True)) for one, two in zip(held, rebuilt, strict=True)]
    assert figures["hamming"] == pytest.approx(np.mean(wrong))
    assert figures["pairwise_accuracy"] == epd.pairwise_accuracy(epd.predict(net, SPACE, held), targets)


def test_the_first_step_is_adams_with_a_thousandth_and_gradients_clipped_at_five(monkeypatch):
    bounds, clip = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda ps, bound: bounds.append(bound) or clip(ps, bound))
    net = model(epochs=1)
    before = copy.deepcopy(net)
    fitted(net, SPACE, cells(20), np.linspace(0, 1, 20))
    assert bounds == [5.0]
    moved = torch.cat([(a - b).detach().flatten() for a, b in zip(net.parameters(), before.parameters(), strict=True)])
    # Adam moves by lr * g / (|g| + 1e-8); without weight decay what has no gradient stays.
    assert moved.abs().max() == pytest.approx(1e-3, rel=1e-3)
    assert torch.equal(net.encoder_embedding.weight[5], before.encoder_embedding.weight[5])


def test_same_generator_same_weights_and_no_trace_in_the_global_one():
    state = torch.get_rng_state()
    one, two, other = (model(seed=seed, epochs=3) for seed in (0, 0, 1))
    for net, seed in ((one, 0), (two, 0), (other, 1)):
        fitted(net, SPACE, cells(30), np.linspace(0, 1, 30), seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.predictor.weight, other.predictor.weight)


def test_a_prediction_does_not_depend_on_its_company():
    net, architectures = model(), cells(37)
    together = epd.predict(net, SPACE, architectures)
    alone = [epd.predict(net, SPACE, [a])[0] for a in architectures]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together, array(net.predict(net.encode(torch.tensor(architectures)))), atol=1e-6)
    assert epd.predict(net, SPACE, []).shape == (0,)


def test_errors():
    with pytest.raises(SupertauError, match="at least 2 evaluated architectures, got 1"):
        fitted(model(), SPACE, cells(1), np.zeros(1))
    with pytest.raises(SupertauError, match="sequences of 6 tokens cannot be read 4 at a time"):
        epd.tokenised(model(tokens_per_step=4), SPACE, cells(1))
    with pytest.raises(SupertauError, match="must divide the encoder's width of 64, got 3"):
        model(tokens_per_step=3)


# --- generation -----------------------------------------------------------------------------------------------------


def test_ascent_is_the_gradient_with_respect_to_all_states():
    net = model()
    states = net.encode(torch.tensor(cells(4))).detach()
    gradient = array(net.ascent(states))
    weight, memory = array(net.predictor.weight)[0], array(states)
    for row in range(4):
        mean = memory[row].mean(0)
        length = np.linalg.norm(mean)
        pooled = mean / length
        quality = 1 / (1 + math.exp(-(weight @ pooled + net.predictor.bias.item())))
        expected = quality * (1 - quality) * (weight - (weight @ pooled) * pooled) / length / 6
        np.testing.assert_allclose(gradient[row], np.tile(expected, (6, 1)), atol=1e-7)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_every_step_starts_from_the_seeds_own_states_and_is_longer_by_one(monkeypatch):
    net, seeds, got = model(), cells(3), []
    monkeypatch.setattr(epd, "decoded", lambda _m, _s, states: got.append(states) or [list(a) for a in seeds])
    seen = {SPACE.canonical(a) for a in seeds}
    found = epd.generate(net, SPACE, seeds, seen=seen, wanted=2, largest_step=4)
    assert found == ([], 4)
    states = net.encode(torch.tensor(seeds)).detach()
    gradient = net.ascent(states)
    assert len(got) == 4
    for eta, moved in enumerate(got, 1):
        torch.testing.assert_close(moved, functional.normalize(states + eta * gradient, dim=-1))
        torch.testing.assert_close(moved.norm(dim=-1), torch.ones(3, 6))
    iterated = functional.normalize(got[0] + net.ascent(got[0]), dim=-1)
    assert (iterated - got[1]).abs().max() > 1e-5


def test_generation_keeps_what_is_unseen_by_canonical_form_and_stops_when_there_is_enough(monkeypatch):
    # Cells of the same class under different encodings: operations on an edge that leads nowhere.
    one, same = (3, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 1)
    two, three, four, five = ((3,) * 5 + (last,) for last in range(4))
    assert SPACE.canonical(one) == SPACE.canonical(same)
    answers = iter([[one, two, two], [three, same, four, five], [one]])
    monkeypatch.setattr(epd, "decoded", lambda *_: [list(a) for a in next(answers)])
    seen = {SPACE.canonical(same)}
    found = epd.generate(model(), SPACE, cells(3), seen=seen, wanted=3, largest_step=50)
    assert found == ([two, three, four], 2)
    assert seen == {SPACE.canonical(same)}


def test_generated_architectures_are_predicted_to_be_better_than_their_seeds():
    architectures = cells(150)
    quality = np.array([float(a.count(3)) for a in architectures])
    net = model(epochs=120)
    fitted(net, SPACE, architectures, epd.rank_targets(quality))
    seeds = [a for a in architectures if 1 <= a.count(3) <= 2][:20]
    seen = {SPACE.canonical(a) for a in architectures}
    new, eta = epd.generate(net, SPACE, seeds, seen=seen, wanted=15, largest_step=50)
    assert 1 <= eta <= 50
    assert len(new) >= 10
    assert not {SPACE.canonical(a) for a in new} & seen
    assert len({SPACE.canonical(a) for a in new}) == len(new)
    assert np.mean([a.count(3) for a in new]) > np.mean([a.count(3) for a in seeds]) + 0.5


def test_generation_on_a_space_with_pairs_gives_its_members():
    net = model(NODES, tokens_per_step=2, epochs=5)
    architectures = valid_nodes(40)
    fitted(net, NODES, architectures, np.linspace(0, 1, 40))
    seen = {NODES.canonical(a) for a in architectures}
    new, _ = epd.generate(net, NODES, architectures[:10], seen=seen, wanted=10, largest_step=30)
    assert len(new) >= 3
    for architecture in new:
        NODES.check(architecture)
        assert architecture[0] != architecture[2]
        assert architecture[4] != architecture[6]
