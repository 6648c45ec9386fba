"""The training loop: the same for a head on cached features and for a whole network on pictures.

Every process sees the same sequence of global batches and takes every ``world``-th sample of each. A process divides
the sum of its losses by the size of the *global* batch, and gradients are summed: however unevenly a batch falls on
the processes (the last one of an epoch usually does), the result is the gradient that one process would have computed.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from checkpoints import Checkpoints, State
from diagnostics.session import NOTHING, Diagnostics, TrainingEnded
from distributed import Group
from errors import PeerLost, Stopped, UserError
from optimiser import FlatParameters, adam
from precision import Precision
from profiling.clock import BACKWARD, CHECKPOINT, CLOCK, DEVICE, DIAGNOSTICS, FORWARD, OPTIMISER, VALIDATION
from torch import nn


@dataclass
class Task:
    """What is trained: ``module`` maps the inputs that ``source`` streams to logits."""

    module: nn.Module
    source: object  # Cached or Pictures: everywhere, samples(split), stream(split, batches, epoch)
    precision: Precision
    group: Group


@dataclass
class Plan:
    """How it is trained; ``patience`` 0 means off. A batch is computed in ``accumulation`` parts."""

    epochs: int
    lr: float
    batch_size: int
    seed: int
    patience: int = 0
    accumulation: int = 1

    @property
    def at_once(self) -> int:
        """How many samples of a batch are in the network at once, over all processes."""
        return -(-self.batch_size // self.accumulation)


@dataclass
class Stop:
    """Whether SIGTERM has come; the signal handler sets it, the loops look at it."""

    requested: bool = field(default=False)

    def check(self) -> None:
        """Raise :class:`Stopped` if it has."""
        if self.requested:
            raise Stopped("SIGTERM came before the first epoch; nothing to save yet")


def epoch_batches(samples: int, batch_size: int, seed: int, epoch: int) -> list[torch.Tensor]:
    """The epoch's global batches of sample numbers: the same on every rank and after every restart."""
    chance = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return list(torch.randperm(samples, generator=chance).split(batch_size))


def batch_gradient(
    task: Task,
    flat: FlatParameters,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    size: int,
    *,
    exchange: bool = True,
    parts: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of the mean loss over a global batch of ``size``, and the sum of its losses, on every rank.

    ``inputs`` and ``labels`` are this rank's part, which may be empty; without ``exchange`` they are the whole batch.
    They go through the network in ``parts``, one after the other, so that less has to be kept for the way back.
    """
    total = torch.zeros(1, device=flat.values.device)
    for some, expected in zip(inputs.chunk(parts), labels.chunk(parts), strict=True) if len(labels) else ():
        CLOCK.to(FORWARD)
        with task.precision.context():
            logits = task.module(some)
        loss = nn.functional.cross_entropy(logits.float(), expected, reduction="sum")
        CLOCK.to(BACKWARD)
        (loss / size).backward()
        total += loss.detach()
    found = torch.cat([flat.gradient(), total])
    if exchange:
        task.group.sum(found, "a training step")
    return found[:-1], found[-1]


@torch.no_grad()
def predict(task: Task, split: str, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (samples, classes) and labels of a whole split on every rank, each rank computing its share."""
    samples = task.source.samples(split)
    mine = torch.arange(task.group.rank, samples, task.group.world)
    logits, labels = None, torch.zeros(samples, dtype=torch.long, device=task.precision.device)
    batches = list(mine.split(batch_size)) if len(mine) else []
    for batch, (inputs, expected) in zip(batches, CLOCK.waiting(task.source.stream(split, batches, 0)), strict=True):
        with CLOCK.of(VALIDATION), task.precision.context():
            made = task.module(inputs).float()
        if logits is None:
            logits = torch.zeros(samples, made.shape[1], device=made.device)
        logits[batch.to(made.device)] = made
        labels[batch.to(made.device)] = expected
    width = max(task.group.gather_objects(0 if logits is None else logits.shape[1], "an evaluation"))
    if logits is None:  # fewer samples than ranks
        logits = torch.zeros(samples, width, device=task.precision.device)
    # The ranks' rows do not overlap, so their sum is the whole.
    return task.group.sum(logits, "an evaluation"), task.group.sum(labels, "an evaluation")


def train(
    task: Task,
    plan: Plan,
    stop: Stop,
    checkpoints: Checkpoints | None,
    report: Callable[[dict], None],
    diagnostics: Diagnostics | None = None,
) -> State:
    """Train until ``plan.epochs`` (or ``plan.patience`` epochs without improvement) and keep the best epoch.

    Goes on where ``checkpoints`` left off. Rank 0 saves after every epoch, and when a stop is requested. A rule of the
    diagnostics that ends the training does so as if that epoch had been the last one planned.

    Args:
        report: called with each epoch's history entry, plus ``best_valid_loss``.

    Returns:
        The final state; the module holds the parameters of the best epoch by validation loss.

    Raises:
        Stopped: after saving.
        UserError: the loss is no longer a number, or a rule of the diagnostics that stops has found something.
    """
    diagnostics = diagnostics or Diagnostics.none(task.group)
    CLOCK.work()
    flat = FlatParameters(task.module)
    task.group.broadcast(flat.values, "the first weights")
    state = _resume(task, flat, checkpoints)
    try:
        diagnostics.begin(task, flat, state)
        while state.epoch < plan.epochs and not (plan.patience and state.since_best() >= plan.patience):
            started = time.monotonic()
            train_loss = _train_epoch(task, plan, stop, flat, state, diagnostics)
            report(_close_epoch(task, plan, flat, state, train_loss, started, diagnostics))
            with CLOCK.of(DIAGNOSTICS):
                diagnostics.closed_epoch(state)
            _save(task, checkpoints, flat, state)
        diagnostics.finish(state)
    except TrainingEnded as why:
        if task.group.leads:
            print(f"the training ends after epoch {state.epoch} of {plan.epochs}: {why}", flush=True)
        state.batch, state.loss_sum, state.issues = 0, 0.0, diagnostics.issues()
        _save(task, checkpoints, flat, state)
    except (Stopped, PeerLost):
        # Parameters change only after an exchange has succeeded, so the state is whole whenever one failed.
        saved = _save(task, checkpoints, flat, state) if stop.requested else None
        if not stop.requested:
            raise
        where = f"saved in {saved}" if saved else "not saved (no checkpoint folder)"
        raise Stopped(f"SIGTERM came in epoch {state.epoch + 1}; the state is {where}") from None
    if state.best is not None:
        flat.values.copy_(state.best)
    return state


def _resume(task: Task, flat: FlatParameters, checkpoints: Checkpoints | None) -> State:
    fresh = State.fresh(flat.values)
    found = checkpoints.load(flat.values) if checkpoints and task.group.leads else None
    # Rank 0's checkpoint counts: the other instances' folders may be older or empty.
    described = task.group.gather_objects(found and found[0].described(), "the resumption")[0]
    if described is None:
        return fresh
    state = found[0] if found else State.restored(described, fresh)
    if found:
        flat.values.copy_(found[1])
    if state.best is None:
        state.best = flat.values.clone()
    for tensor in (flat.values, state.mean, state.square, state.best):
        task.group.broadcast(tensor, "the resumption")
    return state


def _train_epoch(
    task: Task, plan: Plan, stop: Stop, flat: FlatParameters, state: State, diagnostics: Diagnostics
) -> float:
    """Train from ``state.batch`` to the end of the epoch; the mean loss of the whole epoch's samples."""
    task.module.train()
    batches = epoch_batches(task.source.samples("train"), plan.batch_size, plan.seed, state.epoch)
    ahead = batches[state.batch :]
    exchange, on_device = not task.source.everywhere, flat.values.device.type != "cpu"
    mine = [batch[task.group.rank :: task.group.world] for batch in ahead] if exchange else ahead
    stream = task.source.stream("train", mine, state.epoch)
    # Of a head a step takes a millisecond: what is done in each of them is done here, without a call.
    losses = diagnostics.losses
    with CLOCK.steps():
        for batch, (inputs, labels) in zip(ahead, stream, strict=True):
            if stop.requested:
                raise Stopped("")
            with diagnostics.watching() if state.step + 1 == diagnostics.next_sample else NOTHING as sampled:
                gradient, loss = batch_gradient(
                    task, flat, inputs, labels, len(batch), exchange=exchange, parts=plan.accumulation
                )
            if on_device:
                CLOCK.to(DEVICE)
                loss = loss.item()
                CLOCK.synchronised()
            else:
                loss = loss.item()
            if not math.isfinite(loss):
                diagnostics.lost(loss, state.epoch)
                raise UserError(
                    f"the training loss became {loss} in epoch {state.epoch + 1}: --lr {plan.lr} is too high"
                )
            before = diagnostics.before(flat.values) if sampled else None
            CLOCK.to(OPTIMISER)
            adam(state, flat, gradient, plan.lr)
            state.batch += 1
            state.loss_sum += loss
            if losses is not None:
                losses.append(loss / len(batch))
            if sampled:
                CLOCK.to(DIAGNOSTICS)
                diagnostics.took(state, loss / len(batch), gradient, before, flat.values)
            CLOCK.end_step(state.step)
    if not exchange:
        # Processors of different models round differently: the ranks must not drift apart.
        for tensor in (flat.values, state.mean, state.square):
            task.group.broadcast(tensor, "the end of an epoch")
    return state.loss_sum / task.source.samples("train")


def _close_epoch(
    task: Task,
    plan: Plan,
    flat: FlatParameters,
    state: State,
    train_loss: float,
    started: float,
    diagnostics: Diagnostics,
) -> dict[str, float]:
    """Validate, keep the best, append to the history; returns the entry with ``best_valid_loss``."""
    task.module.eval()
    logits, labels = predict(task, "valid", plan.at_once)
    valid_loss = nn.functional.cross_entropy(logits, labels).item()
    if not math.isfinite(valid_loss):
        diagnostics.lost(valid_loss, state.epoch)
        raise UserError(
            f"the validation loss became {valid_loss} in epoch {state.epoch + 1}: --lr {plan.lr} is too high"
        )
    state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
    if valid_loss < state.best_valid_loss:
        state.best_epoch, state.best_valid_loss, state.best = state.epoch, valid_loss, flat.values.clone()
    entry = {
        "epoch": state.epoch,
        "train_loss": train_loss,
        "valid_loss": valid_loss,
        "valid_accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "seconds": round(time.monotonic() - started, 3),
    }
    state.history.append(entry)
    diagnostics.validated(state, logits, labels)
    return entry | {"best_valid_loss": state.best_valid_loss}


def _save(task: Task, checkpoints: Checkpoints | None, flat: FlatParameters, state: State):
    if checkpoints is None or not task.group.leads:
        return None
    with CLOCK.of(CHECKPOINT):
        return checkpoints.save(flat.values, state)
