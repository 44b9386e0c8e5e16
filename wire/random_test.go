package wire_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// writer makes random messages of the schema, in any field order and with any field missing, with unknown fields
// between.
type writer struct{ *rand.Rand }

func (w writer) some(p float64) bool { return w.Float64() < p }

// message joins fields in random order; each is a list, since it may occur several times, and stays out now and then.
func (w writer) message(fields ...[][]byte) []byte {
	var all [][]byte
	for _, f := range fields {
		if w.some(0.9) {
			all = append(all, f...)
		}
	}
	for w.some(0.2) {
		all = append(all, w.unknown())
	}
	if w.some(0.5) {
		w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return bytes.Join(all, nil)
}

func (w writer) unknown() []byte {
	num := 17 + w.IntN(100)
	switch w.IntN(5) {
	case 0:
		return number(num, w.number())
	case 1:
		return field(num, []byte(w.text()))
	case 2:
		return append(uvarint(nil, uint64(num)<<3|1), "eight by"...)
	case 3:
		return append(uvarint(nil, uint64(num)<<3|5), "four"...)
	}
	return join(uvarint(nil, uint64(num)<<3|3), number(1, 1), uvarint(nil, uint64(num)<<3|4))
}

func (w writer) number() uint64 { return w.Uint64() >> w.IntN(64) }

func (w writer) text() string {
	return []string{"", "a", "org", "日本", "a longer piece of text, which need not fit in a register"}[w.IntN(5)]
}

// times repeats what make makes: once as a rule, twice with probability p.
func (w writer) times(p float64, make func() []byte) [][]byte {
	out := [][]byte{make()}
	if w.some(p) {
		out = append(out, make())
	}
	return out
}

func (w writer) numberField(num int) [][]byte {
	return w.times(0.02, func() []byte { return number(num, w.number()) })
}

func (w writer) textField(num int) [][]byte {
	return w.times(0.02, func() []byte { return field(num, []byte(w.text())) })
}

func (w writer) name() []byte {
	id := w.times(0.02, func() []byte { return field(4, w.message(w.numberField(1), w.numberField(2))) })
	encoded := w.times(0.02, func() []byte {
		return field(1, w.message(w.numberField(1), w.numberField(2), w.numberField(3), id))
	})
	strs := w.times(0.02, func() []byte {
		return field(2, w.message(w.textField(1), w.textField(2), w.textField(3)))
	})
	return w.message(encoded, strs)
}

func (w writer) header() []byte {
	mac := [][]byte{field(11, make([]byte, 30+w.IntN(4)))}
	return w.message(
		w.times(0.01, func() []byte { return field(1, w.name()) }), w.times(0.01, func() []byte {
			return field(2,
				w.name())
		}),
		w.textField(3), w.numberField(4), w.textField(5), w.numberField(6), w.numberField(7), w.numberField(8),
		w.numberField(9), w.numberField(10), mac, w.textField(12))
}

func (w writer) envelope() []byte {
	head := w.times(0.02, func() []byte { return field(1, w.header()) })
	member := func() []byte {
		switch w.IntN(8) {
		case 0, 1:
			return field(1+w.IntN(2), w.message(head, w.numberField(2)))
		case 2:
			return field(5, w.message([][]byte{field(1, w.message(w.textField(1), w.textField(2), w.numberField(3),
				w.textField(4), w.numberField(5), w.textField(6), w.textField(7), w.textField(8)))}))
		case 3:
			return field(6, w.message(w.numberField(1), w.numberField(2), w.textField(3)))
		}
		session := w.times(0.05, func() []byte {
			return field(2,
				w.of((*pb.SessionHeader)(nil).ProtoReflect().Descriptor()))
		})
		content := w.times(0.05, func() []byte { return field(3, w.of((*pb.Content)(nil).ProtoReflect().Descriptor())) })
		return field(3, w.message(head, session, content))
	}
	return w.message(w.times(0.03, member), [][]byte{w.metadata()}, [][]byte{w.metadata()})
}

func (w writer) metadata() []byte { return field(4, w.message(w.textField(1), w.textField(2))) }

// of makes a message of any type; one field of a oneof is set as a rule.
func (w writer) of(d protoreflect.MessageDescriptor) []byte {
	fs := d.Fields()
	var all [][][]byte
	one := w.IntN(max(1, fs.Len()))
	for i := range fs.Len() {
		f := fs.Get(i)
		if f.ContainingOneof() != nil && !f.HasOptionalKeyword() && i != one && !w.some(0.02) {
			continue
		}
		num := int(f.Number())
		switch f.Kind() {
		case protoreflect.MessageKind:
			all = append(all, w.times(0.1, func() []byte { return field(num, w.of(f.Message())) }))
		case protoreflect.StringKind, protoreflect.BytesKind:
			all = append(all, w.textField(num))
		default:
			all = append(all, w.numberField(num))
		}
	}
	return w.message(all...)
}

func TestRandomMessagesReadAsProtobufReadsThem(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(1, 2))}
	even, odd := 0, 0
	for range 2000 {
		b := w.envelope()
		if err := proto.Unmarshal(b, new(pb.Message)); err != nil {
			t.Fatalf("the test wrote %x: %v", b, err)
		}
		checkAgainstProtobuf(t, b)
		if m, hd, err := scanAndParse(b); err != nil {
			t.Fatalf("%x: %v", b, err)
		} else if m.Odd || hd.Odd {
			odd++
		} else {
			even++
		}
		if i := w.IntN(len(b) + 1); w.some(0.3) { // and damaged ones
			checkAgainstProtobuf(t, b[:i])
		} else if i < len(b) {
			b[i] ^= 1 << w.IntN(8)
			checkAgainstProtobuf(t, b)
		}
	}
	if even < 1000 || odd < 100 {
		t.Errorf("%d plain and %d odd messages: not a fair sample", even, odd)
	}
}

func FuzzScan(f *testing.F) {
	for _, b := range fuzzSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAgainstProtobuf(t, b)
		if !wire.FewParts(b, len(b)) {
			t.Errorf("%d bytes have more fields than bytes: %x", len(b), b)
		}
	})
}

// FuzzHeader spends the mutations on the header alone: the input is its content.
func FuzzHeader(f *testing.F) {
	for _, b := range fuzzSeeds() {
		var m wire.Message
		if err := wire.Scan(b, &m); err == nil && m.HasHeader {
			f.Add(m.Header.Of(b))
		}
	}
	f.Fuzz(func(t *testing.T, h []byte) {
		checkAgainstProtobuf(t, join(meta, field(3, field(2), field(1, h), field(3)), meta))
	})
}

// FuzzContent spends the mutations on what a node forwards as it came.
func FuzzContent(f *testing.F) {
	for _, b := range fuzzSeeds() {
		var m wire.Message
		if err := wire.Scan(b, &m); err == nil && m.Kind == wire.KindPublish {
			f.Add(b[m.Header.End:])
		}
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		checkAgainstProtobuf(t, field(3, field(1, someHeader), rest))
		checkAgainstProtobuf(t, join(field(3, field(1, someHeader), field(2)), rest))
	})
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{"org/ns/bob", " a / b / c ", "NULL_COMPONENT", "01234567-89ab-cdef-fedc-ba9876543210",
		"{}", "urn:uuid:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if hi, lo, err := wire.ParseID(s); err == nil {
			if h, l, err := wire.ParseID(wire.FormatID(hi, lo)); h != hi || l != lo || err != nil {
				t.Errorf("%q: %x:%x prints as %q", s, hi, lo, wire.FormatID(hi, lo))
			}
		}
		if n, err := wire.ParseName(s); err == nil {
			if again, err := wire.ParseName(n[0] + "/" + n[1] + "/" + n[2]); again != n || err != nil {
				t.Errorf("%q: %q does not parse to itself: %q, %v", s, n, again, err)
			}
		}
	})
}

func fuzzSeeds() [][]byte {
	seeds := [][]byte{
		nil, meta, field(6, number(1, 7), number(2, 1)), field(6, number(1, 7), field(3, []byte("x"))),
		wire.AppendLink(nil, &wire.LinkNegotiation{LinkID: "link-0001", Version: "2.3.0", Kind: wire.LinkEdge,
			Key: make([]byte, 32)}),
		samplePublish(8, 20), join(meta, samplePublish(0, 0), meta),
		wire.AppendSubscribe(nil, &wire.PublishHeader{Source: wire.Text("org", "ns", "bob"), Dest: wire.Text("a", "b", "c")},
			7),
	}
	hop := join(field(1, field(1, number(1, 1), number(2, 2), number(3, 3))), number(4, 2), number(6, 8), number(7, 9),
		number(8, 10), number(10, 0))
	seeds = append(seeds, field(3, field(1, hop), field(2)))
	for _, c := range badFields {
		seeds = append(seeds, c.b, field(3, field(1, c.b)))
	}
	w := writer{rand.New(rand.NewPCG(3, 4))}
	for range 20 {
		seeds = append(seeds, w.envelope())
	}
	return seeds
}
