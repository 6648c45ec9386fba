"""Who there is, and by which policies: moto keeps users, roles, their keys and sessions, and this alone knows how.

Sessions of roles come from STS; those that the daemon makes for jobs, functions, endpoints and instances do, too.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moto.backends import get_backend

from local_aws.iam.context import Asker
from local_aws.iam.evaluate import Named, Principal
from local_aws.iam.policy import Malformed, parse

log = logging.getLogger(__name__)

ADMINISTRATOR = "administrator"
"""The user that an administrator's key is of. It is in no list: nobody has made it."""


@dataclass(frozen=True, eq=False, slots=True)
class Identity:
    """A key, whom it is of, and what he may do; equal to itself alone. Who may do something else now is another one."""

    principal: Principal
    asker: Asker
    secret: str
    token: str | None
    """Of a session: it has to be sent along."""
    expires: dt.datetime | None
    policies: tuple[Named, ...]
    boundary: Named | None = None
    session: tuple[Named, ...] | None = None
    _keys: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def keys(self, action: str) -> tuple[str, ...]:
        """The condition keys, in lower case and in order, that his own policies ask about for an action."""
        found = self._keys.get(action)
        if found is None:
            asked = frozenset().union(*(each.policy.keys(action) for each in self.policies))
            found = self._keys[action] = tuple(sorted(asked))
        return found


class Written(NamedTuple):
    """What an identity is made of, as it is written down; equal as long as it says the same."""

    policies: tuple[tuple[str, str], ...]
    """Names and texts."""
    boundary: tuple[str, str] | None
    tags: dict[str, str]


class Identities:
    """The users, roles and sessions of an account.

    Parameters
    ----------
    administrators
        Access key -> secret of keys that may do everything.
    """

    def __init__(self, account: str, administrators: Mapping[str, str]) -> None:
        self.account, self.administrators = account, dict(administrators)
        self._sessions: dict[str, Any] = {}
        self._role_ids: dict[str, str] = {}
        """ARN -> moto's key of a role: where to look first."""
        self._made: dict[str, tuple[tuple, Identity]] = {}
        """Access key -> what its identity was made of, and the identity."""

    @functools.cached_property
    def _backends(self) -> tuple[Any, Any]:
        return get_backend("iam")[self.account], get_backend("sts")[self.account]

    @property
    def _iam(self) -> Any:
        # Moto's own way to what is there already takes longer than all that is done with it here.
        return dict.get(self._backends[0], "aws") or self._backends[0]["aws"]

    @property
    def _sts(self) -> Any:
        return self._backends[1]["aws"]

    def find(self, key: str) -> Identity | None:
        """The identity of an access key; None for a key that is not known."""
        if key in self.administrators:
            return self._administrator(key)
        if key.startswith("ASIA"):
            return self._session(key)
        return self._user(key)

    def _administrator(self, key: str) -> Identity:
        made = self._made.get(key)
        if made is not None:
            return made[1]
        arn = f"arn:aws:iam::{self.account}:user/{ADMINISTRATOR}"
        asker = Asker(arn, self.account, "User", "AIDALOCALAWSADMINIST", ADMINISTRATOR, {})
        identity = Identity(Principal(arn, self.account), asker, self.administrators[key], None, None, EVERYTHING)
        self._made[key] = (), identity
        return identity

    def role(self, arn: str) -> Any:
        """Moto's role of an ARN; None for one that is not there."""
        roles, known = self._iam.roles, self._role_ids.get(arn)
        found = roles.get(known) if known is not None else None
        if found is None or found.arn != arn:
            found = next((role for role in list(roles.values()) if role.arn == arn), None)
            if found is not None:
                self._role_ids[arn] = found.id
        return found

    def trust(self, arn: str) -> Named | None:
        """A role's trust policy."""
        role = self.role(arn)
        return None if role is None else named("trust policy", role.assume_role_policy_document)

    def profile_role(self, name_or_arn: str) -> str | None:
        """The ARN of the role in an instance profile."""
        name = name_or_arn.rpartition("/")[2]
        found = next((each for each in self._iam.instance_profiles.values() if each.name == name), None)
        return found.roles[0].arn if found is not None and found.roles else None

    def policies_of(self, arn: str) -> tuple[tuple[Named, ...], Named | None, Asker] | None:
        """(policies, boundary, asker) of a user, a group or a role by its ARN; None for one that is not there."""
        role = self.role(arn)
        if role is not None:
            written = self._of_role(role)
            return _named(written.policies), _bounds(written), self._role_asker(role, "", written)
        user = next((each for each in self._iam.users.values() if each.arn == arn), None)
        if user is not None:
            written = self._of_user(user)
            return _named(written.policies), _bounds(written), self._user_asker(user, written)
        group = next((each for each in self._iam.groups.values() if each.arn == arn), None)
        if group is not None:
            return _named(_texts(group)), None, Asker(arn, self.account, "User", "", None, {})
        return None

    def tags(self, arn: str) -> Mapping[str, str] | None:
        """The tags of a role or a user."""
        kind = arn.rpartition(":")[2].partition("/")[0]
        known = {"role": self._iam.roles, "user": self._iam.users, "policy": self._iam.managed_policies}.get(kind, {})
        found = next((each for each in known.values() if each.arn == arn), None)
        return None if found is None else _tags(getattr(found, "tags", None))

    def _session(self, key: str) -> Identity | None:
        found = self._sessions.get(key)
        if found is None:
            sessions = self._sts.assumed_roles
            found = next((each for each in reversed(sessions) if each.access_key_id == key), None)
            if found is None:
                return None
            self._sessions[key] = found
        role = self.role(found.role_arn)
        written = self._of_role(role) if role is not None else None
        made_of = (found.expiration, role and role.id, written)
        made = self._made.get(key)
        if made is not None and made[0] == made_of:
            return made[1]
        expires = found.expiration.replace(tzinfo=dt.UTC)
        issued = expires - dt.timedelta(hours=1)
        if role is None or written is None:
            # A role that is gone can do nothing any more.
            asker, written = Asker(found.role_arn, self.account, "AssumedRole", "", None, {}, issued), GONE
        else:
            asker = self._role_asker(role, found.session_name, written, issued)
        identity = Identity(
            Principal(found.arn, found.account_id, found.role_arn),
            asker,
            found.secret_access_key,
            found.session_token,
            expires,
            _named(written.policies),
            _bounds(written),
            (named("session policy", found.policy),) if found.policy else None,
        )
        self._made[key] = made_of, identity
        return identity

    def _user(self, key: str) -> Identity | None:
        for user in self._iam.users.values():
            for access_key in user.access_keys:
                if access_key.access_key_id == key and access_key.status == "Active":
                    written = self._of_user(user)
                    made_of = (user.id, user.arn, access_key.secret_access_key, written)
                    made = self._made.get(key)
                    if made is None or made[0] != made_of:
                        made = self._made[key] = made_of, Identity(
                            Principal(user.arn, self.account), self._user_asker(user, written),
                            access_key.secret_access_key, None, None, _named(written.policies), _bounds(written),
                        )  # fmt: skip
                    return made[1]
        return None

    def _user_asker(self, user: Any, written: Written) -> Asker:
        return Asker(user.arn, self.account, "User", user.id, user.name, written.tags)

    def _role_asker(self, role: Any, session: str, written: Written, issued: dt.datetime | None = None) -> Asker:
        return Asker(role.arn, self.account, "AssumedRole", f"{role.id}:{session}", None, written.tags, issued)

    def _of_role(self, role: Any) -> Written:
        return Written(_texts(role), self._boundary(role.permissions_boundary_arn), _tags(role.tags))

    def _of_user(self, user: Any) -> Written:
        groups = [each for each in self._iam.groups.values() if user in each.users]
        texts = tuple(text for owner in (user, *groups) for text in _texts(owner))
        return Written(texts, self._boundary(_boundary_arn(user)), _tags(getattr(user, "tags", None)))

    def _boundary(self, arn: str | None) -> tuple[str, str] | None:
        if not arn:
            return None
        policy = self._iam.managed_policies.get(arn)
        # A boundary that is gone allows nothing.
        return arn, _default(policy) if policy is not None else NOTHING


NOTHING = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'


EVERYTHING = (
    Named(
        "AdministratorAccess",
        parse('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'),
    ),
)


GONE = Written((), None, {})


def _boundary_arn(user: Any) -> str | None:
    found = getattr(user, "permissions_boundary", None)
    return found.get("PermissionsBoundaryArn") if isinstance(found, dict) else found


def _texts(owner: Any) -> tuple[tuple[str, str], ...]:
    """The inline and the managed policies of a user, a group or a role: names and texts."""
    managed = owner.managed_policies
    if not managed:
        return tuple(owner.policies.items())
    listed = list(managed.values()) if isinstance(managed, dict) else managed
    return (*owner.policies.items(), *[(policy.arn, _default(policy)) for policy in listed])


def _default(policy: Any) -> str:
    wanted = policy.default_version_id
    for each in policy.versions:
        if each.version_id == wanted:
            return each.document
    return ""


def _named(texts: tuple[tuple[str, str], ...]) -> tuple[Named, ...]:
    return tuple(named(name, text) for name, text in texts)


def _bounds(written: Written) -> Named | None:
    return named(*written.boundary) if written.boundary is not None else None


@functools.lru_cache(maxsize=1024)
def named(name: str, text: str) -> Named:
    """A policy of its text, read once."""
    try:
        return Named(name, parse(text))
    except Malformed as error:
        # Put before this was checked; as on AWS what cannot be read allows nothing.
        log.warning("the policy %s allows nothing: %s", name, error)
        return Named(name, parse(NOTHING))


def _tags(found: Any) -> dict[str, str]:
    if not found:
        return {}
    listed: Iterable[Any] = list(found.values()) if isinstance(found, dict) else found
    return {each["Key"]: each["Value"] for each in listed if isinstance(each, dict) and "Key" in each}
