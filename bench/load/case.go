package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Case is how the messages of a measurement are made and let out, and for how long. Cases are comparable.
type Case struct {
	Size         int           `json:"size"` // payload bytes
	Sizes        SizeMix       `json:"sizes,omitempty"`
	Identity     Identity      `json:"identity"`
	IdentitySize int           `json:"identity_size"`        // characters
	InFlight     int           `json:"inflight"`             // closed loop: messages under way for each sender; 0: without limit
	Rate         int           `json:"rate,omitempty"`       // open loop: messages a second for each sender; 0: closed loop
	TotalRate    int           `json:"total_rate,omitempty"` // open loop: of all senders together, in place of Rate
	Stages       Stages        `json:"stages,omitempty"`     // open loop: rates of all senders, one after the other, in place of both
	Count        int           `json:"count,omitempty"`      // messages of all senders, with which it ends; 0: it ends after Duration
	Duration     time.Duration `json:"duration_ns"`          // of each measurement
	Warmup       time.Duration `json:"warmup_ns"`            // before each measurement
}

const maxRate = 1e7 // messages a second

// Open reports whether messages are let out by the clock.
func (c Case) Open() bool { return c.Rate > 0 || c.TotalRate > 0 || c.Stages != "" }

// schedule is that of sender k of n, from 0 on. They take turns: all at a time would be bursts, at whatever rate.
func (c Case) schedule(k, n int) (s schedule) {
	each := func(rate int) float64 { return float64(rate) / float64(n) / 1e9 }
	for i, stage := range c.Stages.All() {
		if i == 0 {
			s = s.add(each(stage.Rate), c.Warmup)
		}
		s = s.add(each(stage.Rate), stage.Length)
	}
	switch {
	case s != nil:
	case c.TotalRate > 0:
		s = constant(each(c.TotalRate))
	default:
		s = constant(float64(c.Rate) / 1e9)
	}
	for i := range s {
		s[i].before += 1 - float64(k+1)/float64(n)
	}
	return s
}

// Pace is how messages are let out.
func (c Case) Pace() string {
	if c.Count > 0 {
		n := c.Count
		c.Count = 0
		return fmt.Sprintf("%s, %d messages", c.Pace(), n)
	}
	switch {
	case c.Stages != "":
		return "stages " + string(c.Stages)
	case c.TotalRate > 0:
		return fmt.Sprintf("%d/s in all", c.TotalRate)
	case c.Rate > 0:
		return fmt.Sprintf("%d/s", c.Rate)
	case c.InFlight == 0:
		return "unbounded"
	}
	return fmt.Sprintf("%d in flight", c.InFlight)
}

// Message is size and identity.
func (c Case) Message() string {
	if c.Sizes != "" {
		return fmt.Sprintf("sizes %s %s", c.Sizes, c.Identity)
	}
	return SizeText(c.Size) + " " + string(c.Identity)
}

// SizeText writes a number of bytes in the largest unit that divides it.
func SizeText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}

// maxSize bounds payloads: with its header a message stays below the 4 MiB that SLIM nodes take.
const maxSize = 4<<20 - 4<<10

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
	if err != nil || n <= 0 || n > maxSize/unit {
		return 0, fmt.Errorf("size %q: want bytes, or a number with K or M, at most %d bytes", s, maxSize)
	}
	return n * unit, nil
}

// SizeMix is a distribution of payload sizes: size:weight, separated by commas. A size without a weight has weight 1.
type SizeMix string

const maxShares, maxWeight = 64, 100 // of a mix

// ParseSizeMix checks a distribution such as 64:50,1K:30,1M:20.
func ParseSizeMix(text string) (SizeMix, error) {
	m := SizeMix(strings.Join(strings.Fields(text), ""))
	_, err := m.parse()
	return m, err
}

// Turns are the sizes of messages in an order that looks random but is always the same, each as often as it weighs, of a mix that
// ParseSizeMix has checked; of an empty one none.
func (m SizeMix) Turns() []int {
	all, _ := m.parse()
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (m SizeMix) parse() (all []int, err error) {
	if strings.Count(string(m), ",") >= maxShares {
		return nil, fmt.Errorf("more than %d sizes", maxShares)
	}
	for part := range strings.SplitSeq(string(m), ",") {
		text, weight, weighted := strings.Cut(part, ":")
		size, n := 0, 1
		if err := ParsePayload(&size, text); err != nil {
			return nil, err
		}
		if weighted {
			if err := ParseWhole(&n, weight, 1, maxWeight); err != nil {
				return nil, fmt.Errorf("weight of %s: %w", text, err)
			}
		}
		all = append(all, slices.Repeat([]int{size}, n)...)
	}
	return all, nil
}

// ParsePayload reads the size of a payload.
func ParsePayload(n *int, v string) error {
	size, err := ParseSize(v)
	if err == nil && size < StampSize {
		err = fmt.Errorf("%q: a message needs %d bytes for its stamp", v, StampSize)
	}
	if err == nil {
		*n = size
	}
	return err
}

// ParseWhole reads a whole number from least to most.
func ParseWhole(n *int, v string, least, most int) error {
	i, err := strconv.Atoi(v)
	if err != nil || i < least || i > most {
		return fmt.Errorf("%q: want a whole number from %d to %d", v, least, most)
	}
	*n = i
	return nil
}
