package admin

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes chan net.Conn

func (l pipes) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (l pipes) Close() error   { close(l); return nil }

// connect comes and says something, which whoever does not read need not have sent when it returns.
func (l pipes) connect(says string) net.Conn {
	ours, theirs := net.Pipe()
	l <- theirs
	go func() { _, _ = io.WriteString(ours, says) }()
	return ours
}

const askLivez, askMetrics = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

// answered reads one answer.
func answered(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Errorf("no answer within a second: %v", err)
		return
	}
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the answer is %d, %v", resp.StatusCode, err)
	}
}

// Whoever is there: a probe is answered within a second.
func TestProbesAreAnsweredInACrowd(t *testing.T) {
	for name, come := range map[string]func(*testing.T, pipes){
		"they read nothing": func(_ *testing.T, l pipes) { l.connect(strings.Repeat(askMetrics, 200)) },
		"they say nothing":  func(_ *testing.T, l pipes) { l.connect("") },
		"they never finish": func(_ *testing.T, l pipes) { l.connect(askLivez[:10]) },
		"they may ask more": func(t *testing.T, l pipes) { answered(t, l.connect(askLivez)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := make(pipes, 10*maxConns)
				s := startOn(l, Options{Services: func() []Service { return nil }, Ready: func() error { return nil },
					Log: slog.New(slog.DiscardHandler)})
				for range 3 * maxConns {
					come(t, l)
				}
				for range 5 {
					answered(t, l.connect(askLivez))
				}
				s.Close()
			})
		})
	}
}

// Those who do not read their answers keep nobody from being answered, by what takes work neither.
func TestAnswersThatNobodyReadsKeepNobodyFromWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes, 10*maxConns)
		s := startOn(l, Options{Services: func() []Service { return nil }, Ready: func() error { return nil },
			Log: slog.New(slog.DiscardHandler)})
		for range 2 * maxRequests {
			l.connect(askMetrics)
			synctest.Wait()
		}
		answered(t, l.connect(askMetrics))
		s.Close()
	})
}

// A long answer is sent as it comes, and all of it.
func TestLongAnswersAreNotKept(t *testing.T) {
	for _, size := range []int{0, 100, maxKept, maxKept + 1, 3 * maxKept} {
		w := httptest.NewRecorder()
		a := &answer{ResponseWriter: w}
		a.Header().Set("X", "y")
		a.WriteHeader(http.StatusTeapot)
		for left := size; left > 0; left -= min(left, 1000) {
			if _, err := a.Write(make([]byte, min(left, 1000))); err != nil {
				t.Fatal(err)
			}
		}
		if sent := w.Body.Len(); (sent > 0) != (size > maxKept) {
			t.Errorf("of %d bytes %d are sent at once", size, sent)
		}
		if a.send(); w.Body.Len() != size || w.Code != http.StatusTeapot || w.Header().Get("X") != "y" {
			t.Errorf("of %d bytes %d are sent, with code %d", size, w.Body.Len(), w.Code)
		}
	}
}

// Room is made by whoever has been idle for the longest, then by whoever has kept the server waiting for the longest;
// nobody who has just come has to go.
func TestWhoMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes, 10*maxConns)
		s := startOn(l, Options{Services: func() []Service { return nil }, Ready: func() error { return nil },
			Log: slog.New(slog.DiscardHandler)})
		var silent, idle []net.Conn
		for range maxConns - 2 {
			silent = append(silent, l.connect(""))
			time.Sleep(time.Millisecond)
		}
		for range 2 {
			idle = append(idle, l.connect(askLivez))
			answered(t, idle[len(idle)-1])
			time.Sleep(time.Millisecond)
		}
		gone := func(c net.Conn) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Nanosecond))
			_, err := c.Read(make([]byte, 1))
			return err == io.EOF
		}
		for i, c := range append(idle, silent[:5]...) {
			if gone(c) {
				t.Errorf("number %d makes room before it has to", i)
			}
			l.connect("")
			if time.Sleep(2 * grace); !gone(c) {
				t.Errorf("number %d makes no room", i)
			}
		}
		for i, c := range silent[5:] {
			if gone(c) {
				t.Errorf("number %d makes room for nobody", i)
			}
		}
		s.Close()
	})
}
