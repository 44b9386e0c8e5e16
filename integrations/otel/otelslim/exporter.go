package otelslim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Defaults of ExporterOptions.
const (
	DefaultQueue      = 64
	DefaultQueueBytes = 8 << 20
	DefaultRetry      = 30 * time.Second
)

// Errors of Export. The batch is dropped, and counted, by those who have it not.
var (
	// ErrClosed: the exporter is closed.
	ErrClosed = errors.New("the exporter is closed")
	// ErrNobody: there is no session for that signal.
	ErrNobody = errors.New("nobody takes that signal")
	// ErrQueueFull: the queue of a session has no room.
	ErrQueueFull = errors.New("as much as may be waits to be sent")
	// ErrTooLarge: a batch that no session takes. Exporters of the SDK have options for smaller ones.
	ErrTooLarge = session.ErrTooLarge
)

// Channel is a group that the app opens, for those who watch it.
type Channel struct {
	Name    session.Name
	Signals []Signal       // that go there; none: all
	Members []session.Name // who is invited, again and again until they are there
	Session session.SessionOptions
}

// ExporterOptions of an Exporter. They need Channels or Invited.
type ExporterOptions struct {
	// Channels are opened by the app. Batches wait for the first member that comes.
	Channels []Channel
	// Invited are the signals that go to sessions to which others invite the app; none: it takes no invitations. Accept decides who may
	// invite; nil: everybody.
	Invited []Signal
	Accept  func(i *session.Invitation) error
	// Queue is how many batches wait for a session at most, and QueueBytes how many bytes of them; 0: DefaultQueue, DefaultQueueBytes. What
	// the session has under way (Session.Publish) comes on top of that.
	Queue, QueueBytes int
	// Retry is the time between attempts to invite those of a channel's members who are not there; 0: DefaultRetry.
	Retry time.Duration
	// Logger is told of channels and sessions; nil: nobody is. It must not be one that exports by this Exporter.
	Logger *slog.Logger
}

// Exporter sends batches of OTLP to groups, and to sessions of two. All methods are safe for all, and none but Close waits for anybody.
//
//	Export ──▶ queue of each session ──▶ sender: Session.Publish ──▶ settler: what has become of it
type Exporter struct {
	app *session.App
	o   ExporterOptions
	n   exporterCounters

	life    context.Context //nolint:containedctx // of all goroutines
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	outlets []*outlet // guarded by mu
	closing bool      // guarded by mu
}

type exporterCounters struct {
	sent, nobody, full, tooLarge, unsent, undelivered atomic.Uint64
}

// ExporterStats are counts of batches since NewExporter, of each session that they were for.
type ExporterStats struct {
	Sessions    int    // that there are
	Queued      int    // that wait
	Sent        uint64 // that a session has taken
	Nobody      uint64 // dropped: no session was for that signal
	Full        uint64 // dropped: the queue had no room
	TooLarge    uint64 // dropped: no session takes so much
	Unsent      uint64 // dropped: the session or the exporter ended while they waited
	Undelivered uint64 // sent, and not acknowledged by everybody
}

// NewExporter returns an exporter of an app, which is best one with Options.Deaf, as it does not look at what others say.
func NewExporter(app *session.App, o ExporterOptions) (*Exporter, error) {
	o.Queue, o.QueueBytes, o.Retry = cmp.Or(o.Queue, DefaultQueue), cmp.Or(o.QueueBytes, DefaultQueueBytes), cmp.Or(o.Retry, DefaultRetry)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Channels, o.Invited = slices.Clone(o.Channels), slices.Clone(o.Invited)
	if len(o.Channels) == 0 && len(o.Invited) == 0 {
		return nil, fmt.Errorf("%w: an exporter needs Channels or Invited", session.ErrConfig)
	}
	e := &Exporter{app: app, o: o}
	e.life, e.stop = context.WithCancel(context.Background())
	for i := range o.Channels {
		if err := e.open(&o.Channels[i]); err != nil {
			e.stop()
			e.running.Wait()
			return nil, fmt.Errorf("channel %v: %w", o.Channels[i].Name, err)
		}
	}
	if len(o.Invited) > 0 {
		l, err := app.Listen(session.ListenOptions{Accept: o.Accept})
		if err != nil {
			e.stop()
			e.running.Wait()
			return nil, fmt.Errorf("waiting for invitations: %w", err)
		}
		e.running.Go(func() { e.listen(l) })
	}
	return e, nil
}

// open opens a channel's group, and sees to its members.
func (e *Exporter) open(c *Channel) error {
	s, err := e.app.OpenGroup(e.life, c.Name, c.Session)
	if err != nil {
		return err
	}
	of := c.Signals
	if len(of) == 0 {
		of = signals
	}
	e.add(s, of)
	for _, m := range c.Members {
		e.running.Go(func() { e.keep(s, m) })
	}
	return nil
}

// keep invites a member whenever it is not there.
func (e *Exporter) keep(s *session.Session, name session.Name) {
	here := func(p session.Participant) bool { return p.Name.Same(name) && p.Online }
	t := time.NewTicker(e.o.Retry)
	defer t.Stop()
	for {
		if !slices.ContainsFunc(s.Participants(), here) {
			if err := s.Invite(e.life, name); err != nil && !errors.Is(err, session.ErrMember) && e.life.Err() == nil {
				e.o.Logger.Warn("a member of a telemetry channel does not come", "channel", s.Dest(), "member", name, "error", err)
			}
		}
		select {
		case <-t.C:
		case <-s.Done():
			return
		case <-e.life.Done():
			return
		}
	}
}

// listen takes invitations.
func (e *Exporter) listen(l *session.Listener) {
	defer l.Close()
	for s, err := range l.Sessions(e.life) {
		if err != nil {
			return
		}
		e.add(s, e.o.Invited)
	}
}

// add lets batches go to a session.
func (e *Exporter) add(s *session.Session, of []Signal) {
	o := &outlet{e: e, s: s, of: of, wake: make(chan struct{}, 1), under: make(chan sent, mostUnder), room: make(chan struct{}, 1), over: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	o.closing = e.closing
	e.outlets = append(e.outlets, o)
	e.running.Go(o.send)
	e.running.Go(o.settle)
	e.running.Go(o.drain)
}

func (e *Exporter) remove(o *outlet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outlets = slices.DeleteFunc(e.outlets, func(other *outlet) bool { return other == o })
}

// Export sends the encoded request of a signal (ExportTraceServiceRequest, …) to all sessions that are for it, and does not wait. It keeps
// request, which is not to be changed any more.
//
// Errors: ErrNobody; ErrQueueFull; ErrTooLarge; ErrClosed.
func (e *Exporter) Export(of Signal, request []byte) error {
	if len(request) > session.MaxContent-roomForMetadata {
		e.n.tooLarge.Add(1)
		return fmt.Errorf("%w: a batch of %s of %d bytes, and it may have %d", ErrTooLarge, of, len(request), session.MaxContent-roomForMetadata)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ErrClosed
	}
	found := false
	var err error
	for _, o := range e.outlets {
		if !slices.Contains(o.of, of) {
			continue
		}
		found = true
		if !o.put(batch{of, request}) {
			e.n.full.Add(1)
			err = fmt.Errorf("%w: for %v", ErrQueueFull, o.s.Dest())
		}
	}
	if !found {
		e.n.nobody.Add(1)
		return fmt.Errorf("%w: %s", ErrNobody, of)
	}
	return err
}

// roomForMetadata is more than what says of what signal a batch is.
const roomForMetadata = 64

// Close takes no further batches, sends what waits, to members who are still to come, too, and closes the sessions. When ctx ends before that,
// what is left is dropped, and its error returned. The app stays.
func (e *Exporter) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closing = true
	outlets := slices.Clone(e.outlets)
	e.mu.Unlock()
	var closing sync.WaitGroup
	errs := make([]error, len(outlets))
	for i, o := range outlets {
		closing.Go(func() { errs[i] = o.close(ctx) })
	}
	closing.Wait()
	e.stop()
	e.running.Wait()
	return cmp.Or(errs...)
}

// Stats returns the counts.
func (e *Exporter) Stats() ExporterStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := ExporterStats{
		Sessions: len(e.outlets), Sent: e.n.sent.Load(), Nobody: e.n.nobody.Load(), Full: e.n.full.Load(), TooLarge: e.n.tooLarge.Load(),
		Unsent: e.n.unsent.Load(), Undelivered: e.n.undelivered.Load(),
	}
	for _, o := range e.outlets {
		st.Queued += o.waiting()
	}
	return st
}
