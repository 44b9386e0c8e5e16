"""The agents of main.go in Python, on slima2a: one that spells out what it is told, word by word, and one that has it do so.

    pip install slima2a==0.9.3
    export SLIM_SECRET='a secret of both, 32 bytes or more'
    python agents.py &
    python agents.py -name org/demo/alice -of org/demo/speller To Rome by train

The node is that of SLIM_ADDR, a host and a port, or the one on this machine's port 46357.
"""

import argparse
import asyncio
import os

import slim_bindings
from a2a.client import minimal_agent_card
from a2a.helpers import get_message_text, get_text_parts, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from slima2a import setup_slim_client
from slima2a.client_transport import ClientConfig, MultiAgentClientFactory, slimrpc_channel_factory
from slima2a.compat.v3_0.handler import SRPCCompatHandler
from slima2a.handler import SRPCHandler
from slima2a.types.v0.a2a_pb2_slimrpc import add_A2AServiceServicer_to_server as add_v0
from slima2a.types.v1.a2a_pb2_slimrpc import add_A2AServiceServicer_to_server as add_v1


class Speller(AgentExecutor):
    async def execute(self, context, queue):
        task = new_task_from_user_message(context.message)
        await queue.enqueue_event(task)
        updates = TaskUpdater(queue, task.id, task.context_id)
        await updates.start_work()
        words = get_message_text(context.message).split()
        for i, word in enumerate(words):
            await updates.add_artifact([new_text_part(word)], artifact_id="words", append=i > 0, last_chunk=i == len(words) - 1)
        await updates.complete()

    async def cancel(self, context, queue):
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


async def serve(app, name, conn):
    url = "/".join(name.components()[:3])
    card = pb.AgentCard(
        name="Speller",
        description="Says what it is told, word by word.",
        version="1.0.0",
        supported_interfaces=[pb.AgentInterface(url=url, protocol_binding="slimrpc", protocol_version=v) for v in ("1.0", "0.3")],
        capabilities=pb.AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="spell", name="Spelling", description="Each word by itself", tags=["text"])],
    )
    handler = DefaultRequestHandler(agent_executor=Speller(), task_store=InMemoryTaskStore(), agent_card=card)
    server = slim_bindings.Server.new_with_connection(app, name, conn)
    add_v1(SRPCHandler(card, handler), server)
    add_v0(SRPCCompatHandler(card, handler), server)
    print("serving", flush=True)
    await server.serve_async()


async def tell(app, conn, agent, text):
    config = ClientConfig(supported_protocol_bindings=["slimrpc"], streaming=True, slimrpc_channel_factory=slimrpc_channel_factory(app, conn))
    card = minimal_agent_card(agent, ["slimrpc"])
    card.capabilities.streaming = True
    client = MultiAgentClientFactory(config).create(card=card)
    async for r in client.send_message(pb.SendMessageRequest(message=new_text_message(text, role=pb.Role.ROLE_USER))):
        kind = r.WhichOneof("payload")
        if kind == "message":
            print("message", get_message_text(r.message), flush=True)
        if kind == "status_update":
            print("task", pb.TaskState.Name(r.status_update.status.state).removeprefix("TASK_STATE_").lower(), flush=True)
        if kind == "artifact_update":
            print("word", *get_text_parts(r.artifact_update.artifact.parts), flush=True)


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("-name", default="org/demo/speller")
    p.add_argument("-of", default="")
    p.add_argument("words", nargs="*")
    args = p.parse_args()
    url = "http://" + os.environ.get("SLIM_ADDR", "127.0.0.1:46357")
    secret = os.environ["SLIM_SECRET"]
    _, app, name, conn = await setup_slim_client(*args.name.split("/"), slim_url=url, secret=secret, log_level="error")
    if args.of:
        await tell(app, conn, args.of, " ".join(args.words))
    else:
        await serve(app, name, conn)


asyncio.run(main())
os._exit(0)  # threads of the library would go on
