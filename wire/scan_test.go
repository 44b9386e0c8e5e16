package wire_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

var (
	someName   = field(1, number(1, 5))                       // EncodedName
	someHeader = join(field(1, someName), field(2, someName)) // source, destination
	meta       = field(4, field(1, []byte("k")), field(2, []byte("v")))
)

func TestScanFindsTheParts(t *testing.T) {
	session, content := field(2, number(3, 1)), field(3)
	head := field(1, someHeader)
	for _, c := range []struct {
		rule string
		b    []byte
		want wire.Message
	}{
		{"nothing", nil, wire.Message{}},
		{"metadata only", meta, wire.Message{}},
		{"unknown fields only", join(number(7, 1), field(15), uvarint(uvarint(nil, 1000<<3), 1)), wire.Message{}},
		{
			"publish", field(3, head, session, content),
			wire.Message{
				Kind: wire.KindPublish, Body: wire.Span{Off: 2, End: 22}, HeadAt: 2, Header: wire.Span{Off: 4, End: 16},
				HasHeader: true, HasSession: true,
			},
		},
		{
			"metadata first, session before header, metadata last", join(meta, field(3, session, head), meta),
			wire.Message{
				Kind: wire.KindPublish, Pre: 8, Body: wire.Span{Off: 10, End: 28}, HeadAt: 14,
				Header: wire.Span{Off: 16, End: 28}, HasHeader: true, HasSession: true,
			},
		},
		{
			"subscribe, id before header", field(1, number(2, 300), head),
			wire.Message{
				Kind: wire.KindSubscribe, Body: wire.Span{Off: 2, End: 19}, HeadAt: 5, Header: wire.Span{Off: 7, End: 19},
				SubID: 300, HasHeader: true,
			},
		},
		{
			"unsubscribe with an unknown field", field(2, head, field(9, []byte("x")), number(2, 1)),
			wire.Message{
				Kind: wire.KindUnsubscribe, Body: wire.Span{Off: 2, End: 21}, HeadAt: 2, Header: wire.Span{Off: 4, End: 16},
				SubID: 1, HasHeader: true,
			},
		},
		{"publish without anything", field(3), wire.Message{Kind: wire.KindPublish, Body: wire.Span{Off: 2, End: 2}}},
		{
			"link", field(5, field(1)),
			wire.Message{Kind: wire.KindLink, Body: wire.Span{Off: 2, End: 4}, HasLink: true},
		},
		{
			"the later of two ids", field(6, number(1, 1), number(1, 2)),
			wire.Message{Kind: wire.KindAck, Body: wire.Span{Off: 2, End: 6}, SubID: 2},
		},
		{
			"keys and lengths longer than needed", []byte{0x9a, 0x00, 0x84, 0x00, 0x8a, 0x00, 0x80, 0x00},
			wire.Message{
				Kind: wire.KindPublish, Body: wire.Span{Off: 4, End: 8}, HeadAt: 4, Header: wire.Span{Off: 8, End: 8},
				HasHeader: true,
			},
		},
		{
			"unknown group with a group inside", []byte{0x7b, 0x0b, 0x08, 0x01, 0x0c, 0x7c, 0x32, 0x00},
			wire.Message{Kind: wire.KindAck, Pre: 6, Body: wire.Span{Off: 8, End: 8}},
		},
	} {
		got := wire.Message{Odd: true, SubID: 99, HasLink: true} // leftovers must go
		if err := wire.Scan(c.b, &got); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.rule, got, err, c.want)
		}
	}
}

// Rules: P-msg-6.
func TestScanMarksWhatProtobufWouldMerge(t *testing.T) {
	head := field(1, someHeader)
	for _, c := range []struct {
		rule string
		b    []byte
		odd  bool
	}{
		{"one of the oneof twice", join(field(3, head), field(3)), true},
		{"two of the oneof", join(field(3, head), field(1, head)), true},
		{"two headers", field(1, head, head), true},
		{"two links", join(field(5), field(5)), true},
		{"two sessions stay as they are", field(3, head, field(2), field(2)), false},
		{"two subscription ids: the later wins", field(1, head, number(2, 1), number(2, 2)), false},
		{"metadata repeats anyway", join(meta, field(3, head), meta, meta), false},
	} {
		var m wire.Message
		if err := wire.Scan(c.b, &m); err != nil || m.Odd != c.odd {
			t.Errorf("%s: odd %v, %v", c.rule, m.Odd, err)
		}
	}
}

// badFields are fields no message may hold, whatever their number means there.
var badFields = []struct {
	rule string
	b    []byte
	err  error
}{
	{"length after the end", []byte{0x7a, 5, 1}, wire.ErrTruncated},
	{"no length", []byte{0x7a}, wire.ErrTruncated},
	{"huge length", []byte{0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, wire.ErrTruncated},
	{"no varint", []byte{0x78}, wire.ErrTruncated},
	{"cut varint", []byte{0x78, 0x80}, wire.ErrTruncated},
	{"eleven-byte varint", []byte{0x78, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, wire.ErrVarint},
	{"65-bit varint", []byte{0x78, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, wire.ErrVarint},
	{"cut fixed32", []byte{0x7d, 1, 2, 3}, wire.ErrTruncated},
	{"cut fixed64", []byte{0x79, 1, 2, 3, 4, 5, 6, 7}, wire.ErrTruncated},
	{"cut key", []byte{0x80}, wire.ErrTruncated},
	{"key beyond 32 bits", []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0x00}, wire.ErrFieldNumber},
	{"field number zero", []byte{0x00, 0x00}, wire.ErrFieldNumber},
	{"field number zero, long", []byte{0x82, 0x00, 0x00}, wire.ErrFieldNumber},
	{"wire type 6", []byte{0x7e}, wire.ErrWireType},
	{"wire type 7", []byte{0x7f}, wire.ErrWireType},
	{"end of no group", []byte{0x7c}, wire.ErrGroup},
	{"end of another group", []byte{0x7b, 0x74}, wire.ErrGroup},
	{"open group", []byte{0x7b, 0x08, 0x01}, wire.ErrTruncated},
	{"field number zero in a group", []byte{0x7b, 0x00, 0x00, 0x7c}, wire.ErrFieldNumber},
	{"wrong wire type of field 1", []byte{0x0d, 0, 0, 0, 0}, wire.ErrWireType},
	{"field 1 as a group", []byte{0x0b, 0x0c}, wire.ErrWireType},
}

// Rules: P-msg-3.
func TestScanRefusesWhatDoesNotDecode(t *testing.T) {
	for _, c := range badFields {
		for where, b := range map[string][]byte{
			"at the top": c.b, "in subscribe": field(1, c.b), "in unsubscribe": field(2, c.b), "in publish": field(3, c.b),
			"in link": field(5, c.b), "in ack": field(6, c.b), "after a member": join(field(6), c.b), "in metadata": field(4,
				c.b),
			"in a negotiation": field(5, field(1, c.b)), "in a session": field(3, field(2, c.b)), "in content": field(3,
				field(3, c.b)),
			"in a payload": field(3, field(3, field(1, c.b))), "in a member's strings": field(3, field(3, field(2, field(9,
				field(1, field(2, c.b)))))),
			"in the first of two headers": field(2, field(1, c.b), field(1)),
		} {
			var m wire.Message
			if err := wire.Scan(b, &m); !errors.Is(err, c.err) {
				t.Errorf("%s %s: %v, want %v", c.rule, where, err, c.err)
			}
		}
	}
}

func TestScanRefusesKnownFieldsOfAnotherType(t *testing.T) {
	for rule, b := range map[string][]byte{
		"publish": number(3, 1), "metadata": number(4, 1), "header": field(3, number(1, 1)), "session": field(3, number(2,
			1)),
		"msg": field(3, number(3, 1)), "subscription id": field(1, field(2)), "ack id": field(6, field(1)),
		"ack success": field(6, field(2)), "ack error": field(6, number(3, 1)), "negotiation": field(5, number(1, 1)),
	} {
		var m wire.Message
		if err := wire.Scan(b, &m); !errors.Is(err, wire.ErrWireType) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestAckTextIsUTF8(t *testing.T) {
	var m wire.Message
	if err := wire.Scan(field(6, field(3, []byte{0xc3})), &m); !errors.Is(err, wire.ErrUTF8) {
		t.Errorf("got %v", err)
	}
}

// Each message and each group takes one of a hundred steps down, and so does an unknown field in the last. Rules:
// P-msg-3.
func TestGroupsNestAsDeepAsUpstreamAllows(t *testing.T) {
	nest := func(n int, inner ...byte) []byte {
		return join(bytes.Repeat([]byte{0x7b}, n), inner, bytes.Repeat([]byte{0x7c}, n))
	}
	one := []byte{0x78, 1}
	for _, c := range []struct {
		where string
		steps int // taken by messages
		b     func(groups []byte) []byte
	}{
		{"message", 0, func(g []byte) []byte { return g }},
		{"metadata", 1, func(g []byte) []byte { return field(4, g) }},
		{"publish", 1, func(g []byte) []byte { return field(3, g) }},
		{"subscribe", 1, func(g []byte) []byte { return field(1, g) }},
		{"ack", 1, func(g []byte) []byte { return field(6, g) }},
		{"link", 1, func(g []byte) []byte { return field(5, g) }},
		{"negotiation", 2, func(g []byte) []byte { return field(5, field(1, g)) }},
		{"header", 2, func(g []byte) []byte { return field(3, field(1, g)) }},
		{"header after names", 2, func(g []byte) []byte { return field(3, field(1, someHeader, g)) }},
		{"first of two headers", 2, func(g []byte) []byte { return field(3, field(1, g), field(1)) }},
		{"name", 3, func(g []byte) []byte { return field(3, field(1, field(1, g))) }},
		{"encoded name", 4, func(g []byte) []byte { return field(3, field(1, field(1, field(1, g)))) }},
		{"id", 5, func(g []byte) []byte { return field(3, field(1, field(1, field(1, field(4, g))))) }},
		{"strings", 4, func(g []byte) []byte { return field(3, field(1, field(1, field(2, g)))) }},
		{"session", 2, func(g []byte) []byte { return field(3, field(2, g)) }},
		{"content", 2, func(g []byte) []byte { return field(3, field(3, g)) }},
		{"payload", 3, func(g []byte) []byte { return field(3, field(3, field(1, g))) }},
		{"id of a member", 8, func(g []byte) []byte {
			return field(3, field(3, field(2, field(7, field(2, field(1, field(1, field(4, g))))))))
		}},
	} {
		for _, nested := range []struct {
			groups []byte
			want   error
		}{
			{nest(100 - c.steps), nil}, {nest(101 - c.steps), wire.ErrDepth},
			{nest(99-c.steps, one...), nil}, {nest(100-c.steps, one...), wire.ErrDepth},
		} {
			b := c.b(nested.groups)
			if _, _, err := scanAndParse(b); !errors.Is(err, nested.want) {
				t.Errorf("in %s: %x: %v, want %v", c.where, b, err, nested.want)
			}
			checkAgainstProtobuf(t, b)
		}
	}
}

// What receivers cannot decode is found before it reaches them, wherever it lies (the rest is in the shapes).
// Rules: P-msg-3, P-msg-5, P-msg-7.
func TestScanLooksIntoAllThatIsDeclared(t *testing.T) {
	head, session := field(1, someHeader), field(2, number(1, 1))
	bad := []byte{0xc3, 0x28}
	eleven := join(bytes.Repeat([]byte{0xff}, 10), []byte{1})
	member := func(s []byte) []byte { return field(1, field(2, field(3, s))) } // Participant.name.str_name
	for _, c := range []struct {
		rule string
		b    []byte
		want error
	}{
		{"session of two bytes ff", field(3, head, field(2, []byte{0xff, 0xff})), wire.ErrTruncated},
		{"session number of eleven bytes", field(3, head, field(2, []byte{0x18}, eleven)), wire.ErrVarint},
		{"session number as text", field(3, head, field(2, field(1))), wire.ErrWireType},
		{"session, group never closed", field(3, head, field(2, []byte{0x7b})), wire.ErrTruncated},
		{"first of two sessions", field(3, head, field(2, []byte{0}), session), wire.ErrFieldNumber},
		{"content cut short", field(3, head, session, field(3, []byte{0x0a, 5, 0x12})), wire.ErrTruncated},
		{"payload type not UTF-8", field(3, head, session, field(3, field(1, field(1, bad)))), wire.ErrUTF8},
		{"payload type not UTF-8, replaced", field(3, head, session, field(3, field(1, field(1, bad), field(1)))),
			wire.ErrUTF8},
		{"payload broken, replaced by a command", field(3, head, session, field(3, field(1, number(2, 1)), field(2))),
			wire.ErrWireType},
		{"payload type of 128 bytes", field(3, head, session, field(3, field(1, field(1, bytes.Repeat([]byte{0x12}, 128)),
			[]byte{7, 1, 2, 3, 4, 5, 6, 7}))), wire.ErrFieldNumber},
		{"payload is bytes", field(3, head, session, field(3, field(1, field(2, bad)))), nil},
		{"command with a name not UTF-8", field(3, head, session, field(3, field(2, field(7, field(3, member([]byte("a"))),
			field(3, member(bad)))))), wire.ErrUTF8},
		{"last command", field(3, head, session, field(3, field(2, field(16, field(1))))), wire.ErrWireType},
		{"unknown command", field(3, head, session, field(3, field(2, field(17, bad)))), nil},
		{"unknown enum numbers", field(3, head, field(2, number(1, 99), number(2, 1<<40))), nil},
		{"metadata key not UTF-8", join(field(3, head, session), field(4, field(1, bad))), wire.ErrUTF8},
		{"metadata value not UTF-8, first", join(field(4, field(2, bad)), field(3, head, session)), wire.ErrUTF8},
		{"metadata as a number", join(field(3, head, session), number(4, 0)), wire.ErrWireType},
		{"first of two headers", field(3, field(1, field(3, bad)), head, session), wire.ErrUTF8},
		{"first of two publishes", join(field(3, field(1, field(3, bad)), session), field(3, head)), wire.ErrUTF8},
		{"publish replaced by an ack", join(field(3, field(1, field(3, bad))), field(6)), wire.ErrUTF8},
		{"link negotiation", field(5, field(1, field(6, bad))), wire.ErrUTF8},
	} {
		var m wire.Message
		if err := wire.Scan(c.b, &m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.rule, err, c.want)
		}
	}
}

// The end of a publish as applications write it is read at a stretch, any other is walked. Both must agree on all that
// the first turns into when bytes of it change.
func TestUsualRestsAreReadLikeAnyOther(t *testing.T) {
	usual := join(field(2, number(1, 1), number(2, 1), number(3, 301145826), number(4, 7)),
		field(3, field(1, field(1, []byte("text/plain")), field(2, bytes.Repeat([]byte("p"), 200)))))
	head := field(1, someHeader)
	check := func(rest []byte) { t.Helper(); checkAgainstProtobuf(t, field(3, head, rest)) }
	check(usual)
	for i := range 40 {
		check(usual[:i])
		for c := range 256 {
			rest := bytes.Clone(usual)
			rest[i] = byte(c)
			check(rest)
		}
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		rest := bytes.Clone(usual)
		for range 2 + rnd.IntN(2) {
			rest[rnd.IntN(40)] += byte(rnd.IntN(9)) - 4
		}
		check(rest)
	}
}

// Rules: P-msg-2.
func TestInvalid(t *testing.T) {
	unnamed := field(2, field(1, []byte("x"))) // a Name with strings only
	head := field(1, someHeader)
	for _, c := range []struct {
		rule string
		b    []byte
		want wire.Reason
	}{
		{"nothing set", meta, wire.ReasonEmpty},
		{"link without type", field(5), wire.ReasonNoLink},
		{"link", field(5, field(1)), wire.ReasonNone},
		{"empty ack", field(6), wire.ReasonNone},
		{"subscribe without header", field(1, number(2, 1)), wire.ReasonNoHeader},
		{"publish without header", field(3, field(2)), wire.ReasonNoHeader},
		{"header without source", field(2, field(1, field(2, someName))), wire.ReasonNoSource},
		{"source without encoded name", field(2, field(1, field(1, unnamed), field(2, someName))), wire.ReasonNoSource},
		{"header without destination", field(1, field(1, field(1, someName))), wire.ReasonNoDestination},
		{"destination without encoded name", field(1, field(1, field(1, someName), field(2, unnamed))),
			wire.ReasonNoDestination},
		{"empty encoded names are names", field(1, field(1, field(1, field(1)), field(2, field(1)))), wire.ReasonNone},
		{"publish without session", field(3, head, field(3)), wire.ReasonNoSession},
		{"publish without content", field(3, head, field(2)), wire.ReasonNone},
	} {
		var m wire.Message
		var hd wire.Header
		if err := wire.Scan(c.b, &m); err != nil {
			t.Fatal(err)
		}
		if err := wire.ParseHeader(m.Header.Of(c.b), &hd); err != nil {
			t.Fatal(err)
		}
		if got := m.Invalid(&hd); got != c.want {
			t.Errorf("%s: %v, want %v", c.rule, got, c.want)
		}
	}
}

func TestReasonsAndKindsHaveDifferentWords(t *testing.T) {
	seen := map[string]bool{}
	for r := wire.ReasonNone; r <= wire.ReasonNoSession; r++ {
		if s := r.String(); seen[s] || s == "unknown reason" {
			t.Errorf("reason %d: %q", r, s)
		} else {
			seen[s] = true
		}
	}
	for k := wire.KindNone; k <= wire.KindAck; k++ {
		if s := k.String(); seen[s] {
			t.Errorf("kind %d: %q", k, s)
		} else {
			seen[s] = true
		}
	}
}
