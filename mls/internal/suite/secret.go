package suite

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// MaxSecret is the length of the longest secret: an output of SHA-512.
const MaxSecret = 64

// noCopy makes go vet complain about copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Secret is an output of the key schedule, up to MaxSecret bytes, in one piece of memory so that it can be wiped. The zero value is
// empty. It can be neither printed nor compared with ==, and is not to be copied. Not safe for concurrent use while it changes.
type Secret struct {
	_ noCopy
	_ [0]func()
	b [MaxSecret]byte
	n uint8
}

// Set copies b in.
func (s *Secret) Set(b []byte) {
	if len(b) > MaxSecret {
		panic("suite: secret of more than 64 bytes")
	}
	clear(s.b[:])
	s.n = uint8(copy(s.b[:], b))
}

// Room makes it n bytes long and returns them, to be filled.
func (s *Secret) Room(n int) []byte {
	clear(s.b[:])
	s.n = uint8(n)
	return s.b[:n]
}

// Take moves the bytes of o here and wipes o.
func (s *Secret) Take(o *Secret) {
	s.Set(o.Bytes())
	o.Wipe()
}

// Bytes are the bytes, borrowed until it changes.
func (s *Secret) Bytes() []byte { return s.b[:s.n] }

// Len is the number of bytes; 0 when it is empty or wiped.
func (s *Secret) Len() int { return int(s.n) }

// Wipe empties it.
func (s *Secret) Wipe() {
	if s == nil {
		return
	}
	clear(s.b[:])
	s.n = 0
}

// Equal compares in constant time.
func (s *Secret) Equal(o *Secret) bool { return subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1 }

const redacted = "[secret]"

// String tells nothing.
func (*Secret) String() string { return redacted }

// GoString tells nothing.
func (*Secret) GoString() string { return redacted }

// Format tells nothing, whatever the verb.
func (*Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText fails: secrets leave by Bytes only.
func (*Secret) MarshalText() ([]byte, error) { return nil, errors.New("suite: secret in text") }
