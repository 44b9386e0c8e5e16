package reliable

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// A copy for which there was no room is no repeat, also where it would have been the last one.
func TestNoRoomForTheLastRepeat(t *testing.T) {
	c := newScript(t, often, anna)
	c.publish("A", "send 1 from 1")
	for range often.Retries - 1 {
		c.later(1, "send 1 to anna from 1")
	}
	refused := func() {
		t.Helper()
		c.now = c.now.Add(time.Second)
		c.s.Tick(c.now)
		for _, copied := range c.wait("the last repeat", "send 1 to anna from 1") {
			c.s.Sent(copied, Refused, c.now)
		}
	}
	for range 3 {
		refused()
	}
	c.later(1, "send 1 to anna from 1") // now there is room
	c.later(1, "silent anna, [anna] lacks A")
}

// When a message is given up for one who says nothing, it is repeated as often as may be to one who answers slowly.
func TestGivenUpForOneAndRepeatedToAnother(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.publish("B", "send 2 from 1")
	for range often.Retries {
		c.later(1, "send 1 to anna from 1, send 1 to bert from 1, send 2 to anna from 1, send 2 to bert from 1")
	}
	c.now = c.now.Add(500 * time.Millisecond)
	c.ack(1, bert, "")
	c.now = c.now.Add(500 * time.Millisecond)
	c.s.Tick(c.now)
	c.want("anna has said nothing", "silent anna, [anna] lacks A, silent anna")
	for range often.Retries {
		c.later(1, "send 2 to bert")
	}
	c.ack(2, bert, "[anna] lacks B")
}

// Who says twice that it does not know a stream, since its first word was repeated on the way, loses nothing of the new one.
func TestUnknownTwice(t *testing.T) {
	c := newScript(t, often, anna)
	c.publish("A", "send 1 from 1")
	c.ack(1, anna, "delivered A")
	c.s.Unknown(anna, 5, c.now)
	c.publish("B", "send 2 from 2")
	c.ack(2, anna, "delivered B")
	c.publish("C", "send 3")
	c.s.Unknown(anna, 5, c.now)
	c.want("unknown again", "")
	c.ack(3, anna, "delivered C")
	c.publish("D", "send 4")
	c.s.Unknown(anna, 6, c.now) // it has come anew once more
	c.want("unknown under another tag", "[anna] lacks D")
}

// Of replies that a message is gone there are so many in a second, and where there are others, so many between copies that all get (P-ses-2).
func TestRepliesThatMessagesAreGone(t *testing.T) {
	for _, c := range []struct {
		name  string
		peers []wire.NameText
		want  []int // in seconds, one after the other
	}{
		{"one", []wire.NameText{anna}, []int{2 * Window, 2 * Window}},
		{"two", []wire.NameText{anna, bert}, []int{2 * mostApart, 0}},
	} {
		s := newScript(t, often, c.peers...)
		ask := func() (n int) {
			for i := range 3 * Window {
				s.s.Asked(uint32(100+i), anna, s.now)
			}
			n = len(s.s.Out)
			s.s.Out = nil
			return n
		}
		for i, want := range c.want {
			if got := ask(); got != want {
				t.Errorf("%s, second %d: %d replies, want %d", c.name, i, got, want)
			}
			s.now = s.now.Add(askTime)
		}
		s.publish("A", "send 1 from 1") // all can follow again
		if got := ask(); got == 0 {
			t.Errorf("%s: none after a message for all", c.name)
		}
	}
}

// Where many copies go to one endpoint alone, one of mostApart goes to all (P-ses-2).
func TestOneCopyOfManyIsForAll(t *testing.T) {
	c := newScript(t, often, anna, bert)
	const n = 2*mostApart - 50
	for i := range n {
		if _, err := c.s.Publish(text("x"), fmt.Sprint(i), c.now); err != nil {
			t.Fatal(err)
		}
		c.s.taken(c.now)
		c.s.Ack(uint32(i+1), bert, c.now)
	}
	c.s.taken(c.now)
	c.now = c.now.Add(time.Second)
	c.s.Tick(c.now)
	all, one := 0, 0
	for len(c.s.Out) > 0 {
		text, copies := c.s.handed()
		for _, line := range strings.Split(text, ", ") {
			if strings.Contains(line, " to anna") {
				one++
			} else {
				all++
			}
		}
		for _, copied := range copies {
			c.s.Sent(copied, Departed, c.now)
		}
	}
	if all != 1 || one != n-1 {
		t.Errorf("%d copies for all and %d for anna, of %d", all, one, n)
	}
}
