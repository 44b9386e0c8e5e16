//go:build linux || darwin

package uplink

import (
	"net"
	"syscall"
)

// boundUnsent has the kernel take no more than n bytes of a TCP connection that it has not sent. Of others, and where it does not know
// the option, nothing changes.
func boundUnsent(nc net.Conn, n int) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowAt, n) })
}
