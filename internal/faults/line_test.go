package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guard bounds what comes at once.
const guard = 2 * time.Minute

// own is an address at which nobody else listens who has the kernel choose a port: it may choose that of a line that refuses.
var own = func() string {
	if runtime.GOOS != "linux" { // which alone has all of them
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
}()

// line is one to a listener, which hands over what it accepts.
func line(t *testing.T, network string) (*Line, <-chan net.Conn) {
	t.Helper()
	at, listen := "127.0.0.1:0", own+":0"
	if network == "unix" {
		at, listen = filepath.Join(t.TempDir(), "target"), filepath.Join(t.TempDir(), "line")
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	l := &Line{Network: network, Listen: listen, Target: ln.Addr().String()}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, conns
}

// dial makes a connection and returns both ends.
func (l *Line) dial(t *testing.T, conns <-chan net.Conn) (near, far net.Conn) {
	t.Helper()
	near, err := net.Dial(l.Network, l.Listen)
	if err != nil {
		t.Fatal(err)
	}
	far = <-conns
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(guard))
		t.Cleanup(func() { _ = c.Close() })
	}
	return near, far
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func wantText(t *testing.T, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("%q came, and %v; want %q", b, err, text)
	}
}

func wantEnd(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("read: %v, want %v", err, want)
	}
}

// Who dials is refused as soon as Refuse returns, while programs are started, too: those who are connected, and then reset, give up.
func TestLineRefusesWhileProgramsStart(t *testing.T) {
	l, _ := line(t, "tcp")
	var work sync.WaitGroup
	defer work.Wait()
	done := make(chan struct{})
	defer close(done)
	for range 2 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = exec.Command(os.Args[0], "-test.run", "^$").Run()
				}
			}
		})
	}
	for range 300 {
		l.Refuse()
		if c, err := net.Dial(l.Network, l.Listen); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = c.Close()
			}
			t.Fatalf("%v, want it refused", err)
		}
		if err := l.Admit(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

func TestLinePassesBothWays(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		l, conns := line(t, network)
		near, far := l.dial(t, conns)
		write(t, near, "there")
		wantText(t, far, "there")
		write(t, far, "back")
		wantText(t, near, "back")
		_ = near.(interface{ CloseWrite() error }).CloseWrite()
		wantEnd(t, far, io.EOF)
		write(t, far, "the other direction goes on")
		wantText(t, near, "the other direction goes on")
		_ = far.Close()
		wantEnd(t, near, io.EOF)
		if l.Accepted() != 1 {
			t.Errorf("%d connections, want 1", l.Accepted())
		}
	}
}

func TestLineEnds(t *testing.T) {
	for _, c := range []struct {
		network string
		end     func(*Line)
		want    error
	}{
		{"tcp", (*Line).Cut, io.EOF},
		{"tcp", (*Line).Reset, syscall.ECONNRESET},
		{"unix", (*Line).Reset, io.EOF},
		{"tcp", (*Line).Close, syscall.ECONNRESET},
	} {
		l, conns := line(t, c.network)
		near, far := l.dial(t, conns)
		write(t, near, "x")
		wantText(t, far, "x") // it has begun
		c.end(l)
		wantEnd(t, near, c.want)
		wantEnd(t, far, c.want)
	}
}

// A reset goes through.
func TestLinePassesOnAReset(t *testing.T) {
	l, conns := line(t, "tcp")
	near, far := l.dial(t, conns)
	write(t, near, "x")
	wantText(t, far, "x")
	_ = near.(*net.TCPConn).SetLinger(0)
	_ = near.Close()
	wantEnd(t, far, syscall.ECONNRESET)
}

func TestLineRefusesAndRejects(t *testing.T) {
	for network, refused := range map[string]error{"tcp": syscall.ECONNREFUSED, "unix": syscall.ENOENT} {
		l, conns := line(t, network)
		near, far := l.dial(t, conns)
		l.Refuse()
		if _, err := net.Dial(l.Network, l.Listen); !errors.Is(err, refused) {
			t.Errorf("%s: %v, want %v", network, err, refused)
		}
		write(t, near, "what is there goes on")
		wantText(t, far, "what is there goes on")
		if err := l.Admit(); err != nil {
			t.Fatal(err)
		}
		l.dial(t, conns)
	}
	l, conns := line(t, "tcp")
	l.Reject()
	c, err := net.Dial(l.Network, l.Listen)
	if err == nil { // it may be reset before the kernel says that it was accepted
		_ = c.SetDeadline(time.Now().Add(guard))
		wantEnd(t, c, syscall.ECONNRESET)
		_ = c.Close()
	}
	if err := l.Admit(); err != nil {
		t.Fatal(err)
	}
	l.dial(t, conns)
}

// What a stalled line is given comes when it goes on; its end, too.
func TestLineStalls(t *testing.T) {
	l, conns := line(t, "tcp")
	near, far := l.dial(t, conns)
	l.Stall()
	later, afar := l.dial(t, conns)
	write(t, near, "kept")
	write(t, later, "kept, too")
	_ = later.Close()
	l.Resume()
	wantText(t, far, "kept")
	wantText(t, afar, "kept, too")
	wantEnd(t, afar, io.EOF)

	l.Stall()
	write(t, near, "lost")
	l.Cut()
	wantEnd(t, far, io.EOF)
}

// Neither end of a stranded connection hears of the other; those that come after it work, and Cut ends it.
func TestLineStrands(t *testing.T) {
	l, conns := line(t, "tcp")
	near, far := l.dial(t, conns)
	l.Strand()
	write(t, near, "lost")
	_ = near.Close()
	other, afar := l.dial(t, conns)
	write(t, other, "later")
	wantText(t, afar, "later")
	if n := l.Open(); n != 2 {
		t.Errorf("%d connections are open, want the stranded one, too", n)
	}
	l.Cut()
	if _, err := far.Read(make([]byte, 4)); err == nil {
		t.Error("what was lost has come")
	}
}
