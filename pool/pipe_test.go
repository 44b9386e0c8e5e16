package pool

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// sleeper is how one side of a pipe is woken in tests.
type sleeper struct {
	wakes atomic.Int64
	c     chan struct{}
}

func newSleeper() *sleeper { return &sleeper{c: make(chan struct{}, 1)} }

func (s *sleeper) wake() {
	s.wakes.Add(1)
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// pipe returns a pipe whose two sides are woken by these.
func pipe(bufs, window int) (p *Pipe, putter, taker *sleeper) {
	p, putter, taker = NewPipe(bufs, window), newSleeper(), newSleeper()
	d := &Duplex{In: NewPipe(1, 1), Out: p}
	d.OnWake(func() {}, putter.wake)
	d.Other().OnWake(taker.wake, func() {})
	return p, putter, taker
}

// numbered is a Buf of n bytes, 8 or more, that begins with i.
func numbered(i uint64, n int) *Buf {
	b := Get(n)
	b.B = b.own[:n]
	binary.LittleEndian.PutUint64(b.B, i)
	return b
}

func number(b *Buf) uint64 { return binary.LittleEndian.Uint64(b.B) }

func TestPipeIsBounded(t *testing.T) {
	for _, c := range []struct {
		name               string
		bufs, window, size int
		want               int // that go in
	}{
		{"by number", 8, 1 << 20, 100, 8},
		{"by bytes", 64, 1000, 100, 10},
		{"by bytes, the last may be larger", 64, 1000, 300, 4},
		{"one that is larger than the window", 64, 100, 300, 1},
	} {
		p, putter, taker := pipe(c.bufs, c.window)
		if !p.Rest() {
			t.Fatal(c.name, ": an empty pipe keeps its taker awake")
		}
		n := 0
		for p.Room() > 0 {
			p.Put(numbered(uint64(n), c.size))
			p.Signal()
			n++
		}
		if n != c.want || !p.Waits() {
			t.Errorf("%s: %d go in, want %d; it waits: %v", c.name, n, c.want, p.Waits())
		}
		if w := taker.wakes.Load(); w != 1 {
			t.Errorf("%s: the taker was woken %d times", c.name, w)
		}
		var bs [1]*Buf
		for i := range n {
			if p.Take(bs[:], 1) != 1 || number(bs[0]) != uint64(i) {
				t.Fatalf("%s: Buf %d is out of order", c.name, i)
			}
			p.Return(len(bs[0].B))
			bs[0].Release()
			if i == 0 && n > 4 && putter.wakes.Load() != 0 {
				t.Errorf("%s: the putter is woken as soon as there is a little room", c.name)
			}
		}
		if w := putter.wakes.Load(); w != 1 || p.Waits() {
			t.Errorf("%s: the putter was woken %d times", c.name, w)
		}
		if p.Sent() != uint64(n*c.size) || p.Returned() != p.Sent() {
			t.Errorf("%s: %d bytes sent, %d returned", c.name, p.Sent(), p.Returned())
		}
	}
}

// Room that is not returned stays missing, though what took it is gone, and an advance lets the putter go on.
func TestPipeThatIsCharged(t *testing.T) {
	p, putter, _ := pipe(64, 1000)
	for p.Room() > 0 {
		p.Put(numbered(0, 100))
	}
	var bs [64]*Buf
	if n := p.Take(bs[:], 1<<20); n != 10 {
		t.Fatal(n, "were taken")
	}
	for _, b := range bs[:10] {
		b.Release()
	}
	if p.Return(0); p.Room() != 0 || putter.wakes.Load() != 0 {
		t.Errorf("room for %d bytes though nothing was returned", p.Room())
	}
	if p.Advance(100); p.Room() != 100 || putter.wakes.Load() != 1 {
		t.Errorf("an advance of 100 bytes gives room for %d", p.Room())
	}
	if p.Return(900); p.Room() != 1000 {
		t.Errorf("room for %d bytes of an empty pipe", p.Room())
	}
}

// What is put between Enter and Leave is taken, however that falls together with Shut, and what is not is refused; the taker always
// gets to know that nothing comes any more.
func TestShutLosesNothing(t *testing.T) {
	for round := range 2000 {
		p, putter, taker := pipe(4, 1<<20)
		var put uint64
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				open := p.Enter()
				room := open && p.Room() > 0
				if room {
					p.Put(numbered(put, 8))
					put++
				}
				if p.Leave() && open {
					if p.Signal(); !room {
						<-putter.c
					}
					continue
				}
				return
			}
		})
		var took uint64
		var bs [3]*Buf
		for stop := uint64(round % 50); ; {
			n := p.Take(bs[:], 1<<20)
			for _, b := range bs[:n] {
				if number(b) != took {
					t.Errorf("Buf %d comes in the place of %d", number(b), took)
				}
				took++
				p.Return(len(b.B))
				b.Release()
			}
			if took >= stop && !p.IsShut() {
				p.Shut()
			}
			if p.Drained() {
				break
			}
			if n == 0 && p.Rest() {
				<-taker.c
			}
		}
		if wg.Wait(); put != took {
			t.Fatalf("round %d: %d accepted, %d taken", round, put, took)
		}
	}
}

// Two goroutines that sleep as they may: nobody sleeps for ever, and everything comes, in order.
func TestPipeWakes(t *testing.T) {
	const count = 50_000
	for seed := range uint64(4) {
		p, putter, taker := pipe(16, 4000)
		var wg sync.WaitGroup
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for i := range uint64(count) {
				for p.Room() == 0 {
					p.Signal()
					<-putter.c
				}
				p.Put(numbered(i, 8+r.IntN(600)))
				if r.IntN(4) == 0 {
					p.Signal()
				}
				if r.IntN(50) == 0 {
					runtime.Gosched()
				}
			}
			p.End(7, "over")
		})
		r := rand.New(rand.NewPCG(seed, 2))
		var bs [8]*Buf
		owed, next := 0, uint64(0)
		for {
			n := p.Take(bs[:1+r.IntN(8)], 1+r.IntN(3000))
			for _, b := range bs[:n] {
				if number(b) != next {
					t.Fatalf("Buf %d comes in the place of %d", number(b), next)
				}
				next++
				owed += len(b.B)
				b.Release()
			}
			if some := r.IntN(owed + 1); n > 0 && r.IntN(3) > 0 {
				p.Return(some)
				owed -= some
				continue
			}
			p.Return(owed)
			owed = 0
			if p.Drained() {
				break
			}
			if n == 0 && p.Rest() {
				<-taker.c
			}
		}
		wg.Wait()
		if status, text, over := p.Ended(); next != count || status != 7 || text != "over" || !over {
			t.Errorf("%d came, and the end is %d %q %v", next, status, text, over)
		}
	}
}

func TestAllocsOfAPipe(t *testing.T) {
	p, _, _ := pipe(64, 1<<20)
	var mine, bs [32]*Buf
	for i := range mine {
		mine[i] = numbered(uint64(i), 100)
	}
	if n := testing.AllocsPerRun(1000, func() {
		for _, b := range mine {
			if p.Room() > 0 {
				b.Retain()
				p.Put(b)
			}
		}
		p.Signal()
		for i := range bs[:p.Take(bs[:], 1<<20)] {
			p.Return(len(bs[i].B))
			bs[i].Release()
		}
		p.Rest()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for _, b := range mine {
		b.Release()
	}
}

// FuzzPipe plays any order of what the two sides do, beside a model.
func FuzzPipe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 0, 3})
	f.Add([]byte{3, 0, 3, 1, 2, 3, 4, 0, 5, 0, 1, 3, 6, 0, 1})
	f.Add([]byte{200, 100, 0, 8, 16, 1, 9, 2, 10, 3, 11, 7, 0, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		p, putter, taker := pipe(4, 100)
		var inside []uint64 // numbers of what was put and not taken
		var sizes []int
		var put uint64
		sent, returned, owed := 0, 0, 0
		asleep, over, told, shut := false, false, false, false
		for _, op := range ops {
			woken := taker.wakes.Load()
			switch arg := int(op >> 3); op & 7 {
			case 0: // put
				room := p.Room()
				if want := max(0, 100-(sent-returned)); room > 0 && room < min(want, 50) || room > want {
					t.Fatalf("room is %d, want %d", room, want)
				}
				if room == 0 && !p.Waits() || room > 0 && len(inside) == 4 {
					t.Fatalf("room is %d with %d inside; waits %v", room, len(inside), p.Waits())
				}
				if room == 0 || over || shut {
					continue
				}
				p.Put(numbered(put, 8+arg))
				inside, sizes = append(inside, put), append(sizes, 8+arg)
				put++
				sent += 8 + arg
				p.Signal()
			case 1: // take
				var bs [1]*Buf
				if n := p.Take(bs[:], 1); n != min(1, len(inside)) {
					t.Fatalf("%d are taken, %d are inside", n, len(inside))
				} else if n == 1 {
					if number(bs[0]) != inside[0] || len(bs[0].B) != sizes[0] {
						t.Fatalf("Buf %d of %d bytes comes, want %d of %d", number(bs[0]), len(bs[0].B), inside[0], sizes[0])
					}
					owed += sizes[0]
					inside, sizes = inside[1:], sizes[1:]
					bs[0].Release()
				}
				p.Return(0)
			case 2: // return
				n := min(owed, 8*arg)
				p.Return(n)
				owed -= n
				returned += n
			case 3: // rest
				if asleep = p.Rest(); asleep && (len(inside) > 0 || over && !told) {
					t.Fatal("the taker sleeps though something is there")
				}
				told = told || over
				continue
			case 4: // advance
				n := min(owed, 1+arg)
				p.Advance(n)
				owed -= n
				returned += n
				if p.Waits() {
					t.Fatal("an advance leaves the putter asleep")
				}
			case 5:
				p.End(0, "")
				over = true
			case 6:
				p.Shut()
				shut = true
				if p.Enter() || p.Leave() {
					t.Fatal("a pipe that is shut lets somebody in")
				}
			}
			if asleep && (len(inside) > 0 || over && !told) && taker.wakes.Load() == woken {
				t.Fatal("the taker sleeps, and nobody wakes it")
			}
			asleep = asleep && taker.wakes.Load() == woken
			if p.Waits() && owed == 0 && len(inside) == 0 {
				t.Fatal("the putter sleeps though the pipe is empty")
			}
			if got := p.Drained(); got != ((over || shut) && len(inside) == 0) {
				t.Fatalf("drained: %v, with %d inside, over %v, shut %v", got, len(inside), over, shut)
			}
		}
		if p.Sent() != uint64(sent) || p.Returned() != uint64(returned) {
			t.Fatalf("%d sent, %d returned, want %d and %d", p.Sent(), p.Returned(), sent, returned)
		}
		_ = putter
		for range inside {
			var bs [1]*Buf
			p.Take(bs[:], 1)
			bs[0].Release()
		}
	})
}
