package session

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Name is the name of an app or a channel: three parts, such as org/ns/alice, and the id of an instance, or of none, which
// stands for any. Names can be compared and used as keys of maps; those of two instances of an app differ. The zero Name
// is nobody's.
type Name struct{ t wire.NameText }

// MaxName is how long a name may be, in bytes of its text, without an id.
const MaxName = 1 << 10

// NewName returns the name of three parts, of any instance. An error, an ErrConfig, says which part cannot be, and why: a part is text of
// UTF-8, as it is encoded in messages, and neither empty nor has it a slash.
func NewName(a, b, c string) (Name, error) {
	for _, part := range []string{a, b, c} {
		if strings.TrimSpace(part) == "" || strings.Contains(part, "/") {
			return Name{}, fmt.Errorf("%w: part %q of a name: it must not be empty or hold a slash", ErrConfig, part)
		}
	}
	return checked(wire.Text(a, b, c))
}

// checked refuses what no other app could read.
func checked(n wire.NameText) (Name, error) {
	size := 2
	for _, part := range n.Str {
		if !utf8.ValidString(part) {
			return Name{}, fmt.Errorf("%w: part %q of a name is no UTF-8 text, which others need to read messages", ErrConfig, part)
		}
		size += len(part)
	}
	if size > MaxName {
		return Name{}, fmt.Errorf("%w: a name of %d bytes, and it may have %d", ErrConfig, size, MaxName)
	}
	return Name{n}, nil
}

// ParseName reads a name of three parts, or of four: the last is then the id of an instance, as MarshalText writes it. Errors are
// those of NewName; white space around parts is left out.
func ParseName(s string) (Name, error) {
	text, id := s, ""
	if strings.Count(s, "/") == 3 {
		at := strings.LastIndexByte(s, '/')
		text, id = s[:at], s[at+1:]
	}
	parts, err := wire.ParseName(text)
	if err != nil {
		return Name{}, fmt.Errorf("%w: name %q: want org/namespace/app", ErrConfig, s)
	}
	n, err := checked(wire.Text(parts[0], parts[1], parts[2]))
	if err != nil {
		return Name{}, err
	}
	if id != "" {
		hi, lo, err := wire.ParseID(id)
		if err != nil {
			return Name{}, fmt.Errorf("%w: name %q: the fourth part is no id: want a UUID", ErrConfig, s)
		}
		n.t = n.t.WithID(hi, lo)
	}
	return n, nil
}

// MustName is ParseName for names that stand in the program; it panics where those are wrong.
func MustName(s string) Name {
	n, err := ParseName(s)
	if err != nil {
		panic("session: " + err.Error())
	}
	return n
}

// Parts returns the three parts. Those of a name whose sender has told only their hashes are empty.
func (n Name) Parts() [3]string { return n.t.Str }

// ID returns the id of the instance, a UUID; empty: any instance.
func (n Name) ID() string {
	if n.IsZero() || n.t.Name.IsNull() {
		return ""
	}
	return wire.FormatID(n.t.Name.Hi, n.t.Name.Lo)
}

// Any returns the name of any instance.
func (n Name) Any() Name { return Name{n.t.WithID(wire.Null, wire.Null)} }

// Same reports whether both are of the same app, whatever the instance.
func (n Name) Same(other Name) bool { return n.t.Name.C == other.t.Name.C }

// IsZero reports whether it is the zero Name.
func (n Name) IsZero() bool { return n == Name{} }

// String returns the parts, without the id.
func (n Name) String() string {
	if n.t.NoStrings {
		return n.t.Name.String()
	}
	if n.IsZero() {
		return ""
	}
	return strings.Join(n.t.Str[:], "/")
}

// MarshalText returns the parts and, of an instance, its id; ParseName reads it.
func (n Name) MarshalText() ([]byte, error) {
	if id := n.ID(); id != "" {
		return []byte(n.String() + "/" + id), nil
	}
	return []byte(n.String()), nil
}

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = ParseName(string(text))
	return err
}
