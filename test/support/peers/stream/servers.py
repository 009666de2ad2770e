"""TAK servers as a client of theirs meets them: how each cuts what it reads, whom it knows, and to whom it passes on.

Written from a description of their behaviour. What they do wrong on purpose stands in ../README.md.
"""

import re
import selectors
import socket
import ssl
import xml.etree.ElementTree as xml

import takproto
from lines import Event, emit, made, told, violation

READ = 65536
ROOM = "All Chat Rooms"


class Link:
    """One connection of a client."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.speaks = "xml"
        # uid: callsign of whom it is taken for.
        self.known = {}
        self.state = {}


class Server:
    """Reads whatever a client says whole, binds a connection to its first contact, routes by callsign and uid."""

    def __init__(self, options):
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.links = {}
        self.local = {one["uid"]: one["callsign"] for one in options.local}
        self.stalled = False

    # --- connections ---------------------------------------------------------------------------------------------

    def start(self):
        self.listener = socket.create_server((self.options.host, self.options.port))
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        emit("listening", port=self.listener.getsockname()[1])
        emit("ready", own=self.options.as_)

    def accept(self):
        raw, _ = self.listener.accept()
        raw.settimeout(20)
        if not self.options.plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.options.cert, self.options.key)
            context.load_verify_locations(self.options.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                raw = context.wrap_socket(raw, server_side=True)
            except OSError as error:
                return emit("refused", words=str(error))
        raw.setblocking(False)
        link = self.links[raw] = Link(raw)
        self.selector.register(raw, selectors.EVENT_READ)
        emit("connected")
        self.welcome(link)

    def welcome(self, link):
        pass

    def drop(self, link, words=""):
        if self.links.pop(link.sock, None):
            self.selector.unregister(link.sock)
            link.sock.close()
            emit("disconnected", words=words, knew=sorted(link.known))
            self.left(link)

    def left(self, link):
        pass

    def turn(self, seconds):
        for key, _ in self.selector.select(seconds):
            if key.fileobj is self.listener:
                self.accept()
            else:
                self.receive(self.links[key.fileobj])

    def receive(self, link):
        """Every recv() gives at most one TLS record."""
        while link.sock in self.links:
            try:
                chunk = link.sock.recv(READ)
            except (ssl.SSLWantReadError, BlockingIOError):
                return
            except OSError as error:
                return self.drop(link, str(error))
            if chunk == b"":
                return self.drop(link, "left")
            self.read(link, chunk)

    def read(self, link, chunk):
        raise NotImplementedError

    def write(self, link, text):
        link.sock.setblocking(True)
        try:
            link.sock.sendall(text.encode())
        except OSError as error:
            self.drop(link, str(error))
        else:
            link.sock.setblocking(False)

    # --- events --------------------------------------------------------------------------------------------------

    def heard(self, link, text):
        try:
            event = Event(text)
        except xml.ParseError as error:
            return self.unreadable(link, text, error)
        if event.type.startswith("t-x-c-t"):
            return self.pinged(link, text)
        self.identify(link, event)
        told(event, text, to=sorted(self.locals_for(event)), knows=sorted(link.known))
        self.route(event, text, link)

    def unreadable(self, link, text, error):
        emit("lost", words=f"{error}: {text[:200]}")

    def pinged(self, link, _):
        emit("pinged")
        self.write(link, made("takPong", "t-x-c-t-r", "", how="h-g-i-g-o"))

    def identify(self, link, event):
        if not link.known and event.callsign:
            self.bind(link, event)

    def bind(self, link, event):
        link.known[event.uid] = event.callsign
        emit("bound", uid=event.uid, callsign=event.callsign)

    def is_for(self, event, uid, callsign):
        return any(to_uid == uid or to_callsign == callsign for to_uid, to_callsign in event.dests)

    def locals_for(self, event):
        """Users of this server, of whom no connection is made, whom it would reach."""
        return [uid for uid, callsign in self.local.items() if not event.dests or self.is_for(event, uid, callsign)]

    def links_for(self, event):
        if not event.dests:
            return list(self.links.values())
        return [
            link
            for link in self.links.values()
            if any(self.is_for(event, uid, callsign) for uid, callsign in link.known.items())
        ]

    def route(self, event, text, source=None):
        """Whom the connections are known as that it went to."""
        targets = [link for link in self.links_for(event) if link is not source]
        for link in targets:
            self.write(link, self.passed_on(text))
        return [uid for link in targets for uid in list(link.known)[:1]]

    def passed_on(self, text):
        return text

    # --- orders --------------------------------------------------------------------------------------------------

    def do_say(self, xml):
        """A user of this server says it."""
        event = Event(xml)
        to = self.route(event, xml)
        emit("routed", uid=event.uid, links=len(to), to=sorted(to))

    def do_drop(self):
        for link in list(self.links.values()):
            self.drop(link, "dropped")


class OpenTakServer(Server):
    """Cuts each read at `</event>` and throws the tail away. Knows the first contact. Sends pings back. Tells who left."""

    def read(self, link, chunk):
        *whole, tail = re.split(r"(?<=</event>)|(?<=</auth>)", chunk.decode(errors="replace"))
        if tail.strip():
            emit("lost", words=f"an unfinished event of {len(tail)} characters: {tail[:80]}")
        for text in whole:
            start = text.find("<event")
            if start >= 0:
                self.heard(link, text[start:])

    def pinged(self, link, text):
        emit("pinged")
        self.write(link, text)

    def left(self, link):
        for uid in link.known:
            text = made(f"left-{uid}", "t-x-d-d", f'<link relation="p-p" uid="{uid}" type="a-f-G-U-C"/>', how="h-g-i-g-o")
            self.route(Event(text), text)


class TakServer(Server):
    """Reads a stream of XML. Keeps the first contact of a connection. Takes the addresses away from what it passes on."""

    def read(self, link, chunk):
        link.buffer += chunk
        *whole, link.buffer = re.split(rb"(?<=</event>)", link.buffer)
        for text in whole:
            self.heard(link, text[text.find(b"<event") :].decode())

    def passed_on(self, text):
        return re.sub(r"<marti>.*?</marti>|<marti/>", "", text, flags=re.DOTALL)


class Goatak(Server):
    """Offers TAK protocol 1. An XML event over 2 KiB ends the connection. A stray zero behind every frame. Knows all contacts."""

    LIMIT = 2048

    def welcome(self, link):
        self.write(link, made("goatak-offer", "t-x-takp-v", '<TakControl><TakProtocolSupport version="1"/></TakControl>'))

    def read(self, link, chunk):
        link.buffer += chunk
        while link.sock in self.links and (self.read_tak if link.speaks == "tak" else self.read_xml)(link):
            pass

    def read_xml(self, link):
        end = link.buffer.find(b"</event>")
        if max(end, len(link.buffer) if end < 0 else 0) > self.LIMIT:
            violation("too_long", f"an XML event over {self.LIMIT} bytes")
            self.drop(link, "too long")
            return False
        if end < 0:
            return False
        text, link.buffer = link.buffer[: end + 8].decode(), link.buffer[end + 8 :]
        text = text[text.find("<event") :]
        if 'type="t-x-takp-q"' in text:
            self.write(link, made("goatak-offer", "t-x-takp-r", '<TakControl><TakResponse status="true"/></TakControl>'))
            link.speaks = "tak"
            emit("negotiated")
        else:
            self.heard(link, text)
        return True

    def read_tak(self, link):
        try:
            found = takproto.cut(link.buffer)
            if not found:
                return False
            message, link.buffer = found
            text = takproto.decode(message)
        except (ValueError, IndexError, UnicodeDecodeError, xml.ParseError) as error:
            violation("bad_frame", str(error))
            self.drop(link, "bad frame")
            return False
        if text:
            self.heard(link, text)
        return True

    def write(self, link, text):
        if link.speaks == "xml":
            return super().write(link, text)
        link.sock.setblocking(True)
        try:
            link.sock.sendall(takproto.framed(takproto.encode(text)) + b"\0")
            link.sock.setblocking(False)
        except OSError as error:
            self.drop(link, str(error))

    def identify(self, link, event):
        if event.callsign and event.type.startswith("a-") and event.uid not in link.known:
            self.bind(link, event)


class Taky(Server):
    """A pull parser over the whole stream. Knows who says what device he has. Chat goes by the chat's id, else by callsign."""

    def welcome(self, link):
        link.state = {"parser": xml.XMLPullParser(["end"])}
        link.state["parser"].feed("<root>")

    def read(self, link, chunk):
        link.buffer = re.sub(rb"<\?xml.*?\?>", b"", link.buffer + chunk, flags=re.DOTALL)
        whole = link.buffer
        # A declaration that is not whole yet waits.
        held = max(whole.rfind(b"<?"), len(whole) - 1 if whole.endswith(b"<") else -1)
        ready, link.buffer = (whole, b"") if held < 0 else (whole[:held], whole[held:])
        try:
            link.state["parser"].feed(ready)
            for _, element in link.state["parser"].read_events():
                if element.tag == "event":
                    self.taken(link, element)
        except xml.ParseError as error:
            violation("bad_xml", f"the parser never recovers: {error}")

    def taken(self, link, element):
        text = xml.tostring(element, encoding="unicode")
        track = element.find("detail/track")
        units = [element.find(f"detail/{tag}") is not None for tag in ("takv", "contact", "__group")]
        try:
            if all(units) and track is not None:
                float(track.get("course")), float(track.get("speed"))
        except (TypeError, ValueError) as error:
            return emit("lost", words=f"a track that is no number: {error}")
        self.heard(link, text)
        element.clear()

    def identify(self, link, event):
        known = all(event.find(tag) is not None for tag in ("takv", "contact", "__group"))
        if not link.known and known and event.type.startswith("a"):
            self.bind(link, event)

    def is_for(self, event, uid, callsign):
        if event.type == "b-t-f" and event.chat_id:
            return event.chat_id == uid
        return any(to_callsign == callsign for _, to_callsign in event.dests)


class FreeTakServer(Server):
    """The CoT service: the first read is the client; each read must be whole events, else the client has left."""

    def receive(self, link):
        """Until the client is known, one record; then all that comes within a millisecond of each other is one read."""
        chunks = []
        link.sock.settimeout(0.001)
        try:
            while chunks[-1:] != [b""] and not (chunks and not link.known):
                chunks.append(link.sock.recv(READ))
        except (TimeoutError, ssl.SSLWantReadError):
            pass
        except OSError as error:
            return self.drop(link, str(error))
        link.sock.setblocking(False)
        if any(chunks):
            self.read(link, b"".join(chunks))
        if chunks[-1:] == [b""]:
            self.drop(link, "left")

    def read(self, link, chunk):
        if not link.known:
            link.buffer += chunk
            if b"</event>" not in link.buffer:
                return
            chunk, link.buffer = link.buffer, b""
        # From the first declaration to the last: greedy, over line ends.
        text = re.sub(r"(?s)<\?xml(.*)\?>", "", chunk.decode(errors="replace"))
        try:
            events = xml.fromstring(f"<multiEvent>{text}</multiEvent>").findall("event")
        except xml.ParseError as error:
            violation("bad_read", f"a read is not whole: {error}")
            return self.drop(link, "taken for a disconnect")
        whole = chunk.count(b"</event>")
        if len(events) != whole:
            emit("lost", words=f"{whole - len(events)} of {whole} events in one read")
        first = not link.known
        for event in events[:1] if first else events:
            self.heard(link, xml.tostring(event, encoding="unicode").replace("\n", ""))
        if first and len(events) > 1:
            emit("lost", words=f"{len(events) - 1} events in the read that made the client known")

    def identify(self, link, event):
        if not link.known:
            self.bind(link, event)


SERVERS = {
    "opentakserver": OpenTakServer,
    "goatak": Goatak,
    "taky": Taky,
    "fts-cot": FreeTakServer,
    "tak-cot": TakServer,
}
