"""A server and a client of MCP on the PyPI packages mcp and slim-mcp, for tests and for reading.

slim-mcp 0.2.3 asks for slim-bindings 1.4, whose apps do not stay connected to nodes of 3.4.6, upstream's own included. With 3.3.8 it works
but for the function that opens sessions, which is written anew here: what is on the wire is slim-mcp's.

    python peer.py serve --node http://127.0.0.1:46357 --name org/ns/tools
    python peer.py call  --node http://127.0.0.1:46357 --name org/ns/py --server org/ns/tools
    python peer.py call  ... --tool echo --arguments '{"Text": "hello"}'

The server has the tools of the Go test: echo, large, count, wait, and the resource file:///readme. The client goes through what one can
ask of such a server, or calls one tool. Both print a JSON object a line for each thing that happens.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import logging
import os

import anyio
import mcp.types as types
import slim_bindings
from mcp import ClientSession
from mcp.server.lowlevel import Server
from slim_mcp import client_create_mcp_streams, create_local_app, run_mcp_server

SECRET = os.environ.get("SLIM_SECRET", "a secret of all, 32 bytes or more")
README = "file:///readme"


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def text(content):
    return [types.TextContent(type="text", text=content)]


def tool(name, **properties):
    schema = {"type": "object", "properties": {k: {"type": v} for k, v in properties.items()}}
    return types.Tool(name=name, description=name, inputSchema=schema)


def make_server():
    server = Server("python-tools")

    @server.list_tools()
    async def list_tools():
        return [tool("echo", Text="string"), tool("large", N="integer"), tool("count", N="integer"), tool("wait")]

    @server.call_tool()
    async def call_tool(name, arguments):
        context = server.request_context
        if name == "echo":
            return text("you said " + arguments["Text"])
        if name == "large":
            return text("x" * arguments["N"])
        if name == "count":
            for i in range(arguments["N"]):
                await context.session.send_progress_notification(context.meta.progressToken, i + 1, arguments["N"])
            await context.session.send_tool_list_changed()
            return text("counted")
        if name == "wait":
            emit("begun")
            try:
                await anyio.sleep_forever()
            finally:
                emit("over")
        raise ValueError("no tool " + name)

    @server.list_resources()
    async def list_resources():
        return [types.Resource(uri=README, name="readme")]

    @server.read_resource()
    async def read_resource(uri):
        return "read me"

    return server


async def app_of(args):
    config = slim_bindings.new_insecure_client_config(args.node)
    app, connection = await create_local_app(slim_bindings.Name(*args.name.split("/")), config, shared_secret=SECRET)
    return app, connection


async def serve(args):
    app, _ = await app_of(args)
    emit("ready")
    await run_mcp_server(app, make_server())


@contextlib.asynccontextmanager
async def open_session(app, target):
    """create_slim_session of slim-mcp, with the fields that the configuration has since slim-bindings 2."""
    config = slim_bindings.SessionConfig(
        session_type=slim_bindings.SessionType.POINT_TO_POINT,
        mls_settings=None,
        max_retries=2,
        interval=datetime.timedelta(seconds=15),
        metadata={},
    )
    opened = await app.create_session_async(config, target)
    await opened.completion.wait_async()
    try:
        yield opened.session
    finally:
        await (await app.delete_session_async(opened.session)).wait_async()


async def call(args):
    app, connection = await app_of(args)
    target = slim_bindings.Name(*args.server.split("/"))
    await app.set_route_async(target, connection)

    async def heard(message):
        if isinstance(message, types.ServerNotification):
            emit("notification", method=message.root.method)
        elif isinstance(message, Exception):
            emit("broken", error=str(message))

    async with open_session(app, target) as slim_session, client_create_mcp_streams(slim_session) as (read, write):
        async with ClientSession(read, write, message_handler=heard) as session:
            started = await session.initialize()
            emit("connected", server=started.serverInfo.name)
            if args.tool:
                emit("calling")
                result = await session.call_tool(args.tool, json.loads(args.arguments))
                emit("result", text=result.content[0].text, failed=result.isError)
            else:
                await everything(session)
    emit("done")


async def everything(session):
    emit("tools", names=sorted(t.name for t in (await session.list_tools()).tools))
    result = await session.call_tool("echo", {"Text": "grüezi"})
    emit("result", text=result.content[0].text, failed=result.isError)
    resources = await session.list_resources()
    content = await session.read_resource(resources.resources[0].uri)
    emit("resource", uri=str(resources.resources[0].uri), text=content.contents[0].text)

    async def progress(done, total, message):
        emit("progress", done=done, total=total)

    result = await session.call_tool("count", {"N": 3}, progress_callback=progress)
    emit("result", text=result.content[0].text, failed=result.isError)
    result = await session.call_tool("large", {"N": 1 << 20})
    emit("large", size=len(result.content[0].text), right=set(result.content[0].text) == {"x"})

    number = session._request_id  # that of the next call: the package has no method to give one up
    begun = anyio.Event()  # what is cancelled before it has begun is not called at all
    async with anyio.create_task_group() as tasks:

        async def goes_on(done, total, message):
            begun.set()

        async def waits():
            try:
                result = await session.call_tool("wait", {}, progress_callback=goes_on)  # servers need not answer, but the one in Go does
                emit("cancelled", ok=result.isError)
            except Exception as error:
                emit("cancelled", ok=True, error=str(error))

        tasks.start_soon(waits)
        await begun.wait()
        params = types.CancelledNotificationParams(requestId=number, reason="no more")
        await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
    result = await session.call_tool("echo", {"Text": "the end"})
    emit("result", text=result.content[0].text, failed=result.isError)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["serve", "call"])
    parser.add_argument("--node", default="http://127.0.0.1:46357")
    parser.add_argument("--name", required=True)
    parser.add_argument("--server", default="org/ns/tools")
    parser.add_argument("--tool")
    parser.add_argument("--arguments", default="{}")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(args) if args.role == "serve" else call(args))


if __name__ == "__main__":
    main()
