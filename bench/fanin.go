package bench

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// fanin: many senders, one receiver. Order is judged for each sender.
func fanin() kind {
	return kind{
		name: "fanin", blind: true, nats: true,
		uses:  []string{"senders", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string { return fmt.Sprintf("%d→1 %s, %s", p.Senders, p.Message(), p.Pace()) },
		run: func(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
			t := newTraffic(g, p)
			to := g.Name("receiver", 1)
			r, _, err := t.receiver(ctx, 0, p.Senders, to)
			if err != nil {
				return nil, err
			}
			for i := range uint32(p.Senders) {
				if err := t.feed(ctx, false, []load.Address{to}, r.From(i)); err != nil {
					return nil, err
				}
			}
			return t.once(ctx)
		},
	}
}
