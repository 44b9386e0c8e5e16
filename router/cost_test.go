package router

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

func TestCostOfAParcelIsItsSize(t *testing.T) {
	if n := int(reflect.TypeFor[parcel]().Size()); n > parcelCost || n < parcelCost*3/4 {
		t.Errorf("a parcel has %d bytes and is counted as %d", n, parcelCost)
	}
	if n := int(reflect.TypeFor[item]().Size()); 2*n != slotCost {
		t.Errorf("an item has %d bytes, two are counted as %d", n, slotCost)
	}
}

// heap is the memory in use, in bytes, when nothing is left to collect.
func heap() int {
	for range 3 { // pools give their memory up in two rounds
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// What waits for one receiver takes the memory of ConnBuffer and of one window of its sender, whatever the size of the
// messages, and what is counted is what it takes: where a window of short messages takes several times its size, its
// sender is charged with that.
func TestConnBufferBoundsMemory(t *testing.T) {
	sizes := []int{60, 16 << 10, 1 << 20}
	if long {
		sizes = append(sizes, 1, 100, 1<<10)
	}
	for _, size := range sizes {
		for i, where := range placements {
			t.Run(fmt.Sprint(size, " ", where.name), func(t *testing.T) {
				buffer := []int{DefaultConnBuffer, 4 << 20}[i]
				r := newRig(t, where.loops, Options{ConnBuffer: buffer, SlowConsumer: Block})
				a, b := r.dial(where.source), r.dial(where.dest)
				b.subscribe(bob, 1)
				b.paused = true
				msg := a.publication(header(alice, bob, 1, "x"), 0, size)
				before := heap()
				for a.s.Window() >= len(msg)+envelope || a.s.Window() > receiveWindow/2 {
					a.sendBig(msg)
				}
				if b.c.q.charged == 0 {
					t.Fatal("the sender is slowed down although nobody charges it")
				}
				cost := b.c.q.bytes / b.c.q.n
				window := (receiveWindow/len(msg) + 1) * cost
				grown := heap() - before
				t.Logf("%d messages of %d bytes, counted as %d each, took %d KiB, counted as %d",
					b.c.q.n, len(msg), cost, grown>>10, b.c.q.bytes>>10)
				if grown > buffer*3/2+window {
					t.Errorf("the heap has grown by %d KiB: want 1.5 times %d, and %d for the sender's window",
						grown>>10, buffer>>10, window>>10)
				}
				if held := a.c.q.bytes + b.c.q.bytes; grown > held*5/4+256<<10 || grown < held/2-256<<10 {
					t.Errorf("the heap has grown by %d KiB, counted are %d", grown>>10, held>>10)
				}
				// The sender is held, but not locked out.
				b.paused = false
				b.count()
				r.pass(time.Second)
				b.count()
				if a.exchange(); a.s.Window() < receiveWindow*3/4 || b.c.q.bytes != 0 || len(b.c.q.items) > leastRing {
					t.Errorf("a window of %d, %d bytes queued, a ring of %d when all is read",
						a.s.Window(), b.c.q.bytes, len(b.c.q.items))
				}
			})
		}
	}
}

// One message with a long header to many receivers whose windows take only a part of it: the rest of the header waits
// at each.
func TestHalfSentHeadersAreCounted(t *testing.T) {
	const links, buffer = 200, 64 << 10
	r := newRig(t, 1, Options{ConnBuffer: buffer, SlowConsumer: Block})
	r.window = 2 << 10
	a := r.dial(0)
	for i := range links {
		p := r.dial(0)
		p.subscribe(group.WithID(uint64(i), 1), 1)
		p.hoard = true
	}
	h := header(alice, group, 256, string(make([]byte, 60<<10)))
	msg := a.publication(h, 1, 10)
	before := heap()
	for a.s.Window() >= len(msg)+envelope {
		a.send(msg)
	}
	grown, counted := heap()-before, 0
	for _, p := range r.peers[1:] {
		counted += p.c.q.bytes
		q := &p.c.q
		if q.first == nil {
			t.Fatalf("no header waits: %d messages, %d of the first sent, a window of %d", q.n, q.sent, p.c.stream.Room())
		}
		if got, want := q.bytes, q.first.Footprint(); got < want {
			t.Fatalf("%d bytes are counted, the header alone takes %d", got, want)
		}
	}
	if bound := links * buffer * 3 / 2; grown > bound+receiveWindow {
		t.Errorf("the heap has grown by %d KiB, want %d at most", grown>>10, bound>>10)
	}
	if grown > counted*3/2 {
		t.Errorf("the heap has grown by %d KiB, counted are %d", grown>>10, counted>>10)
	}
}

// Acknowledgements that nobody reads take no more memory than maxControl says, then they end the connection. Rules:
// P-press-3.
func TestAcknowledgementsNobodyReadsEndTheConnection(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.dial(0)
	p.hoard = true
	h := header(bob, bob, 1, "")
	p.sign(h)
	before, grown, most := heap(), 0, 0
	for i := uint64(1); !p.shut(); i++ {
		if grown == 0 && p.c.q.control > maxControl*9/10 {
			grown = heap() - before
		}
		for range 50 {
			p.stage(wire.AppendUnsubscribe(nil, h, i))
		}
		p.exchange()
		most = max(most, p.c.q.control)
	}
	if most > maxControl {
		t.Errorf("%d KiB waited, want %d at most", most>>10, maxControl>>10)
	}
	if grown < maxControl/2 || grown > maxControl*5/4 {
		t.Errorf("the heap had grown by %d KiB, want about %d", grown>>10, maxControl>>10)
	}
	if r.stats().Refused[ReasonBacklog] != 1 {
		t.Errorf("refused = %v", r.stats().Refused)
	}
}

// A queue that never gets empty gives the ring of a burst back.
func TestQueueShrinks(t *testing.T) {
	var q queue
	for range 100_000 {
		q.push(item{})
	}
	for q.n > 10 {
		q.pop()
	}
	if len(q.items) > leastRing {
		t.Errorf("a ring of %d for %d items", len(q.items), q.n)
	}
}
