package load

import "encoding/binary"

// StampSize is how many bytes a stamp takes. It lies at the very end of a payload, so that a receiver finds it without
// decoding what is in front: neither SLIM nor NATS nodes change the end of a message.
const StampSize = 24

const stampMagic = 0x51a7be4c

// Stamp identifies one message of one sender.
//
//	seq      8 bytes  counts from 0 for each sender
//	at       8 bytes  nanoseconds on the clock of Now: when it was sent, or should have been (open loop)
//	sender   4 bytes
//	magic    4 bytes
//
// All integers are little-endian.
type Stamp struct {
	Seq    uint64
	At     int64
	Sender uint32
}

// Put writes the stamp into b, which is at least StampSize bytes long.
func (s Stamp) Put(b []byte) {
	_ = b[StampSize-1]
	binary.LittleEndian.PutUint64(b, s.Seq)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.At))
	binary.LittleEndian.PutUint32(b[16:], s.Sender)
	binary.LittleEndian.PutUint32(b[20:], stampMagic)
}

// ReadStamp reads the stamp at the end of a message. It is false for messages without one.
func ReadStamp(msg []byte) (Stamp, bool) {
	if len(msg) < StampSize {
		return Stamp{}, false
	}
	b := msg[len(msg)-StampSize:]
	if binary.LittleEndian.Uint32(b[20:]) != stampMagic {
		return Stamp{}, false
	}
	return Stamp{
		Seq:    binary.LittleEndian.Uint64(b),
		At:     int64(binary.LittleEndian.Uint64(b[8:])),
		Sender: binary.LittleEndian.Uint32(b[16:]),
	}, true
}
