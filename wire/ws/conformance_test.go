package ws

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The cases of Autobahn|Testsuite, sections 1 to 7, 9 and 10, written from what they ask for. Both roles echo; the
// program itself runs with the build tag autobahn. A case is written as a client sends it, without masks.

// script is one case: what is sent, and what has come back when all of it is read.
type script struct {
	id   string
	send []byte // frames of the peer, not masked
	want string // as printFrames has it; the reason of a Close of ours is left out
	chop int    // bytes in one read; 0: all
}

// f is a frame that is not masked.
func f(b0 byte, payload string) []byte { return frame(b0, false, []byte(payload)...) }

var bye = f(0x88, "\x03\xe8")

const (
	echoedBye  = "8 1000"
	protocol   = "8 1002"
	badPayload = "8 1007"
)

// run feeds the case to an engine that echoes and returns what it said.
func (s *script) run(t *testing.T, role Role, chop int) string {
	b := s.send
	if role == Server {
		b = remask(b)
	}
	k := opened(t, role, &Settings{Text: true})
	var said bytes.Buffer
	e := &echoer{n: &said, c: &k.c}
	for at := 0; at < len(b); {
		n := len(b) - at
		if chop > 0 {
			n = min(n, chop)
		}
		_ = e.c.Feed(append([]byte(nil), b[at:at+n]...), e)
		e.flush()
		at += n
	}
	lines := strings.Split(printFrames(t, said.Bytes()), "; ")
	for i, l := range lines {
		if len(l) > 6 && l[0] == '8' {
			lines[i] = l[:6]
		}
	}
	return strings.Join(lines, "; ")
}

// remask masks frames that are not.
func remask(b []byte) (out []byte) {
	for len(b) > 0 {
		size := headerSize(b[1])
		if len(b) < size {
			return append(out, b...)
		}
		n := int(b[1] & 0x7f)
		switch n {
		case len16:
			n = int(b[2])<<8 | int(b[3])
		case len64:
			n = int(b[6])<<24 | int(b[7])<<16 | int(b[8])<<8 | int(b[9])
		}
		out = appendHeader(out, opcode(b[0]&0xf), false, n, true, testKey)
		out[len(out)-headerSize(b[1]|bitMask)] = b[0]
		at, n := len(out), min(n, len(b)-size) // the last one may be cut short
		out = append(out, b[size:size+n]...)
		mask(out[at:], testKey)
		b = b[size+n:]
	}
	return out
}

func text(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("1 len %d", len(s))
	}
	return fmt.Sprintf("1 %q", s)
}

func TestConformance(t *testing.T) {
	cases := slices.Concat(echoCases(), pingCases(), reservedCases(), fragmentCases(), textCases(), closeCases())
	for _, role := range []Role{Server, Client} {
		for i := range cases {
			s := &cases[i]
			for _, chop := range []int{s.chop, 1} {
				if chop == 1 && len(s.send) > 5000 {
					continue
				}
				if got := s.run(t, role, chop); got != s.want {
					t.Errorf("case %s, role %d, reads of %d: %s, want %s", s.id, role, chop, got, s.want)
				}
			}
		}
	}
}

// echoCases: messages of all lengths of a length, 1.1 and 1.2.
func echoCases() (all []script) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		chop := 0
		if i == 7 {
			chop = 997
		}
		star, fe := strings.Repeat("*", n), strings.Repeat("\xfe", n)
		want := fmt.Sprintf("2 len %d", n)
		if n == 0 {
			want = `2 ""`
		}
		all = append(all, script{fmt.Sprintf("1.1.%d", i+1), join(f(0x81, star), bye), text(star) + "; " + echoedBye, chop},
			script{fmt.Sprintf("1.2.%d", i+1), join(f(0x82, fe), bye), want + "; " + echoedBye, chop})
	}
	return all
}

// pingCases: section 2.
func pingCases() []script {
	long := strings.Repeat("\xfe", 125)
	ten, pongs := []byte(nil), ""
	for i := range 10 {
		ten = append(ten, f(0x89, fmt.Sprint("payload ", i))...)
		pongs += fmt.Sprintf("a %q; ", fmt.Sprint("payload ", i))
	}
	return []script{
		{"2.1", join(f(0x89, ""), bye), `a ""; ` + echoedBye, 0},
		{"2.2", join(f(0x89, "Hello, world!"), bye), `a "Hello, world!"; ` + echoedBye, 0},
		{"2.3", join(f(0x89, "\x00\xff\xfe\xfd"), bye), `a "\x00\xff\xfe\xfd"; ` + echoedBye, 0},
		{"2.4", join(f(0x89, long), bye), "a len 125; " + echoedBye, 0},
		{"2.5", join(f(0x89, long+"\xfe"), bye), protocol, 0},
		{"2.6", join(f(0x89, long), bye), "a len 125; " + echoedBye, 1},
		{"2.7", join(f(0x8a, ""), bye), echoedBye, 0},
		{"2.8", join(f(0x8a, "unsolicited"), bye), echoedBye, 0},
		{"2.9", join(f(0x8a, "unsolicited"), f(0x89, "ping"), bye), `a "ping"; ` + echoedBye, 0},
		{"2.10", join(ten, bye), pongs + echoedBye, 0},
		{"2.11", join(ten, bye), pongs + echoedBye, 1},
	}
}

// reservedCases: bits and opcodes, sections 3 and 4. What came before is answered.
func reservedCases() []script {
	hello := f(0x81, "Hello")
	ping := f(0x89, "")
	all := []script{
		{"3.1", f(0x81|0x10, "Hello"), protocol, 0},
		{"3.2", join(hello, f(0x81|0x20, "Hello"), ping), text("Hello") + "; " + protocol, 0},
		{"3.3", join(hello, f(0x81|0x30, "Hello"), ping), text("Hello") + "; " + protocol, 7},
		{"3.4", join(hello, f(0x81|0x40, "Hello"), ping), text("Hello") + "; " + protocol, 1},
		{"3.5", f(0x82|0x50, "\x00\xff"), protocol, 0},
		{"3.6", f(0x89|0x60, "Hello"), protocol, 0},
		{"3.7", f(0x88|0x70, ""), protocol, 0},
	}
	for section, first := range []byte{3, 11} {
		for i := range byte(5) {
			op := 0x80 | first + i
			bad, before := f(op, ""), []byte(nil)
			want := protocol
			if i == 1 || i == 4 {
				bad = f(op, "reserved opcode")
			}
			if i >= 2 {
				before, want = hello, text("Hello")+"; "+protocol
			}
			all = append(all, script{fmt.Sprintf("4.%d.%d", section+1, i+1), join(before, bad, ping), want, 0})
		}
	}
	return all
}

// fragmentCases: section 5, and large messages in sections 9 and 10.
func fragmentCases() []script {
	a, b, ping := f(0x01, "fragment1"), f(0x80, "fragment2"), f(0x89, "ping")
	both, pong := text("fragment1fragment2"), `a "ping"; `
	alone, open := f(0x80, "x"), f(0x00, "x")
	hello := f(0x81, "Hello")
	five := join(a, f(0x00, "2"), f(0x89, "p1"), f(0x00, "3"), f(0x00, "4"), f(0x89, "p2"), f(0x80, "5"), bye)
	all := []script{
		{"5.1", join(f(0x09, "a"), f(0x80, "b")), protocol, 0},
		{"5.2", join(f(0x0a, "a"), f(0x80, "b")), protocol, 0},
		{"5.3", join(a, b, bye), both + "; " + echoedBye, 0},
		{"5.4", join(a, b, bye), both + "; " + echoedBye, 11},
		{"5.5", join(a, b, bye), both + "; " + echoedBye, 1},
		{"5.6", join(a, ping, b, bye), pong + both + "; " + echoedBye, 0},
		{"5.7", join(a, ping, b, bye), pong + both + "; " + echoedBye, 11},
		{"5.8", join(a, ping, b, bye), pong + both + "; " + echoedBye, 1},
		{"5.9", join(alone, hello), protocol, 0},
		{"5.10", join(alone, hello), protocol, 3},
		{"5.11", join(alone, hello), protocol, 1},
		{"5.12", join(open, hello), protocol, 0},
		{"5.13", join(open, hello), protocol, 3},
		{"5.14", join(open, hello), protocol, 1},
		{"5.15", join(a, b, open, hello), both + "; " + protocol, 0},
		{"5.16", join(open, a, b), protocol, 0},
		{"5.17", join(alone, a, b), protocol, 0},
		{"5.18", join(a, f(0x81, "fragment2")), protocol, 0},
		{"5.19", five, `a "p1"; a "p2"; ` + text("fragment12345") + "; " + echoedBye, 0},
		{"5.20", five, `a "p1"; a "p2"; ` + text("fragment12345") + "; " + echoedBye, 10},
	}
	for i, n := range []int{64 << 10, 256 << 10, 1 << 20} { // 9.1 and 9.2: in one frame
		big := strings.Repeat("*", n)
		all = append(all, script{fmt.Sprintf("9.1.%d", i+1), join(f(0x81, big), bye), text(big) + "; " + echoedBye, 0},
			script{fmt.Sprintf("9.5.%d", i+1), join(f(0x82, big), bye), fmt.Sprintf("2 len %d; ", n) + echoedBye, 1024 << i})
	}
	whole := strings.Repeat("*", 1<<20)
	for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10} { // 9.3 and 9.4: in fragments
		all = append(all, script{fmt.Sprintf("9.3.%d", i+1), join(fragments(0x01, whole, n), bye), text(whole) + "; " + echoedBye, 64 << 10},
			script{fmt.Sprintf("9.4.%d", i+1), join(fragments(0x02, whole, n), bye), fmt.Sprintf("2 len %d; ", 1<<20) + echoedBye, 64 << 10})
	}
	for i, n := range []int{0, 16, 64, 256, 1024, 4096} { // 9.7 and 9.8: a thousand in a row
		many, want := []byte(nil), ""
		msg := strings.Repeat("*", n)
		for range 1000 {
			many = append(many, f(0x81, msg)...)
			want += text(msg) + "; "
		}
		all = append(all, script{fmt.Sprintf("9.7.%d", i+1), join(many, bye), want + echoedBye, 0})
	}
	big := strings.Repeat("*", 65536)
	return append(all, script{"10.1.1", join(fragments(0x01, big, 1300), bye), text(big) + "; " + echoedBye, 0})
}

// fragments cuts a message.
func fragments(b0 byte, msg string, n int) (b []byte) {
	for len(msg) > n {
		b = append(b, f(b0, msg[:n])...)
		b0, msg = 0x00, msg[n:]
	}
	return append(b, f(0x80|b0, msg)...)
}

// textCases: section 6.
func textCases() []script {
	all := []script{
		{"6.1.1", join(f(0x81, ""), bye), text("") + "; " + echoedBye, 0},
		{"6.1.2", join(f(0x01, ""), f(0x00, ""), f(0x80, ""), bye), text("") + "; " + echoedBye, 0},
		{"6.1.3", join(f(0x01, ""), f(0x00, "middle"), f(0x80, ""), bye), text("middle") + "; " + echoedBye, 0},
	}
	const greek = "Hello-µ@ßöäüàá-UTF-8!!"
	all = append(all, script{"6.2.1", join(f(0x81, greek), bye), text(greek) + "; " + echoedBye, 0},
		script{"6.2.2", join(f(0x01, greek[:12]), f(0x80, greek[12:]), bye), text(greek) + "; " + echoedBye, 0},
		script{"6.2.3", join(fragments(0x01, greek, 1), bye), text(greek) + "; " + echoedBye, 0},
		script{"6.2.4", join(fragments(0x01, "κόσμε", 1), bye), text("κόσμε") + "; " + echoedBye, 0})
	const bad = "κόσμε\xed\xa0\x80edited"
	all = append(all, script{"6.3.1", join(f(0x81, bad), bye), badPayload, 0},
		script{"6.3.2", join(fragments(0x01, bad, 1), bye), badPayload, 0},
		// 6.4: told before the message is complete
		script{"6.4.1", join(f(0x01, "κόσμε"), f(0x00, "\xf4\x90\x80\x80")), badPayload, 0},
		script{"6.4.2", join(f(0x01, "κόσμε\xf4"), f(0x00, "\x90")), badPayload, 0},
		script{"6.4.3", f(0x81, "κόσμε\xf4\x90\x80\x80edited")[:2+len("κόσμε\xf4\x90")], badPayload, 0},
		script{"6.4.4", f(0x81, "κόσμε\xf4\x90\x80\x80edited")[:2+len("κόσμε\xf4\x90")], badPayload, 1})
	good := []string{"κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\U0010ffff", "\xed\x9f\xbf", "\ue000",
		"\ufffd", "\ufffe", "\U0001fffe", "\U0010fffe"}
	wrong := []string{"\xce\xba\xe1", "\xce\xba\xe1\xbd", "\xce", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf",
		"\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80", "\x80", "\xbf", "\x80\xbf\x80", "\xc0 \xc1 ", "\xe0 \xef ",
		"\xf0 \xf7 ", "\xf8 \xfb ", "\xfc \xfd ", "\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
		"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80"}
	for i, s := range good {
		all = append(all, script{fmt.Sprint("6.5 to 6.22, valid ", i), join(f(0x81, s), bye), text(s) + "; " + echoedBye, 0},
			script{fmt.Sprint("6.5 to 6.22, valid in fragments ", i), join(fragments(0x01, s, 1), bye), text(s) + "; " + echoedBye, 0})
	}
	for i, s := range wrong {
		all = append(all, script{fmt.Sprint("6.6 to 6.21, not valid ", i), join(f(0x81, s), bye), badPayload, 0},
			script{fmt.Sprint("6.6 to 6.21, not valid in fragments ", i), join(fragments(0x01, s, 1), bye), badPayload, 0})
	}
	return all
}

// closeCases: section 7.
func closeCases() []script {
	code := func(n int, reason string) []byte { return f(0x88, string([]byte{byte(n >> 8), byte(n)})+reason) }
	hello := f(0x81, "Hello")
	long := strings.Repeat("*", 123)
	all := []script{
		{"7.1.1", join(hello, bye), text("Hello") + "; " + echoedBye, 0},
		{"7.1.2", join(bye, bye), echoedBye, 0},
		{"7.1.3", join(bye, f(0x89, "")), echoedBye, 0},
		{"7.1.4", join(bye, hello), echoedBye, 0},
		{"7.1.5", join(f(0x01, "a"), bye, f(0x80, "b")), echoedBye, 0},
		{"7.1.6", join(f(0x81, strings.Repeat("*", 256<<10)), hello, bye, f(0x89, "")), "1 len 262144; " + text("Hello") + "; " + echoedBye, 0},
		{"7.3.1", f(0x88, ""), `8 ""`, 0},
		{"7.3.2", f(0x88, "a"), protocol, 0},
		{"7.3.3", code(1000, ""), echoedBye, 0},
		{"7.3.4", code(1000, "Hello World!"), echoedBye, 0},
		{"7.3.5", code(1000, long), echoedBye, 0},
		{"7.3.6", code(1000, long+"*"), protocol, 0},
		{"7.5.1", code(1000, "\xce\xba\xed\xa0\x80"), badPayload, 0},
	}
	for i, n := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		all = append(all, script{fmt.Sprintf("7.7.%d", i+1), code(n, ""), fmt.Sprintf("8 %d", n), 0})
	}
	for i, n := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		all = append(all, script{fmt.Sprintf("7.9.%d", i+1), code(n, ""), protocol, 0})
	}
	return append(all, script{"7.13.1", code(5000, ""), protocol, 0}, script{"7.13.2", code(65535, ""), protocol, 0})
}
