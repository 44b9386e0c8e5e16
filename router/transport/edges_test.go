package transport

import (
	"slices"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// Once a millisecond of a batch has gone into expanding, short messages are expanded beside the loop, too. Rules: P-comp-6.
func TestExpandingOnTheLoopIsBounded(t *testing.T) {
	v, g, run := sends(t, compress.Gzip, Options{})
	short := compressed(t, compress.Gzip, text(1000))
	v.data(1, short)
	if len(g.got) != 1 {
		t.Fatalf("%d messages", len(g.got))
	}
	v.h.group.codecOf().spent = expandTime
	v.h.loop.Deliver(v.sock, frames(func(f *http2.Framer) { _ = f.WriteData(1, false, short) })) // of the same batch
	if n := len(v.h.group.codec.line); n != 1 || len(g.got) != 1 {
		t.Errorf("%d in line, %d messages", n, len(g.got))
	}
	v.h.settle()
	run()
	if len(g.got) != 2 {
		t.Errorf("%d messages", len(g.got))
	}
}

// Messages that wait to be expanded when their stream ends are counted.
func TestMessagesThatWaitedToBeExpandedAreCounted(t *testing.T) {
	v, _, run := sends(t, compress.Gzip, Options{})
	v.data(1, compressed(t, compress.Gzip, text(compress.Most)))
	v.data(1, enveloped(make([]byte, 10)))
	v.data(1, enveloped(make([]byte, 10)))
	v.write(frames(func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeCancel) }))
	if !slices.Contains(v.h.lines, "3 late") {
		t.Errorf("told %q", v.h.lines)
	}
	run()
}

// A WebSocket sender that is held is read again when half of what held it has left, and not at each byte, and when its stream ends.
func TestHowLongAWebSocketIsHeld(t *testing.T) {
	const window = 1 << 20
	h := build(t, Options{KeepaliveTime: -1, Window: window})
	v := h.visitWS()
	g := v.upgrade()
	s := g.s.(*webSocketStream)
	held := func(n int) bool {
		h.do(func() { s.Charge(n) })
		return s.net.Paused()
	}
	for i, tt := range []struct {
		charge int
		held   bool
	}{{window, false}, {1, true}, {-window / 4, true}, {-window / 4, true}, {-1, false}, {window / 2, false}, {1, true}} {
		if held(tt.charge) != tt.held {
			t.Errorf("charge %d, of %d: held %v, want %v", i, tt.charge, !tt.held, tt.held)
		}
	}
	h.do(func() { s.Finish(statusOK, "") })
	if s.net.Paused() {
		t.Error("nobody would see the end of the peer")
	}
}

// What a peer could not complete while it was held has its time again after that.
func TestUnfinishedMessageOfOneWhoWasHeld(t *testing.T) {
	h := build(t, Options{KeepaliveTime: -1, Window: 1 << 20})
	v := h.visitWS()
	g := v.upgrade()
	s := g.s.(*webSocketStream)
	h.do(s.Established)
	within := int(h.group.opt.UnfinishedTimeout.Seconds())
	v.write(masked(0x02, []byte("beg")))
	h.do(func() { s.Charge(2 << 20) })
	h.pass(10*within, nil)
	h.do(func() { s.Charge(-2 << 20) })
	h.pass(within-1, nil)
	if slices.Contains(g.lines, "broken: unfinished") {
		t.Error("what it could not send while it was held counts")
	}
	h.pass(3, nil)
	if !slices.Contains(g.lines, "broken: unfinished") {
		t.Errorf("the receiver was told %q", g.lines)
	}
}

// A listener that is removed is idle when the last who has come by it has gone, and not before.
func TestGateIsIdleWhenTheLastHasGone(t *testing.T) {
	h := build(t, Options{KeepaliveTime: -1})
	gate := h.group.NewGate("x")
	var visitors []*visitor
	for range 2 {
		v := h.visitWSBy(gate)
		v.upgrade()
		visitors = append(visitors, v)
	}
	idle := 0
	h.do(func() { gate.Finish(func() { idle++ }) })
	left := func() int { return len(slices.DeleteFunc(slices.Clone(visitors), (*visitor).gone)) }
	for range 60 {
		if n := left(); n > 0 && idle != 0 {
			t.Fatalf("idle with %d sockets", n)
		}
		h.pass(1, nil)
	}
	if left() != 0 {
		t.Fatal("they do not go")
	}
	if idle != 1 {
		t.Errorf("idle %d times", idle)
	}
}

// A buffer that takes the place of another counts once: a small holder that grows is preferred to a larger one. Rules: P-lim-9.
func TestMemoryThatReplacesMemory(t *testing.T) {
	const kb = 1 << 10
	h := build(t, Options{KeepaliveTime: -1, Unfinished: pool.NewQuota(165 * kb)})
	a, b := h.visitWS(), h.visitWS()
	of := func(v *visitor) *webSocket { return (*webSocket)(v.upgrade().s.(*webSocketStream)) }
	large, small := of(a), of(b)
	h.do(func() {
		large.setUnfinished(100 * kb)
		small.setUnfinished(60 * kb)
		old := pool.Get(60 * kb)
		defer old.Release()
		got := small.lend(70*kb, nil, old)
		if got == nil {
			t.Error("the smaller one gets nothing")
			return
		}
		got.Release()
		small.setUnfinished(0)
	})
	if large.unfinished != 0 {
		t.Error("the larger one keeps all")
	}
}

// An encoding is done without on the connection that follows its refusal, and asked for again on the next; one that was accepted
// is not forgotten. Rules: P-comp-8.
func TestOffersAreForgottenOnce(t *testing.T) {
	o := &Offer{Encoding: compress.Gzip}
	ends := func(uses, answered bool) bool {
		k := &socket{}
		k.call = &call{Call: &Call{Offer: o}, uses: uses, answered: answered}
		k.forgetOffer()
		return o.refused.Swap(false)
	}
	if ends(false, false) || ends(true, true) {
		t.Error("nobody has refused it")
	}
	if !ends(true, false) {
		t.Error("it was refused")
	}
}
