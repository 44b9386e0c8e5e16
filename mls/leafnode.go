package mls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Capabilities is what a client supports besides what all clients do (RFC 9420, section 7.2).
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType // without the types of the RFC
	Proposals    []ProposalType  // without the types of the RFC
	Credentials  []CredentialType
}

func (c *Capabilities) append(dst []byte) []byte {
	dst = appendList(dst, c.Versions)
	dst = appendList(dst, c.CipherSuites)
	dst = appendList(dst, c.Extensions)
	dst = appendList(dst, c.Proposals)
	return appendList(dst, c.Credentials)
}

// check refuses lists that others could not read.
func (c *Capabilities) check() error {
	n := max(len(c.Versions), len(c.CipherSuites), len(c.Extensions), len(c.Proposals), len(c.Credentials))
	if n > maxNumbers {
		return refuse(Limit, "7.2", "%d entries in a list of capabilities, at most %d are read", n, maxNumbers)
	}
	return nil
}

func readCapabilities(r *codec.Reader) Capabilities {
	return Capabilities{readList[ProtocolVersion](r), readList[CipherSuite](r), readList[ExtensionType](r),
		readList[ProposalType](r), readList[CredentialType](r)}
}

func (c *Capabilities) hasProposal(t ProposalType) bool {
	return t.isDefault() || slices.Contains(c.Proposals, t)
}

// missing is the first of want that have does not list. Both lists may be long: a member can list all numbers there
// are, require them and add others who list them too, so that comparing each with each would keep the rest for minutes.
func missing[T ~uint16](want, have []T) (T, bool) {
	if uint64(len(want))*uint64(len(have)) <= 1<<10 { // an int of 32 bits does not hold the product
		for _, v := range want {
			if !slices.Contains(have, v) {
				return v, true
			}
		}
		return 0, false
	}
	var set [1 << 16 / 64]uint64
	for _, v := range have {
		set[v/64] |= 1 << (v % 64)
	}
	for _, v := range want {
		if set[v/64]>>(v%64)&1 == 0 {
			return v, true
		}
	}
	return 0, false
}

// types are those of a list, without those that all clients have if they are not asked for.
func (e Extensions) types(defaults bool) []ExtensionType {
	list := make([]ExtensionType, 0, 8)
	for _, x := range e {
		if defaults || !x.Type.isDefault() {
			list = append(list, x.Type)
		}
	}
	return list
}

// LeafNodeSource says what a leaf node was made for (section 7.2).
type LeafNodeSource uint8

// The sources.
const (
	SourceKeyPackage LeafNodeSource = 1
	SourceUpdate     LeafNodeSource = 2
	SourceCommit     LeafNodeSource = 3
)

// String is the name of the RFC.
func (s LeafNodeSource) String() string {
	return name(uint16(s), "leaf node source", "", "key_package", "update", "commit")
}

// Lifetime is when a key package may be used: seconds since 1970, both ends included.
type Lifetime struct{ NotBefore, NotAfter uint64 }

// Contains reports whether t lies in it.
func (l Lifetime) Contains(t time.Time) bool {
	s := t.Unix()
	return s >= 0 && uint64(s) >= l.NotBefore && uint64(s) <= l.NotAfter
}

// LeafNode is a member as the tree shows it (section 7.2). Those that are in a tree, or were decoded or signed, are not
// to be changed.
type LeafNode struct {
	EncryptionKey []byte // HPKE
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // of source key_package
	ParentHash    []byte   // of source commit
	Extensions    Extensions
	Signature     []byte

	raw      []byte // serialised; nil until it is signed or decoded
	unsigned int    // length of raw without the signature
	parsed   suite.Verifier
	client   string // see Client
}

// errSource is what a source that is not known decodes to: what follows cannot be read.
var errSource = errors.New("leaf node source is not known")

// appendUnsigned appends all but the signature.
func (l *LeafNode) appendUnsigned(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, l.EncryptionKey)
	dst = codec.AppendOpaque(dst, l.SignatureKey)
	dst = l.Credential.append(dst)
	dst = l.Capabilities.append(dst)
	dst = append(dst, byte(l.Source))
	switch l.Source {
	case SourceKeyPackage:
		dst = binary.BigEndian.AppendUint64(dst, l.Lifetime.NotBefore)
		dst = binary.BigEndian.AppendUint64(dst, l.Lifetime.NotAfter)
	case SourceCommit:
		dst = codec.AppendOpaque(dst, l.ParentHash)
	}
	return l.Extensions.append(dst)
}

func (l *LeafNode) append(dst []byte) []byte {
	if l.raw != nil {
		return append(dst, l.raw...)
	}
	return codec.AppendOpaque(l.appendUnsigned(dst), l.Signature)
}

func readLeafNode(r *codec.Reader) *LeafNode {
	start := r.Offset()
	l := &LeafNode{EncryptionKey: r.Opaque(), SignatureKey: r.Opaque(), Credential: readCredential(r), Capabilities: readCapabilities(r),
		Source: LeafNodeSource(r.Uint8())}
	switch l.Source {
	case SourceKeyPackage:
		l.Lifetime = Lifetime{r.Uint64(), r.Uint64()}
	case SourceUpdate:
	case SourceCommit:
		l.ParentHash = r.Opaque()
	default:
		r.Fail(errSource)
	}
	l.Extensions = readExtensions(r)
	l.unsigned = r.Offset() - start
	l.Signature = r.Opaque()
	l.raw = r.Since(start)
	return l
}

// Equal reports whether both serialise alike.
func (l *LeafNode) Equal(o *LeafNode) bool { return bytes.Equal(l.append(nil), o.append(nil)) }

const leafNodeLabel = "LeafNodeTBS"

// tbs appends LeafNodeTBS. group and index matter for sources update and commit only.
func (l *LeafNode) tbs(dst []byte, group []byte, index LeafIndex) []byte {
	if l.raw != nil {
		dst = append(dst, l.raw[:l.unsigned]...)
	} else {
		dst = l.appendUnsigned(dst)
	}
	if l.Source != SourceKeyPackage {
		dst = codec.AppendOpaque(dst, group)
		dst = binary.BigEndian.AppendUint32(dst, uint32(index))
	}
	return dst
}

// sign completes the leaf node.
func (l *LeafNode) sign(s *suite.Suite, rand io.Reader, key *suite.SigningKey, group []byte, index LeafIndex) error {
	if err := checkCertificate(s.ID(), l.Credential, l.SignatureKey); err != nil {
		return err
	}
	l.raw = nil
	unsigned := l.appendUnsigned(nil)
	sig, err := s.SignWithLabel(rand, key, leafNodeLabel, l.tbs(nil, group, index))
	if err != nil {
		return err
	}
	l.Signature, l.raw, l.unsigned = sig, codec.AppendOpaque(unsigned, sig), len(unsigned)
	return nil
}

// verifier is the signature key, parsed. Leaf nodes that several goroutines see have it parsed before.
func (l *LeafNode) verifier(s *suite.Suite) (suite.Verifier, error) {
	if l.parsed == nil {
		v, err := s.Verifier(l.SignatureKey)
		if err != nil {
			return nil, refuseFor(Invalid, "7.3", err, "signature_key of a leaf node")
		}
		l.parsed = v
	}
	return l.parsed, nil
}

// verify checks the signature (section 7.3).
func (l *LeafNode) verify(s *suite.Suite, group []byte, index LeafIndex) error {
	v, err := l.verifier(s)
	if err != nil {
		return err
	}
	var room [1024]byte
	if !s.VerifyWithLabel(v, leafNodeLabel, l.tbs(room[:0], group, index), l.Signature) {
		return refuse(BadSignature, "7.3", "signature of a leaf node does not verify")
	}
	return nil
}
