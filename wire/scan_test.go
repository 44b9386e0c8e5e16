package wire_test

import (
	"errors"
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
	{"length behind the end", []byte{0x7a, 5, 1}, wire.ErrTruncated},
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
			"in link": field(5, c.b), "in ack": field(6, c.b), "after a member": join(field(6), c.b),
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
		"publish": number(3, 1), "metadata": number(4, 1), "header": field(3, number(1, 1)), "session": field(3, number(2, 1)),
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

func TestGroupsNestAsDeepAsUpstreamAllows(t *testing.T) {
	nest := func(n int) []byte {
		var b []byte
		for range n {
			b = append(b, 0x7b)
		}
		for range n {
			b = append(b, 0x7c)
		}
		return b
	}
	var m wire.Message
	if err := wire.Scan(nest(100), &m); err != nil {
		t.Errorf("100 deep: %v", err)
	}
	if err := wire.Scan(nest(101), &m); !errors.Is(err, wire.ErrDepth) {
		t.Errorf("101 deep: %v", err)
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
		{"destination without encoded name", field(1, field(1, field(1, someName), field(2, unnamed))), wire.ReasonNoDestination},
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
