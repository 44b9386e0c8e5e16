"""The calculator of main.go on upstream's library, the PyPI package slim-bindings 3.3.8: a server, and a client that prints the same.

    export SLIM_SECRET='a secret of both, 32 bytes or more'
    python calculator.py
    python calculator.py --name org/demo/alice --of org/demo/calculator 1 2 3

The messages of calculator.proto have nothing but numbers: they are written and read here, so that no generated code is needed.
"""

import argparse
import asyncio
import datetime
import os
import sys

import slim_bindings as sb

SERVICE = "slimgo.example.Calculator"
TIMEOUT = datetime.timedelta(seconds=30)


def encode(*values):
    """A message whose fields are int64, from number 1 on."""
    out = bytearray()
    for i, value in enumerate(values):
        if value == 0:
            continue
        out.append((i + 1) << 3)
        value &= (1 << 64) - 1
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def decode(data, fields=1):
    values, data = [0] * fields, iter(bytes(data))
    for tag in data:
        value = shift = 0
        while (b := next(data)) > 127:
            value, shift = value | (b & 127) << shift, shift + 7
        value |= b << shift
        values[(tag >> 3) - 1] = value - (1 << 64) if value >> 63 else value
    return values if fields > 1 else values[0]


async def each(next):
    """What comes of a stream."""
    while not (m := await next()).is_end():
        if m.is_error():
            raise m[0]
        yield decode(m[0])


class Add(sb.UnaryUnaryHandler):
    async def handle(self, request, context):
        return encode(sum(decode(request, 2)))


class Count(sb.UnaryStreamHandler):
    async def handle(self, request, context, sink):
        last = decode(request)
        if last < 0:
            error = sb.RpcError.Rpc(code=sb.RpcCode.INVALID_ARGUMENT, message=f"nobody counts up to {last}", details=None)
            await sink.send_error_async(error)
            return
        for i in range(1, last + 1):
            await sink.send_async(encode(i))
        await sink.close_async()


class Sum(sb.StreamUnaryHandler):
    async def handle(self, stream, context):
        total = 0
        async for n in each(stream.next_async):
            total += n
        return encode(total)


class Running(sb.StreamStreamHandler):
    async def handle(self, stream, context, sink):
        total = 0
        async for n in each(stream.next_async):
            total += n
            await sink.send_async(encode(total))
        await sink.close_async()


async def serve(app, name):
    server = sb.Server(app, name)
    server.register_unary_unary(SERVICE, "Add", Add())
    server.register_unary_stream(SERVICE, "Count", Count())
    server.register_stream_unary(SERVICE, "Sum", Sum())
    server.register_stream_stream(SERVICE, "Running", Running())
    await server.serve_async()


async def ask(app, server, numbers):
    channel = sb.Channel(app, sb.Name.from_string(server))
    last = await channel.call_unary_async(SERVICE, "Add", encode(len(numbers), 0), TIMEOUT, None)
    count = await channel.call_unary_stream_async(SERVICE, "Count", last, TIMEOUT, None)
    async for n in each(count.next_async):
        print("number", n)
    running = channel.call_stream_stream(SERVICE, "Running", TIMEOUT, None)
    so_far = each(running.recv_async)
    total = channel.call_stream_unary(SERVICE, "Sum", TIMEOUT, None)
    for n in numbers:
        await total.send_async(encode(n))
        await running.send_async(encode(n))
        print("so far", await anext(so_far))
    print("sum", decode(await total.finalize_stream_async()), flush=True)
    await running.close_send_async()
    await channel.close_async(datetime.timedelta(seconds=5))


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--name", default="org/demo/calculator")
    p.add_argument("--of", help="the calculator to ask; none: be one")
    p.add_argument("numbers", nargs="*", type=int)
    args = p.parse_args()
    if len(secret := os.environ.get("SLIM_SECRET", "")) < 32:
        p.error("SLIM_SECRET is to be set to a secret of 32 bytes or more, that of all who talk")
    sb.uniffi_set_event_loop(asyncio.get_running_loop())
    sb.initialize_with_configs(sb.new_runtime_config(), sb.new_tracing_config_with("error", False, False, []), [sb.new_service_config()])
    service = sb.get_global_service()
    node = os.environ.get("SLIM_ADDR", "127.0.0.1:46357")
    config = sb.new_insecure_client_config(node if "://" in node else "http://" + node)
    try:
        conn = await asyncio.wait_for(service.connect_async(config), 10)
    except TimeoutError:  # the library tries for ever
        print(f"no node answers at {node}: start one, or set SLIM_ADDR", file=sys.stderr, flush=True)
        os._exit(1)
    name = sb.Name.from_string(args.name)
    app = service.create_app_with_secret(name, secret)
    await app.subscribe_async(name, conn)
    await (ask(app, args.of, args.numbers) if args.of else serve(app, name))


asyncio.run(main())
os._exit(0)  # threads of the library would keep it
