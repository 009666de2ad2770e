"""TAK Server's Federation v1: mutual TLS without ALPN, length and FederatedEvent, a thread for each connection."""

import base64
import socket
import ssl
import threading
import time

from codec import OP_NAMES, OPS, decode, encode
from say import contact_line, emit, violation
from takfiles import Files, bring


class TakServer:
    def __init__(self, options):
        self.options = options
        self.local = {one["uid"]: one["callsign"] for one in options.local}
        self.links = set()
        self.listener = None

    # --- connections ---------------------------------------------------------------------------------------------

    def context(self, side):
        """TLS 1.2 as `<v1Tls>` usually says. The other's certificate is wanted, its name is not looked at."""
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_3 if self.options.tls13 else ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.options.cert, self.options.key)
        context.load_verify_locations(self.options.ca)
        return context

    def start(self):
        if self.options.files_port is not None:
            Files(self.context(ssl.PROTOCOL_TLS_SERVER), self.options.host, self.options.files_port)
        if self.options.role == "server":
            self.listener = socket.create_server((self.options.host, self.options.port))
            emit("listening", port=self.listener.getsockname()[1])
            threading.Thread(target=self.accept, daemon=True).start()
        else:
            threading.Thread(target=self.dial, daemon=True).start()
        emit("ready", own=self.options.name)

    def accept(self):
        context = self.context(ssl.PROTOCOL_TLS_SERVER)
        while True:
            raw, _ = self.listener.accept()
            raw.settimeout(10)
            try:
                link = context.wrap_socket(raw, server_side=True)
            except OSError as error:
                emit("refused", error=str(error))
                continue
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def dial(self):
        context = self.context(ssl.PROTOCOL_TLS_CLIENT)
        while True:
            try:
                raw = socket.create_connection((self.options.host, self.options.port), timeout=10)
                self.serve(context.wrap_socket(raw, server_hostname=self.options.host))
            except OSError as error:
                emit("failed", error=str(error))
            time.sleep(self.options.retry_ms / 1000)

    def serve(self, link):
        link.settimeout(None)
        chain = link._sslobj.get_unverified_chain() or []
        if self.options.role == "server" and len(chain) < 2:
            violation("chain_short", "the CA is missing from the chain: an index beyond the array")
        emit("connected", tls=link.version(), alpn=link.selected_alpn_protocol(), chain=len(chain))
        for uid, callsign in self.local.items():
            self.write(encode(contact={"op": OPS["CREATE"], "uid": uid, "callsign": callsign}), [link])
            self.write(encode(event=self.event_of(uid)), [link])
        self.links.add(link)
        error = ""
        try:
            self.read(link)
        except OSError as broken:
            error = str(broken)
        self.links.discard(link)
        link.close()
        emit("disconnected", error=error)

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, link):
        held = b""
        while chunk := link.recv(65536):
            held += chunk
            # The frame decoder waits for more than a length.
            while len(held) > 4:
                length = int.from_bytes(held[:4], "big")
                if length == 0:
                    violation("empty_frame", "a message of no bytes")
                if len(held) < 4 + length:
                    break
                self.heard(held[4 : 4 + length])
                held = held[4 + length :]

    def heard(self, body):
        try:
            message = decode(body)
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            return violation("malformed", str(error))
        contact, event = message["contact"], message["event"]
        more = {name: message[name] for name in ("groups", "provenance", "hops")}
        if contact:
            if not contact["uid"] and not contact["callsign"]:
                violation("contact_incomplete", "neither uid nor callsign")
            contact_line(contact, OP_NAMES)
        if event:
            for name in ("uid", "type", "how", "sendTime", "staleTime"):
                if not event[name]:
                    violation("event_incomplete", f"no {name}")
            if not event["other"].startswith("<detail"):
                violation("no_detail", event["uid"])
            if event["type"].startswith("t-x-m"):
                violation("mission_change", event["uid"])
            emit("event", **event, **more, ageMs=round(time.time() * 1000 - event["sendTime"]))

    # --- orders --------------------------------------------------------------------------------------------------

    def write(self, message, links=None):
        for link in list(links or self.links):
            try:
                link.sendall(len(message).to_bytes(4, "big") + message)
            except OSError as error:
                emit("write_failed", error=str(error))

    def event_of(self, uid, type="a-f-G-U-C", how="m-g", detail=None, to=(), toUids=(), **more):
        now = round(time.time() * 1000)
        callsign = self.local.get(uid, uid)
        inner = detail if detail is not None else f'<contact callsign="{callsign}" endpoint="*:-1:stcp"/>'
        return {
            "uid": uid,
            "type": type,
            "how": how,
            "sendTime": now,
            "startTime": now,
            "staleTime": now + 120_000,
            "lat": 50.5,
            "lon": 30.5,
            "hae": 100.0,
            "ce": 5.0,
            "le": 5.0,
            "other": f"<detail>{inner}</detail>",
            "ptpUids": list(toUids),
            "ptpCallsigns": list(to),
            **more,
        }

    def do_join(self, uid, callsign):
        self.local[uid] = callsign
        self.write(encode(contact={"op": OPS["CREATE"], "uid": uid, "callsign": callsign}))
        self.write(encode(event=self.event_of(uid)))

    def do_leave(self, uid):
        callsign = self.local.pop(uid, "")
        self.write(encode(contact={"op": OPS["DELETE"], "uid": uid, "callsign": callsign}))

    def do_send(self, groups=(), provenance=(), hops=None, **event):
        self.write(encode(event=self.event_of(**event), groups=groups, provenance=provenance, hops=hops))

    def do_share(self, uid, port, filename, data, to=(), said=None):
        """Brings a file to the federate, then announces it with the address that the federate told."""
        content = base64.b64decode(data)
        context = self.context(ssl.PROTOCOL_TLS_CLIENT)
        hash_, url = bring(context, self.options.host, port, filename, content)
        share = (
            f'<fileshare sha256="{said or hash_}" senderUid="{uid}" name="{filename}" filename="{filename}" '
            f'senderUrl="{url}" sizeInBytes="{len(content)}" senderCallsign="{uid}"/>'
        )
        if url.startswith("https://"):
            self.write(encode(event=self.event_of(f"share-{uid}", type="b-f-t-r", how="h-e", detail=share, to=to)))

    def do_burst(self, uid, count):
        """Many messages in one write."""
        messages = [encode(event=self.event_of(f"{uid}-{n}", type="b-m-p-s-m", how="h-g-i-g-o")) for n in range(count)]
        for link in list(self.links):
            link.sendall(b"".join(len(one).to_bytes(4, "big") + one for one in messages))

    def do_raw(self, hex):
        for link in list(self.links):
            link.sendall(bytes.fromhex(hex))

    def do_drop(self):
        for link in list(self.links):
            link.shutdown(socket.SHUT_RDWR)

    def turn(self, seconds):
        time.sleep(seconds)
