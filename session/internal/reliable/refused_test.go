package reliable

import (
	"testing"
	"time"
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
