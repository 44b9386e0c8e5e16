package uplink

import (
	"net"
	"syscall"
	"testing"
)

// The kernel is told how much it may hold of a connection that has Options.Unsent.
func TestUnsentIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	boundUnsent(nc, 12_345)
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowAt) }); err != nil {
		t.Fatal(err)
	}
	if err != nil || got != 12_345 {
		t.Errorf("%d bytes, %v", got, err)
	}
	a, b := net.Pipe()
	boundUnsent(a, 1) // is none of TCP
	_, _ = a.Close(), b.Close()
}
