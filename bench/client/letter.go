package client

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// Letter is a message that is no part of a measurement: what people write, or the question who is there.
type Letter struct {
	From, To load.Address
	All      bool // to all who hold the name
	Text     []byte
}

const identity = "bench" // of letters and requests

// Encode returns the message, for Send or TrySend of a connection. Text is the end of it.
func (l Letter) Encode() []byte { return l.encode(identity, nil) }

func (l Letter) encode(identity string, mac []byte) []byte {
	h := wire.PublishHeader{Source: text(l.From), Dest: text(l.To), Identity: identity, Version: version, Fanout: 1, TTL: firstTTL, MAC: mac}
	session := &pb.SessionHeader{SessionType: pb.SessionType_SESSION_TYPE_POINT_TO_POINT, SessionId: sessionID, MessageId: 1,
		SessionMessageType: pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG}
	if l.All {
		h.Fanout, session.SessionType = fanoutAll, pb.SessionType_SESSION_TYPE_MULTICAST
	}
	content := &pb.Content{ContentType: &pb.Content_AppPayload{AppPayload: &pb.ApplicationPayload{PayloadType: payloadTyp, Blob: l.Text}}}
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

const (
	firstTTL           = 8
	defaultOutstanding = 256
)

// Subscribe implements load.Conn.
func (c *Conn) Subscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, wire.KindSubscribe, n, outstanding, at)
}

// Unsubscribe implements load.Conn.
func (c *Conn) Unsubscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.names(ctx, wire.KindUnsubscribe, n, outstanding, at)
}

// names sends one request for each name, and waits for the answers.
func (c *Conn) names(ctx context.Context, k wire.Kind, n, outstanding int, at func(int) load.Address) (done int, err error) {
	if c.blind {
		if n != 1 || k != wire.KindSubscribe {
			return 0, errBlindUse
		}
		return 1, c.purpose(ctx, Join, at(0))
	}
	outstanding = cmp.Or(outstanding, defaultOutstanding)
	source := text(load.Address{Parts: [3]string{"bench", "client", "slim-bench"}, ID: rand.Uint64()})
	var asked []*uplink.Request
	for i := 0; i < n || len(asked) > 0; {
		for ; i < n && len(asked) < outstanding; i++ {
			a := at(i)
			h := wire.PublishHeader{Source: source, Dest: text(a), Identity: identity, Version: version, Fanout: 1, TTL: firstTTL}
			r, err := c.Request(ctx, k, &h, subscriptionID(a))
			if err != nil {
				return done, err
			}
			asked = append(asked, r)
		}
		left := outstanding / 2 // the next ones go out together
		if i == n {
			left = 0
		}
		for _, r := range asked[:len(asked)-left] {
			if err := r.Wait(ctx); err != nil {
				return done, err
			}
			done++
		}
		asked = append(asked[:0], asked[len(asked)-left:]...)
	}
	return done, nil
}

// text is the SLIM name of an address. Ids get a constant high half, so that all 128 bits are in use.
func text(a load.Address) wire.NameText {
	t := wire.Text(a.Parts[0], a.Parts[1], a.Parts[2])
	if a.ID != 0 {
		t = t.WithID(0x51a7be4c<<32|0x5eed, a.ID)
	}
	return t
}

// subscriptionID is a function of the name, so that Unsubscribe knows it again without a table.
func subscriptionID(a load.Address) uint64 {
	return max(1, wire.Hash(a.Parts[2])*31+wire.Hash(a.Parts[1])+a.ID)
}
