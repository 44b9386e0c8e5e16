package wire_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

func publish(h *pb.SLIMHeader) *pb.Message {
	return &pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: h}}}
}

// Two encodings in a row are one message whose parts merge. Rules: P-msg-6.
func TestNormaliseMergesAsProtobufDoes(t *testing.T) {
	first := publish(&pb.SLIMHeader{Identity: "a", Ttl: 8, Source: &pb.Name{Name: &pb.EncodedName{Component_0: 1}}})
	first.Metadata = map[string]string{"k": "v", "l": "w"}
	first.GetPublish().Session = &pb.SessionHeader{SessionId: 7}
	second := publish(&pb.SLIMHeader{Identity: "b", Fanout: 1, Source: &pb.Name{Name: &pb.EncodedName{Component_1: 2}}})
	second.Metadata = map[string]string{"k": "x"}

	want := publish(&pb.SLIMHeader{
		Identity: "b", Ttl: 8, Fanout: 1, Source: &pb.Name{Name: &pb.EncodedName{Component_0: 1, Component_1: 2}},
	})
	want.Metadata = map[string]string{"k": "x", "l": "w"}
	want.GetPublish().Session = &pb.SessionHeader{SessionId: 7}

	got, err := wire.Normalise(join(marshal(t, first), marshal(t, second)))
	if err != nil {
		t.Fatal(err)
	}
	var m pb.Message
	if err := proto.Unmarshal(got, &m); err != nil || !proto.Equal(&m, want) {
		t.Errorf("got %v (%v), want %v", &m, err, want)
	}
	_, _, hd := parse(t, got)
	if hd.TTL != 8 || hd.Fanout != 1 {
		t.Errorf("header: %+v", hd)
	}
}

// Rules: P-msg-5, P-msg-6.
func TestNormaliseWritesEachPartOnce(t *testing.T) {
	ack, head := field(6, number(1, 7)), field(1, number(6, 8))
	for _, c := range []struct {
		rule    string
		b, want []byte
	}{
		{"nothing", nil, nil},
		{"nothing is odd: the member comes first", join(meta, number(15, 1), ack), join(ack, meta, number(15, 1))},
		{"the last member of the oneof counts", join(field(3, head), meta, ack), join(ack, meta)},
		{"one that came before another is gone", join(field(1, head), ack, field(1, number(2, 1))), field(1, number(2, 1))},
		{"two of the same merge", join(field(3, head), field(3, field(2))), field(3, head, field(2))},
		{"two headers merge", field(3, head, field(2), field(1, number(4, 1))), field(3, field(1, number(4, 1), number(6,
			8)), field(2))},
		{"empty headers are headers", field(3, field(1), field(1)), field(3, field(1))},
		{"no header", join(field(3, field(2)), field(3, field(3))), field(3, field(2), field(3))},
		{"fields of a header: the last counts", field(1, field(1, number(6, 8), field(3, []byte("a")), number(6, 7),
			field(3))),
			field(1, field(1, field(3), number(6, 7)))},
		{"names merge, empty ones too", field(1, field(1, field(2), field(1, field(1)), number(6, 1), field(1, field(2)),
			field(2))),
			field(1, field(1, field(1, field(1), field(2)), field(2), number(6, 1)))},
		{"unknown fields stay in order", field(1, number(5, 1), field(1, number(20, 1), number(6, 1), number(19, 1),
			number(20, 2)), number(4, 1)),
			field(1, field(1, number(6, 1), number(20, 1), number(19, 1), number(20, 2)), number(5, 1), number(4, 1))},
		{"links have no header", join(field(5, head), field(5, head)), field(5, head, head)},
	} {
		if got, err := wire.Normalise(c.b); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v; want %x", c.rule, got, err, c.want)
		}
	}
}

func TestNormaliseRefusesWhatDoesNotDecode(t *testing.T) {
	for rule, b := range map[string][]byte{
		"member cut short": {0x1a, 5, 1}, "field in a member": field(3, []byte{0x0a, 5}), "field in a header": field(3,
			field(1, []byte{0x7b})),
		"field number 0": {0, 0}, "long key": {0x80, 0x80, 0x80, 0x80, 0x10, 0},
	} {
		if got, err := wire.Normalise(b); err == nil {
			t.Errorf("%s: %x", rule, got)
		}
	}
}

// BenchmarkNormaliseTinyParts is what an odd message costs that is made to cost much.
func BenchmarkNormaliseTinyParts(b *testing.B) {
	const size = 8 << 10
	for name, one := range map[string][]byte{
		"Metadata": {0x22, 0}, "UnknownGroups": {0x7b, 0x7c}, "Publishes": {0x1a, 2, 0x0a, 0}, "Switches": {0x1a, 0, 0x32, 0},
	} {
		msg := bytes.Repeat(one, size/len(one))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Normalise(msg); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size/len(one)), "ns/part")
		})
	}
}
