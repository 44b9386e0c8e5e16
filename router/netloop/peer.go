package netloop

import (
	"time"

	"golang.org/x/sys/unix"
)

// PeerWindow returns the window that the peer's kernel advertises, in bytes, and the round trip, as TCP knows them
// (tcp_info, Linux 5.4). On a unix socket, which has no window, it is how much may have been read that does not show
// yet. false: the socket is neither, or gone. It is a system call, and allocates.
func (k *Socket) PeerWindow() (n int, rtt time.Duration, ok bool) {
	if k.dead {
		return 0, 0, false
	}
	if k.backlog != nil {
		return unixPiece, 0, true
	}
	i, err := unix.GetsockoptTCPInfo(k.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0, false
	}
	return int(i.Snd_wnd), time.Duration(i.Rtt) * time.Microsecond, true
}
