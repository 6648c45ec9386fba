"""What S3 has acknowledged is there after a SIGKILL: no save is waited for."""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import threading

from botocore.exceptions import BotoCoreError, ClientError

from tests.local_aws.daemon import wait_for

# Saved when nobody waits for it any more.
LATE = ("--save-every", "3600s")
KIB = 1024


def test_nothing_that_was_acknowledged_is_lost_to_kills_under_load(tmp_path, new_local_aws):
    acknowledged: dict[tuple[str, str], str] = {}
    # GIVEN writers of small and large objects in buckets that were made just before, and two kills
    for turn in range(2):
        daemon = new_local_aws(state=tmp_path / "state", options=LATE)
        bucket = f"kill-{turn}"
        daemon.client("s3").create_bucket(Bucket=bucket)

        def write(writer: int, daemon=daemon, bucket: str = bucket) -> None:
            s3, chance = daemon.client("s3"), random.Random(f"{bucket}/{writer}")
            with contextlib.suppress(BotoCoreError, ClientError):
                for number in range(100_000):
                    key, body = f"{writer}/{number}", chance.randbytes(chance.choice((100, 8 * KIB, 64 * KIB)))
                    s3.put_object(Bucket=bucket, Key=key, Body=body)
                    acknowledged[bucket, key] = hashlib.sha256(body).hexdigest()

        before = len(acknowledged)
        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
        for each in writers:
            each.start()
        wait_for(lambda before=before: len(acknowledged) > before + 60, 120)
        daemon.stop(signal.SIGKILL)
        for each in writers:
            each.join()
    # THEN every one of them is there as it was
    s3 = new_local_aws(state=tmp_path / "state", options=LATE).client("s3")
    found = {
        (bucket, key): hashlib.sha256(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest()
        for bucket, key in acknowledged
    }
    assert found == acknowledged


def test_buckets_and_what_they_are_set_to_outlive_a_kill(tmp_path, new_local_aws):
    daemon = new_local_aws(state=tmp_path / "state", options=LATE)
    s3 = daemon.client("s3")
    for name in ("kept-bucket", "gone-bucket"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket="kept-bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket="kept-bucket", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    rules = [{"ID": "r", "Status": "Enabled", "Prefix": "runs/", "Expiration": {"Days": 3}}]
    s3.put_bucket_lifecycle_configuration(Bucket="kept-bucket", LifecycleConfiguration={"Rules": rules})
    first = s3.put_object(Bucket="kept-bucket", Key="a", Body=b"1", Metadata={"m": "1"}, Tagging="t=1")["VersionId"]
    s3.put_object(Bucket="kept-bucket", Key="a", Body=b"2")
    s3.delete_object(Bucket="kept-bucket", Key="a")
    s3.delete_bucket(Bucket="gone-bucket")
    # ... and one of a stack's, which is not in a save yet
    template = '{"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "of-a-stack"}}}}'
    daemon.client("cloudformation").create_stack(StackName="stack", TemplateBody=template)
    s3.put_object(Bucket="of-a-stack", Key="a", Body=b"in a stack's bucket")
    daemon.stop(signal.SIGKILL)
    s3 = new_local_aws(state=tmp_path / "state", options=LATE).client("s3")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["kept-bucket", "of-a-stack"]
    assert s3.get_bucket_versioning(Bucket="kept-bucket")["Status"] == "Enabled"
    assert s3.get_bucket_tagging(Bucket="kept-bucket")["TagSet"] == [{"Key": "k", "Value": "v"}]
    found = s3.get_bucket_lifecycle_configuration(Bucket="kept-bucket")["Rules"]
    assert [(each["ID"], each["Expiration"]["Days"]) for each in found] == [("r", 3)]
    listed = s3.list_object_versions(Bucket="kept-bucket")
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (2, 1)
    read = s3.get_object(Bucket="kept-bucket", Key="a", VersionId=first)
    assert (read["Body"].read(), read["Metadata"], read["TagCount"]) == (b"1", {"m": "1"}, 1)
    assert s3.get_object(Bucket="of-a-stack", Key="a")["Body"].read() == b"in a stack's bucket"
    # AND nothing of what was sent and not acknowledged is left
    assert not list((tmp_path / "state/objects").glob("*.new"))
