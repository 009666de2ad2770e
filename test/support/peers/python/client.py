"""A TAK server or hub that dials (specification 2.3, 2.5)."""

import threading

import grpc
from judge import judge_event, judge_rol, judge_serving, judge_subscription
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
from wire import OPTIONS, fig, path

CONNECT_S = 10


class ClientRole:
    def __init__(self, settings):
        self._settings = settings
        self._link = None

    def start(self):
        threading.Thread(target=self._dial, daemon=True).start()

    def _dial(self):
        self._link = Link(self._settings, self._ended)
        self._link.connect()

    def _ended(self, retry):
        if retry:
            timer = threading.Timer(self._settings.retry_ms / 1000, self._dial)
            timer.daemon = True
            timer.start()

    def send(self, kind, data):
        self._link.send(kind, data)

    def stall(self, stalled):
        self._link.stall(stalled)

    def health(self, status):
        self._link.mute(status)

    def end(self, method, code, details):
        self._link.cancel(method)

    def goaway(self):
        self._link.down("told to leave")

    def drop(self):
        """This stack does not give its socket away: the channel is closed instead."""
        self._link.down("told to drop")


class Link:
    """One connection of the client, from dialling to its end."""

    def __init__(self, settings, ended):
        self._settings = settings
        self._ended = ended
        self._lock = threading.RLock()
        self._calls = {}
        self._outs = {}
        self._order = 0
        self._servings = 0
        self._healthy = False
        self._status = "SERVING"
        self._muted = False
        self._state = "up"
        self._timer = None
        self._reading = threading.Event()
        self._reading.set()
        # 2.1: TAK does not compare the name with the certificate; this stack can only be told which to expect.
        options = OPTIONS + [
            ("grpc.ssl_target_name_override", settings.authority),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            # The stack measures bandwidth with PINGs, as grpc-java does; an emulated server would hold it against us.
            ("grpc.http2.bdp_probe", 1 if settings.far == "link" else 0),
        ]
        credentials = grpc.ssl_channel_credentials(settings.ca, settings.key, settings.cert)
        self._channel = grpc.secure_channel(f"{settings.host}:{settings.port}", credentials, options)

    def connect(self):
        try:
            grpc.channel_ready_future(self._channel).result(timeout=CONNECT_S)
        except grpc.FutureTimeoutError:
            return self.down("not connected")
        emit(at="connected", peer=f"{self._settings.host}:{self._settings.port}")
        # What comes in meanwhile is acted upon when all streams are open: the first SERVING may overtake the last of them.
        with self._lock:
            if self._settings.as_ == "takserver":
                self._start_tak()
            else:
                self._start_hub()
        self._later()

    def _start_tak(self):
        self._open_duplex("ClientFederateGroupsStream")
        self._open_reader("ServerFederateGroupsStream", self._subscription(version=0))
        self._open_reader("ClientEventStream", self._subscription())
        self._open_duplex("ServerROLStream")

    def _start_hub(self):
        self._open_reader("ClientEventStream", self._subscription(version=0))
        hub_server = fig.Identity.FEDERATION_HUB_SERVER
        self._open_reader("ServerFederateGroupsStream", self._subscription(version=0, kind=hub_server))
        self._open_duplex("ClientFederateGroupsStream")
        self._open_duplex("ServerROLStream")

    def _subscription(self, version=None, kind=None):
        """TAK names its version on ClientEventStream, a hub never does and leaves its type out on the groups stream."""
        settings = self._settings
        tak = settings.as_ == "takserver"
        if kind is None:
            kind = fig.Identity.FEDERATION_TAK_CLIENT if tak else fig.Identity.FEDERATION_HUB_CLIENT
        if version is None:
            version = settings.version if tak else 0
        identity = fig.Identity(name=settings.name, uid="d" * 32, type=kind, serverId=settings.server_id)
        told = fig.TakServerVersion(major=version) if version else None
        return fig.Subscription(identity=identity, version=told).SerializeToString()

    # ---- streams ----------------------------------------------------------------------------------------------------

    def _open_duplex(self, method):
        out = Outbound()
        with self._lock:
            if self._state == "down":
                return out
            self._outs[method] = out
            self._opened(method, self._channel.stream_stream(path(method))(out.requests()), self._answered)
        return out

    def _open_reader(self, method, request):
        with self._lock:
            if self._state != "down":
                self._opened(method, self._channel.unary_stream(path(method))(request), self._received)

    def _opened(self, method, call, act):
        self._calls[method] = call
        self._order += 1
        emit(at="rpc", method=method, order=self._order)
        threading.Thread(target=self._read, args=(method, call, act), daemon=True).start()

    def _read(self, method, call, act):
        try:
            while True:
                self._reading.wait()
                act(method, next(call))
        except (StopIteration, grpc.RpcError):
            pass
        self._closed(method, call)

    def _closed(self, method, call):
        """Any end of any stream ends the link (2.3)."""
        if self._state == "down":
            return
        code = call.code()
        emit(at="closed", method=method, code=code.value[0], details=call.details())
        if code == grpc.StatusCode.OK:
            violation("stream_ended", f"{method} was completed; it must stay open")
        self.down(f"{method} ended")

    def _answered(self, method, data):
        """The early Subscription: a hub finds double links by its serverId (2.5)."""
        subscription = fig.Subscription.FromString(data)
        say_subscription(method, subscription, early=self._calls[method].is_active())
        judge_subscription(method, subscription, self._settings.far)
        server_id = subscription.identity.serverId
        if self._settings.as_ == "fedhub" and server_id in self._settings.linked:
            emit(at="duplicate", serverId=server_id)
            self.down("linked already", retry=False)

    def _received(self, method, data):
        own = self._settings.own
        if method == "ClientEventStream":
            value = fig.FederatedEvent.FromString(data)
            say_event(value, data)
            judge_event(value, own)
        elif method == "ClientROLStream":
            value = fig.ROL.FromString(data)
            say_rol(value)
            judge_rol(value, own)
        else:
            value = fig.FederateGroups.FromString(data)
            say_groups(value)
            judge_serving(value, self._servings)
            if value.streamUpdate.status == fig.ServerHealth.SERVING:
                self._serving()

    def _serving(self):
        """Every SERVING opens a ServerEventStream, as the real one does."""
        settings = self._settings
        hub = settings.as_ == "fedhub"
        self._servings += 1
        events = self._open_duplex("ServerEventStream")
        if hub:
            events.put(fig.FederatedEvent().SerializeToString())
        if settings.groups:
            self.send("groups", encode_groups(settings.groups, serving=hub))
        for contact in settings.local_contacts:
            events.put(encode_contact(contact, settings))
        for event in settings.local_events:
            events.put(encode_event(event, settings))

    # ---- HealthCheck ------------------------------------------------------------------------------------------------

    def _later(self):
        with self._lock:
            if self._state == "down":
                return
            self._timer = threading.Timer(self._settings.health_ms / 1000, self._health_check)
            self._timer.daemon = True
            self._timer.start()

    def _health_check(self):
        if self._muted or self._state == "down":
            return
        status = fig.ClientHealth.ServingStatus.Value(self._status)
        request = fig.ClientHealth(status=status).SerializeToString()
        try:
            call = self._channel.unary_stream(path("HealthCheck"))(request)
        except ValueError:  # the channel was closed meanwhile
            return
        threading.Thread(target=self._await_health, args=(call,), daemon=True).start()
        self._later()

    def _await_health(self, call):
        answer = "UNKNOWN"
        try:
            for data in call:
                answer = fig.ServerHealth.ServingStatus.Name(fig.ServerHealth.FromString(data).status)
                self._health_answered(answer)
        except grpc.RpcError:
            pass
        if self._state == "down":
            return
        emit(at="health", answer=answer, code=call.code().value[0])
        if call.code() != grpc.StatusCode.OK:
            self.down(f"HealthCheck failed: {call.details()}")

    def _health_answered(self, answer):
        if answer != "SERVING":
            return self.down(f"health is {answer}")
        with self._lock:
            if self._healthy:
                return
            self._healthy = True
        self._open_reader("ClientROLStream", self._subscription())
        for rol in self._settings.backlog:
            self.send("rol", encode_rol(rol, self._settings))

    # ---- orders -----------------------------------------------------------------------------------------------------

    def send(self, kind, data):
        method = {"event": "ServerEventStream", "rol": "ServerROLStream", "groups": "ClientFederateGroupsStream"}[kind]
        if method not in self._outs or self._state == "down":
            return violation("fault", f"told to send, but no {method} is open")
        self._outs[method].put(data)

    def stall(self, stalled):
        if stalled:
            self._reading.clear()
        else:
            self._reading.set()

    def mute(self, status):
        self._muted = status is None
        self._status = status or "SERVING"

    def cancel(self, method):
        if method in self._calls:
            self._calls[method].cancel()

    def down(self, reason, retry=True):
        with self._lock:
            if self._state == "down":
                return
            self._state = "down"
            if self._timer:
                self._timer.cancel()
        self._reading.set()
        emit(at="disconnected", reason=reason)
        self._channel.close()
        for out in self._outs.values():
            out.end()
        self._ended(retry)
