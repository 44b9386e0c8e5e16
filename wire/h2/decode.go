package h2

import "golang.org/x/net/http2/hpack"

// Decoding of header blocks, RFC 7541 section 6. Nothing is allocated for a field: its octets are copied into memory of
// the block, which later blocks use again.

// field is one decoded field. Borrowed: until its block is released.
type field struct{ name, value []byte }

func (f *field) pseudo() bool { return len(f.name) > 0 && f.name[0] == ':' }

// decodeResult says what became of one representation.
type decodeResult uint8

const (
	decodeDone decodeResult = iota
	decodeMore              // its end has not arrived
	decodeBad               // COMPRESSION_ERROR
	decodeLong              // a string longer than any block may be
)

// decode takes the next fragment of the block k.
func (c *Conn) decode(k *block, b []byte) decodeResult {
	kept := len(k.rest) > 0
	if kept {
		k.rest = append(k.rest, b...)
		b = k.rest
	}
	whole := len(b)
	for len(b) > 0 {
		n, res := c.decodeOne(k, b)
		if res == decodeMore {
			break
		}
		if res != decodeDone {
			return res
		}
		b = b[n:]
	}
	if !kept || len(b) < whole { // else it lies there: a field in a thousand pieces is not moved a thousand times
		k.rest = append(k.rest[:0], b...)
	}
	return decodeDone
}

// decodeOne takes one representation from the front of b and returns its length.
func (c *Conn) decodeOne(k *block, b []byte) (int, decodeResult) {
	switch {
	case b[0]&0x80 != 0:
		return c.decodeIndexed(k, b)
	case b[0]&0xc0 == 0x40: // RFC 7541 section 6.2.1
		return c.decodeLiteral(k, b, 6)
	case b[0]&0xe0 == 0x20:
		n, size, res := readInt(b, 5)
		if res == decodeDone && (k.begun || !c.table.setLimit(size)) { // RFC 7541 section 4.2: only at the beginning of a block
			res = decodeBad
		}
		return n, res
	}
	return c.decodeLiteral(k, b, 4) // RFC 7541 sections 6.2.2 and 6.2.3
}

// decodeIndexed: RFC 7541 section 6.1.
func (c *Conn) decodeIndexed(k *block, b []byte) (int, decodeResult) {
	n, i, res := readInt(b, 7)
	if res != decodeDone {
		return 0, res
	}
	f, fixed, ok := c.table.get(i)
	if !ok {
		return 0, decodeBad
	}
	if c.count(k, f) {
		if !fixed {
			f = field{name: k.keep(f.name), value: k.keep(f.value)}
		}
		k.add(f)
	}
	return n, decodeDone
}

// decodeLiteral takes a literal whose index has so many bits: 6 for one that enters the dynamic table.
func (c *Conn) decodeLiteral(k *block, b []byte, bits uint) (int, decodeResult) {
	n, i, res := readInt(b, bits)
	if res != decodeDone {
		return 0, res
	}
	var name, value text
	if i == 0 {
		if name, res = c.readText(b[n:]); res != decodeDone {
			return 0, res
		}
		n += name.n
	}
	if value, res = c.readText(b[n:]); res != decodeDone {
		return 0, res
	}
	n += value.n

	var f field
	used := len(k.octets)
	var ok bool
	if i == 0 {
		f.name, ok = k.decodeText(name)
	} else {
		var fixed bool
		if f, fixed, ok = c.table.get(i); !fixed && (bits == 6 || !k.over) { // else nobody reads it
			f.name = k.keep(f.name)
		}
	}
	if !ok {
		return 0, decodeBad
	}
	if f.value, ok = k.decodeText(value); !ok {
		return 0, decodeBad
	}
	if bits == 6 {
		c.table.insert(f.name, f.value)
	}
	if c.count(k, f) {
		k.add(f)
	} else {
		k.octets = k.octets[:used]
	}
	return n, decodeDone
}

// text is an encoded string literal (RFC 7541 section 5.2).
type text struct {
	n       int // of b that it takes, length included
	octets  []byte
	huffman bool
}

func (c *Conn) readText(b []byte) (text, decodeResult) {
	if len(b) == 0 {
		return text{}, decodeMore
	}
	n, size, res := readInt(b, 7)
	switch {
	case res != decodeDone:
		return text{}, res
	case size > c.blockLimit():
		return text{}, decodeLong // said before its octets arrive
	case uint32(len(b)-n) < size:
		return text{}, decodeMore
	}
	end := n + int(size)
	return text{n: end, octets: b[n:end], huffman: b[0]&0x80 != 0}, decodeDone
}

// readInt reads an integer whose first octet has so many bits of it (RFC 7541 section 5.1). What takes more than four
// further octets is larger than anything here.
func readInt(b []byte, bits uint) (n int, v uint32, res decodeResult) {
	limit := uint32(1)<<bits - 1
	if v = uint32(b[0]) & limit; v < limit {
		return 1, v, decodeDone
	}
	for i := 1; i < len(b); i++ {
		if i > 4 {
			return 0, 0, decodeBad
		}
		v += uint32(b[i]&0x7f) << (7 * uint(i-1))
		if b[i] < 0x80 {
			return i + 1, v, decodeDone
		}
	}
	return 0, 0, decodeMore
}

// keep copies p into the block's memory.
func (k *block) keep(p []byte) []byte {
	at := len(k.octets)
	k.octets = append(k.octets, p...)
	return k.octets[at:len(k.octets):len(k.octets)]
}

// decodeText copies the string into the block's memory.
func (k *block) decodeText(t text) ([]byte, bool) {
	if !t.huffman {
		return k.keep(t.octets), true
	}
	at := len(k.octets)
	if _, err := hpack.HuffmanDecode(k, t.octets); err != nil {
		return nil, false
	}
	return k.octets[at:len(k.octets):len(k.octets)], true
}

// Write is for HuffmanDecode.
func (k *block) Write(p []byte) (int, error) {
	k.octets = append(k.octets, p...)
	return len(p), nil
}
