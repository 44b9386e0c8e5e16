//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// secret is the shared secret of all peers.
const secret = "judge-shared-secret-0123456789-abcdefghij"

// speaker is an application that says by hand what applications say to each other: just enough of the session layer
// to put package mls into groups of real ones. It answers at once, and repeats nothing.
type speaker struct {
	t       *testing.T
	conn    *uplink.Conn
	key     *ecdsa.PrivateKey
	subject string // of its tokens; its id is the hash of it
	name    *pb.Name
	text    string
	inbox   chan *pb.Message
	broken  chan []byte // messages that do not decode
	end     error       // of the connection; set before inbox is closed
}

// speak connects to a node as an application of that name, org/ns/app.
func (n *node) speak(t *testing.T, name string, key *ecdsa.PrivateKey) *speaker {
	t.Helper()
	s := &speaker{t: t, conn: n.uplink(t, uplink.Options{NodeID: name}), key: key, subject: name + "_" + suffix(),
		text: name, inbox: make(chan *pb.Message, 1024), broken: make(chan []byte, 16)}
	hi, lo := wire.HashID(s.subject)
	s.name = nameOf(t, name, hi, lo)
	go s.read()
	s.subscribe(s.name, s.token())
	return s
}

// uplink connects to a node until the test ends.
func (n *node) uplink(t *testing.T, o uplink.Options) *uplink.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := uplink.Dial(ctx, n.address(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Abort()
		<-c.Done()
	})
	return c
}

func suffix() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 8)
	rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// nameOf is a whole name with strings.
func nameOf(t testing.TB, text string, hi, lo uint64) *pb.Name {
	t.Helper()
	p, err := wire.ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return &pb.Name{
		Name:    &pb.EncodedName{Component_0: wire.Hash(p[0]), Component_1: wire.Hash(p[1]), Component_2: wire.Hash(p[2]), NameId: &pb.NameId{Id_0: hi, Id_1: lo}},
		StrName: &pb.StringName{StrComponent_0: p[0], StrComponent_1: p[1], StrComponent_2: p[2]},
	}
}

// plain is a name as package wire has it.
func plain(n *pb.Name) wire.NameText {
	s, id := n.GetStrName(), n.GetName().GetNameId()
	t := wire.Text(s.GetStrComponent_0(), s.GetStrComponent_1(), s.GetStrComponent_2())
	return t.WithID(id.GetId_0(), id.GetId_1())
}

func textOf(n *pb.Name) string {
	s := n.GetStrName()
	return s.GetStrComponent_0() + "/" + s.GetStrComponent_1() + "/" + s.GetStrComponent_2()
}

func (s *speaker) read() {
	defer close(s.inbox)
	for {
		b, err := s.conn.Receive(context.Background())
		if err != nil {
			s.end = err
			return
		}
		var m pb.Message
		if proto.Unmarshal(b, &m) != nil {
			s.broken <- bytes.Clone(b)
		} else if m.GetPublish() != nil {
			s.inbox <- &m
		}
	}
}

// token is a fresh identity.
func (s *speaker) token() string {
	pub, err := s.key.PublicKey.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	return mint(s.subject, pub, time.Now())
}

// mint makes a token as of that time.
func mint(subject string, pub []byte, at time.Time) string {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	claims, err := json.Marshal(map[string]string{"pubkey": base64.StdEncoding.EncodeToString(pub)})
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := fmt.Sprintf("%s:%d:%s:%s", subject, at.Unix(), enc(nonce), enc(claims))
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return text + ":" + enc(h.Sum(nil))
}

// checkToken verifies a token and returns its subject and public key.
func checkToken(token string, now time.Time) (subject string, pub []byte, err error) {
	at := strings.LastIndexByte(token, ':')
	parts := strings.Split(token, ":")
	if at < 0 || len(parts) != 5 {
		return "", nil, errors.New("not a token")
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(token[:at]))
	if base64.RawURLEncoding.EncodeToString(h.Sum(nil)) != token[at+1:] {
		return "", nil, errors.New("wrong MAC")
	}
	minted, err := strconv.ParseInt(parts[1], 10, 64)
	if age := now.Unix() - minted; err != nil || age < -5 || age > 3600 {
		return "", nil, fmt.Errorf("minted at %s", parts[1])
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return "", nil, err
	}
	var claims struct{ Pubkey []byte }
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", nil, err
	}
	return parts[0], claims.Pubkey, nil
}

// aad is what the header signature and the encryption of a message cover.
func aad(p *pb.Publish) []byte {
	h, s := p.GetHeader(), p.GetSession()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.HeaderIntegrityAad{Version: 1, Source: h.Source, Destination: h.Destination,
		Identity: h.Identity, SessionType: s.SessionType, SessionMessageType: s.SessionMessageType, SessionId: s.SessionId, MessageId: s.MessageId,
		PayloadType: p.GetMsg().GetAppPayload().GetPayloadType()})
	if err != nil {
		panic(err)
	}
	return b
}

func (s *speaker) sign(text []byte) []byte {
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return sig
}

const payloadSignature = "slim-payload-sig"

// signControl signs header, payload and metadata of a control message.
func (s *speaker) signControl(m *pb.Message) {
	p := m.GetPublish()
	p.Header.E2EHeaderSig = s.sign(aad(p))
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.Msg)
	if err != nil {
		s.t.Fatal(err)
	}
	text := []byte("slim-payload-v1")
	part := func(b []byte) { text = append(binary.BigEndian.AppendUint64(text, uint64(len(b))), b...) }
	part(aad(p))
	part(content)
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		part([]byte(k))
		part([]byte(m.Metadata[k]))
	}
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	m.Metadata[payloadSignature] = base64.StdEncoding.EncodeToString(s.sign(text))
}

// header begins a message of ours.
func (s *speaker) header(to *pb.Name, fanout uint32, identity string) *pb.SLIMHeader {
	return &pb.SLIMHeader{Source: s.name, Destination: to, Identity: identity, Fanout: fanout, Version: "3.4.6", Ttl: 8}
}

// send sends; the connection signs for the link.
func (s *speaker) send(m *pb.Message) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := s.conn.Send(context.Background(), b); err != nil {
		s.t.Log(err) // the test has ended, or sees it by what does not come
	}
}

// sealed encodes m, whose header is h, with the header MAC of the link.
func (s *speaker) sealed(m *pb.Message, h *pb.SLIMHeader) ([]byte, error) {
	h.HeaderMac = nil
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var scanned wire.Message
	var hd wire.Header
	if err := wire.Scan(b, &scanned); err != nil {
		return nil, err
	}
	raw := scanned.Header.Of(b)
	if err := wire.ParseHeader(raw, &hd); err != nil {
		return nil, err
	}
	of := s.conn.NewMAC()
	defer of.Close()
	var names mac.Names
	var tag [sha256.Size]byte
	of.Names(&names, mac.AppendNames(nil, s.conn.Link().ID, raw, &hd))
	of.Tag(&tag, &names, mac.AppendRest(nil, raw, &hd, hd.TTL, true))
	h.HeaderMac = tag[:]
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (s *speaker) subscribe(to *pb.Name, identity string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := s.conn.Subscribe(ctx, &wire.PublishHeader{Source: plain(s.name), Dest: plain(to), Identity: identity,
		Version: uplink.Version, Fanout: 1, TTL: 8}); err != nil {
		s.t.Errorf("%s: %v", s.text, err)
	}
}

// control sends a control message.
func (s *speaker) control(to *pb.Name, fanout uint32, kind pb.SessionType, typ pb.SessionMessageType, session, id uint32, body *pb.CommandPayload) {
	h := s.header(to, fanout, s.token())
	m := &pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: h,
		Session: &pb.SessionHeader{SessionType: kind, SessionMessageType: typ, SessionId: session, MessageId: id},
		Msg:     &pb.Content{ContentType: &pb.Content_CommandPayload{CommandPayload: body}}}}}
	s.signControl(m)
	s.send(m)
}

// data sends a message or an acknowledgement; seal, if not nil, encrypts the payload over the AAD.
func (s *speaker) data(to *pb.Name, fanout uint32, kind pb.SessionType, typ pb.SessionMessageType, session, id uint32, payloadType string,
	seal func(aad []byte) []byte) {
	h := s.header(to, fanout, s.token())
	app := &pb.ApplicationPayload{PayloadType: payloadType}
	p := &pb.Publish{Header: h, Session: &pb.SessionHeader{SessionType: kind, SessionMessageType: typ, SessionId: session, MessageId: id},
		Msg: &pb.Content{ContentType: &pb.Content_AppPayload{AppPayload: app}}}
	if seal != nil {
		app.Blob = seal(aad(p))
	}
	s.send(&pb.Message{MessageType: &pb.Message_Publish{Publish: p}})
}
