package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

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

// wanted is the reading by protobuf of a decoded message.
func wanted(m *pb.Message) reading {
	r := reading{source: wantedName(nil), dest: wantedName(nil)}
	var h *pb.SLIMHeader
	switch body := m.MessageType.(type) {
	case *pb.Message_Subscribe:
		r.kind, r.subID, h = wire.KindSubscribe, body.Subscribe.SubscriptionId, body.Subscribe.Header
	case *pb.Message_Unsubscribe:
		r.kind, r.subID, h = wire.KindUnsubscribe, body.Unsubscribe.SubscriptionId, body.Unsubscribe.Header
	case *pb.Message_Publish:
		r.kind, r.session, h = wire.KindPublish, body.Publish.Session != nil, body.Publish.Header
	case *pb.Message_Link:
		r.kind, r.link = wire.KindLink, body.Link.LinkType != nil
	case *pb.Message_SubscriptionAck:
		r.kind, r.subID = wire.KindAck, body.SubscriptionAck.SubscriptionId
	}
	if h == nil {
		return r
	}
	r.header, r.source, r.dest = true, wantedName(h.Source), wantedName(h.Destination)
	r.identity, r.mac, r.hasMAC = h.Identity, string(h.HeaderMac), h.HeaderMac != nil
	r.fanout, r.ttl = h.Fanout, h.Ttl
	r.hasRecv, r.recvFrom = h.RecvFrom != nil, h.GetRecvFrom()
	r.hasForward, r.forwardTo = h.ForwardTo != nil, h.GetForwardTo()
	if h.Error != nil {
		r.err = wire.ErrorFalse
		if *h.Error {
			r.err = wire.ErrorTrue
		}
	}
	return r
}

func wantedName(n *pb.Name) nameReading {
	r := nameReading{present: n != nil, name: wire.Name{Hi: wire.Null, Lo: wire.Null}}
	if e := n.GetName(); e != nil {
		r.hasName, r.name.C = true, [3]uint64{e.Component_0, e.Component_1, e.Component_2}
		if id := e.NameId; id != nil {
			r.hasID, r.name.Hi, r.name.Lo = true, id.Id_0, id.Id_1
		}
	}
	if s := n.GetStrName(); s != nil {
		r.hasStr, r.str = true, [3]string{s.StrComponent_0, s.StrComponent_1, s.StrComponent_2}
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

// stricter reports whether err is for something that Go's protobuf lets pass where prost and wire do not: a known field
// of another wire type, a group nested deeper than prost goes, a field number above 2^29 inside a group.
func stricter(err error) bool {
	return errors.Is(err, wire.ErrWireType) || errors.Is(err, wire.ErrDepth) || errors.Is(err, wire.ErrFieldNumber)
}

// checkAgainstProtobuf holds all promises of the package about the message b.
func checkAgainstProtobuf(t *testing.T, b []byte) {
	t.Helper()
	d := new(pb.Message)
	refused := proto.Unmarshal(b, d)
	m, hd, err := scanAndParse(b)
	if twin := prost(b, d.ProtoReflect().Descriptor(), 0); (err != nil) != (twin != nil) {
		t.Fatalf("%x: %v, prost's twin: %v", b, err, twin)
	}
	if err != nil {
		if refused == nil && !stricter(err) {
			t.Fatalf("%x: refused (%v), protobuf accepts", b, err)
		}
		return
	}
	if refused != nil {
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

// checkNormalised: after Normalise nothing is odd, and it decodes to what it decoded to before, which is d.
func checkNormalised(t *testing.T, b []byte, d *pb.Message) {
	t.Helper()
	n, err := wire.Normalise(b)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	m, hd, err := scanAndParse(n)
	if err != nil || m.Odd || hd.Odd {
		t.Fatalf("%x: normalised %x: odd %v %v, %v", b, n, m.Odd, hd.Odd, err)
	}
	if got, want := readingOf(n, &m, &hd), wanted(d); got != want {
		t.Fatalf("%x: normalised %x:\n got %+v\nwant %+v", b, n, got, want)
	}
	got := new(pb.Message)
	if err := proto.Unmarshal(n, got); err != nil || !proto.Equal(got, d) {
		t.Fatalf("%x: normalised %x: %v\n got %v\nwant %v", b, n, err, got, d)
	}
	if m.Pre != 0 || len(n) > len(b)+16 {
		t.Fatalf("%x: normalised %x: grew by %d bytes, %d before the member", b, n, len(n)-len(b), m.Pre)
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
func checkRewrite(t *testing.T, b []byte, m *wire.Message, hd *wire.Header, d *pb.Message) {
	t.Helper()
	h := m.Header.Of(b)
	for _, c := range []struct {
		ttl uint32
		mac []byte
	}{{7, nil}, {300, bytes.Repeat([]byte{0xee}, wire.MACSize)}, {0, nil}} {
		size := wire.HeaderSize(hd, c.ttl, c.mac != nil)
		out := wire.AppendOpening(nil, b, m, size)
		var short [wire.ShortOpening]byte
		if n := m.PutOpening(&short, size); n > 0 && !bytes.Equal(short[:n], out) || n == 0 && m.Pre == 0 && m.HeadAt == m.Body.Off {
			t.Fatalf("%x: put %x, appended %x", b, short[:n], out)
		}
		if got := wire.OpeningSize(b, m, size); got != len(out) {
			t.Fatalf("%x: OpeningSize %d, appended %d", b, got, len(out))
		}
		head := wire.AppendHeader(nil, h, hd, c.ttl, c.mac)
		if len(head) != size {
			t.Fatalf("%x: HeaderSize %d, appended %d", b, size, len(head))
		}
		out = append(append(out, head...), b[m.Header.End:]...)
		got := new(pb.Message)
		if err := proto.Unmarshal(out, got); err != nil {
			t.Fatalf("%x: rewritten %x: %v", b, out, err)
		}
		if want := nextHop(d, c.ttl, c.mac); !proto.Equal(got, want) {
			t.Fatalf("%x: rewritten %x:\n got %v\nwant %v", b, out, got, want)
		}
	}
}

func nextHop(d *pb.Message, ttl uint32, mac []byte) proto.Message {
	want := proto.CloneOf(d)
	var h *pb.SLIMHeader
	switch body := want.MessageType.(type) {
	case *pb.Message_Subscribe:
		h = body.Subscribe.Header
	case *pb.Message_Unsubscribe:
		h = body.Unsubscribe.Header
	case *pb.Message_Publish:
		h = body.Publish.Header
	}
	h.Ttl, h.RecvFrom, h.ForwardTo, h.IncomingConn, h.HeaderMac = ttl, nil, nil, nil, mac
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
