package load

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns two ends of a TCP connection.
func pair(t *testing.T) (out, in net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if in, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close(); _ = in.Close() })
	return out, in
}

// Writes that the peer's full buffers hold up count as waiting; writes that go straight into them do not.
func TestSocketTellsWaitingFromWriting(t *testing.T) {
	out, in := pair(t)
	s := NewSocket(out)
	if n, err := s.Write(make([]byte, 1000)); n != 1000 || err != nil || s.Waited() != 0 {
		t.Fatalf("%d bytes written, %v, waited %d", n, err, s.Waited())
	}
	const total = 32 << 20 // more than both buffers take
	full, read := make(chan struct{}), make(chan error, 1)
	attempt := s.attempt
	s.attempt = func(fd uintptr) bool {
		done := attempt(fd)
		close(full)
		return done
	}
	go func() {
		<-full // until then the peer takes nothing
		_, err := io.CopyN(io.Discard, in, total+1000)
		read <- err
	}()
	begun := Now()
	if n, err := s.Write(make([]byte, total)); n != total || err != nil {
		t.Fatalf("%d bytes written, %v", n, err)
	}
	took := Now() - begun
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if w := s.Waited(); w <= 0 || w > took {
		t.Errorf("waited %v of %v", time.Duration(w), time.Duration(took))
	}
	s.attempt = attempt
	_ = in.Close()
	var err error
	for err == nil {
		_, err = s.Write(make([]byte, 1000))
	}
	_ = out.Close()
	if n, err := s.Write([]byte{1}); n != 0 || err == nil {
		t.Errorf("written to a closed socket: %d, %v", n, err)
	}
}

func TestSocketReadsAtItsPace(t *testing.T) {
	made := func() *Socket { return NewSocket(new(net.TCPConn)) }
	t.Run("lets all pass by default", func(t *testing.T) {
		if n := made().allowed(4096); n != 4096 {
			t.Errorf("allowed %d of 4096", n)
		}
	})
	t.Run("slowed to its rate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := made()
			s.Pace(1024)
			<-s.change // as a reader that was waiting has
			begin, n := time.Now(), 0
			for time.Since(begin) < 10*time.Second {
				n += s.allowed(4096)
			}
			if n < 9*1024 || n > 10*1024 {
				t.Errorf("%d bytes in 10 s at 1024/s", n)
			}
		})
	})
	t.Run("stalled until told otherwise", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := made()
			s.Pace(0)
			allowed := make(chan int, 1)
			go func() { allowed <- s.allowed(100) }()
			synctest.Wait()
			if len(allowed) != 0 {
				t.Fatal("read while stalled")
			}
			s.Pace(-1)
			if n := <-allowed; n != 100 {
				t.Errorf("allowed %d of 100", n)
			}
		})
	})
	t.Run("let go when closed", func(t *testing.T) {
		s := made()
		s.Pace(0)
		<-s.change
		_ = s.Close()
		if n := s.allowed(100); n != 0 {
			t.Errorf("allowed %d on a closed connection", n)
		}
	})
}
