package mls

import (
	"encoding/binary"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Message is a decoded MLSMessage (RFC 9420, section 6): what can be told of it without keys. It borrows the bytes it
// was read from.
type Message struct {
	WireFormat WireFormat
	GroupID    []byte      // of public and private messages, and of group infos
	Epoch      uint64      // of the same
	Content    ContentType // of public and private messages
	KeyPackage *KeyPackage // of that format

	public    *publicMessage
	private   *privateMessage // is room, if it is not nil
	room      privateMessage
	welcome   *welcome
	groupInfo *groupInfo
}

// messageHeadSize is what appendMessageHead appends.
const messageHeadSize = 4

// checkMade: a message of ours is not longer than what this side would take of others.
func checkMade(size, most int) error {
	if size > most {
		return refuse(Limit, "", "message of %d bytes, this member takes and makes at most %d (Limits.Message)", size, most)
	}
	return nil
}

func appendMessageHead(dst []byte, w WireFormat) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(MLS10))
	return binary.BigEndian.AppendUint16(dst, uint16(w))
}

// ParseMessage reads one MLSMessage, after which nothing may follow. What it decodes is bounded by the length of b;
// nothing is verified yet.
func ParseMessage(b []byte) (*Message, error) {
	m := new(Message)
	if err := m.parse(codec.NewReader(b)); err != nil {
		return nil, err
	}
	return m, nil
}

// parse is ParseMessage of what r reads, into m, which is empty.
func (m *Message) parse(r *codec.Reader) error {
	if err := m.read(r); err != nil {
		return err
	}
	if err := r.Finish(); err != nil {
		return malformed(err, m.WireFormat.String())
	}
	return nil
}

// read reads an MLSMessage at the front of r. Errors of the bytes stay in the reader.
func (m *Message) read(r *codec.Reader) error {
	version := ProtocolVersion(r.Uint16())
	m.WireFormat = WireFormat(r.Uint16())
	if r.Err() != nil {
		return malformed(r.Err(), "message")
	}
	if version != MLS10 {
		return refuse(Unsupported, "6", "message of protocol version %d", version)
	}
	switch m.WireFormat {
	case WirePublicMessage:
		m.public = readPublicMessage(r)
		m.GroupID, m.Epoch, m.Content = m.public.content.groupID, m.public.content.epoch, m.public.content.kind
	case WirePrivateMessage:
		m.room = readPrivateMessage(r)
		m.private = &m.room
		m.GroupID, m.Epoch, m.Content = m.room.groupID, m.room.epoch, m.room.kind
	case WireWelcome:
		m.welcome = readWelcome(r)
	case WireGroupInfo:
		m.groupInfo = readGroupInfo(r)
		m.GroupID, m.Epoch = m.groupInfo.context.groupID, m.groupInfo.context.epoch
	case WireKeyPackage:
		m.KeyPackage = readKeyPackage(r)
	default:
		return refuse(Unsupported, "6", "message of %v", m.WireFormat)
	}
	return nil
}

// append serialises what ParseMessage reads.
func (m *Message) append(dst []byte) []byte {
	dst = appendMessageHead(dst, m.WireFormat)
	switch m.WireFormat {
	case WirePublicMessage:
		return m.public.append(dst)
	case WirePrivateMessage:
		return m.private.append(dst)
	case WireWelcome:
		return m.welcome.append(dst)
	case WireGroupInfo:
		return m.groupInfo.append(dst)
	}
	return m.KeyPackage.append(dst)
}

// String is for logs.
func (s Sender) String() string {
	switch s.Type {
	case SenderMember:
		return fmt.Sprintf("member %d", s.Leaf)
	case SenderExternal:
		return fmt.Sprintf("external sender %d", s.Index)
	}
	return s.Type.String()
}
