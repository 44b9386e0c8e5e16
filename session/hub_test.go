package session

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func TestMain(m *testing.M) {
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	leak.Main(m)
}

// long asks for what is tried in many cases in full, as CI does.
var long = os.Getenv("SLIMGO_TEST_LONG") != ""

var secret = []byte("a secret of thirty-two characters, or more")

// hub is a node in memory, in which messages take a while.
type hub struct {
	t     *testing.T
	delay time.Duration
	mu    sync.Mutex
	r     *rand.Rand
	loss  float64
	links []*hubLink
	turn  int
	cut   func(from, to *hubLink, m *message.Message) bool // messages that do not come through
	trace []string
}

func newHub(t *testing.T) *hub {
	return &hub{t: t, delay: 5 * time.Millisecond, r: rand.New(rand.NewPCG(1, 2))}
}

// hubLink is an app's link.
type hubLink struct {
	h      *hub
	from   Incoming
	label  string // the last part of the app's name; guarded by h.mu
	queue  chan arrival
	done   chan struct{}
	names  map[uint64]wire.Name // guarded by h.mu
	nextID uint64
	room   int  // messages that TrySend takes; negative: any number
	down   bool // guarded by h.mu
	more   chan struct{}
}

type arrival struct {
	at time.Time
	b  []byte
}

func (h *hub) link(_ context.Context, from Incoming) (Link, error) {
	l := &hubLink{h: h, from: from, queue: make(chan arrival, 1<<12), done: make(chan struct{}), names: map[uint64]wire.Name{}, room: -1, more: make(chan struct{})}
	h.mu.Lock()
	h.links = append(h.links, l)
	h.mu.Unlock()
	from.Changed(nil)
	go func() {
		defer close(l.done)
		for m := range l.queue {
			time.Sleep(time.Until(m.at))
			b := m.b
			l.from.Messages([][]byte{b})
		}
	}()
	return l, nil
}

func (l *hubLink) TrySend(b []byte) error {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	return l.send(b)
}

func (l *hubLink) send(b []byte) error {
	if l.down {
		return uplink.ErrDown
	}
	if l.room == 0 {
		return uplink.ErrFull
	}
	if len(b) > uplink.MaxMessage {
		return uplink.ErrTooLarge
	}
	l.room--
	m, err := message.Decode(b)
	if err != nil {
		l.h.t.Errorf("sent: %v", err)
		return err
	}
	l.h.carry(l, m, bytes.Clone(b))
	return nil
}

func (h *hub) carry(from *hubLink, m *message.Message, b []byte) {
	if m.Type.Control() && m.Type != message.Heartbeat {
		h.trace = append(h.trace, fmt.Sprintf("%s -> %s: %v", m.Source.Str[2], m.Dest.Str[2], m.Type))
	}
	var to []*hubLink
	for _, l := range h.links {
		if l == from || l.down {
			continue
		}
		for _, n := range l.names {
			if n == m.Dest.Name || m.Dest.Name.IsNull() && n.C == m.Dest.Name.C {
				to = append(to, l)
				break
			}
		}
	}
	if m.Fanout <= 1 && len(to) > 1 {
		h.turn++
		to = to[h.turn%len(to):][:1]
	}
	for _, l := range to {
		if h.r.Float64() < h.loss || h.cut != nil && h.cut(from, l, m) {
			continue
		}
		if l.names != nil {
			l.queue <- arrival{time.Now().Add(h.delay), b}
		}
	}
}

func (l *hubLink) Await(ctx context.Context, _ int) error {
	for {
		l.h.mu.Lock()
		down, room, more := l.down, l.room, l.more
		l.h.mu.Unlock()
		switch {
		case down:
			return uplink.ErrDown
		case room != 0:
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lets the link take so many messages; negative: any number.
func (l *hubLink) lets(n int) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.room = n
	close(l.more)
	l.more = make(chan struct{})
}

// breaks takes the connection away, or brings it back.
func (l *hubLink) breaks(down bool) {
	l.h.mu.Lock()
	l.down = down
	close(l.more)
	l.more = make(chan struct{})
	l.h.mu.Unlock()
	if down {
		l.from.Changed(uplink.ErrEnded)
	} else {
		l.from.Changed(nil)
	}
}

func (l *hubLink) Subscribe(ctx context.Context, h *wire.PublishHeader) (uint64, error) {
	select {
	case <-time.After(2 * l.h.delay):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.nextID++
	l.names[l.nextID] = h.Dest.Name
	return l.nextID, nil
}

func (l *hubLink) Unsubscribe(ctx context.Context, id uint64) error {
	select {
	case <-time.After(2 * l.h.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	delete(l.names, id)
	return nil
}

func (l *hubLink) Close(context.Context) error {
	l.h.mu.Lock()
	l.names = nil
	l.h.mu.Unlock()
	close(l.queue)
	<-l.done
	return nil
}

// app connects one whose name ends in this part, and closes it with the test.
func (h *hub) app(name string, change ...func(*Options)) *App {
	h.t.Helper()
	o := Options{Name: MustName("org/ns/" + name), Secret: secret, Link: h.link, Workers: 2}
	store := new(MemoryStore)
	if name == "bob" || name == "dave" { // some have one, and some have not
		o.Store, o.StoreKey = store, storeKey
	}
	for _, f := range change {
		f(&o)
	}
	a, err := Connect(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	if l, ok := a.out.link.(*hubLink); ok {
		l.label = name
	}
	h.mu.Unlock()
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			h.t.Errorf("%s: close: %v", name, err)
		}
		if o.Store == store {
			wantNoSessions(h.t, store)
		}
	})
	return a
}

func (h *hub) linkOf(a *App) *hubLink {
	if l, ok := a.out.link.(olderLink); ok {
		return l.Link.(*hubLink)
	}
	return a.out.link.(*hubLink)
}

// bubble runs a test in simulated time.
func bubble(t *testing.T, run func(t *testing.T, h *hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newHub(t)) })
}

func listen(t *testing.T, a *App) *Listener {
	t.Helper()
	l, err := a.Listen(ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func accept(t *testing.T, l *Listener) *Session {
	t.Helper()
	s, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// publish publishes texts and waits until all are delivered.
func publish(t *testing.T, s *Session, texts ...string) {
	t.Helper()
	var all []*Delivery
	for _, text := range texts {
		d, err := s.Publish(t.Context(), Text(text))
		if err != nil {
			t.Fatalf("%v publishes: %v", s.Self(), err)
		}
		all = append(all, d)
	}
	for i, d := range all {
		if err := d.Wait(t.Context()); err != nil {
			t.Errorf("%v: %q: %v", s.Self(), texts[i], err)
		}
	}
}

// receives wants these texts of a member, in this order, as the next messages.
func receives(t *testing.T, s *Session, from *App, texts ...string) {
	t.Helper()
	for _, want := range texts {
		m, err := s.Receive(t.Context())
		if err != nil {
			t.Fatalf("%v: instead of %q: %v", s.Self(), want, err)
		}
		if string(m.Data) != want || m.From != from.Name() {
			t.Errorf("%v: %q from %v, want %q from %v", s.Self(), m.Data, m.From, want, from.Name())
		}
		if s.Encrypted() != (m.Subject == from.Subject()) {
			t.Errorf("%v: subject is %q", s.Self(), m.Subject)
		}
	}
}

func numbered(text string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(text, " ", i))
	}
	return list
}
