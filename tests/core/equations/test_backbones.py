"""Residual networks against torchvision's, against a forward pass written out, and by their published sizes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import FusedResNet32, ResNet10, ResNet18Cifar, ResNet32, SmallResNet
from oltr_core.models.backbones.residual import PadShortcut
from oltr_core.models.heads import Linear


def whole(backbone, last_relu=True) -> torch.nn.Module:
    shared, (late,), _ = backbone(1, last_relu)
    return torch.nn.Sequential(shared, late).eval()


def disturbed(network: torch.nn.Module) -> torch.nn.Module:
    """Statistics and weights of normalisation that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network


@torch.no_grad()
def test_resnet10_is_torchvisions_residual_network_with_one_block_per_stage():
    from torchvision.models.resnet import BasicBlock, ResNet

    ours, theirs = disturbed(whole(ResNet10())), ResNet(BasicBlock, [1, 1, 1, 1]).eval()
    names = [name for name in theirs.state_dict() if not name.startswith("fc.")]
    mine = list(ours.state_dict().values())
    assert len(mine) == len(names)
    theirs.load_state_dict(dict(zip(names, mine, strict=True)), strict=False)
    images = torch.rand(2, 3, 70, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = layer(x)
    torch.testing.assert_close(ours(images), x, rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("last_relu", [True, False])
@pytest.mark.parametrize("backbone", [SmallResNet(), ResNet32(), ResNet18Cifar()], ids=lambda b: b.name)
def test_a_network_for_small_images_is_its_forward_pass_written_out(backbone, last_relu):
    network = disturbed(whole(backbone, last_relu))
    weights = iter([m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d)])

    def conv_norm(x, kernel, stride):
        conv, norm = next(weights), next(weights)
        assert conv.bias is None
        x = F.conv2d(x, conv.weight, stride=stride, padding=kernel // 2)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    images = torch.rand(2, 3, 12, 16)
    x = conv_norm(images, 3, 1).relu()
    width, stages = backbone.widths[0], list(zip(backbone.blocks, backbone.widths, backbone.strides, strict=True))
    for stage, (blocks, outputs, stride) in enumerate(stages):
        for block in range(blocks):
            by = stride if block == 0 else 1
            y = conv_norm(conv_norm(x, 3, by).relu(), 3, 1)
            if by == 1 and width == outputs:
                short = x
            elif backbone.shortcut == "pad":
                extra = outputs - width
                zeros = x.new_zeros(2, extra // 2, *y.shape[2:])
                short = torch.cat([zeros, x[:, :, ::by, ::by], zeros], 1)
            else:
                short = conv_norm(x, 1, by)
            x, width = y + short, outputs
            if last_relu or (stage, block) != (len(stages) - 1, blocks - 1):
                x = x.relu()
    torch.testing.assert_close(network(images), x, rtol=1e-3, atol=1e-4)


def test_new_channels_of_a_padded_shortcut_lie_on_both_sides():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    out = PadShortcut(2, 3)(x)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, 1].flatten().tolist() == [0, 2, 8, 10]
    assert out[0, [0, 2, 3]].abs().sum() == 0


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [(ResNet32(), 0.46), (ResNet18Cifar(), 11.17), (ResNet10(), 4.9)],
    ids=str,
)
def test_published_sizes(backbone, millions):
    assert sum(p.numel() for p in whole(backbone).parameters()) / 1e6 == pytest.approx(millions, abs=0.011)


@pytest.mark.parametrize("backbone", [ResNet32(), FusedResNet32(shared_stages=1)], ids=lambda b: b.name)
def test_convolutions_of_every_part_start_with_the_variance_that_relus_need(backbone):
    shared, branches, _ = backbone(2, True)
    for part in (shared, *branches):
        convolutions = [m for m in part.modules() if isinstance(m, torch.nn.Conv2d)]
        assert convolutions
        for conv in convolutions:
            fan_out = conv.out_channels * conv.kernel_size[0] ** 2
            assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)


@pytest.mark.parametrize(("backbone", "shared", "late"), [(SmallResNet(), 2, 2), (ResNet32(), 1, 2)], ids=str)
def test_experts_share_the_first_stages_and_one_expert_all(backbone, shared, late):
    parts = backbone(2, True)
    assert [len(parts.shared), *map(len, parts.branches)] == [1 + shared, late, late]
    assert (len(backbone(1, True).shared), len(backbone(1, True).branches[0])) == (1 + shared + late, 0)
    everything = backbone.model_copy(update={"shared_stages": 9})(3, True)
    assert [len(everything.shared), *map(len, everything.branches)] == [shared + late, 1, 1, 1]


@torch.no_grad()
@pytest.mark.parametrize(("shared", "stages"), [(2, [0, 1, 0]), (1, [0, 0, 0])])
def test_a_fused_expert_multiplies_its_map_by_that_of_an_early_stage(shared, stages):
    together, branches, channels = FusedResNet32(shared_stages=shared, blocks=(1, 1, 1))(3, True)
    for part in (together, *branches):
        disturbed(part.eval())
    x = together.stem(torch.rand(2, 3, 32, 32))
    maps = []
    for stage in together.stages:
        x = stage(x)
        maps.append(x)
    assert (len(maps), channels) == (shared, 64)
    images = torch.rand(2, 3, 32, 32)
    for found, expected in zip(together(images), _stages(together, images), strict=True):
        torch.testing.assert_close(found, expected)
    for branch, stage in zip(branches, stages, strict=True):
        y = maps[stage]
        layers = [m for m in branch.aligned if not isinstance(m, torch.nn.ReLU)]
        for i, (conv, norm) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            y = F.conv2d(y.relu() if i else y, conv.weight, stride=2, padding=1)
            y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        torch.testing.assert_close(branch(maps), branch.late(maps[-1]) * y)
        assert len(layers) == 2 * (2 - stage)


def _stages(together, images):
    x = together.stem(images)
    for stage in together.stages:
        yield (x := stage(x))


def test_the_fused_network_of_three_experts_has_the_size_of_shikes():
    network = NetworkSpec(backbone=FusedResNet32(), experts=3, attention="none", head=Linear())(100)
    assert sum(p.numel() for p in network.trunk.parameters()) / 1e6 == pytest.approx(1.24, abs=0.005)


@torch.no_grad()
def test_a_direct_feature_is_the_mean_over_positions_projected_and_brought_to_length_one():
    spec = NetworkSpec(backbone=SmallResNet(), projection=5, attention="none", head=Linear())
    network, images = spec(3, seed=1).eval(), torch.rand(2, 3, 16, 16)
    trunk = network.trunk
    pooled = trunk.branches[0](trunk.shared(images)).mean((2, 3)) @ trunk.projections[0].weight.T
    torch.testing.assert_close(network.features(images)[:, 0], F.normalize(pooled, dim=1))
    assert network.num_features == 5
    free = spec.model_copy(update={"normalise": False})(3, seed=1).eval()
    torch.testing.assert_close(free.features(images)[:, 0], pooled)
