package rpc_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// script turns bytes into frames: for each key of a frame, and for the payload, a byte that chooses one of a few values, or none, or the bytes
// that follow. Another byte is how long it is until the next frame.
type script struct{ b []byte }

func (s *script) next() byte {
	if len(s.b) == 0 {
		return 0
	}
	x := s.b[0]
	s.b = s.b[1:]
	return x
}

// text is one of these, or, with a byte of 128 and more, the bytes that follow, up to 127 of them, as far as they are text, which
// is all that Publish takes; false: nothing.
func (s *script) text(among ...string) (string, bool) {
	x := s.next()
	switch {
	case x >= 128:
		n := min(int(x-128), len(s.b))
		text := strings.ToValidUTF8(string(s.b[:n]), "")
		s.b = s.b[n:]
		return text, true
	case int(x) < len(among):
		return among[x], true
	}
	return "", false
}

// keys of frames, and the values among which scripts choose.
var keys = []struct {
	key    string
	values []string
}{
	{"rpc-id", []string{"1", "2", ""}},
	{"slimrpc-dir", []string{"req", "res"}},
	{"service", []string{"acme.Echo", ".acme.Echo", ""}},
	{"method", []string{"Unary", "Empty", "Fail", "Panic", "Down", "Up", "Bidi", "Wait", ""}},
	{"slimrpc-code", []string{"0", "1", "16", "17", "-1", "x", ""}},
	{"slimrpc-timeout", []string{"946684830", "946684810.5", "-1", "NaN", "inf", "1e999", "x", ""}}, // bubbles begin in 2000: at 946684800
	{"user", []string{"value"}},
}

// script is how a frame is written, with a number of the values above in the order of keys, -1 for none.
func scripted(pause byte, payload string, values ...int) []byte {
	b := []byte{pause}
	for i := range keys {
		x := 127
		if i < len(values) && values[i] >= 0 {
			x = values[i]
		}
		b = append(b, byte(x))
	}
	return append(append(b, byte(128+len(payload))), payload...)
}

func (s *script) frame() (f session.Content, pause time.Duration) {
	pause = time.Duration(s.next()%8) * 700 * time.Millisecond
	f.Metadata = map[string]string{}
	for _, k := range keys {
		if text, ok := s.text(k.values...); ok {
			f.Metadata[k.key] = text
		}
	}
	text, _ := s.text("5", "x")
	f.Data = []byte(text)
	return f, pause
}

// mostFrames is how many of a script are sent.
const mostFrames = 12

// Whatever callers send: a server answers a call with frames of two keys, ends it at most once, says nothing after that, and serves others.
func FuzzServer(f *testing.F) {
	begin := func(method int) []byte { return scripted(0, "3", 0, 0, 0, method) }
	end := scripted(0, "", 0, 0, -1, -1, 0)
	for method := range 9 {
		f.Add(append(begin(method), end...))
		f.Add(append(append(begin(method), begin(method)...), scripted(7, "a", 0, 0)...))
	}
	for code := range 7 {
		f.Add(append(begin(5), scripted(1, "x", 0, 0, -1, -1, code)...))
		f.Add(append(append(begin(6), end...), scripted(1, "x", 0, 0, -1, -1, code)...))
		f.Add(scripted(0, "", 0, 0, 0, 5, code))
	}
	for deadline := range 8 {
		f.Add(scripted(0, "x", 0, 0, 0, 7, -1, deadline, 0))
	}
	f.Add(scripted(0, "x", -1, 0, 0, 0))
	f.Add(scripted(0, "x", 0, 1, 0, 0))
	f.Add(scripted(0, "x", 0, 0, 2, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			net := sessiontest.New(t, sessiontest.Options{Quiet: true})
			serve(t, net.App("org/ns/server"), rpc.ServerOptions{MaxTime: time.Minute, Buffer: 2000, SessionCalls: 3}, make(chan error, mostFrames))
			s, err := net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
			if err != nil {
				t.Fatal(err)
			}
			in := &script{b}
			for n := 0; n < mostFrames && len(in.b) > 0; n++ {
				frame, pause := in.frame()
				if _, err := s.Publish(t.Context(), frame); err != nil {
					t.Fatal(err)
				}
				time.Sleep(pause)
			}
			judgeAnswers(t, s)
			mustCall(t, dial(t, net.App("org/ns/client"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}}))
		})
	})
}

// judgeAnswers reads what a server has answered within the time that calls may take.
func judgeAnswers(t *testing.T, s *session.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := map[string]bool{}
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return
		}
		id := m.Metadata["rpc-id"]
		code, last := m.Metadata["slimrpc-code"]
		if n, err := strconv.Atoi(code); last && (err != nil || n < 0 || n > 16) {
			t.Errorf("a frame with code %q", code)
		}
		if id == "" || len(m.Metadata) > 2 || len(m.Metadata) == 2 && !last {
			t.Errorf("a frame with metadata %q", m.Metadata)
		}
		if ended[id] {
			t.Errorf("%q %q after the end of call %q", code, m.Data, id)
		}
		ended[id] = last
	}
}

// Whatever servers send: a call ends, at its deadline at the latest, with io.EOF or an *Error, and the same again; what it has received is
// bounded; and the client goes on with another server.
func FuzzClient(f *testing.F) {
	end := scripted(0, "", 0, -1, -1, -1, 0)
	reply := scripted(0, "a", 0)
	f.Add(append(append(reply, reply...), end...))
	f.Add(append(append(end, end...), reply...))
	for code := range 7 {
		f.Add(append(reply, scripted(2, "why", 0, -1, -1, -1, code)...))
		f.Add(scripted(0, "", 0, -1, -1, -1, code))
	}
	f.Add(scripted(0, "x", 1, -1, -1, -1, 0)) // of another call
	f.Add(scripted(0, "x", 0, 0))             // as from a caller
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			net := sessiontest.New(t, sessiontest.Options{Quiet: true})
			l, err := net.App("org/ns/bad").Listen(session.ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var server sync.WaitGroup
			defer server.Wait()
			server.Go(func() {
				s, err := l.Accept(context.Background())
				if err != nil {
					return
				}
				m, err := s.Receive(context.Background())
				if err != nil {
					return
				}
				in := &script{b}
				for n := 0; n < mostFrames && len(in.b) > 0; n++ {
					frame, pause := in.frame()
					if frame.Metadata["rpc-id"] == "1" {
						frame.Metadata["rpc-id"] = m.Metadata["rpc-id"]
					}
					_, _ = s.Publish(context.Background(), frame)
					time.Sleep(pause)
				}
			})
			c := rpc.NewClient(net.App("org/ns/caller"), session.MustName("org/ns/bad"), rpc.CallOptions{
				Session: session.SessionOptions{Plain: true}, Timeout: 10 * time.Second, Buffer: 2000,
			})
			began := time.Now()
			judgeReplies(t, c)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

func judgeReplies(t *testing.T, c *rpc.Client) {
	t.Helper()
	r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](t.Context(), c, down, raw(""))
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := r.Receive()
		if err == nil {
			continue
		}
		var e *rpc.Error
		if err != io.EOF && (!errors.As(err, &e) || e.Code == rpc.OK || e.Code > rpc.Unauthenticated) {
			t.Errorf("a call ends by %v", err)
		}
		if _, again := r.Receive(); again != err {
			t.Errorf("after %v: %v", err, again)
		}
		return
	}
}
