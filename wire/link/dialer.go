package link

import "github.com/seed31b3bfd0/slimgo/wire"

// request makes the dialer's keys and appends its request. A dialer always offers an X25519 key, and an ML-KEM-768 key
// if it enforces PQC.
func (m *Machine) request(dst []byte) ([]byte, error) {
	if err := m.secrets.make(m.c.Rand, m.c.EnforcePQC); err != nil {
		return dst, err
	}
	return wire.AppendLink(dst, &wire.LinkNegotiation{LinkID: m.c.LinkID, Kind: m.c.Kind, Version: m.c.Version,
		NodeID: m.c.NodeID, Deployment: m.c.Deployment, Key: m.secrets.public(), KEM: m.secrets.encapsulationKey()}), nil
}

// reply holds the dialer's checks in the order of P-neg-5. The link may go without MAC only if the
// acceptor sent no key at all; a key that yields no secret, or is none, fails.
func (m *Machine) reply(l *wire.LinkNegotiation) error {
	switch {
	case m.c.EnforcePQC && len(l.KEM) != ciphertextSize:
		return refuse(ReasonKEM, nil)
	case !l.Reply:
		return refuse(ReasonDirection, nil)
	case !strictVersion(l.Version):
		return refuse(ReasonVersion, nil)
	case len(l.Key) != x25519Size && (m.mustSign() || len(l.Key) > 0):
		return refuse(ReasonNoKey, nil)
	case l.LinkID != m.c.LinkID:
		return refuse(ReasonLinkID, nil)
	case len(l.Key) == 0:
		return nil
	}
	var shared []byte
	if m.c.EnforcePQC {
		shared = m.secrets.decapsulate(l.KEM)
		defer clear(shared)
	}
	key, err := m.secrets.agree(l.Key, shared, l.LinkID)
	if err != nil {
		return err
	}
	m.res.Key, m.res.Hybrid = key, m.c.EnforcePQC
	return nil
}
