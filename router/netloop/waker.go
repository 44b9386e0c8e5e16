package netloop

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// waker is the writing end of a socket pair that wakes a loop. It may be used while and after it is closed: its
// descriptor goes back to the kernel, which gives it to others, only when nobody can write to it any more. The nil
// waker wakes nobody. Safe for all goroutines.
type waker struct {
	fd    int
	users atomic.Int64 // who is about to write; above that a stage
}

// Stages of a waker.
const (
	wakerClosing = 1 << 32 // nobody new may write
	wakerClosed  = 1 << 33 // the descriptor is given back
)

var wakeByte = []byte{1}

// wake writes one byte.
func (w *waker) wake() {
	if w == nil {
		return
	}
	if w.enter() {
		_, _ = unix.Write(w.fd, wakeByte) // fails when the loop is gone
	}
	w.leave()
}

// enter reports whether the descriptor may be used until leave, which must follow anyway.
func (w *waker) enter() bool { return w.users.Add(1) < wakerClosing }

func (w *waker) leave() {
	if w.users.Add(-1) == wakerClosing {
		w.release()
	}
}

// close must be called once.
func (w *waker) close() {
	if w.users.Add(wakerClosing) == wakerClosing {
		w.release()
	}
}

func (w *waker) release() {
	if w.users.CompareAndSwap(wakerClosing, wakerClosed) { // else somebody has entered in vain and does it
		_ = unix.Close(w.fd)
	}
}
