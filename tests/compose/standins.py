"""Stand-ins for the upstream images of docker-compose.yaml, made of Debian's packages and of this machine's Pythons.

For a machine that reaches package indexes and no image registry. They carry the names of the upstream images, in the
private engine only. What a test proves on them is in docs/compose.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.compose.engine import mirror, run
from tools import environments
from tools.stack import ROOT

HERE = Path(__file__).with_name("standins")
DEBIAN = "musher-standin-debian:12"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What a Python that was compiled somewhere else is linked to.
LIBRARIES = ("libssl3,libffi8,libsqlite3-0,libreadline8,libbz2-1.0,liblzma5,libncursesw6,libuuid1,libexpat1,"
             "libgdbm6,zlib1g")  # fmt: skip
NOT_COPIED = re.compile(r"/(test|tests|__pycache__|site-packages|idlelib|tkinter|config-[^/]*)(/|$)|\.a$|_sandboxing")


@dataclass(frozen=True)
class Python:
    """An interpreter of this machine: its version, and the folder that it was installed to."""

    version: str
    home: Path

    @property
    def image(self) -> str:
        return f"python:{self.version}-slim-bookworm"


def python(executable: str) -> Python:
    asked = "import platform, sys; print(platform.python_version(), sys.base_prefix)"
    version, home = run([executable, "-c", asked]).strip().split(" ", 1)
    return Python(version, Path(home))


def pythons() -> dict[str, Python]:
    """The Pythons of the two images: MWAA's version for Airflow where this machine has it, else this one.

    The local AWS's is the one that runs this, since `.venv-ml` was made with it: so torch has a wheel that fits.
    """
    here = python(sys.executable)
    airflow = environments.mwaas_python()
    return {
        "AIRFLOW_PYTHON": python(airflow) if Path(airflow).exists() else here,
        "LOCAL_AWS_PYTHON": here,
    }


def build(work: Path, environment: dict[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Make the images that are missing; returns the build arguments that name the Pythons. Raises EngineError."""
    found = pythons()
    made = set(run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"], env=environment).split())
    if DEBIAN not in made:
        say("Making a stand-in for the base image ...")
        debian(work, environment)
    for each in found.values():
        if each.image not in made:
            say(f"Making a stand-in for {each.image} ...")
            copied_python(each, work, environment)
            made.add(each.image)
    for image in sorted(upstream_images()):
        if image not in made:
            say(f"Making a stand-in for {image} ...")
            docker_build(image, HERE / image.split(":")[0], environment)
    return {name: each.version for name, each in found.items()}


def upstream_images() -> set[str]:
    """The images that docker-compose.yaml runs as they are, and that have a folder beside this file."""
    named = re.findall(r"^ +image: (\S+)", (ROOT / "docker-compose.yaml").read_text(), re.MULTILINE)
    return {image for image in named if (HERE / image.split(":")[0]).is_dir()}


def debian(work: Path, environment: dict[str, str]) -> None:
    """A minimal Debian 12, with the certificates that this machine trusts."""
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
    system = work / "debian.tar"
    # `postgresql` wants the folder of the manual pages that are excluded.
    run(["mmdebstrap", "--variant=minbase", f"--include=ca-certificates,netbase,{LIBRARIES}", *excluded,
         "--customize-hook=mkdir -p $1/usr/share/man/man1 $1/usr/share/man/man7",
         f"--customize-hook=copy-in {CERTIFICATES} /etc/ssl/certs",
         "bookworm", str(system), mirror()], env={**os.environ, **environment})  # fmt: skip
    trusted = " ".join(f"{name}={CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"))
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    run(["docker", "import", "--change", f"ENV PATH={path} LANG=C.UTF-8 {trusted}", str(system), DEBIAN],
        env=environment)  # fmt: skip
    system.unlink()


def copied_python(each: Python, work: Path, environment: dict[str, str]) -> None:
    target = "debian" if each.home == Path("/usr") else "copied"
    context = work / f"python-{each.version}"
    context.mkdir(exist_ok=True)
    shutil.copy(HERE / "python/Dockerfile", context)
    with tarfile.open(context / "python.tar", "w") as archive:
        if target == "copied":
            pack(each, archive)
    docker_build(each.image, context, environment, "--target", target)
    shutil.rmtree(context)


def pack(each: Python, archive: tarfile.TarFile) -> None:
    """Its interpreter and standard library, without what was installed into it."""
    short = ".".join(each.version.split(".")[:2])

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return None if NOT_COPIED.search(member.name) else member

    for name in (f"bin/python{short}", f"lib/python{short}", f"include/python{short}"):
        archive.add(each.home / name, name, filter=kept)
    for library in (each.home / "lib").glob("libpython*.so*"):
        archive.add(library, f"lib/{library.name}")
    for name in ("bin/python3", "bin/python"):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, f"python{short}"
        archive.addfile(link)


def docker_build(image: str, context: Path, environment: dict[str, str], *options: str) -> None:
    run(["docker", "build", "--quiet", "--tag", image, *options, str(context)], env=environment)


def wheels(checkout: Path) -> None:
    """Torch's CPU build from the folder that pip was told of, where there is one: docker/wheels/ comes first."""
    for folder in environments.find_links():
        for wheel in Path(folder).glob("torch-*.whl") if Path(folder).is_dir() else ():
            shutil.copy(wheel, checkout / "docker/wheels")


def package_index(file: Path) -> None:
    """The indexes that pip uses on this machine, as docker/package_index.env names them."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = re.search(r"^(?:global|install|:env:)\.index-url='(.+)'", listed, re.MULTILINE)
    index = os.environ.get("PIP_INDEX_URL") or (found.group(1) if found else "")
    lines = ["# pip's own settings on this machine."]  # an empty file is not mounted
    lines += [f"{name}={json.dumps(index)}" for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX") if index]
    file.write_text("".join(f"{line}\n" for line in lines))
