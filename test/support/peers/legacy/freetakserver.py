"""FreeTAKServer's federation: one thread, a selector, non-blocking TLS, and its habits.

Written from a description of its behaviour. What it does wrong on purpose stands in ../README.md.
"""

import datetime
import selectors
import socket
import ssl
import time
import xml.etree.ElementTree as xml

from codec import OP_NAMES, OPS, decode, encode
from say import contact_line, emit, violation

# One TLS record, less the length before the message.
ONE_READ = 16384 - 4
JUNK = 10000


def shown(ms):
    """Naive local time with a Z behind it: the bug."""
    return datetime.datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stored(iso):
    """The other way round: what a phone said was UTC is taken for local time."""
    return round(datetime.datetime.strptime(iso, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp() * 1000)


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class FreeTakServer:
    def __init__(self, options):
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.links = set()
        self.local = {one["uid"]: one["callsign"] for one in options.local}
        self.remote = {}
        self.listener = None
        self.stalled = False

    # --- connections ---------------------------------------------------------------------------------------------

    def start(self):
        if self.options.role == "server":
            self.listener = socket.create_server((self.options.host, self.options.port))
            self.listener.setblocking(False)
            self.selector.register(self.listener, selectors.EVENT_READ)
            emit("listening", port=self.listener.getsockname()[1])
        emit("ready", own=self.options.name)
        if self.options.role == "client":
            self.dial()

    def dial(self):
        """TLS 1.2, no authority, no name. One failure and the entry is disabled: it never dials again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("DEFAULT@SECLEVEL=1")
        context.load_cert_chain(self.options.cert, self.options.key)
        try:
            raw = socket.create_connection((self.options.host, self.options.port), timeout=10)
            link = context.wrap_socket(raw, server_hostname=self.options.host)
        except OSError as error:
            return emit("disabled", error=str(error))
        self.take(link)

    def accept(self):
        """Asks nobody for a certificate."""
        raw, _ = self.listener.accept()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.options.cert, self.options.key)
        raw.settimeout(10)
        try:
            link = context.wrap_socket(raw, server_side=True)
        except OSError as error:
            return emit("refused", error=str(error))
        self.take(link)

    def take(self, link):
        emit("connected", tls=link.version(), alpn=link.selected_alpn_protocol())
        link.setblocking(False)
        self.links.add(link)
        self.selector.register(link, selectors.EVENT_READ)
        for uid, callsign in self.local.items():
            self.write(encode(contact={"op": OPS["CREATE"], "uid": uid, "callsign": callsign}), [link])

    def drop(self, link, error=""):
        self.selector.unregister(link)
        self.links.discard(link)
        link.close()
        emit("disconnected", error=error)
        if self.options.role == "client":
            emit("disabled", error=error)

    # --- reading -------------------------------------------------------------------------------------------------

    def turn(self, seconds):
        """One look at the selector. What OpenSSL holds already does not wake it."""
        if self.stalled:
            return time.sleep(seconds)
        for key, _ in self.selector.select(seconds):
            if key.fileobj is self.listener:
                self.accept()
            else:
                self.receive(key.fileobj)

    def receive(self, link):
        try:
            head = link.recv(4)
            if head == b"":
                return self.drop(link)
            length = int.from_bytes(head, "big")
            if length > ONE_READ:
                violation("too_long", f"a message of {length} bytes: {ONE_READ} are read")
            body = link.recv(length)
        except ssl.SSLWantReadError:
            return
        except OSError as error:
            return self.drop(link, str(error))
        if link.pending() > 0:
            violation("record_shared", f"{link.pending()} bytes behind a message lie in the same record until more comes")
        try:
            if len(body) != length:
                raise ValueError(f"{len(body)} of {length} bytes")
            message = decode(body)
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            emit("lost", words=str(error))
            try:
                link.recv(JUNK)
            except OSError:
                pass
            return
        self.heard(message)

    def heard(self, message):
        contact, event = message["contact"], message["event"]
        if message["unknown"] or message["provenance"] or message["hops"]:
            emit("unknown", fields=message["unknown"])
        if contact:
            contact_line(contact, OP_NAMES)
            if contact["op"] == OPS["CREATE"]:
                self.remote[contact["uid"]] = contact["callsign"]
            elif contact["op"] == OPS["DELETE"]:
                self.remote.pop(contact["uid"], None)
            else:
                violation("contact_op", f"{OP_NAMES.get(contact['op'])} is ignored")
        if event is None:
            # Everything goes through the converter of events.
            return emit("phantom", words="an event without uid goes to the clients")
        self.convert(event)

    def convert(self, event):
        try:
            detail = xml.fromstring(event["other"])
        except xml.ParseError as error:
            return violation("no_detail", f"{event['uid']}: {error}")
        if detail.tag != "detail":
            return violation("no_detail", f"{event['uid']}: the root is {detail.tag}")
        if event["type"].startswith("a-") and event["how"].startswith("m-") and event["uid"] not in self.remote:
            violation("contact_first", f"a position of {event['uid']}, who was not announced")
        if detail.find("remarks") is None:
            xml.SubElement(detail, "remarks").text = "this CoT came from federation"
        emit(
            "event",
            uid=event["uid"],
            type=event["type"],
            how=event["how"],
            lat=event["lat"],
            lon=event["lon"],
            time=shown(event["sendTime"]),
            stale=shown(event["staleTime"]),
            to=event["ptpCallsigns"],
            detail=xml.tostring(detail, encoding="unicode"),
        )

    # --- orders --------------------------------------------------------------------------------------------------

    def write(self, message, links=None):
        for link in list(links or self.links):
            try:
                link.send(len(message).to_bytes(4, "big") + message)
            except OSError as error:
                self.drop(link, str(error))

    def do_join(self, uid, callsign):
        self.local[uid] = callsign
        self.write(encode(contact={"op": OPS["CREATE"], "uid": uid, "callsign": callsign}))

    def do_leave(self, uid):
        callsign = self.local.pop(uid, "")
        self.write(encode(contact={"op": OPS["DELETE"], "uid": uid, "callsign": callsign}))

    def event_of(self, uid, type="a-f-G-U-C", how="m-g", detail=None, to=(), ageSeconds=0, lifeSeconds=120, **more):
        """What a phone of ours says now, in UTC, as this server passes it on."""
        now = time.time() - ageSeconds
        inner = detail if detail is not None else f'<contact callsign="{self.local.get(uid, uid)}" endpoint="*:-1:stcp"/>'
        return {
            "uid": uid,
            "type": type,
            "how": how,
            "sendTime": stored(utc(now)),
            "startTime": stored(utc(now)),
            "staleTime": stored(utc(now + lifeSeconds)),
            "lat": 50.5,
            "lon": 30.5,
            "hae": 100.0,
            "ce": 5.0,
            "le": 5.0,
            "other": f"<detail>{inner}</detail>",
            "ptpCallsigns": list(to),
            **more,
        }

    def do_send(self, **event):
        if event.get("detail") == "":
            return emit("not_sent", uid=event["uid"], words="a detail without content is not sent")
        unknown = [callsign for callsign in event.get("to", ()) if callsign not in self.remote.values()]
        if unknown:
            return emit("not_sent", uid=event["uid"], words=f"nobody announced {unknown}")
        self.write(encode(event=self.event_of(**event)))

    def do_cut(self, **event):
        """A full send buffer: the rest of a message is lost, and the next follows in its place."""
        message = encode(event=self.event_of(**event))
        for link in list(self.links):
            link.send(len(message).to_bytes(4, "big") + message[: len(message) // 2])

    def do_raw(self, hex):
        for link in list(self.links):
            link.send(bytes.fromhex(hex))

    def do_stall(self):
        self.stalled = True

    def do_resume(self):
        self.stalled = False

    def do_drop(self):
        for link in list(self.links):
            self.drop(link)
