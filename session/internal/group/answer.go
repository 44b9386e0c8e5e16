package group

import (
	"strings"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Answer is the reply to a DiscoveryRequest, for an app that is to be found under the name asked, which the request is
// for; an error: the request is not to be believed, and there is no reply. signed says whether it has a payload signature; strict, that it
// must.
func Answer(s Self, in *Inbound, asked wire.NameText, strict bool) (r *message.Message, signed bool, err error) {
	m := in.Message
	switch {
	case in.Claims == nil:
		return nil, false, unbelieved(in.Why)
	case !identity.IsOf(&m.Source, in.Claims.Subject):
		return nil, false, errForeignID
	}
	if signed, err = identity.VerifySignatures(m, in.Claims); err != nil {
		return nil, false, err
	}
	if strict && !signed {
		return nil, false, errUnsigned
	}
	e := message.Empty(message.DiscoveryReply)
	r = &message.Message{
		Source: asked.WithID(s.Name.Name.Hi, s.Name.Name.Lo), Dest: m.Source, Fanout: 1, TTL: 8, Version: s.Version, Command: &e,
		Kind: m.Kind, Type: message.DiscoveryReply, Session: m.Session, ID: m.ID,
	}
	r.Identity = s.Token(in.At)
	if s.Key != nil {
		err = s.Key.Sign(r)
	}
	return r, signed, err
}

// keyReason is metadata of a JoinReply that declines: why. It has no key package, whatever the session is like. Peers that do not
// know it would take it for a yes, and get none.
const keyReason = "slimgo-reason"

// mostReason bounds the text of a reason, in bytes.
const mostReason = 1 << 10

// Decline is the reply to a JoinRequest, for the name that it has asked, of an app that does not want to come; nil: who asks
// does not understand that, and is left without a reply.
func Decline(s Self, in *Inbound, reason string) *message.Message {
	m := in.Message
	if !strings.Contains(m.Version, Product) || in.Claims == nil || s.Key == nil {
		return nil
	}
	p := s.participant()
	p.Name = m.Dest.WithID(s.Name.Name.Hi, s.Name.Name.Lo)
	r := &message.Message{
		Source: p.Name, Dest: m.Source, Fanout: 1, TTL: 8, Version: s.Version, Command: &message.Joined{Participant: p},
		Kind: m.Kind, Type: message.JoinReply, Session: m.Session, ID: m.ID,
		Metadata: map[string]string{keyReason: strings.ToValidUTF8(reason[:min(len(reason), mostReason)], "")},
	}
	r.Identity = s.Token(in.At)
	if s.Key.Sign(r) != nil {
		return nil
	}
	return r
}
