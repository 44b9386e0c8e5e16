package group

import (
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Answer is the reply to a DiscoveryRequest, for an app that is to be found under the name asked, which the request is
// for; nil: the request is not to be believed, and there is no reply.
func Answer(s Self, in *Inbound, asked wire.NameText) *message.Message {
	m := in.Message
	if in.Claims == nil || !identity.IsOf(&m.Source, in.Claims.Subject) {
		return nil
	}
	if _, err := identity.VerifySignatures(m, in.Claims); err != nil {
		return nil
	}
	e := message.Empty(message.DiscoveryReply)
	r := &message.Message{
		Source: asked.WithID(s.Name.Name.Hi, s.Name.Name.Lo), Dest: m.Source, Fanout: 1, TTL: 8, Version: s.Version, Command: &e,
		Kind: m.Kind, Type: message.DiscoveryReply, Session: m.Session, ID: m.ID,
	}
	r.Identity = s.Token(in.At)
	if s.Key != nil && s.Key.Sign(r) != nil {
		return nil
	}
	return r
}
