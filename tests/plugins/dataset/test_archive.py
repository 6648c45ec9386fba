import io
import os
import stat
import tarfile
import zipfile

import pytest
from musher.dataset.archive import unpack
from musher.errors import DatasetError

LIMITS = {"max_bytes": 10_000, "max_files": 100}


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return path


def make_tar(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return path


def refused(archive, target, **limits) -> str:
    target.mkdir(exist_ok=True)
    with pytest.raises(DatasetError) as caught:
        unpack(archive, target, **LIMITS | limits, shown="dogs")
    text = str(caught.value)
    assert text.startswith("dogs ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_files_come_out_and_junk_does_not(tmp_path, kind):
    names = {"a/train/x.jpg": b"picture", "__MACOSX/a/train/._x.jpg": b"junk", "a/.DS_Store": b"junk"}
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", names)
    else:
        archive = make_tar(tmp_path / "a.tgz", *((f"./{n}", tarfile.REGTYPE, c) for n, c in names.items()))
    target = tmp_path / "out"
    target.mkdir()

    unpack(archive, target, **LIMITS)

    files = [str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()]
    assert files == ["a/train/x.jpg"]
    assert (target / "a/train/x.jpg").read_bytes() == b"picture"


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/out.jpg", "C:/out.jpg", "..\\out.jpg"])
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    zipped = refused(make_zip(tmp_path / "a.zip", {name: b"x"}), tmp_path / "out")
    tarred = refused(make_tar(tmp_path / "a.tgz", (name, tarfile.REGTYPE, b"x")), tmp_path / "out")

    for text in (zipped, tarred):
        assert "leads outside" in text
        assert "out.jpg" in text
    assert not (tmp_path / "out.jpg").exists()
    assert not os.path.exists("/out.jpg")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "special file"),
        (tarfile.FIFOTYPE, "special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, word):
    text = refused(make_tar(tmp_path / "a.tgz", ("train/evil", kind, "/etc/passwd")), tmp_path / "out")

    assert word in text
    assert "train/evil" in text
    assert not (tmp_path / "out" / "train" / "evil").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("train/evil")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    text = refused(make_zip(tmp_path / "a.zip", {link: "/etc/passwd"}), tmp_path / "out")

    assert "a link" in text
    assert "train/evil" in text


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_bomb_stops_at_the_limit(tmp_path, kind):
    bomb = bytes(50_000_000)
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", {"bomb.jpg": bomb})
    else:
        archive = make_tar(tmp_path / "a.tgz", ("bomb.jpg", tarfile.REGTYPE, bomb))
    assert archive.stat().st_size < 100_000

    text = refused(archive, tmp_path / "out", max_bytes=2_000_000)

    assert "more than 2,000,000 bytes" in text
    assert "bomb.jpg" in text
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 2_000_000


def test_too_many_files_stop_at_the_limit(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {f"{n}.jpg": b"x" for n in range(101)})

    assert "100 files" in refused(archive, tmp_path / "out")


def test_a_damaged_archive_is_named(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", ("a.jpg", tarfile.REGTYPE, os.urandom(9_000)))
    archive.write_bytes(archive.read_bytes()[:4_000])
    truncated = make_zip(tmp_path / "b.zip", {"b.jpg": b"x" * 5000})
    truncated.write_bytes(truncated.read_bytes()[:-20])

    assert "damaged" in refused(archive, tmp_path / "out")
    assert "damaged" in refused(truncated, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path):
    page = tmp_path / "dogs.zip"
    page.write_text("<html>please log in</html>")

    assert "neither a zip nor a gzipped tar" in refused(page, tmp_path / "out")


def test_a_file_that_is_a_folder_as_well_is_refused(tmp_path):
    archive = make_tar(tmp_path / "a.tgz", ("a", tarfile.REGTYPE, b"x"), ("a/b.jpg", tarfile.REGTYPE, b"x"))

    assert "both as a file and as a folder" in refused(archive, tmp_path / "out")


def test_a_full_disk_is_one_sentence(tmp_path):
    # GIVEN a folder on a disk that takes nothing
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    target = tmp_path / "out"
    target.mkdir()
    (target / "a.jpg").symlink_to("/dev/full")

    text = refused(make_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 9000}), target)

    assert "No space left on device" in text
    assert "bytes free there" in text
