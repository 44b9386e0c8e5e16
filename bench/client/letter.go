package client

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// Letter is a message that is no part of a measurement: what people write, or the question who is there.
type Letter struct {
	From, To load.Address
	All      bool // to all who hold the name
	Kind     LetterKind
	Text     []byte // of a Text
}

// LetterKind is what a letter is for.
type LetterKind int32

// Kinds of letters.
const (
	Text   = LetterKind(pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG)
	Asking = LetterKind(pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REQUEST) // who is there?
	Here   = LetterKind(pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REPLY)
)

// Post sends a letter. It waits while the connection's queue is full.
func (c *Conn) Post(ctx context.Context, l Letter) error { return c.Send(ctx, l.encode(identity, nil)) }

// TryPost is Post for a Sink, which must not wait: a letter for which there is no room is an error.
func (c *Conn) TryPost(l Letter) error { return c.TrySend(l.encode(identity, nil)) }

// Finish ends the connection in order: what was sent has reached the node, unless it says otherwise.
func (c *Conn) Finish(ctx context.Context) error { return c.Conn.Close(ctx) }

const identity = "bench" // of letters and requests

// encode returns the message. Of a Text the payload is the end of it.
func (l Letter) encode(identity string, mac []byte) []byte {
	h := wire.PublishHeader{Source: text(l.From), Dest: text(l.To), Identity: identity, Version: version, Fanout: 1, TTL: firstTTL, MAC: mac}
	session := &pb.SessionHeader{SessionType: pb.SessionType_SESSION_TYPE_POINT_TO_POINT, SessionId: sessionID, MessageId: 1,
		SessionMessageType: pb.SessionMessageType(l.Kind)}
	if l.All {
		h.Fanout, session.SessionType = fanoutAll, pb.SessionType_SESSION_TYPE_MULTICAST
	}
	content := &pb.Content{}
	switch l.Kind {
	case Asking:
		content.ContentType = &pb.Content_CommandPayload{CommandPayload: &pb.CommandPayload{
			CommandPayloadType: &pb.CommandPayload_DiscoveryRequest{DiscoveryRequest: &pb.DiscoveryRequestPayload{}}}}
	case Here:
		content.ContentType = &pb.Content_CommandPayload{CommandPayload: &pb.CommandPayload{
			CommandPayloadType: &pb.CommandPayload_DiscoveryReply{DiscoveryReply: &pb.DiscoveryReplyPayload{}}}}
	default:
		content.ContentType = &pb.Content_AppPayload{AppPayload: &pb.ApplicationPayload{PayloadType: payloadTyp, Blob: l.Text}}
	}
	return wire.AppendPublish(nil, &h, marshal(session), marshal(content))
}

// marshal encodes what this package has made, whose strings are UTF-8.
func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// ReadLetter reads what a Sink was given, whoever has sent it.
func ReadLetter(msg []byte) (l Letter, err error) {
	var m pb.Message
	if err := proto.Unmarshal(msg, &m); err != nil {
		return l, fmt.Errorf("not a message of SLIM: %w", err)
	}
	p := m.GetPublish()
	l.From, l.To = addressOf(p.GetHeader().GetSource()), addressOf(p.GetHeader().GetDestination())
	l.All = p.GetHeader().GetFanout() > 1
	l.Kind = LetterKind(p.GetSession().GetSessionMessageType())
	l.Text = p.GetMsg().GetAppPayload().GetBlob()
	return l, nil
}

// addressOf is the opposite of text, as far as a name has strings.
func addressOf(n *pb.Name) load.Address {
	s, id := n.GetStrName(), n.GetName().GetNameId().GetId_1()
	if id == wire.Null {
		id = 0
	}
	return load.Address{Parts: [3]string{s.GetStrComponent_0(), s.GetStrComponent_1(), s.GetStrComponent_2()}, ID: id}
}
