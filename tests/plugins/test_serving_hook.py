"""What the hook does where somebody else changes an endpoint at the same moment."""

import pytest
from botocore.exceptions import ClientError
from musher.hooks.serving import UPDATE_TRIES, ServingHook

REQUEST = {"EndpointName": "e", "EndpointConfigName": "c"}
IN_PROGRESS = 'Cannot update in-progress endpoint "e".'


class Busy:
    """A SageMaker client that refuses to update an endpoint so many times: somebody else is changing it."""

    def __init__(self, times: int, message: str) -> None:
        self.times, self.message, self.taken, self.described = times, message, [], 0

    def update_endpoint(self, **request) -> None:
        if self.times:
            self.times -= 1
            raise ClientError({"Error": {"Code": "ValidationException", "Message": self.message}}, "UpdateEndpoint")
        self.taken.append(request)

    def describe_endpoint(self, EndpointName) -> dict:
        self.described += 1
        return {"EndpointName": EndpointName, "EndpointStatus": "Updating" if self.described % 2 else "InService"}


def update(busy: Busy) -> None:
    hook = ServingHook(aws_conn_id=None, region_name="us-east-1")
    hook.__dict__["conn"] = busy
    hook.update_settled_endpoint(REQUEST, 0.001, 10)


def test_an_update_waits_for_auto_scaling_that_was_quicker():
    busy = Busy(2, IN_PROGRESS)
    update(busy)
    assert (busy.taken, busy.described) == ([REQUEST], 4)


@pytest.mark.parametrize(
    ("times", "message", "asked"),
    [(1, "There is no such configuration.", 0), (100, IN_PROGRESS, 2 * (UPDATE_TRIES - 1))],
)
def test_an_update_that_aws_refuses_all_the_same_is_not_hidden(times, message, asked):
    busy = Busy(times, message)
    with pytest.raises(ClientError, match=message):
        update(busy)
    assert (busy.taken, busy.described) == ([], asked)
