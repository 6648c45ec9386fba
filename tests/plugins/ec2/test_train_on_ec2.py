"""Training on an EC2 instance, from the launch to the end, and what may go wrong on the way."""

from __future__ import annotations

import gzip
import json
import urllib.request

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from musher import record
from musher.names import TRAIN_ON_EC2, Run

from tests.local_aws.event_rules import queue, received
from tests.small_disk import small_disk

pytestmark = pytest.mark.timeout(900)


def post(run, path, **body):
    request = urllib.request.Request(
        f"{run.daemon.url}/_local_aws/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def interrupt_at(run, *words):
    """Take the run's instance back when its log has said one of the words; each of them counts once.

    A later step counts as well: on a busy machine several may have been said since the last look.
    """
    left = list(words)

    def reached(line):
        if left[0].startswith("step ") and line.startswith("step "):
            return int(line.split()[1]) >= int(left[0].split()[1])
        return line.startswith(left[0])

    def look():
        if left and any(map(reached, run.said)):
            left.pop(0)
            run.said.clear()
            post(run, "interrupt", name=run.running()[0])

    run.on_look = look


def test_a_training_runs_to_its_end_and_nothing_is_left(ec2_run):
    bucket, key = ec2_run.environment.bucket, "a-training-run"
    verdict = {"sentence": "decodes"}
    of_sagemaker = record.JobProfile(job="one", complete=True, trained="head", batch_size=64, verdict=verdict)
    record.write(ec2_run.s3, bucket, key, record.Profile(jobs=[of_sagemaker]))
    url, arn = queue(ec2_run.daemon, "of-a-training")
    topic = ec2_run.daemon.client("sns").create_topic(Name="of-a-training")["TopicArn"]
    ec2_run.daemon.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    ec2_run.environment = ec2_run.environment.model_copy(update={"notifications_topic_arn": topic})
    ec2_run.params["on_issue"] = {"Confusion": "notify"}

    part = ec2_run.train()

    assert (part["market"], part["interruptions"], part["test_accuracy"]) == ("spot", 0, 0.9)
    assert [each["ended_by"] for each in part["instances"]] == ["finished"]
    assert part["cost_usd"] > 0
    # The whole log was shown, each line once.
    assert [line for line in ec2_run.said if line.startswith(("begin", "step"))] == ["begin at 0", "step 10", "step 20"]
    assert ec2_run.running() == []
    written = ec2_run.s3.get_object(Bucket=ec2_run.environment.bucket, Key="runs/a-training-run/ec2_training.json")
    assert json.loads(written["Body"].read()) == part
    # Where its time went stands beside what is known of the training that it repeats.
    profiles = record.read(ec2_run.s3, bucket, key, record.Profile).jobs
    name = ec2_run.run.name(ec2_run.environment.project, TRAIN_ON_EC2)
    assert [(each.job, each.verdict.sentence) for each in profiles] == [("one", "decodes"), (name, "waits for files")]
    # The topic was told of what a rule has found while the training went on: no file says so afterwards.
    (told,) = [json.loads(each) for each in received(ec2_run.daemon.client("sqs"), url)]
    assert told["Subject"] == f"{ec2_run.environment.project}: Confusion found something in {name}"
    assert "a was taken for b: look at the labels\n\nStep 10, value 0.3" in told["Message"]
    assert f"the record is in runs/{key}/." in told["Message"]


def test_two_interruptions_one_before_the_first_checkpoint(ec2_run):
    interrupt_at(ec2_run, "begin at", "step 40")
    part = ec2_run.train(steps=300)
    assert part["interruptions"] == 2
    assert [each["ended_by"] for each in part["instances"]] == ["interruption", "interruption", "finished"]
    assert part["seconds_saved"] > 0
    assert part["seconds_lost"] > 0
    begin = next(line for line in ec2_run.said if line.startswith("begin at"))
    assert int(begin.split()[-1]) >= 40
    assert ec2_run.running() == []


def test_more_interruptions_than_allowed_end_the_run(ec2_run):
    ec2_run.params["max_interruptions"] = 0
    interrupt_at(ec2_run, "begin at")
    with pytest.raises(AirflowException, match="AWS took back 1 instances, max_interruptions is 0"):
        ec2_run.train(steps=100_000)
    assert ec2_run.running() == []


def test_without_spot_capacity_it_goes_on_demand_or_says_so(ec2_run):
    post(ec2_run, "capacity", instance_type="m5.xlarge", spot=0)
    try:
        ec2_run.params["on_demand_fallback"] = False
        with pytest.raises(AirflowException, match=r"EC2 has no capacity for instance_type m5.xlarge \(spot\)"):
            ec2_run.train(steps=1)
        ec2_run.params["on_demand_fallback"] = True
        assert ec2_run.train(steps=1)["market"] == "on-demand"
    finally:
        post(ec2_run, "capacity", instance_type="m5.xlarge", spot=None)


def test_an_interruption_while_a_checkpoint_is_written(ec2_run):
    interrupt_at(ec2_run, "saving 20")
    part = ec2_run.train(steps=60, mode="slow")
    assert part["interruptions"] == 1
    begin = next(line for line in ec2_run.said if line.startswith("begin at"))
    assert int(begin.split()[-1]) >= 20


def test_the_last_lines_of_a_failed_script_are_the_tasks_error(ec2_run):
    with pytest.raises(AirflowFailException, match="the pictures are of birds only"):
        ec2_run.train(mode="fail")
    assert ec2_run.running() == []


def test_a_training_that_a_rule_has_ended_is_run_again_with_its_remedy_or_says_why_not(ec2_run):
    # GIVEN a learning rate that is too high by a tenth, and rules that may be retried
    ec2_run.params["on_issue"] = {"WeightUpdateRatio": "retry"}
    ec2_run.params["max_remedies"] = 1

    part = ec2_run.train(mode="fires", lr="0.1", steps=1)

    # THEN another instance trains with the remedy, and the record has both attempts
    assert [each["ended_by"] for each in part["instances"]] == ["failed", "finished"]
    key = "runs/a-training-run/diagnostics.json"
    jobs = json.loads(ec2_run.s3.get_object(Bucket=ec2_run.environment.bucket, Key=key)["Body"].read())["jobs"]
    first, second = jobs[-2:]
    assert (first["status"], first["fired"], first["step"]) == ("Failed", "WeightUpdateRatio", "train-on-ec2")
    assert first["rules"][0]["taken"] == "the job was stopped; it was run again with lr 0.01 instead of 0.1"
    assert (second["job"], second["status"]) == (f"{first['job']}-2", "Completed")
    assert second["remedy"]["changed"] == {"lr": ["0.1", "0.01"]}
    assert first["cost_usd"] > 0

    # AND a rate that is higher still fails the task, with the rule's sentence
    ec2_run.run = Run("train_on_ec2", f"{ec2_run.run.run_id}-again")
    with pytest.raises(AirflowFailException) as failed:
        ec2_run.train(mode="fires", lr="1", steps=1)
    assert str(failed.value) == (
        "DiagnosticRule WeightUpdateRatio: too large a step: lower the rate (step 1). max_remedies is 1, and 1 were "
        "tried."
    )
    assert ec2_run.running() == []


def test_a_full_disk_is_named_and_leaves_no_instance(start_run, start_daemon, tmp_path):
    with small_disk(tmp_path / "disk", megabytes=32) as disk:
        daemon = start_daemon(tmp_path, state=disk / "state")
        try:
            run = start_run(daemon)
            with pytest.raises(AirflowFailException, match="No space left on device"):
                run.train(mode="fill")
            assert run.running() == []
        finally:
            daemon.stop()


def test_a_cut_connection_is_made_again_and_the_log_goes_on(ec2_run):
    cut = []

    def look():
        if not cut and any(line.startswith("step 20") for line in ec2_run.said):
            ec2_run.trigger._host._client.get_transport().sock.close()
            cut.append(True)

    ec2_run.on_look = look
    part = ec2_run.train(steps=100)
    assert cut
    assert part["interruptions"] == 0
    steps = [line for line in ec2_run.said if line.startswith("step")]
    assert steps == [f"step {count}" for count in range(10, 101, 10)]


def test_a_retry_attaches_to_the_instance_and_to_the_log(ec2_run):
    class WorkerDied(Exception):
        pass

    def die():
        if any(line.startswith("step 20") for line in ec2_run.said):
            raise WorkerDied

    # GIVEN a task whose worker dies in mid-training
    ec2_run.on_look = die
    with pytest.raises(WorkerDied):
        ec2_run.train(steps=300)
    (instance,) = ec2_run.running()
    ec2_run.on_look = lambda: None

    # WHEN it is tried again
    part = ec2_run.train(steps=300)

    # THEN it is the same instance, the same training, and the log is not shown again from its beginning
    assert [each["instance_id"] for each in part["instances"]] == [instance]
    assert sum(line.startswith("begin at") for line in ec2_run.said) == 1
    assert "step 300" in ec2_run.said


def test_another_host_key_than_the_consoles_stops_everything(ec2_run, monkeypatch):
    monkeypatch.setattr("musher.hooks.ec2.Ec2Hook.host_key_fingerprints", lambda *_: ["A" * 43])
    with pytest.raises(AirflowFailException, match="this is another host, and nothing was sent to it"):
        ec2_run.train()
    assert ec2_run.running() == []


def test_code_that_was_changed_is_not_sent_and_leaves_no_instance(ec2_run):
    # GIVEN a training run, whose code somebody changes after it was chosen
    ec2_run.trained("a-run")
    ec2_run.choose()
    key = f"{ec2_run.code}/sourcedir.tar.gz"
    ec2_run.s3.put_object(Bucket=ec2_run.environment.bucket, Key=key, Body=gzip.compress(b"another"))
    with pytest.raises(AirflowFailException, match=rf"{key} has the SHA-256 .*: somebody has changed it"):
        ec2_run.train()
    assert ec2_run.running() == []
    # WHEN it is chosen now THEN nothing is launched at all
    launched = ec2_run.instances().keys()
    with pytest.raises(AirflowFailException, match=r"somebody has changed it, so it is not used"):
        ec2_run.choose()
    assert ec2_run.instances().keys() == launched


def test_a_security_group_that_refuses_us_is_named(ec2_run):
    ec2 = ec2_run.ec2
    group = ec2.create_security_group(GroupName=f"closed-{ec2_run.run.run_id[-6:]}", Description="closed")["GroupId"]
    ec2_run.environment = ec2_run.environment.model_copy(update={"ec2_security_group": group})
    with pytest.raises(AirflowFailException, match=f"{group}', which lets nobody in to port"):
        ec2_run.train()
    port = ec2_run.environment.ssh_port
    rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    ec2_run.params["ssh_wait_seconds"] = 5
    with pytest.raises(AirflowException, match=rf"Does the security group {group} admit this worker's address\?"):
        ec2_run.train()
    assert ec2_run.running() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"params": {"ami_parameter": "/aws/service/deeplearning/ami/none"}}, "which does not exist in us-east-1"),
        ({"environment": {"ec2_instance_profile": ""}}, "ec2_instance_profile is missing"),
        ({"environment": {"ec2_instance_profile": "nobody"}}, "'nobody', which does not exist or has no role"),
        ({"environment": {"ec2_security_group": "sg-0abc0abc0abc0abc0"}}, "which does not exist in us-east-1"),
    ],
)
def test_what_is_wrong_before_the_launch_is_one_sentence(ec2_run, changes, words):
    ec2_run.params |= changes.get("params", {})
    ec2_run.environment = ec2_run.environment.model_copy(update=changes.get("environment", {}))
    with pytest.raises(AirflowFailException, match=words):
        ec2_run.train()
    assert ec2_run.instances() == {}


def test_an_unknown_instance_type_is_one_sentence(ec2_run, monkeypatch):
    monkeypatch.setattr(
        ec2_run, "training", lambda **_: {**type(ec2_run).training(ec2_run), "instance_type": "m5.huge"}
    )
    with pytest.raises(AirflowFailException, match=r"EC2 does not launch instance_type m5\.huge as asked for"):
        ec2_run.train()


def test_the_newest_training_is_repeated_as_it_was(ec2_run):
    ec2_run.trained("an-older-run")
    newest = ec2_run.trained("the-newest-run")
    chosen = ec2_run.choose()
    assert (chosen["run"], chosen["job"]) == ("the-newest-run", newest["job"])
    assert chosen["hyperparameters"] == newest["hyperparameters"]
    assert chosen["code"] == newest["inputs"].code
    assert chosen["channels"]["test"] == f"{newest['inputs'].dataset}test/"
    assert chosen["instance_type"] == "m5.xlarge"

    # A person may name another one; what costs more than allowed is not launched, and only what trained is repeated.
    ec2_run.params["training_run"] = "an-older-run"
    assert ec2_run.choose()["run"] == "an-older-run"
    ec2_run.params["max_cost_usd"] = 0.0001
    with pytest.raises(AirflowFailException, match=r"max_cost_usd is 0\.0001, and this training on EC2 is projected"):
        ec2_run.choose()
    ec2_run.params["training_run"] = "an-old-run"
    with pytest.raises(
        AirflowFailException, match="'an-old-run', which has trained nothing; the nearest that did is an-"
    ):
        ec2_run.choose()
    assert ec2_run.instances() == {}


def test_a_hostile_host_gets_no_more_than_a_training_that_goes_on(ec2_run):
    part = ec2_run.train(mode="hostile", steps=10)
    assert part["test_accuracy"] == 0.9
    assert "\\x1b[31mred \\x1b[2J" in ec2_run.said
    assert not [line for line in ec2_run.said if not line.isprintable()]
    assert any("characters more)" in line for line in ec2_run.said)
    assert ec2_run.running() == []
