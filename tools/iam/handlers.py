"""Makes local_aws/stacks/permissions.json: what the handlers of CloudFormation's registry may call.

    python -m tools.iam.handlers

The schemas of the registry come with the linter of templates, cfn-lint. Only the kinds of resources that stacks make by
operations of their services are kept; `handlers` gives them all, for the test that holds made.py to them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

from local_aws.stacks import registry

FILE = Path(registry.__file__).with_name("permissions.json")
VERBS = ("create", "read", "update", "delete")


@functools.cache
def handlers() -> dict[str, dict[str, list[str]]]:
    """Kind of resource -> verb -> the actions that its handler may need. Raises ImportError without cfn-lint."""
    found = importlib.util.find_spec("cfnlint")
    if found is None or found.origin is None:
        raise ImportError("The schemas come with cfn-lint, which requirements/dev.txt has.")
    made: dict[str, dict[str, list[str]]] = {}
    for file in sorted((Path(found.origin).parent / "data/schemas/resources").glob("*.json")):
        schema = json.loads(file.read_text())
        named = schema.get("handlers") or {}
        if named:
            # A kind has a schema for each set of regions that has the same one.
            of = made.setdefault(schema["typeName"], {verb: [] for verb in VERBS})
            for verb in VERBS:
                of[verb] = sorted({*of[verb], *(named.get(verb) or {}).get("permissions", ())})
    return made


def text() -> str:
    """What the file has to say."""
    every = handlers()
    kinds = {name: every[name] for name in registry.names()}
    return json.dumps({"source": f"cfn-lint {importlib.metadata.version('cfn-lint')}", "kinds": kinds}, indent=1) + "\n"


def main() -> int:
    FILE.write_text(text())
    print(f"{FILE}: {len(registry.names())} kinds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
