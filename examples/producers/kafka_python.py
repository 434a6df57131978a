"""Publish one application with kafka-python, and wait for its decision.

    python examples/producers/kafka_python.py HOST:PORT [APPLICANT]

kafka-python partitions by murmur2 of the key by itself; the key is the applicant.
"""

import sys
import time
import uuid
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer

WAIT_S_MAX = 30.0


def application(applicant: str) -> dict[str, Any]:
    """Return a request for a credit line; its id is new, since a repeat would only be counted."""
    return {
        "type": "application",
        "id": uuid.uuid4().hex,
        "applicant": applicant,
        "at": time.time_ns() // 1_000_000,
        "product": "cash_line",
        "channel": "app",
        "amount_cents": 300_000,
        "tenor_days": 30,
        "age_years": 35,
        "income_cents": 900_000,
    }


def publish(broker: str, event: dict[str, Any]) -> None:
    """Publish one event and wait until it stands."""
    # An idempotent producer is more than the embedded broker knows; Apache Kafka takes either.
    producer = KafkaProducer(bootstrap_servers=broker, acks="all", enable_idempotence=False)
    key = event["applicant"].encode()
    producer.send("dipper.events", key=key, value=orjson.dumps(event)).get(timeout=WAIT_S_MAX)
    producer.close()


def await_decision(broker: str, event: dict[str, Any]) -> dict[str, Any] | None:
    """Return the decision on a request; None where there is none in time."""
    consumer = KafkaConsumer(
        "dipper.decisions",
        bootstrap_servers=broker,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    end = time.monotonic() + WAIT_S_MAX
    try:
        while time.monotonic() < end:
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    decision: dict[str, Any] = orjson.loads(record.value)
                    if (decision["applicant"], decision["request"]) == (
                        event["applicant"],
                        event["id"],
                    ):
                        return decision
    finally:
        consumer.close()
    return None


def main(broker: str, applicant: str = "p1") -> int:
    """Publish, wait, print; return 1 where no decision came."""
    event = application(applicant)
    publish(broker, event)
    decision = await_decision(broker, event)
    if decision is None:
        print(f"no decision in {WAIT_S_MAX:.0f} s: do `dipper control` and `dipper live` run?")
        return 1
    print(orjson.dumps(decision, option=orjson.OPT_INDENT_2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
