package bench

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// fanout: one sender, each message for all members of a group.
func fanout() Scenario {
	return Scenario{
		Name:  "fanout",
		About: "1→N: each message to every subscriber of a group; costs are per delivery",
		Uses:  []string{"fanout", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		Cases: func() []Params {
			return []Params{
				with(func(p *Params) { p.InFlight = 256 }),
				with(func(p *Params) { p.InFlight, p.Identity = 256, load.Fresh }),
				with(func(p *Params) { p.InFlight, p.Size = 256, 1<<10 }),
			}
		},
		Label: func(p Params) string {
			return fmt.Sprintf("1→%d %s, %s", p.Fanout, p.message(), p.pace())
		},
		Run: func(ctx context.Context, g *Rig, p Params) ([]Metric, error) {
			t := newTraffic(g, p)
			if err := t.group(ctx, p.Fanout); err != nil {
				return nil, err
			}
			return t.once(ctx)
		},
	}
}

// group opens n members of a group and one sender, which waits for all of them.
func (t *traffic) group(ctx context.Context, n int) error {
	to := t.rig.Name("group", 0)
	var gate []*load.Sequence
	for range n {
		r, _, err := t.receiver(ctx, 0, 1, to)
		if err != nil {
			return err
		}
		gate = append(gate, r.From(0))
	}
	s, err := t.sender(ctx, true, []load.Address{to}, gate...)
	if err != nil {
		return err
	}
	for _, q := range gate {
		t.flows = append(t.flows, flow{from: s, seen: q})
	}
	return nil
}
