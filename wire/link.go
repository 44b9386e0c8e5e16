package wire

import (
	"bytes"
	"errors"
)

// Tags of LinkNegotiationPayload.
const (
	tagLinkID         = 1<<3 | wireBytes
	tagLinkVersion    = 2<<3 | wireBytes
	tagLinkReply      = 3<<3 | wireVarint
	tagLinkKey        = 4<<3 | wireBytes
	tagLinkKind       = 5<<3 | wireVarint
	tagLinkNode       = 6<<3 | wireBytes
	tagLinkDeployment = 7<<3 | wireBytes
	tagLinkKEM        = 8<<3 | wireBytes
	lastNegotiation   = 8
)

// ErrNoNegotiation says that a link message has no link_type.
var ErrNoNegotiation = errors.New("wire: link without negotiation")

// LinkKind is LinkConnectionType: what the two ends of a link are to each other.
type LinkKind uint8

const (
	LinkRemote LinkKind = iota // node of another domain; also stands for numbers this version does not know
	LinkPeer                   // replica of the same deployment
	LinkEdge                   // an app's node
)

func (k LinkKind) String() string {
	switch k {
	case LinkPeer:
		return "peer"
	case LinkEdge:
		return "edge"
	}
	return "remote"
}

// LinkNegotiation is LinkNegotiationPayload, the first message in each direction of a connection.
type LinkNegotiation struct {
	LinkID     string // chosen by the dialer, echoed
	Version    string // semantic version of the sender
	NodeID     string
	Deployment string
	Kind       LinkKind
	Reply      bool
	Key        []byte // X25519 public key, 32 bytes, or empty
	KEM        []byte // ML-KEM-768 encapsulation key (1184 bytes) or ciphertext (1088); nil: absent
}

// AppendLink appends a Message with the link negotiation l.
func AppendLink(dst []byte, l *LinkNegotiation) []byte {
	size := l.size()
	dst = appendVarint(append(dst, tagLink), uint64(sizeChunk(size)))
	dst = appendVarint(append(dst, tagNegotiation), uint64(size))
	dst = appendText(dst, tagLinkID, l.LinkID)
	dst = appendText(dst, tagLinkVersion, l.Version)
	if l.Reply {
		dst = append(dst, tagLinkReply, 1)
	}
	dst = appendText(dst, tagLinkKey, l.Key)
	dst = appendUint(dst, tagLinkKind, uint64(l.Kind))
	dst = appendText(dst, tagLinkNode, l.NodeID)
	dst = appendText(dst, tagLinkDeployment, l.Deployment)
	if l.KEM != nil {
		dst = appendVarint(append(dst, tagLinkKEM), uint64(len(l.KEM)))
		dst = append(dst, l.KEM...)
	}
	return dst
}

func (l *LinkNegotiation) size() int {
	n := sizeText(len(l.LinkID)) + sizeText(len(l.Version)) + sizeText(len(l.Key)) + sizeUint(uint64(l.Kind)) +
		sizeText(len(l.NodeID)) + sizeText(len(l.Deployment))
	if l.Reply {
		n += 2
	}
	if l.KEM != nil {
		n += sizeChunk(len(l.KEM))
	}
	return n
}

// ParseLink reads the link negotiation of the message b, which Scan has put into m as KindLink. The result shares no
// memory with b. ErrNoNegotiation means that link_type is not set; other errors, that the message does not decode.
func ParseLink(b []byte, m *Message) (LinkNegotiation, error) {
	var l LinkNegotiation
	if !m.HasLink {
		return l, ErrNoNegotiation
	}
	b = b[:m.Body.End]
	for i := int(m.Body.Off); i < len(b); {
		at, tag := i, b[i]
		i++
		var err error
		if tag >= 0x80 {
			if tag, i, err = longKey(b, at, depthBody); err != nil {
				return LinkNegotiation{}, err
			}
		}
		switch tag {
		case tagNegotiation:
			start, end := chunk(b, i)
			if end < 0 {
				return LinkNegotiation{}, failure(end)
			}
			i = end
			err = l.merge(b[:end], start) // a second one merges, as in protobuf
		case passed:
		default:
			i, err = unknown(b, tag, i, lastLink, depthBody)
		}
		if err != nil {
			return LinkNegotiation{}, err
		}
	}
	return l, nil
}

func (l *LinkNegotiation) merge(b []byte, i int) (err error) {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			if tag, i, err = longKey(b, at, depthPart); err != nil {
				return err
			}
		}
		switch tag {
		case tagLinkID, tagLinkVersion, tagLinkKey, tagLinkNode, tagLinkDeployment, tagLinkKEM:
			start, end := chunk(b, i)
			if end < 0 {
				return failure(end)
			}
			i = end
			err = l.setBytes(tag, b[start:end])
		case tagLinkReply, tagLinkKind:
			var v uint64
			if v, i = varint(b, i); i < 0 {
				return failure(i)
			}
			l.setNumber(tag, v)
		case passed:
		default:
			i, err = unknown(b, tag, i, lastNegotiation, depthPart)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *LinkNegotiation) setBytes(tag byte, v []byte) error {
	switch tag {
	case tagLinkKey:
		l.Key = bytes.Clone(v)
		return nil
	case tagLinkKEM:
		l.KEM = append([]byte{}, v...) // present, even when empty
		return nil
	}
	if !validUTF8(v) {
		return ErrUTF8
	}
	switch tag {
	case tagLinkID:
		l.LinkID = string(v)
	case tagLinkVersion:
		l.Version = string(v)
	case tagLinkNode:
		l.NodeID = string(v)
	case tagLinkDeployment:
		l.Deployment = string(v)
	}
	return nil
}

func (l *LinkNegotiation) setNumber(tag byte, v uint64) {
	if tag == tagLinkReply {
		l.Reply = v != 0
		return
	}
	l.Kind = LinkRemote
	if k := int32(v); k == int32(LinkPeer) || k == int32(LinkEdge) { // enums are int32
		l.Kind = LinkKind(k)
	}
}
