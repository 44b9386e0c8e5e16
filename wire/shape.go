package wire

// A node forwards session header, content and metadata as they came, but only what its receivers can decode: one broken
// field, and a receiver ends its stream. So everything that the .proto declares is walked, as deep as it nests. What
// counts is what upstream's decoder (prost) accepts, which refuses more than protobuf asks for (P-msg-3):
//
//   - a declared field has the wire type it was declared with, each time it occurs;
//   - strings are UTF-8, those that a later one replaces too;
//   - unknown fields and unknown enum numbers pass, but groups among them are closed, and lie no more than maxDepth
//     messages and groups deep.

// form says what a field of a shape is.
type form uint8

const (
	none   form = iota // wrong, or not known by the table: see unknown
	number             // bool, enum, uint32, uint64
	blob               // bytes, not looked into
	text               // string
	nested             // message, once or several times
)

// highestNumber is the highest number of a declared field: CommandPayload.rejoin_reply.
const highestNumber = 16

// shape is what one message type declares. Immutable.
type shape struct {
	forms [(highestNumber + 1) << 3]form // by key; unknown numbers and bytes pass like declared ones
	last  uint64                         // highest field number; all below it are declared
	inner [highestNumber + 1]*shape      // of nested fields, by number
}

// fields makes the shape of a message type from its fields, numbered from 1: a form or the *shape of a nested message
// each.
func fields(all ...any) *shape {
	s := &shape{last: uint64(len(all))}
	for i, f := range all {
		num, wt := i+1, wireBytes
		var is form
		switch f := f.(type) {
		case form:
			if is = f; f == number {
				wt = wireVarint
			}
		case *shape:
			is, s.inner[num] = nested, f
		}
		s.forms[num<<3|wt] = is
	}
	for num := len(all) + 1; num <= highestNumber; num++ {
		s.forms[num<<3|wireVarint], s.forms[num<<3|wireBytes] = number, blob
	}
	return s
}

// Message types of data_plane.proto, leaves first. Message, Subscribe, Publish and SubscriptionAck are walked by Scan.
var (
	nameIDShape      = fields(number, number)
	encodedNameShape = fields(number, number, number, nameIDShape)
	stringNameShape  = fields(text, text, text)
	nameShape        = fields(encodedNameShape, stringNameShape)
	headerShape      = fields(nameShape, nameShape, text, number, text, number, number, number, number, number, blob, blob)

	metadataShape    = fields(text, text) // an entry of the map
	negotiationShape = fields(text, text, number, blob, number, text, text, blob)
	sessionShape     = fields(number, number, number, number)

	emptyShape         = fields()
	timerShape         = fields(number, number)
	mlsSettingsShape   = fields(number)
	settingsShape      = fields(number, number)
	participantShape   = fields(nameShape, settingsShape, number)
	mlsShape           = fields(number, blob)
	joinRequestShape   = fields(timerShape, nameShape, nameShape, mlsSettingsShape)
	joinReplyShape     = fields(blob, participantShape)
	groupUpdateShape   = fields(number, participantShape, participantShape, mlsShape)
	groupWelcomeShape  = fields(participantShape, mlsShape)
	groupCloseShape    = fields(nameShape)
	groupProposalShape = fields(nameShape, blob)
	heartbeatShape     = fields(number)
	newStateShape      = fields(nameShape, number, number)
	rejoinRequestShape = fields(nameShape, blob)
	rejoinReplyShape   = fields(number, blob)

	commandShape = fields(emptyShape, emptyShape, joinRequestShape, joinReplyShape, emptyShape, emptyShape,
		groupUpdateShape,
		groupWelcomeShape, groupCloseShape, groupProposalShape, emptyShape, emptyShape, heartbeatShape, newStateShape,
		rejoinRequestShape, rejoinReplyShape)
	applicationShape = fields(text, blob)
	contentShape     = fields(applicationShape, commandShape)
)

// check walks the content b[i:] of a message, which lies depth messages deep in the whole. It costs a few nanoseconds a
// field; bytes are not touched, text is read once. It recurses no deeper than messages are declared to nest.
func (s *shape) check(b []byte, i, depth int) error {
	for i < len(b) {
		key := uint64(b[i])
		i++
		if key >= 0x80 {
			if key, i = varint(b, i-1); i < 0 {
				return failure(i)
			}
		}
		var is form
		if key < uint64(len(s.forms)) {
			is = s.forms[key]
		}
		switch is {
		case number:
			if i < len(b) && b[i] < 0x80 {
				i++
			} else if _, i = varint(b, i); i < 0 {
				return failure(i)
			}
			continue
		case none:
			var err error
			if i, err = s.unknown(b, i, key, depth); err != nil {
				return err
			}
			continue
		}
		start, end := chunk(b, i)
		if end < 0 {
			return failure(end)
		}
		i = end
		if is == text {
			if !validUTF8(b[start:end]) {
				return ErrUTF8
			}
		} else if is == nested {
			if err := s.inner[key>>3].check(b[:end], start, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown skips a field that is none by its key. A declared number is an error: it has another wire type.
func (s *shape) unknown(b []byte, i int, key uint64, depth int) (next int, err error) {
	switch num := key >> 3; {
	case num == 0 || key > maxKey:
		return i, ErrFieldNumber
	case num <= s.last:
		return i, ErrWireType
	}
	return skip(b, i, key, depth)
}

// usualRest reports whether the end b[i:] of a publish is what applications write after the header, with nothing wrong
// in it:
//
//	session { numbers of up to five bytes } msg { app_payload { payload_type, ASCII; blob } }
//
// It is the walk in a third of the time. What it does not recognise has to be walked.
func usualRest(b []byte, i int) bool {
	if len(b)-i < 8 || b[i] != tagSession || b[i+1] >= 0x80 {
		return false
	}
	end := i + 2 + int(b[i+1])
	if end >= len(b) {
		return false
	}
	for i += 2; i < end; i++ {
		if tag := b[i]; tag&^0x38 != 0 || tag == 0 { // a number, known or not
			return false
		}
		i++
		for last := i + 4; b[i] >= 0x80; i++ {
			if i == last || i > end {
				return false
			}
		}
	}
	if i != end || b[i] != tagContent {
		return false
	}
	if i, end = chunk(b, i+1); end != len(b) || end-i < 2 || b[i] != tagApplication {
		return false
	}
	if i, end = chunk(b, i+1); end != len(b) {
		return false
	}
	if end-i >= 2 && b[i] == tagPayloadType {
		from := i + 2
		i = from + int(b[i+1])
		if b[from-1] >= 0x80 || i > end || !isASCII(b[from:i]) {
			return false
		}
	}
	if i == end {
		return true
	}
	if b[i] != tagBlob {
		return false
	}
	_, end = chunk(b, i+1)
	return end == len(b)
}

// Tags of Content and ApplicationPayload.
const (
	tagApplication = 1<<3 | wireBytes // Content.app_payload
	tagPayloadType = 1<<3 | wireBytes
	tagBlob        = 2<<3 | wireBytes
)
