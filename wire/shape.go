package wire

import (
	"encoding/binary"
	"math/bits"
)

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
// It is the walk in a quarter of the time. What it does not recognise has to be walked.
func usualRest(b []byte, i int) bool {
	if len(b)-i < 16 || b[i] != tagSession || b[i+1] >= 0x80 {
		return false
	}
	end := i + 2 + int(b[i+1])
	if end > len(b)-8 { // what is read below of the last number lies in b
		return false
	}
	for i += 2; i < end; {
		x := binary.LittleEndian.Uint64(b[i:])
		stop := ^x & 0x808080808000 // the last byte of the number
		if x&^0x38&0xff != 0 || x&0xff == 0 || stop == 0 {
			return false // no number, known or not
		}
		i += bits.TrailingZeros64(stop)>>3 + 1
	}
	if i != end || b[i] != tagContent {
		return false
	}
	if i = toTheEnd(b, i+1); i == 0 || i == len(b) || b[i] != tagApplication {
		return false
	}
	if i = toTheEnd(b, i+1); i == 0 {
		return false
	}
	if len(b)-i >= 2 && b[i] == tagPayloadType {
		from := i + 2
		i = from + int(b[i+1])
		if b[from-1] >= 0x80 || i > len(b) || !isASCII(b[from:i]) {
			return false
		}
	}
	return i == len(b) || b[i] == tagBlob && toTheEnd(b, i+1) != 0
}

// toTheEnd returns where the content of the length at b[i:] begins if it ends with b and the length has up to two
// bytes; otherwise 0.
func toTheEnd(b []byte, i int) int {
	switch n := len(b) - i - 1; {
	case n < 0:
	case n < 0x80 && int(b[i]) == n:
		return i + 1
	case n > 0 && int(b[i]&0x7f)|int(b[i+1])<<7 == n-1 && b[i] >= 0x80 && b[i+1] < 0x80:
		return i + 2
	}
	return 0
}

// Tags of Content and ApplicationPayload.
const (
	tagApplication = 1<<3 | wireBytes // Content.app_payload
	tagPayloadType = 1<<3 | wireBytes
	tagBlob        = 2<<3 | wireBytes
)
