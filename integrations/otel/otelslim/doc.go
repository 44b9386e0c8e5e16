// Package otelslim carries OpenTelemetry over SLIM: traces, metrics and logs of apps go through nodes to those who watch them, in groups that
// are encrypted from end to end, without a collector that anybody has to reach by an address.
//
// # An app that is watched
//
// An Exporter gives the SDK of OpenTelemetry what it exports to, for each signal. Here the app opens a group itself, and invites a watcher:
//
//	app, err := session.Connect(ctx, session.Options{Name: session.MustName("org/demo/web"), Secret: secret, Nodes: nodes, Deaf: true})
//	if err != nil {
//		return err
//	}
//	telemetry, err := otelslim.NewExporter(app, otelslim.ExporterOptions{Channels: []otelslim.Channel{{
//		Name: session.MustName("org/demo/telemetry"), Members: []session.Name{session.MustName("org/demo/watcher")},
//	}}})
//	if err != nil {
//		return err
//	}
//	spans, err := telemetry.Traces(ctx)
//	if err != nil {
//		return err
//	}
//	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
//
// With ExporterOptions.Invited it is the other way round, and a watcher, or a channel manager, invites the apps. At the end, the providers
// are shut down first, then the Exporter by Close, then the app.
//
// An app never waits for those who watch it. Batches that cannot leave wait in a queue for each group, bounded in number and bytes, and what has
// no room is dropped. Exporter.Stats counts what was dropped and why, and what nobody has acknowledged.
//
// # A watcher
//
// A Receiver hands the requests of OTLP to functions, as a collector's receiver would get them:
//
//	r := otelslim.NewReceiver(app, otelslim.ReceiverOptions{
//		Traces: func(ctx context.Context, from otelslim.Source, req *coltracepb.ExportTraceServiceRequest) error {
//			return forward(ctx, req)
//		},
//	})
//	return r.Serve(ctx)
//
// Functions are called for one batch of a session after the other, and sessions side by side. A function that is slow makes its
// session's batches wait: 1,024 of them, or 8 MiB. What comes beyond that is not acknowledged, and repeated for ten seconds; then the
// receiver is offline for its senders until it takes some again.
//
// # On the wire
//
// A batch is one message: the bytes of an ExportTraceServiceRequest, or of that of metrics or logs, as the exporters and receivers of
// agntcy/slim-otel send and take them. Those say nowhere which of the three a message is, and guess it. This package adds the metadata
// "otel.signal" ("traces", "metrics" or "logs"), which they do not look at, and believes it. What comes without is tried in
// their order, and taken for what it is whole of: spans have ids and a start, metrics have names and data.
package otelslim
