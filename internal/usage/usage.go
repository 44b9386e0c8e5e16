// Package usage reads what processes use, from outside: through /proc and the kernel's CPU clocks. Linux only; elsewhere all is an
// error.
package usage

import (
	"fmt"
	"os"
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

// Own returns the usage of this process.
func Own() (Usage, error) { return one(os.Getpid()) }

// Of returns the usage of pid and all its living descendants. CPU time comes from the kernel's per-process clock, in
// nanoseconds; /proc/PID/stat has the same number in ticks of 10 ms.
func Of(pid int) (Usage, error) {
	var sum Usage
	for i, p := range Tree(pid) {
		u, err := one(p)
		if err != nil {
			if i > 0 {
				continue // a child that ended meanwhile
			}
			return Usage{}, err
		}
		sum.Add(u)
	}
	return sum, nil
}

// Add makes u what both have used.
func (u *Usage) Add(o Usage) {
	u.CPU += o.CPU
	u.RSS += o.RSS
	u.Peak += o.Peak
	u.Threads += o.Threads
	u.Files += o.Files
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

// Tree returns pid and its living descendants, pid first.
func Tree(pid int) []int {
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
