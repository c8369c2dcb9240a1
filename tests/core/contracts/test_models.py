"""What every backbone, every head and every form of attention promises in a network."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import Backbone, FusedResNet32, SmallResNet, Timm
from oltr_core.models.heads import (
    Cosine,
    HeadSpec,
    LearnableScale,
    Linear,
    MetaEmbedding,
    MetaModelNet,
    ModelRegression,
    RandomProjection,
    WeightGenerator,
)

BACKBONES = get_args(get_args(Backbone)[0])
HEADS = get_args(get_args(HeadSpec)[0])
SIDE = {"resnet10": 64, "timm": 64}


def name_of(kind) -> str:
    return kind.model_fields["name"].default


def _spec(backbone_kind, **fields) -> NetworkSpec:
    backbone = Timm(model="resnet18") if backbone_kind is Timm else backbone_kind()
    return NetworkSpec(backbone=backbone, **fields)


def _images(spec: NetworkSpec, count: int = 2) -> torch.Tensor:
    side = SIDE.get(spec.backbone.name, 16)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", BACKBONES, ids=name_of)
@pytest.mark.parametrize("experts", [1, 2])
def test_forward_is_classify_after_features(backbone, experts):
    spec = _spec(backbone, experts=experts)
    network = spec(5).eval()
    images = _images(spec)
    features = network.features(images)
    assert features.shape == (2, experts, network.num_features)
    torch.testing.assert_close(features.norm(dim=2), torch.ones(2, experts))
    outputs = network(images)
    assert outputs.logits.shape == (2, experts, 5)
    torch.testing.assert_close(outputs.logits, network.classify(features).logits)


@pytest.mark.parametrize("backbone", BACKBONES, ids=name_of)
def test_without_the_last_relu_features_take_both_signs(backbone):
    fused = backbone is FusedResNet32  # multiplies by a map that has both
    for last_relu, signs in ((True, fused), (False, True)):
        spec = _spec(backbone, last_relu=last_relu, normalise=False)
        network = spec(3).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)  # timm closes its last blocks at first
        features = network.features(_images(spec))
        assert bool((features < 0).any()) is signs


def test_the_same_seed_gives_the_same_first_weights_and_leaves_the_worlds_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two, other = NetworkSpec()(4, seed=1), NetworkSpec()(4, seed=1), NetworkSpec()(4, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.heads[0].weight, other.heads[0].weight)


def test_two_experts_share_early_layers_and_differ_in_late_ones():
    network = NetworkSpec(experts=2)(4)
    assert len(network.trunk.branches) == 2
    first, second = (list(branch.parameters()) for branch in network.trunk.branches)
    assert not torch.equal(first[0], second[0])
    shared = sum(p.numel() for p in network.trunk.shared.parameters())
    assert shared > 0
    single = NetworkSpec(experts=1)(4)
    assert sum(p.numel() for p in network.parameters()) < 2 * sum(p.numel() for p in single.parameters())


@pytest.mark.parametrize("head", HEADS, ids=name_of)
@pytest.mark.parametrize("experts", [1, 2])
def test_a_head_grows_by_columns_and_the_old_keep_their_place(head, experts):
    network = NetworkSpec(head=head(), experts=experts)(4, seed=0).eval()
    features = torch.nn.functional.normalize(torch.randn(6, experts, network.num_features), dim=2)
    before = network.classify(features)
    for part in network.heads:
        part.extend(torch.randn(2, network.num_features), torch.randn(2, network.num_features) + 5)
    after = network.classify(features)
    assert network.num_classes == 6
    assert after.logits.shape == (6, experts, 6)
    if not isinstance(network.spec.head, MetaEmbedding):  # its memory feature mixes all centroids
        torch.testing.assert_close(after.logits[:, :, :4], before.logits)
    else:
        torch.testing.assert_close(after.distances[:, :, :4], before.distances)


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS, ids=name_of)
def test_a_new_column_answers_by_its_row_with_the_mean_bias_scale_and_length_of_the_old_ones(head):
    torch.manual_seed(0)
    part = NetworkSpec(head=head())(4).eval().heads[0]
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, 0.3)
    x, (row, centroid) = torch.randn(6, 64), torch.randn(2, 64)
    old = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    length = part.weight.norm(dim=1).mean()
    part.extend(row[None], centroid[None] if part.centroids is not None else None)
    found, cosines = part(x).logits[:, -1], torch.cosine_similarity(x, row[None])
    if head in (Cosine, WeightGenerator):
        torch.testing.assert_close(found, old["scale"] * cosines)
        torch.testing.assert_close(part.weight[-1].norm(), length)
    elif head is RandomProjection:
        z, of_row = ((old["directions"] @ v.T).clamp_min(0).T for v in (x, row[None]))
        torch.testing.assert_close(found, z @ of_row[0] / of_row.norm() * length + old["classifier.bias"].mean())
    elif head is MetaEmbedding:
        assert torch.equal(part.centroids[-1], centroid)
        torch.testing.assert_close(part.weight[-1], row / row.norm() * length)
        of_row = centroid / centroid.norm() * old["hallucinator.weight"].norm(dim=1).mean()
        torch.testing.assert_close(part.hallucinator(x)[:, -1], x @ of_row + old["hallucinator.bias"].mean())
        assert part.hallucinator.out_features == 5
    else:
        scale = old["scale"].mean() if "scale" in old else 1.0
        bias = old.get("bias", old.get("classifier.bias")).mean()
        torch.testing.assert_close(found, scale * (x @ row + bias))


@pytest.mark.parametrize("head", HEADS, ids=name_of)
def test_a_grown_head_can_be_trained_in_all_its_rows(head):
    network = NetworkSpec(head=head())(3)
    part = network.heads[0]
    part.extend(torch.randn(1, network.num_features), torch.randn(1, network.num_features))
    network.classify(torch.randn(4, 1, network.num_features)).logits.square().sum().backward()
    assert part.weight.grad is not None
    assert (part.weight.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("old", [head() for head in HEADS], ids=lambda h: h.name)
@pytest.mark.parametrize("new", [head() for head in HEADS], ids=lambda h: h.name)
def test_a_new_head_continues_the_classifier_it_replaces(old, new):
    network = NetworkSpec(head=old, experts=2)(3)
    before = torch.nn.functional.normalize(network.heads[1].as_linear()[0], dim=1)
    network.replace_heads(new)
    after = torch.nn.functional.normalize(network.heads[1].as_linear()[0], dim=1)
    torch.testing.assert_close(before, after)
    assert network.spec.head == new


@torch.no_grad()
@pytest.mark.parametrize("new", [Linear, LearnableScale, ModelRegression, MetaModelNet], ids=name_of)
@pytest.mark.parametrize("old", [Linear(), LearnableScale(), Cosine(scale=7.0)], ids=lambda h: h.name)
def test_a_linear_head_continues_a_head_with_equal_logits(old, new):
    network = NetworkSpec(head=old, experts=2)(3)
    features = torch.nn.functional.normalize(torch.randn(5, 2, network.num_features), dim=2)
    for part in network.heads:
        if hasattr(part, "bias"):
            part.bias.normal_()
        if old.name == "learnable_scale":
            part.scale.uniform_(0.5, 2)
    before = network.classify(features).logits
    network.replace_heads(new())
    torch.testing.assert_close(network.classify(features).logits, before)


def test_refresh_puts_class_means_into_every_memory_and_leaves_absent_classes_alone():
    network = NetworkSpec(experts=2)(3)
    features = torch.randn(8, 2, network.num_features)
    labels = torch.tensor([0, 0, 0, 2, 2, 2, 2, 2])
    network.refresh(features, labels)
    for e in range(2):
        memory = network.memory(e)
        torch.testing.assert_close(memory[0], features[:3, e].mean(0))
        torch.testing.assert_close(memory[2], features[3:, e].mean(0))
        assert torch.equal(memory[1], torch.zeros(network.num_features))


def test_trunk_state_and_head_state_are_the_two_halves_of_the_state():
    network = NetworkSpec()(3)
    assert {**network.trunk_state(), **network.head_state()}.keys() == network.state_dict().keys()
    assert not network.trunk_state().keys() & network.head_state().keys()


def test_a_model_of_timm_that_cannot_be_cut_serves_one_expert():
    spec = NetworkSpec(backbone=Timm(model="convnext_atto"), head=Linear())
    assert spec(3).eval()(torch.rand(1, 3, 64, 64)).logits.shape == (1, 1, 3)
    with pytest.raises(ValueError, match="several experts share the early stages of a ResNet"):
        spec.model_copy(update={"experts": 2})(3)


@torch.no_grad()
@pytest.mark.parametrize(("name", "positions"), [("test_convnext", 2 * 2), ("test_vit", 1)])
def test_a_whole_model_of_timm_gives_its_last_map_or_what_it_classifies_as_one_position(name, positions):
    import timm

    shared, (late,), channels = Timm(model=name)(1, True)
    alone, images = timm.create_model(name, num_classes=0).eval(), torch.rand(2, 3, 64, 64)
    if name == "test_vit":
        images = torch.rand(2, 3, 160, 160)
    alone.load_state_dict(late.model.state_dict())
    found = late.eval()(shared(images))
    assert found.shape[:2] == (2, channels)
    assert found[0, 0].numel() == positions
    expected = alone.forward_features(images) if positions > 1 else alone(images)[:, :, None, None]
    torch.testing.assert_close(found, expected)


def test_an_unknown_model_of_timm_is_answered_with_its_neighbours():
    with pytest.raises(ValueError, match="timm has no model 'resnet5'.*resnet50"):
        NetworkSpec(backbone=Timm(model="resnet5"))(3)


def test_local_weights_are_read_and_missing_ones_named(tmp_path):
    import timm
    from safetensors.torch import save_file

    source = timm.create_model("resnet18", num_classes=0)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    spec = NetworkSpec(backbone=Timm(model="resnet18", weights=str(tmp_path / "weights.safetensors")))
    assert torch.equal(next(spec(3).trunk.parameters()), source.conv1.weight)
    save_file({"conv1.weight": source.conv1.weight}, tmp_path / "part.safetensors")
    part = NetworkSpec(backbone=Timm(model="resnet18", weights=str(tmp_path / "part.safetensors")))
    with pytest.raises(ValueError, match=r"part.safetensors lacks .* tensors"):
        part(3)


def test_weights_that_are_not_of_the_model_are_one_sentence(tmp_path):
    import timm
    from safetensors.torch import save_file

    other = timm.create_model("test_resnet", num_classes=0).state_dict()
    name = next(iter(other))
    other[name] = torch.zeros(7, 3, 3, 3)
    save_file(other, tmp_path / "other.safetensors")
    (tmp_path / "model.pth").write_bytes(b"PK\3\4 a pickle")
    for file, sentence in (
        ("other.safetensors", rf"of another model than backbone\.model: expected '{name}' of shape \["),
        ("model.pth", "expected a safetensors file, found"),
        ("none.safetensors", "is not a file; relative paths start at the workspace"),
    ):
        with pytest.raises(ValueError, match=sentence):
            NetworkSpec(backbone=Timm(model="test_resnet", weights=str(tmp_path / file)))(3)


def test_weights_of_timm_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"name a file of them as backbone\.weights"):
        NetworkSpec(backbone=Timm(model="test_resnet", pretrained=True))(3)


@pytest.mark.parametrize("head", HEADS, ids=name_of)
def test_only_a_head_that_learns_from_classes_of_many_images_is_built_from_features(head):
    network = NetworkSpec(head=head())(3)
    built = name_of(head) in ("weight_generator", "model_regression", "meta_model_net")
    assert network.builds_heads is built
    before = {name: tensor.clone() for name, tensor in network.head_state().items()}
    if not built:
        network.build_heads(torch.randn(4, 1, network.num_features), torch.tensor([0, 1, 2, 0]))
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.head_state().items())


def test_stages_of_unequal_number_are_refused():
    with pytest.raises(ValueError, match="one value per stage"):
        NetworkSpec(backbone=SmallResNet(widths=(8, 8)))(3)


@pytest.mark.parametrize("head", HEADS, ids=name_of)
def test_every_expert_reads_its_own_feature(head):
    network = NetworkSpec(head=head(), experts=2)(3).eval()
    features = torch.randn(5, 2, network.num_features)
    network.refresh(features, torch.tensor([0, 1, 2, 0, 1]))
    outputs = network.classify(features)
    for e, part in enumerate(network.heads):
        alone = part(features[:, e])
        torch.testing.assert_close(outputs.logits[:, e], alone.logits)
        torch.testing.assert_close(outputs.embeddings[:, e], alone.embedding)
        if alone.distances is not None:
            torch.testing.assert_close(outputs.distances[:, e], alone.distances)
    assert torch.equal(outputs.features, features)
    assert not torch.allclose(outputs.logits[:, 0], outputs.logits[:, 1])


def test_distances_carry_the_gradient_to_the_images_and_to_every_expert():
    network = NetworkSpec(experts=2)(3)
    with torch.no_grad():
        network.refresh(torch.randn(6, 2, network.num_features), torch.tensor([0, 1, 2, 0, 1, 2]))
    features = torch.randn(4, 2, network.num_features, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.classify(features).distances[:, :, 1].sum(), features)
    for e in range(2):  # d = ||x - c||, and its derivative is (x - c) / d
        expected = torch.nn.functional.normalize(features[:, e] - network.memory(e)[1], dim=1)
        torch.testing.assert_close(gradient[:, e], expected, rtol=1e-3, atol=1e-4)
    images = _images(network.spec)
    network(images).distances.sum().backward()
    assert float(next(network.trunk.parameters()).grad.abs().max()) > 0


def test_every_memory_takes_in_the_features_and_distances_of_its_own_expert():
    network = NetworkSpec(experts=2)(3)
    features, labels = torch.randn(6, 2, network.num_features), torch.tensor([0, 0, 1, 1, 2, 2])
    gammas = torch.rand(6, 2) + 1
    before = [(network.memory(e).clone(), head.median.clone()) for e, head in enumerate(network.heads)]
    network.observe(features, labels, gammas)
    for e, (centroids, median) in enumerate(before):
        for k in range(3):
            mine = features[labels == k, e]
            moved = centroids[k] - 0.5 * (centroids[k] - mine).sum(0) / 3  # Eq. 1
            torch.testing.assert_close(network.memory(e)[k], moved)
        torch.testing.assert_close(network.heads[e].median, 0.9 * median + 0.1 * gammas[:, e].median())


def test_refresh_leaves_the_centroids_of_absent_classes_and_fits_the_scale_of_gamma():
    network = NetworkSpec(experts=2)(3)
    before = torch.randn(2, 3, network.num_features)
    for e in range(2):
        network.memory(e).copy_(before[e])
    features, labels = torch.randn(6, 2, network.num_features), torch.tensor([0, 0, 0, 0, 0, 2])
    network.refresh(features, labels)
    for e, head in enumerate(network.heads):
        assert torch.equal(network.memory(e)[1], before[e, 1])
        torch.testing.assert_close(network.memory(e)[0], features[:5, e].mean(0))
        torch.testing.assert_close(network.memory(e)[2], features[5, e], msg="of one image")
        gamma = (features[:, e, None] - network.memory(e)).norm(dim=2).amin(1).median()
        torch.testing.assert_close(head.median, gamma, rtol=1e-3, atol=1e-4)


def test_the_mean_over_experts_is_what_is_asked_for_probabilities_and_distances():
    network = NetworkSpec(experts=2)(3).eval()
    outputs = network.classify(torch.randn(5, 2, network.num_features))
    torch.testing.assert_close(outputs.mean_logits, (outputs.logits[:, 0] + outputs.logits[:, 1]) / 2)
    torch.testing.assert_close(outputs.mean_distances, (outputs.distances[:, 0] + outputs.distances[:, 1]) / 2)


def test_a_network_that_is_about_to_be_loaded_fetches_no_weights():
    spec = NetworkSpec(backbone=Timm(model="resnet18", pretrained=True, weights="w.safetensors"), experts=2)
    bare = spec.without_downloads()
    assert bare.backbone == Timm(model="resnet18", pretrained=False, weights="")
    assert bare.experts == 2
    assert NetworkSpec().without_downloads() == NetworkSpec()


def test_stages_of_timm_are_divided_among_experts_and_each_starts_alike():
    spec = NetworkSpec(backbone=Timm(model="resnet18", shared_stages=3), experts=2)
    trunk = spec(3).trunk
    assert (len(trunk.shared), [len(branch) for branch in trunk.branches]) == (4 + 3, [1, 1])
    first, second = (list(branch.parameters()) for branch in trunk.branches)
    assert all(torch.equal(a, b) and a is not b for a, b in zip(first, second, strict=True))
    alone = NetworkSpec(backbone=Timm(model="resnet18"))(3).trunk
    assert (len(alone.shared), len(alone.branches[0])) == (4 + 4, 0)
