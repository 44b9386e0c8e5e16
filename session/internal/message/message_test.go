package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// discovery is a DiscoveryRequest that the Rust library sent.
func discovery() *Message {
	empty := Empty(DiscoveryRequest)
	id, err := hex.DecodeString("01dee39637aa60d4da76d2e98824b38f")
	if err != nil {
		panic(err)
	}
	return &Message{
		Source: wire.Text("org", "ns", "alice").WithID(binary.BigEndian.Uint64(id), binary.BigEndian.Uint64(id[8:])),
		Dest:   wire.Text("org", "ns", "bob"), Fanout: 1, TTL: 8,
		Identity: "org/ns/alice_l1oHW0Cw:1795367875:iskwDHlVfbRMLkAd:eyJwdWJrZXkiOiJCTmxYYURZZmgxVjlyMFRFb0VCUWFualpOUGpTaWs2" +
			"T3p2MGhUM3R2Z0Q2MzFNY20xNFNoUzh2V2tSVlF5Y2VMdXJWdjdhVUJvZlM2bThkZFloaW9rK1k9In0:wisL6fCDM9g2pJ036EPdbjA3Mufbjx82" +
			"IiKoxckdNaM",
		Kind: PointToPoint, Type: DiscoveryRequest, Session: 301145826, ID: 499569159, Command: &empty,
	}
}

func TestAADOfARustMessage(t *testing.T) {
	const begin = "0801124b0a3708bbacaab7b780969f870110d1a1a6e3a4d3ddfcee011882e3daadfa91afc87b221508d4c1a9bde3f2b8ef01" +
		"108fe792c198ddb4bbda0112100a036f726712026e731a05616c6963651a4a0a3808bbacaab7b780969f870110d1a1a6e3a4" +
		"d3ddfcee0118c4e795d7b7e886d749221608ffffffffffffffffff0110ffffffffffffffffff01120e0a036f726712026e73" +
		"1a03626f6222e501"
	m := discovery()
	got := hex.EncodeToString(m.AppendAAD(nil))
	if want := begin + hex.EncodeToString([]byte(m.Identity)) + "2801300538e2bdcc8f014087a49bee01"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSignedPartOfARustMessage(t *testing.T) {
	m := discovery()
	for _, c := range []struct {
		metadata map[string]string
		size     int
		sum      string
	}{
		{nil, 438, "d13df43caef457b77377732f398219855cea82736c08869fd292cd091ece7304"},
		{
			map[string]string{"b": "2", "a": "1", "traceparent": "x", KeyPayloadSignature: "y"}, 474,
			"d2cecf24834be2be125ef3ede956973cfe3065af3d2d62af9352cae4304863d6",
		},
	} {
		m.Metadata = c.metadata
		b := m.AppendSigned(nil)
		sum := sha256.Sum256(b)
		if len(b) != c.size || hex.EncodeToString(sum[:]) != c.sum {
			t.Errorf("metadata %v: %d bytes with sum %x, want %d with %s", c.metadata, len(b), sum, c.size, c.sum)
		}
	}
}

// What a newer peer says besides is signed as it came: its signature is over that, too. Upstream verifies what it encodes anew, which
// lacks it.
func TestSignedPartHasWhatIsUnknownHere(t *testing.T) {
	theirs := new(pb.Message)
	if err := proto.Unmarshal(discovery().Append(nil), theirs); err != nil {
		t.Fatal(err)
	}
	content := theirs.GetPublish().GetMsg()
	content.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	signed, err := proto.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.AppendSigned(nil), appendPart(nil, signed); !bytes.HasSuffix(got, want) {
		t.Errorf("signed\n%x\nwant\n%x at the end", got, want)
	}
}

// What protobuf's own encoder makes of a message is what Append makes of it, and Decode takes both.
func TestMessagesAreWhatProtobufMakesOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	canonical := proto.MarshalOptions{Deterministic: true}
	for range 2000 {
		m := random(r)
		b := m.Append([]byte("before"))[len("before"):]
		theirs := new(pb.Message)
		if err := proto.Unmarshal(b, theirs); err != nil {
			t.Fatal(err)
		}
		again, err := canonical.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(b) || len(m.Metadata) == 0 && !bytes.Equal(again, b) { // Go's encoder puts metadata first
			t.Fatalf("%v: ours\n%x\nprotobuf's\n%x", m.Type, b, again)
		}
		for _, b := range [][]byte{b, again} {
			got, err := Decode(b)
			if err != nil {
				t.Fatalf("%v: %v", m.Type, err)
			}
			m.Content = got.Content
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("got  %+v\nwant %+v", got, m)
			}
		}
		signed := m.AppendSigned(nil)
		m.Content = nil
		if !bytes.Equal(m.AppendSigned(nil), signed) {
			t.Fatalf("%v: content encoded anew is not what came", m.Type)
		}
		p := theirs.GetPublish()
		aad, err := canonical.Marshal(&pb.HeaderIntegrityAad{
			Version: 1, Source: p.Header.Source, Destination: p.Header.Destination, Identity: m.Identity,
			SessionType: p.Session.SessionType, SessionMessageType: p.Session.SessionMessageType,
			SessionId: m.Session, MessageId: m.ID, PayloadType: m.PayloadType,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.AppendAAD(nil); !bytes.Equal(got, aad) {
			t.Fatalf("AAD %x, want %x", got, aad)
		}
	}
}

func TestRefused(t *testing.T) {
	changed := func(change func(*pb.Publish)) []byte {
		m := new(pb.Message)
		if err := proto.Unmarshal(discovery().Append(nil), m); err != nil {
			t.Fatal(err)
		}
		change(m.GetPublish())
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	command := func(typ pb.SessionMessageType, c *pb.CommandPayload) []byte {
		return changed(func(p *pb.Publish) {
			p.Session.SessionMessageType = typ
			p.Msg.ContentType = &pb.Content_CommandPayload{CommandPayload: c}
		})
	}
	someone := &pb.Participant{Name: &pb.Name{Name: &pb.EncodedName{Component_0: 1}}}
	whole := changed(func(*pb.Publish) {})
	much := discovery()
	much.Metadata = map[string]string{}
	for i := range MaxMetadata + 1 {
		much.Metadata[strings.Repeat("k", i)] = ""
	}
	crowd := &Close{Participants: make([]wire.NameText, MaxParticipants+1)}
	many := discovery()
	many.Type, many.Command = GroupClose, crowd
	roster := make([]Participant, MaxParticipants+1)
	for i := range roster {
		roster[i].Name = many.Source
	}
	named := discovery()
	named.Type, named.Command = GroupWelcome, &Welcome{Roster: roster}
	// Bytes that are no text stand where text does, as long as it was.
	spelled := func(old string) []byte {
		return bytes.Replace(whole, []byte(old), bytes.Repeat([]byte{0xff}, len(old)), 1)
	}
	for _, c := range []struct {
		name, field string
		b           []byte
		err         error
	}{
		{"nothing", "publish.header.source", nil, ErrMissing},
		{"another kind", "", []byte{1<<3 | 2, 0}, ErrKind},
		{"two publishes", "publish", append(bytes.Clone(whole), whole...), ErrTwice},
		{"no source", "publish.header.source", changed(func(p *pb.Publish) { p.Header.Source = nil }), ErrMissing},
		{"no destination", "publish.header.destination", changed(func(p *pb.Publish) { p.Header.Destination.Name = nil }), ErrMissing},
		{"no session", "publish.session.session_type", changed(func(p *pb.Publish) { p.Session = nil }), ErrMissing},
		{"unknown type", "publish.session.session_message_type", command(21, nil), ErrMissing},
		{"a type beyond a byte", "publish.session.session_message_type", command(256+5, nil), ErrMissing},
		{"no content", "publish.msg", changed(func(p *pb.Publish) { p.Msg = nil }), ErrMissing},
		{"another command", "publish.msg", changed(func(p *pb.Publish) { p.Session.SessionMessageType = 6 }), ErrType},
		{"a command as data", "publish.msg", changed(func(p *pb.Publish) { p.Session.SessionMessageType = 1 }), ErrType},
		{"a command and data", "publish.msg", changed(func(p *pb.Publish) { p.Msg.ProtoReflect().SetUnknown([]byte{1<<3 | 2, 0}) }), ErrType},
		{"cut short", "", whole[:len(whole)-1], ErrForm},
		{"a participant without a name", "publish.msg.command_payload.join_reply.participant.name",
			command(8, &pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_JoinReply{JoinReply: &pb.JoinReplyPayload{}}}), ErrMissing},
		{"an operation that nobody knows", "publish.msg.command_payload.group_update.op",
			command(11, &pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_GroupUpdate{
				GroupUpdate: &pb.GroupUpdatePayload{Op: 3, Participant: someone},
			}}), ErrType},
		{"too much metadata", "metadata", much.Append(nil), ErrBound},
		{"a field of a number that there is not", "", append(bytes.Clone(whole), 0x80, 0x80, 0x80, 0x80, 0x10, 1), ErrForm},
		{"a token that is no text", "publish.header", spelled(discovery().Identity), ErrForm},
		{"a name that is no text", "publish.header.source.str_name", spelled(discovery().Source.Str[2]), ErrForm},
		{"too many members", "publish.msg.command_payload.group_welcome.participants", named.Append(nil), ErrBound},
		{"too many participants", "publish.msg.command_payload.group_close.participants", many.Append(nil), ErrBound},
	} {
		_, err := Decode(c.b)
		var e *Error
		if !errors.As(err, &e) || e.Field != strings.TrimSuffix("message."+c.field, ".") || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %s: %v", c.name, err, c.field, c.err)
		}
	}
}

// ofForm reports whether err is a fault that a walk over the fields finds, whatever they say.
func ofForm(err error) bool { return errors.Is(err, ErrForm) || errors.Is(err, ErrTwice) }

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		f.Add(random(r).Append(nil))
	}
	f.Add([]byte("\x1a\x09\x0a\x07\x0a\x00\x0a\x00\x1a\x01\xff")) // two sources, and a text that is none
	f.Add([]byte("\xed\xcb\xf6\x9d00000"))                        // a number beyond those of fields
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		want, wantErr := decodeTwin(b)
		same := func(how string, m *Message, err error) {
			// Of several faults in its form either may find another one first.
			form := ofForm(err) && ofForm(wantErr)
			if !reflect.DeepEqual(m, want) || (err == nil) != (wantErr == nil) || err != nil && !form && err.Error() != wantErr.Error() {
				t.Fatalf("%s: got  %+v, %v\nwant %+v, %v", how, m, err, want, wantErr)
			}
		}
		same("alone", m, err)
		var d Decoder
		for _, how := range []string{"the first time", "again"} {
			m, err := d.Decode(b)
			same(how, m, err)
		}
		if err != nil {
			return
		}
		if got, want := new(Encoder).Append(nil, m), m.Append(nil); !bytes.Equal(got, want) {
			t.Fatalf("encoded to %x, want %x", got, want)
		}
		if err := proto.Unmarshal(b, new(pb.Message)); err != nil {
			t.Fatalf("protobuf refuses it: %v", err)
		}
		again, err := Decode(m.Append(nil))
		if err != nil {
			t.Fatalf("what it was encoded to is refused: %v", err)
		}
		if session, typ, ok := Peek(b); !ok || session != m.Session || typ != m.Type {
			t.Fatalf("at a glance session %d, %v, %v", session, typ, ok)
		}
		again.Content = m.Content
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("encoded and decoded again\n%+v\nwas\n%+v", again, m)
		}
	})
}

// data is a message of data as an app sends it without MLS.
func data() *Message {
	m := discovery()
	m.Type, m.Command, m.PayloadType, m.Blob = Msg, nil, "msg", make([]byte, 100)
	return m
}

func BenchmarkDecodeData(b *testing.B) {
	encoded := data().Append(nil)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendData(b *testing.B) {
	m := data()
	var room []byte
	var e Encoder
	b.ReportAllocs()
	for b.Loop() {
		room = e.Append(room[:0], m)
	}
}

// random returns a message as a peer can send one, of any type, in the form that Decode gives it but for Content.
func random(r *rand.Rand) *Message {
	m := &Message{
		Source: name(r), Dest: name(r), Identity: text(r), Version: text(r), Fanout: r.Uint32N(300), TTL: r.Uint32N(10),
		Failed: r.IntN(9) == 0, Kind: Kind(1 + r.IntN(2)), Type: Type(1 + r.IntN(int(lastType))), Session: r.Uint32(), ID: r.Uint32(),
	}
	if r.IntN(2) == 0 {
		m.Signature = blob(r)
	}
	for range r.IntN(4) {
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[string('a'+rune(r.IntN(26)))] = text(r) + "." // Go's encoder writes empty ones out, Rust's does not
	}
	if !m.Type.Control() {
		m.PayloadType = text(r)
		if r.IntN(3) > 0 {
			m.Blob = present(r)
		}
		return m
	}
	m.Command = newCommand(m.Type)
	switch c := m.Command.(type) {
	case *Join:
		c.Timers, c.MLS = some(r, Timers{r.Uint32(), r.Uint32N(3)}), some(r, MLSSettings{r.Uint32N(101)})
		c.Channel, c.Control = some(r, name(r)), some(r, name(r))
	case *Joined:
		c.Participant = participant(r)
		if r.IntN(2) == 0 {
			c.KeyPackage = blob(r)
		}
	case *Update:
		c.Op, c.Participant, c.Roster, c.MLS = Op(r.IntN(3)), participant(r), roster(r), some(r, handshake(r))
	case *Welcome:
		c.Roster, c.MLS = roster(r), some(r, handshake(r))
	case *Close:
		for range r.IntN(4) {
			c.Participants = append(c.Participants, name(r))
		}
	case *Proposal:
		c.Source, c.Proposal = name(r), present(r)
	case *Beat:
		c.Epoch = r.Uint64() >> r.IntN(64)
	case *State:
		c.Participant, c.Offline, c.Epoch = name(r), r.IntN(2) == 0, NoEpoch
	case *Rejoin:
		c.Participant, c.KeyPackage = name(r), present(r)
	case *Rejoined:
		c.Handshake = handshake(r)
	}
	return m
}

func some[T any](r *rand.Rand, v T) *T {
	if r.IntN(2) == 0 {
		return nil
	}
	return &v
}

func name(r *rand.Rand) wire.NameText {
	n := wire.Text("org", text(r), text(r))
	if r.IntN(3) > 0 {
		n = n.WithID(r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64))
	}
	if r.IntN(9) == 0 {
		n.Str, n.NoStrings = [3]string{}, true
	}
	return n
}

func participant(r *rand.Rand) Participant {
	return Participant{Name: name(r), Sends: r.IntN(2) == 0, Receives: r.IntN(2) == 0, Offline: r.IntN(2) == 0}
}

func roster(r *rand.Rand) (ps []Participant) {
	for range r.IntN(4) {
		ps = append(ps, participant(r))
	}
	return ps
}

func handshake(r *rand.Rand) Handshake { return Handshake{Commit: r.Uint32(), Content: present(r)} }

func text(r *rand.Rand) string { return base64.StdEncoding.EncodeToString(blob(r)) }

func blob(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(200))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// present is a blob that is not empty.
func present(r *rand.Rand) []byte { return append(blob(r), 1) }
