// Command telemetry is an app that does some work, and one that watches such apps: spans of OpenTelemetry, through a group.
//
//	export SLIM_SECRET='a secret of all, 32 bytes or more'
//	telemetry watch -name org/demo/watcher &
//	telemetry work -name org/demo/web -watcher org/demo/watcher
//
// peer.py beside it is a watcher and a worker in Python, which send and take what the exporters and receivers of agntcy/slim-otel do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/seed31b3bfd0/slimgo/integrations/otel/otelslim"
	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "telemetry:", err)
		os.Exit(1)
	}
}

// endTime is how long the end may take: what waits is sent before. A test gives it longer.
var endTime = 10 * time.Second

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	if len(args) == 0 || args[0] != "watch" && args[0] != "work" {
		return errors.New("say what to do: watch, or work")
	}
	f := flag.NewFlagSet("telemetry "+args[0], flag.ContinueOnError)
	name := f.String("name", "org/demo/"+args[0], "own name")
	node := f.String("node", session.DefaultNode, "URL of a node")
	watcher := f.String("watcher", "org/demo/watch", "who watches")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	own, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	app, err := session.Connect(ctx, session.Options{
		Name: own, Secret: []byte(env("SLIM_SECRET")), Nodes: []string{*node}, Deaf: args[0] == "work", Logger: slog.Default(),
	})
	if err != nil {
		return err
	}
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer func() {
		time.AfterFunc(endTime, cancel)
		_ = app.Close(ending) // nothing that matters is under way
	}()
	if args[0] == "watch" {
		return watch(ctx, app, out)
	}
	target, err := session.ParseName(*watcher)
	if err != nil {
		return err
	}
	return work(ctx, app, target)
}

func watch(ctx context.Context, app *session.App, out io.Writer) error {
	r := otelslim.NewReceiver(app, otelslim.ReceiverOptions{
		Traces: func(_ context.Context, from otelslim.Source, r *coltracepb.ExportTraceServiceRequest) error {
			for _, resource := range r.GetResourceSpans() {
				for _, scope := range resource.GetScopeSpans() {
					for _, span := range scope.GetSpans() {
						fmt.Fprintf(out, "%v: %s\n", from.Name, span.GetName())
					}
				}
			}
			return nil
		},
	})
	fmt.Fprintln(out, "watching as", app.Name())
	if err := r.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func work(ctx context.Context, app *session.App, watcher session.Name) error {
	telemetry, err := otelslim.NewExporter(app, otelslim.ExporterOptions{Channels: []otelslim.Channel{{
		Name: session.MustName("org/demo/telemetry"), Members: []session.Name{watcher},
	}}})
	if err != nil {
		return err
	}
	spans, err := telemetry.Traces(ctx)
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	_, span := provider.Tracer("example").Start(ctx, "some work")
	span.End()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return errors.Join(provider.Shutdown(ending), telemetry.Close(ending))
}
