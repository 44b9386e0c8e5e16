package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session"
)

// serverLink is a session by which calls come. Its reader begins them and gives them their requests, and waits for no handler.
//
//	reader: Session.Receive ──▶ a new call: its goroutine, its handler
//	                        └─▶ a call that is served: its inbox
//	watcher: Session.NextEvent ──▶ callers that have gone
type serverLink struct {
	server *Server
	s      *session.Session
	ctx    context.Context //nolint:containedctx // parent of the calls' contexts
	cancel context.CancelCauseFunc

	kept purse // by the calls that are served

	mu      sync.Mutex
	calls   map[callKey]*serverCall // guarded by mu: that are served
	past    map[callKey]past        // guarded by mu: calls that were served, of which a first frame does not make another (P-rpc-4)
	oldest  fifo.Queue[callKey]     // guarded by mu: the same in the order in which they ended
	running sync.WaitGroup          // handlers; added to with mu held
	words   sync.WaitGroup          // to callers that are back
	stopped bool                    // guarded by mu: no further calls
	once    sync.Once
	over    chan struct{} // closed when close has been
}

// callKey names a call: ids are their callers', so that one caller cannot disturb another one's.
type callKey struct {
	from session.Name
	id   string
}

// past is a call that was served.
type past struct {
	last   *session.Delivery // of the last word; nil: there was none, or it is being said again
	unsaid bool              // there was none, since the caller had gone
}

// unheard reports whether the caller does not know that the call is over.
func (p *past) unheard() bool { return p.unsaid || p.last != nil && p.last.Err() != nil }

// mostPast is how many calls are remembered that are over.
const mostPast = 1024

// Causes of the end of calls' contexts.
var (
	errStopped  = &Error{Code: Canceled, Message: "the server is shutting down"}
	errGone     = &Error{Code: Canceled, Message: "the caller has gone"}
	errReturned = &Error{Code: Canceled, Message: "the handler has returned"}

	errUnheard = &Error{Code: Unavailable, Message: "the caller was offline, and replies were given up"}
)

func newServerLink(server *Server, s *session.Session) *serverLink {
	l := &serverLink{server: server, s: s, calls: map[callKey]*serverCall{}, past: map[callKey]past{}, over: make(chan struct{})}
	l.kept.bound, l.kept.all = bound{server.o.SessionBuffer, "SessionBuffer"}, server.kept
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// serve returns when the session is over, and all handlers have returned.
func (l *serverLink) serve() {
	var watcher sync.WaitGroup
	watcher.Go(l.watch)
	var seen order
	var batch [mostBatch]*session.Message
	for {
		n, err := l.s.ReceiveMany(context.Background(), batch[:])
		if err != nil {
			break
		}
		for _, m := range batch[:n] {
			if seen.gap(m) {
				l.lost(m.From, "they are missing in the session")
			}
			l.take(m)
			m.Handled()
		}
		clear(batch[:n])
	}
	l.cancel(errGone)
	l.running.Wait() // nobody but this goroutine adds
	l.close()
	watcher.Wait()
	l.words.Wait() // nobody but the watcher adds
}

// take is what a frame does (P-rpc-4).
func (l *serverLink) take(m *session.Message) {
	id := m.Metadata[keyID]
	if id == "" || len(id) > mostID || m.Metadata[keyDir] != dirRequest {
		return
	}
	key := callKey{m.From, id}
	k, failed := kindOf(m)
	l.mu.Lock()
	c := l.calls[key]
	_, past := l.past[key]
	l.mu.Unlock()
	switch {
	case c != nil:
		c.take(m, k, failed)
	case !past && k != failure && m.Metadata[keyService] != "" && m.Metadata[keyMethod] != "":
		l.begin(key, m, k)
	}
}

// begin serves a new call, or says why not.
func (l *serverLink) begin(key callKey, m *session.Message, k kind) {
	c, r, err := l.admit(key, m)
	if err != nil {
		l.mu.Lock()
		l.remember(key, past{})
		l.mu.Unlock()
		l.saidAgain(key, l.refuse(key.id, err))
		return
	}
	c.take(m, k, nil)
	go c.run(r.handler)
}

func (l *serverLink) admit(key callKey, m *session.Message) (*serverCall, *registration, *Error) {
	service, name := m.Metadata[keyService], m.Metadata[keyMethod]
	r := l.server.find(Method{Service: service, Name: name}.key())
	if r == nil {
		return nil, nil, Errorf(Unimplemented, "Method not found: %s/%s", clip(service, 200), clip(name, 200))
	}
	now := time.Now()
	deadline := now.Add(l.server.o.MaxTime)
	if text, ok := m.Metadata[keyDeadline]; ok {
		t, err := parseDeadline(text)
		if err != nil {
			return nil, nil, asError(err, "deadline")
		}
		if !t.IsZero() && t.Add(l.server.o.Skew).Before(deadline) {
			// As time from now, so that it stays where it is when this clock is set.
			deadline = now.Add(t.Add(l.server.o.Skew).Sub(now))
		}
	}
	if late := now.Sub(deadline); late >= 0 {
		return nil, nil, Errorf(DeadlineExceeded, "the deadline was over before the call came, for %v by the server's clock", late.Round(time.Second))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil, nil, errStopped
	}
	if n := len(l.calls); n >= l.server.o.SessionCalls {
		return nil, nil, Errorf(ResourceExhausted, "%d calls of this session are served, and no more at a time", n)
	}
	size := sizeOf(m.Metadata)
	if full := l.kept.take(size, 0); full != nil {
		return nil, nil, Errorf(ResourceExhausted, "calls keep more than %d bytes: make fewer at a time, or raise ServerOptions.%s", full.most, full.option)
	}
	if err := l.server.admit(); err != nil {
		l.kept.put(size)
		return nil, nil, err
	}
	c := newServerCall(l, key, r.method, m, deadline)
	l.calls[key] = c
	l.running.Add(1)
	return c, r, nil
}

// remember is called with mu held, of a call that is over.
func (l *serverLink) remember(key callKey, p past) {
	if _, ok := l.past[key]; ok {
		return
	}
	l.past[key] = p
	if l.oldest.Push(key); l.oldest.Len() > mostPast {
		delete(l.past, l.oldest.Pop())
	}
}

// done is called when the handler has returned and its last word is said.
func (l *serverLink) done(c *serverCall) {
	l.kept.put(c.size)
	l.mu.Lock()
	delete(l.calls, c.key)
	l.remember(c.key, past{c.last.Load(), c.unsaid.Load()})
	l.mu.Unlock()
	l.server.release()
}

// refuse answers a call that is not served, also while the server stops: handlers may take their time then.
func (l *serverLink) refuse(id string, err *Error) *session.Delivery {
	d, _ := l.publish(context.Background(), session.Content{Data: []byte(clip(err.Message, mostText)), Metadata: map[string]string{keyID: id, keyCode: codeTexts[err.Code]}})
	return d
}

// publish sends a frame to the caller; in a group to all, since a message for one member has no order with others (P-rpc-11).
func (l *serverLink) publish(ctx context.Context, frame session.Content) (*session.Delivery, error) {
	return l.s.Publish(ctx, frame)
}

// watch cancels calls of callers that have gone, and tells those that are back.
func (l *serverLink) watch() {
	for {
		e, err := l.s.NextEvent(context.Background())
		if err != nil {
			return // the reader knows
		}
		if lost, ok := e.(session.Lost); ok {
			l.lost(lost.From, lost.Reason)
			continue
		}
		here := l.here()
		l.each(func(c *serverCall) {
			if !here[c.key.from] {
				c.cancel(errGone)
			}
		})
		switch e := e.(type) {
		case session.Undelivered:
			l.undelivered(e.Err, here)
		case session.Presence:
			if e.Online {
				l.again(here)
			}
		case session.Missed:
			l.again(here)
		}
	}
}

// here are those who can hear.
func (l *serverLink) here() map[session.Name]bool {
	here := map[session.Name]bool{}
	for _, p := range l.s.Participants() {
		here[p.Name] = p.Online
	}
	return here
}

// again tells callers of calls that are over, and of which they have not heard that: they were offline for so long that it was given up, or
// not said at all, and may not have noticed (P-rpc-8).
func (l *serverLink) again(here map[session.Name]bool) {
	said := map[callKey]func(d *session.Delivery){} // what is to be done with the word that is said again
	l.mu.Lock()
	for key, c := range l.calls {
		last := c.last.Load()
		if here[key.from] && (c.unsaid.CompareAndSwap(true, false) || last != nil && last.Err() != nil) {
			c.last.Store(nil)
			said[key] = c.last.Store
		}
	}
	for key, p := range l.past {
		if here[key.from] && p.unheard() {
			l.past[key] = past{}
			said[key] = func(d *session.Delivery) { l.saidAgain(key, d) }
		}
	}
	l.mu.Unlock()
	if len(said) > 0 {
		l.words.Go(func() {
			for key, then := range said {
				then(l.refuse(key.id, errUnheard))
			}
		})
	}
}

// saidAgain notes the last word of a call that is over.
func (l *serverLink) saidAgain(key callKey, d *session.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.past[key]; ok {
		l.past[key] = past{last: d}
	}
}

// undelivered ends calls of callers who lack replies that were given up, and tells them: they need not have been offline, as it may have been
// this end that was cut off, and would wait for ever. A last word that is not delivered either is said again (P-rpc-8).
func (l *serverLink) undelivered(err error, here map[session.Name]bool) {
	var lacking *session.NotDelivered
	if !errors.As(err, &lacking) {
		return
	}
	l.each(func(c *serverCall) {
		if slices.Contains(lacking.Missing, c.key.from) {
			c.cancel(errUnheard)
		}
	})
	l.again(here)
}

// lost ends the requests of a caller's calls: some are missing, of one of them.
func (l *serverLink) lost(from session.Name, why string) {
	l.each(func(c *serverCall) {
		if c.key.from == from {
			c.in.end(Errorf(Unavailable, "messages of the caller were lost: %s", why))
		}
	})
}

func (l *serverLink) each(f func(c *serverCall)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		f(c)
	}
}

// stop ends calls that are served, tells their callers, and closes the session.
func (l *serverLink) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.cancel(errStopped)
	l.running.Wait()
	l.close()
}

// closeTime is how long callers may take to acknowledge the end of a session.
const closeTime = 10 * time.Second

// close ends the session.
func (l *serverLink) close() {
	l.once.Do(func() {
		defer close(l.over)
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if err := l.s.Close(ctx); err != nil && !errors.Is(err, session.ErrClosed) {
			l.server.o.Logger.Warn("a session of calls was not closed in an orderly way", "session", l.s.ID(), "error", err)
		}
	})
	<-l.over
}
