//go:build interop

package interop

import (
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
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// secret is the shared secret of all peers.
const secret = "judge-shared-secret-0123456789-abcdefghij"

// speaker is an application that says by hand what applications say to a node and to each other: just enough of the session
// layer to put package mls into groups of real ones. It answers at once, and repeats nothing.
type speaker struct {
	t       *testing.T
	stream  grpc.ClientStream
	linkID  string
	mac     *mac.MAC
	key     *ecdsa.PrivateKey
	subject string // of its tokens; its id is the hash of it
	name    *pb.Name
	text    string
	acks    chan *pb.SubscriptionAck
	inbox   chan *pb.Message
	broken  chan []byte // messages that do not decode
	end     error       // of the stream; set before inbox is closed
	sending sync.Mutex
	nextSub uint64
	cancel  context.CancelFunc
}

// bytesCodec passes messages as they are.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (bytesCodec) Name() string { return "proto" }

var _ encoding.CodecV2 = bytesCodec{}

// speak connects to a node as an application of that name, org/ns/app.
func (n *node) speak(t *testing.T, name string, key *ecdsa.PrivateKey) *speaker {
	t.Helper()
	conn, err := grpc.NewClient(n.address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		conn.Close()
	})
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		"/dataplane.proto.v1.DataPlaneService/OpenChannel", grpc.ForceCodecV2(bytesCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{t: t, stream: stream, linkID: "link-of-" + name, key: key, subject: name + "_" + suffix(), text: name,
		acks: make(chan *pb.SubscriptionAck, 16), inbox: make(chan *pb.Message, 1024), broken: make(chan []byte, 16), cancel: cancel}
	hi, lo := wire.HashID(s.subject)
	s.name = nameOf(t, name, hi, lo)
	s.negotiate()
	go s.read()
	s.subscribe(s.name, s.token())
	return s
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

func textOf(n *pb.Name) string {
	s := n.GetStrName()
	return s.GetStrComponent_0() + "/" + s.GetStrComponent_1() + "/" + s.GetStrComponent_2()
}

func (s *speaker) negotiate() {
	s.t.Helper()
	m := link.New(&link.Config{Role: link.Dialer, LinkID: s.linkID, Kind: wire.LinkEdge, Version: "3.4.6", NodeID: s.text, Strict: true, Rand: rand.Reader})
	req, err := m.Start(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var reply []byte
	if err := errors.Join(s.stream.SendMsg(req), s.stream.RecvMsg(&reply)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := m.Step(nil, reply); err != nil {
		s.t.Fatal(err)
	}
	r := m.Result()
	s.mac = mac.New(slices.Clone(r.Key), r.LinkID)
	s.linkID = r.LinkID
}

func (s *speaker) read() {
	defer close(s.inbox)
	for {
		var b []byte
		if s.end = s.stream.RecvMsg(&b); s.end != nil {
			return
		}
		var m pb.Message
		if proto.Unmarshal(b, &m) != nil {
			s.broken <- b
			continue
		}
		if a := m.GetSubscriptionAck(); a != nil {
			s.acks <- a
		} else if m.GetPublish() != nil {
			s.inbox <- &m
		}
	}
}

// token is a fresh identity.
func (s *speaker) token() string {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	pub, err := s.key.PublicKey.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]string{"pubkey": base64.StdEncoding.EncodeToString(pub)})
	if err != nil {
		s.t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := fmt.Sprintf("%s:%d:%s:%s", s.subject, time.Now().Unix(), enc(nonce), enc(claims))
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

// send signs for the link, and sends.
func (s *speaker) send(m *pb.Message, h *pb.SLIMHeader) {
	s.sending.Lock()
	defer s.sending.Unlock()
	b, err := s.sealed(m, h)
	if err != nil {
		s.t.Error(err)
		return
	}
	if err := s.stream.SendMsg(b); err != nil {
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
	var names mac.Names
	var tag [sha256.Size]byte
	s.mac.Names(&names, mac.AppendNames(nil, s.linkID, raw, &hd))
	s.mac.Tag(&tag, &names, mac.AppendRest(nil, raw, &hd, hd.TTL, true))
	h.HeaderMac = tag[:]
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (s *speaker) subscribe(to *pb.Name, identity string) {
	s.nextSub++
	h := s.header(to, 1, identity)
	s.send(&pb.Message{MessageType: &pb.Message_Subscribe{Subscribe: &pb.Subscribe{Header: h, SubscriptionId: s.nextSub}}}, h)
	select {
	case a := <-s.acks:
		if !a.Success {
			s.t.Errorf("%s: subscription refused: %s", s.text, a.Error)
		}
	case <-time.After(limit):
		s.t.Errorf("%s: subscription is not acknowledged", s.text)
	}
}

// control sends a control message.
func (s *speaker) control(to *pb.Name, fanout uint32, kind pb.SessionType, typ pb.SessionMessageType, session, id uint32, body *pb.CommandPayload) {
	h := s.header(to, fanout, s.token())
	m := &pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Header: h,
		Session: &pb.SessionHeader{SessionType: kind, SessionMessageType: typ, SessionId: session, MessageId: id},
		Msg:     &pb.Content{ContentType: &pb.Content_CommandPayload{CommandPayload: body}}}}}
	s.signControl(m)
	s.send(m, h)
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
	s.send(&pb.Message{MessageType: &pb.Message_Publish{Publish: p}}, h)
}
