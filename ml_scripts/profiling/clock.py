"""The clock that a process tells which part of its work begins.

There is one for the process, as there is one main thread whose time it splits up: each moment belongs to one phase,
the innermost. What other threads read and decode meanwhile is added up beside that. Off, it costs a comparison.
"""

import contextlib
import heapq
import io
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Any, BinaryIO

import torch

PHASES = (
    "initialisation",
    "read",  # files, wherever they lie
    "decode",  # pictures, and making views of them
    "wait",  # for what other threads read and decode
    "transfer",  # stacking, normalising, copying to the device
    "features",  # the frozen backbone
    "forward",
    "backward",
    "exchange",  # between processes, with waiting for the slowest
    "device",  # for a GPU to come to the end of what it was given
    "optimiser",
    "validation",
    "checkpoint",
    "diagnostics",
    "other",
)
(
    INITIALISATION,
    READ,
    DECODE,
    WAIT,
    TRANSFER,
    FEATURES,
    FORWARD,
    BACKWARD,
    EXCHANGE,
    DEVICE,
    OPTIMISER,
    VALIDATION,
    CHECKPOINT,
    DIAGNOSTICS,
    OTHER,
) = range(len(PHASES))

NOTHING = contextlib.nullcontext()
# What marks the end of a step where others mark the phase that begins, and so many bits hold one or the other.
END, BITS = len(PHASES), 4
# After so many steps, at the latest, what their marks say is added up.
STEPS_AT_ONCE = 256
# So many of the slowest steps are kept with their phases.
SLOWEST = 10
# A GPU works on its own; every so many steps it is asked when it came to what.
DEVICE_EVERY = 20


class Clock:
    """How long each phase took; ``durations`` are the seconds of each training step.

    ``decoded`` is what threads beside the main one did: pictures, and nanoseconds of reading and of decoding.
    """

    def __init__(self) -> None:
        self.on = False
        # What is to be called after each step, with its number.
        self.on_step: Callable[[int], None] | None = None
        # While torch.profiler is recording phases get their names in its trace, too.
        self._tracing, self._traced = False, None
        self._contexts = [_Phase(self, number) for number in range(len(PHASES))]
        self.begin(on=False)

    def begin(self, before: int = 0, on: bool = True) -> None:
        """Start anew, in the phase of initialisation, of which there were ``before`` nanoseconds already."""
        self.on, self.on_step, self._tracing, self._traced, self._telling = on, None, False, None, False
        self._thread = threading.get_ident()
        self._spent = [0] * len(PHASES)
        self._spent[INITIALISATION] = before
        self._base = self._phase = INITIALISATION
        self._since = perf_counter_ns()
        # What began when, as one number each; to be added up by _settle.
        self._marks: list[int] = []
        self._mark = self._marks.append
        self._entered: list[int] = []
        self.pictures = 0
        self._beside: dict[int, list[int]] = {}
        self.durations = array("d")
        self.first_step = 0
        # The slowest steps, and how long one has to take to be one of them.
        self.slow: list[tuple[int, int, list[int]]] = []
        self._slow = -1
        self._step_began, self._step_spent, self._steps_spent = self._since, self._spent, self._spent
        self._steps = [0] * len(PHASES)
        self._events: list[tuple[int, Any]] | None = None
        self.device_steps, self._device_ms = 0, [0.0] * len(PHASES)

    def to(self, phase: int) -> None:
        """Another phase begins, until the next one does: for what is done often, and within :meth:`steps`.

        Of a head a step takes a millisecond, and leaves nothing of this clock in the processor's caches: so it only
        leaves a mark, and marks are added up together.
        """
        if self.on:
            self._mark(perf_counter_ns() << BITS | phase)
            if self._telling:
                self._settle()
                self._tell()

    def _settle(self) -> None:
        """Add up what the marks say; on any thread."""
        marks = self._marks[:]
        del self._marks[: len(marks)]
        spent, phase, since = self._spent, self._phase, self._since
        for mark in marks:
            now, phase_or_end = mark >> BITS, mark & (1 << BITS) - 1
            spent[phase] += now - since
            since, phase = now, phase_or_end
            if phase == END:
                phase, took = WAIT, now - self._step_began
                if took > self._slow:
                    self._keep(took, self.first_step + len(self.durations))
                self.durations.append(took * 1e-9)
                self._step_began, self._step_spent = now, spent.copy()
        self._phase, self._since = phase, since

    def _keep(self, took: int, number: int) -> None:
        """A step was one of the slowest so far."""
        put = heapq.heappush if len(self.slow) < SLOWEST else heapq.heappushpop
        put(self.slow, (took, number, self._of_late(self._step_spent)))
        if len(self.slow) == SLOWEST:
            self._slow = self.slow[0][0]

    def of(self, phase: int) -> contextlib.AbstractContextManager:
        """To be entered where a phase begins and left where it ends; the one around it goes on then."""
        return self._contexts[phase] if self.on else NOTHING

    def work(self) -> None:
        """What is to be done begins: the initialisation is over."""
        if self.on and self._base == INITIALISATION:
            self._base = OTHER
            self._switch(OTHER)

    def exchange(self) -> contextlib.AbstractContextManager:
        """Around an exchange between processes; waiting for others to start is initialisation."""
        return self.of(EXCHANGE) if self._base != INITIALISATION else NOTHING

    def _switch(self, phase: int) -> int:
        if self._marks:
            self._settle()
        now, before = perf_counter_ns(), self._phase
        self._spent[before] += now - self._since
        self._since, self._phase = now, phase
        if self._telling:
            self._tell()
        return before

    def _tell(self) -> None:
        """Tell the GPU, or torch.profiler, which phase begins."""
        if self._events is not None:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((self._phase, event))
        if self._tracing:
            if self._traced:
                self._traced.__exit__(None, None, None)
            self._traced = torch.autograd.profiler.record_function(PHASES[self._phase]).__enter__()

    def trace(self, on: bool) -> None:
        """torch.profiler begins to record, or is about to end."""
        self._tracing = on
        self._telling = on or self._events is not None
        if self._traced:
            self._traced.__exit__(None, None, None)
        self._traced = None

    # What is read and decoded

    def waiting(self, stream: Iterable) -> Iterable:
        """The same stream; the time that its items take is spent waiting for data, unless they say on what."""
        return self._waiting(iter(stream)) if self.on else stream

    def _waiting(self, stream: Iterator) -> Iterator:
        while True:
            before = self._switch(WAIT)
            try:
                item = next(stream)
            except StopIteration:
                return
            finally:
                self._switch(before)
            yield item

    def decoding(self) -> contextlib.AbstractContextManager:
        """Around the decoding of one picture, on any thread."""
        if not self.on:
            return NOTHING
        if threading.get_ident() == self._thread:
            self.pictures += 1
            return self._contexts[DECODE]
        return _Beside(self._own(), 2)

    def open(self, path: Path) -> BinaryIO:
        """Open a file for reading, whose reading is then told apart from what is done with the bytes."""
        return io.BufferedReader(_TimedFile(self, path), 1 << 16) if self.on else path.open("rb")

    def reading(self) -> contextlib.AbstractContextManager:
        """Around a read of a file, on any thread, within :meth:`decoding`."""
        if threading.get_ident() == self._thread:
            return self.of(READ)
        return _Beside(self._own(), 1)

    def _own(self) -> list[int]:
        """This thread's pictures, and its nanoseconds of reading and of decoding with the reading in it."""
        return self._beside.setdefault(threading.get_ident(), [0, 0, 0])

    @property
    def decoded(self) -> tuple[int, int, int]:
        """Pictures that other threads have decoded, nanoseconds of reading them, and of decoding them."""
        rows = list(self._beside.values())
        pictures, read, all_in_all = (sum(row[column] for row in rows) for column in range(3))
        return pictures, read, all_in_all - read

    # Steps

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Around steps that follow each other; each begins with waiting for its data, and may end in any phase."""
        if not self.on:
            yield
            return
        around = self._switch(WAIT)
        self._step_began, self._step_spent, self._steps_spent = self._since, self._spent.copy(), self._spent.copy()
        try:
            yield
        finally:
            self._switch(around)
            self._steps = [sum(row) for row in zip(self._steps, self._of_late(self._steps_spent), strict=True)]

    def end_step(self, number: int) -> None:
        """A step has ended, and the next one begins, which waits for its data."""
        if not self.on:
            return
        self._mark(perf_counter_ns() << BITS | END)
        if not self.first_step:
            self.first_step = number
        if self._telling or self.on_step or not number % STEPS_AT_ONCE:
            self._settle()
        if self._telling:
            self._tell()
        if self.on_step:  # what it takes is no part of any step
            began = self._step_began
            with self.of(DIAGNOSTICS):
                self.on_step(number)
            self._steps_spent[DIAGNOSTICS] += self._since - began
            self._step_began, self._step_spent = self._since, self._spent.copy()

    def _of_late(self, before: list[int]) -> list[int]:
        return [now - then for now, then in zip(self._spent, before, strict=True)]

    # A GPU works off what it was given while the process goes on. In some steps events on it say when it came to what;
    # they are read after the step's loss was, for which it has to come to the end anyway.

    def ask_device(self) -> None:
        """In the next step look at what a GPU does, too."""
        self._events, self._telling = [], True

    def synchronised(self) -> None:
        """The device has come to the end of what it was given. To be called within the phase ``device``."""
        if self._events is None:
            return
        for (phase, began), (_, ended) in pairwise(self._events):
            self._device_ms[phase] += began.elapsed_time(ended)
        self.device_steps += 1
        self._events, self._telling = None, self._tracing

    # What came of it, in seconds by the name of the phase

    def spent(self) -> dict[str, float]:
        """The whole time of the process."""
        self._settle()
        now = self._spent.copy()
        now[self._phase] += perf_counter_ns() - self._since
        return named(now, 1e-9)

    def in_steps(self) -> dict[str, float]:
        """The time of all training steps."""
        return named(self._steps, 1e-9)

    def on_device(self) -> dict[str, float]:
        """The time of a GPU in the steps in which it was looked at."""
        return named(self._device_ms, 1e-3)


def named(values: list, unit: float) -> dict[str, float]:
    """Those that are not zero, by the name of their phase."""
    return {name: round(value * unit, 6) for name, value in zip(PHASES, values, strict=True) if value}


class _Phase:
    """One phase, to be entered again and again, also within itself."""

    def __init__(self, clock: Clock, number: int) -> None:
        self.clock, self.number = clock, number

    def __enter__(self) -> None:
        self.clock._entered.append(self.clock._switch(self.number))

    def __exit__(self, *failure: object) -> None:
        clock = self.clock
        before = clock._entered.pop()
        # The initialisation may have ended meanwhile.
        clock._switch(before if before != INITIALISATION else clock._base)


class _Beside:
    """Time of a thread that is not the main one; ``column`` says which of its times, 2 counts a picture as well."""

    def __init__(self, row: list[int], column: int) -> None:
        self.row, self.column = row, column

    def __enter__(self) -> None:
        self.began = perf_counter_ns()

    def __exit__(self, *failure: object) -> None:
        self.row[self.column] += perf_counter_ns() - self.began
        self.row[0] += self.column == 2


class _TimedFile(io.FileIO):
    """A file that tells the clock when it is read."""

    def __init__(self, clock: Clock, path: Path) -> None:
        self._clock = clock
        with clock.reading():
            super().__init__(path, "rb")

    def readinto(self, buffer: Any) -> int | None:
        with self._clock.reading():
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self._clock.reading():
            return super().readall()


CLOCK = Clock()
