"""A TAK server or hub that is dialled (specification 2.4, 2.5, 2.6)."""

import hashlib
import ssl
import threading
import time
from concurrent import futures

import grpc
from judge import hub_drops, judge_event, judge_order, judge_rol, judge_subscription
from say import (
    emit,
    encode_contact,
    encode_event,
    encode_groups,
    encode_rol,
    say_event,
    say_groups,
    say_rol,
    say_subscription,
    violation,
)
from stream import Outbound
from wire import BIDI, DEAD, OPTIONS, SERVER_STREAMS, fig

THREADS = 200
# How long a cancelled stream may look half-closed.
SETTLE_S = 0.3


class Connection:
    """What the server keeps for one transport."""

    def __init__(self, address, fingerprint):
        self.address = address
        self.fingerprint = fingerprint
        self.opened = []
        self.streams = {}
        self.version = 0
        self.last_health = time.monotonic()
        self.dead = False


class ServerRole(grpc.GenericRpcHandler):
    def __init__(self, settings):
        self._settings = settings
        self._lock = threading.RLock()
        self._connections = {}
        # TAK: which connection holds the federate of a certificate.
        self._federates = {}
        # Hub: every contact it ever heard of, deletions included.
        self._contacts = {}
        self._answer = "SERVING"
        self._reading = threading.Event()
        self._reading.set()
        self._server = None
        self._port = settings.port

    def start(self):
        self._listen()
        threading.Thread(target=self._expire, daemon=True).start()
        emit(at="listening", port=self._port)

    def _listen(self):
        settings = self._settings
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        pair = [(settings.key, settings.cert)]
        credentials = grpc.ssl_server_credentials(pair, settings.ca, require_client_auth=True)
        self._port = self._server.add_secure_port(f"{settings.host}:{self._port}", credentials)
        self._server.start()

    # ---- orders -----------------------------------------------------------------------------------------------------

    def send(self, kind, data):
        method = {"event": "ClientEventStream", "rol": "ClientROLStream", "groups": "ServerFederateGroupsStream"}[kind]
        if not self._each(method, lambda stream: stream.put(data)):
            violation("fault", f"told to send, but no {method} is open")

    def _each(self, method, act):
        """Does it to every open stream of the method; tells how many there were."""
        with self._lock:
            streams = [each.streams[method] for each in self._connections.values() if method in each.streams]
            for stream in streams:
                act(stream)
        return len(streams)

    def stall(self, stalled):
        if stalled:
            self._reading.clear()
        else:
            self._reading.set()

    def health(self, status):
        self._answer = status or "SERVING"

    def end(self, method, code, details):
        if code == 0:
            self._each(method, lambda stream: stream.end())
        else:
            self._each(method, lambda stream: stream.fail(status_of(code), details))

    def goaway(self):
        """2.1.5: the old streams linger, new calls are refused, and the next server listens already."""
        self._server.stop(3600)
        self._listen()

    def drop(self):
        self._server.stop(None)
        self._listen()

    # ---- one call ---------------------------------------------------------------------------------------------------

    def service(self, details):
        """grpc.GenericRpcHandler."""
        method = details.method.rpartition("/")[2]
        if method in BIDI:
            return grpc.stream_stream_rpc_method_handler(lambda it, context: self._called(method, it, context))
        if method in SERVER_STREAMS or method in DEAD:
            return grpc.unary_stream_rpc_method_handler(lambda data, context: self._called(method, data, context))
        return None

    def _called(self, method, request, context):
        """Registers the call with its connection, judges its place, lets the method do its part, drains its way out."""
        connection = self._connection(context)
        out = Outbound()
        ended = threading.Event()
        if method == "HealthCheck":
            self._health_check(connection, request, out)
        else:
            with self._lock:
                connection.opened.append(method)
                connection.streams[method] = out
                emit(at="rpc", method=method, order=len(connection.opened), peer=connection.address)

        def over():
            ended.set()
            out.end()
            if method != "HealthCheck":
                self._over(method, connection, out)

        if not context.add_callback(over):
            over()
        if method != "HealthCheck":
            self._open(method, connection, request, context, out, ended)
        yield from out.responses(context)

    def _open(self, method, connection, request, context, out, ended):
        settings = self._settings
        if "x509_pem_cert_chain" not in context.auth_context():
            violation("chain_short", "the leaf came alone, without its CA")
            code = "INTERNAL" if settings.as_ == "takserver" else "UNKNOWN"
            return out.fail(grpc.StatusCode[code], "" if code == "INTERNAL" else "Client identifiers not available")
        if settings.deny:
            return out.fail(grpc.StatusCode.PERMISSION_DENIED, "CA is not part of the active policy")
        missing = (lambda: out.fail(grpc.StatusCode.UNKNOWN, "")) if settings.as_ == "fedhub" else lambda: None
        judge_order(settings.as_, method, connection.opened, missing)
        if method in DEAD:
            violation("dead_rpc", f"{method} is of no use and is never answered")
            return out.fail(grpc.StatusCode.UNIMPLEMENTED, "") if method == "getIdentity" else None
        if method in BIDI:
            return self._client_stream(method, connection, request, out, ended)
        return self._server_stream(method, connection, fig.Subscription.FromString(request), out)

    def _connection(self, context):
        address = context.peer()
        with self._lock:
            if address not in self._connections:
                auth = context.auth_context()
                pem = auth["x509_pem_cert"][0].decode()
                digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
                fingerprint = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
                self._connections[address] = Connection(address, fingerprint)
                emit(at="connected", peer=address)
                if not auth.get("x509_common_name", [b""])[0]:
                    violation("no_cn", "no CN in the subject")
            return self._connections[address]

    def _over(self, method, connection, out):
        """A call has ended. The transport's end is known by the end of its last stream."""
        with self._lock:
            emit(at="closed", method=method, code=grpc.StatusCode.CANCELLED.value[0], peer=connection.address)
            if connection.streams.get(method) is out:
                del connection.streams[method]
            if method in ("ServerEventStream", "ServerROLStream"):
                self._forget(connection)
            if not connection.streams and self._connections.pop(connection.address, None):
                emit(at="disconnected", peer=connection.address)

    def _forget(self, connection):
        if self._federates.get(connection.fingerprint) is connection:
            del self._federates[connection.fingerprint]

    # ---- HealthCheck ------------------------------------------------------------------------------------------------

    def _health_check(self, connection, request, out):
        connection.last_health = time.monotonic()
        asked = fig.ClientHealth.ServingStatus.Name(fig.ClientHealth.FromString(request).status)
        status = self._answer if "ClientEventStream" in connection.streams else "NOT_CONNECTED"
        emit(at="health", status=asked, answer=status)
        value = fig.ServerHealth.ServingStatus.Value(status)
        out.put(fig.ServerHealth(status=value).SerializeToString())
        if connection.version > 0:
            out.end()  # else the answer is sent and the call never completed (2.4)

    def _expire(self):
        """Streams without HealthCheck die; the federate's record stays until the transport breaks (2.6)."""
        dead_s = self._settings.dead_ms / 1000
        while True:
            time.sleep(max(0.02, dead_s / 3))
            with self._lock:
                for connection in self._connections.values():
                    silent = time.monotonic() - connection.last_health
                    if not connection.dead and "ClientEventStream" in connection.streams and silent > dead_s:
                        self._declare_dead(connection)

    def _declare_dead(self, connection):
        connection.dead = True
        emit(at="dead", peer=connection.address)
        for method in ("ClientEventStream", "ClientROLStream"):
            stream = connection.streams.pop(method, None)
            if stream:
                stream.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Client health check timeout")

    # ---- server to client -------------------------------------------------------------------------------------------

    def _server_stream(self, method, connection, subscription, out):
        settings = self._settings
        say_subscription(method, subscription)
        judge_subscription(method, subscription, settings.far)
        if not subscription.identity.name:
            out.fail(grpc.StatusCode.UNKNOWN, "")
        elif method == "ServerFederateGroupsStream":
            out.put(encode_groups(settings.groups or {} if settings.as_ == "fedhub" else {}, serving=True))
        elif method == "ClientEventStream":
            self._subscribed(connection, subscription, out)
        else:
            for rol in settings.backlog:
                out.put(encode_rol(rol, settings))
            if settings.rol_completes:
                out.end()

    def _subscribed(self, connection, subscription, out):
        settings = self._settings
        connection.version = subscription.version.major
        connection.last_health = time.monotonic()
        if settings.as_ == "takserver":
            return
        with self._lock:
            known = list(self._contacts.values())
        for data in known + [encode_contact(contact, settings) for contact in settings.local_contacts]:
            out.put(data)
        groups = (settings.groups or {}).get("groups", [])
        out.put(fig.FederatedEvent(federateGroups=groups).SerializeToString())

    # ---- client to server -------------------------------------------------------------------------------------------

    def _client_stream(self, method, connection, messages, out, ended):
        if method == "ServerEventStream" and not self._admit(connection, out, ended):
            return
        if self._settings.early:
            out.put(self._own_subscription())
        if method == "ServerEventStream":
            self._snapshot(connection)
        reader = threading.Thread(target=self._read, args=(method, connection, messages, out, ended), daemon=True)
        reader.start()

    def _admit(self, connection, out, ended):
        """TAK: one link per certificate (2.2)."""
        if self._settings.as_ == "fedhub":
            return True
        with self._lock:
            if ended.is_set():  # cancelled before its turn came: nobody would take it off the list again
                return False
            holder = self._federates.setdefault(connection.fingerprint, connection)
        if holder is connection:
            return True
        emit(at="duplicate", peer=connection.address)
        words = f"Disallowing duplicate federate connection {connection.fingerprint}"
        out.fail(grpc.StatusCode.UNKNOWN, words)
        return False

    def _own_subscription(self):
        settings = self._settings
        tak = settings.as_ == "takserver"
        kind = fig.Identity.FEDERATION_TAK_SERVER if tak else fig.Identity.FEDERATION_HUB_SERVER
        identity = fig.Identity(name=settings.name, uid="b" * 32, type=kind, serverId=settings.server_id)
        version = fig.TakServerVersion(major=settings.version) if tak else None
        return fig.Subscription(identity=identity, version=version).SerializeToString()

    def _snapshot(self, connection):
        """TAK: groups, contacts and last positions; lost when there is no ClientEventStream to carry them (2.4)."""
        settings = self._settings
        if settings.as_ == "fedhub":
            return
        with self._lock:
            groups = connection.streams.get("ServerFederateGroupsStream")
            events = connection.streams.get("ClientEventStream")
        if settings.groups and groups:
            groups.put(encode_groups(settings.groups))
        for contact in settings.local_contacts if events else []:
            events.put(encode_contact(contact, settings))
        for event in settings.local_events if events else []:
            events.put(encode_event(event, settings))

    def _read(self, method, connection, messages, out, ended):
        while True:
            self._reading.wait()
            try:
                data = next(messages)
            except StopIteration:
                if not ended.wait(SETTLE_S):
                    violation("half_close", f"{method} was half-closed, which nobody notices: cancel it")
                return
            except Exception:  # cancelled
                return
            self._received(method, connection, data, out)

    def _received(self, method, connection, data, out):
        settings = self._settings
        if method == "ServerEventStream":
            value = fig.FederatedEvent.FromString(data)
            say_event(value, data)
            judge_event(value, settings.own)
            if settings.as_ == "fedhub":
                self._as_hub(value, data)
        elif method == "ServerROLStream":
            value = fig.ROL.FromString(data)
            say_rol(value)
            judge_rol(value, settings.own)
        else:
            say_groups(fig.FederateGroups.FromString(data))
            judge_order(settings.as_, "groups", connection.opened, lambda: out.fail(grpc.StatusCode.INTERNAL, ""))


    def _as_hub(self, value, data):
        """A hub keeps contacts and passes on what may travel further."""
        if value.HasField("contact"):
            with self._lock:
                self._contacts[value.contact.uid] = data
        reason = hub_drops(value, self._settings.own)
        if reason and value.HasField("event"):
            emit(at="dropped", uid=value.event.uid, reason=reason)


def status_of(code):
    return next(status for status in grpc.StatusCode if status.value[0] == code)
