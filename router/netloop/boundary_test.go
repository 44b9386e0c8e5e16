package netloop

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// owner counts panics and may panic itself.
type owner struct {
	panics int
	batch  func()
}

func (o *owner) Turn() {}
func (o *owner) Batch() {
	if f := o.batch; f != nil {
		f()
	}
}
func (o *owner) Tick(time.Time)                {}
func (o *owner) Panicked(*Socket, any, []byte) { o.panics++ }

// handler does what its fields say.
type handler struct {
	k        *Socket
	writable func()
	ended    func() bool
	over     bool
}

func (h *handler) Opened(k *Socket) { h.k = k }
func (h *handler) Read([]byte)      {}
func (h *handler) Flushing(bool)    {}
func (h *handler) Flushed()         {}
func (h *handler) Writable()        { h.writable() }
func (h *handler) Muted()           {}
func (h *handler) Ended() bool      { return h.ended() }
func (h *handler) Closed(error)     { h.over = true }

// table returns a manual loop with n sockets and the peers' ends of them.
func table(t *testing.T, n int) (m *Manual, o *owner, hs []*handler, peers []int) {
	t.Helper()
	o = &owner{}
	m = NewManual(0, func(*Loop) Owner { return o })
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
		h := &handler{}
		m.Attach(fds[0], h)
		hs, peers = append(hs, h), append(peers, fds[1])
	}
	return m, o, hs, peers
}

// fill blocks a socket.
func (m *Manual) fill(k *Socket) {
	m.Station().Post(func() {
		for k.Takes() {
			x := k.Outbox()
			x.B = append(x.B, make([]byte, OutboxSize/2)...)
			k.Flush()
		}
	})
	m.RunTurn()
}

func drain(fd int) {
	for b := make([]byte, 1<<20); ; {
		if n, err := unix.Read(fd, b); n <= 0 || err != nil {
			return
		}
	}
}

// A socket is told once that it can write again: another's fault must not keep that from it.
func TestPanicOfAWritableSocketKeepsTheOthers(t *testing.T) {
	m, o, hs, peers := table(t, 3)
	told := 0
	for i, h := range hs {
		h.writable = func() {
			if i == 1 {
				panic("broken")
			}
			told++
		}
		m.fill(h.k)
		if !h.k.Blocked() {
			t.Fatal("not blocked")
		}
		drain(peers[i])
	}
	for range 3 {
		m.Ready()
		for _, p := range peers {
			drain(p)
		}
	}
	if told != 2 || o.panics != 1 || !hs[1].over || hs[0].over || hs[2].over {
		t.Errorf("%d told, %d panics, over: %v %v %v", told, o.panics, hs[0].over, hs[1].over, hs[2].over)
	}
}

// gnet closes the descriptor of a socket that has ended, whatever its handler does.
func TestPanicAtTheEndOfInputClosesTheSocket(t *testing.T) {
	l, peer := enrolled(t, &handler{ended: func() bool { panic("broken") }})
	_ = peer.Close()
	eventually(t, "it counts as a socket no more", func() bool { return l.Sockets() == 0 })
}

func TestPanicOfTheOwnersBatchEnds(t *testing.T) {
	m, o, hs, _ := table(t, 1)
	o.batch = func() { panic("broken") }
	m.Deliver(hs[0].k, []byte("x"))
	if o.panics != 1 || hs[0].over {
		t.Errorf("%d panics, over %v", o.panics, hs[0].over)
	}
}

// enrolled returns a loop on gnet with one TCP socket, and the peer's end.
func enrolled(t *testing.T, h Handler) (*Loop, *net.TCPConn) {
	t.Helper()
	e, err := Start(Options{Loops: 1, ReadBuffer: 4 << 10}, func(*Loop) Owner { return &owner{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l := e.Loops()[0]
	if err := l.Enrol(c, h); err != nil {
		t.Fatal(err)
	}
	return l, peer.(*net.TCPConn)
}
