package result

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Params describes one case of a scenario. A scenario reads the keys it names in Uses; the others have no effect on it.
// Params are comparable.
type Params struct {
	load.Case
	Pairs      int           `json:"pairs,omitempty"`          // senders, each with a receiver of its own
	Fanout     int           `json:"fanout,omitempty"`         // subscribers of a group
	Senders    int           `json:"senders,omitempty"`        // fanin: senders of the one receiver; groups: of each group
	Groups     int           `json:"groups,omitempty"`         // groups
	Members    int           `json:"members,omitempty"`        // of each group, or session
	Sessions   int           `json:"sessions,omitempty"`       // of one app; 0: one
	Replies    int           `json:"replies,omitempty"`        // to each call; 0: one
	Instances  int           `json:"instances,omitempty"`      // anycast: connections that hold the name
	Nodes      int           `json:"nodes,omitempty"`          // mesh: nodes that are peers of each other
	Conns      int           `json:"conns,omitempty"`          // connections: idle ones, or those that come back at once
	Names      int           `json:"names,omitempty"`          // subscribed names
	Holders    int           `json:"holders,omitempty"`        // connections that hold them
	ChurnRate  int           `json:"churn_rate,omitempty"`     // clients that come and go each second
	P99Bound   time.Duration `json:"p99_bound_ns,omitempty"`   // search: which the rate has to hold
	StallRate  int           `json:"stall_rate"`               // bytes a second that the slow member reads
	Stall      time.Duration `json:"stall_ns,omitempty"`       // how long it is slow
	SetupLimit time.Duration `json:"setup_limit_ns,omitempty"` // for opening connections and subscribing names
}

// Defaults are the values a scenario starts from.
func Defaults() Params {
	return Params{
		Case: load.Case{Size: 100, Identity: load.Constant, IdentitySize: 172, InFlight: 1024, Duration: 2 * time.Second,
			Warmup: 500 * time.Millisecond},
		Pairs: 1, Fanout: 8, Senders: 8, Groups: 8, Members: 4, Instances: 4, Nodes: 4, Conns: 10000, Names: 50000, Holders: 1, ChurnRate: 200,
		P99Bound: 10 * time.Millisecond, Stall: 10 * time.Second, SetupLimit: 2 * time.Minute,
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
		{"size", "payload `BYTES`, e.g. 100, 1K, 16K", func(p *Params, v string) error { return load.ParsePayload(&p.Size, v) }},
		{"sizes", "payload sizes by weight, a `MIX` such as 64:50,1K:30,64K:15,1M:5", func(p *Params, v string) (err error) {
			p.Sizes, err = load.ParseSizeMix(v)
			return err
		}},
		{"identity", "`constant|fresh`; fresh: a new text in each message", func(p *Params, v string) error {
			if p.Identity = load.Identity(v); p.Identity != load.Constant && p.Identity != load.Fresh {
				return fmt.Errorf("%q: want constant or fresh", v)
			}
			return nil
		}},
		{"identity-size", "`N` characters of the identity", number(1, 4096, func(p *Params) *int { return &p.IdentitySize })},
		{"inflight", "closed loop: `N|max` messages under way for each sender", func(p *Params, v string) error {
			if v == "max" {
				p.InFlight = 0
				return nil
			}
			return load.ParseWhole(&p.InFlight, v, 1, 1<<20)
		}},
		{"rate", "open loop: `N` messages a second for each sender, whatever comes back", paced(func(p *Params) *int { return &p.Rate })},
		{"total-rate", "open loop: `N` messages a second of all senders together", paced(func(p *Params) *int { return &p.TotalRate })},
		{"stages", "open loop: `RATE:TIME,…` of all senders, each reached evenly in its time: 1000:5s,20000:30s", func(p *Params, v string) (err error) {
			p.Rate, p.TotalRate = 0, 0
			p.Stages, err = load.ParseStages(v)
			p.Duration = p.Stages.Length()
			return err
		}},
		{"count", "`N` messages of all senders, without warm-up, in place of a duration", func(p *Params, v string) error {
			p.Warmup = 0
			return load.ParseWhole(&p.Count, v, 1, 1e9)
		}},
		{"p99-bound", "`TIME` to be held by the rate that is searched for", duration(1, func(p *Params) *time.Duration { return &p.P99Bound })},
		{"pairs", "`N` senders, each with its own receiver", number(1, 4096, func(p *Params) *int { return &p.Pairs })},
		{"fanout", "`N` members of the group", number(1, 4096, func(p *Params) *int { return &p.Fanout })},
		{"senders", "`N` senders of the one receiver, or of each group", number(1, 4096, func(p *Params) *int { return &p.Senders })},
		{"groups", "`N` groups", number(1, 4096, func(p *Params) *int { return &p.Groups })},
		{"members", "`N` members of each group, or session", number(1, 4096, func(p *Params) *int { return &p.Members })},
		{"sessions", "`N` sessions of one app", number(1, 1e5, func(p *Params) *int { return &p.Sessions })},
		{"replies", "`N` replies to each call, as a stream; 1: one as long as its request", number(1, 1<<16, func(p *Params) *int { return &p.Replies })},
		{"instances", "`N` connections that hold the one name", number(1, 4096, func(p *Params) *int { return &p.Instances })},
		{"nodes", "`N` nodes of the mesh", number(3, 64, func(p *Params) *int { return &p.Nodes })},
		{"conns", "`N` connections", number(1, 1e6, func(p *Params) *int { return &p.Conns })},
		{"names", "`N` names", number(1, 1e8, func(p *Params) *int { return &p.Names })},
		{"holders", "`N` connections that hold the names", number(1, 1e4, func(p *Params) *int { return &p.Holders })},
		{"churn-rate", "`N` clients that come and go each second", number(1, 1e5, func(p *Params) *int { return &p.ChurnRate })},
		{"stall", "`TIME` for which one member is slow", duration(1, func(p *Params) *time.Duration { return &p.Stall })},
		{"stall-rate", "`BYTES` a second that it reads; 0: none", number(0, 1<<30, func(p *Params) *int { return &p.StallRate })},
		{"duration", "`TIME` of each measurement", duration(1, func(p *Params) *time.Duration { return &p.Duration })},
		{"warmup", "`TIME` of load before each measurement; 0s: none", duration(0, func(p *Params) *time.Duration { return &p.Warmup })},
		{"setup-limit", "`TIME` for connections and subscriptions", duration(1, func(p *Params) *time.Duration { return &p.SetupLimit })},
	}
}

// Set gives one parameter its value as YAML files and flags write it. An unknown key is an error that names the nearest.
func (p *Params) Set(key, value string) error {
	keys := Keys()
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == key })
	if i < 0 {
		return fmt.Errorf("no parameter %q%s", key, suggest.Hint(key, suggest.Names(keys, func(k Key) string { return k.Name })))
	}
	if err := keys[i].set(p, strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Exclusive returns those of the keys, or flags, given of which one makes the others void; nil: there are none.
func Exclusive(given func(key string) bool) []string {
	for _, keys := range [][]string{{"rate", "total-rate", "stages"}, {"stages", "duration"}, {"count", "duration"}, {"count", "warmup"}, {"node", "target"}} {
		if keys = slices.DeleteFunc(keys, func(k string) bool { return !given(k) }); len(keys) > 1 {
			return keys
		}
	}
	return nil
}

// paced sets one rate of an open loop, and takes back what paces it otherwise.
func paced(field func(*Params) *int) func(*Params, string) error {
	return func(p *Params, v string) error {
		p.Rate, p.TotalRate, p.Stages = 0, 0, ""
		return load.ParseWhole(field(p), v, 1, 1e7)
	}
}

func number(least, most int, field func(*Params) *int) func(*Params, string) error {
	return func(p *Params, v string) error { return load.ParseWhole(field(p), v, least, most) }
}

func duration(least time.Duration, field func(*Params) *time.Duration) func(*Params, string) error {
	return func(p *Params, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least {
			return fmt.Errorf("%q: want a time such as 500ms, 2s or 1h", v)
		}
		*field(p) = d
		return nil
	}
}
