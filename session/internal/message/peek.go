package message

import "google.golang.org/protobuf/encoding/protowire"

// Peek says which session the encoded message b is for, and what it is, without decoding it; false: Decode would refuse it,
// or it is of no session. What it says of a message that Decode refuses may be anything.
func Peek(b []byte) (session uint32, t Type, ok bool) {
	publish, ok := field(b, numPublish)
	if !ok {
		return 0, 0, false
	}
	header, ok := field(publish, numSession)
	if !ok {
		return 0, 0, false
	}
	for len(header) > 0 {
		num, typ, n := protowire.ConsumeTag(header)
		if n < 0 {
			return 0, 0, false
		}
		v := protowire.ConsumeFieldValue(num, typ, header[n:])
		if v < 0 {
			return 0, 0, false
		}
		if typ == protowire.VarintType {
			switch x, _ := protowire.ConsumeVarint(header[n:]); num {
			case numType:
				t = Type(small(x))
			case numSessionID:
				session = uint32(x)
			}
		}
		header = header[n+v:]
	}
	return session, t, t != 0 && t <= lastType
}

// field returns the content of the first field num of message b that holds bytes.
func field(b []byte, want protowire.Number) ([]byte, bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		if num == want && typ == protowire.BytesType {
			content, v := protowire.ConsumeBytes(b[n:])
			return content, v >= 0
		}
		v := protowire.ConsumeFieldValue(num, typ, b[n:])
		if v < 0 {
			return nil, false
		}
		b = b[n+v:]
	}
	return nil, false
}
