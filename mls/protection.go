package mls

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// epochKeys is what an epoch's messages are protected with. It outlives the epoch for as long as late messages are
// accepted.
type epochKeys struct {
	epoch      uint64
	context    []byte // serialised group context
	tree       *tree  // for the keys of senders
	senderData suite.Secret
	secrets    *secretTree
}

func (e *epochKeys) wipe() {
	e.senderData.Wipe()
	e.secrets.wipe()
}

// scratch is room for one message while it is made or read: for texts that are signed or sealed, for what they are sealed with, and for what
// is read of it. What interfaces are given would otherwise be of the heap each time.
type scratch struct {
	a, b      []byte
	signature []byte // of our own
	key       messageKey
	guard     [4]byte
	reader    codec.Reader
	message   Message
}

var spareScratch = sync.Pool{New: func() any { return new(scratch) }}

const maxSpareScratch = 64 << 10

// done wipes plaintexts and keys, lets go of what was read, and gives the room back.
func (s *scratch) done() {
	clear(s.a[:cap(s.a)])
	clear(s.b[:cap(s.b)])
	s.key.wipe()
	s.reader, s.message = codec.Reader{}, Message{}
	if cap(s.a)+cap(s.b) <= maxSpareScratch {
		spareScratch.Put(s)
	}
}

// tbs is FramedContentTBS of application data, in s.a: of f, whose body is serialised, in an epoch of this context.
// There is room for all of it before the text is copied: memory that is outgrown would keep it.
func (s *scratch) tbs(f *framedContent, body, context []byte) []byte {
	s.a = slices.Grow(s.a[:0], 64+len(f.groupID)+len(f.aad)+len(body)+len(context))
	s.a = append(f.appendFramed(appendTBSHead(s.a, WirePrivateMessage), body), context...)
	return s.a
}

// protect appends a PrivateMessage of the member at from, whose key it uses up: with the head of p, the serialised
// body, and auth; all of it in an MLSMessage. Of more than most bytes nothing is made.
func (e *epochKeys) protect(s *suite.Suite, rand io.Reader, dst []byte, p *privateMessage, from LeafIndex, body []byte, auth *authData, pad Padding, most int) ([]byte, error) {
	content := len(body) + codec.VarintLen(len(auth.signature)) + len(auth.signature)
	if p.kind == ContentCommit {
		content += codec.VarintLen(len(auth.confirmationTag)) + len(auth.confirmationTag)
	}
	padded := max(content, min(pad.length(content), most)) // not so far as to overflow
	sealedData := senderDataSize + s.TagSize()
	head := codec.VarintLen(len(p.groupID)) + len(p.groupID) + 8 + 1 + codec.VarintLen(len(p.aad)) + len(p.aad)
	after := codec.VarintLen(sealedData) + sealedData + codec.VarintLen(padded+s.TagSize()) + padded + s.TagSize()
	if err := checkMade(messageHeadSize+head+after, most); err != nil {
		return dst, err
	}

	r, err := e.secrets.ratchet(from, p.kind)
	if err != nil {
		return dst, err
	}
	data := senderData{leaf: from, generation: r.next}
	room := spareScratch.Get().(*scratch)
	defer room.done()
	key := &room.key
	if _, err := r.key(s, data.generation, 0, key); err != nil {
		return dst, err
	}
	if _, err := io.ReadFull(rand, room.guard[:]); err != nil {
		return dst, fmt.Errorf("mls: randomness: %w", err)
	}
	data.guard = room.guard
	key.guard(data.guard)

	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		return dst, err
	}
	room.a = p.appendHead(room.a[:0]) // PrivateContentAAD
	// All of it at once: memory that is outgrown when the text is there would keep it.
	dst = appendMessageHead(slices.Grow(dst, messageHeadSize+head+after), WirePrivateMessage)
	dst = append(dst, room.a...)
	dst = codec.AppendVarint(dst, sealedData)
	dataAt := len(dst)
	dst = append(dst, make([]byte, sealedData)...)
	dst = codec.AppendVarint(dst, padded+s.TagSize())
	textAt := len(dst)
	dst = append(dst, body...)
	dst = auth.append(dst, p.kind)
	dst = append(dst, make([]byte, textAt+padded-len(dst))...)
	dst = aead.Seal(dst[:textAt], key.nonce[:], dst[textAt:], room.a)
	r.spend(s, data.generation, 0, nil)

	senderDataKey(s, &e.senderData, dst[textAt:], key)
	if aead, err = s.AEAD(key.key[:s.KeySize()]); err != nil {
		return dst, err
	}
	room.a = p.appendSenderAAD(room.a[:0])
	room.b = data.append(room.b[:0])
	aead.Seal(dst[:dataAt], key.nonce[:], room.b, room.a)
	return dst, nil
}

// openSenderData finds out who sent p.
func (e *epochKeys) openSenderData(s *suite.Suite, p *privateMessage, room *scratch) (senderData, error) {
	key := &room.key
	senderDataKey(s, &e.senderData, p.ciphertext, key)
	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		return senderData{}, err
	}
	room.a = p.appendSenderAAD(room.a[:0])
	text, err := aead.Open(room.b[:0], key.nonce[:], p.senderData, room.a)
	if err != nil {
		return senderData{}, refuse(BadSignature, "6.3.2", "sender data of a message of epoch %d does not open", p.epoch)
	}
	room.b = text
	d, ok := parseSenderData(text)
	if !ok {
		return d, refuse(Malformed, "6.3.2", "sender data of %d bytes, want %d", len(text), senderDataSize)
	}
	return d, nil
}

// privateContent is a private message that was decrypted. Its signature has not been verified: nothing may be done
// with it before.
type privateContent struct {
	from     LeafIndex
	leaf     *LeafNode // of the sender
	verifier suite.Verifier
	text     []byte // PrivateMessageContent, which the rest points into: our own
	aad      []byte // a copy, in the same memory
	raw      []byte // the serialised body
	body     body
	auth     authData
}

// unprotect decrypts p into o, and notes in c which key that took. It changes nothing that matters: whoever can seal in
// the name of another, as every member can, must not take that one's keys away. own is the leaf of this member, whose
// messages it cannot read; underWay are messages that hold keys already.
func (e *epochKeys) unprotect(s *suite.Suite, p *privateMessage, own LeafIndex, window uint32, underWay []*Verified, o *privateContent, c *claim) error {
	room := spareScratch.Get().(*scratch)
	defer room.done()
	d, err := e.openSenderData(s, p, room)
	if err != nil {
		return err
	}
	o.from, o.leaf = d.leaf, e.tree.leaf(d.leaf)
	switch {
	case o.leaf == nil:
		return refuse(Invalid, "6.3.2", "message of epoch %d from leaf %d, which was blank", p.epoch, d.leaf)
	case d.leaf == own:
		return refuse(Own, "6.3.1", "message is our own: its key was used to send it")
	}
	r, err := e.secrets.ratchet(d.leaf, p.kind)
	if err != nil {
		return err
	}
	c.ratchet, c.generation = r, d.generation
	base := c.base(underWay)
	key := &room.key
	ahead, err := base.key(s, d.generation, window, key)
	if err != nil {
		return within(err, "message from member %d", d.leaf)
	}
	key.guard(d.guard)
	if err := o.decrypt(s, p, d, room); err != nil {
		ahead.wipe()
		clear(o.text)
		return err
	}
	c.hold(s, base, ahead)
	return nil
}

// decrypt decrypts p with its key, which is in room, and decodes it.
func (o *privateContent) decrypt(s *suite.Suite, p *privateMessage, d senderData, room *scratch) error {
	aead, err := s.AEAD(room.key.key[:s.KeySize()])
	if err != nil {
		return err
	}
	room.a = p.appendHead(room.a[:0])
	text := make([]byte, 0, len(p.ciphertext)+len(p.aad))
	if o.text, err = aead.Open(text, room.key.nonce[:], p.ciphertext, room.a); err != nil {
		return refuse(BadSignature, "6.3.1", "message from member %d, generation %d, does not open", d.leaf, d.generation)
	}
	o.aad = slices.Clip(append(o.text, p.aad...)[len(o.text):])
	o.text = slices.Clip(o.text)
	r := &room.reader
	r.Reset(o.text)
	o.raw, o.body, o.auth = readPrivateContent(r, p.kind)
	if err := r.Finish(); err != nil {
		return malformed(err, "content of a private message")
	}
	o.verifier, err = o.leaf.verifier(s)
	return err
}

// authenticated is the content of a handshake message in the form in which it is verified and hashed.
func (o *privateContent) authenticated(p *privateMessage) *authenticated {
	a := &authenticated{wire: WirePrivateMessage, auth: o.auth, content: framedContent{groupID: p.groupID, epoch: p.epoch,
		sender: Sender{Type: SenderMember, Leaf: o.from}, aad: p.aad, kind: p.kind, body: o.body}}
	a.raw = a.content.appendFramed(nil, o.raw)
	return a
}

// appendTBSHead appends what stands in front of the content in FramedContentTBS.
func appendTBSHead(dst []byte, w WireFormat) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(MLS10))
	return binary.BigEndian.AppendUint16(dst, uint16(w))
}

// appendFramed appends the FramedContent with a body that is serialised already.
func (f *framedContent) appendFramed(dst, body []byte) []byte {
	dst = codec.AppendOpaque(dst, f.groupID)
	dst = binary.BigEndian.AppendUint64(dst, f.epoch)
	dst = f.sender.append(dst)
	dst = codec.AppendOpaque(dst, f.aad)
	return append(append(dst, byte(f.kind)), body...)
}
