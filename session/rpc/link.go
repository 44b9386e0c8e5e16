package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// link is a session that calls share. It lives as long as the session is good for calls, which is not always as long as that is open:
// the other one of a session of two that is offline ends the link, and the next call makes another (P-rpc-8).
//
//	reader: Session.Receive ──▶ call, by its id ──▶ its inbox
//	watcher: Session.NextEvent ──▶ who is not there any more, what will not come
type link struct {
	s     *session.Session
	group bool

	mu    sync.Mutex
	calls map[string]*call // guarded by mu, by id: whose last word has not come
	err   *Error           // guarded by mu: why it is over; nil: it is not
	tasks sync.WaitGroup   // what is still to be sent
	over  chan struct{}    // closed when reader and watcher have ended

	life    context.Context //nolint:containedctx // of its own tasks: until err is set
	end     context.CancelFunc
	room    context.Context //nolint:containedctx // of what is still to be sent: until close waits no longer
	hurry   context.CancelFunc
	doubts  chan struct{} // of one place: there is something to ask about
	probing sync.Once
}

func newLink(s *session.Session) *link {
	l := &link{s: s, group: s.Kind() == session.Group, calls: map[string]*call{}, over: make(chan struct{}), doubts: make(chan struct{}, 1)}
	l.life, l.end = context.WithCancel(context.Background())
	l.room, l.hurry = context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(l.read)
	both.Go(l.watch)
	go func() {
		both.Wait()
		close(l.over)
	}()
	return l
}

// good reports whether calls can begin.
func (l *link) good() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil
}

// add lets a call get its replies, before its first frame is sent; false: the link is over.
func (l *link) add(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.calls[c.id] = c
	return true
}

// begun is called when the first frame of a call was sent: from now on the end of the link is that of the call.
func (l *link) begun(c *call) {
	l.mu.Lock()
	c.begun = true
	err := l.err
	l.mu.Unlock()
	if err != nil {
		c.in.end(err)
	}
}

func (l *link) remove(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, c.id)
}

// fail ends the link and its calls.
func (l *link) fail(err *Error) {
	l.mu.Lock()
	first := l.err == nil
	var calls []*call
	if first {
		l.err = err
		l.end()
		for _, c := range l.calls {
			if c.begun { // others begin anew
				calls = append(calls, c)
			}
		}
		clear(l.calls)
	}
	l.mu.Unlock()
	for _, c := range calls {
		c.in.end(err)
	}
}

// mostBatch is how many messages a reader takes at a time.
const mostBatch = 64

// read gives calls what comes for them. It never waits for one.
func (l *link) read() {
	var seen order
	var batch [mostBatch]*session.Message
	for {
		n, err := l.s.ReceiveMany(context.Background(), batch[:])
		if err != nil {
			l.fail(&Error{Code: Unavailable, Message: "the session of the call is over: " + err.Error(), cause: err})
			return
		}
		for _, m := range batch[:n] {
			if seen.gap(m) {
				l.absent(m.From, "messages of it were lost")
			}
			l.deliver(m)
			m.Handled()
		}
		clear(batch[:n])
	}
}

func (l *link) deliver(m *session.Message) {
	if m.Metadata[keyDir] == dirRequest { // of another member
		return
	}
	l.mu.Lock()
	c := l.calls[m.Metadata[keyID]]
	l.mu.Unlock()
	if c == nil { // it is over, or another member's
		return
	}
	k, failed := kindOf(m)
	switch {
	case l.group:
		c.hear(m, k, failed)
	case k == end:
		l.conclude(c, io.EOF)
	case k == failure:
		l.conclude(c, failed)
	default:
		c.keep(m)
	}
}

// conclude is the last word of a call.
func (l *link) conclude(c *call, err error) {
	l.remove(c)
	c.in.end(err)
}

// watch looks after who is there.
func (l *link) watch() {
	for {
		e, err := l.s.NextEvent(context.Background())
		if err != nil {
			return // the reader says why
		}
		switch e := e.(type) {
		case session.Lost: // in the middle of some call, nobody knows which
			l.absent(e.From, "messages of it were lost: "+e.Reason)
			continue
		case session.Outdated:
			l.fail(&Error{Code: Unavailable, Message: "the keys of the session are out of date"})
		case session.Refused:
			if e.Type == typeData || e.Type == typeRepeat {
				l.doubt()
			}
			continue
		case session.Undelivered:
			l.undelivered(e.Err)
		case session.Missed: // such as Lost
			l.doubt()
		}
		l.look()
	}
}

// look finds out who has gone.
func (l *link) look() {
	here := map[session.Name]bool{}
	for _, p := range l.s.Participants() {
		switch {
		case p.Self:
		case p.Online && p.Receives:
			here[p.Name] = true
		case !l.group: // who leaves a session of two ends it
			l.fail(&Error{Code: Unavailable, Message: p.Name.String() + " is offline"})
		}
	}
	for _, c := range l.pending() {
		if c.members != nil {
			c.gone(func(n session.Name) bool { return !here[n] }, errAbsent)
		}
	}
}

// undelivered says that frames were given up. Those who lack them need not be offline: it may have been this end that was cut off, so that
// nobody has been silent, and nobody else knows that there was something (P-rpc-8).
func (l *link) undelivered(err error) {
	var lacking *session.NotDelivered
	if errors.As(err, &lacking) {
		for _, n := range lacking.Missing {
			l.absent(n, "messages to "+n.String()+" were not delivered")
		}
	}
}

// absent says that what a member has to say will not come, or not all of it.
func (l *link) absent(n session.Name, why string) {
	if !l.group {
		l.fail(&Error{Code: Unavailable, Message: why})
		return
	}
	for _, c := range l.pending() {
		c.gone(func(member session.Name) bool { return member == n }, &Error{Code: Unavailable, Message: why})
	}
}

func (l *link) pending() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := make([]*call, 0, len(l.calls))
	for _, c := range l.calls {
		calls = append(calls, c)
	}
	return calls
}

// farewellTime is how long the last frames of a call that is given up may wait for room.
const farewellTime = 5 * time.Second

// later has something sent beside the calls.
func (l *link) later(send func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(l.room, farewellTime)
		defer cancel()
		send(ctx)
	})
}

// close ends the link and its session. The other end of one that was good learns of it.
func (l *link) close(ctx context.Context) error {
	l.fail(&Error{Code: Canceled, Message: "the client was closed"})
	stop := context.AfterFunc(ctx, l.hurry)
	l.tasks.Wait()
	stop()
	l.hurry()
	err := l.s.Close(ctx)
	<-l.over
	return err
}
