package netloop

import (
	"cmp"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

func TestLackOfDescriptorsIsSaidOnceAMinute(t *testing.T) {
	var r rarely
	now := time.Now()
	for i, want := range []bool{true, false, false, true, false} {
		if got := r.due(now.Add(time.Duration(i) * 25 * time.Second)); got != want {
			t.Errorf("after %d s: %v", i*25, got)
		}
	}
}

// listen returns a listener and the goroutine of Accept that serves it; over is closed when that has ended. Handshakes
// have time on a machine that does much else, unless a says how much.
func (r *rigged) listen(a Acceptance) (ln *Listener, over chan struct{}) {
	r.t.Helper()
	a.Timeout, a.Patience = cmp.Or(a.Timeout, 2*hang), cmp.Or(a.Patience, 2*hang)
	lns, err := Listen(r.t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		r.t.Fatal(err)
	}
	over = make(chan struct{})
	go func() { defer close(over); r.e.Accept(lns[0], a) }()
	r.t.Cleanup(func() { lns[0].Close(); <-over })
	return lns[0], over
}

func (r *rigged) connect(ln *Listener) net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// A panic while a connection is taken costs that connection; the listener goes on.
func TestPanicWhileAcceptingCostsOneConnection(t *testing.T) {
	r := rig(t, Options{})
	var calls atomic.Int64
	h := &tape{}
	ln, over := r.listen(Acceptance{
		Full: func() bool {
			if calls.Add(1) == 1 {
				panic("broken")
			}
			return false
		},
		Handler: func(*Loop) Handler {
			if calls.Load() == 2 {
				panic("broken")
			}
			return h
		},
	})
	if _, err := r.connect(ln).Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection of the fault: %v, want its end", err)
	}
	r.connect(ln)
	eventually(t, "the next is taken", func() bool { return h.has("opened") })
	if n := r.boss.panics.Load(); n != 2 {
		t.Errorf("%d panics are reported, want 2", n)
	}
	ln.Close()
	<-over
}

// While the limit is reached clients wait in the kernel, and it is said.
func TestFullNodeLeavesClientsInTheBacklog(t *testing.T) {
	r := rig(t, Options{})
	var full atomic.Bool
	full.Store(true)
	said := make(chan error, 1)
	h := &tape{}
	ln, _ := r.listen(Acceptance{
		Full:    full.Load,
		Handler: func(*Loop) Handler { return h },
		Failed:  func(_ *Listener, err error) { said <- err },
	})
	c := r.connect(ln)
	if err := <-said; err != ErrFull {
		t.Errorf("said %v, want %v", err, ErrFull)
	}
	if h.has("opened") {
		t.Error("it was taken")
	}
	full.Store(false)
	eventually(t, "it is taken", func() bool { return h.has("opened") })
	_ = c.Close()
	eventually(t, "it is closed", func() bool { return h.has("closed") })
}

// Sockets go to the loop that has the fewest.
func TestSocketsAreSpreadOverLoops(t *testing.T) {
	r := rig(t, Options{Loops: 3})
	ln, _ := r.listen(Acceptance{Handler: func(*Loop) Handler { return &tape{} }})
	for range 30 {
		r.connect(ln)
	}
	eventually(t, "all are taken", func() bool {
		n := 0
		for _, l := range r.e.Loops() {
			n += l.Sockets()
		}
		return n == 30
	})
	for _, l := range r.e.Loops() {
		if l.Sockets() != 10 {
			t.Errorf("loop %d has %d sockets of 30", l.Index(), l.Sockets())
		}
	}
}
