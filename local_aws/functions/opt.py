"""A function's /opt: what its layers hold, and how its processes find it.

Source: Lambda developer guide, "Packaging your layer content": archives are extracted to /opt in the order of the
function's list, a later one over an earlier one; Python looks for modules in python/lib/python3.x/site-packages and in
python, commands are found in bin, libraries in lib.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from local_aws.processes import opt


def merged(layers: Sequence[tuple[str, Path]], folder: Path) -> Path | None:
    """The folder that is a function's /opt, made below `folder` where it is not there; None without layers.

    Parameters: `layers` are the digest and the folder of each layer's contents, in the function's order.
    """
    if len(layers) < 2:
        return layers[0][1] if layers else None
    digests = " ".join(digest for digest, _ in layers)
    target = folder / hashlib.sha256(digests.encode()).hexdigest()
    if not target.exists():
        scratch = folder / f"merging-{uuid.uuid4().hex}"
        try:
            for _, contents in layers:
                shutil.copytree(contents, scratch, copy_function=_link, dirs_exist_ok=True)
            scratch.rename(target)
        except OSError:
            # Another call has made it in the meantime.
            if not target.exists():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def _link(source: str, target: str) -> None:
    if os.path.lexists(target):
        os.unlink(target)
    os.link(source, target)


def variables(layers: Path, runtime: str) -> dict[str, str]:
    """The search paths of an environment with layers, in front of what this machine's are."""
    place = Path("/opt") if mountable() else layers
    modules = [place / "python" / "lib" / runtime / "site-packages", place / "python"]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PATH": os.pathsep.join([str(place / "bin"), os.environ.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": os.pathsep.join([str(place / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]),
    }


def seen(layers: Path, scratch: Path) -> opt.Opt | None:
    """The /opt of an environment with layers; None where the system does not allow one. `scratch` is `Opt`'s."""
    if not mountable():
        return None
    return opt.Opt(scratch, then={each.name: each for each in sorted(layers.iterdir())})


def mountable() -> bool:
    """Whether a process can have mounts of its own, and nothing of this machine's /opt would hide a layer's folders."""
    return not any(os.path.lexists(f"/opt/{each}") for each in ("python", "lib", "bin")) and opt.refusal() is None
