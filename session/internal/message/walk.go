package message

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// mostDepth is how deep messages lie in one another: the halves of a name's id, in the participant of a command.
const mostDepth = 9

// walk is the way through one encoded message: a fields for each message that lies around the place where it is. The first
// mistake ends it.
type walk struct {
	fields [mostDepth]fields
	err    error
	known  *headers // nil: no header is remembered
}

// fields walks the fields of one encoded message.
type fields struct {
	b    []byte // what is left
	what string
	num  protowire.Number
	typ  protowire.Type
	v    uint64 // of a varint
	at   []byte // content of bytes
	seen uint32 // numbers of the messages that came

	walk  *walk
	depth int // place in walk.fields; the message around this one comes before it
}

func (f *fields) next() bool {
	if len(f.b) == 0 || f.walk.err != nil {
		return false
	}
	if n := f.short(); n > 0 {
		f.b = f.b[n:]
		return true
	}
	num, typ, n := protowire.ConsumeTag(f.b)
	if n < 0 || num > protowire.MaxValidNumber { // protowire lets more of them pass than protobuf does
		f.fail("", ErrForm)
		return false
	}
	b := f.b[n:]
	v := protowire.ConsumeFieldValue(num, typ, b)
	if v < 0 {
		f.fail("", ErrForm)
		return false
	}
	f.num, f.typ = num, typ
	switch typ {
	case protowire.VarintType:
		f.v, _ = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.at, _ = protowire.ConsumeBytes(b)
	}
	f.b = b[v:]
	return true
}

// short takes a field as nearly all are: a tag of one byte, and a number of up to five bytes, or bytes with a length of one or
// two. It returns its length; 0: it is another one, or a mistake.
func (f *fields) short() int {
	b := f.b
	if b[0] < 1<<3 || b[0] >= 0x80 {
		return 0
	}
	f.num, f.typ = protowire.Number(b[0]>>3), protowire.Type(b[0]&7)
	switch f.typ {
	case protowire.VarintType:
		v := uint64(0)
		for i := 1; i < len(b) && i <= 5; i++ {
			v |= uint64(b[i]&0x7f) << (7 * (i - 1))
			if b[i] < 0x80 {
				f.v = v
				return i + 1
			}
		}
	case protowire.BytesType:
		var n int
		from := 2
		switch {
		case len(b) >= 2 && b[1] < 0x80:
			n = int(b[1])
		case len(b) >= 3 && b[2] < 0x80:
			from, n = 3, int(b[1]&0x7f)|int(b[2])<<7
		default:
			return 0
		}
		if n <= len(b)-from {
			f.at = b[from : from+n]
			return from + n
		}
	}
	return 0
}

// fail notes that field, of the message walked here, is wrong.
func (f *fields) fail(field string, err error) {
	if f.walk.err != nil {
		return
	}
	path := field
	for i := f.depth; i >= 0; i-- {
		path = f.walk.fields[i].what + "." + path
	}
	f.walk.err = &Error{strings.TrimSuffix(path, "."), err}
}

func (f *fields) uint() uint64 {
	if f.typ != protowire.VarintType {
		f.fail("", ErrForm)
		return 0
	}
	return f.v
}

func (f *fields) bytes() []byte {
	if f.typ != protowire.BytesType {
		f.fail("", ErrForm)
		return nil
	}
	return f.at[:len(f.at):len(f.at)]
}

func (f *fields) text() string {
	b := f.bytes()
	if !utf8.Valid(b) {
		f.fail("", ErrForm)
		return ""
	}
	return string(b)
}

// key is text that says what something else is: apps say the same ones again and again. The entry is what is known of it; nil: nothing.
func (f *fields) key() (string, *entry) {
	known := f.walk.known
	if known == nil || f.typ != protowire.BytesType {
		return f.text(), nil
	}
	if e, ok := known.keys[string(f.at)]; ok {
		return e.key, e
	}
	k := f.text()
	if len(known.keys) >= mostKeys || len(k) > mostKeySize || f.walk.err != nil {
		return k, nil
	}
	if known.keys == nil {
		known.keys = map[string]*entry{}
	}
	e := &entry{key: k}
	known.keys[k] = e
	return k, e
}

// value is the text of a key: messages of a stream say the same one after the other.
func (f *fields) value(e *entry) string {
	if e == nil || f.typ != protowire.BytesType || len(f.at) > mostValueSize {
		return f.text()
	}
	if string(f.at) != e.value {
		v := f.text()
		if f.walk.err != nil {
			return ""
		}
		e.value = v
	}
	return e.value
}

// message begins the walk of the field's content, a message that may occur once.
func (f *fields) message(name string) *fields {
	if f.has(f.num) {
		f.fail(name, ErrTwice)
	}
	f.seen |= 1 << f.num
	return f.element(name)
}

// has reports whether message has begun to walk the field num, which is one of the first thirty-one.
func (f *fields) has(num protowire.Number) bool { return f.seen&(1<<num) != 0 }

// element begins the walk of the field's content, a message that may occur many times. It is over when the next one begins.
func (f *fields) element(name string) *fields {
	b := f.bytes()
	sub := &f.walk.fields[f.depth+1]
	*sub = fields{b: b, what: name, walk: f.walk, depth: f.depth + 1}
	return sub
}

// payloadType is text that is nearly always the same.
func (f *fields) payloadType() string {
	h := f.walk.known
	if h == nil || f.typ != protowire.BytesType || string(f.at) != h.payloadType {
		t := f.text()
		if h != nil && len(t) <= mostPayloadType {
			h.payloadType = t
		}
		return t
	}
	return h.payloadType
}
