"""An application on the PyPI package slim-bindings that serves and makes calls.

With --serve it has the service judge.Echo under its name, with the methods of "slim-peer rpc-serve"; Fail fails with the code that its
request says. Commands come as JSON lines on stdin, and each is answered by one "result" line that copies its tag:

    {"call": "unary", "to": ["org/ns/a"], "method": "Unary", "payloads": ["hi"], "timeout": 5, "metadata": {"k": "v"}, "repeat": 200}

"call" is unary, server-stream, client-stream or bidi; with "group" it goes to all of "to" at once. "repeat" calls, "parallel" of them at a
time, share a session, which is closed then. "cancel" gives a call up after so many seconds, and calls Unary. The result has "texts", or, of a
group, texts after names, of the last call, "code" of what has failed, and "failed", how many calls have.
"""

import argparse
import asyncio
import datetime
import json
import os
import sys
import threading

import slim_bindings as sb

SECRET = "judge-shared-secret-0123456789-abcdefghij"
SERVICE = "judge.Echo"
output = threading.Lock()


def emit(event, **fields):
    with output:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def code_of(error):
    for code in sb.RpcCode:
        if code == getattr(error, "code", None):
            return code.name
    return type(error).__name__ + ": " + str(error)


class Unary(sb.UnaryUnaryHandler):
    def __init__(self, answer):
        self.answer = answer

    async def handle(self, request, context):
        return await self.answer(bytes(request), context)


async def echo(request, context):
    return b"echo:" + request


async def empty(request, context):
    return b""


async def who(request, context):
    return json.dumps({"metadata": context.metadata(), "subject": context.peer_subject(), "remaining": str(context.remaining_time())}).encode()


async def fail(request, context):
    raise sb.RpcError.Rpc(code=sb.RpcCode(int(request or b"5")), message="no such thing", details=None)


async def slow(request, context):
    await asyncio.sleep(float(request))
    return b"slept"


class Down(sb.UnaryStreamHandler):
    async def handle(self, request, context, sink):
        for i in range(int(bytes(request))):
            await sink.send_async(f"item {i}".encode())
        await sink.close_async()


class Up(sb.StreamUnaryHandler):
    async def handle(self, stream, context):
        items = size = 0
        while True:
            m = await stream.next_async()
            if m.is_end():
                return f"{items} items {size} bytes".encode()
            if m.is_error():
                emit("call", method="Up", ended="error")
                raise m[0]
            items, size = items + 1, size + len(m[0])


class Bidi(sb.StreamStreamHandler):
    async def handle(self, stream, context, sink):
        while True:
            m = await stream.next_async()
            if m.is_end():
                break
            if m.is_error():
                await sink.send_error_async(m[0])
                return
            await sink.send_async(b"echo:" + bytes(m[0]))
        await sink.close_async()


def serve(app, name):
    server = sb.Server(app, name)
    for method, answer in {"Unary": echo, "Empty": empty, "Who": who, "Fail": fail, "Slow": slow}.items():
        server.register_unary_unary(SERVICE, method, Unary(answer))
    server.register_unary_stream(SERVICE, "Down", Down())
    server.register_stream_unary(SERVICE, "Up", Up())
    server.register_stream_stream(SERVICE, "Bidi", Bidi())
    return server


class Caller:
    def __init__(self, app):
        self.app = app

    def channel(self, command):
        names = [sb.Name.from_string(n) for n in command["to"]]
        return sb.Channel.new_group(self.app, names) if command.get("group") else sb.Channel(self.app, names[0])

    async def call(self, channel, command):
        payloads = [p.encode() for p in command.get("payloads") or [""] * (command["call"] in ("unary", "server-stream"))]
        if command.get("size"):
            payloads = [b"x" * command["size"]]
        timeout = datetime.timedelta(seconds=command.get("timeout", 60))
        args = (SERVICE, command["method"])
        rest = (timeout, command.get("metadata"))
        kind = command["call"]
        if command.get("group"):
            return await self.group(channel, kind, args, payloads, rest)
        if kind == "unary":
            return [await channel.call_unary_async(*args, payloads[0], *rest)]
        if kind == "client-stream":
            writer = channel.call_stream_unary(*args, *rest)
            for p in payloads:
                await writer.send_async(p)
            return [await writer.finalize_stream_async()]
        if kind == "server-stream":
            return await self.read((await channel.call_unary_stream_async(*args, payloads[0], *rest)).next_async)
        stream = channel.call_stream_stream(*args, *rest)
        for p in payloads:
            await stream.send_async(p)
        await stream.close_send_async()
        return await self.read(stream.recv_async)

    async def read(self, next):
        items = []
        while True:
            m = await next()
            if m.is_end():
                return items
            if m.is_error():
                raise m[0]
            items.append(bytes(m[0]))

    async def group(self, channel, kind, args, payloads, rest):
        if kind in ("client-stream", "bidi"):
            stream = (channel.call_multicast_stream_unary if kind == "client-stream" else channel.call_multicast_stream_stream)(*args, *rest)
            for p in payloads:
                await stream.send_async(p)
            await stream.close_send_async()
            next = stream.recv_async
        else:
            start = channel.call_multicast_unary_async if kind == "unary" else channel.call_multicast_unary_stream_async
            next = (await start(*args, payloads[0], *rest)).next_async
        items = []
        while True:
            m = await next()
            if m.is_end():
                return items
            if m.is_error():
                raise m.error
            items.append(str(m.item.context.source).encode() + b" " + bytes(m.item.message))

    async def run(self, command):
        texts, failed, code = [], 0, ""
        channel, places = self.channel(command), asyncio.Semaphore(command.get("parallel", 1))

        async def one():
            nonlocal texts, failed, code
            async with places:
                try:
                    texts = await asyncio.wait_for(self.call(channel, command), command.get("cancel"))
                except asyncio.TimeoutError:
                    failed, code = failed + 1, "CANCELLED"
                except Exception as e:
                    failed, code = failed + 1, code_of(e)

        await asyncio.gather(*(one() for _ in range(command.get("repeat", 1))))
        if command.get("cancel"):
            texts = await self.call(channel, {**command, "method": "Unary", "payloads": ["after"]})
        await channel.close_async(datetime.timedelta(seconds=5))
        texts = [bytes(t).decode("utf-8", "replace") for t in texts]
        if command.get("size"):
            texts = [f"{len(t)} bytes" for t in texts]
        emit("result", tag=command.get("tag"), ok=True, texts=texts, failed=failed, code=code)


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--node")
    p.add_argument("--name")
    p.add_argument("--client")
    p.add_argument("--serve", action="store_true")
    args = p.parse_args()
    loop = asyncio.get_running_loop()
    sb.uniffi_set_event_loop(loop)
    sb.initialize_with_configs(sb.new_runtime_config(), sb.new_tracing_config_with("error", False, False, []), [sb.new_service_config()])
    service = sb.get_global_service()
    config = sb.new_config_from_json(args.client) if args.client else sb.new_insecure_client_config(args.node)
    conn = await service.connect_async(config)
    name = sb.Name.from_string(args.name)
    app = service.create_app_with_secret(name, SECRET)
    await app.subscribe_async(name, conn)
    if args.serve:
        server = serve(app, name)
        serving = asyncio.ensure_future(server.serve_async())
        serving.add_done_callback(lambda f: emit("error", what="serve", error=str(f.exception())) if f.exception() else None)
        await asyncio.sleep(0.2)  # until it is subscribed: nothing says so
    emit("ready", name=args.name, id=app.id(), version=sb.get_version(), pid=os.getpid())
    caller, running = Caller(app), set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.ensure_future(caller.run(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
os._exit(0)
