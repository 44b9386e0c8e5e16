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

// Serves finds which of pid and its descendants holds the other end of c, a connection that was opened here; 0: none, or it has
// yet to accept it. hidden: some may not be looked into. Of a unix socket the kernel tells who listens, of TCP the table
// of where pid lives.
func Serves(pid int, c net.Conn) (found int, hidden bool) {
	all := tree(pid)
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && slices.Contains(all, int(peer.Pid)) {
					found = int(peer.Pid)
				}
			})
		}
		return found, false
	}
	end := otherEnd(pid, c)
	for _, id := range all {
		p, err := procfs.NewProc(id)
		if err != nil {
			continue // it has ended
		}
		files, err := p.FileDescriptorTargets()
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		if slices.Contains(files, end) {
			return id, false
		}
	}
	return 0, hidden
}

// otherEnd is the socket there is for the other end of c where pid lives, as the link of a descriptor names it; empty: none.
func otherEnd(pid int, c net.Conn) string {
	here, ok := c.LocalAddr().(*net.TCPAddr)
	there, ok2 := c.RemoteAddr().(*net.TCPAddr)
	tables, err := procfs.NewFS(procFile(pid, ""))
	if !ok || !ok2 || err != nil {
		return ""
	}
	four, _ := tables.NetTCP()
	six, _ := tables.NetTCP6() // a system may have none
	for _, l := range append(four, six...) {
		if l.LocalAddr.Equal(there.IP) && l.LocalPort == uint64(there.Port) && l.RemAddr.Equal(here.IP) && l.RemPort == uint64(here.Port) {
			return fmt.Sprintf("socket:[%d]", l.Inode)
		}
	}
	return ""
}
