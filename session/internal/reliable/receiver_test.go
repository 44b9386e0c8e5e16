package reliable

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

var (
	anna  = wire.Text("a", "b", "anna")
	bert  = wire.Text("a", "b", "bert")
	carla = wire.Text("a", "b", "carla")
	start = time.Unix(1_000_000, 0)
	often = Options{Interval: time.Second, Retries: 2}
)

// taken returns what the receiver wants done, and empties it.
func (r *Receiver[T]) taken() string {
	var words []string
	for _, s := range r.Out {
		switch s.Kind {
		case Deliver:
			words = append(words, fmt.Sprintf("deliver %d", s.ID))
		case Ack:
			words = append(words, fmt.Sprintf("ack %d", s.ID))
		case Request:
			words = append(words, fmt.Sprintf("request %d", s.ID))
		case Unknown:
			words = append(words, fmt.Sprintf("unknown %d", s.ID))
		case Missed:
			words = append(words, fmt.Sprintf("missed %d", s.ID))
		case Lost:
			words = append(words, fmt.Sprintf("lost %d-%d %s", s.ID, s.Last, [...]string{"unanswered", "given", "skipped", "overtaken"}[s.Loss]))
		}
	}
	r.Out = nil
	return strings.Join(words, ", ")
}

// A stream is told as what comes, and what the receiver makes of it.
func TestReceiver(t *testing.T) {
	for _, c := range []struct {
		name    string
		fromOne bool
		steps   []string // "ID", "ID first FIRST", "gone ID", "after SECONDS"; then "=> " and what is done
	}{
		{"in order", true, []string{"1 => deliver 1, ack 1", "2 => deliver 2, ack 2"}},
		{"a new session begins with 1", true, []string{"2 => request 1", "1 => deliver 1, ack 1, deliver 2, ack 2"}},
		{"a group begins with what comes", false, []string{"7 => deliver 7, ack 7", "6 => lost 6-6 overtaken, ack 6", "6 => ack 6", "7 => ack 7"}},
		{"what was overtaken at the beginning", false, []string{"2 => deliver 2, ack 2", "3 => deliver 3, ack 3", "1 => lost 1-1 overtaken, ack 1", "1 => ack 1"}},
		{"what is too old to have been overtaken", false, []string{"700 => deliver 700, ack 700", "635 => ack 635", "636 => lost 636-636 overtaken, ack 636"}},
		{"nothing overtakes where a stream begins with 1", true, []string{"1 => deliver 1, ack 1", "0 => ack 0"}},
		{"a sender says where a group begins", false, []string{"7 first 5 => request 5, request 6", "6 => ", "5 => deliver 5, ack 5, deliver 6, ack 6, deliver 7, ack 7"}},
		{"what was before this member is no loss", false, []string{"7 first 5 => request 5, request 6", "gone 6 => ", "gone 5 => deliver 7, ack 7"}},
		{"a beginning too long ago", false, []string{"1000 first 5 => deliver 1000, ack 1000"}},
		{"a beginning that is none", false, []string{"7 first 9 => deliver 7, ack 7", "8 first 4294967295 => deliver 8, ack 8"}},
		{"again", true, []string{"1 => deliver 1, ack 1", "1 => ack 1", "3 => request 2", "3 => ", "2 => deliver 2, ack 2, deliver 3, ack 3", "3 => ack 3"}},
		{"gone", true, []string{"3 => request 1, request 2", "gone 2 => ", "1 => deliver 1, ack 1, lost 2-2 given, deliver 3, ack 3", "2 => ack 2"}},
		{"gone unasked", true, []string{"gone 1 => ", "1 => deliver 1, ack 1", "gone 1 => "}},
		{"late after all", true, []string{"3 => request 1, request 2", "gone 2 => ", "2 => ", "1 => deliver 1, ack 1, deliver 2, ack 2, deliver 3, ack 3"}},
		{"unanswered", true, []string{
			"4 => request 1, request 2, request 3", "after 1 => request 1, request 2, request 3", "2 => ",
			"after 1 => request 1, request 3", "after 1 => lost 1-1 unanswered, deliver 2, ack 2, lost 3-3 unanswered, deliver 4, ack 4", "after 9 => ",
		}},
		{"too far ahead", true, []string{"700 => lost 1-188 skipped, " + requests(189, 699)}},
		{"far ahead of what is held", true, []string{
			"3 => request 1, request 2",
			"516 => lost 1-2 skipped, deliver 3, ack 3, lost 4-4 skipped, " + requests(5, 515), "1 => ack 1", "4 => ack 4",
		}},
		{"round the circle", false, []string{
			"2147483646 => deliver 2147483646, ack 2147483646", "1 => request 2147483647, request 0",
			"0 => ", "2147483647 => deliver 2147483647, ack 2147483647, deliver 0, ack 0, deliver 1, ack 1",
		}},
		{"for one member", false, []string{"3000000000 => deliver 3000000000, ack 3000000000", "3000000000 => ack 3000000000", "7 => deliver 7, ack 7"}},
	} {
		r, now := NewReceiver[string](often, c.fromOne), start
		for _, step := range c.steps {
			does, want, _ := strings.Cut(step, " => ")
			var id, first, seconds uint32
			switch {
			case scan(does, "gone %d", &id):
				r.Gone(anna, id)
			case scan(does, "after %d", &seconds):
				now = now.Add(time.Duration(seconds) * time.Second)
				r.Tick(now)
			case scan(does, "%d first %d", &id, &first), scan(does, "%d", &id):
				if !r.Receive(anna, id, "", 1, Start{First: first}, now) {
					t.Errorf("%s: %s: not taken", c.name, does)
				}
			default:
				t.Fatalf("%s: what is %q?", c.name, does)
			}
			if got := r.taken(); got != want {
				t.Errorf("%s: %s => %s, want %s", c.name, does, got, want)
			}
		}
	}
}

func scan(text, format string, to ...any) bool {
	n, err := fmt.Sscanf(text, format, to...)
	return err == nil && n == len(to)
}

func requests(from, to int) string {
	var words []string
	for id := from; id <= to; id++ {
		words = append(words, fmt.Sprintf("request %d", id))
	}
	return strings.Join(words, ", ")
}

func TestWhatHasNoRoomIsNotTaken(t *testing.T) {
	r := NewReceiver[string](often, true)
	if !r.Receive(anna, 2, "", HeldBytes, Start{}, start) || r.Receive(bert, 3, "", 1, Start{}, start) {
		t.Error("a receiver holds more than it may")
	}
	if got := r.taken(); got != "request 1" {
		t.Errorf("what is not taken has an effect: %s", got)
	}
	if !r.Receive(bert, 1, "", HeldBytes, Start{}, start) {
		t.Error("what is next is refused")
	}
	r.Forget(anna)
	if !r.Receive(bert, 3, "", HeldBytes, Start{}, start) {
		t.Error("a member that is forgotten takes room")
	}
}

func TestForgottenMembersBeginAnew(t *testing.T) {
	r := NewReceiver[string](often, true)
	r.Receive(anna, 2, "", 1, Start{}, start)
	r.Forget(anna)
	r.taken()
	if !r.Deadline().IsZero() {
		t.Error("something is still to be asked for")
	}
	r.Receive(anna, 1, "", 1, Start{}, start)
	if got := r.taken(); got != "deliver 1, ack 1" {
		t.Errorf("got %s", got)
	}
}

func TestUnreliableReceiver(t *testing.T) {
	r := NewReceiver[string](Options{}, true)
	for _, id := range []uint32{5, 5, 3} {
		r.Receive(anna, id, "", 1, Start{}, start)
	}
	if got := r.taken(); got != "deliver 5, deliver 5, deliver 3" {
		t.Errorf("got %s", got)
	}
}

// A receiver keeps of a stream what is missing and what waits for it, and nothing of what is over.
func TestReceiverForgetsWhatIsOver(t *testing.T) {
	r := NewReceiver[string](often, true)
	for id := uint32(2); id < 10_000; id += 2 {
		r.Receive(anna, id, "", 1, Start{}, start)
		r.Receive(anna, id-1, "", 1, Start{}, start)
	}
	r.Deadline()
	s := r.sources[anna]
	if len(s.held)+len(s.gaps)+r.gaps.Len()+r.bytes != 0 {
		t.Errorf("%d held, %d gaps, %d to ask for, %d bytes", len(s.held), len(s.gaps), r.gaps.Len(), r.bytes)
	}
}

// A source that counts anew under another tag has left and come back: what it says is no repeat of what it has said before.
func TestStreamThatCountsAnew(t *testing.T) {
	r := NewReceiver[string](Options{Interval: time.Second, Retries: 3}, false)
	for id := range uint32(3) {
		r.Receive(anna, id+1, "", 1, Start{First: 1, Tag: 7, Tells: true}, start)
	}
	r.Out = nil
	r.Receive(anna, 2, "", 1, Start{First: 1, Tag: 7, Tells: true}, start) // a repeat
	r.Receive(anna, 4, "", 1, Start{First: 4, Tag: 8, Tells: true}, start) // it was started again, and goes on
	r.Receive(anna, 1, "", 1, Start{First: 1, Tag: 9, Tells: true}, start)
	var got []string
	for _, s := range r.Out {
		got = append(got, fmt.Sprint([...]string{"deliver ", "ack ", "request ", "lost ", "unknown "}[s.Kind], s.ID))
	}
	if want := []string{"ack 2", "deliver 4", "ack 4", "deliver 1", "ack 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A receiver acknowledges nothing of before the stream began for it, which it has never had: its sender has not seen that a
// member has left and come back, and takes the two for one.
func TestNothingOfBeforeTheBeginningIsAcknowledged(t *testing.T) {
	told, reply := Start{Tells: true}, Start{}
	began := func(id uint32) *Receiver[string] {
		r := NewReceiver[string](often, false)
		r.Receive(anna, id, "", 1, Start{First: id, Tag: 7, Tells: true}, start)
		r.taken()
		return r
	}
	does := func(r *Receiver[string], id uint32, s Start, want string) {
		t.Helper()
		r.Receive(anna, id, "", 1, s, start)
		if got := r.taken(); got != want {
			t.Errorf("%d => %q, want %q", id, got, want)
		}
	}
	r := began(13)
	does(r, 12, told, "unknown 12")
	does(r, 12, reply, "")
	does(r, 13, told, "ack 13")
	does(r, 15, told, "request 14")
	does(r, 14, reply, "deliver 14, ack 14, deliver 15, ack 15")
	does(r, 14, told, "ack 14")
	does(r, 12, told, "unknown 12")

	r = NewReceiver[string](often, false) // it is kept
	r.Keep()
	does(r, 13, Start{First: 13, Tag: 7, Tells: true}, "deliver 13, ack 13")
	again := NewReceiver[string](often, false)
	r.Changes(func(number uint64, p *Position) { again.Restore(number, p, start) })
	does(again, 12, told, "unknown 12")
	does(again, 13, told, "ack 13")

	r = began(1) // round the circle
	does(r, idSpace-1, told, "unknown 2147483647")
	r = began(5) // the beginning is half a circle ago
	for _, id := range []uint32{1 << 29, 1 << 30, 3 << 29, 10} {
		r.Receive(anna, id, "", 1, told, start)
		for back := uint32(Window) - 1; back > 0; back-- {
			r.Gone(anna, (id-back)%idSpace)
		}
		r.taken()
	}
	does(r, 4, told, "ack 4")
}

// What comes for one that was here before is not taken, and its sender begins anew when it is told so.
func TestStreamThatIsUnknown(t *testing.T) {
	r := NewReceiver[string](Options{Interval: time.Second, Retries: 3}, false)
	r.Receive(anna, 4, "", 1, Start{Tells: true}, start)
	if len(r.Out) != 1 || r.Out[0].Kind != Unknown || r.Out[0].ID != 4 {
		t.Errorf("%+v", r.Out)
	}
	s := NewSender[string](Options{Interval: time.Second, Retries: 3}, 0)
	s.Add(anna, start)
	publish := func(text string) {
		if _, err := s.Publish(Payload{Blob: []byte(text)}, text, start); err != nil {
			t.Fatal(err)
		}
	}
	publish("one")
	s.Ack(1, anna, start)
	publish("two")
	s.Out = nil
	s.Unknown(anna, 9, start)
	s.Unknown(anna, 9, start)
	publish("three")
	if len(s.Out) != 2 || s.Out[0].Result == nil || len(s.Out[0].Result.Missing) != 1 || s.Out[1].Send == nil || s.Out[1].Send.First != 3 {
		t.Errorf("%+v", s.Out)
	}
}

// Ids that run ahead, time after time, do not make a receiver ask for all that they pass over: for so many in a second, and for those
// that it did not ask for at once a while later.
func TestIDsThatRunAhead(t *testing.T) {
	r := NewReceiver[string](Options{Interval: 2 * time.Second, Retries: 3}, true)
	asked := func() (n int) {
		for _, s := range r.Out {
			if s.Kind == Request {
				n++
			}
		}
		r.Out = nil
		return n
	}
	for i := range uint32(200) {
		r.Receive(anna, (i+1)*Window+1, "", 1, Start{}, start.Add(time.Duration(i)*time.Millisecond))
	}
	if n := asked(); n == 0 || n > mostAsked {
		t.Errorf("%d requests at once", n)
	}
	r.Tick(start.Add(3 * time.Second))
	if n := asked(); n == 0 || n > Window {
		t.Errorf("%d requests a while later", n)
	}
}
