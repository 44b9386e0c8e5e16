package message

import (
	"bytes"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Decoder decodes the messages that come to one session. It remembers the headers of the data that came last: members say the
// same in all of theirs, for as long as a token lasts, and a header that is known byte for byte costs no memory and is not read
// again. The zero Decoder remembers nothing yet. It is one goroutine's.
type Decoder struct {
	walk    walk
	headers headers
	data    Message
}

// Decode is the function Decode. Of data, the Message is lent until the next call, and what a header says in it is shared by
// messages with the same one; so is metadata, which is not to be changed. A Message of control is the caller's.
func (d *Decoder) Decode(b []byte) (*Message, error) {
	d.walk.known = &d.headers
	m := &d.data
	*m = Message{}
	md := &d.headers.metadata
	md.begin()
	err := d.walk.decode(b, m)
	raw := d.headers.raw
	d.headers.raw = nil
	if m.Metadata == nil {
		m.Metadata = md.taken()
	} else if err == nil && m.Type == Msg {
		md.keep(m.Metadata)
	}
	clear(md.come[:])
	switch {
	case err != nil:
		return nil, err
	case m.Type.Control():
		own := *m
		own.Metadata = maps.Clone(own.Metadata)
		return &own, nil
	case raw != nil:
		d.headers.keep(raw, m)
	}
	return m, nil
}

// Release lets go of what was decoded last: until then a Decoder holds it.
func (d *Decoder) Release() { d.data = Message{} }

// Bounds of what a Decoder remembers. A header with names and a token has some 450 bytes.
const (
	mostHeaders     = 32
	mostHeaderBytes = 16 << 10 // of all
	mostHeaderSize  = 2 << 10
	mostPayloadType = 64

	mostKeys      = 32 // of metadata
	mostKeySize   = 32
	mostValueSize = 64
)

// headers are the headers of data that came last.
type headers struct {
	list        []*header         // the last one first
	bytes       int               // in list
	raw         []byte            // of the message that is decoded, if its header is none of them; lent
	payloadType string            // of the last data
	keys        map[string]*entry // of metadata; nil: there were none
	metadata    metadata
}

// entry is a key of metadata, and what it said last.
type entry struct{ key, value string }

// header is one of them, as bytes and as what it says.
type header struct {
	raw               []byte
	source, dest      wire.NameText
	identity, version string
	fanout, ttl       uint32
	failed            bool
}

// take reads the header raw into m, if it is known.
func (h *headers) take(raw []byte, m *Message) bool {
	for i, k := range h.list {
		if !bytes.Equal(k.raw, raw) {
			continue
		}
		if i > 0 {
			h.first(i)
		}
		m.Source, m.Dest, m.Identity, m.Version = k.source, k.dest, k.identity, k.version
		m.Fanout, m.TTL, m.Failed = k.fanout, k.ttl, k.failed
		return true
	}
	h.raw = raw
	return false
}

// keep remembers the header raw of m, which take has not known, in the place of an earlier one of the same names, or of the one that
// has not come for longest.
func (h *headers) keep(raw []byte, m *Message) {
	if len(raw) > mostHeaderSize || m.Signature != nil {
		return
	}
	i := slices.IndexFunc(h.list, func(k *header) bool {
		return k.source.Name == m.Source.Name && k.dest.Name == m.Dest.Name && k.failed == m.Failed
	})
	if i < 0 && len(h.list) < mostHeaders {
		h.list = append(h.list, new(header))
	}
	if i < 0 {
		i = len(h.list) - 1
	}
	k := h.first(i)
	h.bytes += len(raw) - len(k.raw)
	*k = header{
		raw: bytes.Clone(raw), source: m.Source, dest: m.Dest, identity: m.Identity, version: m.Version,
		fanout: m.Fanout, ttl: m.TTL, failed: m.Failed,
	}
	for n := len(h.list) - 1; h.bytes > mostHeaderBytes; n-- {
		h.bytes -= len(h.list[n].raw)
		h.list[n] = nil
		h.list = h.list[:n]
	}
}

// first makes header i the first one.
func (h *headers) first(i int) *header {
	k := h.list[i]
	copy(h.list[1:i+1], h.list[:i])
	h.list[0] = k
	return k
}
