"""botocore's models of services, read once in a process.

Each session of botocore's has a loader of its own, which looks for all services' files and reads the models anew; moto
makes sessions as its modules are imported, EC2's alone three, and a loader for each model.
"""

from __future__ import annotations

import functools

import botocore.session
import moto.core.utils


def read_once() -> None:
    """Let all sessions that are made from now on have one loader, which keeps what it has found, and moto another: its
    models have more in them."""
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    moto.core.utils.create_loader = functools.cache(moto.core.utils.create_loader)
