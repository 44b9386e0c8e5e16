package wire

import "encoding/binary"

// MACSize is the length of a header_mac.
const MACSize = 32

// AppendHeader appends the content of the SLIMHeader for the next hop: the kept fields of h, ttl, and header_mac if mac
// has MACSize bytes. recv_from, forward_to and incoming_conn do not go on. h is what hd was parsed from; hd must not be
// Odd.
func AppendHeader(dst, h []byte, hd *Header, ttl uint32, mac []byte) []byte {
	for _, run := range hd.Keep[:hd.NKeep] {
		dst = append(dst, h[run.Off:run.End]...)
	}
	dst = appendUint(dst, tagTTL, uint64(ttl))
	if len(mac) == MACSize {
		dst = append(append(dst, tagMAC, MACSize), mac...)
	}
	return dst
}

// HeaderSize is how many bytes AppendHeader appends.
func HeaderSize(hd *Header, ttl uint32, withMAC bool) int {
	n := sizeUint(uint64(ttl))
	for _, run := range hd.Keep[:hd.NKeep] {
		n += run.Len()
	}
	if withMAC {
		n += 2 + MACSize
	}
	return n
}

// AppendOpening appends what precedes the new header of headerSize bytes: the fields before the oneof, the oneof's tag
// and new length, the fields before the header, the header's tag and length. Behind the header follows the tail,
// b[m.Header.End:]. m must have a header and must not be Odd.
func AppendOpening(dst, b []byte, m *Message, headerSize int) []byte {
	dst = append(dst, b[:m.Pre]...)
	dst = append(dst, m.Kind.tag())
	dst = appendVarint(dst, uint64(m.bodySize(headerSize)))
	dst = append(dst, b[m.Body.Off:m.HeadAt]...)
	dst = append(dst, tagHeader)
	return appendVarint(dst, uint64(headerSize))
}

// OpeningSize is how many bytes AppendOpening appends.
func OpeningSize(b []byte, m *Message, headerSize int) int {
	return int(m.Pre) + 1 + sizeVarint(uint64(m.bodySize(headerSize))) +
		int(m.HeadAt-m.Body.Off) + 1 + sizeVarint(uint64(headerSize))
}

// ShortOpening is as long as the opening of a message without unknown fields can be.
const ShortOpening = 12

// PutOpening puts what AppendOpening appends into dst and returns its length; 0: unknown fields come first, and it may
// be longer.
func (m *Message) PutOpening(dst *[ShortOpening]byte, headerSize int) int {
	if m.Pre != 0 || m.HeadAt != m.Body.Off {
		return 0
	}
	dst[0] = m.Kind.tag()
	n := 1 + binary.PutUvarint(dst[1:], uint64(m.bodySize(headerSize)))
	dst[n] = tagHeader
	return n + 1 + binary.PutUvarint(dst[n+1:], uint64(headerSize))
}

// bodySize is the length of the oneof's member with a header of headerSize bytes.
func (m *Message) bodySize(headerSize int) int {
	return int(m.HeadAt-m.Body.Off) + sizeChunk(headerSize) + int(m.Body.End-m.Header.End)
}

// tag is the tag of the kind's field in Message.
func (k Kind) tag() byte {
	switch k {
	case KindSubscribe:
		return tagSubscribe
	case KindUnsubscribe:
		return tagUnsubscribe
	case KindLink:
		return tagLink
	case KindAck:
		return tagAck
	}
	return tagPublish
}
