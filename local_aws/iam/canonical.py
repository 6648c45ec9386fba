"""A request in the form that signatures of version 4 are of, and such a signature.

botocore's signers say the same of every request (tests/local_aws/test_iam_signatures.py holds the two against each
other) and take four times as long: they write requests that may have anything in them. Source: IAM user guide, "Create
a signed AWS API request".
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

# Paths in which there is nothing to normalise or to quote.
PLAIN = re.compile(r"/|(?:/[\w~-][\w.~-]*)+/?", re.ASCII)


def request(method: str, path: str, query: str, headers: str, names: str, hashed: str, *, is_s3: bool) -> str:
    """The canonical request.

    Parameters
    ----------
    path, query
        As they were sent.
    headers
        Those that are signed, a line each, in the order of their names: the name in lower case, a colon, the value.
    names
        Their names, with semicolons between them.
    hashed
        The digest of the body, or what stands for it.
    """
    pairs = "&".join(_sorted(query)) if query else ""
    return f"{method}\n{_path(path, is_s3)}\n{pairs}\n{headers}\n\n{names}\n{hashed}"


def _path(path: str, is_s3: bool) -> str:
    if PLAIN.fullmatch(path):
        return path
    sent = urlsplit(f"http://host{path}").path
    return sent if is_s3 else quote(normalize_url_path(sent), safe="/~")


def _sorted(query: str) -> Iterable[str]:
    pairs = sorted((name, value) for name, _, value in (each.partition("=") for each in query.split("&")))
    return (f"{name}={value}" for name, value in pairs)


def signature(secret: str, moment: str, scope: tuple[str, str, str], canonical: str) -> str:
    """The signature of a canonical request.

    Parameters: `moment` as `X-Amz-Date` says it; `scope` is day, region and service.
    """
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    day, region, service = scope
    said = f"AWS4-HMAC-SHA256\n{moment}\n{day}/{region}/{service}/aws4_request\n{digest}"
    # A copy of what the key has been put into: `hmac.digest` lets another thread have the interpreter at each call, and
    # a busy gateway then waits for its turn anew.
    made = _keyed(secret, *scope).copy()
    made.update(said.encode())
    return made.hexdigest()


@functools.lru_cache(maxsize=1024)
def _keyed(secret: str, day: str, region: str, service: str) -> hmac.HMAC:
    """What a day's signatures are made with."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
