package process

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Watch looks at the machine beside a run: who else takes its processors, and whether its clock is set.
type Watch struct {
	cores int
	begun reading
}

// reading is what the machine has done until now. All but times are processor time.
type reading struct {
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

func read(pid int) reading {
	now := time.Now()
	r := reading{at: now, wall: now.Round(0)}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		stat, err := fs.Stat()
		c := stat.CPUTotal
		r.busy, r.stolen, r.known = seconds(c.User+c.Nice+c.System+c.IRQ+c.SoftIRQ), seconds(c.Steal), err == nil
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			r.ours += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	if pid != 0 {
		u, err := Measure(pid)
		r.ours += u.CPU
		r.known = r.known && err == nil // what has ended has taken with it what it used
	}
	return r
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// NewWatch begins to look. pid is a process that is measured although this one has not started it; 0: there is none.
func NewWatch(pid int) *Watch { return &Watch{cores: ThisMachine().Cores, begun: read(pid)} }

// Busy says what was to be seen since then; empty: nothing that disturbs a measurement.
func (w *Watch) Busy(pid int) string { return w.begun.until(read(pid), w.cores) }

// until compares two readings on a machine of so many processors.
func (r reading) until(end reading, cores int) string {
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
