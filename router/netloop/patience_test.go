package netloop

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// While there is no room for others, handshakes that wait for their peers are given up soon: a flood of them locks nobody out. One that
// computes, and one on a node with room, has all its time.
func TestHandshakesThatStallMakeRoom(t *testing.T) {
	givesBack(t)
	r := rig(t, Options{})
	server, client := serving(t)
	const stalled = 20
	var said refusals
	l := r.e.Loops()[0]
	var most atomic.Int64
	most.Store(1 << 30)
	var shaken, asked atomic.Int32
	ln, _ := r.listen(Acceptance{TLS: server, Timeout: time.Hour, Patience: time.Millisecond, Refused: func(ln *Listener, err *HandshakeError) {
		if said.add(ln, err); len(said.list()) == stalled {
			most.Store(1 << 30) // an honest handshake takes more than the patience on a busy machine
		}
	}, Full: func() bool {
		defer asked.Add(1)
		return l.Sockets() >= int(most.Load())
	}, Handler: func(*Loop) Handler {
		shaken.Add(1)
		return &tape{}
	}})
	for i := range stalled - 1 {
		c := r.connect(ln)
		if i%2 == 1 { // a byte, and then nothing
			if _, err := c.Write([]byte{22}); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all are taken", func() bool { return l.Sockets() == stalled-1 })
	first := tls.Client(r.connect(ln), client)
	if err := first.Handshake(); err != nil || len(said.list()) != 0 {
		t.Fatalf("with room: %v, %d are given up", err, len(said.list()))
	}
	eventually(t, "the node has seen its end", func() bool { return shaken.Load() == 1 })
	eventually(t, "the listener waits for the next one", func() bool { return asked.Load() == stalled+1 })
	most.Store(1)     // it is full, and remains so until all have been waited for long enough
	_ = r.connect(ln) // the last that stalls: it is taken, since the listener was there already
	late := tls.Client(r.connect(ln), client)
	if err := late.Handshake(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are given up", func() bool { return len(said.list()) == stalled })
	for _, e := range said.list() {
		if e.Fault != HandshakeTimeout || !strings.Contains(e.Text, "there was no room for other sockets") {
			t.Errorf("fault %d: %v", e.Fault, e)
		}
	}
	eventually(t, "both are opened", func() bool { return l.Sockets() == 2 })
	_, _ = first.Close(), late.Close()
}

// Only what is spent waiting for the peer counts, over all reads.
func TestTimeThatAPeerIsWaitedFor(t *testing.T) {
	in := &incoming{began: time.Now().Add(-time.Hour), before: 20 * time.Minute}
	if d := in.waitedFor(); d != 0 {
		t.Errorf("while it computes: %v", d)
	}
	in.since.Store(int64(50*time.Minute-in.before) + 1)
	if d := in.waitedFor(); d < 30*time.Minute || d > 31*time.Minute {
		t.Errorf("ten minutes after 20: %v", d)
	}
}

// What is taken for an alert in the clear is one: a sealed one is longer.
func TestAlertsInTheClear(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		want byte
	}{
		{"an alert", []byte{alertRecord, 3, 3, 0, 2, 2, 48}, 48},
		{"behind others", []byte{22, 3, 3, 0, 1, 9, alertRecord, 3, 3, 0, 2, 2, 42}, 42},
		{"sealed", append([]byte{alertRecord, 3, 3, 0, 19}, make([]byte, 18)...), 0},
		{"sealed, complete", append([]byte{alertRecord, 3, 3, 0, 4}, 2, 48, 0, 7), 0},
		{"data of two bytes", []byte{23, 3, 3, 0, 2, 2, 48}, 0},
	} {
		for _, step := range []int{1, 100} {
			h := &handshake{}
			for in := tc.in; len(in) > 0; in = in[min(step, len(in)):] {
				h.listen(in[:min(step, len(in))])
			}
			if h.heard != tc.want {
				t.Errorf("%s: heard %d, want %d", tc.name, h.heard, tc.want)
			}
		}
	}
}
