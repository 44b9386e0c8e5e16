package otelslim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// A receiver declines sessions beyond its bound, and takes one again when another is over.
func TestSessionsBeyondBound(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) { o.Sessions = 2 })
		app := net.App(webName)
		open := func() (*session.Session, error) {
			s, err := app.Open(t.Context(), session.MustName(watcherName), session.SessionOptions{})
			synctest.Wait()
			return s, err
		}
		var opened []*session.Session
		for range 2 {
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			opened = append(opened, s)
		}
		_, err := open()
		var declined *session.Declined
		if !errors.As(err, &declined) || declined.Reason != "telemetry of 2 sessions is received, and no more at a time" {
			t.Errorf("a third session: %v", err)
		}
		if n := w.Stats().Sessions; n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		if err := opened[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, err := open(); err != nil {
			t.Errorf("a session when another is over: %v", err)
		}
		w.close(t)
	})
}

// Of sessions that come together no more are served than may be: the others are declined, or over at once.
func TestSessionsTogether(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		const bound, together = 2, 8
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) { o.Sessions = bound })
		app := net.App(webName)
		var opening sync.WaitGroup
		opened := make(chan *session.Session, together)
		for range together {
			opening.Go(func() {
				if s, err := app.Open(t.Context(), session.MustName(watcherName), session.SessionOptions{}); err == nil {
					opened <- s
				} else if !errors.Is(err, session.ErrDeclined) {
					t.Error(err)
				}
			})
		}
		opening.Wait()
		close(opened)
		time.Sleep(time.Minute)
		if n := w.Stats().Sessions; n != bound {
			t.Errorf("%d sessions are served, want %d", n, bound)
		}
		stay := 0
		for s := range opened {
			if s.Err() == nil {
				stay++
			}
		}
		if stay != bound {
			t.Errorf("%d sessions go on, want %d", stay, bound)
		}
		w.close(t)
	})
}

// What will not come is counted by messages: first and last of a gap are among them.
func TestLostBy(t *testing.T) {
	for _, c := range []struct {
		e    session.Event
		want uint64
	}{
		{session.Lost{First: 7, Last: 7}, 1},
		{session.Lost{First: 7, Last: 9}, 3},
		{session.Lost{First: 0, Last: 1<<32 - 1}, 1 << 32},
		{session.Overflow{Messages: 5}, 5},
		{session.EpochChanged{Epoch: 3}, 0},
	} {
		if got := lostBy(c.e); got != c.want {
			t.Errorf("%+v: %d messages, want %d", c.e, got, c.want)
		}
	}
}

// Spans without what they cannot be without are no whole batch, wherever in it they stand.
func TestWholeSpans(t *testing.T) {
	id, span := []byte("sixteen bytes id"), []byte("8 bytes!")
	good := &tracepb.Span{TraceId: id, SpanId: span, StartTimeUnixNano: 1}
	batch := func(spans ...*tracepb.Span) *coltracepb.ExportTraceServiceRequest {
		other := &tracepb.ResourceSpans{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{good}}}}
		return &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{other, {ScopeSpans: []*tracepb.ScopeSpans{
			{Spans: []*tracepb.Span{good}}, {Spans: spans},
		}}}}
	}
	if !whole(batch(good, good)) {
		t.Error("spans that have all they need are no whole batch")
	}
	for name, bad := range map[string]*tracepb.Span{
		"no trace":         {SpanId: span, StartTimeUnixNano: 1},
		"a short trace":    {TraceId: id[:15], SpanId: span, StartTimeUnixNano: 1},
		"no id":            {TraceId: id, StartTimeUnixNano: 1},
		"a short id":       {TraceId: id, SpanId: span[:7], StartTimeUnixNano: 1},
		"a long id":        {TraceId: id, SpanId: id, StartTimeUnixNano: 1},
		"no time of start": {TraceId: id, SpanId: span},
	} {
		if whole(batch(bad)) || whole(batch(good, bad)) {
			t.Errorf("%s: a span of it is part of a whole batch", name)
		}
	}
}

// What waits when an exporter gives up is counted, each batch once, by what has become of it.
func TestUnsent(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		o := toWatcher(watcherName) // who is not there
		o.Queue = 10
		e := export(t, net.App(webName, deaf), o)
		const batches = 600 // the session has 512 under way, and the next waits for it
		for i := range batches {
			synctest.Wait()
			if err := e.Export(Traces, encode(t, spansOf(fmt.Sprint(i)))); err != nil && !errors.Is(err, ErrQueueFull) {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want %v", err, context.DeadlineExceeded)
		}
		st := e.Stats()
		if st.Unsent != 11 || st.Queued != 0 || st.Sessions != 0 || st.Undelivered != st.Sent || st.Sent+st.Unsent+st.Full != batches {
			t.Errorf("stats %+v, want ten of the queue and the one before it unsent, and all that was sent undelivered", st)
		}
	})
}

// A queue is bounded in bytes, too: what was taken makes room again, and one batch is taken whatever its size.
func TestQueueBytes(t *testing.T) {
	e := &Exporter{o: ExporterOptions{Queue: 100, QueueBytes: 1000}}
	o := &outlet{e: e, wake: make(chan struct{}, 1)}
	put := func(n int) bool { return o.put(batch{Traces, make([]byte, n)}) }
	for range 10 {
		if !put(600) || !put(400) || put(1) {
			t.Fatal("room is not for 600 bytes and 400")
		}
		for range 2 {
			if _, ok := o.next(); !ok {
				t.Fatal("nothing waits")
			}
		}
	}
	if !put(5000) || put(1) {
		t.Error("a large batch has to be alone")
	}
}

// A receiver whose context is over leaves its sessions, and its senders know.
func TestReceiversLeave(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		receiver := net.App(watcherName)
		w := watch(t, receiver)
		s, err := net.App(webName).Open(t.Context(), session.MustName(watcherName), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.close(t)
		time.Sleep(time.Second)
		if n := len(receiver.Sessions()); n != 0 {
			t.Errorf("the receiver's app has %d sessions", n)
		}
		if s.Err() == nil {
			t.Error("the sender's session goes on")
		}
	})
}

// Accept decides who may invite a receiver.
func TestReceiversAccept(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) {
			o.Accept = func(*session.Invitation) error { return errors.New("not on Sundays") }
		})
		_, err := net.App(webName).Open(t.Context(), session.MustName(watcherName), session.SessionOptions{})
		var declined *session.Declined
		if !errors.As(err, &declined) || declined.Reason != "not on Sundays" {
			t.Errorf("%v, want what Accept says", err)
		}
		w.close(t)
	})
}

// A receiver whose function is slow gets all that a session was given, however much comes at once: the rest waits, and is refused where there
// is no room for it.
func TestSlowReceivers(t *testing.T) {
	inNetwork(t, sessiontest.Options{Quiet: true}, func(t *testing.T, net *sessiontest.Net) {
		const batches, size = 150, 130_000
		var took atomic.Int64
		w := watch(t, net.App(watcherName), func(o *ReceiverOptions) {
			o.Traces = func(context.Context, Source, *coltracepb.ExportTraceServiceRequest) error {
				took.Add(1)
				time.Sleep(250 * time.Millisecond)
				return nil
			}
		})
		o := toWatcher(watcherName)
		o.Queue, o.QueueBytes = batches, batches*size*2
		e := export(t, net.App(webName, deaf), o)
		for i := range batches {
			b := encode(t, spansOf(fmt.Sprint(i, strings.Repeat("x", size))))
			if err := e.Export(Traces, b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if st := e.Stats(); st.Undelivered != 0 || st.Sent != batches || took.Load() != batches {
			t.Errorf("%d of %d batches have come, stats %+v; want all", took.Load(), batches, st)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		w.close(t)
	})
}
