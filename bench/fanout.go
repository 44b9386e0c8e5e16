package bench

import (
	"context"
	"fmt"
)

// fanout: one sender, each message for all members of a group.
func fanout() kind {
	return kind{
		name: "fanout", blind: true, nats: true,
		uses:  []string{"fanout", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p Params) string { return fmt.Sprintf("1→%d %s, %s", p.Fanout, p.message(), p.pace()) },
		run: func(ctx context.Context, g *Rig, p Params) ([]Metric, error) {
			t := newTraffic(g, p)
			if err := t.group(ctx, p.Fanout, 1); err != nil {
				return nil, err
			}
			return t.once(ctx)
		},
	}
}
