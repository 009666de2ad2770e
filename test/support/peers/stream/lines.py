"""JSON lines out, and events in them."""

import json
import sys
import threading
import time
import xml.etree.ElementTree as xml

_lock = threading.Lock()


def emit(at, **more):
    with _lock:
        sys.stdout.write(json.dumps({"at": at, **more}) + "\n")
        sys.stdout.flush()


def violation(rule, words):
    emit("violation", rule=rule, words=words)


def utc(ahead=0):
    at = time.time() + ahead
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


def made(uid, type_, detail, how="m-g", life=20):
    """An event of the peer's own."""
    return (
        f'<event version="2.0" uid="{uid}" type="{type_}" how="{how}" time="{utc()}" start="{utc()}" stale="{utc(life)}">'
        f'<point lat="50.5" lon="30.5" hae="100.0" ce="5.0" le="5.0"/><detail>{detail}</detail></event>'
    )


class Event:
    """What a server looks at. Raises ParseError on what is no XML."""

    def __init__(self, text):
        self.root = xml.fromstring(text)
        self.uid = self.root.get("uid", "")
        self.type = self.root.get("type", "")
        self.detail = self.root.find("detail")

    def find(self, path):
        return None if self.detail is None else self.detail.find(path)

    @property
    def callsign(self):
        contact = self.find("contact")
        return "" if contact is None else contact.get("callsign", "")

    @property
    def dests(self):
        """(uid, callsign) of every addressee."""
        found = [] if self.detail is None else self.detail.findall("marti/dest")
        return [(dest.get("uid", ""), dest.get("callsign", "")) for dest in found]

    @property
    def chat_id(self):
        chat = self.find("__chat")
        return "" if chat is None else chat.get("id", "")


def told(event, text, **more):
    emit("event", uid=event.uid, type=event.type, xml=text, **more)
