package wire

// Kind says which member of the oneof message_type a message holds.
type Kind uint8

const (
	KindNone Kind = iota // nothing set; invalid, though it decodes
	KindSubscribe
	KindUnsubscribe
	KindPublish
	KindLink
	KindAck // SubscriptionAck
)

func (k Kind) String() string {
	switch k {
	case KindSubscribe:
		return "subscribe"
	case KindUnsubscribe:
		return "unsubscribe"
	case KindPublish:
		return "publish"
	case KindLink:
		return "link"
	case KindAck:
		return "subscription_ack"
	}
	return "none"
}

// Routed reports whether messages of this kind carry a SLIMHeader.
func (k Kind) Routed() bool { return k >= KindSubscribe && k <= KindPublish }

// Span is a half-open range of byte offsets. The zero Span is empty.
type Span struct{ Off, End uint32 }

// Of returns the range of b, without room to append. b must be what the span was made for.
func (s Span) Of(b []byte) []byte { return b[s.Off:s.End:s.End] }

// Len is the number of bytes in the range.
func (s Span) Len() int { return int(s.End - s.Off) }

// Message is where the parts of one encoded dataplane.proto.v1.Message lie. It holds offsets and no pointers, so it is
// copied freely and stays true for any copy of the bytes. The tail, b[Header.End:], is the rest of the body and
// everything after it.
type Message struct {
	Kind   Kind
	Pre    uint32 // offset of the oneof field's tag: bytes of metadata or unknown fields that came first, usually 0
	Body   Span   // content of the oneof field
	HeadAt uint32 // offset of the header field's tag; Body.Off <= HeadAt < Header.Off
	Header Span   // content of the header field of subscribe, unsubscribe, publish
	SubID  uint64 // subscription_id of subscribe, unsubscribe, ack; 0: no ack wanted

	HasHeader  bool
	HasSession bool // publish has its session header
	HasLink    bool // link has link_negotiation

	// Odd: a member of the oneof or the header occurs more than once. Protobuf merges or replaces; the spans here
	// describe the last occurrence only. Write the message anew with Normalise and scan that.
	Odd bool
}

// Reason says why a decodable message is invalid. Zero means that it is valid.
type Reason uint8

const (
	ReasonNone Reason = iota
	ReasonEmpty
	ReasonNoLink
	ReasonNoHeader
	ReasonNoSource
	ReasonNoDestination
	ReasonNoSession
)

func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "valid"
	case ReasonEmpty:
		return "message type not set"
	case ReasonNoLink:
		return "link type not set"
	case ReasonNoHeader:
		return "header missing"
	case ReasonNoSource:
		return "source name missing"
	case ReasonNoDestination:
		return "destination name missing"
	case ReasonNoSession:
		return "session header missing"
	}
	return "unknown reason"
}

// Invalid applies the rules by which nodes drop decodable messages: the oneof is set, a link has its link_type, routed
// kinds have header, source and destination with their encoded names, a publish has a session header. str_name, name_id
// and content may be missing; an ack is always valid. h is the parsed header; it may be nil when there is none.
func (m *Message) Invalid(h *Header) Reason {
	switch m.Kind {
	case KindSubscribe, KindUnsubscribe, KindPublish:
		switch {
		case !m.HasHeader || h == nil:
			return ReasonNoHeader
		case !h.Source.HasName:
			return ReasonNoSource
		case !h.Dest.HasName:
			return ReasonNoDestination
		case m.Kind == KindPublish && !m.HasSession:
			return ReasonNoSession
		}
	case KindLink:
		if !m.HasLink {
			return ReasonNoLink
		}
	case KindAck:
	default:
		return ReasonEmpty
	}
	return ReasonNone
}
