package netloop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hang is when a test that waits for an event is given up: long after a busy machine has come to it.
const hang = 5 * time.Minute

// eventually waits until ok. It leaves the processor to those who bring that about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(hang); !ok(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			t.Fatalf("it never comes that %s", what)
		}
	}
}

// boss counts what a loop does as a whole.
type boss struct {
	turns, ticks, panics atomic.Int64
}

func (b *boss) Turn()                         { b.turns.Add(1) }
func (b *boss) Batch()                        {}
func (b *boss) Tick(time.Time)                { b.ticks.Add(1) }
func (b *boss) Panicked(*Socket, any, []byte) { b.panics.Add(1) }

// rigged is an engine with TCP connections.
type rigged struct {
	t    *testing.T
	e    *Engine
	boss *boss
	ln   net.Listener
}

func rig(t *testing.T, o Options) *rigged {
	t.Helper()
	o.Loops = max(o.Loops, 1)
	o.ReadBuffer = max(o.ReadBuffer, 4<<10)
	r := &rigged{t: t, boss: &boss{}}
	var err error
	if r.e, err = Start(o, func(*Loop) Owner { return r.boss }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.e.Stop)
	if r.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.ln.Close() })
	return r
}

// dial returns both ends of a connection.
func (r *rigged) dial() (here, peer *net.TCPConn) {
	r.t.Helper()
	p, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = p.Close() })
	c, err := r.ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	return c.(*net.TCPConn), p.(*net.TCPConn)
}

// plug dials with h as the handler.
func (r *rigged) plug(h Handler) (peer *net.TCPConn) {
	r.t.Helper()
	c, peer := r.dial()
	if err := r.e.Loops()[0].Enrol(c, h); err != nil {
		r.t.Fatal(err)
	}
	return peer
}

// do runs f on the first loop and waits for it.
func (r *rigged) do(f func()) {
	r.t.Helper()
	done := make(chan struct{})
	r.e.Loops()[0].Station().Post(func() { defer close(done); f() })
	select {
	case <-done:
	case <-time.After(hang):
		r.t.Fatal("the loop hangs")
	}
}

// tape is a handler that writes down what it is told, checks the order of that, and does what its fields say.
type tape struct {
	k *Socket

	mu    sync.Mutex
	lines []string
	got   bytes.Buffer
	fault string
	err   error // of Closed

	more     bool // answer of Ended
	read     func(p []byte)
	flushing func(last bool)
	flushed  func()
	writable func()
	muted    func()
	closed   func()
}

func (h *tape) say(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.lines); n == 0 && line != "opened" || n > 0 && h.lines[n-1] == "closed" {
		h.fault = fmt.Sprintf("%s after %q", line, h.lines)
	}
	h.lines = append(h.lines, line)
}

func (h *tape) Opened(k *Socket) { h.k = k; h.say("opened") }
func (h *tape) Read(p []byte) {
	h.mu.Lock()
	h.got.Write(p)
	h.mu.Unlock()
	if h.read != nil {
		h.read(p)
	}
}
func (h *tape) Flushing(last bool) {
	if h.flushing != nil {
		h.flushing(last)
	}
}
func (h *tape) Flushed() {
	if h.flushed != nil {
		h.flushed()
	}
}
func (h *tape) Writable() {
	h.say("writable")
	if h.writable != nil {
		h.writable()
	}
}
func (h *tape) Muted() {
	h.say("muted")
	if h.muted != nil {
		h.muted()
	}
}
func (h *tape) Ended() bool { h.say("ended"); return h.more }
func (h *tape) Closed(err error) {
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	if h.closed != nil {
		h.closed()
	}
	h.say("closed")
}

// heard returns how many bytes have been read.
func (h *tape) heard() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got.Len()
}

// has reports whether line was said.
func (h *tape) has(line string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.lines, line)
}

// want compares what was said.
func (h *tape) want(t *testing.T, lines ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.lines, lines) {
		t.Errorf("the handler was told %q, want %q", h.lines, lines)
	}
	if h.fault != "" {
		t.Error(h.fault)
	}
}

// stage appends bytes to the outbox as far as there is room for a copy, and returns how many.
func (h *tape) stage(p []byte) int {
	x := h.k.Outbox()
	n := min(len(p), OutboxSize-len(x.B))
	x.B = append(x.B, p[:n]...)
	return n
}

// pattern is n bytes of which each place has its own.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// pump writes all of p as the socket takes it, then calls then.
func (h *tape) pump(p []byte, then func()) {
	h.writable = func() {
		for len(p) > 0 && h.k.Takes() {
			p = p[h.stage(p):]
			h.k.Flush()
		}
		if len(p) == 0 && !h.k.Blocked() {
			h.writable = nil
			then()
		}
	}
	h.writable()
}

func TestBytesCrossBothWays(t *testing.T) {
	r := rig(t, Options{})
	h := &tape{}
	peer := r.plug(h)
	out, in := pattern(9<<20), pattern(5<<20)
	go func() { _, _ = peer.Write(in) }()
	r.do(func() { h.pump(out, func() {}) })
	got := make([]byte, len(out))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, out) {
		t.Errorf("the peer reads something else than was written: %v", err)
	}
	eventually(t, "all is read", func() bool { return h.heard() == len(in) })
	r.do(func() {
		if !bytes.Equal(h.got.Bytes(), in) {
			t.Error("something else is read than the peer wrote")
		}
		if h.k.Written() != uint64(len(out)) || h.k.Waiting() != 0 || h.k.Blocked() {
			t.Errorf("%d of %d written, %d wait", h.k.Written(), len(out), h.k.Waiting())
		}
	})
	if !h.has("writable") {
		t.Error("the socket was never blocked: the test shows little")
	}
	_ = peer.Close()
	eventually(t, "it is closed", func() bool { return h.has("closed") })
}

// A peer that ends its direction still gets what waits for it, then our end. Rules: P-end-6.
func TestHalfClosedPeerGetsTheRest(t *testing.T) {
	r := rig(t, Options{})
	h := &tape{more: true}
	peer := r.plug(h)
	out := pattern(9 << 20)
	r.do(func() { h.pump(out, h.k.Close) })
	_ = peer.CloseWrite()
	eventually(t, "the end is seen", func() bool { return h.has("ended") })
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, out) {
		t.Errorf("the peer has %d of %d bytes: %v", len(got), len(out), err)
	}
	eventually(t, "it is closed", func() bool { return h.has("closed") })
	if n := r.e.Loops()[0].Sockets(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// A write that fails mutes the socket; what the peer had sent before is read to its end. Rules: P-end-6.
func TestFailedWriteLeavesTheInput(t *testing.T) {
	r := rig(t, Options{})
	h := &tape{}
	peer := r.plug(h)
	in := pattern(100 << 10)
	gate := make(chan struct{})
	r.e.Loops()[0].Station().Post(func() { <-gate })
	if _, err := peer.Write(in); err != nil {
		t.Fatal(err)
	}
	delivered(t, peer)
	_ = peer.Close() // nothing is unread there: an orderly end
	r.e.Loops()[0].Station().Post(func() {
		h.stage([]byte("answered by a reset"))
		h.k.Flush()
	})
	r.e.Loops()[0].Station().Post(func() {
		for h.k.Takes() { // until the reset has come
			h.stage([]byte("fails"))
			h.k.Flush()
		}
	})
	close(gate)
	eventually(t, "it is closed", func() bool { return h.has("closed") })
	h.want(t, "opened", "muted", "closed")
	if !bytes.Equal(h.got.Bytes(), in) {
		t.Errorf("%d of %d bytes are read", h.got.Len(), len(in))
	}
}

// Silence drops what waits, and reads what was sent before.
// What the kernel refuses at the start is said with its call and what to do; "no space left" means no disk.
func TestStartHints(t *testing.T) {
	for err, want := range map[error]string{
		os.NewSyscallError("epoll_ctl", unix.ENOSPC):     "raise fs.epoll.max_user_watches",
		os.NewSyscallError("eventfd", unix.EMFILE):       "raise the limit of open files",
		os.NewSyscallError("epoll_create1", unix.ENFILE): "raise fs.file-max",
	} {
		if got := startHint(err); !strings.Contains(got, want) {
			t.Errorf("%v: hint %q, want %q in it", err, got, want)
		}
	}
	if got := startHint(unix.EINVAL); got != "" {
		t.Errorf("hint %q for what has no remedy", got)
	}
}

func TestSilence(t *testing.T) {
	r := rig(t, Options{})
	h := &tape{}
	peer := r.plug(h)
	r.do(func() {
		for h.k.Takes() {
			h.stage(make([]byte, OutboxSize))
			h.k.Flush()
		}
	})
	in := pattern(64 << 10)
	gate := make(chan struct{})
	r.e.Loops()[0].Station().Post(func() { <-gate })
	if _, err := peer.Write(in); err != nil {
		t.Fatal(err)
	}
	delivered(t, peer)
	r.e.Loops()[0].Station().Post(func() {
		h.k.Silence()
		h.k.Silence()
		if h.k.Takes() || !h.k.Muted() {
			t.Error("it takes output")
		}
	})
	close(gate)
	eventually(t, "it is closed", func() bool { return h.has("closed") })
	h.want(t, "opened", "muted", "closed")
	if !bytes.Equal(h.got.Bytes(), in) {
		t.Errorf("%d of %d bytes are read", h.got.Len(), len(in))
	}
}

// A blocked socket wakes nobody: an idle loop with such sockets turns as rarely as one without.
func TestBlockedSocketsWakeNobody(t *testing.T) {
	r := rig(t, Options{Tick: 5 * time.Millisecond})
	for range 50 {
		h := &tape{}
		r.plug(h)
		r.do(func() {
			for h.k.Takes() {
				h.stage(make([]byte, OutboxSize))
				h.k.Flush()
			}
		})
	}
	eventually(t, "twenty ticks go by without another turn", func() bool { // at first the kernels' buffers still move
		start, before := r.boss.ticks.Load(), r.boss.turns.Load()
		eventually(t, "time passes", func() bool { return r.boss.ticks.Load() >= start+20 })
		turns := r.boss.turns.Load() - before
		return turns <= r.boss.ticks.Load()-start+1
	})
}

func TestStopClosesEverything(t *testing.T) {
	before := descriptors(t)
	for range 5 {
		r := rig(t, Options{Loops: 2})
		idle, blocked, halfClosed, paused := &tape{}, &tape{}, &tape{more: true}, &tape{}
		all := []*tape{idle, blocked, halfClosed, paused}
		var peers []*net.TCPConn
		for _, h := range all {
			peers = append(peers, r.plug(h))
		}
		r.do(func() {
			for blocked.k.Takes() {
				blocked.stage(make([]byte, OutboxSize))
				blocked.k.Flush()
			}
			if !paused.k.Pause() {
				t.Error("cannot pause")
			}
		})
		_ = peers[2].CloseWrite()
		eventually(t, "the end is seen", func() bool { return halfClosed.has("ended") })
		r.e.Stop()
		r.e.Stop()
		for i, h := range all {
			if !h.has("closed") {
				t.Errorf("socket %d is left", i)
			}
			_ = peers[i].Close()
		}
		c, peer := r.dial()
		if err := r.e.Loops()[0].Enrol(c, &tape{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("enrolled after the end: %v", err)
		}
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection that comes after the end: %v", err)
		}
		_ = peer.Close()
		_ = r.ln.Close()
		r.e.Go(func() { t.Error("runs after the end") })
		r.e.Loops()[0].Station().Wake()
		r.e.Loops()[0].NewTimer().Reset(0)
	}
	eventually(t, "all descriptors are given back", func() bool { return descriptors(t) <= before })
}

// descriptors returns how many are open.
func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestTimerTurnsTheLoopOnce(t *testing.T) {
	r := rig(t, Options{Tick: time.Hour})
	var tm *Timer
	r.do(func() {
		tm = r.e.Loops()[0].NewTimer()
		tm.Reset(time.Hour)
		tm.Reset(0)
	})
	fired := 0
	eventually(t, "the timer fires", func() bool {
		r.do(func() {
			if tm.Fired() {
				fired++
			}
		})
		return fired > 0
	})
	r.do(func() {
		if tm.Fired() {
			t.Error("it has fired twice")
		}
		tm.Reset(time.Hour)
		tm.Stop()
	})
}

// Handlers close their socket wherever they like: each is told of the end once, at last.
func TestCloseInEveryCallback(t *testing.T) {
	for where, hook := range map[string]func(h *tape, do func()){
		"read":     func(h *tape, do func()) { h.read = func([]byte) { do() } },
		"flushing": func(h *tape, do func()) { h.flushing = func(bool) { do() } },
		"flushed":  func(h *tape, do func()) { h.flushed = do },
		"writable": func(h *tape, do func()) { h.writable = do },
		"muted":    func(h *tape, do func()) { h.muted = do },
		"closed":   func(h *tape, do func()) { h.closed = do },
	} {
		for what, do := range map[string]func(k *Socket){"close": (*Socket).Close, "silence": (*Socket).Silence,
			"close after silence": func(k *Socket) { k.Silence(); k.Close() }} {
			h := &tape{}
			m := NewManual(0, func(*Loop) Owner { return &boss{} })
			fds := socketPair(t)
			m.Attach(fds[0], h)
			hook(h, func() { do(h.k) })
			m.Deliver(h.k, []byte("x"))
			m.fill(h.k)
			drain(fds[1])
			m.Ready()
			m.Station().Post(h.k.Silence)
			m.RunTurn()
			m.Hangup(h.k, unix.ECONNRESET)
			for m.Woken() {
				m.RunTurn()
			}
			if !h.has("closed") || h.fault != "" || m.Sockets() != 0 || !m.Gone(h.k) {
				t.Errorf("%s in %s: told %q, %s, %d sockets", what, where, h.lines, h.fault, m.Sockets())
			}
		}
	}
}

func socketPair(t *testing.T) (fds [2]int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return fds
}
