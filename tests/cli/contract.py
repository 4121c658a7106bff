"""Fields of the contract, by object, and how an answer is taken from stdout."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.stage import Ran

FIELDS: dict[str, set[str]] = {
    "status": set("me office daemon peers unread queue free_bytes encrypted_at_rest presence cursor".split())
    | {"already_running", "warnings"},
    "peer": set(
        "account device name fingerprint room connected address presence status_message trust".split()
    )
    | {"last_seen"},
    "message": set("id room room_name kind author author_name device seq written_at received_at text".split())
    | set("reply_to thread edited deleted mine mentions_me reactions mentions files ack state".split())
    | set("progress delivered_to read_by held_by flags".split()),
    "page": {"room", "messages", "notices", "gaps", "coming", "has_more", "cursor"},
    "notice": {"id", "type", "at", "by", "who", "detail", "before", "act"},
    "gap": {"device", "from", "to", "holders", "earlier"},
    "room": set("id name topic kind peer membership members unread role history retention epoch".split()),
    "member": {"account", "name", "role", "devices"},
    "ack": {"by_time", "acked", "missing"},
    "progress": {"delivered", "read", "of"},
    "transfer": set("id name size files direction peer room state bytes_done rate_bps path sources".split())
    | {"have", "error"},
    "presence": {"state", "message", "until", "hidden_from"},
    "queue": set("id room to held_by state at since attempts preview".split()),
    "inbox": {"unread", "requests", "files", "acks"},
    "trust": {"account", "name", "trust", "fingerprint", "safety_number", "devices"},
    "person": {"account", "device", "name"},
}
"""Fields of the contract, by object."""

CHANGED = {"id": "ab" * 32, "target": "cd" * 32, "room": "c0" * 32, "state": "delivered"}
SENT = {"id": "ab" * 32, "room": "c0" * 32, "state": "queued"}


def told(ran: Ran) -> dict[str, Any]:
    """The one JSON object on stdout."""
    (line,) = ran.out.splitlines()
    assert ran.out.isascii()
    found = json.loads(line)
    assert found["schema"] == 1
    assert isinstance(found, dict)
    return found
