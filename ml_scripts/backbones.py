"""The networks: a backbone that turns pictures into features, a small head that turns features into logits."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from errors import UserError
from torch import nn

HIDDEN_UNITS = 128


@dataclass(frozen=True)
class BackboneKind:
    """What is known of a backbone before it is built.

    ``mean`` and ``std`` are those its ImageNet weights were trained with, on the scale 0..1; ``classifier`` is the
    prefix of its ImageNet classifier in a state dict; ``packages`` are what its code needs beyond torch.
    """

    features: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classifier: str
    packages: tuple[str, ...]
    build: Callable[[int], nn.Module]


def _efficientnet_lite0(image_size: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=image_size)
    network._fc = nn.Identity()
    return network


def _resnet(name: str) -> Callable[[int], nn.Module]:
    def build(image_size: int) -> nn.Module:
        import torchvision.models

        network = getattr(torchvision.models, name)(weights=None)
        network.fc = nn.Identity()
        return network

    return build


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_LITE = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}

KINDS: dict[str, BackboneKind] = {
    "efficientnet_lite0": BackboneKind(
        1280, 224, **_LITE, classifier="_fc.", packages=("efficientnet_lite_pytorch",), build=_efficientnet_lite0
    ),
    "resnet18": BackboneKind(
        512, 224, **_IMAGENET, classifier="fc.", packages=("torchvision",), build=_resnet("resnet18")
    ),
    "resnet50": BackboneKind(
        2048, 224, **_IMAGENET, classifier="fc.", packages=("torchvision",), build=_resnet("resnet50")
    ),
}


def build_head(kind: str, features: int, classes: int) -> nn.Sequential:
    """``hidden``: Linear-ReLU-Linear with 128 hidden units; ``linear``: a single Linear."""
    if kind == "linear":
        return nn.Sequential(nn.Linear(features, classes))
    return nn.Sequential(nn.Linear(features, HIDDEN_UNITS), nn.ReLU(), nn.Linear(HIDDEN_UNITS, classes))


class Classifier(nn.Module):
    """Pictures (N, 3, H, W) to logits (N, classes), float32.

    The backbone always runs in evaluation mode, also when its weights are trained: batch statistics would differ
    between one process and several at the same global batch, and the ImageNet statistics serve fine-tuning well.
    """

    def __init__(self, backbone: str, head: str, classes: int, image_size: int | None = None):
        super().__init__()
        if backbone not in KINDS:
            raise UserError(f"backbone is {backbone!r}; it must be one of {', '.join(KINDS)}")
        kind = KINDS[backbone]
        self.image_size = image_size or kind.image_size
        self.backbone = kind.build(self.image_size)
        self.head = build_head(head, kind.features, classes)
        self.eval()

    def train(self, mode: bool = True) -> "Classifier":
        """As for any module, except that the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.backbone(pictures)
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())


@torch.no_grad()
def settle_statistics(backbone: nn.Module, image_size: int) -> None:
    """Give a backbone of random weights batch statistics that keep its signal alive.

    Without them every layer scales its input down or up, and after fifty layers all pictures look the same.
    One pass of noise, from the current seed, sets mean and variance of every batch norm.
    """
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    backbone(torch.randn(8, 3, image_size, image_size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
