package router

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// A connection that has negotiated and does nothing takes little memory: what only messages need is made when they
// come.
// Of these bytes the test itself takes some 500; in a process gnet's come to it, and half as much again for the
// collector.
//
// With TLS it is what crypto/tls keeps of each connection: keys, hashes, and a buffer as large as the longest record
// that has come, here the client's first.
func TestMemoryOfAnIdleConnection(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testMemoryOfAnIdleConnection(t, false, 0, 3450) })
	t.Run("TLS", func(t *testing.T) { testMemoryOfAnIdleConnection(t, true, 0, 12<<10) })
	t.Run("TLS, after 100 KB", func(t *testing.T) { testMemoryOfAnIdleConnection(t, true, 100_000, 30<<10) })
}

func testMemoryOfAnIdleConnection(t *testing.T, secure bool, size, most int) {
	count := 100
	switch {
	case secure && !long:
		count = 50
	case long:
		count = 500
	}
	r := newRig(t, 1, Options{})
	r.secure = secure
	memory := func() int {
		r.seconds(1)
		r.peers = nil // the clients
		return heap()
	}
	r.dial(0).tls = nil
	before := memory()
	for range count {
		p := r.dial(0)
		if size > 0 { // nobody's
			p.publish(header(alice, bob, 1, ""), 1, size)
		}
		p.going, p.out, p.tls = nil, nil, nil
	}
	if n := (memory() - before) / count; n > most {
		t.Errorf("%d bytes for each idle connection, want %d at most", n, most)
	} else {
		t.Logf("%d bytes for each idle connection", n)
	}
	for _, l := range r.loops {
		l.Each(func(k *netloop.Socket) { l.Hangup(k, unix.ECONNRESET) })
	}
}
