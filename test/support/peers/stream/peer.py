"""An emulated peer of a CoT stream: a TAK server of some make, or a phone. JSON lines in, JSON lines out.

Needs nothing but Python. It knows nothing of src/. The vocabulary is in ../README.md.
"""

import argparse
import json
import os
import queue
import sys
import threading
import traceback

from lines import emit, violation
from phone import Atak
from servers import SERVERS


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--as", dest="as_", choices=("atak", *SERVERS), required=True)
    parser.add_argument("--role", choices=("server", "client"), required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--uid", default="ANDROID-EMU")
    parser.add_argument("--callsign", default="EMU")
    parser.add_argument("--local", type=json.loads, default=[])
    return parser.parse_args()


def orders(into):
    for line in sys.stdin:
        into.put(json.loads(line))
    os._exit(0)  # the test is gone


def main():
    options = arguments()
    peer = Atak(options) if options.as_ == "atak" else SERVERS[options.as_](options)
    waiting = queue.Queue()
    peer.start()
    threading.Thread(target=orders, args=(waiting,), daemon=True).start()
    while True:
        try:
            peer.turn(0.01)
            while not waiting.empty():
                order = waiting.get()
                what = order.pop("do")
                getattr(peer, f"do_{what}")(**order)
                emit("done", do=what)
        except Exception:
            violation("fault", traceback.format_exc())


main()
