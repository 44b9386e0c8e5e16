package router

import (
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// readOnce takes at most chunk bytes from the node, when there are any.
func (p *caller) readOnce(chunk int) (n int, err error) {
	_ = p.c.SetReadDeadline(time.Now().Add(hang))
	if cap(p.buf) < chunk {
		p.buf = make([]byte, chunk)
	}
	if n, err = p.c.Read(p.buf[:chunk]); err == nil {
		err = p.cli.Feed(p.buf[:n], p)
		p.flush()
	}
	return n, err
}

// passLook has the loop look at all who are waited for, as if stallLook had gone by.
func (l *loop) passLook() {
	l.post(func() { l.clock.pass(stallLook) })
	for looking := true; looking; {
		ended := make(chan bool)
		l.post(func() { ended <- l.clock.looking })
		looking = <-ended
	}
}

// Receivers on TCP with the kernel's default buffers lose nothing at twice the floor, whatever they read at once and
// whatever their windows. They read fast at first: the kernel's buffers grow with that, and with them what it
// acknowledges at once. Then time is what the test says it is: a look of the node for every look's worth of bytes that
// each has read.
//
// That time stands still for nobody, and the kernel's own threads, which carry acknowledgements on a busy machine, may
// wait for a processor meanwhile: what the node judges wrongly, it judges so each time.
func TestReceiversOnTCPThatReadAboveTheFloorLoseNothing(t *testing.T) {
	t.Parallel() // beside those that wait
	t.Run("plain", func(t *testing.T) { testReadersAboveTheFloor(t, nil) })
	t.Run("TLS", func(t *testing.T) { testReadersAboveTheFloor(t, []*tls.Config{sharedSecrets(t).server}) })
}

func testReadersAboveTheFloor(t *testing.T, secure []*tls.Config) {
	var fault string
	for _, pause := range lookPauses {
		if fault = readAboveTheFloor(t, secure, pause); fault == "" {
			return
		}
		t.Log(fault)
	}
	t.Error("each time")
}

// lookPauses are given to the kernel's threads before each look, in one try after the other.
var lookPauses = []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond}

// readAboveTheFloor says what a receiver has lost; "": nothing.
func readAboveTheFloor(t *testing.T, secure []*tls.Config, pause time.Duration) (fault string) {
	const rate, size = 2 * DefaultStallRate, 10_000
	fast, count := 1000, 1300
	if long {
		fast, count = 2000, 2300
	}
	n := start(t, Options{Loops: 1, TLS: secure, StallTimeout: DefaultStallTimeout, HoldTimeout: DefaultHoldTimeout})
	l := n.loops[0]
	l.post(func() { l.clock.timer = new(netloop.Timer) }) // which never fires
	type receiver struct {
		*caller
		chunk, read int // read slowly
	}
	var receivers []*receiver
	var sending, reading, draining sync.WaitGroup
	for i, tc := range []struct {
		chunk  int
		window uint32
	}{{4 << 10, 2 << 20}, {64 << 10, 2 << 20}, {64 << 10, 65535}} {
		a, b := call(t, n), callWith(t, n, tc.window)
		to := bob.WithID(uint64(i), 9)
		b.subscribe(to)
		receivers = append(receivers, &receiver{caller: b, chunk: tc.chunk})
		sending.Go(func() {
			for j := range count {
				a.send(publication(a.sign(header(alice, to, 1, "x")), j, size))
			}
		})
		reading.Go(func() { b.await(func() bool { return len(b.got) >= fast }) })
	}
	defer func() { // who has lost a message takes what comes until nothing does
		sending.Wait()
		for _, p := range receivers {
			_ = p.c.Close()
		}
		draining.Wait()
	}()
	reading.Wait()
	for passed, left := stallLook, true; left; passed += stallLook {
		left = false
		for _, p := range receivers {
			for len(p.got) < count && p.read+p.chunk <= int(passed.Seconds()*rate) {
				got, err := p.readOnce(p.chunk)
				if p.read += got; err != nil {
					t.Fatalf("%d bytes at once: %v", p.chunk, err)
				}
			}
			left = left || len(p.got) < count
		}
		time.Sleep(pause)
		l.passLook()
		if s := n.Stats(); s.Stalled != 0 || s.Dropped[ReasonStalled] != 0 {
			for _, p := range receivers {
				draining.Go(func() {
					for err := error(nil); err == nil; {
						_, err = p.readOnce(64 << 10)
					}
				})
			}
			return fmt.Sprintf("after %v: stalled %d, dropped %v", passed, s.Stalled, s.Dropped)
		}
	}
	return ""
}
