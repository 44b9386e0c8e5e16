"""An A2A agent, or a client of one, on slima2a: the other side of interop_test.go.

With --serve it is an agent of both versions that does what the text of a message says, as the agent of that test does. Else it takes
commands as JSON lines on stdin, and answers each with a line: {"version": "1.0", "do": "send", "text": "hi"}.
"""

import argparse
import asyncio
import json
import os
import sys

import httpx
import slim_bindings
from a2a.helpers import get_message_text, get_text_parts, new_message, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import BasePushNotificationSender, InMemoryPushNotificationConfigStore, InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from slima2a import setup_slim_client
from slima2a.client_transport import SRPCTransport, slimrpc_channel_factory
from slima2a.compat.v3_0.client_transport import SRPCCompatTransport
from slima2a.compat.v3_0.handler import SRPCCompatHandler
from slima2a.handler import SRPCHandler
from slima2a.types.v0.a2a_pb2_slimrpc import add_A2AServiceServicer_to_server as add_v0
from slima2a.types.v1.a2a_pb2_slimrpc import add_A2AServiceServicer_to_server as add_v1


def emit(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Agent(AgentExecutor):
    async def execute(self, context, queue):
        word, _, rest = get_message_text(context.message).partition(" ")
        if word not in ("count", "work"):
            reply = new_message([new_text_part("you said"), *context.message.parts], context_id=context.context_id, role=pb.Role.ROLE_AGENT)
            await queue.enqueue_event(reply)
            return
        task = new_task_from_user_message(context.message)
        await queue.enqueue_event(task)
        updates = TaskUpdater(queue, task.id, task.context_id)
        await updates.start_work()
        while word == "work":
            await asyncio.sleep(0.02)
            await updates.start_work()
        for i in range(int(rest)):
            await updates.add_artifact([new_text_part(str(i + 1))], artifact_id="numbers", append=i > 0)
        await updates.complete()

    async def cancel(self, context, queue):
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


async def accept_all(url):
    return True


async def serve(app, name, conn, url):
    card = pb.AgentCard(
        name="Counter",
        description="Counts",
        version="7",
        supported_interfaces=[pb.AgentInterface(url=url, protocol_binding="slimrpc", protocol_version=v) for v in ("1.0", "0.3")],
        capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="count", name="Counting", description="Up to what it is told", tags=["numbers"])],
    )
    store = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=Agent(),
        task_store=InMemoryTaskStore(),
        agent_card=card,
        extended_agent_card=card,
        push_config_store=store,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), store),
        push_url_validator=accept_all,
    )
    server = slim_bindings.Server.new_with_connection(app, name, conn)
    add_v1(SRPCHandler(card, handler), server)
    add_v0(SRPCCompatHandler(card, handler), server)
    serving = asyncio.ensure_future(server.serve_async())
    await asyncio.sleep(0.2)  # until it is subscribed: nothing says so
    emit(event="ready")
    await serving


def state(status):
    return pb.TaskState.Name(status.state).removeprefix("TASK_STATE_").lower()


def task(t):
    return {"id": t.id, "state": state(t.status), "artifacts": [" ".join(get_text_parts(a.parts)) for a in t.artifacts]}


def short(r):
    kind = r.WhichOneof("payload")
    if kind == "message":
        return "message " + get_message_text(r.message, " ")
    if kind == "task":
        return "task " + state(r.task.status)
    if kind == "status_update":
        return state(r.status_update.status)
    u = r.artifact_update
    return "artifact " + " ".join(get_text_parts(u.artifact.parts)) + " " + str(u.append).lower()


def id_of(r):
    kind = r.WhichOneof("payload")
    return r.task.id if kind == "task" else getattr(getattr(r, kind), "task_id", "")


class Client:
    def __init__(self, app, conn, agent):
        self.transports = {"1.0": SRPCTransport, "0.3": SRPCCompatTransport}
        for version, kind in self.transports.items():
            self.transports[version] = kind(slimrpc_channel_factory(app, conn)(agent), None)

    async def stream(self, t, events, leave, cancel):
        got, id, cancelled = [], "", False
        async for r in events:
            got.append(short(r))
            id = id or id_of(r)
            if len(got) == leave:
                break
            if cancel and not cancelled:
                cancelled = True
                await t.cancel_task(pb.CancelTaskRequest(id=id))
        return {"events": got, "id": id}

    async def do(self, c):
        t, what = self.transports[c["version"]], c["do"]
        if what in ("send", "stream"):
            message = new_text_message(c["text"], role=pb.Role.ROLE_USER)
            if c.get("parts"):
                data = pb.Part()
                data.data.struct_value.update({"n": 1.5, "list": ["a", None, True]})
                message.parts.extend([data, pb.Part(raw=b"\0\1\2\3", filename="f.bin"), pb.Part(url="https://example.org/g", media_type="image/png")])
            request = pb.SendMessageRequest(message=message, configuration=pb.SendMessageConfiguration())
            if what == "stream":
                return await self.stream(t, t.send_message_streaming(request), c.get("leave"), False)
            r = await t.send_message(request)
            if r.HasField("task"):
                return task(r.task)
            same = not c.get("parts") or [p.SerializeToString(deterministic=True) for p in r.message.parts[1:]] == [
                p.SerializeToString(deterministic=True) for p in message.parts
            ]
            return {"text": get_message_text(r.message, " "), "same": same}
        if what == "subscribe":
            return await self.stream(t, t.subscribe(pb.SubscribeToTaskRequest(id=c["id"])), None, True)
        if what == "get":
            return task(await t.get_task(pb.GetTaskRequest(id=c["id"])))
        if what == "cancel":
            return task(await t.cancel_task(pb.CancelTaskRequest(id=c["id"])))
        if what == "list":
            return {"tasks": len((await t.list_tasks(pb.ListTasksRequest())).tasks)}
        if what == "card":
            card = await t.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
            interfaces = [f"{i.protocol_binding} {i.url}" for i in card.supported_interfaces]
            return {"name": card.name, "streaming": card.capabilities.streaming, "interfaces": interfaces, "skills": [s.id for s in card.skills]}
        if what == "push":
            config = pb.TaskPushNotificationConfig(task_id=c["id"], id="one", url="https://example.org/hook", token="t")
            config.authentication.scheme, config.authentication.credentials = "Bearer", "c"
            one = pb.GetTaskPushNotificationConfigRequest(task_id=c["id"], id="one")
            got = [await t.create_task_push_notification_config(config), await t.get_task_push_notification_config(one)]
            every = pb.ListTaskPushNotificationConfigsRequest(task_id=c["id"])
            got += (await t.list_task_push_notification_configs(every)).configs
            await t.delete_task_push_notification_config(pb.DeleteTaskPushNotificationConfigRequest(task_id=c["id"], id="one"))
            left = len((await t.list_task_push_notification_configs(every)).configs)
            return {"same": [g.id + " " + g.url + " " + g.token + " " + g.authentication.credentials for g in got], "left": left}
        raise ValueError("no such command: " + what)

    async def run(self, line):
        try:
            emit(**await self.do(json.loads(line)))
        except Exception as e:
            emit(error=str(getattr(e, "message", e)), code=getattr(getattr(e, "code", None), "name", type(e).__name__))


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--node")
    p.add_argument("--name")
    p.add_argument("--serve", action="store_true")
    p.add_argument("--agent")
    args = p.parse_args()
    secret = os.environ["SLIM_SECRET"]
    _, app, name, conn = await setup_slim_client(*args.name.split("/"), slim_url="http://" + args.node, secret=secret, log_level="error")
    if args.serve:
        await serve(app, name, conn, args.name)
        return
    client = Client(app, conn, args.agent)
    emit(event="ready")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await client.run(line)


asyncio.run(main())
os._exit(0)
