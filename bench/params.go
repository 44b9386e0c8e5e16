package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// Params describes one case. A scenario reads the fields it names in Uses; the others have no effect on it.
type Params struct {
	Size         int           `json:"size"` // payload bytes
	Identity     load.Identity `json:"-"`
	IdentityText string        `json:"identity"`       // Identity as text, for results
	IdentitySize int           `json:"identity_size"`  // characters
	InFlight     int           `json:"inflight"`       // closed loop: messages under way for each sender; 0: without limit
	Rate         int           `json:"rate,omitempty"` // open loop: messages a second for each sender; 0: closed loop
	Pairs        int           `json:"pairs,omitempty"`
	Fanout       int           `json:"fanout,omitempty"`   // subscribers
	Conns        int           `json:"conns,omitempty"`    // idle connections
	Names        int           `json:"names,omitempty"`    // subscribed names
	Holders      int           `json:"holders,omitempty"`  // connections that hold them
	StallRate    int           `json:"stall_rate"`         // bytes a second that the slow member reads
	Stall        time.Duration `json:"stall_ns,omitempty"` // how long it is slow
	Duration     time.Duration `json:"duration_ns"`        // of each measurement
	Warmup       time.Duration `json:"warmup_ns"`          // before each measurement
	SetupLimit   time.Duration `json:"setup_ns,omitempty"` // for opening connections and subscribing names
}

// base are the values a scenario starts from.
func base() Params {
	return Params{
		Size: 100, IdentitySize: 172, InFlight: 1024, Pairs: 1, Fanout: 8, Conns: 10000, Names: 50000, Holders: 1,
		Stall: 10 * time.Second, Duration: 2 * time.Second, Warmup: 500 * time.Millisecond, SetupLimit: 2 * time.Minute,
	}
}

// pace is how messages are let out.
func (p Params) pace() string {
	switch {
	case p.Rate > 0:
		return fmt.Sprintf("%d/s", p.Rate)
	case p.InFlight == 0:
		return "unbounded"
	}
	return fmt.Sprintf("%d in flight", p.InFlight)
}

// message is size and identity.
func (p Params) message() string { return size(p.Size) + " " + p.Identity.String() }

func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}

// ParseSize reads a number of bytes: 100, 16k, 1KiB, 2M.
func ParseSize(s string) (int, error) {
	text, unit := strings.ToLower(strings.TrimSpace(s)), 1
	text = strings.TrimSuffix(strings.TrimSuffix(text, "b"), "i")
	switch {
	case strings.HasSuffix(text, "k"):
		text, unit = text[:len(text)-1], 1<<10
	case strings.HasSuffix(text, "m"):
		text, unit = text[:len(text)-1], 1<<20
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("size %q: want bytes, or a number with K or M", s)
	}
	return n * unit, nil
}
