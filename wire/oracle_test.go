package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// opaque is the type Message as a node sees it: upstream's schema in which session header, content, metadata entries and
// link negotiation are mere bytes.
var opaque = func() protoreflect.MessageDescriptor {
	file := protodesc.ToFileDescriptorProto(pb.File_dataplane_proto_v1_data_plane_proto)
	blind := map[string][]string{
		"Message": {"metadata"}, "Publish": {"session", "msg"}, "Link": {"link_negotiation"},
	}
	for _, m := range file.MessageType {
		for _, f := range m.Field {
			for _, name := range blind[m.GetName()] {
				if f.GetName() == name {
					f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum(), nil
					if f.OneofIndex == nil { // else empty bytes would count as absent
						f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
					}
				}
			}
		}
	}
	d, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return d.Messages().ByName("Message")
}()

// reading is all that a node learns from a message. Comparable.
type reading struct {
	kind                        wire.Kind
	subID                       uint64
	header, session, link       bool
	source, dest                nameReading
	identity, mac               string
	hasMAC, hasRecv, hasForward bool
	fanout, ttl                 uint32
	recvFrom, forwardTo         uint64
	err                         uint8
}

type nameReading struct {
	present, hasName, hasID, hasStr bool
	name                            wire.Name
	str                             [3]string
}

func readingOf(b []byte, m *wire.Message, hd *wire.Header) reading {
	h := m.Header.Of(b)
	name := func(n *wire.NameRef) nameReading {
		return nameReading{n.Present, n.HasName, n.HasID, n.HasStr, n.Name, n.Strings(h)}
	}
	return reading{
		kind: m.Kind, subID: m.SubID, header: m.HasHeader, session: m.HasSession, link: m.HasLink,
		source: name(&hd.Source), dest: name(&hd.Dest), identity: string(hd.Identity.Of(h)), mac: string(hd.MAC.Of(h)),
		hasMAC: hd.HasMAC, hasRecv: hd.HasRecvFrom, hasForward: hd.HasForwardTo, fanout: hd.Fanout, ttl: hd.TTL,
		recvFrom: hd.RecvFrom, forwardTo: hd.ForwardTo, err: hd.Error,
	}
}

// view walks decoded messages by field name.
type view struct{ m protoreflect.Message }

func (v view) field(name protoreflect.Name) protoreflect.FieldDescriptor {
	return v.m.Descriptor().Fields().ByName(name)
}
func (v view) has(name protoreflect.Name) bool                 { return v.m.Has(v.field(name)) }
func (v view) value(name protoreflect.Name) protoreflect.Value { return v.m.Get(v.field(name)) }
func (v view) uint(name protoreflect.Name) uint64              { return v.value(name).Uint() }
func (v view) sub(name protoreflect.Name) view                 { return view{v.value(name).Message()} }

// wanted is the reading by protobuf of a decoded opaque message.
func wanted(d proto.Message) reading {
	v := view{d.ProtoReflect()}
	r := reading{source: wantedName(view{}, false), dest: wantedName(view{}, false)}
	member := v.m.WhichOneof(v.m.Descriptor().Oneofs().ByName("message_type"))
	if member == nil {
		return r
	}
	body := view{v.m.Get(member).Message()}
	switch member.Name() {
	case "subscribe":
		r.kind, r.subID = wire.KindSubscribe, body.uint("subscription_id")
	case "unsubscribe":
		r.kind, r.subID = wire.KindUnsubscribe, body.uint("subscription_id")
	case "publish":
		r.kind, r.session = wire.KindPublish, body.has("session")
	case "link":
		r.kind, r.link = wire.KindLink, body.has("link_negotiation")
	case "subscription_ack":
		r.kind, r.subID = wire.KindAck, body.uint("subscription_id")
	}
	if !r.kind.Routed() || !body.has("header") {
		return r
	}
	h := body.sub("header")
	r.header = true
	r.source = wantedName(h.sub("source"), h.has("source"))
	r.dest = wantedName(h.sub("destination"), h.has("destination"))
	r.identity, r.mac, r.hasMAC = h.value("identity").String(), string(h.value("header_mac").Bytes()), h.has("header_mac")
	r.fanout, r.ttl = uint32(h.uint("fanout")), uint32(h.uint("ttl"))
	r.hasRecv, r.recvFrom = h.has("recv_from"), h.uint("recv_from")
	r.hasForward, r.forwardTo = h.has("forward_to"), h.uint("forward_to")
	if h.has("error") {
		r.err = wire.ErrorFalse
		if h.value("error").Bool() {
			r.err = wire.ErrorTrue
		}
	}
	return r
}

func wantedName(v view, present bool) nameReading {
	r := nameReading{present: present, name: wire.Name{Hi: wire.Null, Lo: wire.Null}}
	if !present {
		return r
	}
	if r.hasName = v.has("name"); r.hasName {
		e := v.sub("name")
		r.name.C = [3]uint64{e.uint("component_0"), e.uint("component_1"), e.uint("component_2")}
		if r.hasID = e.has("name_id"); r.hasID {
			id := e.sub("name_id")
			r.name.Hi, r.name.Lo = id.uint("id_0"), id.uint("id_1")
		}
	}
	if r.hasStr = v.has("str_name"); r.hasStr {
		s := v.sub("str_name")
		for i, f := range []protoreflect.Name{"str_component_0", "str_component_1", "str_component_2"} {
			r.str[i] = s.value(f).String()
		}
	}
	return r
}

// scanAndParse is what a node does with a message first.
func scanAndParse(b []byte) (m wire.Message, hd wire.Header, err error) {
	if err = wire.Scan(b, &m); err != nil {
		return m, hd, err
	}
	err = wire.ParseHeader(m.Header.Of(b), &hd)
	return m, hd, err
}

// stricter reports whether err is for something that Go's protobuf lets pass where prost and wire do not: a known field of
// another wire type, a group nested deeper than prost goes, a field number above 2^29 inside a group.
func stricter(err error) bool {
	return errors.Is(err, wire.ErrWireType) || errors.Is(err, wire.ErrDepth) || errors.Is(err, wire.ErrFieldNumber)
}

// checkAgainstProtobuf holds all promises of the package about the message b.
func checkAgainstProtobuf(t *testing.T, b []byte) {
	t.Helper()
	d := dynamicpb.NewMessage(opaque)
	refused := proto.Unmarshal(b, d)
	m, hd, err := scanAndParse(b)
	if err != nil {
		if refused == nil && !stricter(err) {
			t.Fatalf("%x: refused (%v), protobuf accepts", b, err)
		}
		return
	}
	if refused != nil {
		if m.Odd { // parts that are to be merged or replaced are not all looked into
			return
		}
		t.Fatalf("%x: accepted, protobuf refuses: %v", b, refused)
	}
	if m.Odd || hd.Odd {
		checkNormalised(t, b, d)
		return
	}
	want := wanted(d)
	if got := readingOf(b, &m, &hd); got != want {
		t.Fatalf("%x:\n got %+v\nwant %+v", b, got, want)
	}
	if m.Kind.Routed() && m.HasHeader {
		checkNames(t, b, &m, &hd)
		checkRewrite(t, b, &m, &hd, d)
	}
	checkCold(t, b, &m)
}

// checkNormalised: after pb.Normalise nothing is odd, and what is read is what protobuf read before.
func checkNormalised(t *testing.T, b []byte, d proto.Message) {
	t.Helper()
	n, err := pb.Normalise(b)
	if err != nil {
		return // something inside session, content, metadata or link
	}
	m, hd, err := scanAndParse(n)
	if err != nil {
		if !stricter(err) {
			t.Fatalf("%x: normalised %x: %v", b, n, err)
		}
		return
	}
	if m.Odd || hd.Odd {
		t.Fatalf("%x: normalised %x: still odd", b, n)
	}
	if got, want := readingOf(n, &m, &hd), wanted(d); got != want {
		t.Fatalf("%x: normalised %x:\n got %+v\nwant %+v", b, n, got, want)
	}
}

func checkNames(t *testing.T, b []byte, m *wire.Message, hd *wire.Header) {
	t.Helper()
	if hd.Names == 0 {
		return
	}
	h := m.Header.Of(b)
	var pair wire.Header
	if err := wire.ParseHeader(h[:hd.Names], &pair); err != nil || pair.Names != hd.Names {
		t.Fatalf("%x: first %d bytes: names %d, %v", h, hd.Names, pair.Names, err)
	}
	if err := wire.ParseRest(h, &pair); err != nil {
		t.Fatalf("%x: ParseRest: %v", h, err)
	}
	if pair != *hd {
		t.Fatalf("%x: ParseRest\n%+v, want\n%+v", h, pair, *hd)
	}
}

// checkRewrite: the message for the next hop decodes to the old one but for the hop's fields.
func checkRewrite(t *testing.T, b []byte, m *wire.Message, hd *wire.Header, d *dynamicpb.Message) {
	t.Helper()
	h := m.Header.Of(b)
	for _, c := range []struct {
		ttl uint32
		mac []byte
	}{{7, nil}, {300, bytes.Repeat([]byte{0xee}, wire.MACSize)}, {0, nil}} {
		size := wire.HeaderSize(hd, c.ttl, c.mac != nil)
		out := wire.AppendOpening(nil, b, m, size)
		if got := wire.OpeningSize(b, m, size); got != len(out) {
			t.Fatalf("%x: OpeningSize %d, appended %d", b, got, len(out))
		}
		head := wire.AppendHeader(nil, h, hd, c.ttl, c.mac)
		if len(head) != size {
			t.Fatalf("%x: HeaderSize %d, appended %d", b, size, len(head))
		}
		out = append(append(out, head...), b[m.Header.End:]...)
		got := dynamicpb.NewMessage(opaque)
		if err := proto.Unmarshal(out, got); err != nil {
			t.Fatalf("%x: rewritten %x: %v", b, out, err)
		}
		if want := nextHop(d, c.ttl, c.mac); !proto.Equal(got, want) {
			t.Fatalf("%x: rewritten %x:\n got %v\nwant %v", b, out, got, want)
		}
	}
}

func nextHop(d *dynamicpb.Message, ttl uint32, mac []byte) proto.Message {
	want := proto.Clone(d)
	v := view{want.ProtoReflect()}
	member := v.m.WhichOneof(v.m.Descriptor().Oneofs().ByName("message_type"))
	body := v.m.Mutable(member).Message()
	h := view{body.Mutable(body.Descriptor().Fields().ByName("header")).Message()}
	for _, name := range []protoreflect.Name{"recv_from", "forward_to", "incoming_conn", "header_mac"} {
		h.m.Clear(h.field(name))
	}
	h.m.Set(h.field("ttl"), protoreflect.ValueOfUint32(ttl))
	if mac != nil {
		h.m.Set(h.field("header_mac"), protoreflect.ValueOfBytes(mac))
	}
	return want
}

// checkCold compares ParseLink and ParseAck with the generated types.
func checkCold(t *testing.T, b []byte, m *wire.Message) {
	t.Helper()
	switch m.Kind {
	case wire.KindAck:
		id, ok, reason, err := wire.ParseAck(b, m)
		var want pb.SubscriptionAck
		if werr := proto.Unmarshal(m.Body.Of(b), &want); err != nil || werr != nil {
			t.Fatalf("%x: ParseAck: %v, protobuf: %v", b, err, werr)
		}
		if id != want.SubscriptionId || ok != want.Success || reason != want.Error {
			t.Fatalf("%x: ParseAck %d %v %q, want %v", b, id, ok, reason, &want)
		}
	case wire.KindLink:
		var want pb.Link
		werr := proto.Unmarshal(m.Body.Of(b), &want)
		l, err := wire.ParseLink(b, m)
		if errors.Is(err, wire.ErrNoNegotiation) {
			if m.HasLink {
				t.Fatalf("%x: no negotiation, says ParseLink", b)
			}
			return
		}
		if (err != nil) != (werr != nil) && !(werr == nil && stricter(err)) {
			t.Fatalf("%x: ParseLink: %v, protobuf: %v", b, err, werr)
		}
		if err == nil {
			compareLink(t, &l, want.GetLinkNegotiation())
		}
	}
}

func compareLink(t *testing.T, l *wire.LinkNegotiation, p *pb.LinkNegotiationPayload) {
	t.Helper()
	kind := wire.LinkRemote
	switch p.ConnectionType {
	case pb.LinkConnectionType_LINK_CONNECTION_TYPE_PEER:
		kind = wire.LinkPeer
	case pb.LinkConnectionType_LINK_CONNECTION_TYPE_EDGE:
		kind = wire.LinkEdge
	}
	if l.LinkID != p.LinkId || l.Version != p.SlimVersion || l.Reply != p.IsReply || l.NodeID != p.NodeId ||
		l.Deployment != p.DeploymentName || l.Kind != kind || !bytes.Equal(l.Key, p.LinkEcdhPublicKey) ||
		!bytes.Equal(l.KEM, p.LinkKemPayload) || (l.KEM == nil) != (p.LinkKemPayload == nil) {
		t.Fatalf("ParseLink %+v, want %v", l, p)
	}
}
