"""The trained parameters as one vector, and a step of Adam on it."""

import torch
from checkpoints import State
from torch import nn

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
# A pretrained backbone needs smaller steps than a head that starts from nothing. Ten breeds of dogs, three epochs at
# the default rate: 0.58 with the same rate for both, 0.90 with a tenth for the backbone.
BACKBONE_LR_SHARE = 0.1


class FlatParameters:
    """The trained parameters of a module as one vector that the parameters are windows into.

    One vector makes the exchange between processes, the optimiser, the copy of the best epoch and the checkpoint one
    operation each. Convolution weights lie in it as channels_last does, so they keep that layout.
    """

    def __init__(self, module: nn.Module):
        named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.values = torch.cat([_row(parameter.detach()) for parameter in self.parameters]).clone()
        # The share of the learning rate, per number; a plain 1 where it is the same for all.
        self.share: torch.Tensor | float = 1.0
        if any(name.startswith("backbone.") for name, _ in named):
            self.share = torch.ones_like(self.values)
        start = 0
        for name, parameter in named:
            if name.startswith("backbone."):
                self.share[start : start + parameter.numel()] = BACKBONE_LR_SHARE
            window = self.values[start : start + parameter.numel()]
            start += parameter.numel()
            if parameter.dim() == 4:
                out, inside, high, wide = parameter.shape
                parameter.data = window.view(out, high, wide, inside).permute(0, 3, 1, 2)
            else:
                parameter.data = window.view(parameter.shape)

    def gradient(self) -> torch.Tensor:
        """The gradient as one vector, zero where a parameter has none; the parameters' own are dropped."""
        rows = []
        for parameter in self.parameters:
            rows.append(_row(parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)))
            parameter.grad = None
        return torch.cat(rows)


def _row(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(0, 2, 3, 1).reshape(-1) if tensor.dim() == 4 else tensor.reshape(-1)


def adam(state: State, flat: FlatParameters, gradient: torch.Tensor, lr: float) -> None:
    """One step of Adam (Kingma and Ba, 2015, algorithm 1) on one vector, in place.

    Not torch.optim: its first use imports the compiler, three seconds of a job that may last ten.
    """
    state.step += 1
    state.mean.lerp_(gradient, 1 - ADAM_BETAS[0])
    state.square.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1 - ADAM_BETAS[1])
    rate = lr / (1 - ADAM_BETAS[0] ** state.step)
    root = (state.square / (1 - ADAM_BETAS[1] ** state.step)).sqrt_().add_(ADAM_EPSILON)
    flat.values.addcdiv_(state.mean * flat.share, root, value=-rate)
