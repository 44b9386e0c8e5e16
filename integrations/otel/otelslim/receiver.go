package otelslim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session"
)

// leaveTime is how long others may take to acknowledge that the receiver leaves.
const leaveTime = 5 * time.Second

// DefaultSessions is how many sessions a Receiver has at a time.
const DefaultSessions = 1000

// Source is where a batch comes from.
type Source struct {
	Name    session.Name // of the sender, with its id
	Subject string       // of its token, verified; empty: the session is plain
	Channel session.Name // of the group; of a session of two the name of the other one
}

// ReceiverOptions of a Receiver. Signals without a function are not wanted: their batches are dropped, and counted.
type ReceiverOptions struct {
	// Traces, Metrics and Logs get the batches of their signals, which are theirs to keep. The context is that of Serve, and goes on
	// when the session ends, as the last batches may still be under way. An error is counted, and logged; nobody sends the batch again.
	Traces  func(ctx context.Context, from Source, r *coltracepb.ExportTraceServiceRequest) error
	Metrics func(ctx context.Context, from Source, r *colmetricspb.ExportMetricsServiceRequest) error
	Logs    func(ctx context.Context, from Source, r *collogspb.ExportLogsServiceRequest) error
	// Accept says who may invite the app; an error declines the invitation. nil: everybody. It must not wait.
	Accept func(i *session.Invitation) error
	// Sessions is how many there may be at a time; 0: DefaultSessions. Others are declined, or left at once if they come together.
	Sessions int
	// Logger is told of batches that are none, and of functions that fail, once a session for either; nil: nobody is.
	Logger *slog.Logger
}

// Receiver hands batches of OTLP that come by sessions to functions. All methods are safe for all.
type Receiver struct {
	app *session.App
	o   ReceiverOptions
	n   receiverCounters

	mu       sync.Mutex
	sessions int // guarded by mu
}

type receiverCounters struct {
	batches                                     [Logs + 1]atomic.Uint64
	malformed, unwanted, failed, panicked, lost atomic.Uint64
}

// ReceiverStats are counts since NewReceiver.
type ReceiverStats struct {
	Sessions              int    // that there are
	Traces, Metrics, Logs uint64 // batches that functions were given
	Unwanted              uint64 // batches of signals that have no function
	Malformed             uint64 // messages that are no batches
	Failed                uint64 // batches whose function has returned an error, or panicked
	Panicked              uint64 // those of them that have panicked
	Lost                  uint64 // messages that will not come, as their sender has them no more
}

// NewReceiver returns a receiver of the app's name.
func NewReceiver(app *session.App, o ReceiverOptions) *Receiver {
	o.Sessions = cmp.Or(o.Sessions, DefaultSessions)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Receiver{app: app, o: o}
}

// Serve takes invitations and what comes by them until ctx is over, whose error it returns when functions have returned and sessions are
// left, or until the app is closed, which is no error. It is the listener of the app. Sessions that the app opens itself are for ServeSession.
//
// Errors: session.ErrListening; that of ctx.
func (r *Receiver) Serve(ctx context.Context) error {
	l, err := r.app.Listen(session.ListenOptions{Accept: r.accept})
	if err != nil {
		return fmt.Errorf("receiving telemetry: %w", err)
	}
	defer l.Close()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		s, err := l.Accept(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil
		}
		running.Go(func() {
			if !r.admit() { // it was invited when there was room for one of several
				leave(ctx, s)
				return
			}
			defer r.count(-1)
			r.serve(ctx, s)
		})
	}
}

func (r *Receiver) accept(i *session.Invitation) error {
	r.mu.Lock()
	full := r.sessions >= r.o.Sessions
	r.mu.Unlock()
	if full {
		return fmt.Errorf("telemetry of %d sessions is received, and no more at a time", r.o.Sessions)
	}
	if r.o.Accept != nil {
		return r.o.Accept(i)
	}
	return nil
}

// admit counts a session in; false: there are as many as may be.
func (r *Receiver) admit() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions >= r.o.Sessions {
		return false
	}
	r.sessions++
	return true
}

// ServeSession takes what comes by a session until that is over, and leaves it when ctx is.
func (r *Receiver) ServeSession(ctx context.Context, s *session.Session) {
	r.count(1)
	defer r.count(-1)
	r.serve(ctx, s)
}

func (r *Receiver) serve(ctx context.Context, s *session.Session) {
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(ctx, s) })
	told := false
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			break
		}
		if err := r.take(ctx, m); err != nil && !told {
			told = true
			r.o.Logger.Warn("a batch of telemetry was not taken", "session", s.ID(), "from", m.From, "error", err)
		}
		m.Handled()
	}
	if ctx.Err() != nil {
		leave(ctx, s)
	}
	watching.Wait()
}

// leave leaves a session, also when ctx is over.
func leave(ctx context.Context, s *session.Session) {
	leaving, done := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer done()
	_ = s.Close(leaving) // the others find out in any case
}

func (r *Receiver) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions += n
}

// watch counts what will not come.
func (r *Receiver) watch(ctx context.Context, s *session.Session) {
	for e, err := range s.Events(ctx) {
		if err != nil {
			return
		}
		r.n.lost.Add(lostBy(e))
	}
}

// lostBy is how many messages an event says will not come.
func lostBy(e session.Event) uint64 {
	switch e := e.(type) {
	case session.Lost:
		return uint64(e.Last-e.First) + 1
	case session.Overflow:
		return uint64(e.Messages)
	}
	return 0
}

// wanted reports whether there is a function for a signal.
func (r *Receiver) wanted(s Signal) bool {
	return s == Traces && r.o.Traces != nil || s == Metrics && r.o.Metrics != nil || s == Logs && r.o.Logs != nil
}

// take hands a message to the function of its signal.
func (r *Receiver) take(ctx context.Context, m *session.Message) error {
	named := m.Metadata[signalKey]
	for _, s := range signals {
		if named == s.String() && !r.wanted(s) {
			r.n.unwanted.Add(1)
			return nil
		}
	}
	of, request, err := decode(m.Data, named, r.wanted)
	switch {
	case err == errUnwanted:
		r.n.unwanted.Add(1)
		return nil
	case err != nil:
		r.n.malformed.Add(1)
		return err
	}
	r.n.batches[of].Add(1)
	if err := r.hand(ctx, Source{m.From, m.Subject, m.Session.Dest()}, request); err != nil {
		r.n.failed.Add(1)
		return err
	}
	return nil
}

// hand calls the function of a request; a panic of it is an error.
func (r *Receiver) hand(ctx context.Context, from Source, request proto.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.n.panicked.Add(1)
			r.o.Logger.Error("a function for telemetry has panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	switch request := request.(type) {
	case *coltracepb.ExportTraceServiceRequest:
		return r.o.Traces(ctx, from, request)
	case *colmetricspb.ExportMetricsServiceRequest:
		return r.o.Metrics(ctx, from, request)
	case *collogspb.ExportLogsServiceRequest:
		return r.o.Logs(ctx, from, request)
	}
	return nil
}

var errPanicked = errors.New("its function has panicked")

// Stats returns the counts.
func (r *Receiver) Stats() ReceiverStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReceiverStats{
		Sessions: r.sessions, Traces: r.n.batches[Traces].Load(), Metrics: r.n.batches[Metrics].Load(), Logs: r.n.batches[Logs].Load(),
		Unwanted: r.n.unwanted.Load(), Malformed: r.n.malformed.Load(), Failed: r.n.failed.Load(), Panicked: r.n.panicked.Load(), Lost: r.n.lost.Load(),
	}
}
