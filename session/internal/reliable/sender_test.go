package reliable

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// taken returns what the sender wants done, does it, on a way that has room for everything, and empties it.
func (s *Sender[H]) taken(now time.Time) string {
	var words []string
	for len(s.Out) > 0 {
		text, copies := s.handed()
		words = append(words, text)
		for _, c := range copies {
			s.Sent(c, Departed, now)
		}
	}
	return strings.Join(words, ", ")
}

// handed returns what the sender wants done, and the copies that it has handed over, and empties it.
func (s *Sender[H]) handed() (text string, copies []Copy) {
	var words []string
	names := func(missing []wire.NameText) (list []string) {
		for _, n := range missing {
			list = append(list, n.Str[2])
		}
		slices.Sort(list)
		return list
	}
	for _, o := range s.Out {
		switch {
		case o.Result != nil && len(o.Result.Missing) == 0:
			words = append(words, fmt.Sprintf("delivered %v", o.Result.Handle))
		case o.Result != nil:
			words = append(words, fmt.Sprintf("%v lacks %v", names(o.Result.Missing), o.Result.Handle))
		case o.Silent != nil:
			words = append(words, "silent "+o.Silent.Str[2])
		default:
			word := "send"
			if o.Send.Reply {
				word = "answer"
			}
			if o.Send.Payload == nil {
				word += " gone"
			}
			word += fmt.Sprintf(" %d", o.Send.ID)
			if !o.Send.Everyone {
				word += " to " + o.Send.To.Str[2]
			}
			if o.Send.First > 0 {
				word += fmt.Sprintf(" from %d", o.Send.First)
			}
			words = append(words, word)
			if o.Send.Copy != nil {
				copies = append(copies, o.Send.Copy)
			}
		}
	}
	s.Out = nil
	return strings.Join(words, ", "), copies
}

func text(s string) Payload { return Payload{Type: "msg", Blob: []byte(s)} }

// script plays calls of a sender, and compares what it wants done.
type script struct {
	t   *testing.T
	s   *Sender[string]
	now time.Time
}

func (c *script) want(does, want string) {
	c.t.Helper()
	if got := c.s.taken(c.now); got != want {
		c.t.Errorf("%s: %s, want %s", does, got, want)
	}
}

func (c *script) publish(h, want string) {
	c.t.Helper()
	if _, err := c.s.Publish(text(h), h, c.now); err != nil {
		c.t.Errorf("publish %s: %v", h, err)
	}
	c.want("publish "+h, want)
}

func (c *script) later(seconds int, want string) {
	c.t.Helper()
	c.now = c.now.Add(time.Duration(seconds) * time.Second)
	c.s.Tick(c.now)
	c.want(fmt.Sprintf("after %d s", seconds), want)
}

func (c *script) ack(id uint32, from wire.NameText, want string) {
	c.t.Helper()
	c.s.Ack(id, from, c.now)
	c.want(fmt.Sprintf("ack %d of %s", id, from.Str[2]), want)
}

func newScript(t *testing.T, o Options, endpoints ...wire.NameText) *script {
	c := &script{t, NewSender[string](o, 0), start}
	for _, e := range endpoints {
		c.s.Add(e, start)
	}
	return c
}

func TestDelivered(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.ack(1, anna, "")
	c.ack(1, carla, "")
	c.ack(9, bert, "")
	c.publish("B", "send 2 from 1") // bert has not answered
	c.ack(2, bert, "")
	c.ack(2, anna, "delivered B")
	c.publish("C", "send 3")
	c.ack(1, bert, "delivered A")
	c.ack(1, bert, "")
	c.later(1, "send 3 to anna, send 3 to bert")
	c.ack(3, bert, "")
	c.later(1, "send 3 to anna")
	c.ack(3, anna, "delivered C")
	c.later(9, "")
	if len(c.s.flights)+c.s.pending+c.s.bytes+c.s.queue.Len() > 0 {
		t.Errorf("what is delivered is kept: %+v", c.s)
	}
}

func TestGivenUp(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.ack(1, anna, "")
	c.later(1, "send 1 to bert from 1")
	c.later(1, "send 1 to bert from 1")
	c.later(1, "silent bert, [bert] lacks A")
	c.s.Remove(bert)
	c.publish("B", "send 2")
	c.ack(2, anna, "delivered B")
	c.later(9, "")
	c.s.Asked(1, anna, c.now)
	c.want("anna asks for what she has", "answer gone 1 to anna")
	c.s.Asked(1, bert, c.now)
	c.want("bert asks late", "answer 1 to bert")
	c.s.Asked(7, bert, c.now)
	c.want("bert asks for what never was", "answer gone 7 to bert")
}

func TestEndpointLeaves(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.publish("B", "send 2 from 1")
	c.ack(1, anna, "")
	c.s.Remove(bert)
	c.want("bert leaves", "[bert] lacks A")
	c.ack(2, anna, "[bert] lacks B")
	c.s.Remove(bert)
	c.want("bert leaves again", "")
	c.s.Add(carla, c.now)
	c.publish("C", "send 3 from 3")
	c.ack(3, anna, "")
	c.later(1, "send 3 to carla from 3")
	c.ack(3, carla, "delivered C")
}

// Who has left and comes back under its name gets nothing of before, which it may have had: neither what was under way when it
// left, nor what was kept for it while it was offline.
func TestNothingOfBeforeForWhoComesBack(t *testing.T) {
	for name, c := range map[string]struct{ offline, told bool }{
		"at once":                {told: true},
		"offline before":         {offline: true, told: true},
		"unnoticed by this side": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, often, anna, bert)
			s.publish("A", "send 1 from 1")
			s.ack(1, bert, "")
			s.publish("B", "send 2 from 1")
			s.ack(2, anna, "")
			s.publish("C", "send 3") // B is lost to bert, C to both
			lacks := "[bert] lacks B"
			if c.offline {
				s.s.Remove(bert)
				s.want("bert is offline", lacks)
				lacks = ""
			}
			if c.told {
				s.s.Forget(bert)
				s.want("bert leaves", lacks)
				s.s.Add(bert, s.now)
			} else {
				s.s.Unknown(bert, 7, s.now)
				s.want("bert does not know the stream", lacks)
			}
			s.ack(1, anna, "delivered A")
			for _, id := range []uint32{2, 3} {
				s.s.Asked(id, bert, s.now)
				s.want("bert asks for what was before", fmt.Sprintf("answer gone %d to bert", id))
			}
			s.ack(3, anna, "[bert] lacks C")
			s.publish("D", "send 4 from 4")
			s.s.Asked(4, bert, s.now)
			s.want("bert asks for what is its own", "answer 4 to bert")
			s.ack(4, anna, "")
			s.ack(4, bert, "delivered D")
			if len(s.s.flights)+s.s.pending+s.s.bytes+s.s.late.Len()+s.s.lateBytes > 0 {
				t.Errorf("something is kept: %+v", s.s)
			}
		})
	}
}

// What is kept for one who is offline stays when another one leaves who lacks it, too.
func TestOneLeavesAnotherIsOffline(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("A", "send 1 from 1")
	c.s.Remove(anna)
	c.s.Forget(bert)
	c.want("anna is offline, bert leaves", "[anna bert] lacks A")
	c.s.Asked(1, bert, c.now)
	c.want("bert asks", "answer gone 1 to bert")
	c.s.Asked(1, anna, c.now)
	c.want("anna asks", "answer 1 to anna")
	c.s.Forget(anna)
	if len(c.s.flights)+c.s.late.Len()+c.s.lateBytes > 0 {
		t.Errorf("it is kept for nobody: %+v", c.s)
	}
}

func TestNobodyThereYet(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{often, "send 1 from 1, send 2 from 1"},
		{Options{}, "send 1 from 1, send 2 from 1, delivered A, delivered B"},
	} {
		s := newScript(t, c.o)
		s.publish("A", "")
		s.publish("B", "")
		s.later(99, "")
		s.s.Add(anna, s.now)
		s.want("anna comes", c.want)
		if c.o.Interval > 0 {
			s.later(1, "send 1 to anna from 1, send 2 to anna from 1")
		}
	}
}

// A late acknowledgement of one that was here before does not show that who came under its name knows the stream.
func TestAcknowledgementOfWhoWasHereBefore(t *testing.T) {
	c := newScript(t, often, anna, bert)
	c.publish("x", "send 1 from 1")
	c.s.Forget(anna)
	c.s.Add(anna, c.now)
	if c.s.Ack(1, anna, c.now) {
		t.Error("1 was for an endpoint that came after it")
	}
	c.ack(1, bert, "[anna] lacks x")
	c.publish("y", "send 2 from 2")
	if !c.s.Ack(2, anna, c.now) {
		t.Error("2 was for it")
	}
}

// Who tells another tag has come anew under its name: what the former one lacked is not delivered, and it is told where
// the stream begins.
func TestEndpointThatIsAnother(t *testing.T) {
	c := newScript(t, often, anna)
	c.publish("x", "send 1 from 1")
	c.s.Is(anna, 7, c.now)
	c.ack(1, anna, "delivered x")
	c.publish("y", "send 2")
	c.s.Is(anna, 0, c.now) // it does not tell
	c.s.Is(bert, 8, c.now)
	c.s.Is(anna, 7, c.now)
	c.want("the same", "")
	c.s.Is(anna, 8, c.now)
	c.want("another", "[anna] lacks y")
	c.s.Ack(2, anna, c.now)
	c.publish("z", "send 3 from 3")
	c.ack(3, anna, "delivered z")
}

func TestUnreliableSender(t *testing.T) {
	c := newScript(t, Options{}, anna)
	c.publish("A", "send 1 from 1, delivered A")
	if err := c.s.PublishTo(anna, idSpace, text("B"), "B", c.now); err != nil {
		t.Error(err)
	}
	c.want("to anna", "send 2147483648 to anna, delivered B")
	if len(c.s.flights) > 0 || !c.s.Deadline().IsZero() {
		t.Error("something is kept")
	}
}

func TestPublishTo(t *testing.T) {
	c := newScript(t, often, anna, bert)
	if err := c.s.PublishTo(carla, idSpace, text("A"), "A", c.now); !errors.Is(err, ErrUnknown) {
		t.Errorf("to nobody: %v", err)
	}
	if err := c.s.PublishTo(bert, idSpace, text("A"), "A", c.now); err != nil {
		t.Error(err)
	}
	c.want("to bert", "send 2147483648 to bert")
	c.later(1, "send 2147483648 to bert from 1")
	c.ack(idSpace, anna, "")
	c.ack(idSpace, bert, "delivered A")
	c.publish("B", "send 1 from 1")
}

func TestWindow(t *testing.T) {
	c := newScript(t, often, anna)
	for i := range Window {
		c.publish("A", fmt.Sprintf("send %d from 1", i+1))
	}
	if _, err := c.s.Publish(text("B"), "B", c.now); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the window: %v", err)
	}
	if err := c.s.PublishTo(anna, idSpace, text("B"), "B", c.now); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the window, to one: %v", err)
	}
	c.ack(7, anna, "delivered A")
	c.publish("B", fmt.Sprintf("send %d", Window+1))
	c = newScript(t, often, anna)
	big := Payload{Blob: make([]byte, WindowBytes+1)}
	if _, err := c.s.Publish(big, "A", c.now); err != nil {
		t.Errorf("one that is larger than the window: %v", err)
	}
	if c.s.Room(new(Payload)) {
		t.Error("there is room beside it")
	}
	c.ack(1, anna, "send 1 from 1, delivered A")
	if !c.s.Room(&big) {
		t.Error("there is no room again")
	}
}

// What is kept for those who may ask late is bounded, too.
func TestLateMessagesAreBounded(t *testing.T) {
	c := newScript(t, Options{Interval: time.Second}, anna)
	for range 3 * Window {
		if _, err := c.s.Publish(text("A"), "A", c.now); err != nil {
			t.Fatal(err)
		}
		c.s.taken(c.now)
		c.now = c.now.Add(time.Second)
		c.s.Tick(c.now)
		c.s.taken(c.now)
	}
	if n := len(c.s.flights); n != Window || c.s.late.Len() != n || c.s.lateBytes != n*c.s.late.Front().payload.Size() {
		t.Errorf("%d kept of %d bytes", n, c.s.lateBytes)
	}
	c.s.Asked(3*Window, anna, c.now)
	c.want("the last", fmt.Sprintf("answer %d to anna", 3*Window))
	c.s.Asked(2*Window, anna, c.now)
	c.want("one before the last ones", fmt.Sprintf("answer gone %d to anna", 2*Window))
}

func TestConnectionIsBack(t *testing.T) {
	c := newScript(t, often, anna)
	c.publish("A", "send 1 from 1")
	c.publish("B", "send 2 from 1")
	c.now = c.now.Add(900 * time.Millisecond)
	c.s.Again(c.now)
	c.want("it is back", "send 1 to anna from 1, send 2 to anna from 1")
	c.now = c.now.Add(900 * time.Millisecond)
	c.s.Tick(c.now)
	c.want("before the interval is over", "")
	c.later(1, "send 1 to anna from 1, send 2 to anna from 1")
}

func TestClosed(t *testing.T) {
	c := newScript(t, often)
	c.publish("A", "")
	c.s.Add(anna, c.now)
	c.want("anna comes", "send 1 from 1")
	c.s.Add(bert, c.now)
	c.publish("B", "send 2 from 1")
	c.ack(2, anna, "")
	c.s.Close()
	c.want("close", "[anna] lacks A, [bert] lacks B")
	c.later(9, "")
}

func TestIDsGoRound(t *testing.T) {
	s := NewSender[string](often, idSpace-1)
	s.Add(anna, start)
	for _, want := range []uint32{0, 1} {
		if id, err := s.Publish(text("A"), "A", start); err != nil || id != want {
			t.Errorf("id %d, %v, want %d", id, err, want)
		}
	}
}
