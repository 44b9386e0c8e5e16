package netloop

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// last has something to say when its peer has ended, and closes when that is out.
type last struct {
	handler
	said bool
}

func (h *last) Ended() bool {
	h.k.Outbox().B = append(h.k.Outbox().B, "farewell"...)
	h.said = true
	return true
}

func (h *last) Flushed() {
	if h.said {
		h.k.Close()
	}
}

// A peer that half-closes hears the answer even if there is not one descriptor left for a socket that outlives its input.
func TestLittleIsSaidAfterTheEndWithoutADescriptor(t *testing.T) {
	_, peer := enrolled(t, &last{})
	free, err := unix.Dup(0) // the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(free)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(free)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = peer.SetReadDeadline(time.Now().Add(hang))
	if b, err := io.ReadAll(peer); err != nil || string(b) != "farewell" {
		t.Errorf("%q, %v", b, err)
	}
}
