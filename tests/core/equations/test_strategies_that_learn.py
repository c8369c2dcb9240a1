"""CoreSet, DBAL and VAAL against naive loops and against their formulas in NumPy and torch.distributions."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from oltr_core.interfaces import Outputs, SelectionContext, concatenate
from oltr_core.strategies import CoreSet, Dbal, KCenter, Vaal
from oltr_core.strategies.contextual import linear
from oltr_core.strategies.core_set import nearest
from oltr_core.strategies.dbal import Scale, dropped
from oltr_core.strategies.vaal import told_apart
from tests.core.contracts import worlds
from tests.core.written_out import Adam

SHORT = Dbal(passes=7, steps=40, hidden=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def context() -> SelectionContext:
    labelled, labels = worlds.around(worlds.centroids(), 40, seed=6)
    return SelectionContext(labelled=labelled, labels=labels)


# --- CoreSet -------------------------------------------------------------------------------------------------


def test_core_set_is_the_naive_loop_from_the_labelled_images(context):
    pool = worlds.outputs(30, seed=2)

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(np.mean([np.linalg.norm(x - y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]))

    centres, chosen, merit = list(context.labelled.features), [], []
    for _ in range(6):
        gaps = [-1 if i in chosen else min(distance(f, c) for c in centres) for i, f in enumerate(pool.features)]
        chosen.append(int(np.argmax(gaps)))
        merit.append(max(gaps))
        centres.append(pool.features[chosen[-1]])
    picks = CoreSet()(pool, 6, seeded(), context)
    assert picks.indices.tolist() == chosen
    assert picks.merit.tolist() == pytest.approx(merit, abs=1e-5)


def test_core_set_without_labelled_images_starts_from_the_centroids_as_k_centre_does(context):
    pool = worlds.outputs(30, seed=2)
    nobody = SelectionContext(labelled=context.labelled[:0], labels=context.labels[:0])
    for given in ((), (nobody,)):
        assert CoreSet()(pool, 6, seeded(), *given).indices.tolist() == KCenter()(pool, 6, seeded()).indices.tolist()
    assert CoreSet()(pool, 6, seeded(), context).indices.tolist() != KCenter()(pool, 6, seeded()).indices.tolist()


def test_distances_to_labelled_images_do_not_depend_on_how_many_rows_are_taken_at_once(context):
    pool = worlds.outputs(300, seed=2).features
    alone = torch.cat([nearest(row[None], context.labelled.features) for row in pool])
    torch.testing.assert_close(nearest(pool, context.labelled.features), alone, atol=1e-5, rtol=1e-5)


# --- DBAL ----------------------------------------------------------------------------------------------------


def test_bald_is_the_entropy_of_the_mean_less_the_mean_of_the_entropies(monkeypatch):
    g = seeded(1)
    passes = [torch.randn(5, 3, generator=g) * 3 for _ in range(SHORT.passes)]
    given = iter(passes)
    monkeypatch.setattr(Dbal, "_logits", lambda self, layers, x, generator: next(given))
    found = SHORT._bald((linear(4, 2, g), linear(2, 3, g)), torch.zeros(5, 4), g).numpy()
    p = np.stack([np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (z.double().numpy() for z in passes)])
    mean = p.mean(0)
    expected = -(mean * np.log(mean)).sum(1) + (p * np.log(p)).sum(2).mean(0)
    assert found == pytest.approx(expected, abs=1e-6)
    assert expected.min() > 0.1


def test_a_pass_drops_features_and_hidden_units_and_keeps_their_expectation():
    first, second = linear(6, 8, seeded(1)), linear(8, 3, seeded(2))
    x = torch.randn(4, 6, generator=seeded(3))
    got = Dbal(dropout=(0.25, 0.5))._logits((first, second), x, seeded(4))
    g = seeded(4)
    kept = torch.empty(4, 6).bernoulli_(0.75, generator=g) / 0.75
    hidden = torch.relu(x * kept @ first.weight.T + first.bias)
    expected = hidden * (torch.empty(4, 8).bernoulli_(0.5, generator=g) * 2) @ second.weight.T + second.bias
    torch.testing.assert_close(got, expected)
    ones = dropped(torch.ones(20000, 1), 0.25, seeded(5))
    assert ones.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(ones.mean()) == pytest.approx(1, abs=0.02)


def test_dbal_without_dropout_knows_no_disagreement_and_its_layers_learn_the_labels(context):
    pool, labels = worlds.around(worlds.centroids(), 30, seed=8)
    still = Dbal(passes=3, steps=150, dropout=(0.0, 0.0), learning_rate=1e-2)
    assert still(pool, 30, seeded(), context).merit.tolist() == pytest.approx([0] * 30, abs=1e-6)
    features = context.labelled.features.flatten(1)
    scale, g = Scale(features), seeded()
    layers = linear(features.shape[1], 16, g), linear(16, 5, g)
    still._fit(layers, scale(features), context.labels, g)
    said = still._logits(layers, scale(pool.features.flatten(1)), g).argmax(1)
    assert float((said == labels).float().mean()) > 0.9


def test_the_layers_of_dbal_are_fitted_by_adam_to_batches_of_labelled_images_written_out(context):
    x, labels = Scale(context.labelled.features.flatten(1))(context.labelled.features.flatten(1)), context.labels
    dbal = Dbal(steps=5, batch_size=8, hidden=6, learning_rate=0.05)
    layers, expected = ((linear(x.shape[1], 6, seeded(1)), linear(6, 5, seeded(2))) for _ in range(2))
    g = seeded(3)

    def loss() -> torch.Tensor:
        rows = torch.randint(len(labels), (8,), generator=g)
        z = dbal._logits(expected, x[rows], g)
        return -z.log_softmax(1)[torch.arange(8), labels[rows]].mean()

    weights = [[p for layer in side for p in layer.parameters()] for side in (layers, expected)]
    adam = Adam(weights[1])
    for _ in range(5):
        adam.step(loss(), 0.05)
    dbal._fit(layers, x, labels, seeded(3))
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


def test_features_are_scaled_by_what_the_labelled_images_are():
    x = torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 16.0]])
    scale = Scale(x)
    assert scale.mean.tolist() == [3, 12]
    assert float(scale.size) == pytest.approx(np.sqrt((4 + 4 + 4 + 4 + 16) / 6))
    torch.testing.assert_close(scale(x), (x - torch.tensor([3.0, 12.0])) / scale.size)
    assert not Scale(x[:1])(x[:1]).any(), "of one image there is no size"


# --- VAAL ----------------------------------------------------------------------------------------------------


def test_the_auto_encoders_loss_is_the_elbo_and_what_the_discriminator_says():
    vaal, g = Vaal(latent=3, hidden=8, beta=0.7, adversarial=1.3), seeded(1)
    encoder, decoder, discriminator = vaal._networks(5, g)
    x = torch.randn(6, 5, generator=g)
    got = vaal.loss(x, encoder, decoder, discriminator, seeded(2))
    mu, log_variance = encoder(x).split(3, 1)
    q = Normal(mu, log_variance.exp().sqrt())
    z = mu + q.stddev * torch.empty(6, 3).normal_(generator=seeded(2))
    constant = 5 / 2 * np.log(2 * np.pi)  # of a density of unit variance; no gradient
    likelihood = Normal(decoder(z), 1.0).log_prob(x).sum(1) + constant
    divergence = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    fooled = discriminator(mu).sigmoid().log()[:, 0]
    torch.testing.assert_close(got, (-likelihood + 0.7 * divergence - 1.3 * fooled).mean())


def test_the_discriminator_calls_labelled_images_one_and_the_others_zero():
    labelled, unlabelled = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    expected = cross_entropy(labelled, torch.ones(2, 1)) + cross_entropy(unlabelled, torch.zeros(2, 1))
    torch.testing.assert_close(told_apart(labelled, unlabelled), expected)


def test_vaal_takes_what_is_unlike_the_labelled_images_first(context):
    vaal = Vaal(steps=60, vae_steps=1, hidden=32, learning_rate=1e-2)
    known = worlds.outputs(60, seed=9)
    strange = worlds.measured(-known.features[:20], worlds.centroids())
    picks = vaal(concatenate([known, strange]), 80, seeded(), context)
    assert (picks.indices[:20] >= 60).sum() >= 16, "5 by chance"
    assert 0 <= float(picks.merit.min()) < 0.5 < float(picks.merit.max()) <= 1


def test_two_steps_of_the_auto_encoder_come_before_each_of_the_discriminator(monkeypatch, context):
    taken = []

    def step(self, closure=None):
        taken.append(sum(p.numel() for group in self.param_groups for p in group["params"]))

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    vaal = Vaal(latent=2, hidden=3, steps=2)
    vaal(worlds.outputs(9, seed=3), 2, seeded(), context)
    auto_encoder = (32 * 3 + 3) + (3 * 4 + 4) + (2 * 3 + 3) + (3 * 32 + 32)
    discriminator = (2 * 3 + 3) + (3 * 3 + 3) + (3 * 1 + 1)
    assert taken == [auto_encoder, auto_encoder, discriminator] * 2
    taken.clear()
    SHORT(worlds.outputs(9, seed=3), 2, seeded(), context)
    assert taken == [(32 * 16 + 16) + (16 * 5 + 5)] * 40


def test_vaal_is_algorithm_1_by_adam_written_out(context):
    pool = worlds.outputs(9, seed=3)
    vaal, g = Vaal(latent=2, hidden=3, steps=3, vae_steps=2, batch_size=4, learning_rate=0.02), seeded(5)
    scale = Scale(context.labelled.features.flatten(1))
    sides = [scale(of.features.flatten(1)) for of in (context.labelled, pool)]
    encoder, decoder, discriminator = vaal._networks(32, g)

    def batches() -> list[torch.Tensor]:
        return [of[torch.randint(len(of), (4,), generator=g)] for of in sides]

    def elbo() -> torch.Tensor:
        one, other = batches()
        parts = encoder, decoder, discriminator, g
        return vaal.loss(one, *parts) + vaal.loss(other, *parts)

    def told() -> torch.Tensor:
        labelled, unlabelled = (discriminator(encoder(x).detach()[:, :2]) for x in batches())
        return -(labelled.sigmoid().log().mean() + (1 - unlabelled.sigmoid()).log().mean())

    of_vae, of_discriminator = Adam([*encoder.parameters(), *decoder.parameters()]), Adam(discriminator.parameters())
    for _ in range(3):
        of_vae.step(elbo(), 0.02)
        of_vae.step(elbo(), 0.02)
        of_discriminator.step(told(), 0.02)
    merit = 1 - discriminator(encoder(sides[1])[:, :2]).sigmoid()[:, 0]
    found = vaal(pool, 9, seeded(5), context)
    torch.testing.assert_close(found.merit, merit.detach()[found.indices], rtol=1e-3, atol=1e-4)


# --- both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [SHORT, Vaal(steps=1)], ids=lambda s: s.name)
def test_a_strategy_that_learns_from_labelled_images_says_so_where_there_is_none(strategy, context):
    nobody = SelectionContext(labelled=context.labelled[:0], labels=context.labels[:0])
    for given in ((), (nobody,)):
        with pytest.raises(ValueError, match=f"{strategy.name} learns from labelled images .* found none"):
            strategy(worlds.outputs(5), 2, seeded(), *given)


def test_layers_begin_as_torchs_do_and_leave_its_own_generator_alone():
    before = torch.random.get_rng_state()
    layer = linear(16, 500, seeded())
    assert torch.equal(before, torch.random.get_rng_state())
    bound = 16**-0.5
    for values in (layer.weight.detach(), layer.bias.detach()):
        assert float(values.abs().max()) <= bound
        assert float(values.var()) == pytest.approx(bound**2 / 3, rel=0.15)
    assert torch.equal(layer.weight, linear(16, 500, seeded()).weight)


def test_only_features_and_labels_have_a_part_in_it(context):
    """Not the logits of the model, so that a row of a table is the published method."""
    pool = worlds.outputs(20, seed=3)
    blind = Outputs(torch.zeros_like(pool.logits), pool.features, torch.zeros_like(pool.embeddings), pool.distances)
    for strategy in (SHORT, Vaal(steps=3), CoreSet()):
        seen = [strategy(of, 5, seeded(), context).indices.tolist() for of in (pool, blind)]
        assert seen[0] == seen[1]
