package wire

// Tags of SubscriptionAck.
const (
	tagAckID     = 1<<3 | wireVarint
	tagAckOK     = 2<<3 | wireVarint
	tagAckReason = 3<<3 | wireBytes
	lastAck      = 3
)

// AppendAck appends a Message with the SubscriptionAck of the subscription id. reason goes out only with a failure.
func AppendAck(dst []byte, id uint64, ok bool, reason string) []byte {
	var success uint64
	if ok {
		success, reason = 1, ""
	}
	size := sizeUint(id) + sizeUint(success) + sizeText(len(reason))
	dst = appendVarint(append(dst, tagAck), uint64(size))
	dst = appendUint(dst, tagAckID, id)
	dst = appendUint(dst, tagAckOK, success)
	return appendText(dst, tagAckReason, reason)
}

// ParseAck reads the SubscriptionAck of the message b, which Scan has put into m as KindAck. reason is empty unless the
// peer gave one.
func ParseAck(b []byte, m *Message) (id uint64, ok bool, reason string, err error) {
	a, err := parseAck(b[:m.Body.End], int(m.Body.Off))
	if err != nil {
		return 0, false, "", err
	}
	return a.id, a.ok, string(a.reason.Of(b)), nil
}

type ackFields struct {
	id     uint64
	ok     bool
	reason Span
}

func parseAck(b []byte, i int) (a ackFields, err error) {
	for i < len(b) {
		at, tag := i, b[i]
		i++
		if tag >= 0x80 {
			if tag, i, err = longKey(b, at, depthBody); err != nil {
				return a, err
			}
		}
		switch tag {
		case tagAckID, tagAckOK:
			var v uint64
			if v, i = varint(b, i); i < 0 {
				return a, failure(i)
			}
			if tag == tagAckID {
				a.id = v
			} else {
				a.ok = v != 0
			}
		case tagAckReason:
			start, end := chunk(b, i)
			if end < 0 {
				return a, failure(end)
			}
			if !validUTF8(b[start:end]) {
				return a, ErrUTF8
			}
			i, a.reason = end, Span{uint32(start), uint32(end)}
		case passed:
		default:
			if i, err = unknown(b, tag, i, lastAck, depthBody); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}
