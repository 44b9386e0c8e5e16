package netloop

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

// What RFC 8446 demands of records and messages after the handshake, of what comes and of what is answered. The peer may cut its
// stream anywhere.
func TestRecordsOfRFC8446(t *testing.T) {
	t.Parallel()
	const (
		alert, handshake, data = 21, 22, 23
		unexpected             = "unexpected message"
		overflow               = "record overflow"
	)
	for _, tc := range []struct {
		name  string
		make  func(f *forge) []byte
		reads string // what the handler reads
		alert string // that the peer gets; "": none
		ends  bool   // the socket is closed at once
	}{
		// Section 5.1.
		{"no data in a record", func(f *forge) []byte { return append(f.seal(data, nil), f.seal(data, []byte("x"))...) }, "x", "", false},
		{"as many of them as are forgiven, again and again", func(f *forge) (b []byte) {
			for range 20 {
				for range 16 {
					b = append(b, f.seal(data, nil)...)
				}
				b = append(b, f.seal(data, []byte("x"))...)
			}
			return b
		}, strings.Repeat("x", 20), "", false},
		{"a flood of them", func(f *forge) (b []byte) {
			for range 18 {
				b = append(b, f.seal(data, nil)...)
			}
			return b
		}, "", unexpected, true},
		{"an empty alert", func(f *forge) []byte { return f.seal(alert, nil) }, "", unexpected, true},
		{"a part of an alert", func(f *forge) []byte { return f.seal(alert, []byte{1}) }, "", unexpected, true},
		{"an empty part of a handshake", func(f *forge) []byte { return f.seal(handshake, nil) }, "", unexpected, true},
		{"data within a message of the handshake", func(f *forge) []byte {
			return append(append(f.seal(handshake, []byte{24, 0}), f.seal(data, []byte("x"))...), f.seal(handshake, []byte{0, 1, 0})...)
		}, "", unexpected, true},
		{"an alert within one", func(f *forge) []byte { return append(f.seal(handshake, []byte{24, 0}), f.seal(alert, []byte{1, 0})...) }, "", unexpected, true},
		{"a message across a change of keys", func(f *forge) []byte { return f.seal(handshake, []byte{24, 0, 0, 1, 0, 24}) }, "", unexpected, true},
		{"a type that is none", func(f *forge) []byte { return f.seal(99, []byte("x")) }, "", unexpected, true},
		// Section 5.2: one byte more than a record may carry, and a record of the largest size.
		{"too much in a record", func(f *forge) []byte { return f.seal(data, make([]byte, maxRecord+1)) }, "", overflow, true},
		{"a full record", func(f *forge) []byte { return f.seal(data, bytes.Repeat([]byte("x"), maxRecord)) }, strings.Repeat("x", maxRecord), "", false},
		// Section 5.4.
		{"padding", func(f *forge) []byte { return f.seal(0, append([]byte("x\x17"), make([]byte, 1000)...)) }, "x", "", false},
		{"nothing but padding", func(f *forge) []byte { return f.seal(0, make([]byte, 10)) }, "", unexpected, true},
		// Section 5, where a change_cipher_spec after the handshake is to end the connection. crypto/tls passes over sixteen.
		{"a change of ciphers, protected", func(f *forge) []byte { return append(f.seal(20, []byte{1}), f.seal(data, []byte("x"))...) }, "x", "", false},
		{"a change of ciphers in the clear", func(f *forge) []byte { return append([]byte{20, 3, 3, 0, 1, 1}, f.seal(data, []byte("x"))...) }, "x", "", false},
		{"a flood of them", func(*forge) []byte { return bytes.Repeat([]byte{20, 3, 3, 0, 1, 1}, 18) }, "", unexpected, true},
		// Section 6.1: nothing after a close_notify counts; user_canceled means nothing.
		{"a close_notify and more", func(f *forge) []byte {
			return append(append(f.seal(data, []byte("x")), f.seal(alert, []byte{1, 0})...), f.seal(data, []byte("y"))...)
		}, "x", "close_notify", true},
		{"user_canceled", func(f *forge) []byte { return append(f.seal(alert, []byte{1, 90}), f.seal(data, []byte("x"))...) }, "x", "", false},
		// Section 6.2: an error ends the connection, whatever level it claims, and is not answered.
		{"an error", func(f *forge) []byte { return append(f.seal(alert, []byte{2, 40}), f.seal(data, []byte("x"))...) }, "", "", true},
		{"an error that says it is a warning", func(f *forge) []byte { return f.seal(alert, []byte{1, 40}) }, "", "", true},
		{"one that nobody knows", func(f *forge) []byte { return f.seal(alert, []byte{2, 200}) }, "", "", true},
		// Section 6: in the clear it is no alert, but a record that does not open.
		{"an alert in the clear", func(*forge) []byte { return []byte{alert, 3, 3, 0, 2, 1, 0} }, "", "bad record MAC", true},
		// Section 4.6: of messages after the handshake a client may send KeyUpdate.
		{"a second ClientHello", func(f *forge) []byte { return f.seal(handshake, []byte{1, 0, 0, 0}) }, "", "*", true},
		{"a second Finished", func(f *forge) []byte { return f.seal(handshake, append([]byte{20, 0, 0, 32}, make([]byte, 32)...)) }, "", unexpected, true},
		{"a ticket", func(f *forge) []byte { return f.seal(handshake, append([]byte{4, 0, 0, 15}, make([]byte, 15)...)) }, "", "*", true},
		{"a message that does not end", func(f *forge) (b []byte) {
			b = f.seal(handshake, []byte{24, 255, 255, 255})
			for range 8 {
				b = append(b, f.seal(handshake, make([]byte, maxRecord))...)
			}
			return b
		}, "", "*", true},
		// Section 4.6.3.
		{"a change of keys that asks for what is not defined", func(f *forge) []byte { return f.seal(handshake, []byte{24, 0, 0, 1, 2}) }, "", "*", true},
		{"data under keys of before", func(f *forge) []byte {
			old := *f
			b := f.update(0)
			old.seq = 1
			return append(b, old.seal(data, []byte("x"))...)
		}, "", "bad record MAC", true},
		{"a record twice", func(f *forge) []byte {
			r := f.seal(data, []byte("x"))
			return append(r, r...)
		}, "x", "bad record MAC", true},
	} {
		for _, step := range []int{1, 1 << 20} {
			h := &tape{}
			l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
			in := tc.make(newForge(t, m))
			for len(in) > 0 && !h.has("closed") {
				n := min(step, len(in))
				l.Deliver(k, in[:n])
				in = in[n:]
			}
			if got := h.got.String(); got != tc.reads || h.has("closed") != tc.ends {
				t.Errorf("%s, in steps of %d: read %d bytes, want %d; told %q, %v", tc.name, step, len(got), len(tc.reads), h.lines, h.err)
			}
			p, err := m.open(sent(fd))
			switch {
			case len(p) > 0:
				t.Errorf("%s: the peer reads %q", tc.name, p)
			case err == io.EOF && tc.alert != "close_notify":
				t.Errorf("%s: the peer is told that all is well", tc.name)
			case err == nil && tc.alert != "":
				t.Errorf("%s: the peer is told nothing", tc.name)
			case err != nil && err != io.EOF:
				if told := err.Error(); tc.alert != "*" && (tc.alert == "" && !strings.HasSuffix(told, unexpected) || !strings.HasSuffix(told, tc.alert)) {
					t.Errorf("%s: the peer is told %q, want %q", tc.name, told, tc.alert)
				}
			}
		}
	}
}

// shredder cuts what its TLS writes into records that carry a byte each, as long as nothing of it is sealed, with a change_cipher_spec after
// the first message, as peers send it for the sake of middleboxes.
type shredder struct {
	net.Conn
	sealed bool
	hello  bool
}

func (s *shredder) Write(p []byte) (int, error) {
	var out []byte
	for in := p; len(in) > 0; {
		n := recordHead + int(in[3])<<8 + int(in[4])
		r := in[:n]
		in = in[n:]
		if s.sealed = s.sealed || r[0] == 23; s.sealed || r[0] != 22 {
			out = append(out, r...)
			continue
		}
		for _, b := range r[recordHead:] {
			out = append(out, r[0], r[1], r[2], 0, 1, b)
		}
		if !s.hello {
			s.hello = true
			out = append(out, 20, 3, 3, 0, 1, 1)
		}
	}
	if _, err := s.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Messages of the handshake may be cut anywhere, and a change_cipher_spec may come at any time after the first: RFC 8446 section 5.1 and
// appendix D.4.
func TestHandshakeInPieces(t *testing.T) {
	for _, client := range []bool{true, false} {
		server, config := serving(t)
		server.MinVersion = tls.VersionTLS13
		here, there := net.Pipe()
		a, b := here, there
		if client {
			b = &shredder{Conn: there}
		} else {
			a = &shredder{Conn: here}
		}
		h := &tape{}
		l := NewManual(0, func(*Loop) Owner { return &boss{} })
		fds := socketPair(t)
		m := &memory{Conn: b}
		m.conn = tls.Client(m, config)
		done := make(chan error, 1)
		go func() { done <- m.conn.Handshake() }()
		k, err := l.AttachTLS(fds[0], a, server, h)
		if err != nil {
			t.Fatalf("client %v: %v, %v", client, err, <-done)
		}
		if err := <-done; err != nil {
			t.Fatalf("client %v: %v", client, err)
		}
		m.over = true
		l.Deliver(k, m.seal([]byte("hello")))
		if h.got.String() != "hello" {
			t.Errorf("client %v: read %q, %v", client, h.got.String(), h.err)
		}
	}
}
