package load

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Writes that the peer's full buffers hold up count as waiting; writes that go straight into them do not.
func TestSocketTellsWaitingFromWriting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := NewSocket(out)
	if n, err := s.Write(make([]byte, 1000)); n != 1000 || err != nil || s.Waited() != 0 {
		t.Fatalf("%d bytes written, %v, waited %d", n, err, s.Waited())
	}
	const total = 32 << 20 // more than both buffers take
	full := make(chan struct{})
	var first sync.Once
	var found, least int64 // when the socket was found full; how long it was seen so at least
	attempt := s.try
	s.try = func(fd uintptr) bool {
		if found > 0 {
			least += Now() - found
		}
		done := attempt(fd)
		if found = 0; !done {
			found = Now()
			first.Do(func() { close(full) })
		}
		return done
	}
	read := make(chan error)
	go func() {
		<-full
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
	if w := s.Waited(); least == 0 || w < least || w > took {
		t.Errorf("waited %d ns of %d, of which the socket was full for %d or more", w, took, least)
	}
	_ = in.Close()
	for err = nil; err == nil; {
		_, err = s.Write(make([]byte, 1000))
	}
	_ = out.Close()
	if n, err := s.Write([]byte{1}); n != 0 || err == nil {
		t.Errorf("written to a closed socket: %d, %v", n, err)
	}
}
