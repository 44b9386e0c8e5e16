package process

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// Machine says where a result comes from.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine this process runs on. What cannot be found out stays empty.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if all, err := fs.CPUInfo(); err == nil && len(all) > 0 {
			m.CPU = all[0].ModelName
		}
	}
	return m
}

// Reading is what the machine has done until now: who else takes its processors, and whether its clock is set, shows by two of
// them. All but times are processor time.
type Reading struct {
	at     time.Time
	wall   time.Time // without a monotonic reading
	busy   time.Duration
	stolen time.Duration // by other guests of the host
	ours   time.Duration // by this process, its children that have ended, and the process that is measured
	known  bool          // busy and stolen are
}

const (
	othersShare = 0.1 // of all processors: so much use by others is named
	stolenShare = 0.02
	clockStep   = 100 * time.Millisecond
	leastWatch  = time.Second // less shows nothing: the kernel counts in steps of 10 ms
)

// Read takes a reading. pid is a process that is measured although this one has not started it; 0: there is none.
func Read(pid int) Reading {
	now := time.Now()
	r := Reading{at: now, wall: now.Round(0)}
	var may unix.CPUSet // the processors that this process is kept to, of which ThisMachine tells
	if fs, err := procfs.NewDefaultFS(); err == nil && unix.SchedGetaffinity(0, &may) == nil {
		stat, err := fs.Stat()
		r.known = err == nil
		for id, c := range stat.CPU {
			if may.IsSet(int(id)) {
				r.busy, r.stolen = r.busy+seconds(c.User+c.Nice+c.System+c.IRQ+c.SoftIRQ), r.stolen+seconds(c.Steal)
			}
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			r.ours += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	if pid != 0 {
		u, err := usage.Of(pid)
		r.ours += u.CPU
		r.known = r.known && err == nil // what has ended has taken with it what it used
	}
	return r
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Busy says what was to be seen until end, on a machine of so many processors; empty: nothing that disturbs a measurement.
func (r Reading) Busy(end Reading, cores int) string {
	var all []string
	elapsed := end.at.Sub(r.at)
	if r.known && end.known && elapsed >= leastWatch {
		others := (end.busy - r.busy - (end.ours - r.ours)).Seconds() / elapsed.Seconds()
		stolen := (end.stolen - r.stolen).Seconds() / elapsed.Seconds()
		if others > othersShare*float64(cores) {
			all = append(all, fmt.Sprintf("other processes used %.1f of the %d processors", others, cores))
		}
		if stolen > stolenShare*float64(cores) {
			all = append(all, fmt.Sprintf("the host gave %.2f of the %d processors to others (steal)", stolen, cores))
		}
	}
	if step := end.wall.Sub(r.wall) - elapsed; step.Abs() > clockStep {
		all = append(all, fmt.Sprintf("the clock was set by %v", step.Round(time.Millisecond)))
	}
	if len(all) == 0 {
		return ""
	}
	return "busy machine: " + strings.Join(all, ", ")
}
