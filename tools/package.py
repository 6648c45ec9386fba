"""Pack the project as Amazon MWAA takes it: `make package [AIRFLOW=3.2.1]`, or `python -m tools.package [FOLDER]`.

Writes dags/ (with ml_scripts/ and lambda/ beside the DAGs, as data), plugins.zip, requirements.txt and manifest.json
into build/mwaa: equal sources give equal bytes. Only what is committed is packed, so the manifest's commit holds.
No start-up script is needed. It packs for the Airflow of the environment that it runs in, of which there is one for
each of MWAA's lines. Sources: the Amazon MWAA user guide, and the image's own repository
(aws/amazon-mwaa-docker-images, images/airflow/3.3.1 and 3.2.1).
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import importlib.metadata
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "mwaa"

INPUTS = ("dags", "plugins", "ml_scripts", "lambda", "requirements")
# What nothing works without. staging/folders.py knows the last two folders by these files.
NEEDED = (
    *("requirements/airflow.in", "requirements/airflow.txt", "plugins/.airflowignore", "plugins/musher/__init__.py"),
    *("plugins/musher/costs/prices.json", "ml_scripts/train.py", "lambda/handler.py"),
)

# MWAA's Python. Source: its image's Dockerfile.
PYTHON = "3.12"
MARKERS = {
    **default_environment(),
    **{"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "implementation_name": "cpython"},
    **{"platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux"},
    **{"os_name": "posix", "platform_machine": "x86_64"},
}
# What MWAA's image installs. Source: its bootstrap/02-airflow/001-install-required-pip-packages.sh, less what only its
# own services import (Celery, PostgreSQL, type stubs). The SSH provider, and paramiko with it, is not in there.
IMAGE = (
    *("apache-airflow", "apache-airflow-core", "apache-airflow-providers-amazon[aiobotocore]"),
    *("apache-airflow-providers-standard", "watchtower", "virtualenv"),
)
# MWAA's documented form; without such a line it takes the image's own copy, and warns.
CONSTRAINTS = "https://raw.githubusercontent.com/apache/airflow/constraints-{airflow}/constraints-{python}.txt"
# Airflow's constraints pin these to versions of their own, for providers that we do not use.
CONSTRAINED = {"numpy", "pbr", "pyparsing"}

IGNORED_BY_AIRFLOW = "# Data that is staged for jobs and for the function, no DAGs.\nml_scripts/\nlambda/\n"

# AWS recommends less for plugins.zip and sets no limit. Source: MWAA user guide, "Custom plugins directory and size
# limits". The time is USER_REQUIREMENTS_MAX_INSTALL_TIME in the image's user_requirements.py.
PLUGINS_BYTES = 10**9
PIP_MINUTES = 9


class NotPackable(Exception):
    """The project cannot be packed as it is; the message is one sentence for the person who asked."""


@dataclass(frozen=True)
class Package:
    """What MWAA takes, by path: `files` as they are uploaded, `plugins` what is in plugins.zip; and its manifest."""

    files: Mapping[str, bytes]
    plugins: Mapping[str, bytes]
    requirements: tuple[str, ...]
    manifest: Mapping[str, Any]


def pack(root: Path) -> Package:
    """Pack the checkout at `root`; nothing is written. Raises NotPackable."""
    commit, sources = committed(root)
    plugins = inside(sources, "plugins")
    files = {f"dags/{name}": content for name, content in inside(sources, "dags").items()}
    for folder in ("ml_scripts", "lambda"):
        files |= {f"dags/{folder}/{name}": content for name, content in inside(sources, folder).items()}
    files["dags/.airflowignore"] = files.get("dags/.airflowignore", b"") + IGNORED_BY_AIRFLOW.encode()

    line = requirements_of(sources)
    direct = [requirement for _, requirement in parsed(sources[f"{line}.in"], f"{line}.in")]
    pinned = pins(sources[f"{line}.txt"], f"{line}.txt")
    code = {name: text for name, text in sources.items() if name.startswith(("dags/", "plugins/"))}
    requirements = lacking(code, direct, pinned, line)
    airflow = version_of("apache-airflow", direct, line)
    constraints = CONSTRAINTS.format(airflow=airflow, python=PYTHON)
    files["requirements.txt"] = requirements_file(airflow, constraints, requirements).encode()
    files["plugins.zip"] = archive(plugins)
    manifest = {
        "commit": commit,
        "airflow": airflow,
        "python": PYTHON,
        "constraints": constraints,
        "providers": {
            each.name: version_of(each.name, direct, line)
            for each in direct
            if each.name.startswith("apache-airflow-pro")
        },
        "files": described(files),
        "plugins": described(plugins),
    }
    files["manifest.json"] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    return Package(files, plugins, tuple(requirements), manifest)


def write(package: Package, target: Path) -> None:
    """Put a package at `target`, in place of the package that was there; a half one is never found.

    Raises NotPackable where something else lies.
    """
    if target.exists() and not (target / "manifest.json").is_file():
        raise NotPackable(f"{target} is there and holds no package: name another folder, or remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".package-") as folder:
        fresh = Path(folder) / "new"
        for name, content in package.files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if target.exists():
            target.rename(Path(folder) / "old")
        fresh.rename(target)


def committed(root: Path) -> tuple[str, dict[str, bytes]]:
    """The commit that is checked out, and the files of INPUTS in it, by path.

    Raises NotPackable when one is missing, or when what lies there is not what was committed.
    """
    if not shutil.which("git"):
        raise NotPackable("git is not installed: the manifest names the commit that was packed.")
    # Where a folder is no repository, git would look further up and find another one.
    if not (root / ".git").exists():
        raise NotPackable(f"{root} is no git checkout: the manifest names the commit that was packed.")
    try:
        commit = git(root, "rev-parse", "--verify", "HEAD").strip()
        status = git(root, "status", "--porcelain", "--no-renames", "-z", "--", *INPUTS)
        changed = [line[3:] for line in status.split("\0") if line]
        names = [name for name in git(root, "ls-files", "-z", "--", *INPUTS).split("\0") if name]
    except subprocess.CalledProcessError as error:
        raise NotPackable(f"git does not answer in {root}: {error.stderr.strip().splitlines()[-1]}") from None
    missing = [name for name in NEEDED if not (root / name).is_file()]
    if not any(PurePosixPath(name).match("dags/*.py") for name in names):
        missing.append("dags/*.py")
    if missing:
        raise NotPackable(f"{', '.join(missing)} is missing: nothing was packed.")
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise NotPackable(
            f"{', '.join(changed[:3])}{more}: not as committed, and the manifest names the commit; commit or remove it."
        )
    links = [name for name in names if (root / name).is_symlink()]
    if links:
        raise NotPackable(f"{links[0]} is a link, which neither S3 nor plugins.zip keeps: put the file there.")
    return commit, {name: (root / name).read_bytes() for name in names}


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def inside(sources: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    return {name.removeprefix(f"{folder}/"): text for name, text in sources.items() if name.startswith(f"{folder}/")}


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip that depends on names and content alone: sorted, one time, and stored, since compressors differ."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as zipped:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, so that the mode below is read
            info.external_attr = 0o100644 << 16
            zipped.writestr(info, content)
    return buffer.getvalue()


def described(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }


def requirements_of(sources: Mapping[str, bytes]) -> str:
    """Which of requirements/ are for the Airflow that runs here, without `.in` or `.txt`: an older line has its own."""
    older = f"requirements/airflow-{importlib.metadata.version('apache-airflow')}"
    return older if f"{older}.in" in sources else "requirements/airflow"


def parsed(text: bytes, name: str) -> Iterator[tuple[str, Requirement]]:
    """Each line of a requirements file without its comment, and what it says. Raises NotPackable."""
    for line in (raw.split("#")[0].strip() for raw in text.decode().splitlines()):
        if line:
            try:
                yield line, Requirement(line)
            except InvalidRequirement:
                raise NotPackable(f"{name} has {line!r}, which is no requirement.") from None


def pins(text: bytes, name: str) -> dict[str, str]:
    """Version by package, as the file of pins called `name` has it for MWAA's Python."""
    found = {}
    for line, requirement in parsed(text, name):
        if holds(requirement):
            if [each.operator for each in requirement.specifier] != ["=="]:
                raise NotPackable(f"{name} has {line!r}; it has to be a pin: run `make lock`.")
            found[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    return found


def version_of(name: str, direct: Iterable[Requirement], line: str = "requirements/airflow") -> str:
    """The version that LINE.in pins; MWAA's image carries exactly one. Raises NotPackable."""
    for requirement in direct:
        versions = [each.version for each in requirement.specifier if each.operator == "=="]
        if requirement.name == name and versions:
            return versions[0]
    raise NotPackable(f"{line}.in does not pin {name}; it has to be the version that MWAA carries.")


def holds(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Whether a requirement is meant for MWAA's Python and one of these extras."""
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**MARKERS, "extra": extra}) for extra in {"", *extras})


# A package's metadata takes milliseconds to read, and hundreds of packages are asked for many times.
@functools.cache
def needs(name: str, extras: frozenset[str]) -> tuple[Requirement, ...]:
    """What a package with these extras says that it needs of MWAA's Python. Raises PackageNotFoundError."""
    said = map(Requirement, importlib.metadata.requires(name) or ())
    return tuple(each for each in said if holds(each, extras))


@functools.cache
def distributions() -> Mapping[str, list[str]]:
    """The packages of this environment by the top-level names that they bring."""
    return importlib.metadata.packages_distributions()


def closure(roots: Iterable[str]) -> set[str]:
    """These packages and all that they need, as this environment has them; what it lacks is left out."""
    found, seen, ahead = set(), set(), [Requirement(root) for root in roots]
    while ahead:
        requirement = ahead.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            ahead += needs(name, extras)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
    return found


@functools.cache
def imported(source: bytes) -> frozenset[str]:
    """The dotted names that a module imports, wherever in it; its own package's relative ones are left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def packages_of(module: str, installed: Mapping[str, list[str]]) -> set[str]:
    """The packages that a dotted name may come from; none for one that is not installed.

    `installed` is importlib.metadata's packages_distributions(). All of Airflow shares one top-level name, so its
    providers are told apart by their own names.
    """
    parts = module.split(".")
    if parts[:2] == ["airflow", "providers"]:
        names = ["apache-airflow-providers-" + "-".join(parts[2 : 2 + length]) for length in (3, 2, 1)]
        return {name.replace("_", "-") for name in names}
    if parts[0] == "airflow":
        return {"apache-airflow-core", "apache-airflow-task-sdk"}
    return {canonicalize_name(name) for name in installed.get(parts[0], [])}


def third_party(code: Mapping[str, bytes]) -> dict[str, str]:
    """Every name from outside that the code imports, and a file that does."""
    own = {PurePosixPath(name).parts[1].removesuffix(".py") for name in code}
    names: dict[str, str] = {}
    for path, source in code.items():
        if path.endswith(".py"):
            for name in imported(source):
                if name.split(".")[0] not in own | sys.stdlib_module_names:
                    names.setdefault(name, path)
    return names


def lacking(
    code: Mapping[str, bytes], direct: Iterable[Requirement], pinned: Mapping[str, str], line: str
) -> list[str]:
    """What MWAA has to install: the direct requirements that the code imports and the image lacks, each with a version.

    After them comes what they need and Airflow's constraints do not pin, so that a worker started next month gets the
    same. Raises NotPackable for an import that would fail on MWAA.
    """
    installed, carried = distributions(), closure(IMAGE)
    brings = {canonicalize_name(each.name): closure([str(each)]) - carried for each in direct}
    wanted: set[str] = set()
    for module, path in sorted(third_party(code).items()):
        packages = packages_of(module, installed)
        by = {name for name, brought in brings.items() if brought & packages}
        if not packages & carried and not by:
            raise NotPackable(
                f"{path} imports {module}, which neither MWAA's image carries nor {line}.in brings: "
                "name its package there, and run `make lock`."
            )
        # A package that is named itself is what is wanted, and not another one that happens to need it.
        wanted |= (by & packages or by) if not packages & carried else set()
    provided = {name for name in wanted if name.startswith("apache-airflow-")}
    held = closure(provided) | CONSTRAINED | wanted
    followers = sorted(set().union(*(brings[name] for name in wanted)) - held) if wanted else []
    unpinned = [name for name in [*wanted, *followers] if name not in pinned]
    if unpinned:
        raise NotPackable(f"{line}.txt does not pin {', '.join(sorted(unpinned))}: run `make lock`.")
    return [f"{name}=={pinned[name]}" for name in [*sorted(wanted), *followers]]


def requirements_file(airflow: str, constraints: str, requirements: Iterable[str]) -> str:
    """requirements.txt as MWAA's pip reads it."""
    head = f"# What MWAA's image of Airflow {airflow} lacks and plugins.zip imports. Made by `make package`.\n"
    return head + f'--constraint "{constraints}"\n' + "".join(f"{each}\n" for each in requirements)


def summary(package: Package, target: Path) -> Iterator[str]:
    """What was written, a line each, and a last one on MWAA's limits."""
    dags = [name for name in package.files if PurePosixPath(name).match("dags/*.py") and name.count("/") == 1]
    beside = [content for name, content in package.files.items() if name.startswith("dags/")]
    yield f"{target}: commit {package.manifest['commit'][:12]}, for Airflow {package.manifest['airflow']} on MWAA"
    yield f"  dags/             {len(dags)} DAGs, ml_scripts and lambda: {size(sum(map(len, beside)))}"
    yield f"  plugins.zip       {len(package.plugins)} files: {size(len(package.files['plugins.zip']))}"
    yield f"  requirements.txt  {len(package.requirements)} packages that the image lacks"
    yield f"  manifest.json     the SHA-256 of {len(package.files) - 1} files, and of what is in plugins.zip"
    yield (
        f"Limits: AWS recommends less than {size(PLUGINS_BYTES)} for plugins.zip, and gives pip {PIP_MINUTES} minutes "
        "for requirements.txt."
    )


def size(count: int) -> str:
    """A number of bytes for a person: 812 kB, 1.2 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}".replace(".0 ", " ")
    return f"{max(1, round(count / 1000))} kB"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=TARGET, help="where to (default: build/mwaa)")
    target = parser.parse_args(arguments).folder
    try:
        package = pack(ROOT)
        write(package, target)
    except NotPackable as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"package: {target} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    shown = target.relative_to(ROOT) if target.is_relative_to(ROOT) else target
    print("\n".join(f"package: {line}" for line in summary(package, shown)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
