import shutil

import pytest
from musher.dataset import Item, Listing, check, list_folder, version
from musher.dataset.layout import check_unreadable, no_images_in_folder
from musher.dataset.listing import find_root, is_junk
from musher.dataset.picture import is_picture
from musher.errors import DatasetError


def problem(folder) -> str:
    with pytest.raises(DatasetError) as caught:
        check(list_folder(folder))
    return str(caught.value)


def test_a_good_layout_is_counted(pictures):
    root = pictures()
    (root / "README.txt").write_text("about")
    (root / "train" / "labels.csv").write_text("a,b")
    (root / "train" / ".DS_Store").write_text("junk")

    found = check(list_folder(root))

    assert found.classes == ("001.Affenpinscher", "002.Akita")
    assert found.images == {"train": 4, "valid": 4, "test": 4}
    assert found.ignored == ("README.txt", "train/labels.csv")
    assert len(found.items) == 12


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_missing_split_is_named_with_what_was_found(pictures, split):
    root = pictures()
    shutil.rmtree(root / split)

    text = problem(root)

    assert text.startswith(f"the data set has no `{split}/` folder. Found at the top: ")
    assert (
        'Expected train/, valid/ and test/, each with one folder per class (see README, "Your own pictures").' in text
    )


def test_two_missing_splits_and_what_stands_in_their_place_are_named(pictures):
    root = pictures()
    (root / "valid").rename(root / "val")
    (root / "test").rename(root / "Testing")

    text = problem(root)

    assert "no `valid/` and no `test/` folder" in text
    assert "Found at the top: Testing, train, val." in text


def test_an_empty_folder_says_so(tmp_path):
    assert "Found nothing there" in problem(tmp_path)


def test_classes_that_differ_are_named(pictures):
    root = pictures()
    (root / "valid" / "002.Akita").rename(root / "valid" / "Akita")

    text = problem(root)

    assert "the classes differ" in text
    assert "valid/ has no 002.Akita" in text
    assert "train/ has no Akita" in text


def test_an_empty_class_is_named(pictures):
    root = pictures()
    shutil.rmtree(root / "test" / "002.Akita")
    (root / "test" / "002.Akita").mkdir()

    assert "test/002.Akita has no picture" in problem(root)


def test_a_class_of_nothing_but_junk_is_empty(pictures):
    root = pictures()
    for file in (root / "train" / "002.Akita").iterdir():
        file.rename(file.with_name("._" + file.name))

    assert "train/002.Akita has no picture" in problem(root)


def test_pictures_without_class_folders_are_refused(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.jpg").write_bytes(b"x")

    assert "train/ has no class folder" in problem(tmp_path)


def test_one_class_is_not_enough(pictures):
    root = pictures()
    for split in ("train", "valid", "test"):
        shutil.rmtree(root / split / "002.Akita")

    assert "1 class (001.Affenpinscher)" in problem(root)


def test_an_s3_listing_is_checked_the_same_way():
    paths = [f"{split}/{breed}/1.jpg" for split in ("train", "valid", "test") for breed in ("a", "b")]

    assert check(Listing.of(Item(path, 1) for path in paths)).classes == ("a", "b")
    with pytest.raises(DatasetError, match="test/ has no b"):
        check(Listing.of(Item(path, 1) for path in paths if path != "test/b/1.jpg"))


def test_long_lists_are_cut(pictures):
    root = pictures()
    for number in range(30):
        (root / "train" / f"{number:03}").mkdir()

    assert "and 20 more" in problem(root)


@pytest.mark.parametrize("depth", ["", "dogs/", "download/v2/dogs/"])
def test_the_data_set_is_found_at_any_depth(depth):
    paths = [f"{depth}{split}/a/1.jpg" for split in ("train", "valid", "test")]

    listing = Listing.of(Item(path, 1) for path in [*paths, "__MACOSX/train/a/1.jpg"])

    assert find_root(listing) == depth.rstrip("/")
    assert listing.below(find_root(listing)).top() == ["test", "train", "valid"]


def test_the_folder_with_most_of_it_is_reported_where_none_has_all():
    listing = Listing.of([Item("dogs/train/a/1.jpg", 1), Item("dogs/test/a/1.jpg", 1), Item("x/train/1.jpg", 1)])

    assert find_root(listing) == "dogs"


def test_a_class_that_is_called_test_misleads_nobody():
    paths = [f"{split}/{breed}/1.jpg" for split in ("train", "valid", "test") for breed in ("test", "train", "valid")]

    assert find_root(Listing.of(Item(path, 1) for path in paths)) == ""


def test_a_data_set_that_is_there_twice_is_refused():
    paths = [f"{copy}/{split}/a/1.jpg" for copy in ("one", "two") for split in ("train", "valid", "test")]

    with pytest.raises(DatasetError, match="one/ and in two/"):
        find_root(Listing.of(Item(path, 1) for path in paths))


def test_links_inside_a_folder_are_followed_but_not_for_ever(pictures):
    root = pictures()
    (root / "train" / "002.Akita" / "again").symlink_to(root, target_is_directory=True)
    shutil.move(root / "test", root.parent / "elsewhere")
    (root / "test").symlink_to(root.parent / "elsewhere", target_is_directory=True)

    assert check(list_folder(root)).images == {"train": 4, "valid": 4, "test": 4}


@pytest.mark.parametrize(
    ("head", "good"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0", True),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", True),
        (b"GIF89a" + bytes(10), True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"<!DOCTYPE html>\n", False),
        (b"", False),
    ],
)
def test_an_image_is_told_by_its_first_bytes(head, good):
    assert is_picture(head) is good


def test_files_that_are_no_images_are_named_and_fail_above_the_share(pictures):
    root = pictures()
    (root / "train" / "002.Akita" / "0.jpg").write_text("<html>not found</html>")
    paths = [item.path for item in check(list_folder(root)).items]

    bad = no_images_in_folder(root, paths)

    assert bad == ["train/002.Akita/0.jpg"]
    check_unreadable(bad, total=12, max_share=0.1)
    with pytest.raises(DatasetError, match=r"1 of 12 .* max_unreadable_share, 0.05, allows: train/002.Akita/0.jpg"):
        check_unreadable(bad, total=12, max_share=0.05)


def test_the_version_changes_with_every_path_size_and_content():
    items = [Item("a", 1, "x"), Item("b", 2, "y")]
    versions = {
        version(items),
        version([Item("a", 1, "x"), Item("c", 2, "y")]),
        version([Item("a", 1, "x"), Item("b", 3, "y")]),
        version([Item("a", 1, "x"), Item("b", 2, "z")]),
        version(items[:1]),
    }

    assert len(versions) == 5
    assert version(reversed(items)) == version(items)
    assert len(version(items)) == 16
    assert set(version(items)) <= set("0123456789abcdef")


@pytest.mark.parametrize("path", ["a/.DS_Store", "__MACOSX/a/b.jpg", "._a.jpg", "a/Thumbs.db", ".manifest.json"])
def test_junk(path):
    assert is_junk(path)
    assert not is_junk("train/001.Affenpinscher/a.jpg")
