package wire_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// unhex turns hex digits, in which spaces are free, into bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// field is an encoded length-delimited field.
func field(num int, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(uvarint(uvarint(nil, uint64(num)<<3|2), uint64(len(body))), body...)
}

// number is an encoded varint field.
func number(num int, v uint64) []byte { return uvarint(uvarint(nil, uint64(num)<<3), v) }

func uvarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// samplePublish is the shape that Rust apps send: null-id destination, strings, incoming_conn of the neighbour, a MAC,
// a session header and a small payload. identity and payload set its size.
func samplePublish(identity, payload int) []byte {
	h := &wire.PublishHeader{
		Source:   wire.Text("org", "ns", "alice").WithID(0x45a3143a5d0cf5aa, 0x036753f35deb7e6b),
		Dest:     wire.Text("org", "ns", "bob"),
		Identity: string(bytes.Repeat([]byte("i"), identity)),
		Fanout:   1, Version: "2.3.0", TTL: 8,
	}
	session := join(number(1, 1), number(2, 1), number(3, 301145826), number(4, 7))
	content := field(1, field(1, []byte("text")), field(2, bytes.Repeat([]byte("p"), payload)))
	plain := wire.AppendPublish(nil, h, session, content)
	var m wire.Message
	if err := wire.Scan(plain, &m); err != nil {
		panic(err)
	}
	head := join(m.Header.Of(plain), number(9, 3), field(11, bytes.Repeat([]byte{0xa5}, wire.MACSize)))
	return field(3, field(1, head), field(2, session), field(3, content))
}

// parse scans and parses b, which must be valid and not Odd.
func parse(t testing.TB, b []byte) (m wire.Message, h []byte, hd wire.Header) {
	t.Helper()
	if err := wire.Scan(b, &m); err != nil {
		t.Fatalf("Scan(%x): %v", b, err)
	}
	h = m.Header.Of(b)
	if err := wire.ParseHeader(h, &hd); err != nil {
		t.Fatalf("ParseHeader(%x): %v", h, err)
	}
	if m.Odd || hd.Odd {
		t.Fatalf("odd: message %v, header %v", m.Odd, hd.Odd)
	}
	return m, h, hd
}
