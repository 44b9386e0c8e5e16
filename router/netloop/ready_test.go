package netloop

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// watched returns a loop that a readiness without its goroutine reports to.
func watched(t *testing.T) (r *readiness, l *Loop) {
	t.Helper()
	r, err := newReadiness()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	l = &Loop{engine: &Engine{ready: r}}
	l.station = pool.NewStation(func() {})
	return r, l
}

// collect has r report what is ready now, without waiting.
func (l *Loop) collect(r *readiness) (ready []*Socket) {
	events := make([]unix.EpollEvent, 256)
	n, _ := unix.EpollWait(r.epoll, events, 0)
	r.report(events[:n])
	ready, l.ready = l.ready, nil
	return ready
}

func TestReadinessReportsOnce(t *testing.T) {
	r, l := watched(t)
	fds := socketPair(t)
	k := &Socket{loop: l, fd: fds[0]}
	for round := range 3 {
		if err := r.await(k, unix.EPOLLOUT); err != nil {
			t.Fatal(err)
		}
		if got := l.collect(r); len(got) != 1 || got[0] != k {
			t.Fatalf("round %d: reported %v", round, got)
		}
		if got := l.collect(r); len(got) != 0 {
			t.Fatalf("round %d: reported again", round)
		}
	}
	_ = r.await(k, unix.EPOLLIN)
	if got := l.collect(r); len(got) != 0 {
		t.Error("nothing can be read")
	}
	_, _ = unix.Write(fds[1], []byte("x"))
	if got := l.collect(r); len(got) != 1 {
		t.Error("what can be read is not reported")
	}
	_ = r.await(k, unix.EPOLLIN)
	r.forget(k)
	r.forget(k)
	if got := l.collect(r); len(got) != 0 {
		t.Error("a forgotten socket is reported")
	}
}

// The number of a closed descriptor is given to the next socket at once: nothing that was meant for the first reaches the
// second but a report too many.
func TestReadinessWhenADescriptorIsUsedAgain(t *testing.T) {
	r, l := watched(t)
	var a [2]int
	for i := range a {
		a[i] = socketPair(t)[0]
	}
	fd, _ := unix.Dup(a[0])
	first := &Socket{loop: l, fd: fd}
	if err := r.await(first, unix.EPOLLOUT); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 8)
	stale, err := unix.EpollWait(r.epoll, events, 0) // the event of the first is under way
	if err != nil || stale != 1 {
		t.Fatal(stale, err)
	}
	first.dead = true
	r.forget(first)
	if err := unix.Dup3(a[1], fd, unix.O_CLOEXEC); err != nil { // its descriptor is used again
		t.Fatal(err)
	}
	second := &Socket{loop: l, fd: fd}
	if err := r.await(second, unix.EPOLLOUT); err != nil {
		t.Fatal(err)
	}
	r.report(events[:stale])
	for _, k := range l.ready {
		if k == first {
			t.Error("a dead socket is reported")
		}
	}
	if err := r.await(second, unix.EPOLLOUT); err != nil { // as it does when the kernel still takes nothing
		t.Fatal(err)
	}
	l.ready = nil
	if got := l.collect(r); len(got) != 1 || got[0] != second {
		t.Errorf("reported %v, want the second", got)
	}
	r.forget(second)
	_ = unix.Close(fd)
}

// A socket that ends while it waits for the kernel is not kept.
func TestReadinessForgets(t *testing.T) {
	r, l := watched(t)
	k := &Socket{loop: l, fd: socketPair(t)[0]}
	if err := r.await(k, unix.EPOLLIN); err != nil {
		t.Fatal(err)
	}
	if r.forget(k); len(r.armed) != 0 {
		t.Errorf("%d sockets are kept", len(r.armed))
	}
}

// A wake costs the same with ten thousand blocked sockets as with none: only those that can be written are touched.
func TestOnlyReadySocketsAreReported(t *testing.T) {
	r, l := watched(t)
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	count := min(10_000, (int(limit.Cur)-200)/2)
	full := make([]byte, 1<<20)
	var peers []int
	for range count {
		fds := socketPair(t)
		_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
		for {
			if _, err := unix.Write(fds[0], full); err != nil {
				break
			}
		}
		if err := r.await(&Socket{loop: l, fd: fds[0]}, unix.EPOLLOUT); err != nil {
			t.Fatal(err)
		}
		peers = append(peers, fds[1])
	}
	if got := l.collect(r); len(got) != 0 {
		t.Fatalf("%d blocked sockets are reported", len(got))
	}
	drain(peers[count/2])
	if got := l.collect(r); len(got) != 1 {
		t.Errorf("%d of %d sockets are reported, want the one that can be written", len(got), count)
	}
}
