package mls

import (
	"encoding/binary"
	"errors"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// Proposal is a change to a group (RFC 9420, section 12.1): one of the types below, by pointer.
type Proposal interface {
	// Type is its registered number.
	Type() ProposalType
	appendBody(dst []byte) []byte
}

// Add brings the client of a key package into the group. One who is there already, and rejoins, is added by a commit
// that removes its old leaf as well.
type Add struct{ KeyPackage *KeyPackage }

// Update replaces the leaf of the member who sends it.
type Update struct{ Leaf *LeafNode }

// Remove takes a member out.
type Remove struct{ Leaf LeafIndex }

// PreSharedKey mixes a pre-shared key into the next epoch.
type PreSharedKey struct{ ID PSKID }

// ReInit ends the group in favour of one with other parameters.
type ReInit struct {
	GroupID     []byte
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  Extensions
}

// ExternalInit stands in commits of joiners who were not added.
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions replaces the group's extensions, all of them.
type GroupContextExtensions struct{ Extensions Extensions }

// UnknownProposal is of a type that this package knows nothing of. It cannot be framed by others than those who know
// its shape: it is taken for a vector.
type UnknownProposal struct {
	ProposalType ProposalType
	Data         []byte
}

// Type is add.
func (*Add) Type() ProposalType { return ProposalAdd }

// Type is update.
func (*Update) Type() ProposalType { return ProposalUpdate }

// Type is remove.
func (*Remove) Type() ProposalType { return ProposalRemove }

// Type is psk.
func (*PreSharedKey) Type() ProposalType { return ProposalPSK }

// Type is reinit.
func (*ReInit) Type() ProposalType { return ProposalReInit }

// Type is external_init.
func (*ExternalInit) Type() ProposalType { return ProposalExternalInit }

// Type is group_context_extensions.
func (*GroupContextExtensions) Type() ProposalType { return ProposalGroupContextExtensions }

// Type is whatever it is.
func (p *UnknownProposal) Type() ProposalType { return p.ProposalType }

func (p *Add) appendBody(dst []byte) []byte    { return p.KeyPackage.append(dst) }
func (p *Update) appendBody(dst []byte) []byte { return p.Leaf.append(dst) }
func (p *Remove) appendBody(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(p.Leaf))
}
func (p *PreSharedKey) appendBody(dst []byte) []byte { return p.ID.append(dst) }

func (p *ReInit) appendBody(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, p.GroupID)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Version))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.CipherSuite))
	return p.Extensions.append(dst)
}

func (p *ExternalInit) appendBody(dst []byte) []byte { return codec.AppendOpaque(dst, p.KEMOutput) }

func (p *GroupContextExtensions) appendBody(dst []byte) []byte { return p.Extensions.append(dst) }

func (p *UnknownProposal) appendBody(dst []byte) []byte { return codec.AppendOpaque(dst, p.Data) }

func appendProposal(dst []byte, p Proposal) []byte {
	return p.appendBody(binary.BigEndian.AppendUint16(dst, uint16(p.Type())))
}

func readProposal(r *codec.Reader) Proposal {
	switch t := ProposalType(r.Uint16()); t {
	case ProposalAdd:
		return &Add{readKeyPackage(r)}
	case ProposalUpdate:
		return &Update{readLeafNode(r)}
	case ProposalRemove:
		return &Remove{LeafIndex(r.Uint32())}
	case ProposalPSK:
		return &PreSharedKey{readPSKID(r)}
	case ProposalReInit:
		return &ReInit{r.Opaque(), ProtocolVersion(r.Uint16()), CipherSuite(r.Uint16()), readExtensions(r)}
	case ProposalExternalInit:
		return &ExternalInit{r.Opaque()}
	case ProposalGroupContextExtensions:
		return &GroupContextExtensions{readExtensions(r)}
	default:
		return &UnknownProposal{t, r.Opaque()}
	}
}

// proposalOrRef is an entry of a commit (section 12.4).
type proposalOrRef struct {
	proposal Proposal // nil: by reference
	ref      []byte
}

func (p proposalOrRef) append(dst []byte) []byte {
	if p.proposal != nil {
		return appendProposal(append(dst, 1), p.proposal)
	}
	return codec.AppendOpaque(append(dst, 2), p.ref)
}

var errProposalOrRef = errors.New("entry of a commit is neither a proposal nor a reference")

func readProposalOrRef(r *codec.Reader) proposalOrRef {
	switch r.Uint8() {
	case 1:
		return proposalOrRef{proposal: readProposal(r)}
	case 2:
		return proposalOrRef{ref: r.Opaque()}
	}
	r.Fail(errProposalOrRef)
	return proposalOrRef{}
}

// commit is the body of a commit (section 12.4).
type commit struct {
	proposals []proposalOrRef
	path      *updatePath // nil: none
}

func (c *commit) append(dst []byte) []byte {
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, p := range c.proposals {
			dst = p.append(dst)
		}
		return dst
	})
	dst = codec.AppendOptional(dst, c.path != nil)
	if c.path != nil {
		dst = c.path.append(dst)
	}
	return dst
}

func readCommit(r *codec.Reader) *commit {
	c := new(commit)
	r.Vector(maxProposals, func(r *codec.Reader) { c.proposals = append(c.proposals, readProposalOrRef(r)) })
	if r.Optional() {
		c.path = readUpdatePath(r)
	}
	return c
}

// updatePath is new keys for a leaf and the nodes above it (section 7.6).
type updatePath struct {
	leaf  *LeafNode
	nodes []updatePathNode // of the filtered direct path, from the bottom
}

type updatePathNode struct {
	encryptionKey []byte
	secrets       []hpkeCiphertext // for each node of the copath's resolution
}

type hpkeCiphertext struct{ kemOutput, ciphertext []byte }

func (c hpkeCiphertext) append(dst []byte) []byte {
	return codec.AppendOpaque(codec.AppendOpaque(dst, c.kemOutput), c.ciphertext)
}

func readHPKECiphertext(r *codec.Reader) hpkeCiphertext {
	return hpkeCiphertext{r.Opaque(), r.Opaque()}
}

func (u *updatePath) append(dst []byte) []byte {
	dst = u.leaf.append(dst)
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, n := range u.nodes {
			dst = codec.AppendOpaque(dst, n.encryptionKey)
			dst = codec.AppendVector(dst, func(dst []byte) []byte {
				for _, c := range n.secrets {
					dst = c.append(dst)
				}
				return dst
			})
		}
		return dst
	})
}

func readUpdatePath(r *codec.Reader) *updatePath {
	u := &updatePath{leaf: readLeafNode(r)}
	left := maxRecipients // of all nodes: a member is below the copath of one of them only
	r.Vector(treemath.MaxDepth, func(r *codec.Reader) {
		n := updatePathNode{encryptionKey: r.Opaque()}
		r.Vector(left, func(r *codec.Reader) { n.secrets = append(n.secrets, readHPKECiphertext(r)) })
		left -= len(n.secrets)
		u.nodes = append(u.nodes, n)
	})
	return u
}
