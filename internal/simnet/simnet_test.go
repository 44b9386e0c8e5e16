package simnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("read %q, %v; want %q", b, err, want)
	}
}

func fails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Errorf("read %d, %v; want %v", n, err, want)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Errorf("written %d of %d, %v", n, len(s), err)
	}
}

func TestConnections(t *testing.T) {
	bubble(t, "dialled and accepted", func(t *testing.T) {
		var n Net
		l := n.Listen()
		c, err := n.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.RemoteAddr() != l.Addr() || c.LocalAddr() != s.RemoteAddr() || c.LocalAddr() == c.RemoteAddr() {
			t.Errorf("%v to %v, %v to %v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
		write(t, c, "there")
		write(t, s, "back")
		read(t, s, "there")
		read(t, c, "back")
	})
	bubble(t, "refused where nobody listens, or any more", func(t *testing.T) {
		var n Net
		l := n.Listen()
		for _, addr := range []string{"sim:99", l.Addr().String()} {
			_ = l.Close()
			if _, err := n.Dial(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
	})
	bubble(t, "reset when the listener closes before it accepts", func(t *testing.T) {
		var n Net
		l := n.Listen()
		c, err := n.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		fails(t, c, syscall.ECONNRESET)
	})
}

func TestBytesTakeTheirTime(t *testing.T) {
	bubble(t, "each write its own", func(t *testing.T) {
		a, b := (&Net{Delay: time.Second}).Pair()
		begin := time.Now()
		write(t, a, "x")
		time.Sleep(300 * time.Millisecond)
		write(t, a, "y")
		_ = a.CloseWrite()
		for _, want := range []time.Duration{time.Second, 1300 * time.Millisecond} {
			if n, err := b.Read(make([]byte, 10)); n != 1 || err != nil || time.Since(begin) != want {
				t.Errorf("%d bytes, %v, after %v, want %v", n, err, time.Since(begin), want)
			}
		}
		fails(t, b, io.EOF)
	})
	bubble(t, "a full buffer holds the writer", func(t *testing.T) {
		a, b := (&Net{Buffer: 10}).Pair()
		done := make(chan struct{})
		go func() { write(t, a, "0123456789abcdef"); close(done) }()
		synctest.Wait()
		select {
		case <-done:
			t.Error("16 bytes fitted into 10")
		default:
		}
		read(t, b, "0123456789abcdef")
		<-done
	})
	bubble(t, "deadlines", func(t *testing.T) {
		a, b := (&Net{Buffer: 1}).Pair()
		begin := time.Now()
		_ = a.SetReadDeadline(begin.Add(time.Second))
		fails(t, a, os.ErrDeadlineExceeded)
		_ = a.SetWriteDeadline(begin.Add(2 * time.Second))
		n, err := a.Write([]byte("xy"))
		if n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 2*time.Second {
			t.Errorf("written %d, %v, after %v", n, err, time.Since(begin))
		}
		go func() { time.Sleep(time.Second); _ = b.SetDeadline(time.Now()) }()
		read(t, b, "x")
		fails(t, b, os.ErrDeadlineExceeded)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("a deadline set meanwhile was seen after %v", took)
		}
	})
}

func TestEnds(t *testing.T) {
	bubble(t, "what was written before Close arrives", func(t *testing.T) {
		a, b := (&Net{Delay: time.Millisecond}).Pair()
		write(t, a, "last words")
		_ = a.Close()
		read(t, b, "last words")
		fails(t, b, io.EOF)
		fails(t, a, net.ErrClosed)
		if _, err := a.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("written to a closed connection: %v", err)
		}
	})
	bubble(t, "half closed, it still hears", func(t *testing.T) {
		a, b := new(Net).Pair()
		_ = a.CloseWrite()
		write(t, b, "answer")
		read(t, a, "answer")
		if _, err := a.Write([]byte{1}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("written after CloseWrite: %v", err)
		}
	})
	bubble(t, "closing with bytes unread resets", func(t *testing.T) {
		a, b := new(Net).Pair()
		write(t, a, "unheard")
		write(t, b, "said before")
		_ = b.Close()
		read(t, a, "said before")
		fails(t, a, syscall.ECONNRESET)
	})
	bubble(t, "writing to one that has closed resets", func(t *testing.T) {
		a, b := new(Net).Pair()
		write(t, b, "said before")
		_ = b.Close()
		if _, err := a.Write(bytes.Repeat([]byte{1}, 10)); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("written to one that has closed: %v", err)
		}
		read(t, a, "said before")
	})
	bubble(t, "a reset ends what waits", func(t *testing.T) {
		a, b := (&Net{Buffer: 1}).Pair()
		done := make(chan error)
		go func() { _, err := a.Write([]byte("xy")); done <- err }()
		go func() { _, err := a.Read(make([]byte, 1)); done <- err }()
		synctest.Wait()
		b.Reset()
		for range 2 {
			if err := <-done; !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
		}
	})
}
