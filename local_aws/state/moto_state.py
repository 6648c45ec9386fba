"""What moto keeps, as something that can be pickled: the backends of every service, account and region.

The only place that knows how moto keeps its backends, and which of its objects a pickle needs help with.
"""

from __future__ import annotations

import copyreg
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Container
from typing import Any

from moto.backends import get_backend
from moto.core.base_backend import AccountSpecificBackend, BackendDict

# Of a BackendDict; S3's has one more: which account a bucket belongs to.
OWN_ATTRIBUTES = {"backend", "service_name", "_use_boto3_regions", "_additional_regions", "_id"}

Regions = dict[tuple[str, str], Any]
Kept = dict[str, tuple[dict[str, Any], Regions]]
"""A service's name in moto -> (attributes of its BackendDict, (account, region) -> backend)."""


def remember(without: Container[str] = (), only: Container[str] | None = None) -> Kept:
    """Everything that moto keeps now, except of some services, or of these alone."""
    kept: Kept = {}
    for backends in list(BackendDict._instances):
        name = name_of(backends)
        if name not in without and (only is None or name in only):
            attributes = {key: value for key, value in vars(backends).items() if key not in OWN_ATTRIBUTES}
            kept[name] = attributes, {(acc, region): each for acc, region, each in backends.iter_backends()}
    return kept


def restore(kept: Kept) -> None:
    """Put back what `remember` gave."""
    for name, (attributes, regions) in kept.items():
        backends = get_backend(name)
        vars(backends).update(attributes)
        for (account, region), backend in regions.items():
            dict.__setitem__(backends[account], region, backend)


def name_of(backends: BackendDict[Any]) -> str:
    """The name by which moto's `get_backend` gives it."""
    return backends.backend.__module__.split(".")[1]


def reducers(*, whole_buckets: bool = False) -> dict[type, Callable[[Any], Any]]:
    """A pickler's dispatch table for what pickle cannot do by itself. It takes none of moto's locks.

    Parameters: `whole_buckets` for a pickle of S3's buckets; any other names them, and has a copy in case of one that
    is gone.
    """
    table: dict[type, Callable[[Any], Any]] = {
        **copyreg.dispatch_table,
        type(threading.Lock()): lambda _: (threading.Lock, ()),
        type(threading.RLock()): lambda _: (threading.RLock, ()),
        weakref.WeakValueDictionary: lambda found: (weakref.WeakValueDictionary, (dict(found),)),
        AccountSpecificBackend: _reduce_account,
    }
    # Of what nobody has imported there is nothing to pickle; moto's SSM would bring EC2, which takes a second.
    if s3 := sys.modules.get("moto.s3.models"):
        table[s3._VersionedKeyStore] = lambda found: (versioned, (dict(found),))
        if not whole_buckets:
            table[s3.FakeBucket] = lambda found: (bucket, (found.account_id, found.partition, found.name, vars(found)))
    if ssm := sys.modules.get("moto.ssm.models"):
        table |= {ssm.SimpleSystemManagerBackend: _reduce_ssm, ssm.ParameterDict: _reduce_parameters}
    if rust := sys.modules.get("cryptography.hazmat.bindings._rust"):
        openssl = rust.openssl
        table |= {openssl.rsa.RSAPrivateKey: _reduce_private_key, openssl.ec.ECPrivateKey: _reduce_private_key}
    for kind in (BackendDict, *BackendDict.__subclasses__()):
        table[kind] = lambda backends: (get_backend, (name_of(backends),))
    return table


def bucket(account: str, partition: str, name: str, state: dict[str, Any]) -> Any:
    """A bucket that CloudFormation, say, knows: the one that S3 has, or what was known of it."""
    from moto.s3.models import FakeBucket

    found = get_backend("s3")[account][partition].buckets.get(name)
    if found is None:
        found = FakeBucket.__new__(FakeBucket)
        vars(found).update(state)
    return found


def versioned(versions: dict[str, list[Any]]) -> Any:
    """A bucket's objects by key; moto's own way to set one would add a version."""
    from moto.s3.utils import _VersionedKeyStore

    store = _VersionedKeyStore()
    dict.update(store, versions)
    return store


def two_levels() -> defaultdict[str, dict[str, str]]:
    return defaultdict(dict)


def private_key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem, None)


def account_backends(name: str, account: str) -> Any:
    return get_backend(name)[account]


def _reduce_ssm(backend: Any) -> Any:
    """Its tags are a defaultdict with a lambda."""
    tags = defaultdict(two_levels, {kind: defaultdict(dict, each) for kind, each in backend._resource_tags.items()})
    return copyreg.__newobj__, (type(backend),), vars(backend) | {"_resource_tags": tags}


def _reduce_parameters(found: Any) -> Any:
    """A defaultdict that is made from an account and a region."""
    return type(found), (found.account_id, found.region_name), vars(found), None, iter(dict.items(found))


def _reduce_private_key(key: Any) -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private_key, (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),)


def _reduce_account(backends: Any) -> Any:
    return account_backends, (backends.backend.__module__.split(".")[1], backends.account_id)
