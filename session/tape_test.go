package session

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// item is one of a list of what sessions do.
type item struct {
	name string
	tell func(t *testing.T)
}

// runs tells them all, each as a test of its name. What is a test of its own is not told again, unless long runs are asked for.
func runs(t *testing.T, list []item) {
	t.Helper()
	for _, i := range list {
		if long || !isTest(i.tell) {
			t.Run(i.name, i.tell)
		}
	}
}

// isTest reports whether tell is a test by itself.
func isTest(tell func(t *testing.T)) bool {
	name := runtime.FuncForPC(reflect.ValueOf(tell).Pointer()).Name()
	_, name, _ = strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ".")
	return strings.HasPrefix(name, "Test") && !strings.Contains(name, ".") // what a test makes has further parts
}

// told tells it in simulated time.
func told(tell func(t *testing.T, h *hub)) func(t *testing.T) {
	return func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub) {
			guard := time.AfterFunc(6*time.Hour, func() { panic(t.Name() + " does not end") })
			defer guard.Stop()
			tell(t, h)
		})
	}
}

// eachWay is told, with MLS and without.
func eachWay(tell func(t *testing.T, h *hub, o SessionOptions)) func(t *testing.T) {
	return func(t *testing.T) {
		for _, o := range []SessionOptions{{}, {Plain: true}} {
			t.Run(fmt.Sprint("plain ", o.Plain), told(func(t *testing.T, h *hub) { tell(t, h, o) }))
		}
	}
}

// taped is a message on its way to one app; from and to are the last parts of the apps' names.
type taped struct {
	from, to string
	at       time.Time
	m        *message.Message
}

// tape has all that goes by.
type tape struct {
	mu   sync.Mutex
	list []taped // guarded by mu
}

// tapes records what goes by from now on. edit, if there is one, says what comes in the stead of a message, which it may change: nil, nothing.
func (h *hub) tapes(edit func(from, to string, m *message.Message) *message.Message) *tape {
	x := new(tape)
	h.cuts(func(from, to *hubLink, m *message.Message) bool {
		was := m.Append(nil)
		copied, err := message.Decode(bytes.Clone(was))
		if err != nil {
			h.t.Error(err)
		}
		x.mu.Lock()
		x.list = append(x.list, taped{from.label, to.label, time.Now(), copied})
		x.mu.Unlock()
		if edit == nil {
			return false
		}
		fresh, _ := message.Decode(bytes.Clone(was))
		switch now := edit(from.label, to.label, fresh); {
		case now == nil:
			return true
		case string(now.Append(nil)) != string(was):
			to.queue <- arrival{time.Now().Add(h.delay), now.Append(nil)}
			return true
		}
		return false
	})
	return x
}

// of are those of a type, from one app to another; "" stands for any.
func (x *tape) of(kind message.Type, from, to string) (list []taped) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.list {
		if e.m.Type == kind && (from == "" || e.from == from) && (to == "" || e.to == to) {
			list = append(list, e)
		}
	}
	return list
}

// only is the one message of a type between two.
func (x *tape) only(t *testing.T, kind message.Type, from, to string) *message.Message {
	t.Helper()
	list := x.of(kind, from, to)
	if len(list) != 1 {
		t.Fatalf("%d messages %v from %q to %q", len(list), kind, from, to)
	}
	return list[0].m
}

// says is a control message of this app, signed as it must be.
func (a *App) says(t *testing.T, m message.Message) *message.Message {
	t.Helper()
	m.Source, m.Fanout, m.TTL, m.Version = a.self.Name, 1, 8, a.self.Version
	return a.signs(t, &m)
}

// signs signs m anew, by this app.
func (a *App) signs(t *testing.T, m *message.Message) *message.Message {
	t.Helper()
	m.Identity, m.Content = a.who.token(time.Now()), nil
	delete(m.Metadata, message.KeyPayloadSignature)
	if err := a.who.key.Sign(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// tells has an app hear m, whoever it is from, and returns what that adds to the app's counts.
func (h *hub) tells(to *App, m *message.Message) (added Stats) {
	before := to.Stats()
	h.inject(to, m.Append(nil))
	now := to.Stats()
	return Stats{
		Unreadable: now.Unreadable - before.Unreadable, Stray: now.Stray - before.Stray, Unbelieved: now.Unbelieved - before.Unbelieved,
		Unheard: now.Unheard - before.Unheard, Refused: now.Refused - before.Refused, Overflow: now.Overflow - before.Overflow,
	}
}

// with wants everybody to know these others.
func with(t *testing.T, members []*Session, names ...string) {
	t.Helper()
	slices.Sort(names)
	for _, s := range members {
		mine := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == s.Self().Parts()[2] })
		if got := others(s); !slices.Equal(got, mine) {
			t.Errorf("%v is with %q, want %q", s.Self(), got, mine)
		}
	}
}

// offline are those whom s takes for offline.
func offline(s *Session) (names []string) {
	for _, p := range s.Participants() {
		if !p.Online {
			names = append(names, p.Name.Parts()[2])
		}
	}
	return names
}

// events wants an event, and passes over others.
func event[E Event](t *testing.T, s *Session) E {
	t.Helper()
	for e, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatalf("no %T: %v", *new(E), err)
		}
		if e, ok := e.(E); ok {
			return e
		}
	}
	t.Fatalf("no %T: the session is over: %v", *new(E), s.Err())
	return *new(E)
}

// say publishes a text.
func say(t *testing.T, s *Session, text string) *Delivery {
	t.Helper()
	d, err := s.Publish(t.Context(), Text(text))
	if err != nil {
		t.Fatalf("%v: %q: %v", s.Self(), text, err)
	}
	return d
}

// closes closes it.
func closes(t *testing.T, s *Session) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("%v closes: %v", s.Self(), err)
	}
}

// unread is how many messages wait for Receive.
func (s *Session) unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.messages.Len()
}

// waits is how many sessions wait for Accept.
func (l *Listener) waits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
