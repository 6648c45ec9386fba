"""What a job leaves behind so that its next start goes on instead of starting over.

One file, replaced in one step: SageMaker copies the folder to S3 while the job runs, and a Spot instance may vanish at
any moment, so a checkpoint is either the last one or the one before, never half of one.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from errors import UserError
from safetensors import safe_open
from safetensors.torch import save_file

FILE = "checkpoint.safetensors"
META = "state"


@dataclass
class State:
    """Everything that changes while a model trains, besides its parameters.

    ``epoch`` is the number of finished epochs, ``batch`` the number of batches done in the one after,
    ``loss_sum`` the sum of their samples' losses; ``mean``, ``square`` and ``step`` are Adam's; ``issues`` is what
    diagnostics have found.
    """

    mean: torch.Tensor
    square: torch.Tensor
    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    best: torch.Tensor | None = None
    best_epoch: int = 0
    best_valid_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)
    issues: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def fresh(cls, values: torch.Tensor) -> "State":
        """The state before the first batch, for parameters ``values``."""
        return cls(torch.zeros_like(values), torch.zeros_like(values))

    @classmethod
    def restored(cls, described: dict, other: "State") -> "State":
        """The state that :meth:`described` gave, with ``other``'s tensors."""
        state = cls(other.mean, other.square, best=other.best, **described)
        if state.best_epoch == 0:
            state.best_valid_loss = float("inf")
        return state

    def described(self) -> dict:
        """Everything but the tensors, as JSON can hold it."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "loss_sum": self.loss_sum,
            "best_epoch": self.best_epoch,
            "best_valid_loss": self.best_valid_loss if self.best_epoch else 0.0,
            "history": self.history,
            "issues": self.issues,
        }

    def since_best(self) -> int:
        """Epochs without improvement."""
        return self.epoch - self.best_epoch


class Checkpoints:
    """The checkpoint in ``folder``; ``run`` names what must be equal for a run to go on from it."""

    def __init__(self, folder: Path, run: dict[str, object]):
        self.folder, self.run = folder, json.loads(json.dumps(run))

    def save(self, values: torch.Tensor, state: State) -> Path:
        """Replace the checkpoint by this one."""
        tensors = {"values": values, "mean": state.mean, "square": state.square}
        if state.best is not None:
            tensors["best"] = state.best
        self.folder.mkdir(parents=True, exist_ok=True)
        path, partial = self.folder / FILE, self.folder / (FILE + ".partial")
        meta = json.dumps({"run": self.run, "state": state.described()})
        save_file({name: tensor.detach().cpu() for name, tensor in tensors.items()}, partial, {META: meta})
        os.replace(partial, path)
        return path

    def load(self, values: torch.Tensor) -> tuple[State, torch.Tensor] | None:
        """The state and parameters of the checkpoint on the device of ``values``; None if there is none.

        A damaged file is reported and ignored: training anew is what the job would do without one.

        Raises:
            UserError: the checkpoint is of a different run.
        """
        path = self.folder / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                meta = json.loads(file.metadata()[META])
                tensors = {name: file.get_tensor(name).to(values.device) for name in file.keys()}  # noqa: SIM118
            run, described = meta["run"], meta["state"]
            fresh = State(tensors["mean"], tensors["square"], best=tensors.get("best"))
            state = State.restored(described, fresh)
            parameters = tensors["values"]
        except Exception as error:  # whatever a damaged file makes the reader trip over
            print(
                f"ignored checkpoint {path}: {' '.join(str(error).split())[:200] or type(error).__name__}", flush=True
            )
            return None
        for name, value in self.run.items():
            if run.get(name) != value:
                raise UserError(
                    f"checkpoint {path} is of a run with {name} {run.get(name)}, this one has {value}: "
                    "use another checkpoint folder or empty this one"
                )
        if parameters.shape != values.shape:
            raise UserError(f"checkpoint {path} holds {len(parameters)} parameters, this model has {len(values)}")
        print(f"resumed from {path}: {state.epoch} epochs and {state.batch} batches done", flush=True)
        return state, parameters
