"""Which device, which number format, which memory layout: chosen from what the device can do, not guessed.

Measured at 224 pixels on one thread of an x86 CPU with avx512_bf16, pictures per second, batches of eight::

                        float32 NCHW    float32 channels_last    bfloat16 channels_last
    EfficientNet-Lite0  forward 58      69                       170
                        training 13     19                       19
    ResNet18            forward 42      60                       102
                        training 15     19                       32
    ResNet50            forward 14      15                       40
                        training 4      5                        13

So: channels_last always, bfloat16 where the CPU has instructions for it. Without them it is emulated, slower than
float32, hence the look at the CPU's flags. Both choices are deterministic: every rank and every restart of
a job computes in the same format.
"""

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

CPU_FLAGS = Path("/proc/cpuinfo")
# Names of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Precision:
    """A device and the format its convolutions run in; ``reduced`` is None for float32."""

    device: torch.device
    reduced: torch.dtype | None

    def context(self) -> contextlib.AbstractContextManager:
        """Autocast on, if this precision is a reduced one."""
        if self.reduced is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.reduced)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on the device, its weights in channels_last (faster on every device measured)."""
        return module.to(self.device, memory_format=torch.channels_last)


def choose(wanted: str = "auto", training: bool = False, local_rank: int = 0) -> Precision:
    """The precision for this machine.

    Args:
        wanted: ``auto`` or ``float32``.
        training: whether gradients flow through the backbone. float16 is then left alone: it would need loss
            scaling, and the GPUs without bfloat16 (before Ampere) are the only ones that would use it.
        local_rank: which GPU of this machine.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
        capability = torch.cuda.get_device_capability(device)
        reduced = torch.bfloat16 if capability >= (8, 0) else torch.float16 if capability >= (7, 0) else None
        if training and reduced is torch.float16:
            reduced = None
    else:
        device = torch.device("cpu")
        reduced = torch.bfloat16 if cpu_computes_bfloat16() else None
    return Precision(device, None if wanted == "float32" else reduced)


def keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks for the next layer instead of handing them back to the system.

    By default every activation above some megabytes is mapped anew and zeroed page by page, a fifth of a job's
    processor time. Kept, one thread sees 155 pictures a second instead of 105 in batches of
    eight, and 155 instead of 55 in batches of 64 (EfficientNet-Lite0, bfloat16). Elsewhere than on glibc: nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    if not mallopt(MMAP_THRESHOLD, 1 << 30):
        mallopt(MMAP_THRESHOLD, 1 << 25)  # the most that older versions accept
    mallopt(TRIM_THRESHOLD, 1 << 30)


def cpu_computes_bfloat16(flags: Path = CPU_FLAGS) -> bool:
    """Whether an x86 CPU has bfloat16 instructions (AVX-512 or AMX)."""
    try:
        words = flags.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words
