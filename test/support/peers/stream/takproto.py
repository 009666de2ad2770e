"""TAK protocol 1 by hand: `0xBF`, a varint length, a TakMessage; an event as XML and as TakMessage."""

import os
import struct
import sys
import time
import calendar
import xml.etree.ElementTree as xml

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "legacy"))
from codec import block, field, fields, varint  # noqa: E402  (wire types of protobuf; no knowledge of a schema)

HEAD = {1: "type", 2: "access", 3: "qos", 4: "opex", 5: "uid", 9: "how", 16: "caveat", 17: "releaseableTo"}
TIMES = {6: "time", 7: "start", 8: "stale"}
POINT = {10: "lat", 11: "lon", 12: "hae", 13: "ce", 14: "le"}
# number in Detail: element, {number: attribute} of strings; track's are doubles, the battery a number.
TYPED = {
    2: ("contact", {1: "endpoint", 2: "callsign"}),
    3: ("__group", {1: "name", 2: "role"}),
    4: ("precisionlocation", {1: "geopointsrc", 2: "altsrc"}),
    6: ("takv", {1: "device", 2: "platform", 3: "os", 4: "version"}),
}
STATUS, TRACK = 5, 7


def ms(iso):
    whole, _, rest = iso.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1000 + int((rest + "000")[:3])


def iso(number):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(number // 1000)) + f".{number % 1000:03d}Z"


def encode(text):
    """XML to a TakMessage."""
    root = xml.fromstring(text)
    point = root.find("point")
    out = b""
    for number, name in HEAD.items():
        if root.get(name):
            out += block(number, root.get(name).encode())
    for number, name in TIMES.items():
        out += field(number, 0, varint(ms(root.get(name))))
    for number, name in POINT.items():
        out += field(number, 1, struct.pack("<d", float(point.get(name))))
    detail = root.find("detail")
    return block(2, out + block(15, detail_bytes(detail if detail is not None else [])))


def detail_bytes(detail):
    typed, rest = b"", ""
    for element in detail:
        number = next((n for n, (tag, names) in TYPED.items() if tag == element.tag and set(element.attrib) <= set(names.values())), None)
        if number:
            names = TYPED[number][1]
            typed += block(number, b"".join(block(n, element.get(name, "").encode()) for n, name in names.items()))
        elif element.tag == "track" and set(element.attrib) == {"speed", "course"}:
            typed += block(TRACK, b"".join(field(n, 1, struct.pack("<d", float(element.get(a)))) for n, a in ((1, "speed"), (2, "course"))))
        else:
            rest += xml.tostring(element, encoding="unicode")
    return block(1, rest.encode()) + typed


def decode(message):
    """A TakMessage to XML; None when it holds no event."""
    event = next((value for number, value in fields(message) if number == 2), None)
    if event is None:
        return None
    root = xml.Element("event", version="2.0")
    point = xml.SubElement(root, "point")
    detail = xml.SubElement(root, "detail")
    for name in POINT.values():
        point.set(name, "0.0")
    for number, value in fields(event):
        if number in HEAD:
            root.set(HEAD[number], value.decode())
        elif number in TIMES:
            root.set(TIMES[number], iso(value))
        elif number in POINT:
            point.set(POINT[number], repr(struct.unpack("<d", value)[0]))
        elif number == 15:
            decode_detail(value, detail)
    return xml.tostring(root, encoding="unicode")


def decode_detail(data, detail):
    for number, value in fields(data):
        if number == 1:
            detail.extend(xml.fromstring(f"<detail>{value.decode()}</detail>"))
        elif number in TYPED:
            tag, names = TYPED[number]
            xml.SubElement(detail, tag, {names[n]: v.decode() for n, v in fields(value)})
        elif number == STATUS:
            xml.SubElement(detail, "status", {"battery": str(v) for _, v in fields(value)})
        elif number == TRACK:
            xml.SubElement(detail, "track", {{1: "speed", 2: "course"}[n]: repr(struct.unpack("<d", v)[0]) for n, v in fields(value)})


def framed(message):
    return b"\xbf" + varint(len(message)) + message


def cut(buffer):
    """The first frame's message and what follows, or None. Raises ValueError where no frame begins."""
    if not buffer:
        return None
    if buffer[0] != 0xBF:
        raise ValueError(f"a frame begins with {buffer[0]:#x}")
    length = shift = 0
    for at in range(1, len(buffer)):
        length |= (buffer[at] & 127) << shift
        shift += 7
        if buffer[at] < 128:
            break
    else:
        return None
    end = at + 1 + length
    return (bytes(buffer[at + 1 : end]), buffer[end:]) if len(buffer) >= end else None
