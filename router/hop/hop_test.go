package hop

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// sender is a signed link with what its peer needs to publish on it.
type sender struct {
	Link
	twin twin
}

func (s *Scratch) dial(id string) *sender {
	e := &sender{twin: twin{rules: Rules{Signed: true, Strict: true}, id: id, key: bytes.Repeat([]byte(id[:1]), 32),
		maxHeader: s.maxHeader}}
	e.Link.Open(s, e.twin.rules, id, e.twin.key)
	return e
}

func named(a, b string) *pb.Name {
	n := wire.NewName("org", a, b)
	return &pb.Name{
		Name: &pb.EncodedName{Component_0: n.C[0], Component_1: n.C[1], Component_2: n.C[2],
			NameId: &pb.NameId{Id_0: n.Hi, Id_1: n.Lo}},
		StrName: &pb.StringName{StrComponent_0: "org", StrComponent_1: a, StrComponent_2: b},
	}
}

// publication is a signed publish from app to app.
func (e *sender) publication(tb testing.TB, from, to, identity string) ([]byte, wire.Message) {
	tb.Helper()
	h := &pb.SLIMHeader{Source: named("ns", from), Destination: named("ns", to), Identity: identity, Fanout: 1,
		Version: "3.4.6", Ttl: 8}
	h.HeaderMac = e.twin.tag(h, h.Ttl)
	publish := &pb.Publish{Header: h, Session: &pb.SessionHeader{SessionId: 1}, Msg: &pb.Content{}}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.Message{
		MessageType: &pb.Message_Publish{Publish: publish}})
	if err != nil {
		tb.Fatal(err)
	}
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil {
		tb.Fatal(err)
	}
	return b, m
}

// receives lets e receive a publish, which is in order.
func (e *sender) receives(tb testing.TB, from, to, identity string) *Known {
	tb.Helper()
	b, m := e.publication(tb, from, to, identity)
	k, v := e.Receive(b, &m)
	if v != OK {
		tb.Fatalf("%s to %s: %v", from, to, v)
	}
	return k
}

// fill makes e remember n headers that came and n that went.
func (e *sender) fill(tb testing.TB, n int) {
	tb.Helper()
	for i := range n {
		k := e.receives(tb, fmt.Sprint("app-", i), "b", "identity")
		e.Header(k.Raw(), &k.Header)
	}
}

// Rules: P-lim-8.
func TestMemoryOfIdleLinksIsGivenBack(t *testing.T) {
	s := NewScratch(Options{})
	busy, idle := s.dial("busy"), s.dial("idle")
	busy.fill(t, 3)
	idle.fill(t, 3)
	if idle.held == 0 || s.Held() != busy.held+idle.held {
		t.Fatalf("held %d: %d and %d", s.Held(), busy.held, idle.held)
	}
	for range idleTicks + sweepParts {
		s.Tick()
		k := busy.receives(t, "app-1", "b", "identity")
		busy.Header(k.Raw(), &k.Header)
	}
	if idle.held != 0 || idle.in != (inMemory{}) || idle.out.slots != nil {
		t.Errorf("the idle link holds %d bytes", idle.held)
	}
	if busy.held == 0 || s.Held() != busy.held {
		t.Errorf("the busy link holds %d bytes of %d", busy.held, s.Held())
	}
	for range idleTicks + sweepParts {
		s.Tick()
	}
	if s.Held() != 0 {
		t.Errorf("%d bytes are held when all are idle", s.Held())
	}
	idle.fill(t, 3) // and it goes on
	if s.Held() != idle.held || idle.held == 0 {
		t.Errorf("held %d, of the link %d", s.Held(), idle.held)
	}
}

// Rules: P-lim-8.
func TestFullMemoryTakesFromThoseWhoDoNotUseIt(t *testing.T) {
	s := NewScratch(Options{Memory: 8 << 10})
	idle, one, other := s.dial("idle"), s.dial("one"), s.dial("two")
	idle.fill(t, 4)
	s.Tick()
	had := idle.held
	for n := 1; s.Held()+500 < 8<<10; n++ {
		one.fill(t, n)
	}
	for n := 1; idle.held > 0 && n < 20; n++ {
		one.fill(t, n)
	}
	if idle.held != 0 || one.held < had/2 || s.Held() > 8<<10 {
		t.Errorf("idle holds %d bytes, one %d, all %d", idle.held, one.held, s.Held())
	}
	held := one.held
	other.fill(t, 20) // all that is held was used in this tick: it is left alone, and other works without
	if one.held < held || s.Held() > 8<<10 {
		t.Errorf("one has %d bytes of %d, all %d", one.held, held, s.Held())
	}
}

// A link that asks in vain must not look at all others each time.
func TestFullMemoryIsSearchedOnceATick(t *testing.T) {
	s := NewScratch(Options{Memory: 64 << 10})
	var all []*sender
	for i := range 100 {
		all = append(all, s.dial(fmt.Sprint(i%10, " ", i)))
		all[i].fill(t, 1)
	}
	n := len(s.budget.links)
	if n == 0 || n == len(all) {
		t.Fatalf("%d of %d links hold something", n, len(all))
	}
	for _, e := range all {
		e.fill(t, 1)
	}
	if s.budget.barren != n {
		t.Fatalf("looked at %d of %d links", s.budget.barren, n)
	}
	hand := s.budget.hand
	all[99].fill(t, 5)
	if s.budget.hand != hand {
		t.Error("the hand has moved on")
	}
	s.Tick()
	all[99].fill(t, 1)
	if all[99].held == 0 {
		t.Error("in the next tick there is room")
	}
}

func TestOneLinkRemembersOnlySoMuch(t *testing.T) {
	s := NewScratch(Options{Memory: 64 << 20})
	e := s.dial("e")
	for range 40 {
		for i := range 100 {
			k := e.receives(t, fmt.Sprint("app-", i), "b", fmt.Sprintf("%03500d", i))
			e.Header(k.Raw(), &k.Header)
		}
	}
	if e.held > maxLink || e.held < maxLink/2 || len(e.out.slots) > outSlots {
		t.Errorf("%d bytes, %d slots", e.held, len(e.out.slots))
	}
}

// A header that cannot be remembered is worked out once for all that ask for it in a row.
func TestLatestLongHeaderIsKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		memory int
		length int
	}{{"too long", 1 << 20, maxRemembered + 1}, {"no room", -1, 100}} {
		s := NewScratch(Options{Memory: c.memory})
		a, b := s.dial("a"), s.dial("b")
		msg, m := a.publication(t, "a", "b", string(bytes.Repeat([]byte("i"), c.length)))
		k, _ := a.Receive(msg, &m)
		id := k.id
		if k, _ = a.Receive(msg, &m); k.id != id {
			t.Errorf("%s: it is parsed and verified again", c.name)
		}
		first := b.Header(k.Raw(), &k.Header)
		s.tag = [32]byte{}
		again := b.Header(k.Raw(), &k.Header)
		if &first[0] != &again[0] || s.tag != [32]byte{} {
			t.Errorf("%s: it is signed again for the same link", c.name)
		}
		if s.Held() != 0 {
			t.Errorf("%s: %d bytes are held", c.name, s.Held())
		}
		s.Tick()
		if s.inOf != &a.Link || s.outOf != &b.Link {
			t.Errorf("%s: it is forgotten with the next tick", c.name)
		}
		s.Tick()
		if s.in.raw != nil || s.out.raw != nil || s.inOf != nil || s.outOf != nil {
			t.Errorf("%s: it is kept for ever", c.name)
		}
	}
}

// It is known from other links' headers, and from none.
func TestLatestLongHeaderIsOfItsLink(t *testing.T) {
	s := NewScratch(Options{Memory: -1})
	a, b := s.dial("a"), s.dial("b")
	msg, m := a.publication(t, "a", "b", "identity")
	for range 2 {
		if _, v := a.Receive(msg, &m); v != OK {
			t.Fatal(v)
		}
		if _, v := b.Receive(msg, &m); v != BadMAC {
			t.Errorf("on a link that it is not signed for: %v", v)
		}
	}
	broken := wire.Message{Kind: wire.KindPublish, HasHeader: true, HasSession: true, Header: wire.Span{End: 1}}
	if _, v := a.Receive([]byte{0x0a}, &broken); v != Undecodable {
		t.Errorf("half a field: %v", v)
	}
	if _, v := a.Receive(nil, &wire.Message{Kind: wire.KindPublish, HasHeader: true, HasSession: true}); v != Unsigned {
		t.Errorf("an empty header after one that does not decode: %v", v)
	}
}

func TestLongHeadersAreNotRememberedWhereTheirNamesAre(t *testing.T) {
	s := NewScratch(Options{})
	a, b := s.dial("a"), s.dial("b")
	for _, n := range []int{10, maxRemembered, 20} {
		k := a.receives(t, "a", "b", string(bytes.Repeat([]byte("i"), n)))
		b.Header(k.Raw(), &k.Header)
	}
	if s.Held() > maxRemembered {
		t.Errorf("%d bytes are held", s.Held())
	}
}

// What is as secret as a key does not outlive its link.
func TestCloseWipes(t *testing.T) {
	for _, memory := range []int{1 << 20, -1} {
		s := NewScratch(Options{Memory: memory})
		e := s.dial("e")
		e.fill(t, 3)
		in, out := e.in.slots, e.out.slots
		m, of := e.mac, new(mac.Names)
		m.Names(of, mac.AppendNames(nil, "e", nil, new(wire.Header)))
		e.Close()
		e.Close()
		for _, k := range append(in[:], &s.in) {
			if k != nil && !zero(&k.state) {
				t.Errorf("memory %d: a state of a sender is left", memory)
			}
		}
		for _, o := range append(out, s.out) {
			if !zero(&o.state) {
				t.Errorf("memory %d: a state of a receiver is left", memory)
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("memory %d: the key still signs", memory)
				}
			}()
			m.Tag(new([32]byte), of, nil)
		}()
		if s.Held() != 0 || e.s != nil || e.mac != nil {
			t.Errorf("memory %d: %d bytes are held", memory, s.Held())
		}
	}
}

// zero reports whether n is the zero Names, at which Tag panics.
func zero(n *mac.Names) (yes bool) {
	defer func() { yes = recover() != nil }()
	mac.New(make([]byte, 32), "").Tag(new([32]byte), n, nil)
	return
}

// A closed link that was expected must not be signed for, nor kept from being collected.
func TestClosedLinkIsExpectedNoMore(t *testing.T) {
	s := NewScratch(Options{})
	a, b := s.dial("a"), s.dial("b")
	k := a.receives(t, "a", "b", "one")
	k.Expect(&b.Link)
	b.Close()
	if k = a.receives(t, "a", "b", "two"); k.next != nil {
		t.Error("a closed link is expected")
	}
}

// What is done for a receiver in advance must not cost the sender anything when it fails.
func TestFaultOfTheExpectedLinkIsNotTheSenders(t *testing.T) {
	s := NewScratch(Options{})
	a, b, c := s.dial("a"), s.dial("b"), s.dial("c")
	a.receives(t, "a", "b", "one").Expect(&b.Link)
	b.mac.Close() // a broken invariant: signing panics
	k := a.receives(t, "a", "b", "two")
	if got, want := c.Header(k.Raw(), &k.Header), c.twin.leave(k.Raw(), 7); !bytes.Equal(got, want) {
		t.Errorf("leaves as %x, want %x", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("the broken link signs")
		}
	}()
	b.Header(k.Raw(), &k.Header)
}

func TestHeadersOfOtherLoopsHaveOtherIDs(t *testing.T) {
	seen := map[uint64]bool{}
	for i := range 3 {
		s := NewScratch(Options{Index: i})
		e := s.dial("e")
		for _, from := range []string{"a", "b"} {
			for _, identity := range []string{"one", "two"} {
				k := e.receives(t, from, "c", identity)
				if k.id == 0 || k.pair == 0 || seen[k.id] {
					t.Errorf("id %d, pair %d", k.id, k.pair)
				}
				seen[k.id] = true
			}
		}
	}
	for _, i := range []int{-1, MaxScratches} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("index %d is taken", i)
				}
			}()
			NewScratch(Options{Index: i})
		}()
	}
}

func TestVerdictsHaveDifferentWords(t *testing.T) {
	seen := map[string]bool{}
	for v := range NumVerdicts + 1 {
		if w := Verdict(v).String(); w == "" || seen[w] {
			t.Errorf("verdict %d is %q", v, w)
		} else {
			seen[w] = true
		}
	}
}
