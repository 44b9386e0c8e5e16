package router

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// reset ends a TCP connection with RST.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// descriptors is how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(es)
}

// until waits for something that other goroutines bring about, and leaves the processor to them.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(hang); !done(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			t.Fatalf("after %v still not: %s", hang, what)
		}
	}
}

func TestConnectionThatIsResetBeforeItIsAcceptedIsNothing(t *testing.T) {
	n := start(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	reset(t, c)
	ln, err := netloop.ListenOn(l.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	own := n.newListener(ln, "")
	a := n.acceptance(own, &endpoint{}, &Endpoint{}, &n.rules)
	n.listening.accepting.Go(func() { n.engine.Accept(ln, a) })
	c, err = net.Dial("tcp", ln.Addr().String()) // accepted behind the other
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the next connection is served", func() bool { return n.Stats().Sockets == 1 })
	_ = c.Close()
	ln.Close()
	if s := n.Stats(); s.Panics != 0 {
		t.Errorf("panics: %d", s.Panics)
	}
}

func TestResetsLeaveNothingBehind(t *testing.T) {
	n := start(t, Options{Loops: 2})
	_ = call(t, n) // what is made on first use is made
	before := descriptors(t)
	for range resets {
		c, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		reset(t, c)
	}
	until(t, "sockets and descriptors are as before", func() bool {
		s := n.Stats()
		return s.Sockets == 1 && s.Connections == 1 && descriptors(t) <= before
	})
	if s := n.Stats(); s.Panics != 0 {
		t.Errorf("panics %d, connections %d", s.Panics, s.Connections)
	}
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	a.send(publication(a.sign(header(alice, bob, 1, "x")), 1, 100))
	b.await(func() bool { return len(b.got) == 1 })
}
