package ws

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// cutter returns the lengths of pieces: all at once, or at random.
func cutter(seed uint64) func(left int) int {
	if seed == 0 {
		return func(left int) int { return left }
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	most := 1 + int(seed%40)
	return func(left int) int { return min(left, 1+rnd.IntN(most)) }
}

// outcome is all that must not depend on the cuts.
func outcome(k *talk, b []byte, seed uint64) string {
	cut := cutter(seed)
	for len(b) > 0 {
		n := cut(len(b))
		k.feed(b[:n])
		b = b[n:]
	}
	if len(k.c.Control()) > maxPongs+1<<10 {
		k.t.Fatalf("control of %d bytes", len(k.c.Control()))
	}
	if k.err != nil && (k.c.Open() || !k.c.Over()) {
		k.t.Fatal("open after", k.err)
	}
	s := fmt.Sprintf("%q %v %x", k.ev.lines, k.err, k.c.Control())
	k.c.InputEnded()
	if k.c.UnfinishedBytes() != 0 {
		k.t.Fatal("memory is left")
	}
	return s
}

func FuzzServerHandshake(f *testing.F) {
	for _, s := range []string{
		testRequest + "\r\n",
		testRequest + "Origin: x\r\nAuthorization: Bearer a\r\n\r\n\x82\x80abcd",
		strings.Replace(testRequest, " / ", " /?a=b&token=%41%4&c ", 1) + "\r\n",
		strings.Replace(testRequest, " / ", " http://h?token=a ", 1) + "\r\n",
		"POST /x HTTP/1.1\r\nHost:\t h \r\nContent-Length: 1\r\n\r\nx",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01", "GET / HTTP/1.0\n\n",
	} {
		f.Add([]byte(s), uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		var texts [2]string
		var opened bool
		for i, s := range []uint64{0, seed} {
			k := &talk{t: t}
			k.c.Init(Server, &Settings{MaxHead: 2000, MaxFields: 20})
			k.ev.onRequest = func(*Request) { opened, _ = k.c.Accept() }
			texts[i] = outcome(k, b, s)
		}
		if texts[0] != texts[1] {
			t.Errorf("depends on the cuts:\n%s\n%s", texts[0], texts[1])
		}
		if !opened {
			return
		}
		// What opens is a request for others, too, and says the same to them.
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return // stricter than we are about a host or the escapes of a path
		}
		if r.Method != "GET" || r.Host == "" || r.URL.Path != "/" && r.URL.Path != "" || r.Header.Get("Sec-Websocket-Version") != "13" ||
			len(r.Header.Get("Sec-Websocket-Key")) != keyLen || !strings.Contains(strings.ToLower(strings.Join(r.Header["Upgrade"], ",")), "websocket") {
			t.Errorf("opened by %+v", r)
		}
	})
}

func FuzzClientHandshake(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n\x82\x01a",
		"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\ntext", "HTTP/1.0 500 \r\n\r\nabc", "HTTP/1.1 200 \xff\r\na: b\r\n c\r\n",
	} {
		f.Add([]byte(s), uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		var texts [2]string
		for i, s := range []uint64{0, seed} {
			k := &talk{t: t}
			k.c.Init(Client, seeded(&Settings{MaxHead: 2000, MaxFields: 20}))
			if err := k.c.Upgrade(&Upgrade{Host: "h"}); err != nil {
				t.Fatal(err)
			}
			k.c.ControlDone()
			a := acceptOf(k.c.key[:])
			texts[i] = outcome(k, bytes.ReplaceAll(b, []byte("ACCEPT"), a[:]), s)
		}
		if texts[0] != texts[1] {
			t.Errorf("depends on the cuts:\n%s\n%s", texts[0], texts[1])
		}
	})
}

// FuzzFrames reads frames in pieces and whole, and with gobwas/ws.
func FuzzFrames(f *testing.F) {
	for _, masked := range []bool{true, false} {
		for _, b := range [][]byte{
			join(frame(0x82, masked, 'a'), frame(0x81, masked, []byte("é")...), frame(0x88, masked, 3, 232)),
			join(frame(0x01, masked, 0xc3), frame(0x89, masked, 'p'), frame(0x00, masked, 0xa9), frame(0x80, masked), frame(0x8a, masked)),
			join(frame(0x02, masked, make([]byte, 126)...), frame(0x80, masked, make([]byte, 300)...), frame(0x88, masked)),
			frame(0x81, masked, 0xf4, 0x90), frame(0x88, masked, 3, 237), frame(0xc2, masked), frame(0x83, masked), frame(0x08, masked),
			{0x82, 126, 0, 1, 'a'}, {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, {0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4},
		} {
			f.Add(b, uint64(3), masked)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, masked bool) {
		role := Client
		if masked {
			role = Server
		}
		set := Settings{Text: true, MaxMessage: 4000}
		whole := opened(t, role, &set)
		texts := [2]string{outcome(whole, b, 0), outcome(opened(t, role, &set), b, seed)}
		if texts[0] != texts[1] {
			t.Errorf("depends on the cuts:\n%s\n%s", texts[0], texts[1])
		}
		lines := slices.DeleteFunc(slices.Clone(whole.ev.lines), func(l string) bool { return strings.HasPrefix(l, "pong") })
		theirs, short, err := readGobwas(b, role)
		if whole.err == nil && err == nil && !slices.Equal(lines, theirs) {
			t.Errorf("ours %q, theirs %q", lines, theirs)
		}
		if n := min(len(lines), len(theirs)); !slices.Equal(lines[:n], theirs[:n]) {
			t.Errorf("ours %q, theirs %q", lines, theirs)
		}
		// They check neither the fewest bytes of a length, that of a ping included, nor the size of messages, floods or
		// codes of 5000 and more. A frame that is cut short is judged by what has come of it.
		if e, ok := whole.err.(*ConnError); ok && err == nil && !short && e.Code != TooBig && e.Flood == 0 &&
			!strings.Contains(e.Reason, "fewest") && !strings.Contains(e.Reason, "than 125") && !strings.HasPrefix(e.Reason, "close code") {
			t.Errorf("ours %v, theirs none: %q", e, theirs)
		}
		if whole.err == nil && err != nil {
			t.Errorf("ours none, theirs %v", err)
		}
	})
}

// readGobwas prints what gobwas/ws reads from b, up to the end, a Close or a fault. short: the end came inside a frame
// or a message.
func readGobwas(b []byte, role Role) (lines []string, short bool, err error) {
	state := gobwas.StateServerSide
	if role == Client {
		state = gobwas.StateClientSide
	}
	closed := errors.New("closed")
	src := bytes.NewReader(b)
	r := &wsutil.Reader{Source: src, State: state, CheckUTF8: true}
	r.OnIntermediate = func(h gobwas.Header, src io.Reader) error { return control(h, src, &lines, closed) }
	for {
		rest := src.Len()
		h, err := r.NextFrame()
		if err == nil && h.OpCode.IsControl() {
			if err = control(h, r, &lines, closed); err == nil {
				err = r.Discard()
			}
		} else if err == nil {
			var msg []byte
			if msg, err = io.ReadAll(r); err == nil && h.OpCode == gobwas.OpText && !utf8.Valid(msg) {
				err = wsutil.ErrInvalidUTF8 // which they miss when the last fragment is empty
			} else if err == nil {
				var e recorder
				e.Message(Kind(h.OpCode), msg, false)
				lines = append(lines, e.lines...)
			}
		}
		switch {
		case err == closed:
			return lines, false, nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return lines, rest > 0, nil
		case err != nil:
			return lines, false, err
		}
	}
}

// control reads a control frame of which it notes a Close.
func control(h gobwas.Header, src io.Reader, lines *[]string, closed error) error {
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(src, p); err != nil {
		return io.ErrUnexpectedEOF // io.EOF would be the end of the message around it
	}
	if h.OpCode != gobwas.OpClose {
		return nil
	}
	code, reason := gobwas.ParseCloseFrameData(p)
	if len(p) > 0 {
		known := code
		if code >= 1012 && code <= 1014 { // registered since
			known = gobwas.StatusNormalClosure
		}
		if err := gobwas.CheckCloseFrameData(known, reason); err != nil {
			return err
		}
		if len(p) == 1 {
			return errors.New("close of one byte")
		}
	}
	if len(p) == 0 {
		code = gobwas.StatusNoStatusRcvd
	}
	*lines = append(*lines, fmt.Sprintf("ended %d %q", code, reason))
	return closed
}
