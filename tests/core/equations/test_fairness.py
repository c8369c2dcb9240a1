"""LFR and latent de-biasing: their formulas recomputed, and the gap between groups before and after."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from oltr_core import fairness
from oltr_core.fairness import LatentDebiasing, LearnedFairRepresentation
from oltr_core.fairness.latent_debiasing import balanced
from tests.core.written_out import Adam

D, RESAMPLES = 12, 1000
SHORT = LearnedFairRepresentation(parity=5, steps=300)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(num: int, seed: int, second: tuple[float, float] = (0.5, 0.5), shift: float = 0.0, apart: float = 3.0):
    """Features [N, D], labels and groups: P(second group | class) is `second`, and its features lie `shift` lower.

    The classes are two standard deviations apart along one direction, the groups 2 `apart` along another.
    """
    g = seeded(seed)
    labels = torch.arange(num) % 2
    groups = (torch.rand(num, generator=g) < torch.tensor(second)[labels]).long()
    x = torch.randn(num, D, generator=g)
    x[:, 0] += 2 * labels - 1 - shift * groups
    x[:, 1] += apart * (2 * groups - 1)
    turned, _ = torch.linalg.qr(torch.randn(D, D, generator=seeded(9)))
    return x @ turned, labels, groups


def right(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, wanted: torch.Tensor) -> np.ndarray:
    """Which test images a logistic regression names rightly."""
    found = LogisticRegression(max_iter=500).fit(train.numpy(), labels.numpy())
    return found.predict(test.numpy()) == wanted.numpy()


def gap_closed(before: np.ndarray, after: np.ndarray, groups: torch.Tensor) -> tuple[float, float, float]:
    """The groups' gap in accuracy before, and the 95 % interval of what it is less by (paired bootstrap)."""
    rng, gaps = np.random.default_rng(0), []
    rows = [np.flatnonzero(groups.numpy() == value) for value in (0, 1)]
    for _ in range(RESAMPLES):
        a, b = (rng.choice(of, len(of)) for of in rows)
        gaps.append([abs(of[a].mean() - of[b].mean()) for of in (before, after)])
    low, high = np.quantile(np.subtract(*np.transpose(gaps)), [0.025, 0.975])
    return abs(before[rows[0]].mean() - before[rows[1]].mean()), float(low), float(high)


# --- the gap -------------------------------------------------------------------------------------------------


def test_lfr_closes_the_gap_of_a_rare_group_whose_features_are_shifted():
    """One image in ten is of the second group (a darker camera), in both classes alike."""
    x, labels, groups = images(1000, 1, (0.1, 0.1), shift=2.0, apart=1.5)
    test, wanted, of = images(4000, 2, shift=2.0, apart=1.5)
    state = SHORT.fit(x, labels, groups, seeded())
    before, after = right(x, labels, test, wanted), right(SHORT(x, state), labels, SHORT(test, state), wanted)
    gap, low, _ = gap_closed(before, after, of)
    assert gap > 0.05
    assert low > 0, "the interval excludes zero"
    assert after.mean() > before.mean() - 0.02


def test_latent_debiasing_closes_the_gap_of_a_class_that_one_group_hardly_has():
    """Of 100 images of the second class, two are of the first group; of the other class, half."""
    x, labels, groups = images(1000, 1, (0.5, 0.98))
    test, wanted, of = images(4000, 2)
    method = LatentDebiasing()
    twins = method(x, method.fit(x, labels, groups, seeded()))
    before = right(x, labels, test, wanted)
    after = right(torch.cat([x, twins]), torch.cat([labels, labels]), test, wanted)
    gap, low, _ = gap_closed(before, after, of)
    assert gap > 0.05
    assert low > 0, "the interval excludes zero"
    assert after.mean() > before.mean()


# --- LFR -----------------------------------------------------------------------------------------------------


def test_the_objective_of_lfr_is_its_three_terms():
    """Three groups: the parity is that of the pair furthest apart."""
    rng = np.random.default_rng(3)
    x, v, a = rng.normal(size=(12, 4)), rng.normal(size=(3, 4)), rng.uniform(0.1, 1, 4)
    w = rng.dirichlet(np.ones(3), 3)
    labels, groups = np.arange(12) % 3, np.repeat([0, 4, 7], [3, 5, 4])
    distance = (a * (x[:, None] - v) ** 2).sum(2)
    m = np.exp(-distance) / np.exp(-distance).sum(1, keepdims=True)
    reconstruction = np.mean(((x - m @ v) ** 2).sum(1))
    prediction = -np.mean(np.log((m @ w)[np.arange(12), labels]))
    means = [m[groups == value].mean(0) for value in (0, 4, 7)]
    parity = max(np.abs(means[i] - means[j]).sum() for i, j in ((0, 1), (0, 2), (1, 2)))
    state = {name: torch.from_numpy(of) for name, of in (("prototypes", v), ("weights", a), ("classes", np.log(w)))}
    lfr = LearnedFairRepresentation(reconstruction=0.3, prediction=0.7, parity=2.0)
    found = lfr.loss(torch.from_numpy(x), torch.from_numpy(labels), torch.from_numpy(groups), state)
    assert float(found) == pytest.approx(0.3 * reconstruction + 0.7 * prediction + 2 * parity)
    torch.testing.assert_close(lfr(torch.from_numpy(x), state), torch.from_numpy(m @ v))


def test_lfr_is_fitted_by_adam_along_a_falling_cosine_written_out():
    """From training images as prototypes, equal weights of all dimensions and classes alike."""
    x, labels, groups = images(40, 1)
    x = (x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt()  # the units of the fit
    lfr = LearnedFairRepresentation(prototypes=5, steps=6, learning_rate=0.1)
    drawn = torch.randperm(40, generator=seeded(3))[:5]
    free = [x[drawn].clone(), torch.full((D,), -np.log(D)).float(), torch.zeros(5, 2)]
    free = [of.requires_grad_() for of in free]

    def state() -> dict[str, torch.Tensor]:
        return {"prototypes": free[0], "weights": free[1].exp(), "classes": free[2].log_softmax(1)}

    adam = Adam(free)
    for step in range(6):
        adam.step(lfr.loss(x, labels, groups, state()), 0.1 * (1 + np.cos(np.pi * step / 6)) / 2)
    found = lfr.fit(x, labels, groups, seeded(3))
    expected = {name: value.detach() for name, value in state().items()}
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert float((found["prototypes"] - x[drawn]).abs().mean()) > 0.05


def test_what_lfr_keeps_is_in_the_units_of_the_features():
    """Features of another scale and place: the same memberships, hence the same images in these units."""
    x, labels, groups = images(60, 1)
    short = LearnedFairRepresentation(steps=30)
    state, other = (short.fit(of, labels, groups, seeded()) for of in (x, 40 * x + 7))
    torch.testing.assert_close(short(40 * x + 7, other), 40 * short(x, state) + 7, atol=0.1, rtol=1e-3)
    assert torch.equal(short.fit(x, labels, groups, seeded())["prototypes"], state["prototypes"])
    assert not torch.equal(short.fit(x, labels, groups, seeded(1))["prototypes"], state["prototypes"])


def test_lfr_says_what_it_cannot_be_fitted_on():
    x, labels, groups = images(20, 1)
    with pytest.raises(ValueError, match="expected 10 training images or more, of two groups or more; found 9 of"):
        SHORT.fit(x[:9], labels[:9], groups[:9], seeded())
    with pytest.raises(ValueError, match="found 20 of 1$"):
        SHORT.fit(x, labels, torch.zeros(20).long(), seeded())


# --- latent de-biasing ---------------------------------------------------------------------------------------


def machine(x: torch.Tensor, of: torch.Tensor, weights: torch.Tensor) -> Any:
    found: Any = LinearSVC(dual=False)  # pyright: ignore[reportArgumentType]
    return found.fit(x.double().numpy(), of.numpy(), weights.numpy())


@pytest.fixture(scope="module")
def fitted():
    """Three classes; the attribute is not told by them alone."""
    x, labels, groups = images(300, 4, (0.3, 0.6))
    labels = torch.where(x[:, 5] > 0.8, 2, labels)
    weights = balanced(labels, groups)
    machines = [machine(x, of, weights) for of in (groups, labels)]
    return x, labels, groups, machines, LatentDebiasing().fit(x, labels, groups, seeded())


def test_a_twin_is_as_far_on_the_other_side_and_scores_the_same_for_every_class(fitted):
    x, _, _, (of_group, of_class), state = fitted
    twins = LatentDebiasing()(x, state)
    sides, others = (of_group.decision_function(of.double().numpy()) for of in (x, twins))
    np.testing.assert_allclose(others, -sides, atol=1e-4)
    assert np.abs(sides).min() > 1e-3
    before, after = (of_class.decision_function(of.double().numpy()) for of in (x, twins))
    assert before.shape == (300, 3)
    np.testing.assert_allclose(after, before, atol=1e-4)
    torch.testing.assert_close(LatentDebiasing()(twins, state), x, atol=1e-4, rtol=1e-4)


def test_for_two_classes_it_is_the_papers_formula():
    x, labels, groups = images(200, 4, (0.3, 0.6))
    weights = balanced(labels, groups)
    machines = [machine(x, of, weights) for of in (groups, labels)]
    length = np.linalg.norm(machines[0].coef_)
    w_g, b = machines[0].coef_[0] / length, machines[0].intercept_[0] / length
    w_a = machines[1].coef_[0] / np.linalg.norm(machines[1].coef_)
    cosine = w_g @ w_a
    assert abs(cosine) > 0.01
    z = x.double().numpy()
    expected = z - 2 * ((z @ w_g + b) / (1 - cosine**2))[:, None] * (w_g - cosine * w_a)
    found = LatentDebiasing()(x, LatentDebiasing().fit(x, labels, groups, seeded()))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_every_class_of_every_group_weighs_the_same():
    labels, groups = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 1])
    assert balanced(labels, groups).tolist() == pytest.approx([1, 1, 2, 2 / 3, 2 / 3, 2 / 3])


def test_latent_debiasing_says_what_it_cannot_be_fitted_on(fitted):
    x, labels, groups, _, _ = fitted
    with pytest.raises(ValueError, match="expected an attribute of two values, found 3"):
        LatentDebiasing().fit(x, labels, labels, seeded())
    with pytest.raises(ValueError, match="found none among 12 dimensions"):
        LatentDebiasing().fit(x, groups, groups, seeded())


# --- both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", fairness.MEMBERS, ids=lambda m: m().name)
def test_a_method_is_in_the_table_and_gives_features_of_the_same_shape(method):
    assert f"`{method().name}`" in (fairness.__doc__ or "")
    x, labels, groups = images(60, 1)
    short = method(**({"steps": 5} if "steps" in method.model_fields else {}))
    kept = x.clone()
    state = short.fit(x, labels, groups, seeded())
    assert short(x[:7], state).shape == (7, D)
    assert torch.equal(x, kept)
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in state.values())
