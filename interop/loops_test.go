//go:build interop

package interop

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// ring is nodes that are linked in a circle by peer links made by hand, each with a subscriber of one name and a publisher.
type ring struct {
	nodes []*node
	ends  []*uplink.Conn

	mu      sync.Mutex
	last    uint64             // number of the last message
	got     []map[uint64]int   // guarded by mu: of each subscriber, how often each message came
	changed chan struct{}      // guarded by mu; closed and replaced with each message
	head    wire.PublishHeader // of what is published
}

func newRing(t *testing.T, kinds ...kind) *ring {
	t.Helper()
	r := &ring{changed: make(chan struct{})}
	for i, k := range kinds {
		var links []string
		if i > 0 {
			links = append(links, r.nodes[i-1].link("peer"))
		}
		if i == len(kinds)-1 {
			links = append(links, r.nodes[0].link("peer"))
		}
		r.nodes = append(r.nodes, startNode(t, k, links...))
	}
	all := wire.Text("org", "ns", "all").WithID(7, 7)
	r.head = wire.PublishHeader{Source: all, Dest: all, Identity: "id", Version: uplink.Version, Fanout: 256, TTL: 8}
	for i, n := range r.nodes {
		u := n.uplink(t, uplink.Options{})
		r.ends, r.got = append(r.ends, u), append(r.got, map[uint64]int{})
		r.subscribe(t, u)
		go r.count(t.Context(), i)
	}
	return r
}

func (r *ring) subscribe(t *testing.T, u *uplink.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := u.Subscribe(ctx, &r.head); err != nil {
		t.Fatal(err)
	}
}

// count counts what a subscriber gets.
func (r *ring) count(ctx context.Context, i int) {
	for {
		b, err := r.ends[i].Receive(ctx)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.got[i][binary.BigEndian.Uint64(b[len(b)-8:])]++
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
	}
}

// publish sends one message from a node.
func (r *ring) publish(t *testing.T, from int) (number uint64) {
	t.Helper()
	r.mu.Lock()
	r.last++
	number = r.last
	r.mu.Unlock()
	app := append([]byte{0x12, 0x08}, binary.BigEndian.AppendUint64(nil, number)...)
	if err := r.ends[from].Publish(t.Context(), &r.head, someSession, append([]byte{0x0a, byte(len(app))}, app...)); err != nil {
		t.Fatal(err)
	}
	return number
}

// reach is how many of the others got a message, and most how often one of them did.
func (r *ring) reach(from int, number uint64) (reach, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, got := range r.got {
		if n := got[number]; i != from && n > 0 {
			reach, most = reach+1, max(most, n)
		}
	}
	return reach, most
}

// soon is how long a message is waited for that need not come to all: the ring has yet to find its shape.
const soon = 500 * time.Millisecond

// reached waits, so long at most, until a message has come to so many others.
func (r *ring) reached(d time.Duration, from int, number uint64, want int) bool {
	return r.await(d, func() bool {
		n, _ := r.reach(from, number)
		return n >= want
	})
}

// await waits, so long at most, until check is true of what has come.
func (r *ring) await(d time.Duration, check func() bool) bool {
	late := time.After(d)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if check() {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// untilReached publishes until a message comes to so many others: the ring has found its shape.
func (r *ring) untilReached(t *testing.T, from, others int) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		number := r.publish(t, from)
		if r.reached(soon, from, number, others) {
			return
		}
		if time.Now().After(deadline) {
			n, _ := r.reach(from, number)
			t.Fatalf("after %v a message comes to %d of %d others", limit, n, others)
		}
	}
}

// untilClosed publishes until so many ends say that their link stands by: the last link of the ring is up, and it has found its shape.
func (r *ring) untilClosed(t *testing.T, ends int) {
	t.Helper()
	for deadline := time.Now().Add(limit); r.standing() < ends; {
		if time.Now().After(deadline) {
			t.Fatalf("after %v %d ends of links stand by, want %d", limit, r.standing(), ends)
		}
		r.reached(soon, 0, r.publish(t, 0), len(r.nodes))
	}
}

// standing is how many ends of links have said that they stand by.
func (r *ring) standing() (n int) {
	for _, x := range r.nodes {
		n += x.count("peer link stands by")
	}
	return n
}

// once wants messages from each of some nodes to come to all of their others, once.
func (r *ring) once(t *testing.T, nodes ...int) {
	t.Helper()
	type sent struct {
		from   int
		number uint64
	}
	var all []sent
	for range 3 { // what comes of the first has come everywhere when the last has
		for _, from := range nodes {
			for range 10 {
				all = append(all, sent{from, r.publish(t, from)})
			}
		}
		for _, x := range all {
			if !r.reached(limit, x.from, x.number, len(nodes)-1) {
				break // so will the others
			}
		}
	}
	for _, x := range all {
		if reach, most := r.reach(x.from, x.number); reach != len(nodes)-1 || most > 1 {
			t.Errorf("message %d of node %d came to %d of %d others, %d times at most, want once to all", x.number, x.from, reach, len(nodes)-1, most)
		}
	}
}

// TestLoopsDoubleNothing: a ring of nodes of both kinds, linked by hand, brings a message to many to each subscriber once, since
// one link of it stands by; when a node is gone, that link takes over. Upstream's nodes alone multiply the message until its TTL
// ends. Rules: P-loop-1, P-loop-4.
func TestLoopsDoubleNothing(t *testing.T) {
	t.Parallel()
	t.Run("both kinds", func(t *testing.T) {
		r := newRing(t, ours, upstream, ours, upstream)
		r.untilClosed(t, 1)
		for i := range r.nodes {
			r.untilReached(t, i, 3)
		}
		r.once(t, 0, 1, 2, 3)
		if n := r.standing(); n != 1 {
			t.Errorf("%d links stand by, want 1", n)
		}
		r.nodes[1].kill()
		for _, i := range []int{0, 2, 3} {
			r.untilReached(t, i, 2)
		}
		r.once(t, 0, 2, 3)
	})
	t.Run("ours", func(t *testing.T) {
		r := newRing(t, ours, ours, ours)
		r.untilClosed(t, 2)
		for i := range r.nodes {
			r.untilReached(t, i, 2)
		}
		r.once(t, 0, 1, 2)
	})
	t.Run("upstream", func(t *testing.T) {
		r := newRing(t, upstream, upstream, upstream, upstream)
		for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
			number := r.publish(t, 0)
			if r.await(soon, func() bool {
				_, most := r.reach(0, number)
				return most > 1
			}) {
				return
			}
		}
		t.Error("upstream's nodes brought nothing twice: they may not need our help any more")
	})
}
