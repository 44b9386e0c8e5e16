package netloop

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// window returns what the peer's kernel allows c to send, in bytes.
func window(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	of(t, c, func(fd int) (err error) {
		i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			n = int(i.Snd_wnd)
		}
		return err
	})
	return n
}

// delivered waits until the peer's kernel has all that was written to c.
func delivered(t *testing.T, c *net.TCPConn) {
	t.Helper()
	eventually(t, "all is delivered", func() bool {
		left := 0
		of(t, c, func(fd int) (err error) {
			left, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			return err
		})
		return left == 0
	})
}

// of calls f with the descriptor of c.
func of(t *testing.T, c *net.TCPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = f(int(fd)) })
	if err != nil {
		t.Fatal(err)
	}
}

// A transport without windows holds its peer by not reading: the kernels' buffers fill, the peer waits, nothing is
// lost.
func TestPauseHoldsThePeer(t *testing.T) {
	r := rig(t, Options{})
	h := &tape{}
	c, peer := r.dial()
	_, _ = c.SetReadBuffer(64<<10), peer.SetWriteBuffer(64<<10)
	in := pattern(2 << 20)
	h.read = func([]byte) {
		if len(h.got.Bytes()) == 0 {
			return
		}
		if h.read = nil; !h.k.Pause() { // inside the callback: what was read has come
			t.Error("cannot pause")
		}
	}
	if err := r.e.Loops()[0].Enrol(c, h); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { _, err := peer.Write(in); wrote <- err }()
	eventually(t, "something is read", func() bool { return h.heard() > 0 })
	for range 3 {
		eventually(t, "the peer's window closes", func() bool { return window(t, peer) < 32<<10 })
		before := h.heard()
		if before >= len(in) {
			t.Fatal("the peer was never held")
		}
		r.do(func() {
			if !h.k.Paused() {
				t.Error("not paused")
			}
			h.read = func([]byte) { // the loop may read all before the test comes to it
				if h.read = nil; !h.k.Pause() {
					t.Error("cannot pause again")
				}
			}
			h.k.Resume()
			h.k.Resume()
		})
		eventually(t, "it reads on", func() bool { return h.heard() > before })
		r.do(func() { h.k.Pause(); h.k.Pause() })
	}
	select {
	case err := <-wrote:
		t.Fatalf("the peer has written all while it was held: %v", err)
	default:
	}
	r.do(func() { h.k.Resume() })
	eventually(t, "all is read", func() bool { return h.heard() == len(in) })
	if !bytes.Equal(h.got.Bytes(), in) {
		t.Error("the bytes are not in order")
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	h.want(t, "opened")
}

// A socket that is paused may be read for so many bytes, and no more; nobody turns a loop meanwhile.
func TestPausedSocketIsReadForWhatIsAllowed(t *testing.T) {
	r := rig(t, Options{Tick: time.Hour})
	h := &tape{}
	peer := r.plug(h)
	r.do(func() {
		h.k.Allow(100) // it is not paused
		h.k.Pause()
	})
	in := pattern(20_000)
	if _, err := peer.Write(in); err != nil {
		t.Fatal(err)
	}
	quiet := func(n int) {
		t.Helper()
		eventually(t, "so much is read", func() bool { return h.heard() >= n })
		before := r.boss.turns.Load()
		for range 100 {
			r.do(func() {})
		}
		if turns := r.boss.turns.Load() - before; turns > 110 || h.heard() != n {
			t.Errorf("%d bytes are read, want %d; the loop has turned %d times for 100", h.heard(), n, turns)
		}
	}
	quiet(0)
	r.do(func() { h.k.Allow(10); h.k.Allow(1000); h.k.Allow(500) })
	quiet(1000)
	r.do(func() { h.k.Allow(5000) })
	quiet(6000)
	r.do(func() { h.k.Resume() })
	eventually(t, "all is read", func() bool { return h.heard() == len(in) })
	if !bytes.Equal(h.got.Bytes(), in) {
		t.Error("the bytes are not in order")
	}
}

// Output is not concerned by a pause, and the end is seen after it.
func TestPausedSocketIsWrittenAndEnds(t *testing.T) {
	for how, end := range map[string]func(*net.TCPConn){
		"close":      func(c *net.TCPConn) { _ = c.Close() },
		"half-close": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		r := rig(t, Options{})
		h := &tape{}
		peer := r.plug(h)
		out, in := pattern(9<<20), pattern(10<<10)
		r.do(func() {
			h.k.Pause()
			h.pump(out, func() {})
		})
		got := make([]byte, len(out))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, out) {
			t.Errorf("%s: the peer does not get all: %v", how, err)
		}
		if _, err := peer.Write(in); err != nil {
			t.Fatal(err)
		}
		end(peer)
		r.do(func() { h.k.Resume() })
		eventually(t, "it is closed", func() bool { return h.has("closed") })
		if how != "reset" && !bytes.Equal(h.got.Bytes(), in) {
			t.Errorf("%s: %d of %d bytes are read", how, h.heard(), len(in))
		}
		if a := h.k.Remote(); a != peer.LocalAddr().String() {
			t.Errorf("%s: the address of the peer is %v", how, a)
		}
	}
}

// What a read lends is good until its callback returns, and with it the batch: pieces of several reads of one turn do
// not mix.
func TestBorrowedPiecesOfReadsThatWeMake(t *testing.T) {
	r := rig(t, Options{})
	var peers []*net.TCPConn
	var all []*tape
	for range 8 {
		h := &tape{}
		h.read = func(p []byte) { h.k.Outbox().Add(p, nil) } // an echo
		peers = append(peers, r.plug(h))
		all = append(all, h)
	}
	r.do(func() {
		for _, h := range all {
			h.k.Pause()
			h.k.Resume()
		}
	})
	for round := range 50 {
		gate := make(chan struct{})
		r.e.Loops()[0].Station().Post(func() { <-gate })
		for i, c := range peers {
			_, _ = c.Write(bytes.Repeat([]byte{byte(i), byte(round)}, 1000))
		}
		close(gate)
		for i, c := range peers {
			got := make([]byte, 2000)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i), byte(round)}, 1000)) {
				t.Fatalf("round %d: peer %d reads foreign bytes: %v", round, i, err)
			}
		}
	}
}

// Pauses at random on many sockets while both sides write.
func TestPausesAtRandom(t *testing.T) {
	r := rig(t, Options{ReadBuffer: 16 << 10})
	l := r.e.Loops()[0]
	const count, size = 10, 2 << 20
	data := pattern(size)
	var all []*tape
	var peers []*net.TCPConn
	for range count {
		h := &tape{}
		peer := r.plug(h)
		all, peers = append(all, h), append(peers, peer)
		r.do(func() { h.pump(data, func() {}) })
		go func() { _, _ = peer.Write(data) }()
	}
	echoes := make(chan error, count)
	for _, c := range peers {
		go func() {
			got := make([]byte, size)
			_, err := io.ReadFull(c, got)
			if err == nil && !bytes.Equal(got, data) {
				err = fmt.Errorf("not what was written")
			}
			echoes <- err
		}()
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		h, pause := all[rnd.IntN(count)], rnd.IntN(2) == 0
		l.Station().Post(func() {
			if pause {
				h.k.Pause()
			} else {
				h.k.Resume()
			}
		})
	}
	r.do(func() {
		for _, h := range all {
			h.k.Resume()
		}
	})
	for range count {
		if err := <-echoes; err != nil {
			t.Error(err)
		}
	}
	for i, h := range all {
		eventually(t, "all is read", func() bool { return h.heard() == size })
		if !bytes.Equal(h.got.Bytes(), data) {
			t.Errorf("socket %d reads something else than was written", i)
		}
	}
	if r.boss.panics.Load() != 0 {
		t.Error("panics")
	}
}

// scarceEnv makes the test binary run scarce.
const scarceEnv = "SLIMGO_TEST_SCARCE"

func TestMain(m *testing.M) {
	if os.Getenv(scarceEnv) != "" {
		os.Exit(scarce())
	}
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	folderTries = 15_000 // who holds a folder may not have the processor
	os.Exit(m.Run())
}

// scarce is a process without free descriptors in which a socket is paused and two others outlive their input.
func scarce() int {
	fail := func(what string, err error) int { fmt.Println(what, err); return 1 }
	e, err := Start(Options{Loops: 1, ReadBuffer: 4 << 10, Tick: time.Hour}, func(*Loop) Owner { return &boss{} })
	if err != nil {
		return fail("start", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail("listen", err)
	}
	l := e.Loops()[0]
	var hs []*tape
	var peers []*net.TCPConn
	for range 3 {
		h := &tape{more: true}
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return fail("dial", err)
		}
		c, err := ln.Accept()
		if err == nil {
			err = l.Enrol(c, h)
		}
		if err != nil {
			return fail("enrol", err)
		}
		hs, peers = append(hs, h), append(peers, peer.(*net.TCPConn))
	}
	taken := func() { // as clients do that wait to be accepted
		for err := error(nil); err == nil; {
			_, err = unix.Dup(0)
		}
	}
	taken()
	do := func(f func()) {
		done := make(chan struct{})
		l.Station().Post(func() { defer close(done); f() })
		<-done
	}
	paused := false
	do(func() { paused = hs[0].k.Pause() })
	if !paused {
		return fail("cannot pause", nil)
	}
	do(func() { hs[0].k.Resume() })
	taken() // whatever the first has set free and the engine has not kept
	for i := 1; i < len(hs); i++ {
		_ = peers[i].CloseWrite()
		for limit := time.Now().Add(hang); !hs[i].has("ended") && time.Now().Before(limit); {
			do(func() {})
		}
		do(func() {}) // the turn after
		taken()
		lives := false
		do(func() {
			hs[i].pump(pattern(100), hs[i].k.Close)
			lives = !hs[i].k.Muted()
		})
		got, err := io.ReadAll(peers[i])
		if !lives || err != nil || len(got) != 100 {
			return fail(fmt.Sprintf("socket %d: %d bytes of 100, lives %v", i, len(got), lives), err)
		}
		taken()
	}
	fmt.Println("fine")
	return 0
}

func TestSpareDescriptor(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "ulimit -n 64; exec "+exe)
	cmd.Env = append(os.Environ(), scarceEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "fine\n" {
		t.Errorf("%v: %s", err, out)
	}
}
