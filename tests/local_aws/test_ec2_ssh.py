"""EC2 over SSH: who gets in, what a session is, what goes on when the client leaves."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import paramiko
import pytest

from local_aws.ec2.keys import SECONDS, ActiveKeys
from local_aws.instances import NICENESS
from tests.local_aws.ec2_hosts import FROM_HERE, Hosts, execute, greeting, new_key, processes, refusal
from tests.local_aws.wheels import wheel

ROOT = Path(__file__).resolve().parents[2]
JOBS_PYTHON = Path(os.environ.get("MUSHER_JOBS_PYTHON", ROOT / ".venv-ml/bin/python"))


@pytest.fixture(scope="module")
def hosts(local_aws):
    hosts = Hosts(local_aws)
    yield hosts
    hosts.terminate_all()


@pytest.fixture(scope="module")
def host(hosts):
    return hosts.run_reachable()


def test_what_is_installed_on_a_host_stays_on_it(hosts, host, tmp_path):
    name, content = wheel("lead_dog", "1.0")
    (tmp_path / name).write_bytes(content)
    _, output, errors = hosts.execute(host, f"pip install {tmp_path / name} && lead_dog-says; pip --version")
    assert "installed 1.0" in output, errors
    shared = subprocess.run([str(JOBS_PYTHON), "-c", "import lead_dog"], capture_output=True, text=True)
    assert "ModuleNotFoundError" in shared.stderr
    # What AWS's image has is there.
    assert hosts.execute(host, "python -c 'import boto3, PIL; print(1)'")[1] == "1\n"


def test_a_session_is_a_real_shell_in_the_home_folder(hosts, host):
    with hosts.logged_in(host) as client:
        assert execute(client, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
        data = bytes(range(256)) * 20_000
        status, output, _ = execute(client, "sha256sum", data)
        assert (status, output.split()[0]) == (0, hashlib.sha256(data).hexdigest())
        assert execute(client, "true", data)[0] == 0
        assert len(execute(client, "head -c 3000000 /dev/zero | tr '\\0' x")[1]) == 3_000_000
        shown = execute(client, "env; echo HERE=$PWD")[1]
    values = dict(line.split("=", 1) for line in shown.splitlines())
    assert values["USER"] == "ubuntu"
    assert values["HERE"] == values["HOME"]
    assert str(hosts.daemon.state) in values["HOME"]
    assert values["AWS_ENDPOINT_URL"] == hosts.daemon.url
    assert values["OMP_NUM_THREADS"] == "1"
    assert values["PATH"].split(":")[0].endswith("/sbin")
    assert "AWS_SECRET_ACCESS_KEY" not in values
    assert "PYTEST_CURRENT_TEST" not in values


def test_a_terminal_and_files(hosts, host, tmp_path):
    with hosts.logged_in(host, user="ec2-user") as client:
        _, stdout, _ = client.exec_command("tty && stty size && exit 4", get_pty=True)
        assert "/dev/pts/" in stdout.read().decode()
        assert stdout.channel.recv_exit_status() == 4
        (tmp_path / "up").write_bytes(b"x" * 1_000_000)
        with client.open_sftp() as sftp:
            sftp.put(str(tmp_path / "up"), "a file")
        assert execute(client, "wc -c < ~/'a file'")[1].strip() == "1000000"


def test_only_a_key_that_was_sent_for_that_user_gets_in(hosts, host):
    key = hosts.send_key(host)
    for user, other in (("ubuntu", new_key()[0]), ("ec2-user", key), ("root", key)):
        with pytest.raises(paramiko.AuthenticationException):
            hosts.execute(host, "true", key=other, user=user)
    assert hosts.execute(host, "true", key=key)[0] == 0
    password = paramiko.Transport(hosts.address(host))
    try:
        password.start_client(timeout=5)
        with pytest.raises(paramiko.BadAuthenticationType):
            password.auth_password("ubuntu", "")
    finally:
        password.close()


def test_a_sent_key_gets_in_for_a_minute():
    now = [0.0]
    keys = ActiveKeys(lambda: now[0])
    keys.let_in("ubuntu", "ssh-ed25519 AAAA\n")
    now[0] = SECONDS - 1
    assert keys.of("ubuntu") == ["ssh-ed25519 AAAA"]
    assert keys.of("ec2-user") == []
    now[0] = SECONDS
    assert keys.of("ubuntu") == []


def test_instance_connect_refuses_what_aws_refuses(hosts, host):
    send = hosts.daemon.client("ec2-instance-connect").send_ssh_public_key
    good = {"InstanceId": host, "InstanceOSUser": "ubuntu", "SSHPublicKey": new_key()[1]}
    assert refusal(send, **good | {"InstanceId": "i-0123456789abcdef0"})[0] == "EC2InstanceNotFoundException"
    assert refusal(send, **good | {"SSHPublicKey": "ssh-ed25519 " + "A" * 80})[0] == "InvalidArgsException"
    assert refusal(send, **good | {"InstanceId": "bastion-host"})[0] == "InvalidArgsException"
    assert refusal(send, **good | {"AvailabilityZone": "us-east-1f"})[0] == "InvalidArgsException"
    ended = hosts.run()
    hosts.ec2.terminate_instances(InstanceIds=[ended])
    assert refusal(send, **good | {"InstanceId": ended})[0] == "EC2InstanceStateInvalidException"


def test_a_key_pair_named_at_the_launch_gets_in(hosts):
    private, public = new_key()
    hosts.ec2.import_key_pair(KeyName="tests", PublicKeyMaterial=public.encode())
    instance = hosts.run_reachable(KeyName="tests")
    assert hosts.execute(instance, "echo in", key=private)[1] == "in\n"


def test_the_console_names_the_key_that_the_host_shows(hosts, host):
    hosts.until(lambda: "END SSH HOST KEY KEYS" in hosts.console(host))
    text = hosts.console(host)
    block = re.search(r"BEGIN SSH HOST KEY FINGERPRINTS-----(.*)<14>[^\n]*-----END", text, re.DOTALL)[1]
    named = re.findall(r"ec2: 256 (SHA256:\S+) root@ip-[\d-]+ \((ECDSA|ED25519)\)", block)
    with hosts.logged_in(host) as client:
        shown = client.get_transport().get_remote_server_key()
    fingerprint = base64.b64encode(hashlib.sha256(shown.asbytes()).digest()).decode().rstrip("=")
    assert (f"SHA256:{fingerprint}", "ED25519") in named
    assert f"{shown.get_name()} {shown.get_base64()} root@ip-" in text


def test_what_is_detached_survives_the_client_and_dies_with_the_instance(hosts):
    instance = hosts.run_reachable()
    started = time.monotonic()
    command = "setsid nohup sleep 86397 > log 2>&1 < /dev/null & echo started"
    assert hosts.execute(instance, command) == (0, "started\n", "")
    assert time.monotonic() - started < 5
    assert hosts.execute(instance, "pgrep -f 'sleep 8639[7]'")[0] == 0
    hosts.ec2.terminate_instances(InstanceIds=[instance])
    hosts.wait(instance, "terminated")
    assert not processes("sleep 86397")


def test_processes_see_the_shutdown_of_their_instance(hosts, tmp_path):
    instance = hosts.run_reachable()
    mark = tmp_path / "seen"
    body = f"trap 'echo ended > {mark}; exit' TERM; touch ready; while :; do sleep 0.1; done"
    hosts.execute(
        instance, f'setsid nohup bash -c "{body}" >/dev/null 2>&1 < /dev/null & until [ -e ready ]; do :; done'
    )
    hosts.ec2.terminate_instances(InstanceIds=[instance])
    hosts.wait(instance, "terminated")
    assert mark.read_text() == "ended\n"


def test_a_terminals_processes_end_with_its_connection(hosts, host):
    with hosts.logged_in(host) as client:
        client.exec_command("sleep 86396", get_pty=True)
        hosts.until(lambda: processes("sleep 86396"))
    hosts.until(lambda: not processes("sleep 86396"))


def test_a_shutdown_can_be_put_off_and_taken_back(hosts):
    instance = hosts.run_reachable()
    with hosts.logged_in(instance) as client:
        status, _, errors = execute(client, "sudo shutdown -h +10")
        assert (status, "Shutdown scheduled for" in errors) == (0, True)
        assert execute(client, "sudo shutdown -c")[0] == 0
        assert execute(client, "sudo shutdown -h tomorrow")[0] == 1
        assert hosts.state(instance) == "running"
        client.exec_command("sudo -n shutdown -h now")
        described = hosts.wait(instance, "terminated")
    assert described["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_security_groups_decide_who_may_connect(hosts):
    closed = hosts.new_group()
    instance = hosts.run_reachable(SecurityGroupIds=[closed])
    address = hosts.address(instance)
    assert greeting(address) == b""
    elsewhere = FROM_HERE | {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    other_port = FROM_HERE | {"FromPort": 443, "ToPort": 443}
    hosts.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[elsewhere, other_port])
    assert greeting(address) == b""
    hosts.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[FROM_HERE])
    assert greeting(address).startswith(b"SSH-2.0-")
    hosts.ec2.revoke_security_group_ingress(GroupId=closed, IpPermissions=[FROM_HERE])
    assert greeting(address) == b""
    # The default group lets its own members in, and nobody else.
    default = hosts.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    assert greeting(hosts.address(hosts.run_reachable(SecurityGroupIds=[default]))) == b""


def test_airflows_own_hook_gets_in(hosts, host):
    hook = pytest.importorskip("airflow.providers.ssh.hooks.ssh").SSHHook
    address, port = hosts.address(host)
    key = hosts.send_key(host)
    options = {"remote_host": address, "port": port, "username": "ubuntu", "cmd_timeout": 10, "conn_timeout": 5}
    ssh = hook(**options)
    ssh.pkey = key
    ssh.no_host_key_check = True
    with ssh.get_conn() as client:
        status, output, _ = ssh.exec_ssh_client_command(client, "which python", get_pty=False, environment=None)
    # The host's own, over the one that stands in for AWS's images.
    own = hosts.daemon.state / "instances" / "ec2" / host / "environment" / "bin"
    assert (status, Path(output.decode().strip()).parent) == (0, own)


@pytest.mark.slow
def test_a_port_that_cannot_be_used_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "local_aws", "--port", "0", "--state", str(tmp_path), "--ssh-port", "70000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--ssh-port" in done.stderr


def test_what_is_started_over_ssh_keeps_the_weight_of_an_instance(hosts, host):
    if os.geteuid() != 0:
        pytest.skip("only root may weigh processes")
    command = "setsid nohup sleep 86395 > /dev/null 2>&1 < /dev/null &"
    hosts.execute(host, command)
    (process,) = hosts.until(lambda: processes("sleep 86395"))
    assert process.nice() == NICENESS
    autogroup = Path(f"/proc/{process.pid}/autogroup")
    if autogroup.exists():
        hosts.until(lambda: autogroup.read_text().strip().endswith(f"nice {NICENESS}"))
