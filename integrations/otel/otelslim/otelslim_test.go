package otelslim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

const (
	webName     = "org/ns/web"
	watcherName = "org/ns/watcher"
	channelName = "org/ns/telemetry"
)

func deaf(o *session.Options) { o.Deaf = true }

func spansOf(name string) *coltracepb.ExportTraceServiceRequest {
	return &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{
		TraceId: []byte("sixteen bytes id"), SpanId: []byte("8 bytes!"), Name: name, StartTimeUnixNano: 1, EndTimeUnixNano: 2,
	}}}}}}}
}

func gaugeOf(name, description string) *colmetricspb.ExportMetricsServiceRequest {
	return &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{{
		Name: name, Description: description, Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{}},
	}}}}}}}
}

func recordOf(text string) *collogspb.ExportLogsServiceRequest {
	return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{
		TimeUnixNano: 1, SeverityText: "INFO", Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: text}},
	}}}}}}}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watcher is a receiver that notes what it gets.
type watcher struct {
	*Receiver
	spans, metrics, records chan string
	from                    chan Source
	stop                    context.CancelFunc
	served                  chan error
}

func watch(t *testing.T, app *session.App, change ...func(*ReceiverOptions)) *watcher {
	t.Helper()
	w := &watcher{
		spans: make(chan string, 10_000), metrics: make(chan string, 10_000), records: make(chan string, 10_000), from: make(chan Source, 10_000),
		served: make(chan error, 1),
	}
	o := ReceiverOptions{
		Traces: func(_ context.Context, from Source, r *coltracepb.ExportTraceServiceRequest) error {
			w.from <- from
			for _, s := range r.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
				w.spans <- s.GetName()
			}
			return nil
		},
		Metrics: func(_ context.Context, _ Source, r *colmetricspb.ExportMetricsServiceRequest) error {
			w.metrics <- r.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics()[0].GetName()
			return nil
		},
		Logs: func(_ context.Context, _ Source, r *collogspb.ExportLogsServiceRequest) error {
			w.records <- r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()[0].GetBody().GetStringValue()
			return nil
		},
	}
	for _, f := range change {
		f(&o)
	}
	w.Receiver = NewReceiver(app, o)
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() { w.served <- w.Serve(ctx) }()
	return w
}

func (w *watcher) close(t *testing.T) {
	t.Helper()
	w.stop()
	if err := <-w.served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v, want the error of its context", err)
	}
	if n := w.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions after the end", n)
	}
}

func inNetwork(t *testing.T, o sessiontest.Options, f func(t *testing.T, net *sessiontest.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, sessiontest.New(t, o))
	})
}

func export(t *testing.T, app *session.App, o ExporterOptions) *Exporter {
	t.Helper()
	e, err := NewExporter(app, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func toWatcher(members ...string) ExporterOptions {
	c := Channel{Name: session.MustName(channelName)}
	for _, m := range members {
		c.Members = append(c.Members, session.MustName(m))
	}
	return ExporterOptions{Channels: []Channel{c}}
}

func want(t *testing.T, got <-chan string, want string) {
	t.Helper()
	select {
	case s := <-got:
		if s != want {
			t.Errorf("%q, want %q", s, want)
		}
	case <-time.After(5 * time.Minute): // simulated
		t.Fatalf("no %q", want)
	}
}

// All that the SDK makes gets to two watchers, over a network that loses and reorders.
func TestSDK(t *testing.T) {
	inNetwork(t, sessiontest.Options{Loss: 0.05, Reorder: 0.05}, func(t *testing.T, net *sessiontest.Net) {
		ctx := t.Context()
		watchers := []*watcher{watch(t, net.App(watcherName)), watch(t, net.App("org/ns/other"))}
		app := net.App(webName, deaf)
		e := export(t, app, toWatcher(watcherName, "org/ns/other"))
		time.Sleep(time.Minute) // both are members

		spans, err := e.Traces(ctx)
		if err != nil {
			t.Fatal(err)
		}
		tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
		_, span := tracers.Tracer("test").Start(ctx, "request")
		span.SetAttributes(attribute.String("k", "v"))
		span.End()
		numbers, err := e.Metrics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(numbers)))
		counter, err := meters.Meter("test").Int64Counter("requests", metric.WithDescription("so many"))
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(ctx, 3)
		records, err := e.Logs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		loggers := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
		var r otellog.Record
		r.SetBody(attribute.StringValue("hello"))
		loggers.Logger("test").Emit(ctx, r)
		if err := errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx), loggers.Shutdown(ctx)); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, w := range watchers {
			want(t, w.spans, "request")
			want(t, w.metrics, "requests")
			want(t, w.records, "hello")
			if from := <-w.from; from.Name != app.Name() || from.Subject != app.Subject() || from.Channel.String() != channelName {
				t.Errorf("from %+v", from)
			}
			w.close(t)
		}
		if st := e.Stats(); st.Sent != 3 || st != (ExporterStats{Sent: 3}) {
			t.Errorf("stats %+v, want three sent and nothing else", st)
		}
	})
}

// A watcher that invites the app gets its signals, and those only; one that is invited later gets what comes then.
func TestInvited(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		e := export(t, net.App(webName, deaf), ExporterOptions{Invited: []Signal{Traces}})
		if err := e.Export(Traces, encode(t, spansOf("early"))); !errors.Is(err, ErrNobody) {
			t.Errorf("Export: %v, want %v", err, ErrNobody)
		}
		moderator := net.App(watcherName)
		w := watch(t, moderator)
		s, err := moderator.OpenGroup(t.Context(), session.MustName(channelName), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Invite(t.Context(), session.MustName(webName)); err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() { w.ServeSession(t.Context(), s); close(served) }()
		synctest.Wait()
		if err := e.Export(Traces, encode(t, spansOf("late"))); err != nil {
			t.Error(err)
		}
		if err := e.Export(Logs, encode(t, recordOf("not that"))); !errors.Is(err, ErrNobody) {
			t.Errorf("Export: %v, want %v", err, ErrNobody)
		}
		want(t, w.spans, "late")
		if st := e.Stats(); st.Nobody != 2 || st.Sessions != 1 {
			t.Errorf("stats %+v, want two that nobody took", st)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
		time.Sleep(time.Second)
		if n := e.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions, want none", n)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
	})
}

// Nobody watches, and the app is not held up: the queue is bounded, and what is dropped is counted.
func TestNobodyThere(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		o := toWatcher(watcherName)
		o.Queue, o.Retry = 10, time.Minute
		e := export(t, net.App(webName, deaf), o)
		begun := time.Now()
		full := 0
		const batches = 600 // the session has 512 under way, and the next waits for it
		for i := range batches {
			synctest.Wait()
			switch err := e.Export(Traces, encode(t, spansOf(fmt.Sprint(i)))); {
			case errors.Is(err, ErrQueueFull):
				full++
			case err != nil:
				t.Fatal(err)
			}
		}
		if st := e.Stats(); full == 0 || st.Full != uint64(full) || st.Queued != 10 || st.Sent+st.Full+11 != batches {
			t.Errorf("stats %+v, %d errors: want a full queue of ten, and the rest dropped", st, full)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("an app has waited for %v", d)
		}
		w := watch(t, net.App(watcherName)) // who comes late gets what waits
		want(t, w.spans, "0")
		w.close(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = e.Close(ctx)
		if err := e.Export(Traces, encode(t, spansOf("after"))); !errors.Is(err, ErrClosed) {
			t.Errorf("Export: %v, want %v", err, ErrClosed)
		}
	})
}

// A watcher that is killed is invited again when it is back, and its bytes are bounded meanwhile.
func TestWatcherComesBack(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName))
		o := toWatcher(watcherName)
		o.Channels[0].Session = session.SessionOptions{Plain: true}
		e := export(t, net.App(webName, deaf), o)
		time.Sleep(time.Second)
		if err := e.Export(Logs, encode(t, recordOf("before"))); err != nil {
			t.Fatal(err)
		}
		want(t, w.records, "before")
		net.Crash(watcherName)
		w.stop()
		<-w.served
		time.Sleep(time.Minute)
		w = watch(t, net.App(watcherName))
		time.Sleep(2 * time.Minute)
		if err := e.Export(Logs, encode(t, recordOf("after"))); err != nil {
			t.Fatal(err)
		}
		want(t, w.records, "after")
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
	})
}

// A watcher that is killed with batches under way: those are counted.
func TestUndelivered(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName))
		e := export(t, net.App(webName, deaf), toWatcher(watcherName))
		time.Sleep(time.Second)
		net.Partition(watcherName)
		for range 3 {
			if err := e.Export(Logs, encode(t, recordOf("lost"))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if st := e.Stats(); st.Sent != 3 || st.Undelivered != 3 {
			t.Errorf("stats %+v, want three that were not delivered", st)
		}
		net.Heal()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = e.Close(ctx)
		w.close(t)
	})
}

// What is larger than a message of a session is refused, and the largest that is not gets there.
func TestTooLarge(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName))
		e := export(t, net.App(webName, deaf), toWatcher(watcherName))
		if err := e.Export(Traces, make([]byte, session.MaxContent)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Export: %v, want %v", err, ErrTooLarge)
		}
		name := strings.Repeat("x", session.MaxContent-200)
		if err := e.Export(Traces, encode(t, spansOf(name))); err != nil {
			t.Fatal(err)
		}
		if got := <-w.spans; got != name {
			t.Errorf("%d bytes came, want %d", len(got), len(name))
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
	})
}

// A receiver lives on whatever is sent to it, and whatever its functions do.
func TestBadBatches(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) {
			o.Metrics = nil
			logs := o.Logs
			o.Logs = func(ctx context.Context, from Source, r *collogspb.ExportLogsServiceRequest) error {
				if len(r.GetResourceLogs()) == 0 {
					return errors.New("empty")
				}
				if r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()[0].GetBody().GetStringValue() == "panic" {
					panic("a function's own fault")
				}
				return logs(ctx, from, r)
			}
		})
		s, err := net.App(webName).Open(t.Context(), session.MustName(watcherName), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		say := func(b []byte, of string) {
			t.Helper()
			c := session.Content{Data: b}
			if of != "" {
				c.Metadata = map[string]string{signalKey: of}
			}
			if _, err := s.Publish(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		say(nil, "")
		say(nil, "traces")
		say([]byte("garbage"), "")
		say([]byte("\xff\xff\xff"), "traces")
		say(encode(t, spansOf("x")), "profiles")
		say(encode(t, gaugeOf("m", "")), "metrics")
		say(encode(t, recordOf("panic")), "logs")
		say(encode(t, recordOf("on")), "logs")
		want(t, w.records, "on")
		st := w.Stats()
		st.Lost = 0
		if want := (ReceiverStats{Sessions: 1, Logs: 2, Malformed: 5, Unwanted: 1, Failed: 1, Panicked: 1}); st != want {
			t.Errorf("stats %+v, want %+v", st, want)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
	})
}

// A function that waits does not hold up other sessions, and is told of the end.
func TestSlowFunction(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		over := make(chan error, 1)
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) {
			o.Traces = func(ctx context.Context, _ Source, _ *coltracepb.ExportTraceServiceRequest) error {
				<-ctx.Done()
				over <- ctx.Err()
				return ctx.Err()
			}
		})
		app := net.App(webName, deaf)
		slow := export(t, app, toWatcher(watcherName))
		other := toWatcher(watcherName)
		other.Channels[0].Name = session.MustName("org/ns/logs")
		fast := export(t, app, other)
		if err := slow.Export(Traces, encode(t, spansOf("x"))); err != nil {
			t.Fatal(err)
		}
		if err := fast.Export(Logs, encode(t, recordOf("meanwhile"))); err != nil {
			t.Fatal(err)
		}
		want(t, w.records, "meanwhile")
		if err := slow.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := fast.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
		<-over
	})
}

// What comes without a signal is taken for what it is, where upstream's receiver takes some metrics for spans.
func TestGuess(t *testing.T) {
	for _, c := range []struct {
		name string
		m    proto.Message
		want Signal
	}{
		{"spans", spansOf("x"), Traces},
		{"a gauge", gaugeOf("memory", "in use"), Metrics},
		{"a gauge whose name is as long as an id", gaugeOf("sixteen bytes id", ""), Metrics},
		{"and whose description is, too", gaugeOf("sixteen bytes id", "8 bytes!"), Metrics},
		{"a record", recordOf("hello"), Logs},
	} {
		if got, m, err := decode(encode(t, c.m), "", func(Signal) bool { return true }); got != c.want || !proto.Equal(m, c.m) {
			t.Errorf("%s: %v, %v, %v; want %v", c.name, got, m, err, c.want)
		}
		if got, _, err := decode(encode(t, c.m), "", func(s Signal) bool { return s == Metrics }); err == nil && got != Metrics {
			t.Errorf("%s: taken for %v, which is not wanted", c.name, got)
		}
		for _, only := range signals { // a metric is no span for somebody who wants nothing but spans
			got, _, err := decode(encode(t, c.m), "", func(s Signal) bool { return s == only })
			if only == c.want && (got != only || err != nil) || only != c.want && err != errUnwanted {
				t.Errorf("%s, where %v are wanted: %v, %v", c.name, only, got, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []proto.Message{spansOf("x"), gaugeOf("sixteen bytes id", "8 bytes!"), recordOf("hello")} {
		f.Add(encode(f, m), "")
		f.Add(encode(f, m), "traces")
	}
	f.Fuzz(func(t *testing.T, b []byte, named string) {
		of, m, err := decode(b, named, func(s Signal) bool { return s != Logs })
		if (m == nil) == (err == nil) || err == nil && of != Traces && of != Metrics {
			t.Errorf("%v, %v, %v", of, m, err)
		}
	})
}
