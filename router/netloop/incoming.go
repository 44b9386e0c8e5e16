package netloop

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// incoming is an accepted connection before a loop has it: a net.Conn that takes the one descriptor with which it was
// accepted. (Those of package net take a duplicate of what they are made from.)
type incoming struct {
	*os.File
	remote unix.Sockaddr
	began  time.Time

	// How long its peer was waited for.
	before  time.Duration // until the current call of Read; the caller's
	since   atomic.Int64  // nanoseconds after began since which Read waits, less before, plus one; 0: it does not. Safe for all
	hurried atomic.Bool   // that was too long. Safe for all
}

// newIncoming takes over a descriptor that does not block; nil: the connection was reset while it waited to be accepted.
func newIncoming(fd int) *incoming {
	remote, err := unix.Getpeername(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil
	}
	return &incoming{File: os.NewFile(uintptr(fd), "connection"), remote: remote, began: time.Now()}
}

// Read implements net.Conn.
func (c *incoming) Read(p []byte) (int, error) {
	from := time.Since(c.began)
	c.since.Store(int64(from-c.before) + 1)
	n, err := c.File.Read(p)
	c.since.Store(0)
	c.before += time.Since(c.began) - from
	return n, err
}

// waitedFor returns how long the peer has been waited for, in all calls of Read; 0: it is not waited for. Safe for all.
func (c *incoming) waitedFor() time.Duration {
	if v := c.since.Load(); v != 0 {
		return time.Since(c.began) - time.Duration(v-1)
	}
	return 0
}

// LocalAddr implements net.Conn.
func (c *incoming) LocalAddr() net.Addr {
	var local unix.Sockaddr
	c.control(func(fd int) { local, _ = unix.Getsockname(fd) })
	return netAddr(local)
}

// RemoteAddr implements net.Conn.
func (c *incoming) RemoteAddr() net.Addr { return netAddr(c.remote) }

// left reports whether the peer has ended the connection, or its direction of it.
func (c *incoming) left() bool {
	left := true
	c.control(func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(p, 0)
		left = err == nil && p[0].Revents != 0
	})
	return left
}

// control calls f with the descriptor, unless it is closed.
func (c *incoming) control(f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// netAddr is an address of the kernel as one of package net.
func netAddr(a unix.Sockaddr) net.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			ip = ip.WithZone(zone(int(a.ZoneId)))
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port)))
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: a.Name, Net: "unix"}
	}
	return &net.TCPAddr{}
}

// zone names the interface of a link-local address.
func zone(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}
