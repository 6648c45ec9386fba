"""Which pictures a load test sends: from a real S3 over HTTP, with more in it than one listing gives."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from musher.dataset.picture import MOST_EVENT_BYTES
from musher.load.pictures import LoadTestError, labelled_pictures, pictures_to_send
from PIL import Image


def file(kind: str = "JPEG", size=(16, 12), shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, shade // 256, 0)).save(
        buffer, kind, **({"quality": 100} if kind == "JPEG" else {})
    )
    return buffer.getvalue()


@pytest.fixture
def put(s3, env):
    def put(files: dict[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda each: s3.put_object(Bucket=env.bucket, Key=each[0], Body=each[1]), files.items()))

    return put


def sent(s3, env, files: dict[str, bytes], **options) -> list[str]:
    """The keys of what is sent; the bytes of each file are its own."""
    names = {content: key for key, content in files.items()}
    return [names[each] for each in pictures_to_send(s3, env, f"s3://{env.bucket}/pics/", **options)]


@pytest.mark.slow
def test_every_class_is_in_the_sample_though_one_listing_does_not_reach_the_last(s3, env, put, monkeypatch):
    # GIVEN more pictures in the first class than a listing of S3 gives at once, which is 100 here instead of 1000
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "100")
    shades = iter(range(10_000))
    files = {f"pics/test/001.A/{n:04}.png": file("PNG", shade=next(shades)) for n in range(110)}
    files |= {f"pics/test/{c:03}.B/{n}.png": file("PNG", shade=next(shades)) for c in (2, 3) for n in range(30)}
    put(files | {"pics/train/001.A/x.png": file("PNG", shade=next(shades))})
    assert s3.list_objects_v2(Bucket=env.bucket)["KeyCount"] == 100
    # WHEN a sample is taken, twice
    keys = sent(s3, env, files)
    # THEN it is the same, of each class as many, and not only of the first names
    assert keys == sent(s3, env, files)
    assert len(set(keys)) == len(keys) == 50
    counted = [sum(f"/{name}/" in key for key in keys) for name in ("001.A", "002.B", "003.B")]
    assert counted == [17, 17, 16]
    assert max(keys) > "pics/test/001.A/0050.png"


@pytest.mark.slow
def test_each_of_many_classes_is_sent_and_a_few_are_spread_over_all(s3, env, put):
    files = {f"pics/test/{c:03}/{n}.png": file("PNG", shade=2 * c + n) for c in range(60) for n in range(2)}
    put(files)
    assert {key.split("/")[2] for key in sent(s3, env, files)} == {f"{c:03}" for c in range(60)}
    assert [key.split("/")[2] for key in sent(s3, env, files, most=4)] == ["000", "015", "030", "045"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_the_function_does_not_take_is_left_out(s3, env, put, caplog):
    good = {
        "pics/test/a/1.jpg": file(shade=1),
        "pics/test/b/1.webp": file("WEBP", shade=200),
        "pics/test/b/2.gif": file("GIF", shade=99),
    }
    bad = {
        "pics/test/a/big.png": file("PNG") + bytes(MOST_EVENT_BYTES),
        "pics/test/a/small.png": file("PNG", size=(7, 100)),
        "pics/test/a/wide.png": file("PNG", size=(50_000, 1_001)),
        "pics/test/a/page.jpg": b"<html>not found</html>",
        "pics/test/b/cut.png": file("PNG")[:20],
        "pics/test/b/.hidden.png": file("PNG", shade=7),
        "pics/test/beside.png": file("PNG", shade=8),
        "pics/test/empty/": b"",
    }
    put(good | bad)
    with caplog.at_level("INFO"):
        assert sorted(sent(s3, env, good)) == sorted(good)
    assert "pics/test/a/wide.png is not sent: it has 50,000 x 1,001 pixels" in caplog.text
    assert "pics/test/a/big.png is not sent: it has 4,7" in caplog.text


def test_a_test_set_of_nothing_that_can_be_sent_is_one_sentence(s3, env, put):
    put({f"pics/test/{c}/{n}.jpg": b"<html>" for c in "ab" for n in range(20)})
    with pytest.raises(LoadTestError) as caught:
        pictures_to_send(s3, env, f"s3://{env.bucket}/pics/")
    assert str(caught.value).startswith(
        f"No picture at s3://{env.bucket}/pics/test/ can be sent to the function, which takes JPEG, PNG, GIF, BMP, "
        "TIFF and WebP of at most 4,717,824 bytes, 50,000,000 pixels and sides of at least 8 pixels: pics/test/a/"
    )
    assert str(caught.value).endswith(".jpg was left out because it is in none of these formats.")


def test_no_pictures_at_all(s3, env):
    with pytest.raises(LoadTestError, match=r"There are no pictures to send at s3://musher-bucket/pics/test/\."):
        pictures_to_send(s3, env, f"s3://{env.bucket}/pics/")


def test_a_picture_has_the_class_it_belongs_to_and_its_place_below_the_test_folder(s3, env, put):
    files = {f"pics/test/{label}/deeper/{n}.png": file("PNG", shade=n) for n, label in enumerate("ab")}
    put(files)
    found = labelled_pictures(s3, env, f"s3://{env.bucket}/pics/")
    assert [(each.file, each.label) for each in found] == [("a/deeper/0.png", "a"), ("b/deeper/1.png", "b")]
    assert [each.data for each in found] == list(files.values())


def test_of_large_pictures_the_smaller_ones_are_sent(s3, env, put, monkeypatch):
    monkeypatch.setattr("musher.load.pictures.ENOUGH_BYTES", 50 * 500)
    files = {f"pics/test/a/{n}.png": file("PNG", shade=n) + bytes(1000 * n) for n in range(20)}
    put(files)
    assert sent(s3, env, files, most=50)[:2] == ["pics/test/a/0.png", "pics/test/a/1.png"]
