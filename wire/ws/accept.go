package ws

import (
	"crypto/sha1" // RFC 6455 section 4.2.2 wants it; nothing depends on its strength
	"encoding/base64"
)

const (
	keyLen    = 24 // 16 bytes in base64
	acceptLen = 28 // 20 bytes in base64
)

// keyGUID: RFC 6455 section 1.3.
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// acceptOf returns Sec-WebSocket-Accept for a key.
func acceptOf(key []byte) (accept [acceptLen]byte) {
	var b [keyLen + len(keyGUID)]byte
	sum := sha1.Sum(append(append(b[:0], key...), keyGUID...))
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}

// isKey reports whether b is 16 bytes in base64.
func isKey(b []byte) bool {
	var out [18]byte
	if len(b) != keyLen {
		return false
	}
	n, err := base64.StdEncoding.Decode(out[:], b)
	return n == 16 && err == nil
}
