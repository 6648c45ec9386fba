"""What SageMaker and Lambda do in a role's name: what the role may not, they cannot either, and they say it as AWS."""

import json

import pytest
from botocore.exceptions import ClientError

from local_aws.aws import LocalAws, Settings
from local_aws.control import tell
from local_aws.iam.acting import AccessDenied
from local_aws.iam.mode import Mode
from local_aws.images import PULLING
from tests.local_aws import serving
from tests.local_aws.iam_callers import ACCOUNT, TRUST, allow, document
from tests.local_aws.test_lambda import zipped
from tests.local_aws.training_scripts import Jobs

BUCKET = "arn:aws:s3:::acting"
PULL = [
    allow("ecr:GetAuthorizationToken"),
    allow(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
          "arn:aws:ecr:us-east-1:763104351884:repository/*"),
]  # fmt: skip
FIND, READ = allow("s3:ListBucket", BUCKET), allow("s3:GetObject", f"{BUCKET}/*")
WRITE = allow("s3:PutObject", f"{BUCKET}/jobs/*")


def trusting(service):
    return TRUST | {"Principal": {"Service": service}}


@pytest.fixture(scope="module")
def iam(aws):
    return aws.client("iam")


@pytest.fixture
def acting(iam, request):
    """Makes a role that a service may take, with statements; its ARN."""

    def make(*statements, service="sagemaker.amazonaws.com"):
        name = f"acting-{abs(hash(request.node.name)) % 10**9}"
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trusting(service)))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return arn

    return make


@pytest.fixture(scope="module")
def jobs(aws, wait_for):
    aws.client("s3").create_bucket(Bucket="acting")
    return Jobs(aws, "acting", "", wait_for)


def asked(aws, arn, *, allowed):
    """(action, resource) of what a role was asked for and may do, or may not."""
    calls = json.loads(tell(aws.port, "iam-calls", {})).get(arn, ())
    return {(each["action"], each["resource"]) for each in calls if each["allowed"] is allowed}


@pytest.mark.parametrize(
    ("statements", "service", "said"),
    [
        ([FIND, READ, *PULL], "lambda.amazonaws.com", "Could not assume role {}. Please ensure that the role exists and"
         " allows principal 'sagemaker.amazonaws.com' to assume the role."),
        ([FIND, READ], "sagemaker.amazonaws.com", "Access denied for repository: pytorch in registry ID: "
         "763104351884. Please check if your ECR repository and image exist and role {} has proper pull permissions"),
        ([READ, *PULL], "sagemaker.amazonaws.com", 'and that the role "{}" has "s3:ListBucket" permissions on bucket '
         '"acting".'),
    ],
    ids=["trust", "image", "list"],
)  # fmt: skip
def test_a_job_is_refused_whose_role_cannot_begin_it(jobs, acting, statements, service, said):
    arn = acting(*statements, service=service)
    with pytest.raises(ClientError) as error:
        jobs.start(changes={"RoleArn": arn})
    assert error.value.response["Error"]["Code"] == "ValidationException"
    assert said.format(arn) in error.value.response["Error"]["Message"]


def test_a_job_fails_whose_role_may_not_read_a_channel(aws, jobs, acting):
    arn = acting(FIND, allow("s3:GetObject", f"{BUCKET}/code/*"), *PULL)
    ended = jobs.end(jobs.start(changes={"RoleArn": arn}))
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"] == (
        "ClientError: Data download failed:Unable to download object s3://acting/data/train/bird/0.jpg (AccessDenied: "
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rpartition('/')[2]}/SageMaker is not authorized to perform: "
        f's3:GetObject on resource: "{BUCKET}/data/train/bird/0.jpg" because no identity-based policy allows the '
        "s3:GetObject action)"
    )
    assert asked(aws, arn, allowed=False) == {("s3:GetObject", f"{BUCKET}/data/train/bird/0.jpg")}


def test_a_job_whose_role_may_neither_log_nor_write_is_silent_and_fails_at_its_end(aws, jobs, acting):
    arn = acting(FIND, READ, *PULL)
    name = jobs.start(changes={"RoleArn": arn})
    ended = jobs.end(name)
    assert ended["FailureReason"].startswith("ClientError: Artifact upload failed:User: arn:aws:sts::")
    assert "is not authorized to perform: s3:PutObject on resource" in ended["FailureReason"]
    assert jobs.lines(name) == []
    actions = {action for action, _ in asked(aws, arn, allowed=False)}
    assert actions == {"logs:CreateLogGroup", "cloudwatch:PutMetricData", "s3:PutObject"}


def test_what_a_role_was_asked_for_is_in_the_stream_like_any_call(aws, jobs, acting):
    # GIVEN a role that may read what it learns from, and not its code: its job ends before a process was started
    arn = acting(FIND, allow("s3:GetObject", f"{BUCKET}/data/*"), *PULL)
    jobs.end(jobs.start(changes={"RoleArn": arn}))
    # THEN all is there that SageMaker did in its name
    assert asked(aws, arn, allowed=True) == {
        ("s3:ListBucket", BUCKET),
        *(("s3:GetObject", f"{BUCKET}/data/train/bird/{number}.jpg") for number in range(4)),
        ("ecr:GetAuthorizationToken", "*"),
        *(("ecr:" + each, "arn:aws:ecr:us-east-1:763104351884:repository/pytorch") for each in PULLING),
    }
    assert asked(aws, arn, allowed=False) == {("s3:GetObject", f"{BUCKET}/code/job/sourcedir.tar.gz")}


def test_a_model_needs_a_role_that_reads_its_archive_and_so_does_its_endpoint(aws, jobs, iam, acting):
    # GIVEN a role that may do all of it but read
    hosting = serving.Serving(aws, "acting", acting(FIND, *PULL))
    name = hosting.role_arn.rpartition("/")[2]
    with pytest.raises(ClientError, match=r"Could not access model data at s3://acting/.*/model\.tar\.gz") as error:
        hosting.model()
    assert f'the role "{hosting.role_arn}" exists' in str(error.value)
    # WHEN it may, for as long as the model is made
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=document(READ))
    config = hosting.config(hosting.model())
    iam.delete_role_policy(RoleName=name, PolicyName="read")
    # THEN the endpoint fails, with what DescribeEndpoint says on AWS
    reason = hosting.wait(hosting.create(config))["FailureReason"]
    assert reason.endswith("that the role passed to CreateModel has permissions to download the object.")
    # and so it does for a role that pulls no image.
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(READ))
    reason = hosting.wait(hosting.create(config))["FailureReason"]
    assert reason.startswith("Please make sure all images included in the model for the production variant v0 exist")


def test_a_functions_log_is_its_roles_and_begins_with_the_very_next_call(aws, iam, acting, wait_for):
    # GIVEN a function whose role may do nothing
    arn = acting(service="lambda.amazonaws.com")
    functions, logs = aws.client("lambda"), aws.client("logs")
    functions.create_function(FunctionName="silent", Runtime="python3.12", Handler="app.handler", Role=arn,
                              Code={"ZipFile": zipped()}, Timeout=60)  # fmt: skip
    wait_for(lambda: functions.get_function_configuration(FunctionName="silent")["State"] == "Active")
    # WHEN it is called
    assert "FunctionError" not in functions.invoke(FunctionName="silent", Payload=b'{"size": 1}')
    # THEN Lambda may make no group, says so to nobody who calls, and the function has no log;
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/silent"
    wait_for(lambda: ("logs:CreateLogGroup", group) in asked(aws, arn, allowed=False))
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/silent")["logGroups"] == []
    # with the permission it has one.
    allowed = document(
        allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [group, f"{group}:*"])
    )
    iam.put_role_policy(RoleName=arn.rpartition("/")[2], PolicyName="log", PolicyDocument=allowed)
    functions.invoke(FunctionName="silent", Payload=b'{"size": 2}')
    wait_for(lambda: logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/silent")["logGroups"])
    events = logs.filter_log_events(logGroupName="/aws/lambda/silent")["events"]
    printed = [each["message"] for each in events if each["message"].startswith("event")]
    assert printed == ["event {'size': 2}"]


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.AUDIT, Mode.ENFORCE])
def test_only_who_enforces_refuses_and_only_who_looks_remembers(tmp_path, mode):
    # GIVEN a role that is not there
    aws = LocalAws(Settings(0, tmp_path, 1.0, tmp_path, iam=mode))
    nobody = aws.iam.acting(f"arn:aws:iam::{ACCOUNT}:role/nobody", "sagemaker.amazonaws.com", "SageMaker")
    # WHEN SageMaker would read in its name
    if mode is Mode.ENFORCE:
        with pytest.raises(AccessDenied, match="nobody/SageMaker is not authorized to perform: s3:GetObject"):
            nobody.call("s3", "GetObject", Bucket="pictures", Key="a")
    else:
        nobody.call("s3", "GetObject", Bucket="pictures", Key="a")
    # THEN
    assert nobody.trusted() is (mode is not Mode.ENFORCE)
    assert len(aws.iam.journal.denials()) == (mode is not Mode.OFF)
