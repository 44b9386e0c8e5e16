package process

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func read(pid int) reading {
	now := time.Now()
	r := reading{at: now, wall: now.Round(0)}
	b, _ := os.ReadFile("/proc/stat")
	r.busy, r.stolen, r.known = processors(string(b))
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

// tick is the kernel's unit in /proc/stat, for programs always 100 a second.
const tick = time.Second / 100

// processors reads the first line of /proc/stat, proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
func processors(stat string) (busy, stolen time.Duration, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, false
	}
	for i, s := range f[1:9] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		switch i {
		case 3, 4:
		case 7:
			stolen = time.Duration(n) * tick
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, stolen, true
}
