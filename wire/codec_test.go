package wire_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

func TestLinkRequestIsUpstreams(t *testing.T) {
	l := wire.LinkNegotiation{
		LinkID: "link-0001", Version: "2.3.0", Kind: wire.LinkEdge, NodeID: "n1",
		Key: unhex(t, "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"),
	}
	want := unhex(t,
		"2a3c0a3a0a096c696e6b2d303030311205322e332e30222007a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdf"+
			"c0b2b86d1c7c280232026e31")
	if got := wire.AppendLink(nil, &l); !bytes.Equal(got, want) {
		t.Errorf("AppendLink\n%x, want\n%x", got, want)
	}
	if got := parseLink(t, want); !reflect.DeepEqual(got, l) {
		t.Errorf("ParseLink %+v, want %+v", got, l)
	}
}

func parseLink(t *testing.T, b []byte) wire.LinkNegotiation {
	t.Helper()
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil || m.Kind != wire.KindLink || m.Invalid(nil) != 0 {
		t.Fatalf("Scan: %v, kind %v, %v", err, m.Kind, m.Invalid(nil))
	}
	l, err := wire.ParseLink(b, &m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLinkEncodesAsProtobuf(t *testing.T) {
	for _, c := range []struct {
		name string
		l    wire.LinkNegotiation
		p    *pb.LinkNegotiationPayload
	}{
		{"empty", wire.LinkNegotiation{}, &pb.LinkNegotiationPayload{}},
		{"present but empty KEM", wire.LinkNegotiation{KEM: []byte{}}, &pb.LinkNegotiationPayload{LinkKemPayload: []byte{}}},
		{
			"full reply",
			wire.LinkNegotiation{
				LinkID: "l", Version: "3.4.6", Reply: true, Key: make([]byte, 32), Kind: wire.LinkPeer, NodeID: "n",
				Deployment: "d", KEM: make([]byte, 1088),
			},
			&pb.LinkNegotiationPayload{
				LinkId: "l", SlimVersion: "3.4.6", IsReply: true, LinkEcdhPublicKey: make([]byte, 32),
				ConnectionType: pb.LinkConnectionType_LINK_CONNECTION_TYPE_PEER, NodeId: "n", DeploymentName: "d",
				LinkKemPayload: make([]byte, 1088),
			},
		},
	} {
		want := marshal(t, &pb.Message{MessageType: &pb.Message_Link{
			Link: &pb.Link{LinkType: &pb.Link_LinkNegotiation{LinkNegotiation: c.p}},
		}})
		if got := wire.AppendLink(nil, &c.l); !bytes.Equal(got, want) {
			t.Errorf("%s: AppendLink %x, want %x", c.name, got, want)
		}
		if got := parseLink(t, want); !reflect.DeepEqual(got, c.l) {
			t.Errorf("%s: ParseLink %+v, want %+v", c.name, got, c.l)
		}
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Rules: P-neg-4.
func TestLinkReading(t *testing.T) {
	for _, c := range []struct {
		rule string
		b    []byte
		want wire.LinkNegotiation
		err  error
	}{
		{"link type unset", field(5), wire.LinkNegotiation{}, wire.ErrNoNegotiation},
		{"unknown connection type is remote", field(5, field(1, number(5, 3))), wire.LinkNegotiation{}, nil},
		{"a later known type wins", field(5, field(1, number(5, 9), number(5, 1))),
			wire.LinkNegotiation{Kind: wire.LinkPeer}, nil},
		{"connection type is 32 bits", field(5, field(1, number(5, 1<<32|2))), wire.LinkNegotiation{Kind: wire.LinkEdge},
			nil},
		{
			"repeated negotiations merge", field(5, field(1, field(1, []byte("a")), number(3, 1)), field(1, field(1,
				[]byte("b")))),
			wire.LinkNegotiation{LinkID: "b", Reply: true}, nil,
		},
		{"unknown fields are skipped", field(5, field(9, []byte("x")), field(1, number(9, 1))), wire.LinkNegotiation{}, nil},
		{"text is UTF-8", field(5, field(1, field(6, []byte{0xff}))), wire.LinkNegotiation{}, wire.ErrUTF8},
		{"keys are not", field(5, field(1, field(4, []byte{0xff}))), wire.LinkNegotiation{Key: []byte{0xff}}, nil},
		{"wrong wire type", field(5, field(1, number(1, 1))), wire.LinkNegotiation{}, wire.ErrWireType},
		{"cut short", field(5, field(1, []byte{0x0a, 5, 'x'})), wire.LinkNegotiation{}, wire.ErrTruncated},
	} {
		var m wire.Message
		var got wire.LinkNegotiation
		err := wire.Scan(c.b, &m)
		if err == nil {
			got, err = wire.ParseLink(c.b, &m)
		}
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.rule, got, err, c.want, c.err)
		}
	}
}

// Rules: P-sub-1, P-sub-4.
func TestAcksAreUpstreams(t *testing.T) {
	for _, c := range []struct {
		id     uint64
		ok     bool
		reason string
		want   string
	}{
		{7, true, "", "320408071001"},
		{7, false, "x", "320508071a0178"},
		{0, false, "", "3200"},
		{300, true, "", "320508ac021001"},
	} {
		want := unhex(t, c.want)
		if got := wire.AppendAck(nil, c.id, c.ok, c.reason); !bytes.Equal(got, want) {
			t.Errorf("AppendAck(%d, %v, %q) = %x, want %x", c.id, c.ok, c.reason, got, want)
		}
		var m wire.Message
		if err := wire.Scan(want, &m); err != nil || m.Kind != wire.KindAck || m.SubID != c.id || m.Invalid(nil) != 0 {
			t.Errorf("Scan(%x): %v, %+v", want, err, m)
		}
		id, ok, reason, err := wire.ParseAck(want, &m)
		if id != c.id || ok != c.ok || reason != c.reason || err != nil {
			t.Errorf("ParseAck(%x) = %d, %v, %q, %v", want, id, ok, reason, err)
		}
	}
	if got := wire.AppendAck(nil, 7, true, "why"); !bytes.Equal(got, unhex(t, "320408071001")) {
		t.Errorf("success with a reason: %x", got)
	}
}

// The source and destination of a recorded conversation (P-msg-1).
func TestNamesEncodeAsUpstreams(t *testing.T) {
	want := unhex(t,
		"0a4b 0a3708bbacaab7b780969f870110d1a1a6e3a4d3ddfcee011882e3daadfa91afc87b221508d4c1a9bde3f2b8ef01108fe792c198ddb4bbda01"+
			"12100a036f726712026e731a05616c696365"+
			"124a 0a3808bbacaab7b780969f870110d1a1a6e3a4d3ddfcee0118c4e795d7b7e886d749221608ffffffffffffffffff0110ffffffffffffffffff01"+
			"120e0a036f726712026e731a03626f62")
	alice := wire.Text("org", "ns", "alice").WithID(wire.HashID("org/ns/alice_l1oHW0Cw"))
	b := wire.AppendUnsubscribe(nil, &wire.PublishHeader{Source: alice, Dest: wire.Text("org", "ns", "bob")}, 0)
	_, h, hd := parse(t, b)
	if !bytes.Equal(h, want) || int(hd.Names) != len(want) {
		t.Errorf("header %x, names %d; want %x", h, hd.Names, want)
	}
}

// Rules: P-msg-1.
func TestEncodersWriteWhatProtobufWrites(t *testing.T) {
	bare := wire.Text("a", "b", "slim").WithID(0, 0)
	bare.NoStrings = true
	source := wire.NameText{Str: [3]string{"", "x", ""}} // all hashes zero
	name := func(n wire.NameText) *pb.Name {
		p := &pb.Name{Name: &pb.EncodedName{
			Component_0: n.Name.C[0], Component_1: n.Name.C[1], Component_2: n.Name.C[2],
			NameId: &pb.NameId{Id_0: n.Name.Hi, Id_1: n.Name.Lo},
		}}
		if !n.NoStrings {
			p.StrName = &pb.StringName{StrComponent_0: n.Str[0], StrComponent_1: n.Str[1], StrComponent_2: n.Str[2]}
		}
		return p
	}
	h := &wire.PublishHeader{
		Source: source, Dest: bare, Identity: "token", Fanout: 256, TTL: 300, Version: "3.4.6", MAC: []byte{1, 2},
	}
	head := &pb.SLIMHeader{
		Source: name(source), Destination: name(bare), Identity: "token", Fanout: 256, Ttl: 300, Version: "3.4.6",
		HeaderMac: []byte{1, 2},
	}
	session := &pb.SessionHeader{SessionId: 1 << 31, MessageId: 1}
	content := &pb.Content{ContentType: &pb.Content_AppPayload{
		AppPayload: &pb.ApplicationPayload{Blob: bytes.Repeat([]byte{1}, 200)},
	}}
	for _, c := range []struct {
		rule string
		got  []byte
		want *pb.Message
	}{
		{
			"subscribe", wire.AppendSubscribe(nil, h, 1<<40),
			&pb.Message{MessageType: &pb.Message_Subscribe{Subscribe: &pb.Subscribe{Header: head, SubscriptionId: 1 << 40}}},
		},
		{
			"unsubscribe without id", wire.AppendUnsubscribe(nil, h, 0),
			&pb.Message{MessageType: &pb.Message_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Header: head}}},
		},
		{
			"publish", wire.AppendPublish(nil, h, marshal(t, session), marshal(t, content)),
			&pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: head, Session: session, Msg: content}}},
		},
		{
			"publish with empty session and no content", wire.AppendPublish([]byte{}, h, []byte{}, nil),
			&pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: head, Session: &pb.SessionHeader{}}}},
		},
	} {
		if want := marshal(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n%x, want\n%x", c.rule, c.got, want)
		}
	}
}
