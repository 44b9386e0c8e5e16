package load

import (
	"encoding/binary"
	"hash/crc32"
)

// StampSize is how many bytes a stamp takes. It lies at the very end of a payload, so that a receiver finds it without
// decoding what is in front: neither SLIM nor NATS nodes change the end of a message.
const StampSize = 24

const (
	maxSeq   = 1 << 40 // twelve days at a million messages a second
	sumStart = 0x51a7be4c
	sumSize  = 4
	sumPart  = 512 // bytes; of a payload longer than two of them, two are summed: a generator has to be cheaper than a node
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Stamp identifies one message of one sender, and covers its payload, which is zero up to the stamp.
//
//	seq      5 bytes  counts from 0 for each sender
//	size     3 bytes  of the payload, the stamp included
//	at       8 bytes  nanoseconds on the clock of Now: when it was sent, or should have been (open loop)
//	sender   4 bytes
//	sum      4 bytes  CRC-32C of the payload up to here, begun at sumStart; of a long one, of a part that goes on from one
//	                  message to the next, and of the last part
//
// All integers are little-endian.
type Stamp struct {
	Seq    uint64
	At     int64
	Sender uint32
}

// Body is the payloads of one size: what precedes their stamps.
type Body struct {
	size int
	sum  uint32
}

// NewBody returns that of payloads of so many bytes, StampSize or more.
func NewBody(size int) Body {
	zeros := make([]byte, min(size, 2*sumPart)-StampSize)
	return Body{size, crc32.Update(sumStart, castagnoli, zeros)}
}

// Put writes the stamp into the end of a whole payload, which is at least StampSize bytes long.
func (s Stamp) Put(payload []byte) {
	NewBody(len(payload)).Put(payload[len(payload)-StampSize:], s)
}

// Put writes s into b, StampSize bytes long, the end of a payload of this kind.
func (y Body) Put(b []byte, s Stamp) {
	_ = b[StampSize-1]
	binary.LittleEndian.PutUint64(b, s.Seq%maxSeq|uint64(y.size)<<40)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.At))
	binary.LittleEndian.PutUint32(b[16:], s.Sender)
	binary.LittleEndian.PutUint32(b[20:], crc32.Update(y.sum, castagnoli, b[:StampSize-sumSize]))
}

// ReadStamp reads the stamp at the end of a message. It is false for messages without one, and for those whose payload
// is not the one that was stamped.
func ReadStamp(msg []byte) (Stamp, bool) {
	if len(msg) < StampSize {
		return Stamp{}, false
	}
	b := msg[len(msg)-StampSize:]
	head := binary.LittleEndian.Uint64(b)
	size, seq := int(head>>40), head%maxSeq
	if size < StampSize || size > len(msg) {
		return Stamp{}, false
	}
	payload, sum := msg[len(msg)-size:], uint32(sumStart)
	if size > 2*sumPart {
		at := min(int(seq%uint64(size/sumPart))*sumPart, size-2*sumPart)
		sum = crc32.Update(sum, castagnoli, payload[at:at+sumPart])
		payload = payload[size-sumPart:]
	}
	if crc32.Update(sum, castagnoli, payload[:len(payload)-sumSize]) != binary.LittleEndian.Uint32(b[20:]) {
		return Stamp{}, false
	}
	return Stamp{Seq: seq, At: int64(binary.LittleEndian.Uint64(b[8:])), Sender: binary.LittleEndian.Uint32(b[16:])}, true
}
