"""Files between TAK Servers that federate by v1: HTTPS (8444) with the federation certificates, in both roles."""

import email.parser
import email.policy
import hashlib
import http.client
import http.server
import threading
import urllib.parse

from say import emit, violation


class Files:
    """What has been brought, by hash."""

    def __init__(self, context, host, port):
        self.held = {}
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body):
                data = body.encode() if isinstance(body, str) else body
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def asked(self):
                url = urllib.parse.urlsplit(self.path)
                subject = dict(pair for (pair,) in self.connection.getpeercert()["subject"])
                return url.path, dict(urllib.parse.parse_qsl(url.query)), subject["commonName"]

            def url(self, hash_):
                return f"https://{self.headers['Host']}/Marti/sync/content?hash={hash_}"

            def do_GET(self):
                path, query, who = self.asked()
                emit("file", op="query", path=path, hash=query.get("hash"), who=who)
                if query.get("hash") not in files.held:
                    return self.answer(404, "not found")
                if path == "/Marti/sync/missionquery":
                    return self.answer(200, self.url(query["hash"]))
                self.answer(200, files.held[query["hash"]])

            def do_POST(self):
                path, query, who = self.asked()
                length = int(self.headers["Content-Length"])
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.rfile.read(length))
                parts = [part for part in form.iter_parts()]
                if len(parts) != 1 or parts[0].get_param("name", header="content-disposition") != "assetfile":
                    violation("multipart", "not one part that is called assetfile")
                data = parts[0].get_payload(decode=True)
                sha256 = hashlib.sha256(data).hexdigest()
                if sha256 != query["hash"]:
                    violation("hash", f"{sha256} is not {query['hash']}")
                files.held[sha256] = data
                emit("file", op="upload", path=path, hash=sha256, bytes=len(data), filename=query["filename"], who=who)
                self.answer(200, self.url(sha256))

        server = http.server.ThreadingHTTPServer((host, port), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        emit("files", port=server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()


def bring(context, host, port, name, data):
    """As FederateSubscription.sendMissionPackage does it; returns the address that the federate tells."""
    hash_ = hashlib.sha256(data).hexdigest()

    def ask(method, path, body=None, headers=None):
        link = http.client.HTTPSConnection(host, port, context=context, timeout=20)
        link.request(method, path, body=body, headers=headers or {})
        answer = link.getresponse()
        status, text = answer.status, answer.read().decode()
        link.close()
        emit("brought", method=method, status=status, text=text[:300])
        return status, text

    status, text = ask("GET", f"/Marti/sync/missionquery?hash={hash_}")
    if status // 100 != 4:
        return hash_, text if status == 200 else ""
    head = (
        f'--limit\r\nContent-Disposition: form-data; name="assetfile"; filename="{name}"\r\n'
        "Content-Type: application/zip\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    )
    body = head.encode() + data + b"\r\n--limit--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=limit"}
    status, text = ask(
        "POST", f"/Marti/sync/missionupload?hash={hash_}&filename={urllib.parse.quote(name)}", body, kind
    )
    return hash_, text
