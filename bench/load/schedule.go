package load

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// schedule is when the messages of an open loop are due, counted from its begin: legs in which the rate is constant or changes evenly.
type schedule []leg

// leg is a part of a schedule. Times are in nanoseconds, rates in messages a nanosecond.
type leg struct {
	at, length float64 // the last one may be infinite
	before     float64 // messages due before it, from the part of one on that those of others, whose turn is first, make up
	from, to   float64 // rate at its begin and end
}

const never = 1 << 62 // beyond all times, with room for a begin before it

// constant is a rate without end.
func constant(rate float64) schedule { return schedule{{length: math.Inf(1), from: rate, to: rate}} }

// add appends a leg that goes from the rate before it to this one.
func (s schedule) add(rate float64, length time.Duration) schedule {
	l := leg{length: float64(length), from: rate, to: rate}
	if n := len(s); n > 0 {
		last := s[n-1]
		l.at, l.before, l.from = last.at+last.length, last.before+last.messages(last.length), last.to
	}
	return append(s, l)
}

// messages is how many are due in the first t of a leg.
func (l *leg) messages(t float64) float64 {
	if a := l.slope(); a != 0 {
		return l.from*t + a*t*t/2
	}
	return l.from * t
}

// slope is how the rate changes; 0 in a leg of no time, in which nothing is due.
func (l *leg) slope() float64 {
	if l.from == l.to || l.length == 0 {
		return 0
	}
	return (l.to - l.from) / l.length
}

// due is the time of message i, of which the first comes after a whole interval; never: it does not come.
func (s schedule) due(i uint64) int64 {
	for k := range s {
		l := &s[k]
		n := float64(i+1) - l.before
		if n > l.messages(l.length) {
			continue
		}
		t := n / l.from
		if a := l.slope(); a != 0 {
			t = (math.Sqrt(max(0, l.from*l.from+2*a*n)) - l.from) / a
		}
		return int64(math.Round(l.at + t))
	}
	return never
}

// count is how many messages are due before the time t.
func (s schedule) count(t int64) uint64 {
	var n uint64
	for k := range s {
		if l := &s[k]; float64(t) > l.at {
			n = uint64(l.before + l.messages(min(float64(t)-l.at, l.length)))
		}
	}
	for s.due(n) < t { // what was rounded
		n++
	}
	for n > 0 && s.due(n-1) >= t {
		n--
	}
	return n
}

// Stages is a course of rates of an open loop: rate:time, separated by commas. The first rate is held for its time; in each
// stage after it the rate changes evenly to the next one, at once in a stage of no time.
type Stages string

// Stage is one of them: messages a second, of all senders, at its end.
type Stage struct {
	Rate   int
	Length time.Duration
}

// ParseStages checks a course such as 1000:5s,20000:30s,20000:10s.
func ParseStages(text string) (Stages, error) {
	s := Stages(strings.Join(strings.Fields(text), ""))
	_, err := s.parse()
	return s, err
}

// All returns the stages of a course that ParseStages has checked; of an empty one none.
func (s Stages) All() []Stage {
	all, _ := s.parse()
	return all
}

// Length is how long all of them take.
func (s Stages) Length() (sum time.Duration) {
	for _, one := range s.All() {
		sum += one.Length
	}
	return sum
}

const maxStages, maxStage = 256, 7 * 24 * time.Hour

func (s Stages) parse() (all []Stage, err error) {
	if strings.Count(string(s), ",") >= maxStages {
		return nil, fmt.Errorf("more than %d stages", maxStages)
	}
	for part := range strings.SplitSeq(string(s), ",") {
		rate, length, _ := strings.Cut(part, ":")
		var one Stage
		one.Length, err = time.ParseDuration(length)
		one.Rate, _ = strconv.Atoi(rate)
		if err != nil || one.Rate < 1 || one.Rate > maxRate || one.Length < 0 || one.Length > maxStage {
			return nil, fmt.Errorf("stage %q: want messages a second and a time, such as 1000:5s", part)
		}
		all = append(all, one)
	}
	if all[0].Length == 0 {
		return nil, fmt.Errorf("stage %q: the first one lasts", s)
	}
	return all, nil
}

// start is a time, and epoch what Now reads then.
var start, epoch = begin()

func begin() (time.Time, int64) {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	// Now is to be positive in a bubble of testing/synctest, too, whose time begins in the year 2000: 2^61 are 73 years.
	return time.Now(), 1<<61 + ts.Nano()
}

// Now is the monotonic clock of all stamps, in nanoseconds, which the processes of a machine share. Always positive.
func Now() int64 { return int64(time.Since(start)) + epoch }

// ClockName names the clock of Now: readings of clocks with the same name may be compared, also those of other processes. It is
// empty where that is not known.
func ClockName() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, _ := os.Readlink("/proc/self/ns/time") // containers may have a clock of their own; older kernels have none
	return strings.TrimSpace(string(boot)) + space
}

// SleepUntil returns at the time due on the clock of Now, with the precision of Go's timers. These round to a millisecond
// while a process is idle, too coarse for what is measured here, but in a bubble of testing/synctest they are exact.
func SleepUntil(due int64) { time.Sleep(time.Duration(due - Now())) }

// exactly takes a thread for naps, which sleep in the kernel with some ten microseconds of error, and returns what ends that.
func exactly() (end func()) {
	runtime.LockOSThread()
	// Refused only by kernels without the call; then the default slack of 50 µs holds.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to the default
		runtime.UnlockOSThread()
	}
}

// nap sleeps until the time due, or less when a signal came.
func nap(due int64) {
	if d := due - Now(); d > 0 {
		ts := unix.NsecToTimespec(d)
		_ = unix.Nanosleep(&ts, nil)
	}
}
