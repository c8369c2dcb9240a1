"""Every backbone of the timm library, with its published weights or weights from a local file."""

import copy
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from oltr_core.models.backbones.residual import Parts
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Timm(Spec):
    """A timm model without its classifier.

    `weights` takes a state dict of the model as safetensors: the model.safetensors that timm publishes, or one of
    your own. They are fine-tuned, unless phases say `freeze: [trunk]`: the attention changes nothing until trained.
    Several experts need a network of timm's ResNet family, whose stages can be cut; other models serve one expert.
    """

    name: Literal["timm"] = "timm"
    model: str = "resnet50"
    pretrained: bool = False  # download timm's weights
    weights: str = (
        ""  # or read them from this safetensors file; phases fine-tune them, or leave them alone with freeze: [trunk]
    )
    shared_stages: Annotated[int, Field(ge=1, le=3)] = 2

    def __call__(self, experts: int, last_relu: bool) -> Parts:
        import timm

        if self.model not in timm.list_models():
            near = ", ".join(timm.list_models(f"*{self.model[:6]}*")[:5]) or "see timm.list_models()"
            raise ValueError(f"backbone.model: timm has no model {self.model!r} ({near})")
        try:
            model: Any = timm.create_model(self.model, pretrained=self.pretrained, num_classes=0)
        except OSError as error:
            raise ConnectionError(
                f"backbone.pretrained: the weights of {self.model!r} could not be downloaded; where there is no "
                "network, name a file of them as backbone.weights"
            ) from error
        if self.weights:
            _load(model, self.weights)
        stages: list[Any] = [getattr(model, f"layer{i}", None) for i in range(1, 5)]
        if not all(isinstance(stage, nn.Sequential) for stage in stages):
            if experts > 1:
                raise ValueError(
                    f"experts: several experts share the early stages of a ResNet, which timm's {self.model!r} "
                    f"does not have; choose a resnet* or resnext* model, or one expert"
                )
            return Parts(nn.Identity(), [Whole(model)], model.num_features)
        if not last_relu:
            _drop_last_relu(stages[-1])
        stem = [model.conv1, model.bn1, model.act1, model.maxpool]
        split = 4 if experts == 1 else self.shared_stages
        shared = nn.Sequential(*stem, *stages[:split])
        late = nn.Sequential(*stages[split:])
        return Parts(shared, [late, *(copy.deepcopy(late) for _ in range(experts - 1))], model.num_features)


class Whole(nn.Module):
    """A model that cannot be cut; features without a spatial map become a map of one position."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H2 W2"]:
        features = self.model.forward_features(images)
        if features.ndim == 4 and features.shape[1] == self.model.num_features:
            return features
        return self.model.forward_head(features, pre_logits=True)[:, :, None, None]


def _drop_last_relu(stage: Any) -> None:
    block = stage[-1]
    block.add_module("act3" if hasattr(block, "act3") else "act2", nn.Identity())


def _load(model: nn.Module, path: str) -> None:
    """Put the tensors of a safetensors file into `model`; those of a classifier are left out.

    Raises ValueError when there is no such file, or when it is not of this model.
    """
    from pathlib import Path

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"backbone.weights: {path} is not a file; relative paths start at the workspace")
    try:
        state = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"backbone.weights: expected a safetensors file, found {path} ({error})") from None
    wanted = model.state_dict()
    for name in wanted.keys() & state.keys():
        if state[name].shape != wanted[name].shape:
            raise ValueError(
                f"backbone.weights: {path} is of another model than backbone.model: expected {name!r} of shape "
                f"{list(wanted[name].shape)}, found {list(state[name].shape)}"
            )
    missing, _ = model.load_state_dict(state, strict=False)
    if missing:
        raise ValueError(
            f"backbone.weights: {path} lacks {len(missing)} tensors of backbone.model, such as {missing[0]!r}"
        )
