package mesh

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func TestARouteFillsItsSizeClass(t *testing.T) {
	if n := reflect.TypeFor[route[end]]().Size(); n > 96 {
		t.Errorf("a route has %d bytes, want 96 at most", n)
	}
}

// heap is the memory in use, in bytes, when nothing is left to collect.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// costName is name i, under a prefix of its own, as that of an agent. Its strings are its own, as those of a message are.
func costName(i int) wire.NameText {
	n := wire.Text("bench", "mesh", fmt.Sprint("agent-", i))
	n.Name.Hi, n.Name.Lo = 0, uint64(i+1)
	for j := range n.Str {
		n.Str[j] = string([]byte(n.Str[j]))
	}
	return n
}

// A name learned takes little more memory than one that is subscribed, among nodes that relay and among those that do not, and also
// where several peers offer it. Both are read in one process.
func TestWhatANameTakes(t *testing.T) {
	const names = 20_000 // so many that maps, whose seeds are random, have as many tables each time
	held := table.New[end]()
	app := &end{"app"}
	before := heap()
	for i := range names {
		n := costName(i)
		if _, err := held.Add(app, table.Edge, table.Key{Name: n.Name, HasID: true}, uint64(i)<<20, n.Str, true); err != nil {
			t.Fatal(err)
		}
	}
	subscribed := float64(heap()-before) / names
	runtime.KeepAlive(held)
	for _, c := range []struct {
		name   string
		opt    Options
		offers int
		most   float64
	}{
		{"full mesh", Options{}, 1, 1.1},
		{"relay", relay, 1, 1.1},
		{"relay, two ways", relay, 2, 1.3},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opt.Budget = &table.Budget{}
			s := newStand(t, c.opt)
			ps := []*end{s.peer("p"), s.peer("q")}
			before := heap()
			for i := range names {
				for _, p := range ps[:c.offers] {
					s.offer(p, costName(i), uint64(i+1)<<20, 2)
				}
				for _, p := range ps {
					for _, x := range s.next(p) {
						s.m.Acked(p, x.ID)
					}
				}
			}
			learned := float64(heap()-before) / names
			runtime.KeepAlive(s)
			t.Logf("%.0f B for each name that is learned, %.0f B where it is subscribed: %.2f times", learned, subscribed, learned/subscribed)
			if learned > c.most*subscribed {
				t.Errorf("a name learned takes %.0f B, want %.1f times the %.0f of a subscription at most", learned, c.most, subscribed)
			}
		})
	}
}
