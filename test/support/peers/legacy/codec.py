"""FederatedEvent as both emulators read and write it: protobuf by hand, from the table of field numbers, nothing else needed."""

import struct

# number: (name, kind) of what is read and written; other fields are passed over, and told by number.
GEO = {
    1: ("sendTime", "int"),
    2: ("startTime", "int"),
    3: ("staleTime", "int"),
    4: ("lat", "double"),
    5: ("lon", "double"),
    6: ("hae", "double"),
    7: ("ce", "double"),
    8: ("le", "double"),
    9: ("uid", "str"),
    10: ("type", "str"),
    11: ("how", "str"),
    12: ("other", "str"),
    13: ("battery", "int"),
    14: ("ploc", "str"),
    15: ("palt", "str"),
    20: ("speed", "double"),
    21: ("course", "double"),
    23: ("ptpUids", "strs"),
    24: ("ptpCallsigns", "strs"),
}
CONTACT = {1: ("op", "int"), 2: ("uid", "str"), 3: ("callsign", "str")}
OPS = {"CREATE": 1, "READ": 2, "UPDATE": 3, "DELETE": 4}
OP_NAMES = {number: name for name, number in OPS.items()}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, kind, content):
    return varint(number << 3 | kind) + content


def block(number, content):
    return field(number, 2, varint(len(content)) + content)


def write(table, values):
    out = b""
    for number, (name, kind) in table.items():
        value = values.get(name)
        if not value:
            continue
        if kind == "int":
            out += field(number, 0, varint(value))
        elif kind == "double":
            out += field(number, 1, struct.pack("<d", value))
        elif kind == "str":
            out += block(number, value.encode())
        else:
            out += b"".join(block(number, one.encode()) for one in value)
    return out


def encode(event=None, contact=None, groups=(), provenance=(), hops=None):
    """A FederatedEvent. `provenance`: ids; `hops`: (max, current). Both are unknown to the first schema."""
    out = b""
    if event is not None:
        out += block(1, write(GEO, event))
    if contact is not None:
        out += block(2, write(CONTACT, contact))
    out += b"".join(block(3, group.encode()) for group in groups)
    out += b"".join(block(4, block(1, one.encode())) for one in provenance)
    if hops is not None:
        out += block(5, b"".join(field(n, 0, varint(value)) for n, value in ((1, hops[0]), (2, hops[1])) if value))
    return out


def fields(data):
    """Yields (number, value): an int, 8 bytes, or the content. Raises ValueError or IndexError on what is no protobuf."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("varint too long")

    while at < len(data):
        tag = number()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, number()
        elif kind in (1, 2, 5):
            length = number() if kind == 2 else 8 if kind == 1 else 4
            if at + length > len(data) or tag >> 3 == 0:
                raise ValueError("field beyond the end")
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def read(table, data):
    found = {name: [] if kind == "strs" else "" if kind == "str" else 0 for name, kind in table.values()}
    unknown = []
    for number, value in fields(data):
        if number not in table:
            unknown.append(number)
            continue
        name, kind = table[number]
        if kind == "int":
            found[name] = value - (1 << 64) if value >> 63 else value
        elif kind == "double":
            found[name] = struct.unpack("<d", value)[0]
        elif kind == "str":
            found[name] = value.decode()
        else:
            found[name].append(value.decode())
    return found, unknown


def decode(data):
    """Raises on what is no FederatedEvent."""
    out = {"event": None, "contact": None, "groups": [], "provenance": [], "hops": None, "unknown": []}
    for number, value in fields(data):
        if number == 1:
            out["event"], out["unknown"] = read(GEO, value)
        elif number == 2:
            out["contact"], _ = read(CONTACT, value)
        elif number == 3:
            out["groups"].append(value.decode())
        elif number == 4:
            out["provenance"].append(next((v.decode() for n, v in fields(value) if n == 1), ""))
        elif number == 5:
            said = dict(fields(value))
            top = said.get(1, 0)
            out["hops"] = {"max": top - (1 << 64) if top >> 63 else top, "current": said.get(2, 0)}
        else:
            out["unknown"].append(number)
    return out
