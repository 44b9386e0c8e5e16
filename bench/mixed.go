package bench

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// mixed: short and long messages of one sender behind each other. The long ones shall not break order, nor hold the short
// ones up for longer than their bytes take.
func mixed() kind {
	return kind{
		name:  "mixed",
		blind: true,
		uses:  []string{"sizes", "pairs", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d→%d sizes %s %s, %s", p.Pairs, p.Pairs, p.Sizes, p.Identity, p.Pace())
		},
		run: func(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
			if p.Sizes == "" {
				return nil, fmt.Errorf("no sizes: give a mix such as 64:50,1K:30,64K:15,1M:5")
			}
			t := newTraffic(g, p)
			t.sizes = p.Sizes.Shares()
			if err := t.pairs(ctx); err != nil {
				return nil, err
			}
			return t.once(ctx)
		},
	}
}
