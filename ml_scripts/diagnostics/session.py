"""The rules of one training, from its first picture to ``diagnostics.json``.

Every process of a job records; the first one evaluates, speaks and writes. What a rule finds stays found: it goes into
the checkpoint, so that a training that is interrupted does not forget it.
"""

import contextlib
import time
from array import array
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import torch
from data import Split
from distributed import Group
from errors import UserError
from evaluation import write_json
from images import Normalisation

from diagnostics import inputs
from diagnostics.choice import Chosen, measures
from diagnostics.outcome import Outcome, written
from diagnostics.recorder import FIRST, LONGEST, Recorder, interval, keep, merged
from diagnostics.rule import Issue, NotApplicable, counted
from diagnostics.rules.stalled_training import NAME as STALLED
from diagnostics.statistics import Sample, Statistics

FILE = "diagnostics.json"
# What the sentence of a training that a rule ended begins with; whoever reads FailureReason looks for it.
PREFIX = "DiagnosticRule"
# Rules go over the whole training, so they are evaluated again only once it has grown by this share.
GROWTH = 1.25
NOTHING = contextlib.nullcontext(False)


class RuleFired(UserError):
    """A rule whose action is ``stop`` has found something."""


class TrainingEnded(Exception):
    """A rule whose action is ``end`` has found something: what was trained so far is kept."""


class Diagnostics:
    """The diagnostics of a training. Without rules it records nothing and costs nothing.

    Args:
        splits: as listed; :meth:`readable` says which pictures are left.
        trained: ``head`` or ``all``.
    """

    def __init__(
        self,
        chosen: list[Chosen],
        group: Group,
        splits: dict[str, Split],
        classes: list[str],
        trained: str,
        batch_size: int,
        epochs: int,
    ):
        self.chosen, self.group = chosen, group
        self.on = bool(chosen)
        self.outcomes = {each.rule.name: Outcome() for each in chosen}
        self.seen = Statistics(trained, classes, _counts(splits["train"], classes), batch_size, epochs, 1)
        self.moved_at = time.monotonic()
        self._inputs: inputs.WatchedNormalisation | None = None
        self._recorder: Recorder | None = None
        self._interval = LONGEST
        # The newest step that was sampled, the next one that is, and that after which the rules were evaluated.
        self._sampled = self.next_sample = self._evaluated = 0
        # What the rules were last evaluated on, and the logits and labels of the best epoch, still to be counted.
        self._judged: tuple = ()
        self._predicted: tuple[torch.Tensor, torch.Tensor] | None = None
        self._exchanged = True
        self.ended_by: str | None = None

    @classmethod
    def none(cls, group: Group) -> "Diagnostics":
        """Diagnostics without rules."""
        return cls([], group, {"train": Split("train", Path(), [], [])}, [], "", 1, 0)

    def moved(self) -> None:
        """There was progress just now."""
        self.moved_at = time.monotonic()

    def watched(self, normalise: Normalisation) -> Normalisation:
        """The normalisation, looked at; to be used instead of it."""
        if not self.on:
            return normalise
        self._inputs = inputs.WatchedNormalisation(normalise, self.moved)
        return self._inputs

    def readable(self, splits: dict[str, Split]) -> None:
        """These pictures could be read; all processes together."""
        self.seen.labels = _counts(splits["train"], self.seen.classes)
        if not any(each.rule.name == "LeakedValidation" for each in self.chosen):
            return
        try:
            found = inputs.leaked(splits["train"], splits["valid"], self.group.rank, self.group.world)
        except OSError:  # a file that was there has gone
            found = None
        parts = self.group.gather_objects(found, "the diagnostics")
        self.seen.leaked = None if None in parts else sorted(name for part in parts for name in part)

    def begin(self, task: Any, flat: Any, state: Any) -> None:
        """The training of a :class:`training.Task` goes on from ``state``; ``flat`` are its parameters.

        Raises:
            RuleFired: the pictures alone are enough for a rule that stops.
            TrainingEnded: a rule has ended the training before it was interrupted.
        """
        if not self.on:
            return
        seen = self.seen
        seen.steps_per_epoch = -(-task.source.samples("train") // seen.batch_size)
        seen.first_step, seen.epochs = state.step + 1, state.history
        self._interval = interval(seen.steps_per_epoch * seen.planned_epochs, seen.trained)
        self._sampled = max(state.step - state.step % self._interval, *(n for n in (0, *FIRST) if n <= state.step))
        self._plan()
        self._exchanged = not task.source.everywhere
        if self.group.leads or self._exchanged:
            prefix = "" if hasattr(task.module, "head") else "head."
            self._recorder = Recorder(task.module, flat, prefix, *measures(self.chosen))
        for name, issue in state.issues.items():
            if name in self.outcomes:
                self._found(name, Issue(**issue), say=False)
        self.evaluate(state.epoch)

    @property
    def losses(self) -> array | None:
        """Where who trains adds the mean loss of each step; None without rules."""
        return self.seen.losses if self.on else None

    def watching(self) -> contextlib.AbstractContextManager[bool]:
        """To be entered around forward and backward of step ``next_sample``; gives whether this process records it."""
        self._sampled = self.next_sample
        self._plan()
        return self._recorder.watching() if self._recorder else NOTHING

    def _plan(self) -> None:
        """Which step after the newest one that was sampled is the next."""
        later = [number for number in FIRST if number > self._sampled]
        self.next_sample = min([*later[:1], self._sampled - self._sampled % self._interval + self._interval])

    def lost(self, loss: float, epochs: int) -> None:
        """The loss is no longer a finite number, on every process, after so many finished epochs.

        Raises:
            RuleFired: a rule is to say so.
            TrainingEnded: a rule is to keep the best epoch.
        """
        if not self.on:
            return
        self.seen.losses.append(loss)
        self.judge()
        self._act(epochs)

    def before(self, values: torch.Tensor) -> numpy.ndarray:
        """What :meth:`took` has to know of the weights before a sampled step."""
        return self._recorder.look(values)

    def took(self, state: Any, loss: float, gradient: torch.Tensor, before: numpy.ndarray, after: torch.Tensor) -> None:
        """A sampled step was taken: its mean loss, the gradient, and the weights around it."""
        activations = self._recorder.activations()
        parts = self.group.gather_objects(activations, "the diagnostics") if self._exchanged else [activations]
        if self.group.leads:
            parameters = self._recorder.parameters(gradient, before, after, spread=state.step <= FIRST[-1])
            keep(self.seen.samples, Sample(state.step, state.epoch + 1, loss, parameters, merged(parts)))

    def validated(self, state: Any, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """The validation pictures were predicted at the end of an epoch."""
        if self.on and state.best_epoch == state.epoch:
            self._predicted = logits, labels

    def _count_predictions(self) -> None:
        if self._predicted:
            (logits, labels), self._predicted = self._predicted, None
            classes = len(self.seen.classes)
            pairs = labels * classes + logits.argmax(1)
            self.seen.confusion = pairs.bincount(minlength=classes * classes).view(classes, classes).tolist()

    def closed_epoch(self, state: Any) -> None:
        """An epoch is over and was reported.

        Raises:
            RuleFired: a rule that stops has found something.
            TrainingEnded: so has one that ends the training.
        """
        if not self.on:
            return
        # After the last epoch there is nothing that :meth:`finish` would see and this would not.
        self.seen.finished = state.epoch >= self.seen.planned_epochs
        if self.seen.finished or (self._sampled > self._evaluated and state.step >= GROWTH * self._evaluated):
            self._evaluated = state.step
            self.evaluate(state.epoch)
        state.issues = self.issues()

    def finish(self, state: Any) -> None:
        """The training has come to its end. Raises :class:`RuleFired`."""
        if self.on:
            self.seen.finished = True
            self.evaluate(state.epoch)

    def stalled(self, seconds: float) -> str | None:
        """Nothing has moved for so long; the sentence to end with, if that is what is to be done."""
        self.seen.idle_seconds = max(self.seen.idle_seconds, seconds)
        self.judge(STALLED)
        fired = self._fired()
        return self._sentence(fired) if fired else None

    def issues(self) -> dict[str, dict[str, Any]]:
        """What was found so far, for the checkpoint."""
        return {name: asdict(each.issue) for name, each in self.outcomes.items() if each.issue}

    def evaluate(self, epochs: int) -> None:
        """Evaluate every rule that has found nothing yet; all processes together, after so many finished epochs.

        Raises:
            RuleFired: a rule that stops has found something.
            TrainingEnded: so has one that ends the training.
        """
        if self._inputs is not None:
            parts = self.group.gather_objects(self._inputs.totals(), "the diagnostics")
            self.seen.inputs = inputs.described(parts)
        if self.group.leads:
            self.judge()
        self._act(epochs)

    def _act(self, epochs: int) -> None:
        """End the training on all processes, if the first one has a rule that says so."""
        if all(each.action == "report" for each in self.chosen):
            return
        fired = self._fired()
        found = fired and (fired.rule.name, fired.action, self._sentence(fired))
        found = self.group.gather_objects(found, "the diagnostics")[0]
        if found is None:
            return
        name, action, sentence = found
        if action == "stop" or not epochs:  # there is nothing to keep yet
            raise RuleFired(sentence)
        if self.seen.finished or epochs >= self.seen.planned_epochs:  # it comes to its end without that
            return
        self.ended_by = name
        raise TrainingEnded(sentence)

    def judge(self, only: str | None = None) -> None:
        """Evaluate the rules, or one of them, on what this process knows; not again where nothing has been added."""
        seen = self.seen
        known = (len(seen.losses), seen.step, len(seen.epochs), seen.finished, seen.idle_seconds, seen.inputs)
        if known == self._judged and not only:
            return
        if not only:
            self._count_predictions()
        for each in self.chosen:
            outcome = self.outcomes[each.rule.name]
            if outcome.issue or (only and each.rule.name != only):
                continue
            try:
                issue = each.rule.check(self.seen, **each.parameters)
            except NotApplicable as why:
                outcome.status, outcome.details = "Stopped", str(why)
            except Exception as error:  # a rule that breaks must not end the training that it watches
                outcome.status, outcome.details = "Error", f"{type(error).__name__}: {error}"
            else:
                outcome.status = "NoIssuesFound"
                outcome.details = self._looked_at()
                if issue:
                    self._found(each.rule.name, issue)
            outcome.since = time.time()
        if not only:
            self._judged = known

    def _looked_at(self) -> str:
        """What rules had to go by; of a frozen backbone there are no gradients to say anything about."""
        part = "the head, the backbone being frozen" if self.seen.trained == "head" else "the whole network"
        steps, epochs = counted(len(self.seen.samples), "step"), counted(len(self.seen.epochs), "epoch")
        return f"looked at {steps} and {epochs} of {part}"

    def _found(self, name: str, issue: Issue, say: bool = True) -> None:
        advice = next(each.rule.advice for each in self.chosen if each.rule.name == name)
        self.outcomes[name] = Outcome("IssuesFound", f"{issue.sentence}: {advice}", issue, time.time())
        if say and self.group.leads:
            print(
                f"{PREFIX} {name}: IssuesFound step={issue.step} value={issue.value:.6g} "
                f"threshold={issue.threshold:.6g}: {issue.sentence}: {advice}",
                flush=True,
            )

    def _fired(self) -> Chosen | None:
        """Of the rules that stop or end the training the one that was the first to find something."""
        fired = [each for each in self.chosen if each.action != "report" and self.outcomes[each.rule.name].issue]
        return min(fired, key=lambda each: self.outcomes[each.rule.name].issue.step, default=None)

    def _sentence(self, each: Chosen) -> str:
        outcome = self.outcomes[each.rule.name]
        return f"{PREFIX} {each.rule.name}: {outcome.details} (step {outcome.issue.step})"

    def write(self, folder: Path) -> None:
        """Leave ``diagnostics.json``, and one line with the number of rules by what became of them."""
        if not (self.on and self.group.leads):
            return
        self.judge()
        count = [each.status for each in self.outcomes.values()].count
        print(
            f"diagnostics: issues={count('IssuesFound')} none={count('NoIssuesFound')} "
            f"stopped={count('Stopped')} errors={count('Error')}",
            flush=True,
        )
        try:
            write_json(folder / FILE, written(self.chosen, self.outcomes, self.seen, self.ended_by))
        except OSError as error:  # what ended the training, if something did, says more
            print(f"{folder / FILE} could not be written: {error.strerror}", flush=True)


def _counts(split: Split, classes: list[str]) -> list[int]:
    found = Counter(split.labels)
    return [found[index] for index in range(len(classes))]
