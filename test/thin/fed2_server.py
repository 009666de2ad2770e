"""The same as fed2-server.ts on gRPC's C core. Usage: fed2_server.py --port N"""
import json
import sys
import time
from concurrent import futures

import grpc


def events(requests, context):
    for event in requests:
        uid, sent = event.split(b" ")[:2]
        arrival = {"uid": uid.decode(), "type": "a-f", "timeMs": int(sent), "atMs": int(time.time() * 1000)}
        print(json.dumps(arrival), flush=True)
    return b""


handlers = {
    "ServerEventStream": grpc.stream_unary_rpc_method_handler(events),
    "HealthCheck": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01"),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("com.atakmap.FederatedChannel", handlers)])
server.add_insecure_port("0.0.0.0:" + sys.argv[sys.argv.index("--port") + 1])
server.start()
print('{"ready":true}', flush=True)
server.wait_for_termination()
