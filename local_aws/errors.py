"""Errors as AWS returns them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from moto.core.exceptions import ServiceException


class AwsError(ServiceException):
    """An error of the service that is called: `AwsError("ResourceInUse", "message")`.

    The code is the error's name in botocore's model of the service; status code and wire form come from that model.
    Further members of the error's shape are keyword arguments, e.g. `Reason=` of Lambda's TooManyRequestsException.
    `status` is for codes that the model does not list.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, **members: object) -> None:
        super().__init__(code, message)
        self.status = status
        for name, value in members.items():
            setattr(self, name, value)


@contextlib.contextmanager
def of_moto() -> Iterator[None]:
    """Errors of moto's backends, called directly, as the service's answer."""
    try:
        yield
    except ServiceException as error:
        raise AwsError(error.code, error.message) from error


def validation(message: str) -> AwsError:
    """The error that most services give for a request that breaks a rule: ValidationException."""
    return AwsError("ValidationException", message)
