"""A scriptable application on the PyPI package slim-bindings.

Commands come as JSON lines on stdin, events go as JSON lines to stdout, in the shapes of slim-peer:

    {"open": "org/ns/b", "mls": true, "tag": 1}        p2p session; also "unreliable", "interval_ms", "retries"
    {"group": "org/ns/chan", "mls": true, "tag": 2}    group session led by this application; likewise
    {"invite": "org/ns/b"}  {"remove": "org/ns/b"}     members
    {"publish": "hi", "count": 3}                      "hi", or "hi#0" to "hi#2" if count is given; also "wait_ms", of 30 s
    {"ask": "hi", "count": 50}                         each only after the answer to the last; gives "p50_us"
    {"subscribe": "org/ns/x"}  {"unsubscribe": "org/ns/x"}
    {"suspend": true}  {"rejoin": true}                out of a group for the time being, and back
    {"close": true}  {"leave": true}

Each command is answered by one "result" line that copies its tag; that of a session's has the session's number. Commands go to the
newest session, which may be one that others have opened, unless they have "session": NUMBER. Messages of p2p sessions opened by
others are answered with "echo:" and the payload if --echo is given. The end of stdin ends the program.
Only blocking calls are used: the asynchronous constructors of this release panic.
"""

import argparse
import collections
import datetime
import json
import os
import queue
import sys
import threading
import time

import slim_bindings as slim

SECRET = "judge-shared-secret-0123456789-abcdefghij"
POLL = datetime.timedelta(milliseconds=500)
WAIT = 30  # seconds for an acknowledgement: a message that is given up may have none at all
IN_FLIGHT = 64  # messages at most
output = threading.Lock()


def emit(event, **fields):
    with output:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def text_of(error):
    return getattr(error, "message", None) or str(error)


class Peer:
    def __init__(self, args):
        self.echo = args.echo
        self.sessions = {}  # that go on, by number, the newest last
        self.answers = queue.SimpleQueue()
        tracing = slim.new_tracing_config_with("error", False, False, [])
        slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])
        self.service = slim.get_global_service()
        config = slim.new_config_from_json(args.client) if args.client else slim.new_insecure_client_config(args.node)
        self.conn = self.service.connect(config)
        self.name = slim.Name.from_string(args.name)
        self.app = self.service.create_app_with_secret(self.name, SECRET)
        self.app.subscribe(self.name, self.conn)
        emit("ready", name=args.name, id=self.app.id(), version=slim.get_version(), pid=os.getpid())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                session = self.app.listen_for_session(POLL)
            except slim.SlimError as e:
                if "timed out" in text_of(e):
                    continue
                emit("error", what="listen", error=text_of(e))
                return
            try:
                self.adopt(session)
            except slim.SlimError as e:  # whoever opened it has closed it again meanwhile
                emit("error", what="session", error=text_of(e))

    def adopt(self, session):
        group = session.session_type() == slim.SessionType.GROUP
        number = session.session_id()
        self.sessions[number] = session
        initiator = session.is_initiator()
        emit("session", session=number, kind="group" if group else "p2p", initiator=initiator)
        threading.Thread(target=self.read, args=(session, number, group, initiator), daemon=True).start()
        return number

    def read(self, session, number, group, initiator):
        """Ends with the session. The other side may close it at any time: what is asked of it then raises."""
        while True:
            try:
                m = session.get_message(POLL)
            except slim.SlimError as e:
                reason = text_of(e)
                if "receive timeout" in reason:
                    continue
                if "participant disconnected" in reason:
                    emit("left", session=number, participant=reason)
                    continue
                if "message lost" in reason or "retries" in reason:  # the session goes on
                    emit("error", what="session", session=number, error=reason)
                    continue
                self.sessions.pop(number, None)
                emit("left", session=number, reason=reason)
                return
            text = m.payload.decode("utf-8", "replace")
            emit("message", session=number, text=text, size=len(m.payload), **{"from": str(m.context.source_name)})
            if not group and initiator:
                self.answers.put(text)
            if self.echo and not group and not initiator:
                try:
                    session.publish(b"echo:" + m.payload, None, None)
                except slim.SlimError as e:
                    emit("error", what="echo", error=text_of(e))

    def config(self, kind, command):
        mls = None
        if command.get("mls"):
            mls = slim.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None)
        reliable = not command.get("unreliable")
        return slim.SessionConfig(
            session_type=kind,
            max_retries=command.get("retries", 4) if reliable else None,
            interval=datetime.timedelta(milliseconds=command.get("interval_ms", 5000)) if reliable else None,
            metadata={},
            mls_settings=mls,
        )

    def own(self, text):
        """The name under which subscribe registered text: with the application's id."""
        return slim.Name.new_with_id(*slim.Name.from_string(text).components(), self.app.id())

    def session(self, command):
        """Number and session of a command."""
        if "session" in command:
            return command["session"], self.sessions[command["session"]]
        return list(self.sessions.items())[-1]

    def run(self, command):
        if "open" in command or "group" in command:
            kind = slim.SessionType.GROUP if "group" in command else slim.SessionType.POINT_TO_POINT
            target = slim.Name.from_string(command.get("group") or command["open"])
            if kind == slim.SessionType.POINT_TO_POINT:
                self.app.set_route(target, self.conn)
            return {"session": self.adopt(self.app.create_session_and_wait(self.config(kind, command), target))}
        if "subscribe" in command:
            self.app.subscribe(slim.Name.from_string(command["subscribe"]), self.conn)
            return {}
        if "unsubscribe" in command:
            self.app.unsubscribe(self.own(command["unsubscribe"]), self.conn)
            return {}
        number, session = self.session(command)
        result = {"session": number}
        if "invite" in command:
            target = slim.Name.from_string(command["invite"])
            self.app.set_route(target, self.conn)
            session.invite_and_wait(target)
        elif "remove" in command:
            session.remove_and_wait(slim.Name.from_string(command["remove"]))
        elif "publish" in command:
            self.publish(session, command["publish"], command.get("count"), command.get("wait_ms", 1000 * WAIT))
        elif "ask" in command:
            result["p50_us"] = self.ask(session, command["ask"], command["count"])
        elif "suspend" in command:
            session.close_with_mode_and_wait(slim.CloseMode.SOFT)
        elif "rejoin" in command:
            session.rejoin_and_wait()
        elif "close" in command or "leave" in command:
            self.app.delete_session_and_wait(session)
        else:
            raise ValueError("unknown command")
        return result

    def publish(self, session, text, count, wait_ms):
        texts = [text] if count is None else [f"{text}#{i}" for i in range(count)]
        wait = datetime.timedelta(milliseconds=wait_ms)
        handles = collections.deque()
        for t in texts:
            handles.append(session.publish(t.encode(), None, None))
            if len(handles) == IN_FLIGHT:
                handles.popleft().wait_for(wait)
        for handle in handles:
            handle.wait_for(wait)

    def ask(self, session, text, count):
        """The median of the times from a request to its answer, in microseconds."""
        times = []
        for i in range(count):
            start = time.perf_counter()
            session.publish(f"{text}#{i}".encode(), None, None)
            answer = self.answers.get(timeout=60)
            times.append(time.perf_counter() - start)
            if answer != f"echo:{text}#{i}":
                raise ValueError(f"{answer} is no answer to {text}#{i}")
        return round(1e6 * sorted(times)[count // 2])


def main():
    options = argparse.ArgumentParser()
    way = options.add_mutually_exclusive_group(required=True)
    way.add_argument("--node", help="URL of a node without TLS")
    way.add_argument("--client", help="the connection, in JSON, with the keys of dataplane.clients")
    options.add_argument("--name", required=True)
    options.add_argument("--echo", action="store_true")
    peer = Peer(options.parse_args())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            emit("result", ok=True, tag=command.get("tag"), **peer.run(command))
        except Exception as e:
            emit("result", ok=False, error=text_of(e), tag=command.get("tag"))
    # Reader threads sit in foreign calls: end without waiting for them.
    os._exit(0)


main()
