"""Schema of the grpcio peer: messages compiled from ../fig.proto, method table, a scanner for unknown fields."""

import pathlib
import tempfile
import types

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from grpc_tools import protoc

FOLDER = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "com.atakmap."


def load():
    """Compiles the schema; returns what a generated module would hold: messages, enums and their values by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "fig.desc")
        if protoc.main(["protoc", f"-I{FOLDER}", "--include_imports", f"--descriptor_set_out={out}", "fig.proto"]):
            raise SystemExit("protoc refused fig.proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    messages = message_factory.GetMessages(files)
    module = types.SimpleNamespace(**{
        name.removeprefix(PACKAGE): kind for name, kind in messages.items() if name.startswith(PACKAGE)
    })
    for enum in module.FederatedEvent.DESCRIPTOR.file.enum_types_by_name.values():
        setattr(module, enum.name, EnumTypeWrapper(enum))
        for value in enum.values:
            setattr(module, value.name, value.number)
    return module


fig = load()

# How each method is shaped on our side: a client-stream method as bidi, so that its early answer is seen and sent;
# a unary one as a server stream, so that an answer can stay uncompleted.
BIDI = {"ServerEventStream", "ClientFederateGroupsStream", "ServerROLStream", "BinaryMessageStream"}
SERVER_STREAMS = {"ClientEventStream", "ServerFederateGroupsStream", "ClientROLStream", "HealthCheck"}
# Declared by TAK, of no use, never answered.
DEAD = {
    "BinaryMessageStream",
    "SendOneBlob",
    "SendOneEvent",
    "getIdentity",
    "GetAuthTokenByX509",
    "Getx509Identity",
}

MAX_MESSAGE_BYTES = 268435456
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]


def path(method):
    return f"/com.atakmap.FederatedChannel/{method}"


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def length_delimited(number, content):
    """One field that the schema cannot say."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def raw_fields(data):
    """Yields (number, content) in wire order; content is empty for scalars."""
    at = 0

    def number():
        nonlocal at
        value, scale = 0, 1
        while True:
            byte = data[at]
            at += 1
            value += (byte % 128) * scale
            scale *= 128
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        kind = tag % 8
        if kind == 0:
            number()
            yield tag // 8, b""
            continue
        length = number() if kind == 2 else {1: 8, 5: 4}[kind]
        yield tag // 8, data[at : at + length] if kind == 2 else b""
        at += length


def unknown_fields(data):
    """Field numbers beyond the schema: `99` of the FederatedEvent itself, `event.99` of its GeoEvent."""
    found = []
    for number, content in raw_fields(data):
        if number > 6:
            found.append(str(number))
        if number == 1:
            found += [f"event.{inner}" for inner, _ in raw_fields(content) if inner > 30]
    return found
