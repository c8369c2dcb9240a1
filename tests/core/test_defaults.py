"""The defaults of every method: a published result is only named by its method's name where these stand still."""

from __future__ import annotations

from typing import get_args

import pytest

from oltr_core import fairness, learners, scores, strategies
from oltr_core.augmentation import Augment
from oltr_core.augmentation.policies import Policy
from oltr_core.images.transforms import Transform
from oltr_core.losses import Loss
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import Backbone
from oltr_core.models.heads import HeadSpec
from oltr_core.samplers import Sampler
from oltr_core.training import LearningRates, Phase, Schedule
from oltr_core.training.mixing import Mix


def union(slot) -> tuple:
    return get_args(get_args(slot)[0])


IMPRINT = {"name": "imprint", "weights": "equal", "temperature": 0.1}
RESNET = {"strides": (1, 2, 2, 2), "shortcut": "project", "shared_stages": 2, "widths": (64, 128, 256, 512)}
RESNET32 = {"stem": "small", "blocks": (5, 5, 5), "widths": (16, 32, 64), "strides": (1, 2, 2)}
DEFAULTS = {
    union(Loss): {
        "cross_entropy": {"weight": 1.0},
        "balanced_softmax": {"weight": 1.0},
        "logit_adjusted": {"weight": 1.0, "tau": 1.0},
        # Cao et al.: margins up to .5 at scale 30, re-weighted from epoch 160 of 200
        "ldam": {"weight": 1.0, "max_margin": 0.5, "scale": 30.0, "reweight_from": 0.8, "beta": 0.9999},
        "focal": {"weight": 1.0, "gamma": 2.0},
        "class_balanced": {"weight": 1.0, "beta": 0.9999, "gamma": 0.0},
        "cost_sensitive": {"weight": 1.0, "power": 1.0, "reweight_from": 0.0},
        "label_aware_smoothing": {"weight": 1.0, "head": 0.4, "tail": 0.1},
        "lifted": {"weight": 1.0, "margin": 1.0},
        "range": {"weight": 1.0, "intra": 0.5, "inter": 0.5, "margin": 1.0},
        "large_margin": {"weight": 0.1, "form": "nearest", "margin": 0.5},
        "bbn": {"weight": 1.0},
        "diversity": {"weight": 0.2, "temperature": 1.0, "reweight": 0.05, "reweight_from": 0.8},
        "mutual": {"weight": 1.0, "temperature": 1.0},
    },
    union(Sampler): {
        "instance": {},
        "class_aware": {"images_per_class": 4},
        "square_root": {},
        "progressive": {},
        "reversed": {},
        "bilateral": {},
    },
    scores.MEMBERS: {
        "msp": {},
        "max_logit": {},
        "energy": {"temperature": 1.0},
        "entropy": {},
        "reachability": {},
        "u_product": {},
        "knn": {"k": 3},
        "nearest_mean": {},
        "mahalanobis": {"shrinkage": 0.2},
        "rmds": {"shrinkage": 0.2},
        "gen": {"gamma": 0.1, "largest": 100},
        "prior_aware": {"base": "msp"},
        "openmax": {"tail": 20, "alpha": 10},
        "odin": {"temperature": 1000.0, "epsilon": 0.0014},
    },
    strategies.MEMBERS: {
        "random": {},
        "entropy": {},
        "least_confidence": {},
        "energy": {"temperature": 1.0},
        "u_open": {},
        "u_info": {},
        "u_product": {},
        "energy_per_class": {"temperature": 0.1},
        "eq9_literal": {"temperature": 1.0},
        "badge": {},
        "k_center": {},
        "core_set": {},
        "dbal": {
            "passes": 100,
            "hidden": 128,
            "dropout": (0.25, 0.5),
            "steps": 1000,
            "batch_size": 128,
            "learning_rate": 1e-3,
        },
        "vaal": {
            "latent": 32,
            "hidden": 128,
            "beta": 1.0,
            "adversarial": 1.0,
            "steps": 1000,
            "vae_steps": 2,
            "batch_size": 128,
            "learning_rate": 5e-4,
        },
        "product_k_center": {"shortlist": 1.5},
        "mixed": {"share": 0.5},
        "composed": {
            "discover": 0.6,
            "refine": 0.25,
            "tail": 0.05,
            "suspect": 0.05,
            "audit": 0.05,
            "min_cluster": 4,
            "per_cluster": 6,
            "whole_clusters": 0,
            "near_duplicate": 0.97,
            "per_group": 3,
            "suspect_probability": 0.9,
        },
    },
    learners.MEMBERS: {
        "imprint": {"weights": "equal", "temperature": 0.1},
        "imprint_replay": {
            "imprint": IMPRINT,
            "steps": 300,
            "per_class": 16,
            "classes": 128,
            "learning_rate": 0.1,
            "logit_scale": 8.0,
            "pseudo_weight": 3.0,
            "covariance": "diagonal",
        },
        "exemplar_replay": {
            "imprint": IMPRINT,
            "exemplars": 20,
            "steps": 300,
            "per_class": 16,
            "classes": 128,
            "learning_rate": 0.1,
            "logit_scale": 8.0,
        },
        "lwf": {
            "imprint": IMPRINT,
            "begin": "imprinted",
            "temperature": 2.0,
            "weight": 3.0,
            "steps": 100,
            "batch_size": 64,
            "learning_rate": 0.1,
        },
        "acl": {
            "imprint": IMPRINT,
            "adversarial": 0.05,
            "orthogonal": 0.1,
            "steps": 100,
            "batch_size": 64,
            "learning_rate": 0.01,
        },
        "slda": {"shrinkage": 0.01, "unbiased": True},
        "ridge": {"penalty": 0.001, "projection": 0, "seed": 0},
        "fine_tune_new_only": {"imprint": IMPRINT, "steps": 100, "batch_size": 64, "learning_rate": 0.1},
        "nearest_class_mean": {},
    },
    union(HeadSpec): {
        "linear": {},
        "tau_norm": {"tau": 0.7},
        "learnable_scale": {"weights_rate": 1.0},
        "weight_generator": {
            "few": 20,
            "novel": 5,
            "shots": 5,
            "queries": 15,
            "episodes": 8,
            "steps": 6000,
            "learning_rate": 0.1,
            "scale": 10.0,
            "attention_scale": 10.0,
        },
        "model_regression": {
            "few": 20,
            "resamples": 20,
            "hinge_weight": 1.0,
            "cost": 100.0,
            "steps": 3000,
            "learning_rate": 0.05,
        },
        "meta_model_net": {
            "blocks": 7,
            "resamples": 20,
            "hinge_weight": 1.0,
            "cost": 100.0,
            "steps": 1000,
            "learning_rate": 0.05,
        },
        "random_projection": {"size": 1000},
        "cosine": {"scale": 16.0, "learn_scale": False, "squash": "unit"},
        "meta_embedding": {
            "scale": 20.0,
            "learn_scale": False,
            "squash": "squared",
            "reach": 1.0,
            "floor": 0.05,
            "centroid_rate": 0.5,
            "memory": True,
            "selector": True,
            "reachability": True,
        },
    },
    union(Backbone): {
        "small_resnet": {
            "stem": "small",
            "blocks": (1, 1, 1, 1),
            "widths": (16, 32, 64, 64),
            "strides": (1, 2, 2, 1),
            "shortcut": "project",
            "shared_stages": 2,
        },
        "resnet32": RESNET32 | {"shortcut": "pad", "shared_stages": 1},
        "resnet32_fused": RESNET32 | {"shortcut": "project", "shared_stages": 2},
        "resnet18_cifar": RESNET | {"stem": "small", "blocks": (2, 2, 2, 2)},
        "resnet10": RESNET | {"stem": "imagenet", "blocks": (1, 1, 1, 1)},
        "timm": {"model": "resnet50", "pretrained": False, "weights": "", "shared_stages": 2},
    },
    union(Mix): {
        "mixup": {"alpha": 1.0, "probability": 1.0, "until": 1.0},
        "cutmix": {"alpha": 1.0, "probability": 0.5, "until": 1.0},
    },
    fairness.MEMBERS: {
        "lfr": {
            "prototypes": 10,
            "reconstruction": 0.01,
            "prediction": 1.0,
            "parity": 50.0,
            "steps": 1000,
            "learning_rate": 0.05,
        },
        "latent_debiasing": {"penalty": 1.0},
    },
    union(Policy): {"auto_augment": {}, "rand_augment": {"num": 2, "level": 9}},
}


@pytest.mark.parametrize("members", DEFAULTS, ids=lambda members: members[0].__module__)
def test_the_defaults_of_every_member_are_the_published_ones(members):
    assert {member().name: member().model_dump(exclude={"name"}) for member in members} == DEFAULTS[members]


def test_the_default_network_has_one_expert_and_unit_features_of_both_signs():
    spec = NetworkSpec().model_dump(exclude={"backbone", "head"})
    assert spec == {
        "attention": "modulated", "experts": 1, "last_relu": False, "projection": 0, "normalise": True
    }  # fmt: skip
    assert (NetworkSpec().backbone.name, NetworkSpec().head.name) == ("small_resnet", "meta_embedding")


def test_an_image_is_stretched_to_16_pixels_by_imagenets_statistics_and_not_augmented():
    assert Transform().model_dump() == {
        "size": 16, "fit": "stretch", "resize": 0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)
    }  # fmt: skip
    assert Augment().model_dump() == {
        "pad": 0, "fill": "zero", "flip": False, "rotate": 0.0, "zoom": 0.0, "policy": None, "cutout": 0,
        "random_resized": False, "min_area": 0.08,
    }  # fmt: skip


def test_a_phase_is_trained_by_plain_sgd_along_a_cosine_unless_it_says_otherwise():
    assert LearningRates().model_dump() == {"trunk": 0.1, "heads": 0.1}
    schedule = {"form": "cosine", "milestones": (0.8, 0.9), "factor": 0.1, "warmup": 0.0}
    assert Schedule().model_dump() == schedule
    assert Phase(name="p", epochs=1).model_dump(exclude={"name", "epochs", "learning_rates", "schedule"}) == {
        "head": None, "losses": [{"name": "cross_entropy", "weight": 1.0}], "sampler": {"name": "instance"},
        "mix": None, "batch_size": 32, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4, "freeze": [],
        "refresh_every": 0, "fresh_head": False,
    }  # fmt: skip
