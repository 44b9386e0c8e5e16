package mac

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// parsed encodes and parses a header.
func parsed(t testing.TB, m *pb.SLIMHeader) (h []byte, hd wire.Header) {
	t.Helper()
	h, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.ParseHeader(h, &hd); err != nil {
		t.Fatalf("%x: %v", h, err)
	}
	return h, hd
}

// preimage is P-mac-1 once more, without cunning.
func preimage(linkID string, h *pb.SLIMHeader, ttl uint32, hop bool) []byte {
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) { put(uint32(len(s))); b.WriteString(s) }
	flag := func(set bool) bool { put(set); return set }
	b.WriteString("SLIM-DP-HDR-v1\x00")
	text(linkID)
	for _, n := range []*pb.Name{h.Source, h.Destination} {
		if !flag(n != nil) {
			continue
		}
		if e := n.Name; flag(e != nil) {
			put([]uint64{e.Component_0, e.Component_1, e.Component_2})
			if id := e.NameId; flag(id != nil) {
				put([]uint64{id.Id_0, id.Id_1})
			}
		}
		if s := n.StrName; flag(s != nil) {
			text(s.StrComponent_0)
			text(s.StrComponent_1)
			text(s.StrComponent_2)
		}
	}
	text(h.Identity)
	put(h.Fanout)
	if flag(h.RecvFrom != nil && !hop) {
		put(h.RecvFrom)
	}
	if flag(h.ForwardTo != nil && !hop) {
		put(h.ForwardTo)
	}
	if flag(h.Error != nil) {
		put(h.Error)
	}
	put(ttl)
	return b.Bytes()
}

// Rules: P-mac-1.
func TestPreimageIsUpstreams(t *testing.T) {
	for _, v := range macVectors {
		h, hd := parsed(t, v.header)
		names := AppendNames(nil, v.linkID, h, &hd)
		if want := unhex(t, v.preimage); !bytes.Equal(AppendRest(names, h, &hd, hd.TTL, false),
			want) || len(names) != v.names {
			t.Errorf("%s: preimage\n%x, want\n%x; %d bytes of names, want %d",
				v.name, AppendRest(names, h, &hd, hd.TTL, false), want, len(names), v.names)
		}
	}
}

// What is signed for the next hop must be what the next node computes from the bytes it gets. Rules: P-mac-3, P-mac-5.
func TestEgressPreimageIsThatOfTheRewrittenHeader(t *testing.T) {
	for _, v := range macVectors {
		h, hd := parsed(t, v.header)
		signed := AppendRest(AppendNames(nil, "next", h, &hd), h, &hd, hd.TTL-1, true)
		out := wire.AppendHeader(nil, h, &hd, hd.TTL-1, make([]byte, wire.MACSize))
		var next wire.Header
		if err := wire.ParseHeader(out, &next); err != nil {
			t.Fatal(err)
		}
		checked := AppendRest(AppendNames(nil, "next", out, &next), out, &next, next.TTL, false)
		if !bytes.Equal(signed, checked) {
			t.Errorf("%s: signed\n%x, checked\n%x", v.name, signed, checked)
		}
	}
}

// Rules: P-mac-2.
func TestPreimageTellsAbsentNullAndZeroIDsApart(t *testing.T) {
	seen := map[string]string{}
	for rule, name := range map[string]*pb.Name{
		"name absent":         nil,
		"name empty":          {},
		"encoded name empty":  {Name: &pb.EncodedName{}},
		"id empty":            {Name: &pb.EncodedName{NameId: &pb.NameId{}}},
		"id null":             {Name: &pb.EncodedName{NameId: &pb.NameId{Id_0: wire.Null, Id_1: wire.Null}}},
		"strings empty":       {StrName: &pb.StringName{}},
		"both empty":          {Name: &pb.EncodedName{}, StrName: &pb.StringName{}},
		"both empty, with id": {Name: &pb.EncodedName{NameId: &pb.NameId{}}, StrName: &pb.StringName{}},
	} {
		h, hd := parsed(t, &pb.SLIMHeader{Source: name})
		p := string(AppendNames(nil, "", h, &hd))
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s have the same preimage", rule, other)
		}
		seen[p] = rule
	}
}

// checkPreimage compares both parts of the preimage of header h with the twin's. Bytes that do not decode are left to
// the tests of package wire.
func checkPreimage(t *testing.T, h []byte) {
	t.Helper()
	var hd wire.Header
	var m pb.SLIMHeader
	if wire.ParseHeader(h, &hd) != nil || proto.Unmarshal(h, &m) != nil {
		return
	}
	for _, hop := range []bool{false, true} {
		got := AppendRest(AppendNames(nil, "link-0001", h, &hd), h, &hd, hd.TTL, hop)
		if want := preimage("link-0001", &m, m.Ttl, hop); !bytes.Equal(got, want) {
			t.Fatalf("%x: hop %v: preimage\n%x, want\n%x", h, hop, got, want)
		}
	}
}

func randomHeader(r *rand.Rand) *pb.SLIMHeader {
	some := func() bool { return r.IntN(3) > 0 }
	number := func() uint64 { return r.Uint64() >> r.IntN(64) }
	word := func() string {
		return []string{"", "org", "日本", "a longer piece of text that fills a block and more"}[r.IntN(4)]
	}
	name := func() *pb.Name {
		n := &pb.Name{}
		if some() {
			n.Name = &pb.EncodedName{Component_0: number(), Component_1: number(), Component_2: number()}
			if some() {
				n.Name.NameId = &pb.NameId{Id_0: number(), Id_1: number()}
			}
		}
		if some() {
			n.StrName = &pb.StringName{StrComponent_0: word(), StrComponent_1: word(), StrComponent_2: word()}
		}
		return n
	}
	m := &pb.SLIMHeader{Identity: word(), Fanout: uint32(number()), Version: word(), Ttl: uint32(number())}
	if some() {
		m.Source = name()
	}
	if some() {
		m.Destination = name()
	}
	if some() {
		m.RecvFrom = proto.Uint64(number())
	}
	if some() {
		m.ForwardTo = proto.Uint64(number())
	}
	if some() {
		m.Error = proto.Bool(some())
	}
	return m
}

// Two encodings in a row are one header whose parts merge: odd, but its values are right.
func TestPreimageAgreesWithTheTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		h, _ := parsed(t, randomHeader(r))
		checkPreimage(t, h)
		if more, _ := parsed(t, randomHeader(r)); r.IntN(10) == 0 {
			checkPreimage(t, append(h, more...))
		}
	}
}

func FuzzPreimage(f *testing.F) {
	for _, v := range macVectors {
		h, _ := parsed(f, v.header)
		f.Add(h)
	}
	r := rand.New(rand.NewPCG(9, 10))
	for range 20 {
		h, _ := parsed(f, randomHeader(r))
		f.Add(h)
	}
	f.Fuzz(checkPreimage)
}

func BenchmarkPreimage(b *testing.B) {
	h, hd := parsed(b, &pb.SLIMHeader{Source: text("org", "ns", "alice", 1<<62, 1<<61), Destination: text("org", "ns",
		"bob", wire.Null, wire.Null),
		Identity: string(bytes.Repeat([]byte("i"), 172)), Fanout: 1, Version: "3.4.6", Ttl: 8})
	dst := make([]byte, 0, 1024)
	b.Run("Names", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendNames(dst[:0], "link-0001", h, &hd)
		}
	})
	b.Run("Rest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendRest(dst[:0], h, &hd, hd.TTL-1, true)
		}
	})
}
