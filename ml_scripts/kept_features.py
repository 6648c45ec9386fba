"""The features computed so far, kept in the checkpoint folder so that an interruption does not cost them.

Where only the head is trained, computing the features is the work. Each process writes those of its own pictures, a
few megabytes a file, into ``features-<split>-<rank>-<number>.safetensors``: SageMaker copies the folder to S3 while
the job runs and uploads what is new, so a file is written once, in one step, and never again. The next start takes
the files that it finds and computes the rest.
"""

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path

import torch
from data import Split
from safetensors import safe_open
from safetensors.torch import save_file

NAME = re.compile(r"features-(train|valid|test)-(\d+)-(\d+)\.safetensors")
META = "run"
# Whichever comes first: at most these seconds of work are lost, and no file is a burden to memory or to a copy to S3.
LONGEST_SECONDS = 5.0
MOST_BYTES = 8 << 20
# What is left to the checkpoint of the training itself, which a job cannot do without.
FREE_BYTES = 64 << 20


class KeptFeatures:
    """The features of rank ``rank`` in ``folder``; with None for a folder nothing is kept.

    A sample is view * pictures of the split + picture, as for training. ``run`` names what must be equal for kept
    features to be those that would be computed again. ``saved`` is how many of this rank's features the folder has,
    ``taken`` how many of all ranks' it had at the start.
    """

    def __init__(self, folder: Path | None, rank: int = 0, world: int = 1, run: dict[str, object] | None = None):
        self.folder, self.rank, self.world = folder, rank, world
        self.run = json.loads(json.dumps(run or {}))
        self.saved = self.taken = 0
        self._numbers: dict[str, set[int]] = {}
        self._split = ""
        self._samples: list[int] = []
        self._values: list[torch.Tensor] = []
        self._since = time.monotonic()

    def take(self, split: Split, values: torch.Tensor) -> torch.Tensor:
        """Fill in what this rank has kept of a split's ``values`` (views, pictures, width).

        Files that cannot be read and those of another run are removed, with a line: their numbers are used again.

        Returns:
            Whether each (view, picture) was kept, on the CPU.
        """
        done = torch.zeros(values.shape[:2], dtype=torch.bool)
        others = 0
        for path in self._files(split.name):
            try:
                found = self._read(path, values)
            except Exception as error:  # whatever a damaged file makes the reader trip over
                print(f"ignored {path}: {' '.join(str(error).split())[:200] or type(error).__name__}", flush=True)
                found = None
            else:
                others += found is None
            if found is None:
                self._remove(path)
                continue
            samples, rows = found
            views, pictures = samples // len(split), samples % len(split)
            values[views, pictures] = rows.to(values.device)
            done[views, pictures] = True
            self._numbers.setdefault(split.name, set()).add(int(NAME.fullmatch(path.name)[3]))
        if others:
            print(f"removed {others} files of another run's features of {split.name} in {self.folder}", flush=True)
        self.saved += int(done.sum())
        return done

    def add(self, split: Split, samples: list[int], values: torch.Tensor) -> None:
        """Keep the features ``values`` (N, width) of some samples; they are written sooner or later."""
        if self.folder is None:
            return
        if not self._samples:
            self._since, self._split = time.monotonic(), split.name
        self._samples += samples
        self._values.append(values)
        size = len(self._samples) * values.shape[1] * values.element_size()
        if size >= MOST_BYTES or time.monotonic() - self._since >= LONGEST_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what has been added since the last file. A full disk costs the features, with a line, not the job."""
        if not self._samples or self.folder is None:
            return
        used = self._numbers.setdefault(self._split, set())
        number = next(number for number in range(len(used) + 1) if number not in used)
        path = self.folder / f"features-{self._split}-{self.rank}-{number}.safetensors"
        partial = path.with_name(path.name + ".partial")
        tensors = {"samples": torch.tensor(self._samples), "values": torch.cat(self._values).cpu()}
        self._samples, self._values = [], []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < FREE_BYTES + tensors["values"].nbytes:
                raise OSError("the disk is almost full")
            save_file(tensors, partial, {META: json.dumps(self.run)})
            os.replace(partial, path)
        except Exception as error:  # safetensors has an exception of its own for a write that failed
            reason = " ".join(str(error).split())[:200]
            print(f"features are not kept from here on, {path} could not be written: {reason}", flush=True)
            self._remove(partial)
            self.folder = None
            return
        used.add(number)
        self.saved += len(tensors["samples"])

    def _files(self, split: str) -> list[Path]:
        """This rank's files of a split, and those of ranks that there are no more; other ranks' are left alone."""
        if self.folder is None or not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.iterdir():
            match = NAME.fullmatch(path.name.removesuffix(".partial"))
            if match and match[1] == split and (int(match[2]) == self.rank or self._orphaned(int(match[2]))):
                if path.name.endswith(".partial"):
                    self._remove(path)
                else:
                    found.append(path)
        return sorted(found)

    def _orphaned(self, rank: int) -> bool:
        return self.rank == 0 and rank >= self.world

    def _read(self, path: Path, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Samples and rows of a file; None if it is of another run. Raises whatever is wrong with the file."""
        with safe_open(path, "pt") as file:
            if json.loads(file.metadata()[META]) != self.run:
                return None
            samples, rows = file.get_tensor("samples"), file.get_tensor("values")
        views, pictures, width = values.shape
        if samples.dtype != torch.long or rows.dtype != values.dtype or rows.shape != (len(samples), width):
            raise ValueError("it does not hold this split's features")
        if len(samples) and not (int(samples.min()) >= 0 and int(samples.max()) < views * pictures):
            raise ValueError("it holds pictures that this split does not have")
        if not bool(rows.isfinite().all()):
            raise ValueError("it holds features that are no numbers")
        return samples, rows

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            print(f"could not remove {path}: {error.strerror}", flush=True)


def files_digest(splits: dict[str, Split]) -> str:
    """A digest of every file's name and size: features of a picture that was replaced are not those of the new one."""
    digest = hashlib.sha256()
    for name, split in splits.items():
        for file in split.files:
            digest.update(f"{name}/{file}\0{os.stat(split.root / file).st_size}\n".encode())
    return digest.hexdigest()[:16]


def weights_digest(module: torch.nn.Module) -> str:
    """A digest of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy())
    return digest.hexdigest()[:16]
