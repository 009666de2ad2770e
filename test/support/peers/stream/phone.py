"""ATAK as a client of a TAK server, on a clock that stands still until the test moves it (order `tick`)."""

import socket
import ssl
import time

import takproto
from lines import Event, emit, made, told, violation

BUFFER = 65536
PING_AFTER, PING_EVERY, DEAD_AFTER, REDIAL_AFTER, ANSWER_WITHIN = 15.0, 4.5, 25.0, 15.0, 60.0
STEP = 0.5


class Atak:
    def __init__(self, options):
        self.options = options
        self.now = 0.0
        self.sock = None
        self.redial_at = None
        self.stalled = False

    def start(self):
        emit("ready", own=self.options.uid)
        self.dial()

    # --- connection ----------------------------------------------------------------------------------------------

    def dial(self):
        self.redial_at = None
        try:
            sock = socket.create_connection((self.options.host, self.options.port), timeout=20)
            if not self.options.plain:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.load_cert_chain(self.options.cert, self.options.key)
                context.load_verify_locations(self.options.ca)
                sock = context.wrap_socket(sock)
        except OSError as error:
            return self.later(str(error))
        sock.settimeout(0.01)
        self.sock, self.buffer, self.speaks = sock, b"", "xml"
        self.heard_at, self.pinged_at, self.asked_at = self.now, None, None
        self.mute = False
        emit("connected")
        self.announce()

    def later(self, words):
        if self.sock:
            self.sock.close()
        self.sock, self.redial_at = None, self.now + REDIAL_AFTER
        emit("disconnected", words=words, at_second=self.now)

    def turn(self, _):
        if not self.sock or self.stalled:
            return time.sleep(0.01)
        try:
            chunk = self.sock.recv(8192)
        except (TimeoutError, ssl.SSLWantReadError):
            return
        except OSError as error:
            return self.later(str(error))
        if chunk == b"":
            return self.later("the server closed")
        self.heard_at, self.pinged_at = self.now, None
        self.buffer += chunk
        self.cut()

    # --- reading -------------------------------------------------------------------------------------------------

    def cut(self):
        try:
            while self.cut_tak() if self.speaks == "tak" else self.cut_xml():
                pass
        except ValueError as error:
            violation("bad_frame", str(error))
            return self.later("bad frame")
        if len(self.buffer) > BUFFER:
            violation("too_long", f"more than {BUFFER} bytes without an end: thrown away")
            self.buffer = b""

    def cut_xml(self):
        end = self.buffer.find(b"</event>")
        if end < 0 or end > BUFFER:
            return False
        text, self.buffer = self.buffer[: end + 8].decode(), self.buffer[end + 8 :]
        self.take(text[text.find("<event") :])
        return True

    def cut_tak(self):
        found = takproto.cut(self.buffer)
        if not found:
            return False
        message, self.buffer = found
        text = takproto.decode(message)
        if text:
            self.take(text)
        return True

    def take(self, text):
        event = Event(text)
        if event.type == "t-x-takp-v":
            self.asked_at, self.mute = self.now, True
            self.put(made(event.uid, "t-x-takp-q", '<TakControl><TakRequest version="1"/></TakControl>'))
        elif event.type == "t-x-takp-r":
            self.asked_at, self.mute, self.speaks = None, False, "tak"
            emit("negotiated")
        elif event.type == "t-x-c-t-r":
            emit("ponged", at_second=self.now)
        else:
            told(event, text)

    # --- saying --------------------------------------------------------------------------------------------------

    def put(self, text):
        data = takproto.framed(takproto.encode(text)) if self.speaks == "tak" else text.encode()
        try:
            self.sock.settimeout(20)
            self.sock.sendall(data)
            self.sock.settimeout(0.01)
        except OSError as error:
            self.later(str(error))

    def announce(self):
        detail = (
            '<takv os="34" version="5.5.0" device="EMULATED" platform="ATAK-CIV"/>'
            f'<contact endpoint="*:-1:stcp" callsign="{self.options.callsign}"/><uid Droid="{self.options.callsign}"/>'
            '<__group role="Team Member" name="Cyan"/><track course="12.5" speed="1.5"/>'
        )
        self.put(made(self.options.uid, "a-f-G-U-C", detail, life=300))

    def do_announce(self):
        self.announce()

    def do_say(self, xml):
        if self.mute or not self.sock:
            return emit("not_said", words="waits for the answer of the server" if self.sock else "not connected")
        self.put(xml)

    def do_tick(self, seconds):
        """Moves the clock; what falls due is done."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            if self.sock:
                self.tend()
            elif self.redial_at is not None and self.now >= self.redial_at:
                self.dial()

    def tend(self):
        silent = self.now - self.heard_at
        if silent >= DEAD_AFTER:
            return self.later("silent for 25 s")
        if self.asked_at is not None and self.now - self.asked_at >= ANSWER_WITHIN:
            return self.later("the request was not answered")
        due = silent >= PING_AFTER if self.pinged_at is None else self.now - self.pinged_at >= PING_EVERY
        if due and not self.mute:
            self.pinged_at = self.now
            emit("pings", at_second=self.now)
            self.put(made(f"{self.options.uid}-ping", "t-x-c-t", "", life=10))

    def do_stall(self):
        self.stalled = True

    def do_resume(self):
        self.stalled = False
