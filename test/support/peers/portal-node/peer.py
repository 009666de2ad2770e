"""A node of a Portal mesh (mod_node), as its source has it. JSON lines in, JSON lines out. Needs nothing but Python; knows nothing of src/.

    peer.py --role server|client --port N --name NAME [--fedkey KEY] [--connections 5] [--tls]

says  {"at": "ready"}, {"at": "listening", "port"}, {"at": "joined", "name", "tls"}, {"at": "asked", "method", "path"},
      {"at": "answer", "tag", "status", "headers", "body"}, {"at": "closed", "early"}
does  {"do": "ask", "tag", "method", "path", "body"?, "ctx"?}   on the first connection
      {"do": "raw", "hex"}                                      bytes as they are, on the first connection
      {"do": "mute"}                                            answers nothing from now on
"""

import argparse
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import threading

METHODS = {"GET": 1, "SET": 2, "CALL": 3, "EVENT": 4, "SUB": 5, "UNSUB": 6, "META": 7}
OUT = threading.Lock()


def emit(**line):
    with OUT:
        print(json.dumps(line), flush=True)


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


class Short(Exception):
    pass


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Short()
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0]

    def text(self):
        return self.take(self.unpack("H")).decode()


class Connection:
    """One TCP connection. A frame is an answer if and only if a question is open on it."""

    def __init__(self, sock, node):
        self.sock, self.node = sock, node
        self.open = []
        self.lock = threading.Lock()
        self.next_id = 1

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def greet(self):
        node = self.node
        key = hashlib.sha256(node.fedkey.encode()).digest() if node.fedkey else bytes(32)
        self.sock.sendall(b"PORTAL02" + key + text(node.name) + struct.pack(">H", 0))
        if self.exactly(8) != b"PORTAL02":
            raise ConnectionError("magic")
        theirs = self.exactly(32)
        if node.fedkey and theirs != key:
            raise ConnectionError("key")
        name = self.exactly(struct.unpack(">H", self.exactly(2))[0]).decode()
        for _ in range(struct.unpack(">H", self.exactly(2))[0]):
            self.exactly(struct.unpack(">H", self.exactly(2))[0])
        return name

    def run(self):
        early = True
        try:
            name = self.greet()
            early = False
            emit(at="joined", name=name, tls=isinstance(self.sock, ssl.SSLSocket))
            while True:
                frame = self.exactly(struct.unpack(">I", self.exactly(4))[0])
                with self.lock:
                    tag = self.open.pop(0) if self.open else None
                if tag is not None:
                    self.answered(tag, frame)
                else:
                    self.serve(frame)
        except (OSError, ConnectionError, ssl.SSLError) as error:
            emit(at="closed", early=early, words=str(error))
        finally:
            self.sock.close()

    def ask(self, tag, method, path, body=b"", ctx=False):
        frame = struct.pack(">QB", self.next_id, METHODS[method]) + text(path) + struct.pack(">H", 1) + text("accept") + text("json")
        frame += struct.pack(">I", len(body)) + body
        if ctx:
            frame += b"\x01" + text("operator") + text("token") + struct.pack(">QQQH", 7, 8, 9, 1)
            frame += struct.pack(">H", 2) + text("blue") + text("red")
        else:
            frame += b"\x00"
        self.next_id += 1
        with self.lock:
            self.open.append(tag)
            self.sock.sendall(struct.pack(">I", len(frame)) + frame)

    def answered(self, tag, frame):
        reader = Reader(frame)
        status = reader.unpack("H")
        headers = {reader.text(): reader.text() for _ in range(reader.unpack("H"))}
        body = reader.take(reader.unpack("I"))
        emit(at="answer", tag=tag, status=status, headers=headers, body=body.decode(errors="replace"), rest=len(frame) - reader.at)

    def serve(self, frame):
        reader = Reader(frame)
        reader.unpack("Q")
        method = reader.unpack("B")
        path = reader.text()
        for _ in range(reader.unpack("H")):
            reader.text(), reader.text()
        reader.take(reader.unpack("I"))
        emit(at="asked", method=method, path=path)
        if self.node.mute:
            return
        known = {"/core/status": b'{"portal":"ok"}', "/iot/door": b"open"}
        body = known.get(path, b"no such path")
        answer = struct.pack(">H", 200 if path in known else 404)
        answer += struct.pack(">H", 1) + text("content-type") + text("application/json") + struct.pack(">I", len(body)) + body
        self.sock.sendall(struct.pack(">I", len(answer)) + answer)


class Node:
    def __init__(self, args):
        self.args, self.name, self.fedkey, self.mute = args, args.name, args.fedkey, False
        self.connections = []

    def wrap(self, sock, server):
        if not self.args.tls:
            return sock
        # As mod_node: whoever is at the other end, it is fine.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        if server:
            context.load_cert_chain(self.args.cert, self.args.key)
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(sock, server_side=server)

    def begin(self, sock, server):
        def run():
            try:
                wrapped = self.wrap(sock, server)
            except OSError as error:
                return emit(at="closed", early=True, words=str(error))
            connection = Connection(wrapped, self)
            self.connections.append(connection)
            connection.run()

        threading.Thread(target=run, daemon=True).start()

    def start(self):
        if self.args.role == "client":
            for _ in range(self.args.connections):
                self.begin(socket.create_connection(("127.0.0.1", self.args.port)), False)
            return emit(at="ready", own=self.name)
        listener = socket.create_server(("127.0.0.1", self.args.port))
        emit(at="listening", port=listener.getsockname()[1])
        emit(at="ready", own=self.name)

        def accept():
            while True:
                self.begin(listener.accept()[0], True)

        threading.Thread(target=accept, daemon=True).start()

    def obey(self, order):
        first = self.connections[0]
        if order["do"] == "ask":
            body = order.get("body", "").encode()
            first.ask(order["tag"], order["method"], order["path"], body, order.get("ctx", False))
        elif order["do"] == "raw":
            first.sock.sendall(bytes.fromhex(order["hex"]))
        elif order["do"] == "mute":
            self.mute = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--as", dest="as_")
    parser.add_argument("--role", choices=("server", "client"), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="factory")
    parser.add_argument("--fedkey", default="")
    parser.add_argument("--connections", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    for name in ("cert", "key", "ca"):
        parser.add_argument("--" + name)
    node = Node(parser.parse_args())
    node.start()
    for line in sys.stdin:
        node.obey(json.loads(line))
    os._exit(0)  # the test is gone


main()
