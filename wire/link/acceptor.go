package link

import "github.com/seed31b3bfd0/slimgo/wire"

// accept holds the acceptor's checks in the order of P-neg-3 and appends the reply.
func (m *Machine) accept(dst []byte, l *wire.LinkNegotiation) ([]byte, error) {
	hybrid := len(l.KEM) == encapsulationKeySize
	switch {
	case m.c.EnforcePQC && !hybrid:
		return dst, refuse(ReasonKEM, nil)
	case l.Reply:
		return dst, refuse(ReasonDirection, nil)
	case !strictVersion(l.Version):
		return dst, refuse(ReasonVersion, nil)
	case len(l.Key) != x25519Size && m.mustSign():
		return dst, refuse(ReasonNoKey, nil)
	case l.LinkID == "":
		return dst, refuse(ReasonLinkID, nil)
	}
	answer := wire.LinkNegotiation{Reply: true, LinkID: l.LinkID, Kind: l.Kind, Version: m.c.Version, NodeID: m.c.NodeID,
		Deployment: m.c.Deployment}
	if len(l.Key) == x25519Size {
		if err := m.answerKey(&answer, l, hybrid); err != nil {
			return dst, err
		}
	}
	return wire.AppendLink(dst, &answer), nil
}

// mustSign tells whether a link without MAC key fails. Upstream lets an acceptor that enforces PQC but is not strict
// accept a request without any X25519 key; here it never does. Rules: P-neg-6.
func (m *Machine) mustSign() bool { return m.c.Strict || m.c.EnforcePQC }

// answerKey derives the MAC key with the dialer's public keys and puts the own ones into answer. Keys of the dialer
// that yield no secret are forgiven where the link may go unsigned.
func (m *Machine) answerKey(answer, l *wire.LinkNegotiation, hybrid bool) error {
	defer m.secrets.wipe()
	if err := m.secrets.make(m.c.Rand, false); err != nil {
		return err
	}
	var shared, ciphertext []byte
	var err error
	if hybrid {
		shared, ciphertext, err = encapsulate(m.c.Rand, l.KEM)
		defer clear(shared)
	}
	var key Key
	if err == nil {
		key, err = m.secrets.agree(l.Key, shared, l.LinkID)
	}
	if err != nil {
		if isPeerError(err) && !m.mustSign() {
			return nil
		}
		return err
	}
	m.res.Key, m.res.Hybrid = key, hybrid
	answer.Key, answer.KEM = m.secrets.public(), ciphertext
	return nil
}
