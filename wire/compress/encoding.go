// Package compress compresses and expands messages, each by itself: nothing is kept from one to the next, so that a
// connection has no state of it. Compressor and Expander hold the memory that the work takes; an owner has one of each
// for all its connections. Rules: P-comp.
//
// A message is compressed in two pieces. Its head, which differs from receiver to receiver (hops, header MAC) and is
// small and random, goes as it is; its tail, which all receivers share, is compressed once for all of them:
//
//	gzip     member header │ stored block: head      │ deflate blocks: tail │ CRC, length of both
//	zstd     frame with a raw block: head            │ frame: tail
//	snappy   stream identifier │ plain chunk: head   │ compressed chunks: tail
//	deflate                      stored block: head  │ deflate blocks: tail
//
// All of these are one piece of data for any decoder: RFC 1952, RFC 8878 section 3.1, snappy's framing format,
// RFC 7692.
package compress

import "bytes"

// Encoding is how a message is compressed.
type Encoding uint8

// The encodings. None means that nothing is compressed.
const (
	None Encoding = iota
	Gzip
	Zstd
	Snappy  // in snappy's framing format
	Deflate // of permessage-deflate: raw, without the four bytes that end each message (RFC 7692 section 7.2.1)
	numEncodings
)

// AcceptEncoding is what grpc-accept-encoding says of all that Expander takes.
const AcceptEncoding = "zstd,snappy,gzip,identity"

var names = [numEncodings]string{"identity", "gzip", "zstd", "snappy", "deflate"}

// String returns the name that grpc-encoding has for e.
func (e Encoding) String() string {
	if e < numEncodings {
		return names[e]
	}
	return "unknown"
}

// Named returns the encoding that grpc-encoding calls so. ok is false if it is none of ours; identity is None. gRPC's
// own deflate is not among them.
func Named[T string | []byte](name T) (e Encoding, ok bool) {
	switch string(name) {
	case "", "identity":
		return None, true
	case "gzip":
		return Gzip, true
	case "zstd":
		return Zstd, true
	case "snappy":
		return Snappy, true
	}
	return None, false
}

// Offered reports whether list, the value of grpc-accept-encoding, has e.
func Offered(list []byte, e Encoding) bool {
	for more := len(list) > 0; more; {
		var item []byte
		item, list, more = bytes.Cut(list, []byte{','})
		if got, ok := Named(bytes.TrimSpace(item)); ok && got == e {
			return true
		}
	}
	return false
}

// Choose returns the encoding for a peer that accepts list: the first it has of zstd, snappy and gzip, which costs
// most for what it saves.
func Choose(list []byte) Encoding {
	for _, e := range [...]Encoding{Zstd, Snappy, Gzip} {
		if Offered(list, e) {
			return e
		}
	}
	return None
}
