package result

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Params describes one case of a scenario. A scenario reads the keys it names in Uses; the others have no effect on it.
// Params are comparable.
type Params struct {
	Size         int           `json:"size"` // payload bytes
	Sizes        SizeMix       `json:"sizes,omitempty"`
	Identity     load.Identity `json:"-"`
	IdentityText string        `json:"identity"`                 // Identity as text, for results
	IdentitySize int           `json:"identity_size"`            // characters
	InFlight     int           `json:"inflight"`                 // closed loop: messages under way for each sender; 0: without limit
	Rate         int           `json:"rate,omitempty"`           // open loop: messages a second for each sender; 0: closed loop
	Pairs        int           `json:"pairs,omitempty"`          // senders, each with a receiver of its own
	Fanout       int           `json:"fanout,omitempty"`         // subscribers of a group
	Senders      int           `json:"senders,omitempty"`        // fanin: senders of the one receiver; groups: of each group
	Groups       int           `json:"groups,omitempty"`         // groups
	Members      int           `json:"members,omitempty"`        // of each group
	Instances    int           `json:"instances,omitempty"`      // anycast: connections that hold the name
	Conns        int           `json:"conns,omitempty"`          // connections: idle ones, or those that come back at once
	Names        int           `json:"names,omitempty"`          // subscribed names
	Holders      int           `json:"holders,omitempty"`        // connections that hold them
	ChurnRate    int           `json:"churn_rate,omitempty"`     // clients that come and go each second
	StallRate    int           `json:"stall_rate"`               // bytes a second that the slow member reads
	Stall        time.Duration `json:"stall_ns,omitempty"`       // how long it is slow
	Duration     time.Duration `json:"duration_ns"`              // of each measurement
	Warmup       time.Duration `json:"warmup_ns"`                // before each measurement
	SetupLimit   time.Duration `json:"setup_limit_ns,omitempty"` // for opening connections and subscribing names
}

// Defaults are the values a scenario starts from.
func Defaults() Params {
	return Params{
		Size: 100, IdentitySize: 172, InFlight: 1024, Pairs: 1, Fanout: 8, Senders: 8, Groups: 8, Members: 4, Instances: 4,
		Conns: 10000, Names: 50000, Holders: 1, ChurnRate: 200,
		Stall: 10 * time.Second, Duration: 2 * time.Second, Warmup: 500 * time.Millisecond, SetupLimit: 2 * time.Minute,
	}
}

// Key is one parameter as YAML files and flags name it.
type Key struct {
	Name, Help string
	set        func(*Params, string) error
}

// Keys returns all parameters in the order of their lists.
func Keys() []Key {
	return []Key{
		{"size", "payload bytes, e.g. 100, 1K, 16K", func(p *Params, v string) error { return setSize(&p.Size, v) }},
		{"sizes", "payload sizes by weight, e.g. 64:50,1K:30,64K:15,1M:5", func(p *Params, v string) (err error) {
			p.Sizes, err = ParseSizeMix(v)
			return err
		}},
		{"identity", "constant, or fresh: a new text in each message", func(p *Params, v string) (err error) {
			p.Identity, err = load.ParseIdentity(v)
			return err
		}},
		{"identity-size", "characters of the identity", number(1, 4096, func(p *Params) *int { return &p.IdentitySize })},
		{"inflight", "closed loop: messages under way for each sender, or max", func(p *Params, v string) error {
			if v == "max" {
				p.InFlight = 0
				return nil
			}
			return ParseWhole(&p.InFlight, v, 1, 1<<20)
		}},
		{"rate", "open loop: messages a second for each sender, whatever comes back", number(1, 1e7, func(p *Params) *int { return &p.Rate })},
		{"pairs", "senders, each with its own receiver", number(1, 4096, func(p *Params) *int { return &p.Pairs })},
		{"fanout", "members of the group", number(1, 4096, func(p *Params) *int { return &p.Fanout })},
		{"senders", "senders of the one receiver, or of each group", number(1, 4096, func(p *Params) *int { return &p.Senders })},
		{"groups", "groups", number(1, 4096, func(p *Params) *int { return &p.Groups })},
		{"members", "members of each group", number(1, 4096, func(p *Params) *int { return &p.Members })},
		{"instances", "connections that hold the one name", number(1, 4096, func(p *Params) *int { return &p.Instances })},
		{"conns", "connections", number(1, 1e6, func(p *Params) *int { return &p.Conns })},
		{"names", "names", number(1, 1e8, func(p *Params) *int { return &p.Names })},
		{"holders", "connections that hold the names", number(1, 1e4, func(p *Params) *int { return &p.Holders })},
		{"churn-rate", "clients that come and go each second", number(1, 1e5, func(p *Params) *int { return &p.ChurnRate })},
		{"stall", "how long one member is slow", duration(func(p *Params) *time.Duration { return &p.Stall })},
		{"stall-rate", "bytes a second that it reads; 0: none", number(0, 1<<30, func(p *Params) *int { return &p.StallRate })},
		{"duration", "length of each measurement", duration(func(p *Params) *time.Duration { return &p.Duration })},
		{"warmup", "load before each measurement", duration(func(p *Params) *time.Duration { return &p.Warmup })},
		{"setup-limit", "time for connections and subscriptions", duration(func(p *Params) *time.Duration { return &p.SetupLimit })},
	}
}

// Set gives one parameter its value as YAML files and flags write it. An unknown key is an error that names the nearest.
func (p *Params) Set(key, value string) error {
	keys := Keys()
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == key })
	if i < 0 {
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.Name
		}
		return fmt.Errorf("no parameter %q%s", key, suggest.Hint(key, names))
	}
	if err := keys[i].set(p, strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func setSize(n *int, v string) error {
	size, err := ParseSize(v)
	if err == nil && size < load.StampSize {
		err = fmt.Errorf("%q: a message needs %d bytes for its stamp", v, load.StampSize)
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

func number(least, most int, field func(*Params) *int) func(*Params, string) error {
	return func(p *Params, v string) error { return ParseWhole(field(p), v, least, most) }
}

func duration(field func(*Params) *time.Duration) func(*Params, string) error {
	return func(p *Params, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q: want a time such as 500ms, 2s or 1h", v)
		}
		*field(p) = d
		return nil
	}
}

// Pace is how messages are let out.
func (p Params) Pace() string {
	switch {
	case p.Rate > 0:
		return fmt.Sprintf("%d/s", p.Rate)
	case p.InFlight == 0:
		return "unbounded"
	}
	return fmt.Sprintf("%d in flight", p.InFlight)
}

// Message is size and identity.
func (p Params) Message() string { return SizeText(p.Size) + " " + p.Identity.String() }

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

// SizeMix is a distribution of payload sizes: size:weight, separated by commas.
type SizeMix string

// maxShares bounds the sizes of a mix.
const maxShares = 64

// ParseSizeMix checks a distribution such as 64:50,1K:30,1M:20.
func ParseSizeMix(s string) (SizeMix, error) {
	parts := strings.Split(s, ",")
	if len(parts) > maxShares {
		return "", fmt.Errorf("%d sizes: want at most %d", len(parts), maxShares)
	}
	for _, part := range parts {
		sizeText, weight, ok := strings.Cut(part, ":")
		var share load.SizeShare
		if err := setSize(&share.Size, sizeText); err != nil {
			return "", err
		}
		if ok {
			if err := ParseWhole(&share.Weight, strings.TrimSpace(weight), 1, 1e6); err != nil {
				return "", fmt.Errorf("weight of %s: %w", sizeText, err)
			}
		}
	}
	return SizeMix(strings.Join(strings.Fields(s), "")), nil
}

// Shares returns the sizes of a mix that ParseSizeMix has checked. A size without a weight has weight 1.
func (m SizeMix) Shares() []load.SizeShare {
	var all []load.SizeShare
	for part := range strings.SplitSeq(string(m), ",") {
		sizeText, weight, _ := strings.Cut(part, ":")
		n, err := ParseSize(sizeText)
		if err != nil {
			continue
		}
		w, err := strconv.Atoi(weight)
		if err != nil {
			w = 1
		}
		all = append(all, load.SizeShare{Size: n, Weight: w})
	}
	return all
}
