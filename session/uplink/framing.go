package uplink

import (
	"encoding/binary"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// framing puts messages into the bytes of one connection and finds them there: gRPC over HTTP/2, or WebSocket. It does
// no I/O, reads no clock and takes no lock: its owner holds Conn.mu.
type framing interface {
	// open begins the channel. What it sends first is in control.
	open() error
	// feed takes the next bytes of the node, borrowed until the messages they brought are no longer used. in says
	// what they meant. An error ends the connection; control may hold a last word.
	feed(p []byte, in *arrivals) error
	// control appends what goes before anything that put appends later.
	control(dst []byte) []byte
	// put appends as many bytes of b, a batch, as the node takes now, and returns the rest.
	put(dst, b []byte) (out, rest []byte)
	// cut says that what was appended is out of the caller's hands.
	cut()
	// finish appends the end of our messages.
	finish(dst []byte) []byte
	// taken gives the node back the room of n bytes of messages, prefixes included.
	taken(n int)
	// full says that nothing more should be read until messages have been taken: there is no window that would hold the
	// node.
	full() bool
	// inputEnded says that nothing more comes. It returns what the node had said of a refusal until then, if that is
	// one.
	inputEnded() error
	// ping asks the node for a sign of life: any bytes.
	ping()
	// minute tells that some time, about a minute, has gone by.
	minute()
	// close ends everything. control may hold a last word.
	close()
}

// arrivals is what the bytes of one read meant, in the order of its fields.
type arrivals struct {
	opened bool              // the node has opened the channel
	packs  compress.Encoding // with opened: how messages may be compressed
	msgs   []arrival         // taken by the owner, who releases their buffers
	room   bool              // the node takes messages now
	end    error             // the node will send nothing more, for this reason: a *Error's cause
	ended  bool              // end is set; nil: in order
}

func (a *arrivals) reset() { *a = arrivals{msgs: a.msgs[:0]} }

// arrival is one message. buf owns its memory; nil: it is part of the bytes that were fed.
type arrival struct {
	b   []byte
	buf *pool.Buf
}

// A batch is whole messages, each after a prefix of five bytes, as gRPC has it: a zero, and the length in four bytes,
// big-endian (P-tr-3). A one instead of the zero, which only pack writes, stands before a compressed message.
const prefixLen = 5

// AppendFrame appends msg with its prefix to a batch for Conn.Write.
func AppendFrame(dst, msg []byte) []byte {
	return append(appendPrefix(dst, len(msg)), msg...)
}

func appendPrefix(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), uint32(n))
}

// checkBatch reports whether b is whole messages.
func checkBatch(b []byte) error {
	for len(b) > 0 {
		if len(b) < prefixLen || b[0] != 0 {
			return errBatch
		}
		n := binary.BigEndian.Uint32(b[1:])
		switch {
		case n > MaxMessage:
			return ErrTooLarge
		case int(n) > len(b)-prefixLen:
			return errBatch
		}
		b = b[prefixLen+n:]
	}
	return nil
}
