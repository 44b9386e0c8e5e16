package wire

// Normalise writes the message b, in which Scan or ParseHeader found something Odd, anew: what protobuf merges when it
// occurs more than once, a member of the oneof, its header, a field of the header, occurs once. Both find nothing odd
// in the result, and it decodes to what b decodes to. Unknown fields stay. The member comes first, metadata and unknown
// fields after it.
//
// It costs a few nanoseconds a part. b is borrowed until return; the result is new memory, not longer than b and some
// bytes. An error means that b does not decode.
func Normalise(b []byte) ([]byte, error) {
	var kind Kind
	var head, body, others []byte // content of the header, other fields of the member, fields outside of it
	hasHead := false
	for i := 0; i < len(b); {
		f, err := nextField(b, i, depthMessage)
		if err != nil {
			return nil, err
		}
		i = f.end
		k := kindOf(f.key)
		if k == KindNone {
			others = append(others, f.raw(b)...)
			continue
		}
		if k != kind { // the oneof holds what came last
			kind, hasHead, head, body = k, false, head[:0], body[:0]
		}
		member := b[:f.end]
		for j := f.content; j < len(member); {
			g, err := nextField(member, j, depthBody)
			if err != nil {
				return nil, err
			}
			j = g.end
			if kind.Routed() && g.key == tagHeader {
				head, hasHead = append(head, member[g.content:g.end]...), true
				continue
			}
			body = append(body, g.raw(member)...)
		}
	}
	if kind == KindNone {
		return others, nil
	}
	n := len(body)
	if hasHead {
		var err error
		if head, err = mergeHeader(head); err != nil {
			return nil, err
		}
		n += sizeChunk(len(head))
	}
	dst := make([]byte, 0, sizeChunk(n)+len(others))
	dst = appendVarint(append(dst, kind.tag()), uint64(n))
	if hasHead {
		dst = appendVarint(append(dst, tagHeader), uint64(len(head)))
		dst = append(dst, head...)
	}
	return append(append(dst, body...), others...), nil
}

// mergeHeader writes the content h of a SLIMHeader anew, each declared field once. Two encodings of a name in a row are
// the encoding of both merged; of other fields the last one counts.
func mergeHeader(h []byte) ([]byte, error) {
	var names [lastHeader + 1][]byte
	var last [lastHeader + 1]fieldAt
	var others []byte
	for i := 0; i < len(h); {
		f, err := nextField(h, i, depthPart)
		if err != nil {
			return nil, err
		}
		i = f.end
		switch num := f.key >> 3; {
		case num > lastHeader:
			others = append(others, f.raw(h)...)
		case f.key == tagSource || f.key == tagDestination:
			if names[num] == nil {
				names[num] = make([]byte, 0, len(h))
			}
			names[num] = append(names[num], h[f.content:f.end]...)
		default:
			last[num] = f
		}
	}
	dst := make([]byte, 0, len(h)+len(names))
	for num := range last {
		if names[num] != nil {
			dst = appendVarint(append(dst, byte(num)<<3|wireBytes), uint64(len(names[num])))
			dst = append(dst, names[num]...)
		}
		dst = append(dst, last[num].raw(h)...)
	}
	return append(dst, others...), nil
}

// fieldAt is where a field lies.
type fieldAt struct {
	key                 uint64
	start, content, end int // of the key, of what a length counts, of the whole
}

func (f *fieldAt) raw(b []byte) []byte { return b[f.start:f.end] }

// nextField reads the field at b[i:], which is not empty, of a message that lies depth messages deep.
func nextField(b []byte, i, depth int) (f fieldAt, err error) {
	f.start = i
	if b[i] < 0x80 {
		f.key = uint64(b[i])
		i++
	} else if f.key, i = varint(b, i); i < 0 {
		return f, failure(i)
	}
	if f.key > maxKey || f.key>>3 == 0 {
		return f, ErrFieldNumber
	}
	if f.key&7 == wireBytes {
		if f.content, f.end = chunk(b, i); f.end < 0 {
			return f, failure(f.end)
		}
		return f, nil
	}
	f.content = i
	f.end, err = skip(b, i, f.key, depth)
	return f, err
}

// kindOf is the kind whose member of the oneof has this key, KindNone for all other fields.
func kindOf(key uint64) Kind {
	switch key {
	case tagSubscribe:
		return KindSubscribe
	case tagUnsubscribe:
		return KindUnsubscribe
	case tagPublish:
		return KindPublish
	case tagLink:
		return KindLink
	case tagAck:
		return KindAck
	}
	return KindNone
}
