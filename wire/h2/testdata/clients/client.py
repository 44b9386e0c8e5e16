"""Small exchanges over one stream with grpcio's defaults, or an idle stream with keepalive.

client.py ADDRESS METHOD COUNT: COUNT exchanges.
client.py ADDRESS METHOD idle: one exchange, two seconds with twenty keepalive PINGs, one exchange.
"""

import queue
import sys
import time

import grpc

address, method, what = sys.argv[1:]
options = []
if what == "idle":
    options = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 600000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
with grpc.insecure_channel(address, options=options) as channel:
    out = queue.SimpleQueue()
    call = channel.stream_stream(method)(iter(out.get, None))
    for i in range(2 if what == "idle" else int(what)):
        if what == "idle" and i > 0:
            time.sleep(2)
        out.put(b"ping")
        if (got := next(call)) != b"ping":
            sys.exit(f"exchange {i}: {got!r}")
    out.put(None)
    if rest := list(call):
        sys.exit(f"at the end: {rest!r}")
print("done")
