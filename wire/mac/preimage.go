package mac

import (
	"encoding/binary"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// macLabel begins the preimage of every header MAC.
const macLabel = "SLIM-DP-HDR-v1\x00"

// AppendNames appends the first part of the preimage of the header MAC: label, link id, source, destination. Integers
// are little-endian, absent parts are one byte 0, present ones follow a byte 1. On one connection this part depends on
// nothing but h[:hd.Names], if that is not zero. h is what hd was parsed from. Rules: P-mac-1, P-mac-2.
func AppendNames(dst []byte, linkID string, h []byte, hd *wire.Header) []byte {
	dst = append(dst, macLabel...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(linkID)))
	dst = append(dst, linkID...)
	dst = appendName(dst, h, &hd.Source)
	return appendName(dst, h, &hd.Dest)
}

func appendName(dst, h []byte, n *wire.NameRef) []byte {
	if !n.Present {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	if n.HasName {
		dst = append(dst, 1)
		for _, c := range n.Name.C {
			dst = binary.LittleEndian.AppendUint64(dst, c)
		}
		if n.HasID {
			dst = append(dst, 1)
			dst = binary.LittleEndian.AppendUint64(dst, n.Name.Hi)
			dst = binary.LittleEndian.AppendUint64(dst, n.Name.Lo)
		} else {
			dst = append(dst, 0)
		}
	} else {
		dst = append(dst, 0)
	}
	if !n.HasStr {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, s := range n.Str {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Len()))
		dst = append(dst, h[s.Off:s.End]...)
	}
	return dst
}

// AppendRest appends the second part of the preimage: identity, fanout, recv_from, forward_to, error, ttl. With hop the
// header is on its way out, where recv_from and forward_to are cleared before signing. version, incoming_conn, both
// tags, session, content and metadata are not covered. Rules: P-mac-1, P-mac-3.
func AppendRest(dst []byte, h []byte, hd *wire.Header, ttl uint32, hop bool) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(hd.Identity.Len()))
	dst = append(dst, h[hd.Identity.Off:hd.Identity.End]...)
	dst = binary.LittleEndian.AppendUint32(dst, hd.Fanout)
	dst = appendOptional(dst, hd.HasRecvFrom && !hop, hd.RecvFrom)
	dst = appendOptional(dst, hd.HasForwardTo && !hop, hd.ForwardTo)
	switch hd.Error {
	case wire.ErrorAbsent:
		dst = append(dst, 0)
	case wire.ErrorFalse:
		dst = append(dst, 1, 0)
	default:
		dst = append(dst, 1, 1)
	}
	return binary.LittleEndian.AppendUint32(dst, ttl)
}

func appendOptional(dst []byte, present bool, v uint64) []byte {
	if !present {
		return append(dst, 0)
	}
	return binary.LittleEndian.AppendUint64(append(dst, 1), v)
}
