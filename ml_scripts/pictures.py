"""The pictures themselves as a data source, decoded again every epoch: for training the whole network."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from data import Split
from decoding import UnreadableImage
from errors import UserError
from features import Views
from images import Normalisation
from precision import Precision
from profiling.clock import CLOCK, TRANSFER

BATCHES_AHEAD = 2


def default_workers(precision: Precision) -> int:
    """Decoding threads: none on a CPU, whose threads compute; on a GPU as many as torch may use (OMP_NUM_THREADS)."""
    return torch.get_num_threads() if precision.device.type == "cuda" else 0


class Pictures:
    """Decodes, normalises and labels. A sample is (view, picture).

    ``fresh``: random views differ from epoch to epoch; else they are the ones that the feature cache would hold.
    Threads, not processes: Pillow decodes and resizes without holding the interpreter's lock.
    Each rank takes its part of every batch.
    """

    everywhere = False

    def __init__(self, splits: dict[str, Split], views: Views, normalise: Normalisation, workers: int, fresh: bool):
        self.splits, self.views, self.normalise = splits, views, normalise
        self.workers, self.fresh = workers, fresh

    def samples(self, name: str) -> int:
        """Number of samples: pictures times views (random views of ``train`` only)."""
        return len(self.splits[name]) * (1 + (self.views.extra if name == "train" else 0))

    def stream(self, name: str, batches: list[torch.Tensor], epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(inputs, labels) for each batch of sample numbers, on the device."""
        split = self.splits[name]
        device = self.normalise.shift.device
        for batch, pixels in self._decoded(split, batches, epoch if self.fresh else 0):
            with CLOCK.of(TRANSFER):
                labels = torch.tensor([split.labels[sample % len(split)] for sample in batch], dtype=torch.long)
                labels = labels.to(device)
                inputs = self.normalise(torch.stack(pixels)) if pixels else torch.empty(0)
            yield inputs, labels

    def _decoded(self, split: Split, batches: list[torch.Tensor], epoch: int) -> Iterator[tuple[list[int], list]]:
        def one(sample: int) -> torch.Tensor:
            view, index = divmod(sample, len(split))
            try:
                return self.views.of(split, index, [view], epoch)[0]
            except UnreadableImage as error:  # it was readable when the job began
                raise UserError(f"{split.named(index)} can no longer be read ({error})") from None

        plain = [batch.tolist() for batch in batches]
        if not self.workers:
            yield from ((batch, [one(sample) for sample in batch]) for batch in plain)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: deque[tuple[list[int], list[Future]]] = deque()
            for batch in plain:
                ahead.append((batch, [pool.submit(one, sample) for sample in batch]))
                if len(ahead) > BATCHES_AHEAD:
                    ready, futures = ahead.popleft()
                    yield ready, [future.result() for future in futures]
            for ready, futures in ahead:
                yield ready, [future.result() for future in futures]
