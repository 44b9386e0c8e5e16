package netloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a listener of TCP, or of a unix socket, with a high file descriptor. When a process is killed the kernel
// closes its files from the highest descriptor down; were the listener the last, clients that lose their connection and
// dial again at once would be accepted and reset, after which a Rust dialer gives up for good (P-end-2). This way they
// are refused, and try again.
type Listener struct {
	addr   net.Addr
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	f    *os.File    // guarded by mu
	old  *os.File    // what f has come in the place of, until nobody waits there any more; guarded by mu; nil: nothing
	file *socketFile // of f; guarded by mu; nil: TCP
	lost string      // why nobody can connect to a unix socket; guarded by mu; "": it is well

	acceptance atomic.Pointer[Acceptance] // of who comes from now on; what it points to is immutable

	failedAt atomic.Int64 // since begun, in ns; 0: never. See Failing
}

// ListenError says which of the addresses could not be listened on. It wraps the kernel's error.
type ListenError struct {
	Index int    // in the list
	Addr  string // as it stands there
	Twice bool   // it stands there before
	Own   bool   // another listener of this node may be in its way
	Err   error
}

func (e *ListenError) Error() string {
	hint := bindHint(e.Err)
	if strings.HasPrefix(e.Addr, unixScheme) {
		hint = unixHint(e.Err)
	}
	if e.Own && errors.Is(e.Err, syscall.EADDRINUSE) {
		hint = " (a listener of this node may hold the port: remove it first, then add this one)"
	}
	if e.Twice && errors.Is(e.Err, syscall.EADDRINUSE) {
		hint = " (the address is listed twice: remove one)"
	}
	return fmt.Sprintf("listen on %s: %v%s", e.Addr, e.Err, hint)
}

func (e *ListenError) Unwrap() error { return e.Err }

func bindHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another process listens there: stop it or choose another endpoint)"
	case errors.Is(err, syscall.EACCES):
		return " (the port needs privileges: choose one above 1023)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (no interface of this machine has that address)"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return " (raise the limit of open files)"
	}
	return ""
}

// Listen opens a listener for each address, which is of TCP or unix://PATH (SplitUnix), or none: then the error is a
// *ListenError.
func Listen(ctx context.Context, addrs []string) ([]*Listener, error) {
	var lns []*Listener
	for i := range addrs {
		ln, err := Open(ctx, addrs, i)
		if err != nil {
			for _, ln := range lns {
				ln.Close()
			}
			return nil, err
		}
		lns = append(lns, ln)
	}
	return lns, nil
}

// Open opens the listener of addrs[i], of those that are listened on together. The error is a *ListenError.
func Open(ctx context.Context, addrs []string, i int) (*Listener, error) {
	ln, err := listen(ctx, addrs[i], addrs)
	if err != nil {
		return nil, &ListenError{Index: i, Addr: addrs[i], Twice: slices.Contains(addrs[:i], addrs[i]), Err: err}
	}
	return ln, nil
}

// listen opens a listener for addr, one of all.
func listen(ctx context.Context, addr string, all []string) (*Listener, error) {
	if strings.HasPrefix(addr, unixScheme) {
		return listenUnix(addr)
	}
	lc := net.ListenConfig{KeepAlive: -1} // HTTP/2 pings do that
	ln, err := lc.Listen(ctx, network(addr, all), addr)
	if err != nil {
		return nil, err
	}
	return ListenOn(ln.(*net.TCPListener))
}

// network says what addr listens on. An IPv4 address, 0.0.0.0 included, is IPv4 only. [::] is all of IPv6 and of IPv4,
// as Linux has it and so upstream, unless IPv4 listens on that port by an address of its own: then it is IPv6 only. A
// host name stands for its first address, IPv4 before IPv6. Rules: P-conf-21.
func network(addr string, all []string) string {
	a, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil || a.Addr().Is4In6():
		return "tcp"
	case a.Addr().Is4():
		return "tcp4"
	case a.Addr() != netip.IPv6Unspecified() || a.Port() == 0:
		return "tcp"
	}
	for _, other := range all {
		if b, err := netip.ParseAddrPort(other); err == nil && b.Addr().Unmap().Is4() && b.Port() == a.Port() {
			return "tcp6" // sets IPV6_V6ONLY
		}
	}
	return "tcp"
}

const (
	highDescriptors = 1 << 16 // the kernel's table grows with the highest descriptor
	listenerRoom    = 64      // descriptors below the limit that listeners take first
)

// ListenOn takes over ln, which is closed, and moves it to a high descriptor.
func ListenOn(ln *net.TCPListener) (*Listener, error) {
	defer func() { _ = ln.Close() }()
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) { fd, err = raise(int(old)) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return &Listener{f: os.NewFile(uintptr(fd), "listener"), addr: ln.Addr(), closed: make(chan struct{})}, nil
}

// raise duplicates a listener's descriptor as a high one.
func raise(old int) (fd int, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return -1, os.NewSyscallError("getrlimit", err)
	}
	top := int(min(limit.Cur, highDescriptors))
	for room := listenerRoom; ; room *= 2 { // until there is one that is free
		floor := max(0, top-room)
		fd, err = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, floor)
		if err == nil || floor == 0 || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.EINVAL) {
			return fd, os.NewSyscallError("fcntl", err)
		}
	}
}

// accept waits for a connection and returns its descriptor, which does not block. taking is held while it is taken. After
// Close it returns net.ErrClosed.
func (l *Listener) accept(taking sync.Locker) (fd int, err error) {
	take := func(s uintptr) bool {
		taking.Lock()
		defer taking.Unlock()
		for {
			fd, _, err = unix.Accept4(int(s), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	}
	for {
		l.mu.Lock()
		f, old := l.f, l.old
		l.mu.Unlock()
		if old != nil && l.acceptOld(old, take) {
			return fd, os.NewSyscallError("accept4", err)
		}
		if raw, cerr := f.SyscallConn(); cerr == nil && raw.Read(take) == nil {
			return fd, os.NewSyscallError("accept4", err)
		}
		if l.isClosed() {
			return -1, net.ErrClosed
		} // else f has become old
	}
}

// acceptOld takes a connection that waits where nobody can connect any more. false: there is none, and it is closed.
func (l *Listener) acceptOld(old *os.File, take func(uintptr) bool) (taken bool) {
	if raw, err := old.SyscallConn(); err == nil {
		_ = raw.Control(func(s uintptr) { taken = take(s) })
	}
	if !taken {
		l.mu.Lock()
		l.old = nil
		l.mu.Unlock()
		_ = old.Close()
	}
	return taken
}

// Close refuses what comes from now on and ends accept.
func (l *Listener) Close() {
	l.once.Do(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.closed)
		if l.file != nil {
			l.file.remove()
		}
		_ = l.f.Close()
		if l.old != nil {
			_ = l.old.Close()
		}
	})
}

// Change has those who connect from now on accepted as a says; handshakes that run go on as they began. Safe for all.
func (l *Listener) Change(a Acceptance) { l.acceptance.Store(&a) }

// isClosed reports whether Close was called.
func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Addr is the bound address.
func (l *Listener) Addr() net.Addr { return l.addr }

// pause waits until it may be tried again to accept, and reports whether it may.
func (l *Listener) pause() bool {
	select {
	case <-l.closed:
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}

// exhausted reports whether err is a lack that passes: of descriptors or memory.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) ||
		errors.Is(err, unix.ENOBUFS)
}

// rarely lets something through once a minute. Safe for all goroutines.
type rarely struct {
	mu   sync.Mutex
	last time.Time
}

func (r *rarely) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		return false
	}
	r.last = now
	return true
}
