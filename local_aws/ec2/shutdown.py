"""`shutdown` and `poweroff` on an EC2 host: writes down when to power off and tells the host.

    python -I -S shutdown.py HOST_PID FILE shutdown [-h|-P|-H] [now|+MINUTES] [MESSAGE]   in one minute by default
    python -I -S shutdown.py HOST_PID FILE shutdown -c                                    takes it back

As in shutdown(8) of systemd. Minutes are real ones, like everything that a host measures itself.
"""

import contextlib
import os
import signal
import sys
import time


def main(pid: int, file: str, name: str, words: list[str]) -> int:
    options = [word for word in words if word.startswith("-")]
    times = [word for word in words if not word.startswith("-")]
    if "-r" in options or "--reboot" in options:
        print(f"{name}: a host of the local AWS cannot be rebooted", file=sys.stderr)
        return 1
    if name == "shutdown" and "-c" in options:
        with contextlib.suppress(FileNotFoundError):
            os.remove(file)
    else:
        when = "now" if name != "shutdown" else (times or ["+1"])[0]
        minutes = "0" if when == "now" else when.removeprefix("+")
        if not minutes.isdigit():
            print(f"Failed to parse time specification: {when}", file=sys.stderr)
            return 1
        due = time.time() + 60 * int(minutes)
        with open(file + ".new", "w") as new:
            new.write(str(due))
        os.replace(file + ".new", file)
        if due > time.time():
            at = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
            print(f"Shutdown scheduled for {at}, use 'shutdown -c' to cancel.", file=sys.stderr)
    os.kill(pid, signal.SIGUSR1)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
