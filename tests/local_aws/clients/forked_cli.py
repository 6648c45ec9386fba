"""Runs commands of the AWS CLI, each in a process of its own, without importing the CLI for each: that takes 1.4 s.

    python forked_cli.py < one JSON array of arguments a line, as `aws` takes them

An answer is a line: {"status": exit status, "out": standard output, "err": standard error}. A line's array may end with
{"stdin": text}. Runs in the environment that has the CLI, and with its configuration in environment variables.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from typing import Any

from awscli.clidriver import create_clidriver

SERVICES = {"s3api": "s3"}  # by the names of commands, where these are others


def main() -> None:
    driver = create_clidriver()
    read: set[str] = set()
    for line in sys.stdin:
        arguments = json.loads(line)
        service = SERVICES.get(arguments[0], arguments[0])
        if service not in read:
            # What takes a command long, AWS's models and rules for addresses, is read once, and not in each process.
            driver.session.create_client(service)
            read.add(service)
        given = arguments.pop()["stdin"] if isinstance(arguments[-1], dict) else ""
        print(json.dumps(answer(driver, arguments, given)), flush=True)


def answer(driver: Any, arguments: list[str], given: str) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given.encode())
        stdin.seek(0)
        pid = os.fork()
        if pid == 0:
            for number, file in enumerate((stdin, out, err)):
                os.dup2(file.fileno(), number)
            status = 1
            try:
                status = driver.main(arguments)
            except SystemExit as end:
                status = end.code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status if isinstance(status, int) else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"status": status, "out": out.read().decode("utf-8", "replace"), "err": err.read().decode()}


if __name__ == "__main__":
    main()
