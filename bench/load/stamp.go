package load

import (
	"bytes"
	"encoding/binary"
)

// StampSize is how many bytes a stamp takes. It lies at the very end of a payload, so that a receiver finds it without
// decoding what is in front: neither SLIM nor NATS nodes change the end of a message.
const StampSize = 24

const (
	maxSeq   = 1 << 40 // twelve days at a million messages a second
	maxPart  = 2 << 10 // bytes; of a longer payload two of them are looked at: a generator has to be cheaper than a node
	sumSalt  = 0x51a7be4c << 32
	sumPrime = 0x9e3779b97f4a7c15
)

var zeros [2 * maxPart]byte

// Stamp identifies one message of one sender, whose payload is zero up to the stamp.
//
//	seq      5 bytes  counts from 0 for each sender
//	size     3 bytes  of the payload, the stamp included
//	at       8 bytes  nanoseconds on the clock of Now: when it was sent, or should have been (open loop)
//	sender   4 bytes
//	sum      4 bytes  of the fields before it
//
// All integers are little-endian.
type Stamp struct {
	Seq    uint64
	At     int64
	Sender uint32
}

// Put writes the stamp into the end of a whole payload, which is at least StampSize bytes long.
func (s Stamp) Put(payload []byte) { s.PutEnd(payload, len(payload)) }

// PutEnd writes the stamp of a payload of size bytes into b, the end of it.
func (s Stamp) PutEnd(b []byte, size int) {
	b = b[len(b)-StampSize:]
	head := s.Seq%maxSeq | uint64(size)<<40
	binary.LittleEndian.PutUint64(b, head)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.At))
	binary.LittleEndian.PutUint32(b[16:], s.Sender)
	binary.LittleEndian.PutUint32(b[20:], sum(head, uint64(s.At), s.Sender))
}

// sum mixes each field so that no other value of it alone gives the same, but for one in four billion.
func sum(head, at uint64, sender uint32) uint32 {
	h := (head ^ sumSalt) * sumPrime
	h = (h ^ h>>32 ^ at) * sumPrime
	h = (h ^ h>>32 ^ uint64(sender)) * sumPrime
	return uint32(h >> 32)
}

// ReadStamp reads the stamp at the end of a message. It is false for messages without one, and for those whose payload
// is not the one that was stamped. Of a long payload it looks at the last part, and at one that goes on from each message
// to the next.
func ReadStamp(msg []byte) (Stamp, bool) {
	if len(msg) < StampSize {
		return Stamp{}, false
	}
	b := msg[len(msg)-StampSize:]
	head, at, sender := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:])
	size, seq := int(head>>40), head%maxSeq
	if size < StampSize || size > len(msg) || binary.LittleEndian.Uint32(b[20:]) != sum(head, at, sender) {
		return Stamp{}, false
	}
	body := msg[len(msg)-size : len(msg)-StampSize]
	if n := len(body); n > len(zeros) {
		begin := min(int(seq%uint64(n/maxPart))*maxPart, n-len(zeros))
		if !bytes.Equal(body[begin:begin+maxPart], zeros[:maxPart]) {
			return Stamp{}, false
		}
		body = body[n-maxPart:]
	}
	return Stamp{Seq: seq, At: int64(at), Sender: sender}, bytes.Equal(body, zeros[:len(body)])
}
