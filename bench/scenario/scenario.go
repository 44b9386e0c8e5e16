package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Scenario is one thing to do to a node.
type Scenario struct {
	Name  string
	About string
	Cases []result.Params // what runs when nobody says otherwise
	Kind
}

// Kind is the Go side of a scenario: what a scenario file's cases are cases of.
type Kind struct {
	kind  string
	Uses  []string // keys of Params that change it
	Blind bool     // the relay can stand in for a node: it takes no names
	Nats  bool     // it can be driven against NATS
	Label func(result.Params) string
	// Run does it to the node of the rig and returns what it measured, also with an error.
	Run func(context.Context, *load.Rig, result.Params) ([]result.Metric, error)
}

// Keys of Params that scenarios with traffic read.
const (
	pacing  = " inflight rate duration warmup"
	message = " size identity identity-size" + pacing
	courses = " total-rate stages count" // of scenarios that measure once
)

// kinds returns all kinds in the order of their lists.
func kinds() []Kind {
	var all []Kind
	type runs = func(context.Context, *load.Rig, result.Params) ([]result.Metric, error)
	add := func(kind, uses string, label func(p result.Params) string, run runs) *Kind {
		all = append(all, Kind{kind: kind, Uses: strings.Fields(uses), Label: label, Run: run})
		return &all[len(all)-1]
	}
	// traffic adds one that is nothing but messages between some cells, which any node can carry.
	traffic := func(kind, uses, label string, cells func(p result.Params) cells) {
		k := add(kind, uses, func(p result.Params) string {
			c := cells(p)
			s := strings.NewReplacer("N", fmt.Sprint(c.n), "M", fmt.Sprint(c.members), "S", fmt.Sprint(c.senders)).Replace(label)
			return fmt.Sprintf("%s %s, %s", s, p.Message(), p.Pace())
		}, once(cells))
		k.Blind, k.Nats = true, kind != "mixed"
	}
	// Senders and receivers in pairs, each message for one receiver.
	traffic("p2p", "pairs"+message+courses, "N→N", func(p result.Params) cells { return cells{n: p.Pairs, members: 1, senders: 1} })
	// One sender, each message for all members of a group.
	traffic("fanout", "fanout"+message+courses, "1→M", func(p result.Params) cells {
		return cells{n: 1, members: p.Fanout, senders: 1, all: true}
	})
	// Many senders, one receiver. Order is judged for each sender.
	traffic("fanin", "senders"+message+courses, "S→1", func(p result.Params) cells {
		return cells{n: 1, members: 1, senders: p.Senders}
	})
	add("anycast", "instances"+message+courses, func(p result.Params) string {
		return fmt.Sprintf("1→any of %d %s, %s", p.Instances, p.Message(), p.Pace())
	}, anycast)
	// Several groups beside each other, each with members and senders of its own.
	traffic("groups", "groups members senders"+message+courses, "N groups of M, S senders each,", func(p result.Params) cells {
		return cells{n: p.Groups, members: p.Members, senders: p.Senders, all: true}
	})
	// Short and long messages of one sender one after the other. The long ones shall not break order, nor hold the short
	// ones up for longer than their bytes take.
	traffic("mixed", "sizes pairs identity identity-size"+pacing+courses, "N→N", func(p result.Params) cells {
		return cells{n: p.Pairs, members: 1, senders: 1}
	})
	add("churn", "churn-rate"+message, func(p result.Params) string {
		return fmt.Sprintf("%d clients/s beside 1→1 %s, %s", p.ChurnRate, p.Message(), p.Pace())
	}, churn)
	add("storm", "conns setup-limit", func(p result.Params) string { return fmt.Sprintf("%d clients come back at once", p.Conns) }, storm)
	add("idle", "conns size identity setup-limit"+pacing, func(p result.Params) string {
		return fmt.Sprintf("%d idle, beside 1→1 %s, %s", p.Conns, p.Message(), p.Pace())
	}, idle)
	add("table", "names holders size identity inflight duration warmup setup-limit", func(p result.Params) string {
		return fmt.Sprintf("%d names on %d connections, %s, %s", p.Names, p.Holders, p.Message(), p.Pace())
	}, table)
	add("slow", "fanout size identity stall stall-rate"+pacing, func(p result.Params) string {
		how := "stalled"
		if p.StallRate > 0 {
			how = fmt.Sprintf("reading %s/s", load.SizeText(p.StallRate))
		}
		return fmt.Sprintf("1→%d %s, %s, one member %s for %v", p.Fanout, p.Message(), p.Pace(), how, p.Stall)
	}, slow)
	add("search", "pairs size identity identity-size total-rate p99-bound duration warmup", func(p result.Params) string {
		return fmt.Sprintf("%d→%d %s, highest rate with a p99 of %v", p.Pairs, p.Pairs, p.Message(), p.P99Bound)
	}, search)
	add("soak", "pairs fanout churn-rate"+message, func(p result.Params) string {
		return fmt.Sprintf("%d→%d and 1→%d, %s, %s, %d clients/s, for %v", p.Pairs, p.Pairs, p.Fanout, p.Message(), p.Pace(), p.ChurnRate, p.Duration)
	}, soak)
	return slices.Clip(all)
}
