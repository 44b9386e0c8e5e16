"""The poll of main.go on upstream's library, the PyPI package slim-bindings 3.3.8: votes, and asks.

    export SLIM_SECRET='a secret of all, 32 bytes or more'
    python poll.py --name org/demo/bob --vote pizza
    python poll.py --name org/demo/alice --of org/demo/bob,org/demo/carol 'what is for lunch?'
"""

import argparse
import asyncio
import collections
import datetime
import os
import sys

import slim_bindings as sb

METHOD = ("demo.Poll", "Vote")


class Voter(sb.UnaryUnaryHandler):
    def __init__(self, answer):
        self.answer = answer

    async def handle(self, request, context):
        print(f"asked: {bytes(request).decode()}", flush=True)
        return self.answer.encode()


async def ask(app, names, question, wait):
    channel = sb.Channel.new_group(app, [sb.Name.from_string(n) for n in names])
    reader = await channel.call_multicast_unary_async(*METHOD, question.encode(), datetime.timedelta(seconds=wait), None)
    votes = collections.Counter()
    while not (m := await reader.next_async()).is_end():
        if m.is_error():
            print(m.error, flush=True)
            continue
        answer = bytes(m.item.message).decode()
        print(f"{m.item.context.source}: {answer}", flush=True)
        votes[answer] += 1
    for answer, n in votes.most_common(1):
        print(f"{n} for {answer}", flush=True)
    await channel.close_async(datetime.timedelta(seconds=5))


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--name", required=True)
    p.add_argument("--vote")
    p.add_argument("--of", default="")
    p.add_argument("--wait", type=float, default=5)
    p.add_argument("question", nargs="*")
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
    if args.vote:
        server = sb.Server(app, name)
        server.register_unary_unary(*METHOD, Voter(args.vote))
        await server.serve_async()
    else:
        await ask(app, args.of.split(","), " ".join(args.question), args.wait)


asyncio.run(main())
os._exit(0)  # threads of the library would keep it
