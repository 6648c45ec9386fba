"""Create `.venv` (Airflow's) and `.venv-ml` (AWS's PyTorch containers') from the pins in requirements/.

Runs with nothing but Python's standard library: `python3 tools/environments.py [airflow] [ml]`. What is done already is
skipped: an environment carries the digest of the pins it was made from, so a changed pin is noticed.
`airflow-3.2.1` makes `.venv-airflow-3.2.1`, MWAA's older line, on MWAA's Python; `aws-cli` and `sagemaker-2` make
`.venv-aws-cli` and `.venv-sagemaker-2`, clients of the local AWS that nobody here wrote.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.8"
ENVIRONMENTS = {"airflow": ".venv", "ml": ".venv-ml"}
SOURCES = {"airflow": ["airflow.in", "local_aws.in", "test.in"], "ml": ["ml.in"],
           "compose": ["airflow.in", "compose.in"], "local_aws": ["local_aws.in"]}  # fmt: skip
# MWAA's older lines that the project is tested on. Source: its image's own repository, images/airflow/.
OLDER = ("airflow-3.2.1",)
# Clients that the local AWS is tested with, and nothing else needs: `make test` makes the first, `make test-clients`
# all.
CLIENTS = ("aws-cli", "sagemaker-2")
SOURCES |= {name: [f"{name}.in"] for name in CLIENTS}
SOURCES |= {name: [f"{name}.in", "local_aws.in", "test.in"] for name in OLDER}
# What the containers' images hold, in the versions of Airflow's environment.
LIKE_AIRFLOW = {"compose", "local_aws"}
STAMP = ".made-from"
# What an environment holds beyond its pins.
MENDING = {"ml": Path(__file__).with_name("torchvision_without_cuda.py")}
# From this one on pip installs into another environment (its option --python).
OLDEST_PIP = (22, 3)
# Airflow 3.3 and the compiled packages here have wheels for these; a newer Python may lack some of them.
OLDEST, NEWEST = (3, 11), (3, 13)
MWAA_PYTHON = "3.12"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help=f"{', '.join([*ENVIRONMENTS, *OLDER, *CLIENTS])} (default: the first two)"
    )
    parser.add_argument("--lock", action="store_true", help="resolve requirements/*.in anew into the pins instead")
    given = parser.parse_args()
    names = given.names or list(ENVIRONMENTS)
    if unknown := [name for name in names if name not in (*ENVIRONMENTS, *OLDER, *CLIENTS)]:
        older = " and ".join(name.removeprefix("airflow-") for name in OLDER)
        print(f"{unknown[0].replace('airflow-', 'Airflow ')} is not supported: of MWAA's lines, the one that "
              f"requirements/airflow.in pins is, and {older}.", file=sys.stderr)  # fmt: skip
        return 1
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:2]))
        print(f"Python {found} ({sys.executable}) does not fit: 3.11, 3.12 or 3.13 is needed. "
              "Name one with `make PYTHON=python3.12 ...`.", file=sys.stderr)  # fmt: skip
        return 1
    if given.lock:
        return lock()
    for name in names:
        started = time.monotonic()
        if install(name):
            print(f"set-up: {folder_of(name).name} ready in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def install(name: str) -> bool:
    """Bring one environment to the state that requirements/NAME.txt describes; False when it already is."""
    folder, pins = folder_of(name), ROOT / "requirements" / f"{name}.txt"
    python, version = (mwaas_python(),) * 2 if name in OLDER else (sys.executable, sys.version)
    # An environment belongs to one Python and one place; the packages in it follow the pins.
    place = f"{version} {folder}".replace("\n", " ")
    mending = MENDING.get(name)
    digest = hashlib.sha256(pins.read_bytes() + (mending.read_bytes() if mending else b"")).hexdigest()
    stamp = folder / STAMP
    made_from = stamp.read_text().splitlines() if stamp.exists() else []
    if made_from == [place, digest]:
        return False
    print(f"set-up: installing {pins.relative_to(ROOT)} into {folder.name} ...", flush=True)
    uv = bootstrap_uv()
    if made_from[:1] != [place] or not (folder / "bin" / "python").exists():
        run([uv, "venv", "--quiet", "--clear", "--python", python, str(folder)])
    # Until the packages are in, only the place holds: what breaks off here is taken up again.
    stamp.write_text(f"{place}\n")
    # Nothing is compiled here: what is imported of the 26,000 files compiles as it is imported, a fifth of them.
    command = [uv, "pip", "sync", "--quiet", *torch_source(name), str(pins)]
    run(command, VIRTUAL_ENV=str(folder))
    if mending and subprocess.run([str(folder / "bin" / "python"), str(mending)]).returncode:
        raise SystemExit(1)  # it has said why
    stamp.write_text(f"{place}\n{digest}\n")
    return True


def folder_of(name: str) -> Path:
    return ROOT / ENVIRONMENTS.get(name, f".venv-{name}")


def mwaas_python() -> str:
    """An interpreter of MWAA's version that is on this machine and answers; else the version, for uv to fetch."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    places = [sys.executable, shutil.which(f"python{MWAA_PYTHON}")]
    places += sorted(map(str, pyenv.glob(f"versions/{MWAA_PYTHON}*/bin/python")))
    for place in filter(None, places):
        asked = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"]
        answer = subprocess.run(asked, capture_output=True, text=True).stdout.split(" ", 1)
        if answer[0] == MWAA_PYTHON:
            # An environment's own may go, the one behind it stays.
            base = Path(answer[1].strip()) / "bin" / f"python{MWAA_PYTHON}"
            return str(base) if base.exists() else place
    return MWAA_PYTHON


def bootstrap_uv() -> str:
    """uv, installed by pip into a small environment of its own, so that nothing outside the checkout changes.

    By the pip that is there: to unpack another one takes two thirds of the whole.
    """
    folder = ROOT / ".venv-uv"
    executable = folder / "bin" / "uv"
    if not executable.exists():
        python = str(folder / "bin" / "python")
        if pip_is_there():
            run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
            run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", UV])
        else:
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            run([python, "-m", "pip", "install", "--quiet", UV])
    return str(executable)


def pip_is_there() -> bool:
    """Whether this Python has a pip that installs into other environments; a system's may have none."""
    try:
        return tuple(map(int, metadata.version("pip").split(".")[:2])) >= OLDEST_PIP
    except (metadata.PackageNotFoundError, ValueError):
        return False


def lock() -> int:
    """Write requirements/NAME.txt from the .in files. An index is the caller's business: no file here names one."""
    for name, sources in SOURCES.items():
        pins = ROOT / "requirements" / f"{name}.txt"
        command = [bootstrap_uv(), "pip", "compile", "--quiet", "--universal", "--no-annotate", "--no-header"]
        command += ["--python-version", MWAA_PYTHON if name in OLDER else "3.11"]
        # An older line stays where Airflow's constraints put it: only what no longer fits its .in files moves.
        command += ["--output-file", str(pins)] if name in OLDER else ["--upgrade"]
        command += [argument for folder in find_links() for argument in ("--find-links", folder)]
        command += [str(ROOT / "requirements" / source) for source in sources]
        command += ["--constraint", str(ROOT / "requirements/airflow.txt")] if name in LIKE_AIRFLOW else []
        try:
            compiled = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
        except subprocess.CalledProcessError as error:
            print(f"lock: {name}.in cannot be resolved (status {error.returncode}); {pins.name} is as it was.",
                  file=sys.stderr)  # fmt: skip
            return 1
        pins.write_text(plain(pins.read_text() if name in OLDER else compiled))
        print(f"lock: {pins.relative_to(ROOT)}: {len(pins.read_text().splitlines())} packages")
    return 0


def plain(compiled: str) -> str:
    """Pins without what only a GPU needs, torch's without build tag and platforms, and no option such as an index."""
    lines = (re.sub(r"^(torch(?:vision)?==[\d.]+).*", r"\1", line) for line in compiled.splitlines())
    kept = (line for line in lines if line.strip() and not re.match(r"nvidia-|triton|cuda-|--", line))
    return "".join(f"{line}\n" for line in dict.fromkeys(kept))


def torch_source(name: str) -> list[str]:
    """Where torch's CPU build comes from: a folder that pip has been told of, else PyTorch's own index.

    PyPI's Linux build brings 4 GB of CUDA libraries, which nothing here uses.
    """
    if name != "ml":
        return []
    folders = find_links()
    if any(Path(folder).is_dir() and list(Path(folder).glob("torch-*")) for folder in folders):
        return [argument for folder in folders for argument in ("--find-links", folder)]
    return [] if sys.platform == "darwin" else ["--torch-backend", "cpu"]


def find_links() -> list[str]:
    configured = os.environ.get("PIP_FIND_LINKS", "")
    if not configured:
        answer = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.find-links"],
                                capture_output=True, text=True)  # fmt: skip
        configured = answer.stdout if answer.returncode == 0 else ""
    return re.split(r"\s+", configured.strip()) if configured.strip() else []


def run(command: list[str], **environment: str) -> None:
    try:
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **environment})
    except subprocess.CalledProcessError as error:
        print(f"set-up: `{' '.join(command)}` ended with status {error.returncode}; nothing else was changed. "
              "Is a package index reachable (see the lines above)?", file=sys.stderr)  # fmt: skip
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(main())
