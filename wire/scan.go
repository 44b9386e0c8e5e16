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

// Scan finds the parts of the encoded Message b in one pass, and checks all of it that nobody parses later: session
// header, content, metadata, link negotiation, and headers that others replace (m is Odd then). The header at m.Header
// is left to ParseHeader, since headers repeat and need not be parsed each time. What both let pass, every receiver can
// decode. The bytes of payloads are not touched.
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
			if tag, i, err = longKey(b, at, depthMessage); err != nil {
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
			if i, err = unknown(b, tag, i, lastMessage, depthMessage); err != nil {
				return err
			}
			continue
		}
		start, end := chunk(b, i)
		if end < 0 {
			return failure(end)
		}
		i = end
		var err error
		if kind == KindPublish && m.Kind == KindNone {
			m.Kind, m.Pre, m.Body = kind, uint32(at), Span{uint32(start), uint32(end)}
			err = scanPublish(b[:end], start, m)
		} else {
			err = scanOther(b, kind, at, start, end, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scanOther reads a field of Message that is not its first publish: a member of the oneof or, with KindNone, metadata.
func scanOther(b []byte, kind Kind, at, start, end int, m *Message) error {
	if kind == KindNone {
		return metadataShape.check(b[:end], start, depthEntry)
	}
	if m.Kind != KindNone {
		if err := m.checkHeader(b); err != nil {
			return err
		}
		*m = Message{Odd: true}
	}
	m.Kind, m.Pre, m.Body = kind, uint32(at), Span{uint32(start), uint32(end)}
	switch b = b[:end]; kind {
	case KindPublish:
		return scanPublish(b, start, m)
	case KindSubscribe, KindUnsubscribe:
		return scanSubscribe(b, start, m)
	case KindAck:
		return scanAck(b, start, m)
	}
	return scanLink(b, start, m)
}

// scanPublish walks Publish{1 header, 2 session, 3 msg}.
func scanPublish(b []byte, i int, m *Message) error {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(b, at, depthBody); err != nil {
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
			var err error
			switch tag {
			case tagHeader:
				if err = m.header(b, at, start, end); usualRest(b, end) {
					m.HasSession = true
					return err
				}
			case tagSession: // repeated ones merge at the receiver, and so does content
				m.HasSession = true
				err = sessionShape.check(b[:end], start, depthPart)
			default:
				err = contentShape.check(b[:end], start, depthPart)
			}
			if err != nil {
				return err
			}
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastPublish, depthBody); err != nil {
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
			if tag, i, err = longKey(b, at, depthBody); err != nil {
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
			if err := m.header(b, at, start, end); err != nil {
				return err
			}
		case tagSubID:
			if m.SubID, i = varint(b, i); i < 0 {
				return failure(i)
			}
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastSubscribe, depthBody); err != nil {
				return err
			}
		}
	}
	return nil
}

// header takes note of a header field. One that came before is not going to be parsed by anybody else.
func (m *Message) header(b []byte, at, start, end int) error {
	if m.HasHeader {
		if err := m.checkHeader(b); err != nil {
			return err
		}
		m.Odd = true
	}
	m.HasHeader = true
	m.HeadAt, m.Header = uint32(at), Span{uint32(start), uint32(end)}
	return nil
}

// checkHeader walks the header of m, if there is one, before another takes its place.
func (m *Message) checkHeader(b []byte) error {
	if !m.HasHeader {
		return nil
	}
	return headerShape.check(b[:m.Header.End], int(m.Header.Off), depthPart)
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
			if tag, i, err = longKey(b, at, depthBody); err != nil {
				return err
			}
		}
		switch tag {
		case tagNegotiation:
			start, end := chunk(b, i)
			if end < 0 {
				return failure(end)
			}
			if err := negotiationShape.check(b[:end], start, depthPart); err != nil {
				return err
			}
			i, m.HasLink = end, true
		case passed:
		default:
			var err error
			if i, err = unknown(b, tag, i, lastLink, depthBody); err != nil {
				return err
			}
		}
	}
	return nil
}
