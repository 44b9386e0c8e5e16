"""A watcher and a worker for OpenTelemetry on the PyPI packages slim-bindings and opentelemetry-proto, for tests and for reading.

    python peer.py watch --name org/demo/pywatch
    python peer.py work  --name org/demo/pywork --watcher org/demo/watch

They do on the wire what the exporters and receivers of agntcy/slim-otel do: a batch is one message of a group, the bytes of OTLP's request and
nothing else, and who gets it has to find out of what signal it is.
"""

import argparse
import datetime
import json
import os
import time

import slim_bindings as slim
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECRET = os.environ.get("SLIM_SECRET", "a secret of all, 32 bytes or more")
WAIT = datetime.timedelta(seconds=60)


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def connect(args):
    tracing = slim.new_tracing_config_with("error", False, False, [])
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])
    service = slim.get_global_service()
    connection = service.connect(slim.new_insecure_client_config(args.node))
    name = slim.Name.from_string(args.name)
    app = service.create_app_with_secret(name, SECRET)
    app.subscribe(name, connection)
    emit("ready")
    return app, connection


def watch(args):
    app, _ = connect(args)
    session = app.listen_for_session(WAIT)
    while True:
        try:
            message = session.get_message(WAIT)
        except slim.SlimError as error:
            emit("left", reason=str(error))
            return
        signal = message.context.metadata.get("otel.signal")
        if signal == "traces":
            request = ExportTraceServiceRequest.FromString(message.payload)
            names = [s.name for r in request.resource_spans for c in r.scope_spans for s in c.spans]
        elif signal == "metrics":
            request = ExportMetricsServiceRequest.FromString(message.payload)
            names = [m.name for r in request.resource_metrics for c in r.scope_metrics for m in c.metrics]
        else:
            request = ExportLogsServiceRequest.FromString(message.payload)
            names = [m.body.string_value for r in request.resource_logs for c in r.scope_logs for m in c.log_records]
        emit("batch", signal=signal, type=message.context.payload_type, names=names)


def work(args):
    app, connection = connect(args)
    config = slim.SessionConfig(
        session_type=slim.SessionType.GROUP,
        max_retries=10,
        interval=datetime.timedelta(seconds=10),  # a second answer to what was repeated would end the session
        metadata={},
        mls_settings=slim.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None) if args.mls else None,
    )
    session = app.create_session_and_wait(config, slim.Name.from_string("org/demo/pychannel"))
    watcher = slim.Name.from_string(args.watcher)
    app.set_route(watcher, connection)
    session.invite_and_wait(watcher)
    spans, metrics, logs = ExportTraceServiceRequest(), ExportMetricsServiceRequest(), ExportLogsServiceRequest()
    spans.resource_spans.add().scope_spans.add().spans.add(
        name="some work in Python", trace_id=os.urandom(16), span_id=os.urandom(8), start_time_unix_nano=time.time_ns()
    )
    gauge = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="sixteen bytes id")  # which upstream takes for a span
    gauge.gauge.data_points.add(as_int=7)
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time.time_ns()).body.string_value = "hello from Python"
    for batch in (spans, metrics, logs):
        session.publish(batch.SerializeToString(), None, None).wait_for(WAIT)
    app.delete_session_and_wait(session)
    emit("done")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["watch", "work"])
    parser.add_argument("--node", default="http://127.0.0.1:46357")
    parser.add_argument("--name", required=True)
    parser.add_argument("--watcher", default="org/demo/watch")
    parser.add_argument("--mls", action="store_true")
    args = parser.parse_args()
    if args.role == "watch":
        watch(args)
    else:
        work(args)
    os._exit(0)  # threads of the bindings sit in foreign calls


main()
