"""The peer's two tongues: JSON lines for the test that drives it, protobuf for the link it judges."""

import base64
import hashlib
import json
import sys
import threading
import time

from wire import fig, length_delimited, unknown_fields

_lock = threading.Lock()


def emit(**line):
    with _lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def violation(rule, words):
    """Something a real peer would choke on."""
    emit(at="violation", rule=rule, words=words)


def note(rule, words):
    """Something a real peer survives but an operator would regret."""
    emit(at="note", rule=rule, words=words)


# ---- JSON to protobuf -----------------------------------------------------------------------------------------------


def stamp_envelope(message, given, settings):
    """Stamps as the real ones do: a TAK server only speaks for itself, a hub for a server one hop behind it."""
    hub = settings.as_ == "fedhub"
    own = {"id": settings.own, "name": settings.name}
    origin = {"id": "origin-tak", "name": "origin"}
    message.federateGroups.extend(given.get("groups", []))
    for entry in given.get("provenance", [origin, own] if hub else [own]):
        message.federateProvenance.add(federationServerId=entry["id"], federationServerName=entry["name"])
    hops = given.get("hops", {"max": settings.max_hops, "current": 2 if hub else 1})
    message.federateHops.maxHops = hops["max"]
    message.federateHops.currentHops = hops["current"]
    return message


NOT_GEO = {"groups", "provenance", "hops", "how", "other", "otherBytes", "timeMs", "staleMs", "contact", "unknown"}


def geo_event(given):
    """A GeoEvent with whole-second times, as every TAK server prints them."""
    extra = {key: value for key, value in given.items() if key not in NOT_GEO}
    geo = fig.GeoEvent(**{"type": "a-f-G-U-C", "ce": 999999, "le": 999999, **extra})
    now = given.get("timeMs", int(time.time() * 1000)) // 1000 * 1000
    geo.sendTime = geo.startTime = now
    geo.staleTime = given.get("staleMs", now + 300_000) // 1000 * 1000
    geo.coordSource = given.get("how", "m-g")
    geo.other = pad(given.get("other", f'<detail><contact callsign="{geo.uid}"/></detail>'), given.get("otherBytes", 0))
    return geo


def pad(other, size):
    if size == 0:
        return other
    head = other.replace("</detail>", "")
    fill = size - len(head) - len("<remarks></remarks></detail>")
    return f"{head}<remarks>{'x' * fill}</remarks></detail>"


def encode_event(given, settings):
    inner = geo_event(given).SerializeToString()
    rest = stamp_envelope(fig.FederatedEvent(), given, settings)
    if "contact" in given:
        fill_contact(rest.contact, given["contact"])
    if not given.get("unknown"):
        return length_delimited(1, inner) + rest.SerializeToString()
    inner += length_delimited(98, b"inner future")
    return length_delimited(1, inner) + rest.SerializeToString() + length_delimited(99, b"outer future")


def fill_contact(contact, given):
    contact.operation = fig.CRUD.Value(given.get("op", "CREATE"))
    contact.uid = given["uid"]
    contact.callsign = given.get("callsign", "")


def encode_contact(given, settings):
    message = stamp_envelope(fig.FederatedEvent(), given, settings)
    fill_contact(message.contact, given)
    return message.SerializeToString()


def encode_rol(given, settings):
    message = stamp_envelope(fig.ROL(program=given["program"]), given, settings)
    for part in given.get("payload", []):
        described = part.get("description", "tak.server.cot.CotEventContainer")
        data = base64.b64decode(part["base64"]) if "base64" in part else part["text"].encode()
        message.payload.add(type=fig.OTHER, data=data, description=described)
    return message.SerializeToString()


def encode_groups(given, serving=False):
    message = fig.FederateGroups(federateGroups=given.get("groups", []))
    if serving or given.get("serving"):
        message.streamUpdate.status = fig.ServerHealth.SERVING
    for part in given.get("nested", []):
        nested = message.nestedGroups.add(federateGroups=part["groups"])
        nested.federateProvenance.add(federationServerId=part["from"], federationServerName=part["from"])
        nested.federateHops.maxHops = -1
        nested.federateHops.currentHops = part.get("hops", 1)
    return message.SerializeToString()


# ---- protobuf to JSON -----------------------------------------------------------------------------------------------

LONGEST_SHOWN = 4000


def routed(message):
    return {
        "groups": list(message.federateGroups),
        "provenance": [
            {"id": entry.federationServerId, "name": entry.federationServerName} for entry in message.federateProvenance
        ],
        "hops": {"max": message.federateHops.maxHops, "current": message.federateHops.currentHops}
        if message.HasField("federateHops")
        else None,
        "groupHops": [
            [limit.groupName, limit.maxHops, limit.currentHops] for limit in message.federateGroupHopLimits.limits
        ]
        if message.federateGroupHopLimits.useFederateGroupHopLimits
        else None,
    }


def say_event(value, data):
    """One or two lines: an event, a contact, or `empty`."""
    if value.HasField("contact"):
        contact = value.contact
        operation = fig.CRUD.Name(contact.operation)
        emit(at="contact", op=operation, uid=contact.uid, callsign=contact.callsign, **routed(value))
    if value.HasField("event"):
        emit(at="event", **geo_fields(value.event), unknown=unknown_fields(data), **routed(value))
    if not value.HasField("contact") and not value.HasField("event"):
        emit(at="empty", **routed(value))


def geo_fields(event):
    fields = {}
    for field in event.DESCRIPTOR.fields:
        if field.message_type is None:
            value = getattr(event, field.name)
            fields[field.name] = list(value) if field.label == field.LABEL_REPEATED else value
    fields["how"] = fields.pop("coordSource")
    other = event.other.encode()
    fields["other"] = event.other if len(event.other) <= LONGEST_SHOWN else ""
    fields["otherBytes"] = len(other)
    fields["otherSha256"] = hashlib.sha256(other).hexdigest()
    return fields


def say_groups(value):
    status = fig.ServerHealth.ServingStatus.Name(value.streamUpdate.status) if value.HasField("streamUpdate") else None
    emit(at="groups", status=status, nested=[routed(part) for part in value.nestedGroups], **routed(value))


def say_rol(value):
    payload = [
        {
            "text": "" if len(part.data) > LONGEST_SHOWN else part.data.decode("utf8", "replace"),
            "bytes": len(part.data),
            "sha256": hashlib.sha256(part.data).hexdigest(),
            "description": part.description,
        }
        for part in value.payload
    ]
    emit(at="rol", program=value.program, payload=payload, **routed(value))


def say_subscription(method, value, **more):
    identity = value.identity
    who = {
        "name": identity.name,
        "uid": identity.uid,
        "description": identity.description,
        "type": identity_type(identity),
        "serverId": identity.serverId,
    }
    emit(at="subscription", method=method, identity=who, filter=value.filter, version=value.version.major, **more)


def identity_type(identity):
    return fig.Identity.ConnectionType.Name(identity.type)
