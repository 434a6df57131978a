"""The decisions of `streams/bench/deployment.py` in plain Python, for any stream framework.

What a user of Faust, Quix Streams or aiokafka would write: orjson in, a dict an applicant as state,
LightGBM's own `predict`, the rules of the plain policy twin, orjson out. The bytes are dipper's. It
covers what the measured traffic holds (no refusals, no expiry, no loans of our own), and writes no
evidence and no funding records, which dipper does beside each decision.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from models.calibrate import parse_calibration
from models.lean_lightgbm import lgb
from models.policy.expression import FEATURE, Column, Node
from models.policy.loader import ceiling_plans, product_plan
from models.policy.reasons import mask_of
from streams.codec.hashing import request_key
from streams.deployment import Deployment
from streams.limits import AHEAD_MS_MAX, RECENT_IDS
from streams.schema import EventType, Outcome
from tests.bench.peers.values import Person, Values, new_person
from tests.models.policy import naive as policies
from tests.naive.records import Writer

__all__ = ["Ask", "Lender", "Person", "new_person"]
Event = dict[str, Any]


class Ask(NamedTuple):
    """A request whose features stand: what `answer` needs. `row` float64[1, model features]."""

    event: Event
    offset: int
    person: Person
    values: dict[str, float]
    line: dict[str, Any] | None
    row: NDArray[np.float64] | None  # None: its policy has no score


def _columns(node: Node) -> Iterator[int]:
    """Yield the columns of the catalog that a rule's tree reads."""
    for part in node:
        if isinstance(part, Column):
            if part.space == FEATURE:
                yield part.row
        elif isinstance(part, tuple):
            yield from _columns(cast("Node", part))


class Lender:
    """Decides in one partition; applicants' dicts are kept by whoever calls."""

    def __init__(self, deployment: Deployment, partition: int, partitions: int) -> None:
        (info,) = deployment.model_infos
        self.booster = lgb.Booster(model_file=str(info.folder / "model.txt"))
        path = info.folder / "calibration.csv"
        self._steps = parse_calibration(path, path.read_bytes())
        self._scored = info.features
        self._writer = Writer(deployment, partition, partitions)
        self._key = np.array(np.frombuffer(deployment.platform.decision_key, "<u8"), np.uint64)
        platform = deployment.platform
        self._products = {product.id: n for n, product in enumerate(platform.products)}
        self._channels = {channel.id: n for n, channel in enumerate(platform.channels)}
        self._plans = list(deployment.policies.plans)
        self._product_plans = [product_plan(product) for product in platform.products]
        self._ceilings = ceiling_plans(platform)
        self._places = deployment.catalog.columns
        names = list(self._places)
        read: set[str] = set()
        for plan in self._plans:
            for section in plan.sections:
                if section is not None:
                    read |= {names[n] for rule in section.rules for n in _columns(rule.node)}
                    read |= {names[section.basis]} if section.basis >= 0 else set()
        self._rules_only = Values(deployment.catalog, read)
        self._all = Values(deployment.catalog, read | set(info.features))
        self.time = 0  # of the partition: the last tick

    def predict(self, rows: NDArray[np.float64]) -> list[float]:
        """Return raw scores of float64[n, features]; one thread, since all cores have work."""
        return list(np.asarray(self.booster.predict(rows, raw_score=True, num_threads=1)))

    def see(self, event: Event, offset: int, person: Person) -> Ask | None:
        """Take in an applicant's event; for a request return what is to be scored."""
        kind = event["type"]
        if self.time and event["at"] > self.time + AHEAD_MS_MAX:
            raise AssertionError("the measured traffic has no event from the future")
        if kind in {"activity", "signal"}:
            if event["id"] not in person["seen"]:
                self._remember(event, person)
                person["seen"] = [*person["seen"], event["id"]][-RECENT_IDS:]
        elif kind == "loan":
            _other_loan(event, person["loans"])
        elif kind == "accept":
            self._accept(event, person)
        elif event["id"] not in person["requests"]:
            person["requests"].append(event["id"])
            return self._ask(event, offset, person)
        return None

    def control(self, event: Event) -> None:
        """Take in a control event; what is granted never runs out here."""
        if event["type"] == "tick":
            self.time = event["at"]

    def decide(self, event: Event, offset: int, person: Person) -> bytes | None:
        """Take in an event; return the decision where it was a request."""
        ask = self.see(event, offset, person)
        if ask is None:
            return None
        return self.answer(ask, None if ask.row is None else self.predict(ask.row)[0])

    def answer(self, ask: Ask, raw: float | None) -> bytes:
        """Judge and record a request whose score is `raw`; return the decision's bytes."""
        event, person, line = ask.event, ask.person, ask.line
        applicant, id = event["applicant"].encode(), event["id"].encode()
        text = np.frombuffer(applicant + id, np.uint8)
        low, high = request_key(self._key, text, 0, len(applicant), len(applicant), len(id))
        fields: dict[str, Any] = event | {
            "applicant": applicant, "id": id, "key_hi": int(high), "key_lo": int(low),
            "type": EventType[event["type"].upper()],
        }  # fmt: skip
        if line is None:
            fields["product"] = self._products.get(event.get("product", ""), -1)
            fields["channel"] = self._channels.get(event.get("channel", ""), -1)
        else:
            fields |= {"product": line["product"], "channel": line["channel"]}
        if "line" in event:
            named = int(event["line"], 16)
            fields |= {"reference_hi": named >> 64, "reference_lo": named & (1 << 64) - 1}
        result = self._judge(fields, ask, raw)
        if result["chosen"] >= 0:
            self._approve(fields, person, result, event.get("line", ""))
        return orjson.dumps(self._writer.decision_fields(fields, ask.offset, result))

    def _remember(self, event: Event, person: Person) -> None:
        if event["type"] == "activity":
            counterparty = event.get("counterparty", "")
            person["acts"].append(
                [event["at"], event.get("amount_cents", 0), event["kind"], counterparty]
            )
            return
        column = f"{event['source']}_{event['name']}"
        if event["at"] >= person["signals"].get(column, (0.0, 0))[1]:
            person["signals"][column] = [event["value"], event["at"]]

    def _accept(self, event: Event, person: Person) -> None:
        offer = person["offers"][event["decision"]]
        offer["open"] = False
        person["lines"][event["decision"]] = {
            "limit_cents": offer["amount_cents"], "available_cents": offer["amount_cents"],
            "opened_at": event["at"], "product": offer["product"], "channel": offer["channel"],
            "institution": offer["institution"],
        }  # fmt: skip

    def _ask(self, event: Event, offset: int, person: Person) -> Ask:
        line, row = None, None
        if event["type"] == "application":
            given = {name: event[name] for name in _ATTRIBUTES if name in event}
            person["attrs"] |= given | {"region": float(_REGIONS.index(given["region"]))}
            section, product = 0, self._products[event["product"]]
        else:
            line = person["lines"][event["line"]]
            section, product = 1, line["product"]
        plans = [plan.sections[section] for plan in self._plans if plan.product == product]
        scored = any(plan is not None and plan.model >= 0 for plan in plans)
        columns = self._all if scored else self._rules_only
        values = columns.of(person, event, event.get("line", ""))
        if scored:
            row = np.array([[values[name] for name in self._scored]])
        return Ask(event, offset, person, values, line, row)

    def _judge(self, fields: Event, ask: Ask, raw: float | None) -> dict[str, Any]:
        line = ask.line
        request = policies.Request(
            fields["amount_cents"], fields["tenor_days"], fields["at"], preset=set(),
            available=line["available_cents"] if line else -1,
        )  # fmt: skip
        request.features = {self._places[name]: value for name, value in ask.values.items()}
        if raw is not None:
            step = bisect_right(self._steps.raw_from, raw) - 1
            request.raw, request.pd = {0: raw}, {0: self._steps.pd_ppm[step]}
        where = (0, fields["product"], fields["channel"], -1)
        if line is not None:
            where = (1, fields["product"], -1, line["institution"])
        plans, products = self._plans, self._product_plans
        verdicts = policies.judge(products, self._ceilings, plans, where, request)
        order = policies.rank(products[fields["product"]].ranking, verdicts) if verdicts else []
        for place, row in enumerate(order):
            verdicts[row]["rank"] = place
        found = {"verdicts": verdicts, "chosen": -1, "expires_at": 0}
        if order:
            best = order[0]
            expires_at = fields["at"] + verdicts[best]["offer_ms"]
            return found | {"chosen": best, "outcome": Outcome.APPROVED, "reasons": 0,
                            "expires_at": expires_at}  # fmt: skip
        if verdicts:
            furthest = max(verdicts, key=lambda verdict: verdict["outcome"])
            return found | {"outcome": furthest["outcome"], "reasons": furthest["reasons"]}
        return found | {"outcome": Outcome.ELIGIBILITY, "reasons": mask_of(["no_institution"])}

    def _approve(self, fields: Event, person: Person, result: dict[str, Any], line: str) -> None:
        verdict = result["verdicts"][result["chosen"]]
        person["offers"][f"{fields['key_hi']:016x}{fields['key_lo']:016x}"] = {
            "amount_cents": verdict["amount_cents"], "open": True, "line": line,
            "product": fields["product"], "channel": fields["channel"],
            "institution": verdict["institution"], "expires_at": result["expires_at"],
        }  # fmt: skip
        if line:
            person["lines"][line]["available_cents"] -= verdict["amount_cents"]


_ATTRIBUTES = (
    "income_cents", "age_years", "employment_months", "dependents", "existing_debt_cents", "region",
)  # fmt: skip
_REGIONS = ("north", "east", "south", "west", "centre")


def _other_loan(event: Event, loans: dict[str, Any]) -> None:
    """Another lender's loan goes on: payments cover its dues, oldest first."""
    step, amount = event["step"], event.get("principal_cents", 0)
    if step == "disbursed":
        loans[event["loan"]] = {
            "at": event["at"], "principal_cents": amount, "outstanding_cents": amount,
            "paid_cents": 0, "dues": [],
        }  # fmt: skip
        return
    loan = loans[event["loan"]]
    if step == "due":
        insort(loan["dues"], [event["due_at"], amount, 0], key=lambda due: due[0])
    else:
        assert step == "payment"
        loan["paid_cents"] += amount
        loan["outstanding_cents"] -= min(amount, loan["outstanding_cents"])
    left = loan["paid_cents"]
    for due in loan["dues"]:
        left -= due[1]
        due[2] = 0 if left < 0 else due[2] or event["at"]
