package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// pair is a session of two, alice and bob, whose messages the test carries from now on.
func pair(t *testing.T, encrypted bool) (alice, bob *app) {
	t.Helper()
	w := newWorld(t, 10, "alice", "bob")
	alice, bob = w.app("alice"), w.app("bob")
	alice.moderate(alice.options(message.PointToPoint, encrypted, fast), bob.self.Name.WithID(wire.Null, wire.Null))
	alice.step(Invite{Name: bob.self.Name.WithID(wire.Null, wire.Null), Handle: "invite"})
	w.Run(time.Second)
	alice.result("invite")
	if !bob.open {
		t.Fatalf("bob has no session: %v", bob.notices)
	}
	return alice, bob
}

// says steps a member, and returns what it wants sent, and the rest in words.
func (a *app) says(ev Event) (sent []*message.Message, rest []string) {
	a.member.Step(ev, a.w.Now)
	var left Sent
	for _, o := range a.member.Take() {
		switch o := o.(type) {
		case Send:
			own := *o.Message
			sent = append(sent, &own)
			if o.Of != nil {
				left.Copies = append(left.Copies, SentCopy{Of: o.Of})
			}
		case Deliver:
			rest = append(rest, "deliver "+string(o.Received.Payload.Blob))
		case Delivered:
			rest = append(rest, fmt.Sprint("delivered ", *o.Messages))
		default:
			rest = append(rest, fmt.Sprintf("%T", o))
		}
		a.member.Recycle(o)
	}
	if len(left.Copies) > 0 {
		more, others := a.says(&left)
		sent, rest = append(sent, more...), append(rest, others...)
	}
	return sent, rest
}

// asSent is m as it comes to the other one.
func asSent(t *testing.T, m *message.Message) *message.Message {
	t.Helper()
	got, err := message.Decode(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// short is the data among messages, in words.
func short(ms []*message.Message) string {
	var words []string
	for _, m := range ms {
		word := fmt.Sprint(m.Type, " ", m.ID)
		if since, ok := m.Metadata[message.KeySince]; ok {
			word += " since " + since
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// What comes together is acknowledged by one message, to those who understand that.
func TestAcknowledgementsOfSeveral(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		come    []int  // ids in their order; 0: something else happens
		more    bool   // the last one says that there is more
		version string // of the sender; empty: that of this package
		want    string // what is sent after the last one, or before
		rest    string // after Rest
	}{
		{name: "at rest", come: []int{1, 2, 3}, more: true, rest: "msg_ack 3 since 1"},
		{name: "the last one says so", come: []int{1, 2, 3}, want: "msg_ack 3 since 1"},
		{name: "one", come: []int{1}, want: "msg_ack 1"},
		{name: "something else happens", come: []int{1, 2, 0, 3}, more: true, want: "msg_ack 2 since 1", rest: "msg_ack 3"},
		{name: "again", come: []int{1, 2, 2, 3}, want: "msg_ack 2 since 1, msg_ack 3 since 2"},
		{name: "one is missing", come: []int{1, 3}, more: true, want: "msg_ack 1, rtx_request 2"},
		{name: "and comes", come: []int{2, 3, 1, 4}, want: "rtx_request 1, msg_ack 4 since 1"},
		{name: "a peer", come: []int{1, 2, 3}, more: true, version: "3.4.6", want: "msg_ack 1, msg_ack 2, msg_ack 3"},
		{name: "one of a peer comes late", come: []int{2, 3, 1}, version: "3.4.6", want: "rtx_request 1, msg_ack 1, msg_ack 2, msg_ack 3"},
	} {
		for _, encrypted := range kinds {
			alice, bob := pair(t, encrypted)
			all := map[int]*message.Message{}
			for i := range 4 {
				sent, _ := alice.says(&Publish{Payload: textOf(fmt.Sprint(i + 1)), Handle: fmt.Sprint(i + 1)})
				all[i+1] = asSent(t, sent[0])
			}
			var got []*message.Message
			seen := map[int]bool{}
			for i, id := range c.come {
				ev := Event(Tick{})
				if id > 0 {
					m := *all[id]
					if c.version != "" {
						m.Version = c.version
					}
					if encrypted && seen[id] { // it is encrypted anew when it is repeated
						alice.w.Now = alice.w.Now.Add(fast.Interval)
						repeats, _ := alice.says(Tick{})
						i := slices.IndexFunc(repeats, func(r *message.Message) bool { return int(r.ID) == id })
						m = *asSent(t, repeats[i])
					}
					seen[id] = true
					ev = &Inbound{Message: &m, At: bob.w.Now, More: c.more || i+1 < len(c.come)}
				}
				sent, _ := bob.says(ev)
				got = append(got, sent...)
			}
			if got := short(got); got != c.want {
				t.Errorf("%s, encrypted %v: %s, want %s", c.name, encrypted, got, c.want)
			}
			rest, _ := bob.says(Rest{})
			if got := short(rest); got != c.rest {
				t.Errorf("%s, encrypted %v: at rest %s, want %s", c.name, encrypted, got, c.rest)
			}
		}
	}
}

// textOf is a payload.
func textOf(s string) reliable.Payload { return reliable.Payload{Type: "text", Blob: []byte(s)} }

// An acknowledgement of several resolves them all at once; one that says more than can be is one of its own message alone.
func TestAcknowledged(t *testing.T) {
	alice, bob := pair(t, false)
	var first *message.Message
	publish := func(n int) {
		for range n {
			sent, _ := alice.says(&Publish{Payload: textOf("x"), Handle: fmt.Sprint(len(alice.results))})
			alice.results[fmt.Sprint(len(alice.results))] = nil
			if first == nil {
				first = asSent(t, sent[0])
			}
		}
	}
	alice.results = map[string]error{"": nil} // so that handles are ids
	publish(200)
	acks, _ := bob.says(&Inbound{Message: first, At: bob.w.Now})
	for _, c := range []struct {
		id    uint32
		since string
		want  string
	}{
		{3, "2", "delivered [2 3]"},
		{4, "", "delivered [4]"},
		{8, "3", "delivered [5 6 7 8]"}, // some of them again
		{8, "3", ""},
		{10, "11", "delivered [10]"},
		{12, "-1", "delivered [12]"},
		{13, "x", "delivered [13]"},
		{14, "4294967295", "delivered [14]"},
		{80, "2147483216", "delivered [80]"}, // more than can be under way
		{1<<31 | 5, "9", ""},
		{100, "99", "delivered [99 100]"},
		{2, "2147483647", "delivered [1]"}, // round the circle
	} {
		m := *acks[0]
		m.ID, m.Metadata = c.id, nil
		if c.since != "" {
			m.Metadata = map[string]string{message.KeySince: c.since}
		}
		_, rest := alice.says(&Inbound{Message: asSent(t, &m), At: alice.w.Now})
		if got := strings.Join(rest, ", "); got != c.want {
			t.Errorf("acknowledged %d since %q: %s, want %s", c.id, c.since, got, c.want)
		}
	}
}

// What was delivered before the end of a session is acknowledged before it.
func TestAcknowledgedBeforeTheEnd(t *testing.T) {
	alice, bob := pair(t, false)
	sent, _ := alice.says(&Publish{Payload: textOf("last"), Handle: "last"})
	got, _ := bob.says(&Inbound{Message: asSent(t, sent[0]), At: bob.w.Now, More: true})
	if len(got) > 0 {
		t.Fatalf("said at once: %s", short(got))
	}
	got, _ = bob.says(Abandon{})
	if short(got) != "msg_ack 1" {
		t.Errorf("at the end: %s", short(got))
	}
}
