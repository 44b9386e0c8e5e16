//go:build unix

package load

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const writesDirectly = true

// writeNow writes without waiting; again: the socket takes nothing at the moment.
func writeNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Write(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, true, nil
		case err != nil:
			return 0, false, os.NewSyscallError("write", err)
		default:
			return n, false, nil
		}
	}
}
