package bench

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// groups: several groups beside each other, each with members and senders of its own.
func groups() kind {
	return kind{
		name: "groups", blind: true, nats: true,
		uses: []string{"groups", "members", "senders", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d groups of %d, %d senders each, %s, %s", p.Groups, p.Members, p.Senders, p.Message(), p.Pace())
		},
		run: func(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
			t := newTraffic(g, p)
			for range p.Groups {
				if err := t.group(ctx, p.Members, p.Senders); err != nil {
					return nil, err
				}
			}
			return t.once(ctx)
		},
	}
}

// group opens n members of a new group and its senders, each of which waits for all members.
func (t *traffic) group(ctx context.Context, n, senders int) error {
	to := t.rig.Name("group", 0)
	first := uint32(len(t.senders))
	var members []*load.Receiver
	for range n {
		r, _, err := t.receiver(ctx, first, senders, to)
		if err != nil {
			return err
		}
		members = append(members, r)
	}
	for i := range uint32(senders) {
		var gate []*load.Sequence
		for _, r := range members {
			gate = append(gate, r.From(first+i))
		}
		if err := t.feed(ctx, true, []load.Address{to}, gate...); err != nil {
			return err
		}
	}
	return nil
}
