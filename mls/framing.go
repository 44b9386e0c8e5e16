package mls

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Sender is who sent a message (RFC 9420, section 6).
type Sender struct {
	Type  SenderType
	Leaf  LeafIndex // of members
	Index uint32    // of external senders: in the group's external_senders extension
}

func (s Sender) append(dst []byte) []byte {
	dst = append(dst, byte(s.Type))
	switch s.Type {
	case SenderMember:
		return binary.BigEndian.AppendUint32(dst, uint32(s.Leaf))
	case SenderExternal:
		return binary.BigEndian.AppendUint32(dst, s.Index)
	}
	return dst
}

var (
	errSender  = errors.New("sender type is not known")
	errContent = errors.New("content type is not known")
	errPadding = errors.New("padding is not all zeros")
)

func readSender(r *codec.Reader) Sender {
	s := Sender{Type: SenderType(r.Uint8())}
	switch s.Type {
	case SenderMember:
		s.Leaf = LeafIndex(r.Uint32())
	case SenderExternal:
		s.Index = r.Uint32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.Fail(errSender)
	}
	return s
}

// body is what a message carries: one of the three.
type body struct {
	application []byte
	proposal    Proposal
	commit      *commit
}

func (b *body) append(dst []byte, t ContentType) []byte {
	switch t {
	case ContentProposal:
		return appendProposal(dst, b.proposal)
	case ContentCommit:
		return b.commit.append(dst)
	}
	return codec.AppendOpaque(dst, b.application)
}

func readBody(r *codec.Reader, t ContentType) body {
	switch t {
	case ContentApplication:
		return body{application: r.Opaque()}
	case ContentProposal:
		return body{proposal: readProposal(r)}
	case ContentCommit:
		return body{commit: readCommit(r)}
	}
	r.Fail(errContent)
	return body{}
}

// framedContent is FramedContent (section 6).
type framedContent struct {
	groupID []byte
	epoch   uint64
	sender  Sender
	aad     []byte
	kind    ContentType
	body    body
}

func (f *framedContent) append(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, f.groupID)
	dst = binary.BigEndian.AppendUint64(dst, f.epoch)
	dst = f.sender.append(dst)
	dst = codec.AppendOpaque(dst, f.aad)
	return f.body.append(append(dst, byte(f.kind)), f.kind)
}

func readFramedContent(r *codec.Reader) framedContent {
	f := framedContent{groupID: r.Opaque(), epoch: r.Uint64(), sender: readSender(r), aad: r.Opaque(), kind: ContentType(r.Uint8())}
	f.body = readBody(r, f.kind)
	return f
}

// authenticated is AuthenticatedContent (section 6): a content with what proves its origin.
type authenticated struct {
	wire    WireFormat
	content framedContent
	raw     []byte // of content
	auth    authData
}

// authData is FramedContentAuthData (section 6.1).
type authData struct {
	signature       []byte
	confirmationTag []byte // of commits
}

func (a *authData) append(dst []byte, t ContentType) []byte {
	dst = codec.AppendOpaque(dst, a.signature)
	if t == ContentCommit {
		dst = codec.AppendOpaque(dst, a.confirmationTag)
	}
	return dst
}

func readAuthData(r *codec.Reader, t ContentType) authData {
	a := authData{signature: r.Opaque()}
	if t == ContentCommit {
		a.confirmationTag = r.Opaque()
	}
	return a
}

// append serialises it as it is hashed for references and transcripts.
func (a *authenticated) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.wire))
	dst = append(dst, a.raw...)
	return a.auth.append(dst, a.content.kind)
}

// ref is the reference that commits call a proposal by (section 5.2).
func (a *authenticated) ref(s *suite.Suite) []byte {
	return s.RefHash(nil, suite.ProposalRef, a.append(nil))
}

// tbs appends FramedContentTBS (section 6.1); context is the serialised group context of the epoch.
func (a *authenticated) tbs(dst, context []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(MLS10))
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.wire))
	dst = append(dst, a.raw...)
	switch a.content.sender.Type {
	case SenderMember, SenderNewMemberCommit:
		dst = append(dst, context...)
	}
	return dst
}

const framedContentLabel = "FramedContentTBS"

// newAuthenticated frames and signs a content.
func newAuthenticated(s *suite.Suite, rand io.Reader, key *suite.SigningKey, wire WireFormat, f framedContent, context []byte) (*authenticated, error) {
	a := &authenticated{wire: wire, content: f, raw: f.append(nil)}
	sig, err := s.SignWithLabel(rand, key, framedContentLabel, a.tbs(nil, context))
	if err != nil {
		return nil, err
	}
	a.auth.signature = sig
	return a, nil
}

// checkSignature verifies with the sender's key.
func (a *authenticated) checkSignature(s *suite.Suite, v suite.Verifier, context []byte) error {
	if !s.VerifyWithLabel(v, framedContentLabel, a.tbs(nil, context), a.auth.signature) {
		return refuse(BadSignature, "6.1", "signature of a %v from %v does not verify", a.content.kind, a.content.sender)
	}
	return nil
}

// confirmedInput appends ConfirmedTranscriptHashInput (section 8.2).
func (a *authenticated) confirmedInput(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.wire))
	dst = append(dst, a.raw...)
	return codec.AppendOpaque(dst, a.auth.signature)
}

// publicMessage is PublicMessage (section 6.2).
type publicMessage struct {
	authenticated
	membershipTag []byte // of members
}

func (p *publicMessage) append(dst []byte) []byte {
	dst = p.auth.append(append(dst, p.raw...), p.content.kind)
	if p.content.sender.Type == SenderMember {
		dst = codec.AppendOpaque(dst, p.membershipTag)
	}
	return dst
}

func readPublicMessage(r *codec.Reader) *publicMessage {
	p := &publicMessage{authenticated: authenticated{wire: WirePublicMessage}}
	start := r.Offset()
	p.content = readFramedContent(r)
	p.raw = r.Since(start)
	p.auth = readAuthData(r, p.content.kind)
	if p.content.sender.Type == SenderMember {
		p.membershipTag = r.Opaque()
	}
	return p
}

// tbm appends AuthenticatedContentTBM: what the membership tag covers.
func (p *publicMessage) tbm(dst, context []byte) []byte {
	return p.auth.append(p.tbs(dst, context), p.content.kind)
}

// protectPublic completes a message of ours.
func protectPublic(s *suite.Suite, a *authenticated, membershipKey, context []byte) *publicMessage {
	p := &publicMessage{authenticated: *a}
	if a.content.sender.Type == SenderMember {
		p.membershipTag = s.MAC(nil, membershipKey, p.tbm(nil, context))
	}
	return p
}

// checkMembership verifies the membership tag (section 6.2).
func (p *publicMessage) checkMembership(s *suite.Suite, membershipKey, context []byte) error {
	if p.content.sender.Type == SenderMember && !s.VerifyMAC(membershipKey, p.tbm(nil, context), p.membershipTag) {
		return refuse(BadSignature, "6.2", "membership tag of a %v from %v does not verify", p.content.kind, p.content.sender)
	}
	return nil
}

// privateMessage is PrivateMessage (section 6.3).
type privateMessage struct {
	groupID    []byte
	epoch      uint64
	kind       ContentType
	aad        []byte
	senderData []byte // encrypted
	ciphertext []byte
}

// appendHead appends what stands in front of the encrypted parts: the form that is also PrivateContentAAD.
func (p *privateMessage) appendHead(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, p.groupID)
	dst = binary.BigEndian.AppendUint64(dst, p.epoch)
	return codec.AppendOpaque(append(dst, byte(p.kind)), p.aad)
}

func (p *privateMessage) append(dst []byte) []byte {
	return codec.AppendOpaque(codec.AppendOpaque(p.appendHead(dst), p.senderData), p.ciphertext)
}

// appendSenderAAD appends SenderDataAAD (section 6.3.2).
func (p *privateMessage) appendSenderAAD(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, p.groupID)
	return append(binary.BigEndian.AppendUint64(dst, p.epoch), byte(p.kind))
}

func readPrivateMessage(r *codec.Reader) privateMessage {
	p := privateMessage{groupID: r.Opaque(), epoch: r.Uint64(), kind: ContentType(r.Uint8()), aad: r.Opaque(), senderData: r.Opaque(),
		ciphertext: r.Opaque()}
	if p.kind < ContentApplication || p.kind > ContentCommit {
		r.Fail(errContent)
	}
	return p
}

// readPrivateContent reads PrivateMessageContent (section 6.3.1): body, authentication, and zeros to the end.
func readPrivateContent(r *codec.Reader, t ContentType) (raw []byte, b body, auth authData) {
	start := r.Offset()
	b = readBody(r, t)
	raw = r.Since(start)
	auth = readAuthData(r, t)
	var sum byte
	for _, v := range r.Fixed(r.Len()) {
		sum |= v
	}
	if sum != 0 {
		r.Fail(errPadding)
	}
	return raw, b, auth
}
