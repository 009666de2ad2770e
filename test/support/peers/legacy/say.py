"""JSON lines out."""

import json
import sys
import threading

_lock = threading.Lock()


def emit(at, **more):
    with _lock:
        sys.stdout.write(json.dumps({"at": at, **more}) + "\n")
        sys.stdout.flush()


def violation(rule, words):
    emit("violation", rule=rule, words=words)


def contact_line(contact, ops):
    emit("contact", op=ops.get(contact["op"], "INVALID"), uid=contact["uid"], callsign=contact["callsign"])
