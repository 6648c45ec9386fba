"""The processes of one job: who they are, and the few exchanges training needs.

torchrun names the processes in the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). One process
alone needs none of it and pays for none of it.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from errors import PeerLost
from profiling.clock import CLOCK

# Instances start minutes apart (downloads, image pulls); once all are there, silence means death.
RENDEZVOUS_SECONDS = 600.0


class Group:
    """The processes of this job; ``rank`` of ``world``. With one process every exchange returns at once.

    An exchange that a dead or silent peer prevents raises :class:`PeerLost`: at once if the peer's connections
    closed, else after the group's time limit.
    """

    def __init__(self, rank: int = 0, world: int = 1, local_rank: int = 0):
        self.rank, self.world, self.local_rank = rank, world, local_rank

    @classmethod
    def join(cls, seconds: float, environ: dict[str, str] | None = None) -> "Group":
        """Join the group that the environment describes; ``seconds`` is how long a peer may be silent."""
        environ = dict(os.environ) if environ is None else environ
        world = int(environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        group = cls(int(environ["RANK"]), world, int(environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available():
            torch.cuda.set_device(group.local_rank % torch.cuda.device_count())
        with group._exchange("the start"):
            store, rank, size = next(dist.rendezvous("env://", timeout=timedelta(seconds=RENDEZVOUS_SECONDS)))
            dist.init_process_group(
                "nccl" if torch.cuda.is_available() else "gloo",
                store=store,
                rank=rank,
                world_size=size,
                timeout=timedelta(seconds=seconds),
            )
        return group

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor, what: str = "a sum") -> torch.Tensor:
        """Add the ranks' tensors, in place, on every rank."""
        if self.world > 1:
            with self._exchange(what):
                dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: torch.Tensor, what: str = "a broadcast") -> torch.Tensor:
        """Replace every rank's tensor by rank 0's, in place."""
        if self.world > 1:
            with self._exchange(what):
                dist.broadcast(tensor, 0)
        return tensor

    def gather(self, tensor: torch.Tensor, what: str = "a gathering") -> list[torch.Tensor]:
        """Every rank's tensor (all of one shape), in the order of the ranks, on every rank."""
        if self.world == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        with self._exchange(what):
            dist.all_gather(parts, tensor.contiguous())
        return parts

    def gather_objects(self, value: object, what: str = "a gathering") -> list:
        """Every rank's small Python value, in the order of the ranks, on every rank."""
        if self.world == 1:
            return [value]
        values: list = [None] * self.world
        with self._exchange(what):
            dist.all_gather_object(values, value)
        return values

    def leave(self) -> None:
        """Leave the group; call it only once every exchange is done."""
        if self.world > 1:
            dist.destroy_process_group()

    @contextlib.contextmanager
    def _exchange(self, what: str) -> Iterator[None]:
        try:
            with CLOCK.exchange():
                yield
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise PeerLost(
                f"process {self.rank} of {self.world} lost contact with another process of this job "
                f"during {what}: {reason}"
            ) from None
