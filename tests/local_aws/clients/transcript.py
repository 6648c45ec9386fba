"""Transcripts of a shell that are carried out anew: commands of the AWS CLI, and what each has to print.

    # a comment
    $ aws sts get-caller-identity --query Account
    123456789012
    $ aws s3 ls s3://nothing-here
    ! NoSuchBucket: The specified bucket does not exist
    $ id=$(aws ec2 run-instances ... --query 'Instances[0].InstanceId')
    $ until aws ec2 describe-instances --instance-ids $id --query 'Reservations[0].Instances[0].State.Name'
    running

What is printed has to be exactly that, white space aside; `...` stands for anything. A line that begins with `!` is an
error that AWS answers with: its code, and what the sentence has in it. `until` repeats a command until it prints that,
`name=$(...)` keeps what it prints, `< FILE` is its standard input, `cat FILE` prints one, and a backslash goes on in
the next line. Text is the format of what is printed unless a command asks for another.
"""

from __future__ import annotations

import doctest
import json
import re
import shlex
import string
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("forked_cli.py")
KEPT = re.compile(r"(\w+)=\$\((.*)\)")
SAME = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Command:
    """One command of a transcript, and what it has to print."""

    line: int
    text: str
    expected: str

    @property
    def refusal(self) -> tuple[str, str] | None:
        """The error's code and what its sentence has in it, when AWS refuses the command."""
        if not self.expected.startswith("!"):
            return None
        code, _, sentence = self.expected[1:].strip().partition(": ")
        return code, sentence


def commands(text: str) -> Iterator[Command]:
    """The commands of a transcript."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        start, line = number, lines[number]
        number += 1
        if not line.startswith("$ "):
            if line and not line.startswith("#"):
                raise ValueError(f"Line {start + 1} belongs to no command: {line!r}.")
            continue
        while line.endswith("\\"):
            line = line[:-1] + lines[number].strip()
            number += 1
        expected = []
        while number < len(lines) and lines[number] and not lines[number].startswith(("$ ", "#")):
            expected.append(lines[number])
            number += 1
        yield Command(start + 1, line[2:], "\n".join(expected))


class Shell:
    """Carries commands out in a folder.

    Parameters
    ----------
    python
        The interpreter of the environment that has the CLI.
    folder
        Where the commands run, with the files that they name.
    environment
        The CLI's configuration.
    """

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.kept: dict[str, str] = {}
        self._process = subprocess.Popen([python, DRIVER], cwd=folder, env=dict(environment), text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def failure(self, command: Command, patience: float = 60) -> str | None:
        """Carry a command out; what is wrong with what came of it, or None."""
        text = command.text
        until = text.startswith("until ")
        text = text.removeprefix("until ")
        name = None
        if found := KEPT.fullmatch(text):
            name, text = found.groups()
        deadline = time.monotonic() + patience
        while True:
            result = self.run(text)
            if name is not None and result["status"] == 0 and result["out"].strip():
                self.kept[name] = result["out"].strip()
                return None
            wrong = self._wrong(command, result)
            if wrong is None or not until or time.monotonic() > deadline:
                return wrong and f"line {command.line}: {command.text}\n{wrong}"
            time.sleep(0.1)

    def run(self, text: str) -> dict[str, Any]:
        """Exit status, standard output and standard error of `aws ...` or `cat FILE`."""
        words = [string.Template(word).safe_substitute(self.kept) for word in shlex.split(text)]
        given: list[Any] = []
        if "<" in words:
            given = [{"stdin": (self.folder / words[words.index("<") + 1]).read_text()}]
            del words[words.index("<") :]
        match words:
            case ["cat", file]:
                return {"status": 0, "out": (self.folder / file).read_text(), "err": ""}
            case ["aws", *arguments]:
                self._process.stdin.write(f"{json.dumps([*arguments, *given])}\n")
                self._process.stdin.flush()
                return json.loads(self._process.stdout.readline())
        raise ValueError(f"Neither `aws ...` nor `cat FILE`: {text!r}.")

    def _wrong(self, command: Command, result: dict[str, Any]) -> str | None:
        shown = f"status {result['status']}\n{result['out']}{result['err']}"
        if command.refusal:
            code, sentence = command.refusal
            told = result["err"]
            ok = result["status"] != 0 and (f"({code})" in told or code in told.split()) and sentence in told
            return None if ok else f"not refused with {code}: {sentence}\n{shown}"
        expected = string.Template(command.expected).safe_substitute(self.kept)
        printed = result["out"]
        if " s3 sync " in command.text:  # its copies end in no order
            expected, printed = ("\n".join(sorted(text.splitlines())) for text in (expected, printed))
        if result["status"] == 0 and SAME.check_output(expected, printed, FLAGS):
            return None
        return f"expected:\n{expected}\ngot {shown}"
