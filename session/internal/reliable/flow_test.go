package reliable

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// wait is want on a way that has no room: copies wait.
func (c *script) wait(does, want string) (copies []Copy) {
	c.t.Helper()
	got, copies := c.s.handed()
	if got != want {
		c.t.Errorf("%s: %s, want %s", does, got, want)
	}
	return copies
}

func (c *script) say(h string) {
	c.t.Helper()
	if _, err := c.s.Publish(text(h), h, c.now); err != nil {
		c.t.Errorf("publish %s: %v", h, err)
	}
}

// A message's time begins when it has left, and none is repeated while a copy of it waits.
func TestTimeBeginsWhenItHasLeft(t *testing.T) {
	c := newScript(t, often, anna)
	c.say("A")
	copies := c.wait("publish", "send 1 from 1")
	c.later(20, "")
	c.s.Again(c.now)
	c.s.Asked(1, anna, c.now)
	c.want("while it waits", "")
	c.s.Sent(copies[0], Departed, c.now)
	c.now = c.now.Add(time.Second)
	c.s.Tick(c.now)
	copies = c.wait("it has left, and nobody answers", "send 1 to anna from 1")
	c.later(20, "")
	c.s.Asked(1, anna, c.now)
	c.want("while its repeat waits", "")
	c.s.Sent(copies[0], Departed, c.now)
	c.s.Asked(1, anna, c.now)
	copies = c.wait("it is asked for", "answer 1 to anna")
	c.s.Asked(1, anna, c.now)
	c.later(2, "")
	c.s.Sent(copies[0], Departed, c.now)
	c.later(1, "send 1 to anna from 1")
	c.later(1, "silent anna, [anna] lacks A")
}

// Of much that is published little is handed over ahead: repeats go first, then the rest in order.
func TestLittleIsHandedOverAhead(t *testing.T) {
	c := newScript(t, often, anna, bert)
	part := strings.Repeat("x", 50_000)
	for i := range 8 {
		if _, err := c.s.Publish(text(part), fmt.Sprint(i), c.now); err != nil {
			t.Fatal(err)
		}
	}
	copies := c.wait("publish", "send 1 from 1, send 2 from 1, send 3 from 1")
	c.s.Sent(copies[0], Departed, c.now)
	copies = append(copies[1:], c.wait("one has left", "send 4 from 1")...)
	c.now = c.now.Add(time.Second)
	c.s.Tick(c.now)
	c.wait("there is no room for a repeat", "")
	c.s.Sent(copies[0], Departed, c.now)
	copies = append(copies[1:], c.wait("a second has left", "send 1 to anna from 1")...)
	c.s.Ack(1, bert, c.now)
	c.s.Sent(copies[0], Departed, c.now)
	copies = append(copies[1:], c.wait("bert has it", "send 5 from 1")[:1]...)
	for len(copies) > 0 {
		c.s.Sent(copies[0], Departed, c.now)
		more, next := c.s.handed()
		if copies = append(copies[1:], next...); strings.Contains(more, "send 1") {
			t.Errorf("again: %s", more)
		}
	}
	if c.s.out != 0 || c.s.ahead != 0 {
		t.Errorf("%d copies, %d bytes are to leave", c.s.out, c.s.ahead)
	}
}

// Two messages may be on their way, however large they are.
func TestLargeMessagesOverlap(t *testing.T) {
	c := newScript(t, often, anna)
	for range 3 {
		if _, err := c.s.Publish(Payload{Blob: make([]byte, Ahead)}, "A", c.now); err != nil {
			t.Fatal(err)
		}
	}
	c.wait("publish", "send 1 from 1, send 2 from 1")
}

// What waited when a member came is not for it: it goes to each of those who were there.
func TestWhatWaitedIsNotForWhoComesLater(t *testing.T) {
	for _, o := range []Options{often, {}} {
		c := newScript(t, o, anna, bert)
		for range 4 {
			if _, err := c.s.Publish(Payload{Blob: make([]byte, Ahead)}, "A", c.now); err != nil {
				t.Fatal(err)
			}
		}
		copies := c.wait("publish", "send 1 from 1, send 2 from 1")
		c.s.Add(carla, c.now)
		var all []string
		for len(copies) > 0 {
			c.s.Sent(copies[0], Departed, c.now)
			more, next := c.s.handed()
			if copies = append(copies[1:], next...); more != "" {
				all = append(all, strings.Split(more, ", ")...)
			}
		}
		all = slices.DeleteFunc(all, func(w string) bool { return strings.HasPrefix(w, "delivered") })
		if want := []string{"send 3 to anna from 1", "send 3 to bert from 1", "send 4 to anna from 1", "send 4 to bert from 1"}; !slices.Equal(all, want) {
			t.Errorf("%q, want %q", all, want)
		}
	}
}

// Who answers for one message after the other, slowly, is not sent what it comes to next once more; when it has answered for what
// was sent later, or says nothing for an interval, it is.
func TestSlowAnswersAreAnswers(t *testing.T) {
	c := newScript(t, often, anna)
	for i := range 10 {
		c.say(fmt.Sprint(i + 1))
	}
	c.s.taken(c.now)
	for i := range uint32(8) {
		c.now = c.now.Add(800 * time.Millisecond)
		c.s.Tick(c.now)
		c.want(fmt.Sprint("before the answer for ", i+1), "")
		c.ack(i+1, anna, fmt.Sprint("delivered ", i+1))
	}
	c.ack(10, anna, "delivered 10")
	c.later(0, "send 9 to anna")
	c.later(1, "send 9 to anna")
	c.later(1, "silent anna, [anna] lacks 9")

	c = newScript(t, often, anna, bert) // one of two
	c.say("1")
	c.say("2")
	c.s.taken(c.now)
	c.now = c.now.Add(900 * time.Millisecond)
	c.ack(1, anna, "")
	c.now = c.now.Add(100 * time.Millisecond)
	c.s.Tick(c.now)
	c.want("after an interval", "send 1 to bert from 1, send 2 to bert from 1")
	c.ack(2, bert, "")
	c.ack(1, bert, "delivered 1")
	c.later(1, "send 2 to anna")
	c.later(1, "silent anna, [anna] lacks 2")
}

// What one of several comes to slowly keeps nothing from others who say nothing.
func TestSlowOneHoldsNothingBack(t *testing.T) {
	c := newScript(t, often, anna, bert)
	for i := range 4 {
		c.say(fmt.Sprint(i + 1))
	}
	c.s.taken(c.now)
	at := func(ms int, does func()) {
		t.Helper()
		c.now = start.Add(time.Duration(ms) * time.Millisecond)
		does()
	}
	tick := func(ms int, want string) {
		t.Helper()
		at(ms, func() { c.s.Tick(c.now) })
		c.want(fmt.Sprint("after ", ms, " ms"), want)
	}
	at(100, func() { c.s.Acks(1, 2, bert, c.now) })
	at(900, func() { c.ack(1, anna, "delivered 1") })
	tick(1000, "") // 2 lacks only anna, who has come near it
	if d := c.s.Deadline(); !d.Equal(start.Add(1100 * time.Millisecond)) {
		t.Errorf("the next is due after %v", d.Sub(start))
	}
	tick(1100, "send 3 to bert, send 4 to bert")
	at(1200, func() { c.ack(3, bert, "") })
	at(1500, func() { c.ack(2, anna, "delivered 2") })
	tick(2199, "")
	tick(2200, "send 4 to bert")
	at(2300, func() { c.ack(4, bert, "") })
	tick(2500, "send 3 to anna") // she is silent now, and nobody else lacks it
	at(2600, func() { c.ack(4, anna, "delivered 4") })
	tick(3500, "silent anna, [anna] lacks 3")
	if len(c.s.held) > 0 || !c.s.Deadline().IsZero() {
		t.Errorf("%d are held, the next due at %v", len(c.s.held), c.s.Deadline())
	}
}

// What was put aside for one who has answered for something later now is repeated at once.
func TestHeldUntilALaterAnswer(t *testing.T) {
	c := newScript(t, often, anna)
	for i := range 4 {
		c.say(fmt.Sprint(i + 1))
	}
	c.s.taken(c.now)
	c.now = c.now.Add(900 * time.Millisecond)
	c.ack(1, anna, "delivered 1")
	c.now = c.now.Add(200 * time.Millisecond)
	c.s.Tick(c.now)
	c.want("she has come near", "")
	c.s.Missed(3, anna, c.now)
	c.want("she has given 3 up", "[anna] lacks 3")
	c.later(0, "send 2 to anna")
	c.ack(4, anna, "delivered 4")
	c.ack(2, anna, "delivered 2")
	if !c.s.Deadline().IsZero() {
		c.later(1, "")
	}
	if len(c.s.held) > 0 || !c.s.Deadline().IsZero() {
		t.Errorf("%d are held, the next due at %v", len(c.s.held), c.s.Deadline())
	}
}

// A copy for which there was no room is no repeat, and one that had no way is one to which nobody can have been silent.
func TestCopiesThatDoNotLeave(t *testing.T) {
	c := newScript(t, often, anna)
	fate := func(f Fate, want string) {
		t.Helper()
		for _, copied := range c.wait("handed over", want) {
			c.s.Sent(copied, f, c.now)
		}
		c.now = c.now.Add(time.Second)
		c.s.Tick(c.now)
	}
	c.say("A")
	fate(Refused, "send 1 from 1")
	for range 5 {
		fate(Refused, "send 1 to anna from 1")
	}
	fate(Departed, "send 1 to anna from 1")
	fate(Departed, "send 1 to anna from 1")
	fate(Dropped, "send 1 to anna from 1")
	c.want("given up", "[anna] lacks A")

	c = newScript(t, Options{}, anna)
	c.say("A")
	fate(Dropped, "send 1 from 1")
	c.want("nobody repeats it", "[anna] lacks A")
}

// What has come too late is not delivered, is told so, and is not repeated or kept.
func TestMissed(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.s.Missed(1, carla, c.now)
	c.s.Missed(2, anna, c.now)
	c.s.Missed(1, anna, c.now)
	c.later(1, "send 1 to bert from 1")
	c.ack(1, bert, "[anna] lacks A")
	c.later(9, "")
	c.s.Asked(1, anna, c.now)
	c.want("asked", "answer gone 1 to anna")
	if len(c.s.flights)+c.s.late.Len() > 0 {
		t.Error("it is kept")
	}
}

// A receiver does not acknowledge what it has given up, if the sender understands what it says instead.
func TestGivenUpIsNotAcknowledged(t *testing.T) {
	hears := Start{Hears: true}
	r, now := NewReceiver[string](often, true), start
	does := func(id uint32, s Start, want string) {
		t.Helper()
		r.Receive(anna, id, "", 1, s, now)
		if got := r.taken(); got != want {
			t.Errorf("%d => %q, want %q", id, got, want)
		}
	}
	does(3, hears, "request 1, request 2")
	r.Gone(anna, 1)
	now = now.Add(3 * time.Second)
	r.Tick(now)
	r.Tick(now.Add(3 * time.Second))
	r.Tick(now.Add(6 * time.Second))
	r.taken()
	does(1, hears, "missed 1")
	does(2, hears, "missed 2")
	does(3, hears, "ack 3")
	does(2, Start{}, "ack 2") // its sender would not understand, and does not look at who has acknowledged
	does(700, hears, "lost 4-188 skipped, "+requests(189, 699))
	does(100, hears, "missed 100")

	again := NewReceiver[string](often, true) // it is kept
	r.Keep()
	does(189, hears, "deliver 189, ack 189")
	r.Changes(func(number uint64, p *Position) { again.Restore(number, p, now) })
	r = again
	does(100, hears, "missed 100")
	does(189, hears, "ack 189")

	r = NewReceiver[string](Options{Interval: time.Second}, true) // many of them
	for id := uint32(2); id < 1000; id += 2 {
		r.Receive(anna, id, "", 1, hears, now)
		r.Gone(anna, id-1)
	}
	r.taken()
	if n := len(r.sources[anna].missed); n != mostMissed {
		t.Errorf("%d spans are remembered", n)
	}
	does(997, hears, "missed 997")
	does(998, hears, "ack 998")
	does(3, hears, "missed 3")
}

// While there is no way only what shows that is handed over, each time that something is to be repeated; and when the connection is
// back, all goes in order, once.
func TestConnectionIsBackInOrder(t *testing.T) {
	c := newScript(t, often, anna, bert)
	for i := range 5 {
		if _, err := c.s.Publish(Payload{Blob: make([]byte, Ahead/2)}, fmt.Sprint(i+1), c.now); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(want string) {
		t.Helper()
		for _, copied := range c.wait("handed over", want) {
			c.s.Sent(copied, Dropped, c.now)
		}
		c.want("dropped", "")
		c.now = c.now.Add(time.Second)
		c.s.Tick(c.now)
	}
	drop("send 1 from 1, send 2 from 1")
	c.want("there is a way again", "send 1 to anna from 1, send 1 to bert from 1, send 2 to anna from 1, send 2 to bert from 1, "+
		"send 3 from 1, send 4 from 1, send 5 from 1")
	for id := range uint32(5) {
		c.s.Ack(id+1, anna, c.now)
		c.s.Ack(id+1, bert, c.now)
	}
	c.s.handed()

	if _, err := c.s.Publish(text("6"), "6", c.now); err != nil {
		t.Fatal(err)
	}
	drop("send 6")
	c.s.Again(c.now)
	c.s.Again(c.now)
	c.want("the connection is back", "send 6 to anna, send 6 to bert")
	c.later(0, "")
}

// What can never be sent is not delivered, and nobody is to blame.
func TestRejected(t *testing.T) {
	c := newScript(t, often, anna)
	c.say("A")
	c.s.Sent(c.wait("publish", "send 1 from 1")[0], Rejected, c.now)
	c.want("rejected", "[anna] lacks A")
	c.publish("B", "send 2 from 1")
	c.s.Asked(1, anna, c.now)
	c.want("who asks for it waits no longer", "answer gone 1 to anna")
}

// Of a sender whose messages come one after the other, slowly, a receiver waits for the next ones as long as that goes on.
func TestReceiverWaitsForWhatComesSlowly(t *testing.T) {
	r, now := NewReceiver[string](often, true), start
	r.Receive(anna, 20, "", 1, Start{}, now)
	r.taken()
	for id := range uint32(19) {
		now = now.Add(900 * time.Millisecond)
		r.Tick(now)
		r.Receive(anna, id+1, "", 1, Start{}, now)
		if got, want := r.taken(), fmt.Sprintf("deliver %d, ack %d", id+1, id+1); !strings.HasPrefix(got, want) {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	r.Receive(anna, 23, "", 1, Start{}, now)
	r.taken()
	for range 2 {
		now = now.Add(time.Second)
		r.Tick(now)
		if got := r.taken(); got != "request 21, request 22" {
			t.Errorf("nothing comes: %s", got)
		}
	}
	now = now.Add(time.Second)
	r.Tick(now)
	if got := r.taken(); got != "lost 21-22 unanswered, deliver 23, ack 23" {
		t.Errorf("nothing comes: %s", got)
	}
}
