package bench

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// fanout: one sender, each message for all members of a group.
func fanout() kind {
	return kind{
		name: "fanout", blind: true, nats: true,
		uses:  []string{"fanout", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string { return fmt.Sprintf("1→%d %s, %s", p.Fanout, p.Message(), p.Pace()) },
		run: func(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
			t := newTraffic(g, p)
			if err := t.group(ctx, p.Fanout, 1); err != nil {
				return nil, err
			}
			return t.once(ctx)
		},
	}
}
