package router

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listener is a TCP listener with a high file descriptor. When a process is killed the kernel closes its files from
// the highest descriptor down; were the listener the last, clients that lose their connection and dial again at once
// would be accepted and reset, after which a Rust dialer gives up for good (P-end-2). This way they
// are refused, and try again.
type listener struct {
	f    *os.File
	addr net.Addr
}

const (
	highDescriptors = 1 << 16 // the kernel's table grows with the highest descriptor
	listenerRoom    = 64      // descriptors left for listeners below the limit
)

// raise moves ln to a high descriptor; ln is closed.
func raise(ln *net.TCPListener) (*listener, error) {
	defer func() { _ = ln.Close() }()
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	floor := max(0, int(min(limit.Cur, highDescriptors))-listenerRoom)
	fd := -1
	if cerr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, floor)
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &listener{f: os.NewFile(uintptr(fd), "listener"), addr: ln.Addr()}, nil
}

// Accept waits for a connection. After Close it returns net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil, net.ErrClosed
	}
	fd := -1
	if rerr := raw.Read(func(s uintptr) bool {
		fd, _, err = unix.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED)
	}); rerr != nil {
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, os.NewSyscallError("accept4", err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// Close refuses what comes from now on and ends Accept.
func (l *listener) Close() error { return l.f.Close() }

// Addr is the bound address.
func (l *listener) Addr() net.Addr { return l.addr }
