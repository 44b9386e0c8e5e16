package mls

import (
	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// epochSecrets are the secrets of one epoch that stay for its length (RFC 9420, section 8).
type epochSecrets struct {
	init, exporter, external, confirmation, membership, resumption, authentication suite.Secret
}

func (e *epochSecrets) all() [7]*suite.Secret {
	return [...]*suite.Secret{&e.init, &e.exporter, &e.external, &e.confirmation, &e.membership, &e.resumption, &e.authentication}
}

func (e *epochSecrets) wipe() {
	for _, s := range e.all() {
		s.Wipe()
	}
}

// deriveJoiner sets out to the joiner secret of the epoch with this context.
func deriveJoiner(s *suite.Suite, out, init, commit *suite.Secret, context []byte) {
	s.Extract(out, init.Bytes(), commit.Bytes())
	s.ExpandSecret(out, out, "joiner", context)
}

// joined is what joiner secret and pre-shared keys give: the secret of the epoch and that of its welcome.
type joined struct{ epoch, welcome suite.Secret }

func (j *joined) derive(s *suite.Suite, joiner, psk *suite.Secret, context []byte) {
	var member suite.Secret
	defer member.Wipe()
	s.Extract(&member, joiner.Bytes(), psk.Bytes())
	s.DeriveSecret(&j.welcome, &member, "welcome")
	s.ExpandSecret(&j.epoch, &member, "epoch", context)
}

// deriveWelcome is the part of it that does not need the context, which the welcome hides.
func deriveWelcome(s *suite.Suite, out, joiner, psk *suite.Secret) {
	s.Extract(out, joiner.Bytes(), psk.Bytes())
	s.DeriveSecret(out, out, "welcome")
}

func (j *joined) wipe() {
	j.epoch.Wipe()
	j.welcome.Wipe()
}

// derive spreads the epoch secret: into e, the secret of sender data and that of the secret tree.
func (e *epochSecrets) derive(s *suite.Suite, epoch, senderData, encryption *suite.Secret) {
	for _, d := range []struct {
		out   *suite.Secret
		label string
	}{
		{senderData, "sender data"}, {encryption, "encryption"}, {&e.exporter, "exporter"}, {&e.external, "external"},
		{&e.confirmation, "confirm"}, {&e.membership, "membership"}, {&e.resumption, "resumption"},
		{&e.authentication, "authentication"}, {&e.init, "init"},
	} {
		s.DeriveSecret(d.out, epoch, d.label)
	}
}

// export is MLS-Exporter (section 8.5).
func (e *epochSecrets) export(s *suite.Suite, label string, context []byte, n int) []byte {
	var derived suite.Secret
	defer derived.Wipe()
	s.DeriveSecret(&derived, &e.exporter, label)
	out := make([]byte, n)
	s.ExpandWithLabel(out, derived.Bytes(), "exported", s.Hash(nil, context))
	return out
}

// welcomeKey gives key and nonce of the group info in a welcome (section 12.4.3.1).
func welcomeKey(s *suite.Suite, secret *suite.Secret, key *messageKey) {
	s.ExpandWithLabel(key.key[:s.KeySize()], secret.Bytes(), "key", nil)
	s.ExpandWithLabel(key.nonce[:], secret.Bytes(), "nonce", nil)
}

// confirmedHash is the next confirmed transcript hash (section 8.2).
func confirmedHash(s *suite.Suite, interim []byte, commit *authenticated) []byte {
	return s.Hash(nil, interim, commit.confirmedInput(nil))
}

// interimHash is the interim transcript hash after it.
func interimHash(s *suite.Suite, confirmed, confirmationTag []byte) []byte {
	return s.Hash(nil, confirmed, codec.AppendOpaque(nil, confirmationTag))
}
