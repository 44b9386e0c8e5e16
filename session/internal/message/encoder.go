package message

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Encoder encodes what one session sends. It remembers the headers of the data that went out last, which are the same for as
// long as a token lasts. The zero Encoder remembers nothing yet. It is one goroutine's.
type Encoder struct{ list []*sent } // the last one first

// sent is the header of data, as what it says and as bytes.
type sent struct {
	source, dest      wire.NameText
	identity, version string
	fanout, ttl       uint32
	failed            bool
	raw               []byte
}

// Append is Message.Append.
func (e *Encoder) Append(dst []byte, m *Message) []byte {
	if m.Type.Control() || m.Signature != nil {
		return m.Append(dst)
	}
	return m.appendWith(dst, e.header(m))
}

// header returns the content of the header of m; lent.
func (e *Encoder) header(m *Message) []byte {
	i := slices.IndexFunc(e.list, func(s *sent) bool { return s.dest.Name == m.Dest.Name && s.failed == m.Failed })
	if i < 0 && len(e.list) < mostHeaders {
		e.list = append(e.list, new(sent))
	}
	if i < 0 {
		i = len(e.list) - 1
	}
	s := e.list[i]
	if i > 0 {
		copy(e.list[1:i+1], e.list[:i])
		e.list[0] = s
	}
	if s.fanout != m.Fanout || s.ttl != m.TTL || s.failed != m.Failed || s.identity != m.Identity || s.version != m.Version ||
		s.source != m.Source || s.dest != m.Dest || s.raw == nil {
		*s = sent{m.Source, m.Dest, m.Identity, m.Version, m.Fanout, m.TTL, m.Failed, m.appendHeader(s.raw[:0])}
	}
	return s.raw
}
