package wire

// Message types that Scan walks without a shape.
var (
	subscribeShape = fields(headerShape, number)
	publishShape   = fields(headerShape, sessionShape, contentShape)
	linkShape      = fields(negotiationShape)
	messageShape   = fields(subscribeShape, subscribeShape, publishShape, metadataShape, linkShape, emptyShape)
)

// FewParts reports whether the encoded Message b has at most most fields, those of nested messages and of groups
// included. What does not decode is counted as far as it does. It takes no longer than most fields take, whatever b
// has: Scan and ParseHeader take 10 to 50 ns for each, and a message of 4 MiB can have two million of them. Rules:
// P-lim-14.
func FewParts(b []byte, most int) bool { return messageShape.few(b, 0, &most) }

// few is FewParts for the content b[i:] of a message; left is how many more there may be. It recurses no deeper than
// messages are declared to nest.
func (s *shape) few(b []byte, i int, left *int) bool {
	for groups := 0; i < len(b); {
		if *left--; *left < 0 {
			return false
		}
		key, next := varint(b, i)
		if i = next; i < 0 {
			return true
		}
		switch key & 7 {
		case wireVarint:
			_, i = varint(b, i)
		case wireFixed64:
			i += 8
		case wireFixed32:
			i += 4
		case wireGroup:
			groups++
		case wireEnd:
			groups--
		case wireBytes:
			start, end := chunk(b, i)
			if end >= 0 && groups == 0 && key < uint64(len(s.forms)) && s.forms[key] == nested &&
				!s.inner[key>>3].few(b[:end], start, left) {
				return false
			}
			i = end
		default:
			return true
		}
		if i < 0 {
			return true
		}
	}
	return true
}
