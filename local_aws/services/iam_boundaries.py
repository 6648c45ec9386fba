"""Permissions boundaries of users, which moto does not keep; those of roles are moto's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.backends import get_backend

from local_aws import managed_policies
from local_aws.errors import AwsError, of_moto
from local_aws.services.base import Call, Service


class IamBoundaries(Service):
    """CreateUser and GetUser with a permissions boundary, and what changes it.

    Source: IAM API reference, CreateUser, GetUser, PutUserPermissionsBoundary, DeleteUserPermissionsBoundary. The
    boundary is kept on moto's record of the user, where identities.py looks for it.
    """

    name = "iam"

    def create_user(self, call: Call) -> dict[str, Any]:
        params, boundary = call.params, call.params.get("PermissionsBoundary")
        if boundary:
            self._check(boundary)
        with of_moto():
            made = self._moto.create_user(call.region, params["UserName"], params.get("Path") or "/",
                                          params.get("Tags"))  # fmt: skip
        made.permissions_boundary = boundary
        return {"User": self._described(made)}

    def get_user(self, call: Call) -> dict[str, Any]:
        name = call.params.get("UserName")
        if name is None:
            identity = self.aws.iam.identities.find(call.access_key or "")
            if identity is None or not identity.asker.name:
                raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials")
            name = identity.asker.name
        with of_moto():
            return {"User": self._described(self._moto.get_user(name))}

    def put_user_permissions_boundary(self, call: Call) -> None:
        self._check(call.params["PermissionsBoundary"])
        with of_moto():
            self._moto.get_user(call.params["UserName"]).permissions_boundary = call.params["PermissionsBoundary"]

    def delete_user_permissions_boundary(self, call: Call) -> None:
        with of_moto():
            self._moto.get_user(call.params["UserName"]).permissions_boundary = None

    def _check(self, arn: str) -> None:
        if arn.startswith(managed_policies.OF_AWS):
            managed_policies.load(self.aws.account)
        if arn not in self._moto.managed_policies:
            raise AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", status=404)

    def _described(self, user: Any) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "Path": user.path, "UserName": user.name, "UserId": user.id, "Arn": user.arn,
            "CreateDate": user.create_date,
        }  # fmt: skip
        if user.password_last_used:
            found["PasswordLastUsed"] = user.password_last_used
        tags = self._moto.tagger.list_tags_for_resource(user.arn)["Tags"]
        if tags:
            found["Tags"] = tags
        arn = getattr(user, "permissions_boundary", None)
        if arn:
            found["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn,
            }  # fmt: skip
        return found

    @property
    def _moto(self) -> Any:
        return get_backend("iam")[self.aws.account]["aws"]
