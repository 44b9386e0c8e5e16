package wire

// Tags with wire type bytes of Message's fields (data_plane.proto): number<<3 | 2.
const (
	tagSubscribe   = 1<<3 | wireBytes
	tagUnsubscribe = 2<<3 | wireBytes
	tagPublish     = 3<<3 | wireBytes
	tagMetadata    = 4<<3 | wireBytes // map entries: one field each
	tagLink        = 5<<3 | wireBytes
	tagAck         = 6<<3 | wireBytes
	lastMessage    = 6
)

// Tags inside the members of the oneof.
const (
	tagHeader      = 1<<3 | wireBytes  // Subscribe, Unsubscribe, Publish
	tagSubID       = 2<<3 | wireVarint // Subscribe, Unsubscribe
	tagSession     = 2<<3 | wireBytes  // Publish
	tagContent     = 3<<3 | wireBytes  // Publish.msg
	lastSubscribe  = 2
	lastPublish    = 3
	tagNegotiation = 1<<3 | wireBytes // Link
	lastLink       = 1
)

// Scan finds the parts of the encoded Message b in one pass over its top level and the tags of the oneof's member. It does
// not look into header, session header, content, metadata and link negotiation; ParseHeader and ParseLink check theirs.
//
// b is borrowed until return; m is overwritten. An error means that b does not decode; m is then meaningless.
// An empty b decodes, as KindNone.
func Scan(b []byte, m *Message) error {
	*m = Message{}
	if len(b) > maxMessage {
		return ErrTooLarge
	}
	for i := 0; i < len(b); {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(b, at); err != nil {
				return err
			}
		}
		var kind Kind
		switch tag {
		case tagPublish:
			kind = KindPublish
		case tagSubscribe:
			kind = KindSubscribe
		case tagUnsubscribe:
			kind = KindUnsubscribe
		case tagAck:
			kind = KindAck
		case tagLink:
			kind = KindLink
		case tagMetadata:
		case passed:
			continue
		default:
			var err error
			if i, err = unknown(b, tag, i, lastMessage); err != nil {
				return err
			}
			continue
		}
		start, end := chunk(b, i)
		if end < 0 {
			return failure(end)
		}
		i = end
		if kind == KindNone {
			continue
		}
		if m.Kind != KindNone {
			*m = Message{Odd: true}
		}
		m.Kind, m.Pre, m.Body = kind, uint32(at), Span{uint32(start), uint32(end)}
		var err error
		if kind == KindPublish {
			err = scanPublish(b[:end], start, m)
		} else {
			err = scanOther(b[:end], start, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func scanOther(b []byte, i int, m *Message) error {
	switch m.Kind {
	case KindSubscribe, KindUnsubscribe:
		return scanSubscribe(b, i, m)
	case KindAck:
		return scanAck(b, i, m)
	}
	return scanLink(b, i, m)
}

// scanPublish walks Publish{1 header, 2 session, 3 msg}.
func scanPublish(b []byte, i int, m *Message) error {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(b, at); err != nil {
				return err
			}
		}
		switch tag {
		case tagHeader, tagSession, tagContent:
			start, end, ok := one(b, i, len(b))
			if !ok {
				if start, end = chunk(b, i); end < 0 {
					return failure(end)
				}
			}
			i = end
			if tag == tagHeader {
				m.header(at, start, end)
			} else if tag == tagSession {
				m.HasSession = true // repeated ones merge at the receiver, as they do here
			}
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastPublish); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanSubscribe walks Subscribe and Unsubscribe{1 header, 2 subscription_id}.
func scanSubscribe(b []byte, i int, m *Message) error {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(b, at); err != nil {
				return err
			}
		}
		switch tag {
		case tagHeader:
			start, end := chunk(b, i)
			if end < 0 {
				return failure(end)
			}
			i = end
			m.header(at, start, end)
		case tagSubID:
			if m.SubID, i = varint(b, i); i < 0 {
				return failure(i)
			}
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastSubscribe); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Message) header(at, start, end int) {
	m.Odd = m.Odd || m.HasHeader
	m.HasHeader = true
	m.HeadAt, m.Header = uint32(at), Span{uint32(start), uint32(end)}
}

func scanAck(b []byte, i int, m *Message) error {
	a, err := parseAck(b, i)
	m.SubID = a.id
	return err
}

func scanLink(b []byte, i int, m *Message) error {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(b, at); err != nil {
				return err
			}
		}
		switch tag {
		case tagNegotiation:
			if _, i = chunk(b, i); i < 0 {
				return failure(i)
			}
			m.HasLink = true
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastLink); err != nil {
				return err
			}
		}
	}
	return nil
}
