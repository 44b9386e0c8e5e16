package netloop

import (
	"slices"

	"golang.org/x/sys/unix"
)

// MarkInput notes what the kernel has received on each socket until now and the loop has yet to read. On the loop only.
func (l *Loop) MarkInput() {
	l.marked = l.marked[:0]
	for k := range l.live {
		if n := k.unread(); n > 0 {
			k.due = k.got + uint64(n)
			l.marked = append(l.marked, k)
		}
	}
}

// InputRead reports whether everything noted by MarkInput has been read, or never will be because its socket has ended.
// What came after that does not count. On the loop only.
func (l *Loop) InputRead() bool {
	l.marked = slices.DeleteFunc(l.marked, func(k *Socket) bool {
		return k.got >= k.due || k.paused || k.closing || k.inputEnded
	})
	return len(l.marked) == 0
}

// unread returns how many bytes the kernel has received and acknowledged that are still to be read (SIOCINQ). 0 if
// nothing will be read of the socket any more. It is a system call.
func (k *Socket) unread() int {
	if k.paused || k.closing || k.inputEnded {
		return 0
	}
	n, err := unix.IoctlGetInt(k.fd, unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
