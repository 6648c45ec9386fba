"""Training on an EC2 instance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from musher import record, request_parameters
from musher.costs import prices
from musher.diagnostics import remedies
from musher.ec2 import attempts, history, host_job, host_status
from musher.ec2.host_status import HostStatus
from musher.ec2.ssh import CommandFailed, Host, Unreachable, WrongHostKey
from musher.errors import StagingError
from musher.hooks.ec2 import ALIVE, Ec2Hook, NoCapacity, ended_by, state_of
from musher.job_output import TooLarge, read, read_evaluation
from musher.names import TRAIN_ON_EC2
from musher.operators.base import MusherOperator, plainly, run_of
from musher.operators.ec2_choosing import ec2_config
from musher.operators.ec2_diagnosing import Ec2DiagnosingOperator
from musher.operators.profiling import record_profiles
from musher.staging.code import staged_code
from musher.triggers.ec2 import HostJobTrigger, InstanceReadyTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class TrainOnEc2Operator(Ec2DiagnosingOperator):
    """Train on an EC2 instance, going on with another one when AWS takes it back; writes the part `ec2_training`.

    A training that a rule has ended is run again with the rule's remedy, on another instance, as `on_issue`,
    `max_remedies` and `max_cost_usd` say. What rules found is in the part `diagnostics` of the run that it repeats, and
    where the time went in its part `profile`.

    A retry attaches to the run's instance. The instance ends when the training does, when the task fails, when a
    person ends the task, and by itself at its longest life.

    Parameters: `training` what ChooseTrainingOperator returned; `host` what ResolveHostOperator returned.
    """

    aws_hook_class = Ec2Hook
    template_fields = aws_template_fields("training", "host")

    def __init__(self, *, training: Mapping[str, Any] | Any, host: Mapping[str, Any] | Any, **kwargs: Any) -> None:
        super().__init__(training=training, **kwargs)
        self.host = host

    @plainly
    def execute(self, context: Context) -> None:
        self._begin(context)
        if self.history.finished:
            return self._finish()
        running = self.hook.of_run(self._run.tags(self.environment.project))
        self._catch_up(running)
        if running:
            self.log.info("Attaching to the instance %s of an earlier try", self.history.newest)
        else:
            self._launch()
        self._wait_until_ready(self.history.newest)

    @plainly
    def ready(self, context: Context, event: Mapping[str, Any]) -> None:
        """The instance lets us in, or never will."""
        self._begin(context)
        if event["outcome"] != "ready":
            return self._next(event)
        instance, fingerprints = event["instance"], event["fingerprints"]
        rules = self.rules_to_tell(self._config.on_issue)
        trigger = HostJobTrigger(
            **self._reach(instance), fingerprints=fingerprints, job=self.attempt, rules=rules, **self._limits()
        )
        try:
            host: Host = trigger.host(fingerprints)
            host_job.start(host, staged_code(self.client("s3"), self.training["code"]), self._job())
            host.close()
        except StagingError as error:  # changed since choose_training looked
            self.hook.terminate([instance])
            self.history.end(instance, attempts.FAILED, time.time(), str(error))
            raise
        except (Unreachable, WrongHostKey, CommandFailed) as error:
            ended = "wrong_host_key" if isinstance(error, WrongHostKey) else "unreachable"
            return self._next(trigger.gone() or trigger.event(ended, str(error)))
        self.log.info("The training has been started on %s", instance)
        self.defer(trigger=trigger, method_name="ended")

    @plainly
    def ended(self, context: Context, event: Mapping[str, Any]) -> None:
        """The training or the instance has ended, or a rule has found something while it goes on."""
        self._begin(context)
        if event["outcome"] == "issues":
            self.tell_of(event["issues"])
            self.defer(trigger=HostJobTrigger(**event["wait"]), method_name="ended")
        if event["outcome"] == "completed":
            self.hook.terminate([event["instance"]])
            self.history.end(event["instance"], "finished", time.time())
            return self._finish()
        return self._next(event)

    def on_kill(self) -> None:
        if self._run is not None:
            alive = self.hook.of_run(self._run.tags(self.environment.project))
            self.hook.terminate([each["InstanceId"] for each in alive])

    def _begin(self, context: Context) -> None:
        self._run, self._config = run_of(context), ec2_config(context)

    def _catch_up(self, running: list[dict[str, Any]]) -> None:
        """Write down what happened while nobody looked: a try may have died at any point."""
        for each in running:
            market = prices.SPOT if each.get("InstanceLifecycle") == "spot" else prices.ON_DEMAND
            self.history.begin(each["InstanceId"], market, each["LaunchTime"])
        alive = {each["InstanceId"] for each in running}
        for instance in self.history.open - alive:
            self.history.end(instance, ended_by(self.hook.describe(instance)), time.time())

    def _launch(self) -> None:
        env, number = self.environment, len(self.history.instances) + 1
        name = self._run.name(env.project, TRAIN_ON_EC2)
        markets = [prices.SPOT] if self._config.spot else []
        if not self._config.spot or self._config.on_demand_fallback:
            markets.append(prices.ON_DEMAND)
        for market in markets:
            request = request_parameters.run_instance(
                self._config,
                env,
                **self.host,
                instance_type=self.training["instance_type"],
                spot=market == prices.SPOT,
                token=f"{name}-{number}-{market}",
                name=name,
                run=self._run,
            )
            try:
                launched = self.hook.launch(request)
            except NoCapacity as error:
                self.log.warning("No %s capacity for %s: %s", market, request["InstanceType"], error)
                continue
            self.history.begin(launched["InstanceId"], market, launched["LaunchTime"])
            self.log.info("Launched %s (%s, %s)", launched["InstanceId"], request["InstanceType"], market)
            return
        raise AirflowException(
            f"EC2 has no capacity for instance_type {self.training['instance_type']} ({' or '.join(markets)}) in "
            f"{env.region}: try again later, another type, or on_demand_fallback."
        )

    def _wait_until_ready(self, instance: str) -> None:
        deadline = time.time() + self._config.ssh_wait_seconds
        trigger = InstanceReadyTrigger(**self._reach(instance), **self._pace(), deadline=deadline)
        self.defer(trigger=trigger, method_name="ready")

    def _next(self, event: Mapping[str, Any]) -> None:
        """What follows when the training has not completed: another instance, or the failure."""
        instance, ended, reason = event["instance"], event["outcome"], event["reason"]
        if state_of(self.hook.describe(instance)) in ALIVE:
            self.hook.terminate([instance])
        why = reason.splitlines()[0] if ended == attempts.FAILED and reason else ""
        self.history.end(instance, prices.INTERRUPTION if ended == "interrupted" else ended, event["seen_at"], why)
        if ended == "interrupted":
            if self.history.interruptions > self._config.max_interruptions:
                raise AirflowException(
                    f"AWS took back {self.history.interruptions} instances, max_interruptions is "
                    f"{self._config.max_interruptions}: use another instance_type, or on demand (spot: false)."
                )
            self.log.warning("AWS took %s back; the training goes on, on another instance", instance)
            self._launch()
            return self._wait_until_ready(self.history.newest)
        if ended == attempts.FAILED:
            return self._failed(instance, reason)
        if ended == "wrong_host_key":
            raise AirflowFailException(reason)
        if ended == "unreachable":
            raise AirflowException(
                f"{instance} did not let us in by SSH (port {self.environment.ssh_port}) for "
                f"{self._config.ssh_wait_seconds} s: {reason}. Does the security group "
                f"{self.environment.ec2_security_group} admit this worker's address?"
            )
        raise AirflowException(
            f"{instance} ended before the training did: {reason}. Its longest life (max_life_minutes) is "
            f"{self._config.max_life_minutes} minutes."
        )

    def _failed(self, instance: str, reason: str) -> None:
        """The training has failed: it is run again with a remedy, or the task fails and says why."""
        tried = self.attempts()
        fired, course = remedies.fired(tried[-1]["FailureReason"]), self.course(tried)
        jobs = self.diagnosed(tried, course)
        why_not = self.why_no_remedy(fired, jobs[-1], course) if fired else ""
        self.record_attempts(jobs, course, again=why_not is None)
        if fired is None:
            raise AirflowFailException(f"The training on {instance} failed: {reason}")
        if why_not is not None:
            raise AirflowFailException(f"{fired.sentence}. {why_not}" if why_not else fired.sentence)
        self._launch()
        return self._wait_until_ready(self.history.newest)

    def _finish(self) -> dict[str, Any]:
        """Write what the record and the report need."""
        tried = self.attempts()
        course = self.course(tried)
        self.record_attempts(self.diagnosed(tried, course), course, again=False)
        s3, output = self.client("s3"), self.output
        record_profiles(self, self.training["run"], {tried[-1]["TrainingJobName"]: f"{output}output.tar.gz"})
        evaluation = read_evaluation(s3, f"{output}output.tar.gz")
        instance_type = self.training["instance_type"]
        part = record.Ec2Training(
            run=self._run.key,
            repeats=self.training["job"],
            instance_type=instance_type,
            **self.history.facts(lambda instance: self._host_status(s3, instance)),
            test_accuracy=evaluation.accuracy,
            test_loss=evaluation.loss,
            model_data=f"{output}model.tar.gz",
            output_data=f"{output}output.tar.gz",
            cost_usd=prices.ec2_training_cost(self.history.instances, instance_type, self._config.volume_gb),
        )
        self.write_part(self.training["run"], part)
        return part.to_json()

    def _host_status(self, s3: Any, instance: str) -> HostStatus:
        try:
            return host_status.read(read(s3, f"{self.output}hosts/{instance}.json", most=host_status.LARGEST))
        except (s3.exceptions.NoSuchKey, TooLarge):  # it was gone before it could say anything
            return HostStatus()

    def _job(self) -> dict[str, Any]:
        return {
            "region": self.environment.region,
            "channels": self.training["channels"],
            "hyperparameters": self.course(self.failed_attempts()).values,
            # An attempt with other hyperparameters cannot go on from the checkpoints of the one before.
            "checkpoints": self.environment.uri("checkpoints", self.attempt, ""),
            "output": self.output,
        }

    def _reach(self, instance: str) -> dict[str, Any]:
        env = self.environment
        return {
            "instance": instance,
            "user": env.ec2_user,
            "port": env.ssh_port,
            "address_kind": env.ec2_address,
        }

    def _pace(self) -> dict[str, Any]:
        return {
            "poll_seconds": min(self.environment.poll_seconds, 15),
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.environment.region,
        }

    def _limits(self) -> dict[str, Any]:
        deadline = time.time() + self._config.max_life_minutes * 60 + self._config.ssh_wait_seconds
        return {**self._pace(), "silence_seconds": float(self._config.ssh_wait_seconds), "deadline": deadline}


class TerminateInstancesOperator(MusherOperator):
    """Terminate every instance of this run that still lives, whatever became of its task; a teardown."""

    aws_hook_class = Ec2Hook

    def execute(self, context: Context) -> list[str]:
        run = run_of(context)
        alive = [each["InstanceId"] for each in self.hook.of_run(run.tags(self.environment.project))]
        self.hook.terminate(alive)
        instances = history.History(self.client("s3"), self.environment.bucket, run.key)
        for instance in alive:
            instances.end(instance, "teardown", time.time())
        return alive
