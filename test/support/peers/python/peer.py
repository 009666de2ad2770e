"""An emulated TAK server or Federation Hub on grpcio: a child process that takes JSON lines and says JSON lines.

The vocabulary is in ../README.md. It knows nothing of src/ and shares only fig.proto with the grpc-js peer.
"""

import argparse
import json
import os
import secrets
import signal
import sys
import threading

from client import ClientRole
from say import emit, encode_contact, encode_event, encode_groups, encode_rol, violation
from server import ServerRole
from wire import fig


def read(name):
    with open(name, "rb") as file:
        return file.read()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--as", dest="as_", choices=("takserver", "fedhub"), default="takserver")
    parser.add_argument("--role", choices=("server", "client"), default="server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    for name in ("--cert", "--key", "--ca"):
        parser.add_argument(name, type=read, required=True)
    parser.add_argument("--authority", default="localhost")
    parser.add_argument("--name", default="emulated")
    parser.add_argument("--server-id", default="emulated-server-id")
    parser.add_argument("--far", choices=("link", "takserver", "fedhub"), default="link")
    parser.add_argument("--health-ms", type=int, default=3000)
    parser.add_argument("--dead-ms", type=int, default=15000)
    parser.add_argument("--retry-ms", type=int, default=30000)
    parser.add_argument("--version", type=int, default=5)
    parser.add_argument("--max-hops", type=int, default=-1)
    parser.add_argument("--groups", type=json.loads)
    parser.add_argument("--local", type=json.loads, default={})
    parser.add_argument("--backlog", type=json.loads, default=[])
    for name in ("--rol-completes", "--late", "--deny"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--linked", default="")
    settings = parser.parse_args()
    settings.early = not settings.late
    settings.linked = [name for name in settings.linked.split(",") if name]
    settings.local_contacts = settings.local.get("contacts", [])
    settings.local_events = settings.local.get("events", [])
    nonce = f"-{secrets.token_hex(4)}" if settings.as_ == "fedhub" else ""
    settings.own = settings.server_id + nonce
    return settings


def main():
    settings = arguments()
    role = ClientRole(settings) if settings.role == "client" else ServerRole(settings)
    orders = {
        "send": lambda order: role.send("event", encode_event(order["event"], settings)),
        "contact": lambda order: role.send("event", encode_contact(order["contact"], settings)),
        "groups": lambda order: role.send("groups", encode_groups(order["groups"])),
        "rol": lambda order: role.send("rol", encode_rol(order["rol"], settings)),
        "empty": lambda order: role.send("event", fig.FederatedEvent().SerializeToString()),
        "serving": lambda order: role.send("groups", encode_groups({}, serving=True)),
        "health": lambda order: role.health(order.get("status")),
        "end": lambda order: role.end(order["method"], order.get("code", 0), order.get("details", "")),
        "stall": lambda order: role.stall(True),
        "resume": lambda order: role.stall(False),
        "goaway": lambda order: role.goaway(),
        "drop": lambda order: role.drop(),
        "vanish": lambda order: os.kill(os.getpid(), signal.SIGKILL),
        "stop": lambda order: os._exit(0),
    }
    threading.excepthook = lambda thrown: violation("fault", repr(thrown.exc_value))
    role.start()
    emit(at="ready", **{"as": settings.as_}, role=settings.role, own=settings.own)
    for line in sys.stdin:
        order = json.loads(line)
        orders[order["do"]](order)
    os._exit(0)  # the test is gone


main()
