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

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Usage is what a process and its living children have used.
type Usage struct {
	CPU     time.Duration // user and system time of all threads since the start, also of those that have ended
	RSS     int64         // bytes resident now
	Peak    int64         // bytes resident at most, since the start
	Threads int
	Files   int // open descriptors
}

// Client returns the usage of this process.
func Client() (Usage, error) { return one(os.Getpid()) }

// Measure returns the usage of pid and all its living descendants. CPU time comes from the kernel's per-process clock, in
// nanoseconds; /proc/PID/stat has the same number in ticks of 10 ms.
func Measure(pid int) (Usage, error) {
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
	var ts unix.Timespec
	// clock_getcpuclockid(3): the id of a process's clock is ^pid<<3 with the clock (2: run time) in the low bits.
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return Usage{}, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}, err
	}
	status, err := p.NewStatus()
	if err == nil && status.VmRSS == 0 { // it is not waited for yet
		err = fmt.Errorf("process %d has ended", pid)
	}
	if err != nil {
		return Usage{}, err
	}
	u := Usage{CPU: time.Duration(ts.Nano()), RSS: int64(status.VmRSS), Peak: int64(status.VmHWM)}
	if stat, err := p.Stat(); err == nil {
		u.Threads = stat.NumThreads
	}
	u.Files, _ = p.FileDescriptorsLen() // 0 of another user's
	return u, nil
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// tree returns pid and its living descendants, pid first.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := os.ReadDir(procFile(all[i], "task"))
		for _, t := range tasks {
			b, _ := os.ReadFile(procFile(all[i], "task/"+t.Name()+"/children")) // none of one that has ended
			for f := range strings.FieldsSeq(string(b)) {
				if c, err := strconv.Atoi(f); err == nil {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// Listens reports whether pid or a descendant listens at addr, as far as one may look; else true.
func Listens(pid int, addr string) bool {
	p, hidden := owner(pid, addr)
	return p != 0 || hidden
}

// owner finds which of pid and its descendants listens at addr; 0: none. hidden: some may not be looked into.
func owner(pid int, addr string) (found int, hidden bool) {
	inodes := listenInodes(pid, addr)
	for _, id := range tree(pid) {
		p, err := procfs.NewProc(id)
		if err != nil {
			continue // it has ended
		}
		files, err := p.FileDescriptorTargets()
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		for _, to := range files {
			if slices.Contains(inodes, to) {
				return id, false
			}
		}
	}
	return 0, hidden
}

// listenInodes finds the sockets that listen at addr where pid lives, as the links of descriptors name them. Lines of
// proc_net_tcp(5) have the local address in the second column, the state (0A: listening) in the fourth and the inode in the
// tenth; those of proc_net_unix(5) the inode in the seventh and the path in the eighth.
func listenInodes(pid int, addr string) (all []string) {
	network, address := Split(addr)
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	for _, table := range []string{"net/tcp", "net/tcp6", "net/unix"} {
		b, _ := os.ReadFile(procFile(pid, table)) // a system may have no IPv6
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch {
			case network == "unix" && table == "net/unix" && len(f) == 8 && f[7] == address:
				all = append(all, "socket:["+f[6]+"]")
			case network != "tcp" || table == "net/unix" || len(f) < 10:
			case f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)):
				all = append(all, "socket:["+f[9]+"]")
			}
		}
	}
	return all
}
