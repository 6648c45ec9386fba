"""Which of Amazon's images there are is moto's list; each is made when it is asked about, and not before."""

import pytest
from moto.ec2.exceptions import InvalidAMIIdError

from local_aws.ec2 import images, record

ACCOUNT, AMAZONS = "210987654321", "ami-0a1b2c3d4e5f60718"


@pytest.fixture
def ec2():
    """Moto's EC2 of a region that nobody has asked anything."""
    images.teach_moto()
    yield record.backend(ACCOUNT, "eu-west-1")
    from moto.ec2.models import ec2_backends

    del ec2_backends[ACCOUNT]["eu-west-1"]


def asked(operation="DescribeImages", **params):
    images.load_when_asked(ACCOUNT, "eu-west-1", operation, params)


def test_what_is_asked_about_is_there_and_nothing_else_is_made(ec2):
    listed = images._listed("eu-west-1")
    assert len(listed) > 1000
    assert (ec2.amis, ec2.snapshots) == ({}, {})
    one, other, third, *_ = (each for each in listed if listed[each]["architecture"] == "x86_64")
    asked(Owners=["self"])
    asked("RegisterImage", Name="mine")
    assert ec2.amis == {}
    asked(ImageIds=[one, AMAZONS])
    asked(Filters=[{"Name": "state", "Values": ["available"]}, {"Name": "image-id", "Values": [other]}])
    asked("CopyImage", SourceImageId=third, SourceRegion="eu-west-1")
    ours = {images.image_id(each, "eu-west-1") for each in images.IMAGES}
    assert ec2.amis.keys() == {one, other, third} | ours
    # THEN it is as moto itself makes it
    made, of_moto = ec2.describe_images([one])[0], listed[one]
    assert (made.name, made.owner_id, made.owner_alias) == (of_moto["name"], of_moto["owner_id"], "amazon")
    assert made.creation_date.year >= 2010
    with pytest.raises(InvalidAMIIdError):
        ec2.describe_images([AMAZONS])


def test_who_asks_for_images_in_general_hears_of_all_but_those_that_are_gone(ec2):
    one, *_ = images._listed("eu-west-1")
    asked(ImageIds=[one])
    ec2.deregister_image(one)
    asked(Owners=["amazon"])
    assert ec2.amis.keys() == images._listed("eu-west-1").keys() - {one} | {
        images.image_id(each, "eu-west-1") for each in images.IMAGES
    }
    assert {each.owner_alias for each in ec2.describe_images(owners=["amazon"])} == {"amazon"}
