import json
import shutil

import pytest
from musher.dataset import S3Prefix, sync_dataset
from musher.dataset.sync import MANIFEST, sync
from musher.errors import DatasetError, TransferError

NAME = "dogs"
PREFIX = f"dataset/{NAME}/"


@pytest.fixture
def bucket(env):
    return env.bucket


def keys(s3, bucket, prefix=PREFIX):
    return {item["Key"].removeprefix(prefix) for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def go(s3, bucket, source, **options):
    return sync(s3, source, bucket=bucket, name=NAME, **options)


def test_everything_is_sent_once_and_nothing_the_second_time(s3, bucket, pictures):
    root = pictures()

    first = go(s3, bucket, root)
    second = go(s3, bucket, root)

    assert (first.sent, first.skipped, first.deleted) == (12, 0, 0)
    assert first.bytes == sum(path.stat().st_size for path in root.rglob("*.jpg"))
    assert first.images == {"train": 4, "valid": 4, "test": 4}
    assert first.classes == ["001.Affenpinscher", "002.Akita"]
    assert (second.sent, second.skipped, second.bytes) == (0, 12, 0)
    assert second.version == first.version
    assert len(keys(s3, bucket)) == 13  # the pictures and the manifest
    body = s3.get_object(Bucket=bucket, Key=f"{PREFIX}train/002.Akita/1.jpg")["Body"].read()
    assert body == (root / "train/002.Akita/1.jpg").read_bytes()


def test_only_what_changed_is_sent_even_at_the_same_size(s3, bucket, pictures):
    root = pictures()
    before = go(s3, bucket, root)
    changed = root / "valid/001.Affenpinscher/0.jpg"
    changed.write_bytes(changed.read_bytes()[:-1] + b"#")
    (root / "train/002.Akita/new.jpg").write_bytes(changed.read_bytes())

    after = go(s3, bucket, root)

    assert (after.sent, after.skipped) == (2, 11)
    assert after.version != before.version
    assert after.images["train"] == 5


def test_a_touched_or_renamed_file_of_the_same_content_is_judged_by_content(s3, bucket, pictures):
    root = pictures()
    go(s3, bucket, root)
    for file in root.rglob("*.jpg"):
        file.write_bytes(file.read_bytes())

    assert go(s3, bucket, root).sent == 0


def test_an_object_that_somebody_replaced_is_sent_again(s3, bucket, pictures):
    root = pictures()
    go(s3, bucket, root)
    path = "train/002.Akita/1.jpg"
    size = (root / path).stat().st_size
    s3.put_object(Bucket=bucket, Key=PREFIX + path, Body=b"#" * size)

    assert go(s3, bucket, root).sent == 1
    assert s3.get_object(Bucket=bucket, Key=PREFIX + path)["Body"].read() == (root / path).read_bytes()


@pytest.mark.parametrize(
    "manifest", [None, b"not json", b"[]", b'{"files": 3}', b'{"files": {"train/002.Akita/1.jpg": 7}}']
)
def test_a_lost_or_broken_manifest_does_no_harm(s3, bucket, pictures, manifest):
    root = pictures()
    version = go(s3, bucket, root).version
    if manifest is None:
        s3.delete_object(Bucket=bucket, Key=PREFIX + MANIFEST)
    else:
        s3.put_object(Bucket=bucket, Key=PREFIX + MANIFEST, Body=manifest)

    again = go(s3, bucket, root)

    assert (again.sent, again.skipped, again.version) == (0, 12, version)
    written = json.loads(s3.get_object(Bucket=bucket, Key=PREFIX + MANIFEST)["Body"].read())
    assert len(written["files"]) == 12


def test_etags_that_are_no_md5_are_remembered_by_the_manifest(s3, bucket, pictures):
    # GIVEN objects sent in parts, whose ETags are no MD5, and a manifest that knows them
    root = pictures()
    before = go(s3, bucket, root)
    path = "train/002.Akita/1.jpg"
    upload = s3.create_multipart_upload(Bucket=bucket, Key=PREFIX + path)
    where = {"Bucket": bucket, "Key": PREFIX + path, "UploadId": upload["UploadId"]}
    part = s3.upload_part(**where, PartNumber=1, Body=(root / path).read_bytes())
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    etag = s3.complete_multipart_upload(**where, MultipartUpload=parts)["ETag"].strip('"')
    assert "-" in etag
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=PREFIX + MANIFEST)["Body"].read())
    manifest["files"][path]["etag"] = etag
    s3.put_object(Bucket=bucket, Key=PREFIX + MANIFEST, Body=json.dumps(manifest))

    after = go(s3, bucket, root)

    assert after.sent == 0
    assert after.version == before.version
    assert sync_dataset(s3, "", bucket=bucket, name=NAME).version == before.version


def test_no_request_is_made_per_file_that_is_there(s3, bucket, pictures):
    root = pictures()
    go(s3, bucket, root)
    calls = []
    s3.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))

    go(s3, bucket, root)

    assert calls == ["ListObjectsV2", "GetObject"]


def test_what_the_source_no_longer_has_is_deleted_only_on_request(s3, bucket, pictures):
    root = pictures()
    full = go(s3, bucket, root)
    (root / "train/002.Akita/1.jpg").unlink()

    kept = go(s3, bucket, root)
    assert (kept.sent, kept.deleted) == (0, 0)
    assert kept.images["train"] == 4  # what lies in the bucket is the data set
    assert kept.version == full.version

    gone = go(s3, bucket, root, delete_removed=True)
    assert gone.deleted == 1
    assert gone.images["train"] == 3
    assert gone.version != full.version
    assert "train/002.Akita/1.jpg" not in keys(s3, bucket)
    assert go(s3, bucket, root).version == gone.version


def test_deleting_touches_nothing_beside_the_data_set(s3, bucket, pictures):
    root = pictures()
    go(s3, bucket, root)
    others = ["dataset/dogs2/train/a/1.jpg", "dataset/dogs/notes.txt", "jobs/x/model.tar.gz"]
    for key in others:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    (root / "train/002.Akita/1.jpg").unlink()

    go(s3, bucket, root, delete_removed=True)

    assert set(others) <= keys(s3, bucket, prefix="")


def test_a_wrong_layout_uploads_nothing(s3, bucket, pictures):
    root = pictures()
    shutil.rmtree(root / "valid")

    with pytest.raises(DatasetError) as caught:
        go(s3, bucket, root)

    assert str(caught.value).endswith("Nothing was uploaded.")
    assert "no `valid/` folder" in str(caught.value)
    assert keys(s3, bucket) == set()


def test_classes_that_only_the_bucket_has_are_not_mixed_in_unnoticed(s3, bucket, pictures):
    root = pictures()
    go(s3, bucket, root)
    for file in [f"{PREFIX}train/003.Beagle/1.jpg", f"{PREFIX}test/003.Beagle/1.jpg"]:
        s3.put_object(Bucket=bucket, Key=file, Body=b"x")

    with pytest.raises(DatasetError, match=r"already \(delete it with delete_removed.*valid/ has no 003.Beagle"):
        go(s3, bucket, root)
    assert go(s3, bucket, root, delete_removed=True).deleted == 2


def test_files_that_are_no_images_are_left_out_named_and_counted(s3, bucket, pictures):
    root = pictures()
    (root / "train/002.Akita/0.jpg").write_text("<html>not found</html>")
    before = keys(s3, bucket)

    with pytest.raises(DatasetError, match=r"1 of 12 files are no images.*train/002.Akita/0.jpg.*Nothing was uploaded"):
        go(s3, bucket, root, max_unreadable_share=0.05)
    assert keys(s3, bucket) == before

    done = go(s3, bucket, root, max_unreadable_share=0.1)
    assert done.unreadable == ["train/002.Akita/0.jpg"]
    assert done.sent == 11
    assert done.images["train"] == 3
    assert "1 left out as no images: train/002.Akita/0.jpg" in done.line
    assert "train/002.Akita/0.jpg" not in keys(s3, bucket)


def test_a_class_whose_files_are_all_no_images_is_empty(s3, bucket, pictures):
    root = pictures()
    for split in ("train", "valid", "test"):
        for file in (root / split / "002.Akita").iterdir():
            file.write_text("no image")

    with pytest.raises(DatasetError, match=r"002\.Akita"):
        go(s3, bucket, root, max_unreadable_share=1)
    assert keys(s3, bucket) == set()


def test_a_sync_that_is_interrupted_goes_on_where_it_was(s3, bucket, pictures):
    # GIVEN an S3 that stops answering after five pictures
    root = pictures()
    sent = []

    def interrupt(**_):
        sent.append(1)
        if len(sent) > 5:
            raise OSError("the line is dead")

    s3.meta.events.register("before-send.s3.PutObject", interrupt)
    with pytest.raises(TransferError, match=r"cannot be sent: .*the line is dead.*not sent again"):
        go(s3, bucket, root, workers=1)
    s3.meta.events.unregister("before-send.s3.PutObject", interrupt)
    assert len(keys(s3, bucket)) == 5

    # WHEN it is run again
    again = go(s3, bucket, root)

    # THEN only the rest is sent, and nothing is missing
    assert (again.sent, again.skipped) == (7, 5)
    assert again.version == go(s3, bucket, root).version
    assert len(keys(s3, bucket)) == 13


def test_a_file_that_changes_while_it_is_sent_is_refused(s3, bucket, pictures):
    # GIVEN a picture that is replaced after it was read and before it is sent
    root = pictures()
    changed = root / "train/002.Akita/1.jpg"

    def replace(**_):
        changed.write_bytes(b"\xff\xd8\xff changed meanwhile")

    s3.meta.events.register("before-call.s3.ListObjectsV2", replace)

    with pytest.raises(TransferError, match=r"train/002.Akita/1.jpg changed while"):
        go(s3, bucket, root)

    assert "train/002.Akita/1.jpg" not in keys(s3, bucket)


@pytest.mark.parametrize("deep", ["", "v2/dogs/"])
def test_pictures_on_s3_are_copied_there(s3, bucket, pictures, deep):
    root = pictures()
    s3.create_bucket(Bucket="elsewhere")
    for file in root.rglob("*.jpg"):
        s3.upload_file(str(file), "elsewhere", f"pics/{deep}{file.relative_to(root).as_posix()}")
    source = S3Prefix("elsewhere", "pics/")

    first = go(s3, bucket, source)
    second = go(s3, bucket, source)

    assert (first.sent, second.sent, second.skipped) == (12, 0, 12)
    assert first.source == "s3://elsewhere/pics/"
    assert first.version == go(s3, bucket, root).version  # the same pictures, wherever they came from
    assert len(keys(s3, "elsewhere", prefix="")) == 12


def test_a_file_on_s3_that_is_no_image_is_left_out_too(s3, bucket, pictures):
    root = pictures()
    (root / "train/002.Akita/0.jpg").write_text("no image")
    for file in root.rglob("*.jpg"):
        s3.upload_file(str(file), bucket, f"pics/{file.relative_to(root).as_posix()}")

    done = go(s3, bucket, S3Prefix(bucket, "pics/"), max_unreadable_share=0.1)

    assert done.unreadable == ["train/002.Akita/0.jpg"]
    assert done.sent == 11


def test_an_s3_prefix_that_is_not_there_is_said(s3, bucket):
    with pytest.raises(DatasetError, match=r"s3://musher-bucket/nothing/.*nothing under this prefix"):
        go(s3, bucket, S3Prefix(bucket, "nothing/"))
    with pytest.raises(DatasetError, match="s3://no-such-bucket-at-all/x/ cannot be listed: NoSuchBucket"):
        go(s3, bucket, S3Prefix("no-such-bucket-at-all", "x/"))


def test_without_a_source_the_data_set_in_the_bucket_is_checked_and_versioned(s3, bucket, pictures):
    sent = sync_dataset(s3, str(pictures()), bucket=bucket, name=NAME)

    found = sync_dataset(s3, "", bucket=bucket, name=NAME)

    assert found.version == sent.version
    assert found.classes == sent.classes
    assert found.images == sent.images
    assert (found.sent, found.skipped) == (0, 12)
    with pytest.raises(
        DatasetError, match="dataset is empty, and there is no data set at s3://musher-bucket/dataset/cats/"
    ):
        sync_dataset(s3, "", bucket=bucket, name="cats")


def test_the_result_is_one_line_and_plain_values(s3, bucket, pictures):
    done = go(s3, bucket, pictures(), shown="dogs.zip")

    assert done.line.startswith("sent 12 (0.0 MB), skipped 0, deleted 0 in ")
    assert "\n" not in done.line
    assert json.loads(json.dumps(done.as_dict()))["source"] == "dogs.zip"


def test_names_with_spaces_umlauts_and_plus_signs_arrive(s3, bucket, pictures):
    root = pictures()
    for split in ("train", "valid", "test"):
        (root / split / "002.Akita").rename(root / split / "Großer Münsterländer + 1%")

    first = go(s3, bucket, root)
    copied = sync(s3, S3Prefix(bucket, PREFIX), bucket=bucket, name="copy")

    assert first.sent == copied.sent == 12
    assert copied.version == first.version
    assert go(s3, bucket, root).sent == 0
