package table

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

func TestMatchDoesNotAllocate(t *testing.T) {
	tb := New[peer]()
	var cs []*peer
	for i := range 200 {
		c := &peer{kind: Kind(i % kinds)}
		cs = append(cs, c)
		add(t, tb, c, withID(uint64(i%40)), 1)
		add(t, tb, c, withID(1), 1)
	}
	exact, one, none := withID(1).Name, withID(2).Name, withID(99).Name
	dst := make([]*peer, 0, 256)
	for _, n := range []*wire.Name{&exact, &one, &base, &none} {
		got := testing.AllocsPerRun(200, func() {
			tb.MatchOne(n, cs[0], All)
			tb.MatchOne(n, nil, All.Without(Peer))
			tb.MatchFree(n, cs[0], All, (*peer).busy)
			dst = tb.MatchAll(n, cs[0], All, dst[:0])
			dst = tb.MatchAll(n, nil, All.Without(Peer), dst[:0])
		})
		if got != 0 {
			t.Errorf("%v: %v allocations, want 0", n, got)
		}
	}
}

func (p *peer) busy() bool { return p.kind != Edge }

// filled has names app-0 … app-n under one org and ns, each with its strings, a null-id-free id and one of cs.
func filled(n int, cs []*peer) (*Table[peer], []wire.Name) {
	tb := New[peer]()
	names := make([]wire.Name, n)
	for i := range names {
		names[i] = numbered(i)
		c := cs[i%len(cs)]
		tb.Add(c, c.kind, Key{names[i], true}, uint64(i+1), [3]string{"org", "ns", fmt.Sprint("app-", i)}, true)
	}
	return tb, names
}

func numbered(i int) wire.Name {
	n := wire.NewName("org", "ns", fmt.Sprint("app-", i))
	n.Hi, n.Lo = uint64(i)*0x9e3779b97f4a7c15, uint64(i)
	return n
}

func some(n int) []*peer {
	cs := make([]*peer, n)
	for i := range cs {
		cs[i] = &peer{kind: Edge}
	}
	return cs
}

var sizes = []int{1, 1000, 100_000, 1_000_000}

func BenchmarkMatchOne(b *testing.B) {
	for _, n := range sizes {
		tb, names := filled(n, some(1000))
		b.Run(fmt.Sprintf("names=%d/hot", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tb.MatchOne(&names[0], nil, All)
			}
		})
		rnd := rand.New(rand.NewPCG(1, 1))
		order := make([]wire.Name, 1<<16)
		for i := range order {
			order[i] = names[rnd.IntN(n)]
		}
		random := func(b *testing.B) {
			i := 0
			for b.Loop() {
				tb.MatchOne(&order[i&(len(order)-1)], nil, All)
				i++
			}
		}
		b.Run(fmt.Sprintf("names=%d/random", n), random)
		b.Run(fmt.Sprintf("names=%d/random-while-subscribing", n), func(b *testing.B) {
			defer churn(tb)()
			random(b)
		})
	}
}

// churn subscribes and unsubscribes names on another goroutine until the returned function is called.
func churn(tb *Table[peer]) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		c := &peer{kind: Edge}
		for i := 0; ; i++ {
			k := Key{numbered(5_000_000 + i%1000), true}
			tb.Add(c, Edge, k, 1, noText, false)
			tb.Remove(c, k, 1)
			select {
			case <-quit:
				return
			default:
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

func BenchmarkMatchOneOfMany(b *testing.B) {
	for _, n := range []int{3, 1000, 100_000} {
		tb := New[peer]()
		cs := some(n)
		for _, c := range cs {
			tb.Add(c, Edge, withID(1), 1, noText, false)
		}
		b.Run(fmt.Sprintf("conns=%d/id", n), func(b *testing.B) {
			for b.Loop() {
				tb.MatchOne(&withIDName, cs[0], All)
			}
		})
		b.Run(fmt.Sprintf("conns=%d/null", n), func(b *testing.B) {
			for b.Loop() {
				tb.MatchOne(&base, cs[0], All)
			}
		})
	}
}

func BenchmarkMatchAll(b *testing.B) {
	for _, n := range []int{1, 8, 64, 1000} {
		tb := New[peer]()
		cs := some(n)
		for _, c := range cs {
			tb.Add(c, Edge, withID(1), 1, noText, false)
		}
		dst := make([]*peer, 0, n)
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = tb.MatchAll(&withIDName, cs[n-1], All, dst[:0])
			}
		})
	}
}

// One subscribe and one unsubscribe on a table of that size.
func BenchmarkSubscribe(b *testing.B) {
	for _, n := range sizes[1:] {
		cs := some(1000)
		tb, _ := filled(n, cs)
		fresh := make([]wire.Name, 4096)
		for i := range fresh {
			fresh[i] = numbered(n + i)
		}
		b.Run(fmt.Sprintf("names=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				k, c := Key{fresh[i&4095], true}, cs[i%1000]
				tb.Add(c, Edge, k, 1, [3]string{"org", "ns", "app"}, true)
				tb.Remove(c, k, 1)
				i++
			}
		})
	}
}

// The same under one prefix with that many ids, by one of their holders and by somebody new.
func BenchmarkSubscribeID(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		tb := New[peer]()
		cs := some(n)
		for i, c := range cs {
			tb.Add(c, Edge, withID(uint64(i)), 1, noText, false)
		}
		b.Run(fmt.Sprintf("ids=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c, k := cs[i%n], withID(uint64(i%n+n))
				tb.Add(c, Edge, k, 1, noText, false)
				tb.Remove(c, k, 1)
				i++
			}
		})
		b.Run(fmt.Sprintf("ids=%d/new-conn", n), func(b *testing.B) {
			c := &peer{kind: Edge}
			for b.Loop() {
				tb.Add(c, Edge, withID(5), 1, noText, false)
				tb.Remove(c, withID(5), 1)
			}
		})
	}
}

// What a subscription costs in memory, all told: trie, prefix, entry, strings, records. The connections are 1000 with
// 1000 names each, one with all, or one for each name.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for _, conns := range []int{1, 1000, n} {
		b.Run(fmt.Sprintf("names=%d/conns=%d", n, conns), func(b *testing.B) {
			for b.Loop() {
				cs := some(conns)
				before := heap()
				tb, names := filled(n, cs)
				clear(names)
				b.ReportMetric(float64(heap()-before)/n-40, "B/name") // names itself is 40
				runtime.KeepAlive(tb)
				runtime.KeepAlive(names)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkRemoveConn(b *testing.B) {
	for _, k := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("names=%d", k), func(b *testing.B) {
			tb, _ := filled(100_000, some(100))
			names := make([]wire.Name, k)
			for i := range names {
				names[i] = numbered(1_000_000 + i)
			}
			c := &peer{kind: Edge}
			for b.Loop() {
				b.StopTimer()
				for _, n := range names {
					tb.Add(c, Edge, Key{n, true}, 1, noText, false)
				}
				b.StartTimer()
				removeConn(tb, c)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(k), "ns/name")
		})
	}
}
