package scenario

import (
	"context"
	"errors"
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
var (
	pacing  = []string{"inflight", "rate", "duration", "warmup"}
	courses = []string{"total-rate", "stages", "count"} // of scenarios that measure once
	message = append([]string{"size", "identity", "identity-size"}, pacing...)
	traffic = append(message, courses...)
)

// kinds returns all kinds in the order of their lists.
func kinds() []Kind {
	return []Kind{
		// Senders and receivers in pairs, each message for one receiver.
		{
			kind: "p2p", Uses: slices.Concat([]string{"pairs"}, traffic), Blind: true, Nats: true,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d→%d %s, %s", p.Pairs, p.Pairs, p.Message(), p.Pace())
			},
			Run: once(func(ctx context.Context, t *load.Traffic, p result.Params) error { return pairs(ctx, t, p.Pairs) }),
		},
		// One sender, each message for all members of a group.
		{
			kind: "fanout", Uses: slices.Concat([]string{"fanout"}, traffic), Blind: true, Nats: true,
			Label: func(p result.Params) string { return fmt.Sprintf("1→%d %s, %s", p.Fanout, p.Message(), p.Pace()) },
			Run:   once(func(ctx context.Context, t *load.Traffic, p result.Params) error { return group(ctx, t, p.Fanout, 1) }),
		},
		// Many senders, one receiver. Order is judged for each sender.
		{
			kind: "fanin", Uses: slices.Concat([]string{"senders"}, traffic), Blind: true, Nats: true,
			Label: func(p result.Params) string { return fmt.Sprintf("%d→1 %s, %s", p.Senders, p.Message(), p.Pace()) },
			Run:   once(fanin),
		},
		{
			kind: "anycast", Uses: slices.Concat([]string{"instances"}, traffic), Run: anycast,
			Label: func(p result.Params) string {
				return fmt.Sprintf("1→any of %d %s, %s", p.Instances, p.Message(), p.Pace())
			},
		},
		// Several groups beside each other, each with members and senders of its own.
		{
			kind: "groups", Uses: slices.Concat([]string{"groups", "members", "senders"}, traffic), Blind: true, Nats: true,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d groups of %d, %d senders each, %s, %s", p.Groups, p.Members, p.Senders, p.Message(), p.Pace())
			},
			Run: once(func(ctx context.Context, t *load.Traffic, p result.Params) error {
				for range p.Groups {
					if err := group(ctx, t, p.Members, p.Senders); err != nil {
						return err
					}
				}
				return nil
			}),
		},
		// Short and long messages of one sender behind each other. The long ones shall not break order, nor hold the
		// short ones up for longer than their bytes take.
		{
			kind: "mixed", Uses: slices.Concat([]string{"sizes", "pairs", "identity", "identity-size"}, pacing, courses), Blind: true,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d→%d sizes %s %s, %s", p.Pairs, p.Pairs, p.Sizes, p.Identity, p.Pace())
			},
			Run: once(func(ctx context.Context, t *load.Traffic, p result.Params) error {
				if p.Sizes == "" {
					return errors.New("no sizes: give a mix such as 64:50,1K:30,64K:15,1M:5")
				}
				return pairs(ctx, t, p.Pairs)
			}),
		},
		{
			kind: "churn", Uses: slices.Concat([]string{"churn-rate"}, message), Run: churn,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d clients/s beside 1→1 %s, %s", p.ChurnRate, p.Message(), p.Pace())
			},
		},
		{
			kind: "storm", Uses: []string{"conns", "setup-limit"}, Run: storm,
			Label: func(p result.Params) string { return fmt.Sprintf("%d clients come back at once", p.Conns) },
		},
		{
			kind: "idle", Uses: slices.Concat([]string{"conns", "size", "identity"}, pacing, []string{"setup-limit"}), Run: idle,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d idle, beside 1→1 %s, %s", p.Conns, p.Message(), p.Pace())
			},
		},
		{
			kind: "table", Uses: strings.Fields("names holders size identity inflight duration warmup setup-limit"), Run: table,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d names on %d connections, %s, %s", p.Names, p.Holders, p.Message(), p.Pace())
			},
		},
		{
			kind: "slow", Uses: strings.Fields("fanout size identity inflight rate stall stall-rate duration warmup"), Run: slow,
			Label: func(p result.Params) string {
				how := "stalled"
				if p.StallRate > 0 {
					how = fmt.Sprintf("reading %s/s", load.SizeText(p.StallRate))
				}
				return fmt.Sprintf("1→%d %s, %s, one member %s for %v", p.Fanout, p.Message(), p.Pace(), how, p.Stall)
			},
		},
		{
			kind: "search", Uses: strings.Fields("pairs size identity identity-size total-rate p99-bound duration warmup"), Run: search,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d→%d %s, highest rate with a p99 of %v", p.Pairs, p.Pairs, p.Message(), p.P99Bound)
			},
		},
		{
			kind: "soak", Uses: slices.Concat([]string{"pairs", "fanout", "churn-rate"}, message), Run: soak,
			Label: func(p result.Params) string {
				return fmt.Sprintf("%d→%d and 1→%d, %s, %s, %d clients/s, for %v", p.Pairs, p.Pairs, p.Fanout, p.Message(), p.Pace(), p.ChurnRate, p.Duration)
			},
		},
	}
}
