package router

import (
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// readAt reads chunk bytes at a time until it has count messages: the first fast of them at once, then rate bytes a
// second.
func (p *caller) readAt(rate, chunk, fast, count int) error {
	if err := p.c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	clock := time.NewTicker(time.Millisecond)
	defer clock.Stop()
	var slow time.Time
	buf := make([]byte, 64<<10)
	for read, got := 0, 0; got < count; {
		if got >= fast {
			if slow.IsZero() {
				slow, read, buf = time.Now(), 0, buf[:chunk]
			}
			if int(time.Since(slow).Seconds()*float64(rate)) < read {
				<-clock.C
				continue
			}
		}
		n, err := p.c.Read(buf)
		if err != nil {
			return err
		}
		read += n
		if err := p.cli.Feed(buf[:n], p); err != nil {
			return err
		}
		p.flush()
		got += len(p.got)
		p.got = p.got[:0]
	}
	return nil
}

// Receivers on TCP with the kernel's default buffers lose nothing at twice the floor, whatever they read at once and
// whatever their windows. They read fast at first: the kernel's buffers grow with that, and with them what it
// acknowledges at once. The pace alone is of a real clock, nothing is judged by it.
func TestReceiversOnTCPThatReadAboveTheFloorLoseNothing(t *testing.T) {
	const rate, size, fast, count = 2 * DefaultStallRate, 10_000, 2000, 2300
	n := start(t, Options{Loops: 1})
	var wg sync.WaitGroup
	var clients []*caller
	for i, tc := range []struct {
		chunk  int
		window uint32
	}{{4 << 10, 2 << 20}, {64 << 10, 2 << 20}, {64 << 10, 65535}} {
		a, b := call(t, n), callWith(t, n, tc.window)
		to := bob.WithID(uint64(i), 9)
		b.subscribe(to)
		clients = append(clients, a, b)
		wg.Go(func() {
			for j := range count {
				a.send(wire.AppendPublish(nil, a.sign(header(alice, to, 1, "x")), testSession, content(j, size)))
			}
		})
		wg.Go(func() {
			if err := b.readAt(rate, tc.chunk, fast, count); err != nil {
				t.Errorf("%d bytes at once, window %d: %v", tc.chunk, tc.window, err)
			}
		})
	}
	received := make(chan struct{})
	go func() { wg.Wait(); close(received) }()
	look := time.NewTicker(20 * time.Millisecond) // who loses a message would wait for ever
	defer look.Stop()
	for {
		select {
		case <-received:
			return
		case <-look.C:
			if s := n.Stats(); s.Stalled != 0 || s.Dropped[ReasonStalled] != 0 {
				t.Errorf("stalled %d, dropped %v", s.Stalled, s.Dropped)
				for _, c := range clients {
					_ = c.c.Close()
				}
				<-received
				return
			}
		}
	}
}
