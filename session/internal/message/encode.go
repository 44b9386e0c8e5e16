package message

import (
	"encoding/binary"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Field numbers of the protocol buffer definition.
const (
	numPublish  = 3 // Message
	numMetadata = 4

	numHeader  = 1 // Publish
	numSession = 2
	numContent = 3

	numSource    = 1 // SLIMHeader
	numDest      = 2
	numIdentity  = 3
	numFanout    = 4
	numVersion   = 5
	numTTL       = 6
	numError     = 10
	numSignature = 12

	numKind      = 1 // SessionHeader
	numType      = 2
	numSessionID = 3
	numMessageID = 4

	numApp     = 1 // Content
	numCommand = 2

	numPayloadType = 1 // ApplicationPayload
	numBlob        = 2

	// The field of a command in CommandPayload is the number of its type less this.
	commandOffset = 4
)

// Append appends the encoded message. m must be whole: a control message has the command of its type, a data message has
// none. Content is not looked at.
func (m *Message) Append(dst []byte) []byte { return m.appendWith(dst, nil) }

// appendWith is Append with the content of the header, if it is there already.
func (m *Message) appendWith(dst, header []byte) []byte {
	head := len(header)
	if header == nil {
		head = m.headerSize()
	}
	session := m.sessionSize()
	size := chunkSize(numHeader, head) + chunkSize(numSession, session)
	var command []byte
	var content int
	if m.Type.Control() {
		command = m.Command.appendTo(nil)
		content = chunkSize(numCommand, chunkSize(protowire.Number(m.Type-commandOffset), len(command)))
	} else {
		content = chunkSize(numApp, m.payloadSize())
	}
	size += chunkSize(numContent, content)
	dst = slices.Grow(dst, chunkSize(numPublish, size))
	dst = appendLen(dst, numPublish, size)
	dst = appendLen(dst, numHeader, head)
	if header == nil {
		dst = m.appendHeader(dst)
	} else {
		dst = append(dst, header...)
	}
	dst = m.appendSession(appendLen(dst, numSession, session))
	dst = appendLen(dst, numContent, content)
	if m.Type.Control() {
		dst = m.appendCommand(dst, command)
	} else {
		dst = m.appendData(dst)
	}
	return appendMetadata(dst, m.Metadata)
}

func (m *Message) appendHeader(dst []byte) []byte {
	dst = appendName(dst, numSource, &m.Source)
	dst = appendName(dst, numDest, &m.Dest)
	dst = appendText(dst, numIdentity, m.Identity)
	dst = appendUint(dst, numFanout, uint64(m.Fanout))
	dst = appendText(dst, numVersion, m.Version)
	dst = appendUint(dst, numTTL, uint64(m.TTL))
	if m.Failed {
		dst = appendUint(dst, numError, 1)
	}
	if m.Signature != nil {
		dst = appendChunk(dst, numSignature, m.Signature)
	}
	return dst
}

// headerSize is how much appendHeader appends, and sessionSize how much appendSession does.
func (m *Message) headerSize() int {
	n := chunkSize(numSource, wire.NameSize(&m.Source)) + chunkSize(numDest, wire.NameSize(&m.Dest)) +
		textSize(numIdentity, len(m.Identity)) + uintSize(numFanout, uint64(m.Fanout)) +
		textSize(numVersion, len(m.Version)) + uintSize(numTTL, uint64(m.TTL))
	if m.Failed {
		n += uintSize(numError, 1)
	}
	if m.Signature != nil {
		n += chunkSize(numSignature, len(m.Signature))
	}
	return n
}

func (m *Message) sessionSize() int {
	return uintSize(numKind, uint64(m.Kind)) + uintSize(numType, uint64(m.Type)) +
		uintSize(numSessionID, uint64(m.Session)) + uintSize(numMessageID, uint64(m.ID))
}

func (m *Message) appendSession(dst []byte) []byte {
	dst = appendUint(dst, numKind, uint64(m.Kind))
	dst = appendUint(dst, numType, uint64(m.Type))
	dst = appendUint(dst, numSessionID, uint64(m.Session))
	return appendUint(dst, numMessageID, uint64(m.ID))
}

// appendContent appends the Content message.
func (m *Message) appendContent(dst []byte) []byte {
	if !m.Type.Control() {
		return m.appendData(dst)
	}
	return m.appendCommand(dst, m.Command.appendTo(nil))
}

// appendCommand is appendContent for control, of what the command's appendTo gives.
func (m *Message) appendCommand(dst, command []byte) []byte {
	num := protowire.Number(m.Type - commandOffset)
	return appendChunk(appendLen(dst, numCommand, chunkSize(num, len(command))), num, command)
}

// appendData is appendContent for data.
func (m *Message) appendData(dst []byte) []byte {
	dst = appendLen(dst, numApp, m.payloadSize())
	dst = appendText(dst, numPayloadType, m.PayloadType)
	return appendText(dst, numBlob, m.Blob)
}

func (m *Message) payloadSize() int {
	return textSize(numPayloadType, len(m.PayloadType)) + textSize(numBlob, len(m.Blob))
}

// AppendAAD appends the encoded HeaderIntegrityAad: what the header signature of a control message signs, and what MLS
// authenticates of a data message. It covers the names, identity, session, type, id and payload type.
func (m *Message) AppendAAD(dst []byte) []byte {
	dst = appendUint(dst, 1, 1)
	dst = appendName(dst, 2, &m.Source)
	dst = appendName(dst, 3, &m.Dest)
	dst = appendText(dst, 4, m.Identity)
	dst = appendUint(dst, 5, uint64(m.Kind))
	dst = appendUint(dst, 6, uint64(m.Type))
	dst = appendUint(dst, 7, uint64(m.Session))
	dst = appendUint(dst, 8, uint64(m.ID))
	return appendText(dst, 9, m.PayloadType)
}

// Metadata keys with a meaning of their own.
const (
	KeyPayloadSignature = "slim-payload-sig"  // on control messages: a signature of what AppendSigned gives, in standard base64
	KeyPeerSubject      = "slim-peer-subject" // set by a receiver for its app; what comes with it is an attempt to deceive
	KeyPublishTo        = "PUBLISH_TO"        // data for one member of a group, out of order
	KeyLeaving          = "LEAVING_SESSION"   // a LeaveRequest is a participant's own
	KeySince            = "slimgo-since"      // an acknowledgement is also one of all messages from this id on; peers do not know it
)

// unsigned are the metadata keys that a payload signature leaves out: nodes rewrite the first three.
var unsigned = []string{"traceparent", "tracestate", "baggage", KeyPayloadSignature, KeyPeerSubject}

// AppendSigned appends what the payload signature of a control message signs: what AppendAAD gives, the content, and the
// metadata in the order of their keys.
func (m *Message) AppendSigned(dst []byte) []byte {
	dst = append(dst, "slim-payload-v1"...)
	dst = appendPart(dst, m.AppendAAD(nil))
	content := m.Content
	if content == nil {
		content = m.appendContent(nil)
	}
	dst = appendPart(dst, content)
	for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
		if !slices.Contains(unsigned, k) {
			dst = appendPart(appendPart(dst, k), m.Metadata[k])
		}
	}
	return dst
}

// appendPart appends the length of p in eight bytes and p.
func appendPart[T string | []byte](dst []byte, p T) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(len(p))), p...)
}

func (*Empty) appendTo(dst []byte) []byte { return dst }

func (j *Join) appendTo(dst []byte) []byte {
	if j.Timers != nil {
		dst = appendChunk(dst, 1, appendUint(appendUint(nil, 1, uint64(j.Timers.Timeout)), 2, uint64(j.Timers.Retries)))
	}
	if j.Channel != nil {
		dst = appendName(dst, 2, j.Channel)
	}
	if j.Control != nil {
		dst = appendName(dst, 3, j.Control)
	}
	if j.MLS != nil {
		dst = appendChunk(dst, 4, appendUint(nil, 1, uint64(j.MLS.Percent)))
	}
	return dst
}

func (j *Joined) appendTo(dst []byte) []byte {
	if j.KeyPackage != nil {
		dst = appendChunk(dst, 1, j.KeyPackage)
	}
	return appendParticipant(dst, 2, &j.Participant)
}

func (u *Update) appendTo(dst []byte) []byte {
	dst = appendUint(dst, 1, uint64(u.Op))
	dst = appendParticipant(dst, 2, &u.Participant)
	dst = appendRoster(dst, 3, u.Roster)
	return appendHandshake(dst, 4, u.MLS)
}

func (w *Welcome) appendTo(dst []byte) []byte {
	return appendHandshake(appendRoster(dst, 1, w.Roster), 2, w.MLS)
}

func (c *Close) appendTo(dst []byte) []byte {
	for i := range c.Participants {
		dst = appendName(dst, 1, &c.Participants[i])
	}
	return dst
}

func (p *Proposal) appendTo(dst []byte) []byte {
	return appendText(appendName(dst, 1, &p.Source), 2, p.Proposal)
}

func (b *Beat) appendTo(dst []byte) []byte { return appendUint(dst, 1, b.Epoch) }

func (s *State) appendTo(dst []byte) []byte {
	dst = appendName(dst, 1, &s.Participant)
	return appendUint(appendBool(dst, 2, s.Offline), 3, s.Epoch)
}

func (r *Rejoin) appendTo(dst []byte) []byte {
	return appendText(appendName(dst, 1, &r.Participant), 2, r.KeyPackage)
}

func (h *Handshake) appendTo(dst []byte) []byte {
	return appendText(appendUint(dst, 1, uint64(h.Commit)), 2, h.Content)
}

func appendHandshake(dst []byte, num protowire.Number, h *Handshake) []byte {
	if h == nil {
		return dst
	}
	return appendChunk(dst, num, h.appendTo(nil))
}

func appendRoster(dst []byte, num protowire.Number, roster []Participant) []byte {
	for i := range roster {
		dst = appendParticipant(dst, num, &roster[i])
	}
	return dst
}

func appendParticipant(dst []byte, num protowire.Number, p *Participant) []byte {
	b := appendName(nil, 1, &p.Name)
	b = appendChunk(b, 2, appendBool(appendBool(nil, 1, p.Sends), 2, p.Receives))
	return appendChunk(dst, num, appendBool(b, 3, p.Offline))
}

func appendName(dst []byte, num protowire.Number, n *wire.NameText) []byte {
	return wire.AppendName(appendLen(dst, num, wire.NameSize(n)), n)
}

func appendMetadata(dst []byte, md map[string]string) []byte {
	if len(md) == 0 {
		return dst
	}
	keys := make([]string, 0, 8) // which fit what there is mostly, without memory
	for k := range md {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := md[k]
		dst = appendLen(dst, numMetadata, textSize(1, len(k))+textSize(2, len(v)))
		dst = appendText(appendText(dst, 1, k), 2, v)
	}
	return dst
}

// Fields. Defaults of scalars are left out; a message that is present is not.

func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendVarint(appendTag(dst, num, protowire.VarintType), v)
}

func appendBool(dst []byte, num protowire.Number, v bool) []byte {
	return appendUint(dst, num, protowire.EncodeBool(v))
}

func appendText[T string | []byte](dst []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendLen(dst, num, len(v)), v...)
}

func appendChunk(dst []byte, num protowire.Number, v []byte) []byte {
	return append(appendLen(dst, num, len(v)), v...)
}

// appendLen appends tag and length of a field whose content of n bytes is to follow.
func appendLen(dst []byte, num protowire.Number, n int) []byte {
	return appendVarint(appendTag(dst, num, protowire.BytesType), uint64(n))
}

// appendTag is protowire.AppendTag, which nearly always appends one byte.
func appendTag(dst []byte, num protowire.Number, typ protowire.Type) []byte {
	if num < 16 {
		return append(dst, byte(num)<<3|byte(typ))
	}
	return protowire.AppendTag(dst, num, typ)
}

// appendVarint is protowire.AppendVarint, inlined for what has one byte.
func appendVarint(dst []byte, v uint64) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return protowire.AppendVarint(dst, v)
}

func chunkSize(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}

func uintSize(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func textSize(num protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return chunkSize(num, n)
}
