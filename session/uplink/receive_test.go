package uplink

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// What the app never sees makes room for what it does: acknowledgements of many windows do not stop the node.
func TestWhatTheAppDoesNotGetIsNotHeldAgainstTheNode(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		const window, total = 64 << 10, 500
		c, p := f.dial(Options{Window: window})
		reason := strings.Repeat("x", 1000)
		p.do(func() {
			for i := range uint64(total) {
				p.frame(wire.AppendAck(nil, 1<<40+i, false, reason))
			}
			p.frame(p.sign(publication(1, 50)))
		})
		if number(receive(t, c), 50) != 1 {
			t.Error("another message")
		}
		if s := c.Stats(); s.Ignored != total {
			t.Errorf("%+v", s)
		}
	})
}

// Messages of all sizes come in order and whole, however they lie in the reads.
func TestMessagesAreReceivedInOrder(t *testing.T) {
	sizes := []int{8, 100, 3000, ownBlock, 70_000, 9, 300_000, 8, MaxMessage - 1000, 50}
	size := func(i int) int { return max(8, sizes[i%len(sizes)]>>(i/10)) }
	const total = 100
	for _, read := range []int{minReadBuffer, 4096, defaultReadBuffer} {
		bubble(t, &fake{}, func(t *testing.T, f *fake) {
			c, p := f.dial(Options{ReadBuffer: read})
			p.do(func() {
				for i := range total {
					p.frame(p.sign(publication(i, size(i))))
				}
			})
			for i := range total {
				if msg := receive(t, c); number(msg, size(i)) != i {
					t.Fatalf("reads of %d: message %d is %d", read, i, number(msg, size(i)))
				}
			}
			if s := c.Stats(); s.Received != total || s.Unauthentic+s.Invalid+s.Ignored+s.Discarded != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// An app that does not receive holds the node to one window, and when it receives again the node goes on.
func TestNodeRunsOneWindowAhead(t *testing.T) {
	for _, size := range []int{8, 1000, 100_000} {
		bubble(t, &fake{}, func(t *testing.T, f *fake) {
			const window = 1 << 20
			c, p := f.dial(Options{Window: window})
			msg := p.sign(publication(0, size))
			total := 3 * window / len(msg)
			p.do(func() {
				for range total {
					p.frame(msg)
				}
			})
			settle()
			p.mu.Lock()
			out := total*(len(msg)+prefixLen) - len(p.queue)
			p.mu.Unlock()
			if out > window+len(msg) || out < window-len(msg)-prefixLen {
				t.Errorf("the node has sent %d bytes to an app that takes none and allows %d", out, window)
			}
			if held := c.inbox.held(); held > out+out/4+2*blockSize {
				t.Errorf("messages of %d bytes: %d bytes are held for %d received", len(msg), held, out)
			}
			for range total {
				receive(t, c)
			}
			if held := c.inbox.held(); held > blockSize && size < ownBlock {
				t.Errorf("%d bytes are held when all was received", held)
			}
		})
	}
}

// held is how much memory the messages take that wait.
func (x *inbox) held() (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range x.blocks {
		n += cap(b.buf.B)
	}
	return n
}

// With a callback the window opens when it has returned, and not before.
func TestCallbackHoldsTheNode(t *testing.T) {
	const window = 64 << 10
	enter, leave := make(chan int), make(chan struct{})
	o := Options{Window: window, ReadBuffer: 16 << 10, Handle: func(msgs [][]byte) {
		enter <- len(msgs)
		<-leave
	}}
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		enter, leave = make(chan int), make(chan struct{})
		_, p := f.dial(o)
		const total = 200
		p.do(func() {
			for i := range total {
				p.frame(p.sign(publication(i, 1000)))
			}
		})
		got := <-enter
		settle()
		p.mu.Lock()
		out := total*1200 - len(p.queue)
		p.mu.Unlock()
		if out > window+1200 {
			t.Errorf("the node has sent some %d bytes to a callback that has not returned", out)
		}
		for got < total {
			leave <- struct{}{}
			got += <-enter
		}
		leave <- struct{}{}
	})
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		p.send(publication(1, 50))
		if number(receive(t, c), 50) != 1 {
			t.Error("another message")
		}
	})
}

// Headers that are not signed as the link demands never reach the app.
func TestHeadersAreVerified(t *testing.T) {
	forged := func(p *peer) []byte {
		b := p.sign(publication(1, 50))
		at := bytes.Index(b, []byte("id"))
		b[at] = 'x' // the identity
		return b
	}
	unsigned := func(*peer) []byte { return publication(1, 50) }
	good := func(p *peer) []byte { return p.sign(publication(1, 50)) }
	sub := func(*peer) []byte { return wire.AppendSubscribe(nil, header(bob), 1) }
	for _, c := range []struct {
		name string
		o    Options
		f    fake
		msg  func(*peer) []byte
		want Stats
	}{
		{"good", Options{}, fake{}, good, Stats{Received: 1}},
		{"forged", Options{}, fake{}, forged, Stats{Unauthentic: 1}},
		{"unsigned", Options{}, fake{}, unsigned, Stats{Unauthentic: 1}},
		{"unsigned name", Options{}, fake{}, sub, Stats{Unauthentic: 1}},
		{"unsigned name where that is allowed", Options{AllowUnsigned: true}, fake{}, sub, Stats{Received: 1}},
		{"unsigned where that is allowed, but the link has a key", Options{AllowUnsigned: true}, fake{}, unsigned,
			Stats{Unauthentic: 1}},
		{"unsigned on a link without key", Options{AllowUnsigned: true}, fake{reply: withoutKey}, unsigned,
			Stats{Received: 1}},
		{"signed on a link without key", Options{AllowUnsigned: true}, fake{reply: withoutKey}, good, Stats{Unauthentic: 1}},
		{"of a peer", Options{Kind: Peer}, fake{}, unsigned, Stats{Received: 1}},
		{"no header", Options{}, fake{}, func(*peer) []byte { return []byte{0x1a, 0} }, Stats{Invalid: 1}},
		{"two in one: the last counts", Options{}, fake{}, func(p *peer) []byte { return append(good(p), good(p)...) },
			Stats{Received: 1}},
		{"two in one, too large for that", Options{}, fake{},
			func(p *peer) []byte { return append(good(p), p.sign(publication(1, maxOdd))...) }, Stats{Invalid: 1}},
		{"a link again", Options{}, fake{},
			func(*peer) []byte { return wire.AppendLink(nil, &wire.LinkNegotiation{LinkID: "x"}) }, Stats{Ignored: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &c.f, func(t *testing.T, f *fake) {
				con, p := f.dial(c.o)
				for range 3 {
					p.do(func() { p.frame(c.msg(p)) })
				}
				settle()
				got := con.Stats()
				got.ReceivedBytes = 0
				if want := (Stats{Received: 3 * c.want.Received, Unauthentic: 3 * c.want.Unauthentic, Invalid: 3 * c.want.Invalid,
					Ignored: 3 * c.want.Ignored}); got != want || con.Err() != nil {
					t.Errorf("got %+v, want %+v; %v", got, want, con.Err())
				}
			})
		})
	}
}

// A message that gets its usual form is the one that counts, and gives back what it took of the window.
func TestMessagesGetTheirUsualForm(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		const window = 64 << 10
		c, p := f.dial(Options{Window: window})
		for i := range 500 { // many windows
			p.do(func() { p.frame(append(p.sign(publication(0, 3000)), p.sign(publication(i, 50))...)) })
			if got := receive(t, c); number(got, 50) != i {
				t.Fatalf("message %d is %d", i, number(got, 50))
			}
		}
	})
}

// A generator of load looks at the first message only.
func TestFirstMessageIsVerified(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Verify: VerifyFirst})
		p.send(publication(0, 50))
		p.sendAs([]byte("anything"))
		p.sendAs(wire.AppendAck(nil, 1, true, ""))
		receive(t, c)
		if got := receive(t, c); string(got) != "anything" {
			t.Errorf("got %q", got)
		}
		settle()
		if s := c.Stats(); s.Received != 2 || s.Ignored != 1 {
			t.Errorf("%+v", s)
		}
	})
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Verify: VerifyFirst})
		p.sendAs(publication(0, 50))
		if _, err := c.Receive(t.Context()); err == nil || !errors.Is(err, errMAC) {
			t.Errorf("got %v", err)
		}
	})
}

// What is no message is dropped: another app may have written it.
func TestBrokenMessagesAreDropped(t *testing.T) {
	broken := map[string][]byte{
		"cut":                   publication(1, 50)[:60],
		"group":                 {0x0b},
		"header cut":            {0x1a, 4, 0x0a, 2, 0x1a, 9},
		"name that is no UTF-8": {0x1a, 7, 0x0a, 5, 0x0a, 3, 0x12, 1, 0xff},
		"acknowledgement":       {0x32, 3, 0x1a, 1, 0xff},
	}
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		for _, msg := range broken {
			p.sendAs(msg)
		}
		p.send(publication(7, 50))
		if number(receive(t, c), 50) != 7 {
			t.Error("another message")
		}
		if s := c.Stats(); s.Invalid != uint64(len(broken)) {
			t.Errorf("%+v", s)
		}
	})
	for name, msg := range broken {
		bubble(t, &fake{}, func(t *testing.T, f *fake) {
			c, p := f.dial(Options{Verify: VerifyFirst})
			p.sendAs(msg)
			_, err := c.Receive(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Fault != Node || !strings.Contains(err.Error(), "no message") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
