package pb_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

func encode(t *testing.T, m *pb.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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

	got, err := pb.Normalise(append(encode(t, first), encode(t, second)...))
	if err != nil {
		t.Fatal(err)
	}
	var m pb.Message
	if err := proto.Unmarshal(got, &m); err != nil || !proto.Equal(&m, want) {
		t.Errorf("got %v (%v), want %v", &m, err, want)
	}
	var parts wire.Message
	var head wire.Header
	if err := wire.Scan(got, &parts); err != nil || parts.Odd {
		t.Fatalf("scan: %v, odd %v", err, parts.Odd)
	}
	if err := wire.ParseHeader(parts.Header.Of(got), &head); err != nil || head.Odd || head.TTL != 8 || head.Fanout != 1 {
		t.Errorf("header: %+v, %v", head, err)
	}
}

func TestNormaliseKeepsTheLastMemberOfTheOneof(t *testing.T) {
	ack := &pb.Message{MessageType: &pb.Message_SubscriptionAck{SubscriptionAck: &pb.SubscriptionAck{SubscriptionId: 7}}}
	got, err := pb.Normalise(append(encode(t, publish(&pb.SLIMHeader{Ttl: 1})), encode(t, ack)...))
	if err != nil || !bytes.Equal(got, encode(t, ack)) {
		t.Errorf("got %x, %v", got, err)
	}
}

// Rules: P-msg-5.
func TestNormaliseKeepsUnknownFieldsAndPlainMessages(t *testing.T) {
	b := append(encode(t, publish(&pb.SLIMHeader{Ttl: 8})), 0x78, 0x01)
	if got, err := pb.Normalise(b); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%x became %x, %v", b, got, err)
	}
}

func TestNormaliseRefusesWhatDoesNotDecode(t *testing.T) {
	if got, err := pb.Normalise([]byte{0x1a, 5, 1}); err == nil {
		t.Errorf("got %x", got)
	}
}
