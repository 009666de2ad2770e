"""An emulated peer that speaks Federation v1: FreeTAKServer, or a TAK Server of old. JSON lines in, JSON lines out.

Needs nothing but Python. It knows nothing of src/. The vocabulary is in ../README.md.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time
import traceback

from freetakserver import FreeTakServer
from say import emit, violation
from takserver import TakServer


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--as", dest="as_", choices=("freetakserver", "takserver1"), required=True)
    parser.add_argument("--role", choices=("server", "client"), required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--name", default="legacy")
    parser.add_argument("--local", type=json.loads, default=[])
    parser.add_argument("--tz", default="UTC0")
    parser.add_argument("--files-port", type=int)
    parser.add_argument("--tls13", action="store_true")
    parser.add_argument("--retry-ms", type=int, default=30000)
    return parser.parse_args()


def orders(into):
    for line in sys.stdin:
        into.put(json.loads(line))
    os._exit(0)  # the test is gone


def main():
    options = arguments()
    os.environ["TZ"] = options.tz
    time.tzset()
    peer = FreeTakServer(options) if options.as_ == "freetakserver" else TakServer(options)
    waiting = queue.Queue()
    peer.start()
    threading.Thread(target=orders, args=(waiting,), daemon=True).start()
    while True:
        try:
            peer.turn(0.01)
            while not waiting.empty():
                order = waiting.get()
                what = order.pop("do")
                if what == "stop":
                    return
                getattr(peer, f"do_{what}")(**order)
                emit("done", do=what)
        except Exception:
            violation("fault", traceback.format_exc())


main()
