package session

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
)

// DefaultBacklog is how many sessions may wait for Accept.
const DefaultBacklog = 128

// ListenOptions say which invitations an app takes. The zero value takes all.
type ListenOptions struct {
	// Accept judges an invitation; an error declines it, and is the reason that a moderator gets to know who uses this package, too.
	// Others get no answer. It must not wait, and not keep i. nil: all are taken.
	Accept func(i *Invitation) error
	// Backlog is how many sessions may wait for Accept, those included that are about to be opened; 0: DefaultBacklog. While
	// there are so many the app cannot be invited: another instance of it may be.
	Backlog int
	// PerInviter is how many of these places the sessions of one inviter may take, by the subject of its token; 0: half of Backlog, and at
	// least one. What is beyond is declined.
	PerInviter int
}

// Invitation is what is known of a session before it is one.
type Invitation struct {
	From      Name   // the moderator, with its id
	Subject   string // of its token, verified
	To        Name   // the name of this app that it has asked for
	Kind      Kind
	Channel   Name // of a group
	Encrypted bool
	Reliable  bool
	Metadata  map[string]string
}

// Listener gets the sessions to which an app is invited. All methods are safe for all.
type Listener struct {
	app *App
	o   ListenOptions

	mu       sync.Mutex
	reserved int            // sessions that were begun and not accepted, those in queue included
	by       map[string]int // the same, by the subjects of their inviters
	queue    []*Session     // that are open
	waiting  waiting
	closed   bool
}

// Listen lets the app be invited, until the listener is closed. Sessions that Connect has restored, and others have opened, come first. An app has one listener at a time: ErrListening. Without one nobody
// finds it.
func (a *App) Listen(o ListenOptions) (*Listener, error) {
	if o.Backlog <= 0 {
		o.Backlog = DefaultBacklog
	}
	if o.PerInviter <= 0 {
		o.PerInviter = max(1, o.Backlog/2)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closing:
		return nil, ErrClosed
	case a.over:
		return nil, ErrStopped
	case a.listener != nil:
		return nil, ErrListening
	}
	a.listener = &Listener{app: a, o: o, queue: a.restored, by: map[string]int{}}
	a.restored = nil
	return a.listener, nil
}

// accepts reports whether an invitation would be looked at.
func (a *App) accepts() bool {
	a.mu.Lock()
	l := a.listener
	a.mu.Unlock()
	return l != nil && l.hasRoom()
}

func (l *Listener) hasRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.reserved < l.o.Backlog
}

// place is one in the backlog of a listener.
type place struct {
	l       *Listener
	inviter string // subject
}

var (
	errNoPlace   = errors.New("it takes no further sessions now")
	errNoPlaceOf = errors.New("it takes no further sessions of yours before it has accepted others")
)

// reserve takes a place in the backlog of the listener, for a session of this inviter; an error: there is none.
func (a *App) reserve(inviter string) (*place, error) {
	a.mu.Lock()
	l := a.listener
	a.mu.Unlock()
	if l == nil {
		return nil, errNoPlace
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed || l.reserved >= l.o.Backlog:
		return nil, errNoPlace
	case l.by[inviter] >= l.o.PerInviter:
		return nil, errNoPlaceOf
	}
	l.reserved++
	l.by[inviter]++
	return &place{l, inviter}, nil
}

// release gives a place back.
func (p *place) release() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.free()
}

// free is release with mu held.
func (p *place) free() {
	p.l.reserved--
	if p.l.by[p.inviter]--; p.l.by[p.inviter] == 0 {
		delete(p.l.by, p.inviter)
	}
}

// opened puts a session in the queue, whose place p is until it is accepted; false: the listener is closed.
func (p *place) opened(s *Session) bool {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	s.place = p
	l.queue = append(l.queue, s)
	l.waiting.wake()
	return true
}

// Accept returns the next session. Errors are ErrClosed, and that of ctx.
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	return await(ctx, &l.mu, &l.waiting, func() (*Session, bool, error) {
		switch {
		case l.closed:
			return nil, false, ErrClosed
		case len(l.queue) > 0:
			s := l.queue[0]
			l.queue = l.queue[1:]
			if s.place != nil { // it was not restored
				s.place.free()
				s.place = nil
			}
			return s, true, nil
		}
		return nil, false, nil
	})
}

// Sessions are those that Accept returns, one after the other, until the listener is closed or ctx is over, whose error comes last.
func (l *Listener) Sessions(ctx context.Context) iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		for {
			s, err := l.Accept(ctx)
			if err == ErrClosed || !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the listener: whoever waits in Accept gets ErrClosed. Sessions that nobody has accepted are left; those that Connect has
// restored wait for the next listener.
func (l *Listener) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.waiting.wake()
	l.mu.Unlock()
	for _, s := range queue {
		if !s.restored {
			s.leave()
		}
	}
	l.app.mu.Lock()
	defer l.app.mu.Unlock()
	l.app.listener = nil
	l.app.restored = slices.DeleteFunc(queue, func(s *Session) bool { return !s.restored })
}

// stop ends the listener, and no session.
func (l *Listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed, l.queue = true, nil
		l.waiting.wake()
	}
}
