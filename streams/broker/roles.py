"""Who may do what on the broker, as data: a role a row, and the ACLs that it stands for.

Kafka holds these rules, not we: a client that shows the credentials of one role cannot do what
another may. `dipper access grant` makes the ACLs, `dipper access list` shows who may write what.
"""

from enum import IntEnum
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from streams.broker.access import make_admin
from streams.errors import BrokerError
from streams.topology import (
    CLOCK,
    CONTROL,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    EVIDENCE,
    FUNDING,
    INGRESS_PREFIX,
    NOTICES,
)


class Resource(IntEnum):
    """What a right is on, in Kafka's codes."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """What a right allows, in Kafka's codes. READ and WRITE imply DESCRIBE."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8


class Right(NamedTuple):
    """One ACL: `prefixed` where it holds for all names that begin so."""

    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False


_READ, _WRITE = Operation.READ, Operation.WRITE
_CLUSTER = "kafka-cluster"
_LITERAL, _PREFIXED = 3, 4
_ALLOW, _ANY = 3, 1
_NO_AUTHORIZER = 54


def _topics(operation: Operation, *names: str) -> tuple[Right, ...]:
    return tuple(Right(Resource.TOPIC, name, operation) for name in names)


# A worker may not write events: a stolen worker credential mints no application and no money.
ROLES: dict[str, tuple[Right, ...]] = {
    "publisher": _topics(_WRITE, EVENTS.name),
    "converter": (  # hands time over to `dipper control --clock file`: for old data only
        *_topics(_WRITE, EVENTS.name, CLOCK.name),
        *_topics(_READ, CLOCK.name),
    ),
    "institution": (),  # its ingress topic, which its name completes
    "control": (
        *_topics(_READ, EVENTS.name, CLOCK.name, CONTROL.name, FUNDING.name),
        *_topics(_WRITE, EVENTS.name, CLOCK.name, CONTROL.name, DEAD_LETTERS.name),
        Right(Resource.TOPIC, INGRESS_PREFIX, _READ, prefixed=True),
        Right(Resource.TOPIC, "dipper.", Operation.CREATE, prefixed=True),
        Right(Resource.TOPIC, "dipper.", Operation.DESCRIBE, prefixed=True),
        Right(Resource.GROUP, "dipper-control", _READ, prefixed=True),
        Right(Resource.CLUSTER, _CLUSTER, Operation.DESCRIBE),
    ),
    "worker": (
        *_topics(_READ, EVENTS.name, CONTROL.name),
        *_topics(_WRITE, DECISIONS.name, EVIDENCE.name, FUNDING.name, DEAD_LETTERS.name),
        Right(Resource.GROUP, "dipper", _READ),
        Right(Resource.TRANSACTIONAL_ID, "dipper", _WRITE, prefixed=True),
    ),
    "agents": (
        *_topics(_READ, DECISIONS.name, NOTICES.name, EVENTS.name, EVIDENCE.name),
        *_topics(_WRITE, NOTICES.name),
        Right(Resource.GROUP, "dipper-notices", _READ),
        Right(Resource.GROUP, "dipper-reasons", _READ),
        Right(Resource.GROUP, "dipper-quality-", _READ, prefixed=True),
    ),
    "analyst": _topics(
        _READ, EVENTS.name, DECISIONS.name, EVIDENCE.name, FUNDING.name, DEAD_LETTERS.name
    ),
    "operator": (  # repairs and sends again what was refused
        *_topics(_READ, DEAD_LETTERS.name, CONTROL.name),
        *_topics(_WRITE, EVENTS.name, CONTROL.name),
    ),
}


def rights_of(role: str, institution: str = "") -> tuple[Right, ...]:
    """Return the rights of a role; `BrokerError` where it is unknown or lacks its institution."""
    if role not in ROLES:
        raise BrokerError(f"no role {role!r}; there are {', '.join(ROLES)}")
    if (role == "institution") != bool(institution):
        raise BrokerError("the role institution, and no other, needs --institution NAME")
    if institution:
        return _topics(_WRITE, INGRESS_PREFIX + institution)
    return ROLES[role]


async def grant_role(bootstrap: str, user: str, role: str, institution: str = "") -> int:
    """Make the ACLs of a role for `User:<user>`; return how many. Making them twice is harmless."""
    rights = rights_of(role, institution)
    for right in rights:
        pattern = _PREFIXED if right.prefixed else _LITERAL
        request = CreateAclsRequest(
            right.resource, right.name, pattern, f"User:{user}", "*", right.operation, _ALLOW
        )
        for code, text in (await _ask(bootstrap, request)).creation_responses:
            if code:
                raise BrokerError(f"{bootstrap} takes no ACL: {text or for_code(code).__name__}")
    return len(rights)


async def writers(bootstrap: str, topic: str) -> frozenset[str] | None:
    """Return which principals the ACLs let write to `topic`, patterns included; None where the
    broker checks nobody. Super users, who may do all, are not told.
    """
    match, write = 2, Operation.WRITE
    request = DescribeAclsRequest(Resource.TOPIC, topic, match, None, None, _ANY, _ALLOW)
    answer = await _ask(bootstrap, request)
    if answer.error_code == _NO_AUTHORIZER:
        return None
    if answer.error_code:
        why = answer.error_message or for_code(answer.error_code).__name__
        raise BrokerError(f"{bootstrap} does not tell its ACLs: {why}")
    everything = 2
    return frozenset(
        principal
        for _, _, _, acls in answer.resources
        for principal, _, operation, _ in acls
        if operation in {write, everything}
    )


async def _ask(bootstrap: str, request: Any) -> Any:
    admin = make_admin(bootstrap)
    try:
        await admin.start()
        # The pinned client knows the messages, and has no method that sends them.
        return await admin._send_request(request)  # noqa: SLF001
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{bootstrap} cannot be asked for ACLs: {error}") from error
    finally:
        await admin.close()
