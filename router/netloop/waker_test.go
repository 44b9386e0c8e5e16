package netloop

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func open(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	return fds[0], fds[1]
}

// A descriptor that is closed under a writer may belong to somebody else when the byte is written.
func TestWakerIsClosedBehindItsLastUser(t *testing.T) {
	_, fd := pair(t)
	w := &waker{fd: fd}
	for range 2 {
		if !w.enter() {
			t.Fatal("cannot be used")
		}
	}
	w.close()
	w.leave()
	if !open(fd) {
		t.Fatal("closed under its user")
	}
	if w.enter() {
		t.Error("may be used after it was closed")
	}
	w.leave()
	w.leave()
	if open(fd) {
		t.Fatal("left open")
	}
	other, fd2 := pair(t)
	if fd2 != fd && other != fd {
		t.Fatalf("descriptor %d is not used again: %d, %d", fd, other, fd2)
	}
	w.wake() // late
	for _, end := range []int{other, fd2} {
		if n, err := unix.Read(end, make([]byte, 1)); n > 0 || err != unix.EAGAIN {
			t.Errorf("a foreign descriptor has a byte: %d, %v", n, err)
		}
	}
	_ = unix.Close(fd2)
}

func TestWakerUnderRace(t *testing.T) {
	for range 200 {
		_, fd := pair(t)
		w := &waker{fd: fd}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					w.wake()
				}
			})
		}
		w.close()
		wg.Wait()
		if got := w.users.Load(); got != wakerClosed {
			t.Fatalf("state %x, want closed", got)
		}
	}
}
