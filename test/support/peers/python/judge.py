"""The rules: what a TAK server or hub chokes on, in what the far end says. Section numbers are the specification's."""

import re
import threading

from say import identity_type, note, violation
from wire import fig


def judge_subscription(method, value, far):
    """7.3: name, type, stable server id and version in every Subscription; hubs have habits of their own."""
    identity = value.identity
    if not identity.name:
        violation("name_empty", f"{method}: identity.name is empty")
    if far == "fedhub":
        return
    if not identity.serverId:
        violation("server_id_empty", f"{method}: identity.serverId is empty")
    if not identity_type(identity).startswith("FEDERATION_TAK"):
        violation("type_unset", f"{method}: identity.type is {identity_type(identity)}: hops count as for a hub")
    if far == "link" and value.version.major <= 0:
        violation("version_zero", f"{method}: version.major is 0: HealthCheck is never completed")


def judge_routed(what, value, own):
    """2.8: what was sent on names its way and keeps count."""
    ids = [entry.federationServerId for entry in value.federateProvenance]
    groups = list(value.federateGroups)
    if not ids:
        violation("no_provenance", f"{what} names no server it has passed")
    if "" in ids:
        violation("provenance_empty", f"{what} has a provenance without id")
    if len(set(ids)) < len(ids):
        violation("provenance_repeated", f"{what} lists a server twice: {ids}")
    if own in ids:
        violation("loop", f"{what} comes back to {own}, which it had passed")
    if len(set(groups)) < len(groups):
        violation("groups_repeated", f"{what} lists a group twice: {groups}")
    if not value.HasField("federateHops"):
        violation("no_hops", f"{what} has no hop count")
        return
    hops = value.federateHops
    if hops.currentHops < 1:
        violation("hops_zero", f"{what} counts {hops.currentHops} hops")
    elif 0 < hops.maxHops < hops.currentHops:
        violation("hops_over", f"{what} made {hops.currentHops} of {hops.maxHops} hops")


def judge_event(value, own):
    """3.1-3.3. An empty FederatedEvent is what hubs say; everybody ignores it."""
    if value.HasField("contact"):
        judge_contact(value.contact)
    if value.HasField("event"):
        judge_geo_event(value.event)
        judge_routed(f"event {value.event.uid}", value, own)
    elif value.HasField("contact"):
        judge_routed("contact", value, own)


def hub_drops(value, own):
    """Why a hub does not pass the message on; None: it does (2.8)."""
    if any(entry.federationServerId == own for entry in value.federateProvenance):
        return "loop"
    counted = value.HasField("federateHops")
    most, made = (value.federateHops.maxHops, value.federateHops.currentHops) if counted else (-1, 2)
    return "hops" if most >= 0 and made + 1 > most else None


def judge_contact(contact):
    if not contact.uid and not contact.callsign:
        violation("contact_incomplete", "a contact with neither uid nor callsign")
    if contact.operation in (fig.INVALID, fig.READ):
        violation("contact_op", f"a contact with operation {contact.operation} is ignored")


FORBIDDEN = {
    "b-f-t-r": ("file_transfer", "files go as ROL"),
    "t-x-d-d": ("disconnect", "a disconnect goes as contact DELETE"),
}


def judge_geo_event(event):
    uid, other = event.uid, event.other
    if not uid or not event.type or not event.coordSource:
        violation("event_incomplete", f'uid "{uid}" type "{event.type}" how "{event.coordSource}"')
    if not re.match(r"\s*<detail[\s/>]", other):
        violation("no_detail", f"{uid}: other is not a detail: {other[:60]}")
    if re.search(r"<track[\s/>]", other) and (event.speed or event.course):
        violation("track_twice", f"{uid}: speed and course are filled and <track> is still in other")
    if re.search(r"<status[^>]*battery=", other) and event.battery:
        violation("status_twice", f"{uid}: battery is filled and still in other")
    if re.search(r"<precisionlocation[\s/>]", other) and event.ploc:
        violation("precision_twice", f"{uid}: ploc is filled and <precisionlocation> is still in other")
    if re.search(r"<marti[\s>].*<dest[\s/>]", other, re.S):
        violation("dest_in_detail", f"{uid}: recipients stand in other, not in ptp")
    if event.type.startswith("t-x-m"):
        violation("mission_change", f"{uid}: {event.type} is never federated")
    if event.type in FORBIDDEN:
        rule, words = FORBIDDEN[event.type]
        violation(rule, f"{uid}: {words}")
    if event.sendTime <= 0 or event.staleTime <= 0:
        violation("no_time", f"{uid}: send or stale time is not set")


def judge_rol(value, own):
    if not re.match(r"\s*\w+\s+\w+\s*\{.*\}\s*;\s*$", value.program, re.S):
        violation("rol_program", f"not a program: {value.program[:60]}")
    judge_routed("ROL", value, own)


def judge_serving(value, servings):
    """2.3: a second SERVING makes a TAK client open a second ServerEventStream."""
    if value.streamUpdate.status == fig.ServerHealth.SERVING and servings > 0:
        violation("second_serving", "SERVING came again: a TAK client opens another ServerEventStream for it")


# What must have been handled on the connection before (2.4, 2.5).
PRECONDITIONS = {
    "takserver": {
        "ServerEventStream": "ClientEventStream",
        "ClientROLStream": "ServerEventStream",
        "groups": "ServerEventStream",
    },
    "fedhub": {"ServerROLStream": "ClientEventStream", "ClientROLStream": "ClientEventStream"},
}
# A predecessor that is handled this soon after lost a race rather than its place.
RACE_S = 1.0


def judge_order(as_, method, opened, missing):
    """Judges the place of `method`, or of the message `groups`; `opened` fills on while a race is waited out."""
    before = PRECONDITIONS[as_].get(method)
    if before is None or before in opened:
        return
    note("order_race", f"{method} was handled before {before}")

    def late():
        if before not in opened:
            violation("order", f"{method} came before {before}")
            missing()

    threading.Timer(RACE_S, late).start()
