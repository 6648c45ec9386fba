"""The pages of docs/ that the code knows better than anybody: every parameter, and what the local AWS supports.

    make docs, or python -m tools.reference_docs

Nothing in these pages is written by hand but the heads in this file; tests/tools/test_reference_docs.py fails when a
committed page is not what the code gives. DAG files are read, not imported, so that no Airflow is needed.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

GAP = "…"  # stands for a value in a sentence of the code
ENVIRONMENT = "Environment"

MADE = "<!-- Made from the code by `make docs`: change that, not this file. -->\n"

PARAMETERS_HEAD = """\
# Parameters

Every choice of every DAG, and every fact of the environment. The trigger form and Airflow's API refuse what a field
does not allow; the first task checks everything once more, and ends with one sentence that names the field, the value
and what would be right, before anything is launched.

- **For one run**: the trigger form in the Airflow UI, where each field has its limits and its sentence, or the run's
  `conf`, a JSON object with these names. A field left out has its default.
- **For every run**, the scheduled ones and those that an asset starts as well: another default in the DAG file, such as
  `params=TrainingConfig.params(accuracy_floor=0.9)`; it is checked like anything a person types.
- **For the environment**: the Airflow Variable `musher`, a JSON object.
"""

ENVIRONMENT_HEAD = """\
## The Airflow Variable `musher`

Facts of the environment, written by the infrastructure (the stack of `infra/`, or `make up` for the local AWS) and
read by every task as it runs. A field without a default has to be there.
"""

LOCAL_AWS_ENVIRONMENT = """\
## What scripts find installed

Jobs and endpoints share one Python environment, `.venv-ml` (`--jobs-python`), that stands in for AWS's PyTorch images:
torch and torchvision of the training image that the DAGs name, AWS's training and inference toolkits, boto3, NumPy,
SciPy, pandas, scikit-learn, matplotlib, seaborn, Pillow, imageio, requests, tqdm, PyYAML, cloudpickle and psutil. Every
image name that is taken gets this one, whatever versions AWS's image of that name holds.

- **Left out**, although AWS's training image has it, for its size: torchaudio, deepspeed, fastai, opencv-python, mpi4py
  (and MPI itself), numba, shap, bokeh, plotly, s3fs, aiohttp, GitPython, the `sagemaker` SDK, smclarify and mlflow. A
  script that needs one names it in its `requirements.txt`.
- **Each instance has an environment of its own over it**, an empty one. AWS's training toolkit installs a job's
  `requirements.txt` there, AWS's inference toolkit a model's `code/requirements.txt` before the model is loaded, and
  what a script installs with `pip` goes there, too. It comes before the image's packages, in any version, its commands
  are on the `PATH`, and it goes with the instance. What cannot be installed fails the job or the endpoint, with the
  toolkit's reason. `pip install --user` is refused, as in any virtual environment.
- **An entry point of one's own** (`ContainerEntrypoint`, as SageMaker's SDK 3 sends it) has its files below `/opt/ml`,
  as in AWS's container, in mounts that only it sees: on Linux, where user namespaces are allowed. Elsewhere it is
  refused. AWS's own entry point has its folder where `SAGEMAKER_BASE_DIR` says.
- **pip finds packages as on this machine**: by `PIP_INDEX_URL`, `PIP_FIND_LINKS` and the like of whoever started the
  local AWS, and by their `pip.conf`. A job or a model under network isolation reaches no package index.
- **torchvision's compiled operators** (`torchvision.ops.nms`, decoding by `torchvision.io`) are there where its build
  fits torch's: with PyTorch's own index, and on macOS. Elsewhere calling one says that it could not be loaded; models,
  transforms and data sets work all the same.
"""

STACKS_HEAD = """\
## What stacks are made of

CloudFormation makes these by the operations of their services, as a caller would: with their refusals, their waiting
(an endpoint is in service, an instance runs, a function is active) and their names. What fails is `CREATE_FAILED` with
the service's reason, and is undone (`ROLLBACK_COMPLETE`, `UPDATE_ROLLBACK_COMPLETE`) or kept, as the call says; what
cannot be deleted is `DELETE_FAILED`. A property that nobody would carry out fails its resource.

"""

STACKS = """\
Other kinds are made by moto's CloudFormation, whose properties it may leave out; those of them that it does not delete
are `DELETE_FAILED` and say so. A kind that neither makes, such as `AWS::MWAA::Environment`, is left out: it is none of
the stack's resources, and the stack's status reason names it. Otherwise than AWS:

- **Refused by name**: custom resources, macros (SAM, too) and language extensions, a function's URL and event source
  mapping, Spot fleets; in stack sets, everything that lives here.
- **One after the other**: resources are made in the order of their references, none beside another.
- **By the local AWS itself**, not with the caller's rights; `RoleARN` is refused.
- **Tags** of the stack are the resources', too; `aws:cloudformation:*` are on EC2's that moto makes alone.
- **A restart** breaks a change off: the stack is `CREATE_FAILED`, `UPDATE_FAILED` or `DELETE_FAILED` with that reason,
  and can be deleted.
"""

LOCAL_AWS_MEMORY = """\
## What it remembers

Everything that it answers from is in its state folder (`--state`; `.local_aws` under `make up`, a volume under
`docker compose`), and the same folder gives the next start the same AWS. When it is there:

- **S3's objects, buckets and their configuration** before the call is answered: a `SIGKILL` takes none that was
  acknowledged, whoever stored it, a job included. A power cut can take the last 5 s.
- **Everything else** 5 s after a change at the latest while saves are quick, less often where a state is so large that
  saving it would take more than a tenth of the time, and at the end. That is: functions with their versions, aliases,
  policies and concurrency; models, endpoints, their configurations, the model registry, jobs and what became of them;
  alarms, metrics, scalable targets and policies; and all that moto keeps, IAM's roles and policies, stacks, secrets,
  parameters, topics, queues, rules, log groups, networks and images among it. **A `SIGKILL` takes what was acknowledged
  since the last save**, up to those 5 s, all of it together: what remains is the account as it was at one moment, and
  never half a call. What endpoints, functions and jobs measure and log is saved with the next change, or 30 s later. A
  stack that is lost so leaves its bucket behind; an object in a bucket can name a job or a model package that is lost.

After a restart:

- **As they were**: buckets, objects, their versions and uploads in parts; IAM, CloudFormation, SSM, Secrets Manager,
  logs and whatever else moto keeps; the model registry; finished jobs; alarms and a day of metrics; scalable targets,
  policies and activities; functions, versions, aliases, permissions, layers, reserved concurrency.
- **Endpoints in service** are `SystemUpdating` while as many instances as before start again, and `InvokeEndpoint` is
  answered with 503 `ServiceUnavailable`; then they are `InService`, or `Failed` with the reason.
- **Endpoints that were changing**: a creation goes on; an update is undone, with the reason; a deletion is done.
- **Provisioned environments** of functions are prepared anew.
- **Training and tuning jobs that ran** are `Failed`: "the local AWS was restarted", as of the save.
- **EC2 instances** that ran are `terminated` with that reason and the code `Server.InternalError`, their Spot requests
  closed; what was on their disks is gone. Stopped ones have their disks, and can be started.
- **Lost** are calls of functions that were under way, and events that waited for one or for a rule's target.

`GET /_local_aws/health` says under `state` when it was saved last, whether anything waits to be saved, and why a save
has failed, such as a full disk: calls are answered all the same, and it is tried again; but storing an object is an
`InternalError` then, since it is not kept. Once saves have failed for a
minute it is a warning: in the log, ever so often; in `make status` and `make up`; and under `docker compose` the
service `local-aws` is unhealthy, which `docker inspect` explains.

A state is written by one format of the local AWS, one version of moto and one of Python, and read by no other: another
one, or a damaged one, is refused with a sentence, and nothing of the folder is changed. A state can hold code (it is a
pickle): only its owner can read it, and a state that another user owns or can change is refused. Don't take one from
somebody else. To take objects over into another version, start the one that wrote them on their folder and copy them
out with `aws s3 sync s3://BUCKET FOLDER`.

## What instances and functions do

- **A stopped EC2 instance** keeps its disk, its private address and the keys of its host, and gets another public
  address when it is started; user data is executed by its first boot alone. All images are backed by EBS, and a Spot
  instance cannot be stopped, since its request is a one-time one. Hibernation is refused.
- **Spot prices** (DescribeSpotPriceHistory) are 0.3 of the price on demand, the same at all times and in each zone, of
  the instance types that `local_aws/ec2/prices.py` has a price of. On AWS they change by the hour.
- **InvokeEndpointWithResponseStream** gives the answer in parts once the model has all of it: AWS's inference toolkit
  does not stream. What fails, fails before the stream begins.
- **What scales** are endpoints' variants and functions' provisioned concurrency (Application Auto Scaling). What of a
  function's environments was busy is measured over each AWS minute, zeros where nobody called, and ends with it.
- **Composite alarms** are judged whenever one of the alarms that their rule names has changed its state; the end of
  what they wait for before their actions (ActionsSuppressor) is looked for once a minute.
- **Searches of logs** take words that all have to be there, or one phrase in quotes (FilterLogEvents). Queries of Logs
  Insights are answered at once: `fields`, `display`, `filter`, `parse`, `stats`, `sort`, `dedup` and `limit`, over
  AWS's own fields, those of messages in JSON, and those of Lambda's lines (`@duration`). Other patterns, commands and
  functions are refused by name.
- **Layers** are a function's `/opt`, in mounts that only its processes see: on Linux, where user namespaces are allowed
  and the machine has no `/opt/python`, `/opt/lib` or `/opt/bin`. Elsewhere Python, `PATH` and `LD_LIBRARY_PATH` find
  them in a folder of their own. There are those of this account alone.

## What S3 does

Objects, versions, lists, copies, uploads in parts, ranges, conditions, tags, checksums and presigned addresses are as
AWS documents them; buckets and their configuration are kept by moto. Where it differs:

- **Storage classes and lifecycle rules** are recorded: nothing is moved or expires, and the classes of archives
  (GLACIER, DEEP_ARCHIVE) are refused.
- **Signatures** are not checked; a presigned address ends when it says. Without credentials, what a bucket's policy or
  an object's ACL has made public can be read.
- **Encryption** is recorded: SSE-S3, or the key of KMS that a call or the bucket names. SSE-C is refused.
- **Checksums** of CRC32, MD5, SHA-1, SHA-256 and SHA-512 are computed and checked. CRC32C, CRC64NVME and XXHash are
  given back as they were sent.
- **Refused by name**: Object Lock, grants (canned ACLs are taken), S3 Select, restoring from archives, uploads by a
  browser's form, MFA delete, appending to objects, and a bucket's access logs.
"""

LOCAL_AWS_HEAD = """\
# What the local AWS supports

`python -m local_aws` is an AWS on 127.0.0.1 that any AWS SDK talks to; how it is built is in its
[README](../local_aws/README.md), how to drive it by hand in [your_own.md](your_own.md#drive-the-local-aws). It answers
programs that call it by a name of this machine, and no web page ([whom](../local_aws/README.md#whom-it-answers)).

- **Really executed here**: processes start, requests are answered, metrics are counted, limits and states are kept as
  AWS documents them.
- **Records kept by moto**: what has no life of its own is stored and given back by
  [moto](https://github.com/getmoto/moto). EventBridge's rules are kept so, too: SageMaker's events reach them
  ([which](../local_aws/README.md#eventbridge)), and their targets get them.
- **CloudFormation** makes, changes and deletes what lives here by the operations of its services, waits for it, and
  undoes what fails ([which kinds](#what-stacks-are-made-of)).
- Every other operation, and those under "Refused", are answered with an error in AWS's own form that names the
  operation; nothing is invented.

`python -m local_aws support` prints the table.
"""

OWNERS_HEAD = """\
## Who owns what

A kind of resource has one owner. What lives here is answered here: an operation on it that is not carried out is
refused by name, also where moto would have an answer (those are named), and moto is not asked about it. The records of
EC2's instances are moto's, their lives ours.
"""

MEMBERS_HEAD = """\
## What becomes of each member

Of the operations that are answered here, each member of a request (nested ones counted) is *carried out*; *carried out
with some values*, and refused with others; *recorded*, which is kept, described and without effect; or *refused by
name* when it is given and not just empty or false. None is ignored: what `local_aws/pipeline/members.toml` does not
name is refused, and the tests' local AWS notes which members each operation looks at: one that is given, called carried
out and looked at by nobody fails them (but for Invoke, InvokeEndpoint and what is handed on to moto).
`python -m local_aws support CreateFunction` shows one operation.
"""

RECORDED_HEAD = """\
Recorded, although it is about billing, security, data or compute:
"""

REFUSED_HEAD = """\
## Refused, although moto has an answer

What moto would make up here, AWS would not say: these are refused.
"""


@dataclass(frozen=True)
class Dag:
    """What a DAG file says of itself: the name of its configuration's class, "" for none, and other defaults."""

    dag_id: str
    about: str
    config: str
    defaults: dict[str, Any] = field(default_factory=dict)


def dags(folder: Path = ROOT / "dags") -> list[Dag]:
    """The DAGs, by name. Raises ValueError for a file whose params are not `params=SomeConfig.params(...)`."""
    return [_dag(path) for path in sorted(folder.glob("*.py"))]


def _dag(path: Path) -> Dag:
    module = ast.parse(path.read_text())
    about = (ast.get_docstring(module) or "").split("\n\n")[1].replace("\n", " ")
    for function in (node for node in module.body if isinstance(node, ast.FunctionDef)):
        for call in (each for each in function.decorator_list if isinstance(each, ast.Call)):
            if getattr(call.func, "id", "") == "dag":
                params = next((keyword.value for keyword in call.keywords if keyword.arg == "params"), None)
                return Dag(function.name, about, *_configuration(path, params))
    raise ValueError(f"{path.name} has no function under @dag(...).")


def _configuration(path: Path, params: ast.expr | None) -> tuple[str, dict[str, Any]]:
    match params:
        case None:
            return "", {}
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="params"), args=[], keywords=keywords):
            return name, {str(each.arg): ast.literal_eval(each.value) for each in keywords}
    raise ValueError(f"{path.name} has params that are not SomeConfig.params(name=value, ...).")


def parameters() -> str:
    """docs/parameters.md."""
    sys.path.insert(0, str(ROOT / "plugins"))  # as Airflow does
    from musher import config

    every = dags()
    links = [f"[`{dag.dag_id}`](#{dag.dag_id})" for dag in every]
    blocks = [MADE + PARAMETERS_HEAD, f"Here: {', '.join(links)}, [the Variable](#the-airflow-variable-musher).\n"]
    for dag in every:
        blocks.append(f"## `{dag.dag_id}`\n\n{dag.about}\n")
        if dag.config:
            blocks += _of_dag(getattr(config, dag.config), dag.defaults)
        else:
            blocks.append("It has no parameters.\n")
    environment = getattr(config, ENVIRONMENT)
    rows = [_row(name, schema) for name, schema in environment.model_json_schema()["properties"].items()]
    return "\n".join([*blocks, ENVIRONMENT_HEAD, _table(rows)])


def _of_dag(config: Any, defaults: Mapping[str, Any]) -> Iterator[str]:
    """A table for each section of the trigger form, and the rules between fields."""
    checked = config.from_params(defaults)
    sections: dict[str, list[str]] = {}
    for name, schema in config.model_json_schema()["properties"].items():
        if name in defaults:
            schema = schema | {"default": getattr(checked, name)}
        sections.setdefault(schema["section"], []).append(_row(name, schema))
    for section, rows in sections.items():
        yield f"### {section}\n\n{_table(rows)}"
    rules = list(_rules(config))
    if rules:
        yield "Rules between fields, in the words of the error that a run ends with:\n"
        yield "\n".join(f"- {_cell(rule)}" for rule in rules) + "\n"


def _rules(config: Any) -> Iterator[str]:
    """The sentences of a configuration's checks between fields."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(config)))):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id="ValueError"), args=[ast.JoinedStr() as sentence])):
                yield template(sentence)


def template(sentence: ast.JoinedStr) -> str:
    """An f-string with a gap for each of its values."""
    return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in sentence.values)


def _table(rows: list[str]) -> str:
    return "\n".join(["| field | type | limits | default | what it is |", "|---|---|---|---|---|", *rows]) + "\n"


def _row(name: str, schema: Mapping[str, Any]) -> str:
    default = _code(schema["default"]) if "default" in schema else "**required**"
    title = f"**{schema['title']}**. " if "section" in schema else ""
    cells = [f"`{name}`", kind(schema), limits(schema) or "-", default, title + schema["description"]]
    return f"| {' | '.join(_cell(each) for each in cells)} |"


def kind(schema: Mapping[str, Any]) -> str:
    """A value's type in words."""
    if "enum" in schema:
        return "one of"
    if schema["type"] == "array":
        return f"list of {kind(schema['items'])}s"
    return {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text",
            "object": "object"}[schema["type"]]  # fmt: skip


def limits(schema: Mapping[str, Any]) -> str:
    """What a value has to keep to, in words; "" for anything of its type."""
    if "enum" in schema:
        return ", ".join(_code(each) for each in schema["enum"])
    if schema["type"] == "array":
        each = limits(schema["items"])
        shown = [_code(example) for example in schema.get("examples", ())]
        many = f"{schema['minItems']} to {schema['maxItems']} of them"
        return f"{many}, each {each}" if each else f"{many}, each such as {' or '.join(shown)}" if shown else many
    examples = [_code(each) for each in schema.get("examples", ())]
    if "pattern" in schema:
        return f"{_code(schema['pattern'])}, for example {' or '.join(examples)}"
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    bounds = {"above": above, "at least": low, "at most": high}
    words = [f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None]
    return ", ".join(words) or (f"such as {', '.join(examples)}" if examples else "")


def _code(value: Any) -> str:
    if value == "":
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Mapping):
        return f"`{json.dumps(dict(value))}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _cell(text: str) -> str:
    """A text as a table takes it: no bar that ends the cell, no tag outside of code."""
    return text.replace("|", "\\|") if "`" in text else text.replace("|", "\\|").replace("<", "&lt;")


def local_aws() -> str:
    """docs/local_aws.md."""
    from local_aws import conformance
    from local_aws.services import SERVICES
    from local_aws.stacks import registry
    from local_aws.support import INVENTED_BY_MOTO, table

    refused = [f"- {service}: {', '.join(sorted(names))}" for service, names in sorted(INVENTED_BY_MOTO.items())]
    supported = [MADE + LOCAL_AWS_HEAD, table(SERVICES) + "\n", REFUSED_HEAD, "\n".join(refused) + "\n"]
    supported += [OWNERS_HEAD, conformance.owners_table() + "\n", MEMBERS_HEAD, conformance.members_table() + "\n"]
    supported += [RECORDED_HEAD, conformance.reasons() + "\n"]
    supported += [STACKS_HEAD + ", ".join(f"`{name}`" for name in registry.names()) + ".\n", STACKS]
    return "\n".join([*supported, LOCAL_AWS_ENVIRONMENT, LOCAL_AWS_MEMORY])


PAGES: dict[str, Callable[[], str]] = {"parameters.md": parameters, "local_aws.md": local_aws}


def main(folder: Path = ROOT / "docs") -> int:
    """Write the pages that are not what the code gives."""
    for name, page in PAGES.items():
        file, text = folder / name, page()
        changed = not file.exists() or file.read_text() != text
        if changed:
            file.write_text(text)
        print(f"docs/{name}: {'written' if changed else 'as it was'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
