package hop

import (
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// traffic is a sender, its receivers and what it sends in turn.
type traffic struct {
	s    *Scratch
	from *sender
	to   []*sender
	msgs [][]byte
	ms   []wire.Message
	next int
}

func newTraffic(tb testing.TB, o Options, receivers int, fresh bool, length int) *traffic {
	s := NewScratch(o)
	c := &traffic{s: s, from: s.dial("a")}
	for i := range receivers {
		c.to = append(c.to, s.dial(fmt.Sprint(i, " receives")))
	}
	n := 1
	if fresh {
		n = 64
	}
	for i := range n {
		b, m := c.from.publication(tb, "a", "b", fmt.Sprintf("%0*d", length, i))
		c.msgs, c.ms = append(c.msgs, b), append(c.ms, m)
	}
	return c
}

// step takes one header one hop further.
func (c *traffic) step() {
	i := c.next % len(c.msgs)
	c.next++
	k, v := c.from.Receive(c.msgs[i], &c.ms[i])
	if v != OK {
		panic(v)
	}
	k.Expect(&c.to[0].Link)
	if len(c.to) > 2 && !k.Again() {
		pairs := c.s.Sign(k)
		for _, t := range c.to {
			pairs.Add(&t.Link)
		}
	}
	for _, t := range c.to {
		t.Header(k.Raw(), &k.Header)
	}
}

var journeys = []struct {
	name      string
	o         Options
	receivers int
	fresh     bool
	length    int // of the identity
}{
	{"1-to-1/constant", Options{}, 1, false, 172},
	{"1-to-1/fresh", Options{}, 1, true, 172},
	{"1-to-8/constant", Options{}, 8, false, 172},
	{"1-to-8/fresh", Options{}, 8, true, 172},
	{"1-to-1/fresh,long", Options{}, 1, true, 6 << 10},
	{"1-to-1/constant,no-room", Options{Memory: -1}, 1, false, 172},
	{"1-to-8/fresh,no-room", Options{Memory: -1}, 8, true, 172},
}

// BenchmarkHop is what a header costs from one link to all that it goes to.
func BenchmarkHop(b *testing.B) {
	for _, j := range journeys {
		b.Run(j.name, func(b *testing.B) {
			c := newTraffic(b, j.o, j.receivers, j.fresh, j.length)
			c.step()
			b.ReportAllocs()
			for b.Loop() {
				c.step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*j.receivers), "ns/header")
		})
	}
}
