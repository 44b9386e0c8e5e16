package mls

// What the caller of a function gives is measured before it is copied or encoded: no message holds more than
// Limits.Message, and no vector a gibibyte (RFC 9420, section 2.1.2). The measure is never more than what is encoded,
// so that nothing is refused which a message could hold.

// given is what one call may be given yet.
type given struct {
	left, most int
	err        error
}

func (l Limits) given() *given { return &given{left: l.Message, most: l.Message} }

// add counts n bytes of what. The first that is too long makes the error.
func (g *given) add(what string, n int) *given {
	if g.err == nil && n > g.left {
		g.err = refuse(Limit, "", "%s of %d bytes: what a call is given has at most %d together (Limits.Message)", what,
			n, g.most)
	}
	g.left -= n
	return g
}

// The methods called length are how many bytes of the caller's stand in what is encoded of a value.

func (c *Credential) length() int {
	switch c.Type {
	case CredentialBasic:
		return len(c.Identity)
	case CredentialX509:
		n := 0
		for _, b := range c.Certificates {
			n += len(b)
		}
		return n
	}
	return len(c.Data)
}

func (c *Capabilities) length() int {
	return 2 * (len(c.Versions) + len(c.CipherSuites) + len(c.Extensions) + len(c.Proposals) + len(c.Credentials))
}

func (e Extensions) length() int {
	n := 0
	for _, x := range e {
		n += len(x.Data)
	}
	return n
}

func (l *LeafNode) length() int {
	if l.raw != nil {
		return len(l.raw)
	}
	n := len(l.EncryptionKey) + len(l.SignatureKey) + l.Credential.length() + l.Capabilities.length() +
		l.Extensions.length() + len(l.Signature)
	if l.Source == SourceCommit {
		n += len(l.ParentHash)
	}
	return n
}

func (k *KeyPackage) length() int {
	if k.raw != nil {
		return len(k.raw)
	}
	return len(k.InitKey) + k.Leaf.length() + k.Extensions.length() + len(k.Signature)
}

func (p *PSKID) length() int {
	if p.Type == PSKResumption {
		return len(p.GroupID) + len(p.Nonce)
	}
	return len(p.ID) + len(p.Nonce)
}

// lengthOf is that of a proposal, 0 of one that is not whole.
func lengthOf(p Proposal) int {
	if !whole(p) {
		return 0
	}
	switch p := p.(type) {
	case *Add:
		return p.KeyPackage.length()
	case *Update:
		return p.Leaf.length()
	case *PreSharedKey:
		return p.ID.length()
	case *ReInit:
		return len(p.GroupID) + p.Extensions.length()
	case *ExternalInit:
		return len(p.KEMOutput)
	case *GroupContextExtensions:
		return p.Extensions.length()
	case *UnknownProposal:
		return len(p.Data)
	}
	return 0
}
