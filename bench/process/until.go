package process

import (
	"context"
	"time"
)

// Until asks every so often whether it is done, at once for the first time, and returns nil when it is; else, after the limit
// or the end of ctx, the context's error.
func Until(ctx context.Context, every, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	again := time.NewTicker(every)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
