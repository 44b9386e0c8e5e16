package process

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Measure returns the usage of pid (0: this process) and all its living descendants. CPU time comes from the kernel's
// per-process clock, in nanoseconds; /proc/PID/stat has the same number in ticks of 10 ms.
func Measure(pid int) (Usage, error) {
	if pid == 0 {
		u, err := one(os.Getpid())
		return u, err
	}
	var sum Usage
	for i, p := range tree(pid) {
		u, err := one(p)
		if err != nil {
			if i > 0 {
				continue // a child that ended meanwhile
			}
			return Usage{}, err
		}
		sum.CPU += u.CPU
		sum.RSS += u.RSS
		sum.Peak += u.Peak
		sum.Threads += u.Threads
		sum.Files += u.Files
	}
	return sum, nil
}

func one(pid int) (Usage, error) {
	var u Usage
	var ts unix.Timespec
	// clock_getcpuclockid(3): the id of a process's clock is ^pid<<3 with the clock (2: run time) in the low bits.
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return u, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	u.CPU = time.Duration(ts.Nano())
	b, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "VmRSS": // not of a process that has ended and is not waited for yet
			u.RSS = kib(value)
		case "VmHWM":
			u.Peak = kib(value)
		case "Threads":
			u.Threads, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	if u.RSS == 0 {
		return Usage{}, fmt.Errorf("process %d has ended", pid)
	}
	if fds, err := os.ReadDir(procFile(pid, "fd")); err == nil {
		u.Files = len(fds)
	}
	return u, nil
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// kib reads "  123 kB" as bytes.
func kib(s string) int64 {
	f := strings.Fields(s)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(f[0], 10, 64)
	return n << 10
}

// tree returns pid and its living descendants, pid first.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, err := os.ReadDir(procFile(all[i], "task"))
		if err != nil {
			continue
		}
		for _, t := range tasks {
			b, err := os.ReadFile(procFile(all[i], "task/"+t.Name()+"/children"))
			if err != nil {
				continue
			}
			for f := range strings.FieldsSeq(string(b)) {
				if c, err := strconv.Atoi(f); err == nil {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// listener returns which of pid and its descendants listens on addr; pid if none is found.
func listener(pid int, addr string) int {
	if p, _ := owner(pid, addr); p != 0 {
		return p
	}
	return pid
}

// Listens reports whether pid or a descendant listens on the port of addr, as far as one may look; else true.
func Listens(pid int, addr string) bool {
	p, hidden := owner(pid, addr)
	return p != 0 || hidden
}

// owner finds which of pid and its descendants listens on the port of addr; 0: none. hidden: some may not be looked
// into.
func owner(pid int, addr string) (found int, hidden bool) {
	inodes := listenInodes(pid, addr)
	for _, p := range tree(pid) {
		fds, err := os.ReadDir(procFile(p, "fd"))
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		for _, fd := range fds {
			to, _ := os.Readlink(procFile(p, "fd/"+fd.Name()))
			if inode, ok := strings.CutPrefix(to, "socket:["); ok && slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
				return p, false
			}
		}
	}
	return 0, hidden
}

// listenInodes finds the sockets that listen on the port of addr where pid lives, in the format of proc_net_tcp(5):
// local address in the second column, state (0A: listening) in the fourth, inode in the tenth.
func listenInodes(pid int, addr string) (all []string) {
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		b, _ := os.ReadFile(procFile(pid, table))
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) >= 10 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				all = append(all, f[9])
			}
		}
	}
	return all
}
