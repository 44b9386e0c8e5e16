package process

import (
	"fmt"
	"net"
	"os"
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
		case "VmRSS":
			u.RSS = kib(value)
		case "VmHWM":
			u.Peak = kib(value)
		case "Threads":
			u.Threads, _ = strconv.Atoi(strings.TrimSpace(value))
		}
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

// ResetPeak makes Peak count from now on. It has no effect where the kernel forbids it.
func ResetPeak(pid int) {
	for _, p := range tree(pid) {
		_ = os.WriteFile(procFile(p, "clear_refs"), []byte("5"), 0)
	}
}

// listener returns which of pid and its descendants listens on addr; pid if none is found.
func listener(pid int, addr string) int {
	inode := listenInode(addr)
	if inode == "" {
		return pid
	}
	for _, p := range tree(pid) {
		fds, err := os.ReadDir(procFile(p, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(procFile(p, "fd/"+fd.Name())); err == nil && to == "socket:["+inode+"]" {
				return p
			}
		}
	}
	return pid
}

// listenInode finds the socket that listens on the port of addr, in the format of proc_net_tcp(5): local address in the
// second column, state (0A: listening) in the fourth, inode in the tenth.
func listenInode(addr string) string {
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		return ""
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) >= 10 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return f[9]
			}
		}
	}
	return ""
}
