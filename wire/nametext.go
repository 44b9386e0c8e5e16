package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// nullText is how the null id is written.
const nullText = "NULL_COMPONENT"

// Errors of ParseName and ParseID.
var (
	ErrNameText = errors.New("wire: a name is three non-empty parts separated by slashes")
	ErrIDText   = errors.New("wire: an id is a UUID or " + nullText)
)

// NameText is a name together with the strings its components were hashed from.
type NameText struct {
	Name      Name
	Str       [3]string
	NoStrings bool // Str is not known, and left out of messages
}

// Text makes a NameText with the null id from three components, which may be anything.
func Text(a, b, c string) NameText {
	return NameText{Name: NewName(a, b, c), Str: [3]string{a, b, c}}
}

// WithID returns the name with another id.
func (t NameText) WithID(hi, lo uint64) NameText {
	t.Name = t.Name.WithID(hi, lo)
	return t
}

// String is the core's text form: the three strings, or without them the hashes in decimal, then the id.
func (t NameText) String() string {
	if t.NoStrings {
		return t.Name.String()
	}
	return t.Str[0] + "/" + t.Str[1] + "/" + t.Str[2] + "/" + FormatID(t.Name.Hi, t.Name.Lo)
}

// Text is the core's text form of the name, for logs. h are the header bytes that n was parsed from. A missing name
// gives "<empty>".
func (n *NameRef) Text(h []byte) string {
	if !n.HasName && !n.HasStr {
		return "<empty>"
	}
	if !n.HasStr {
		return n.Name.String()
	}
	s := n.Strings(h)
	return NameText{Name: n.Name, Str: s}.String()
}

func (n Name) appendTo(dst []byte) []byte {
	for _, c := range n.C {
		dst = append(strconv.AppendUint(dst, c, 10), '/')
	}
	return appendID(dst, n.Hi, n.Lo)
}

// FormatID is the text form of an id: a lower-case hyphenated UUID, big-endian, or NULL_COMPONENT.
func FormatID(hi, lo uint64) string { return string(appendID(nil, hi, lo)) }

func appendID(dst []byte, hi, lo uint64) []byte {
	if hi&lo == Null {
		return append(dst, nullText...)
	}
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		start := [...]int{0, 4, 6, 8, 10}[i]
		if start > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, id[start:end])
	}
	return dst
}

// ParseName splits the three components of a name without id. Each is trimmed of white space and must not be empty.
func ParseName(s string) ([3]string, error) {
	var out [3]string
	parts := strings.Split(s, "/")
	if len(parts) != len(out) {
		return out, ErrNameText
	}
	for i, p := range parts {
		if out[i] = strings.TrimSpace(p); out[i] == "" {
			return [3]string{}, ErrNameText
		}
	}
	return out, nil
}

// ParseID reads an id: NULL_COMPONENT, or a UUID in any case, with or without its hyphens, in braces or as a URN.
func ParseID(s string) (hi, lo uint64, err error) {
	if s == nullText {
		return Null, Null, nil
	}
	const urn = "urn:uuid:"
	switch {
	case len(s) == 38 && s[0] == '{' && s[37] == '}':
		s = s[1:37]
	case len(s) == 36+len(urn) && s[:len(urn)] == urn:
		s = s[len(urn):]
	}
	digits := make([]byte, 0, 36)
	if len(s) == 36 {
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return 0, 0, ErrIDText
		}
		digits = append(append(append(append(append(digits, s[:8]...), s[9:13]...), s[14:18]...), s[19:23]...), s[24:]...)
	} else {
		digits = append(digits, s...)
	}
	var id [16]byte
	if len(digits) != 2*len(id) {
		return 0, 0, ErrIDText
	}
	if _, err := hex.Decode(id[:], digits); err != nil {
		return 0, 0, ErrIDText
	}
	return binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:]), nil
}
