package session

import (
	"log/slog"
	"sync"
	"time"
)

// seldomTime is how often others can cause a record of one kind in the log.
const seldomTime = 10 * time.Second

// seldom makes records of one kind that others can cause, no more often than that. Safe for all.
type seldom struct {
	mu   sync.Mutex
	next time.Time // guarded by mu
	more int       // guarded by mu: that were left out
}

// warn makes one, and says how many were left out before it.
func (r *seldom) warn(log *slog.Logger, now time.Time, text string, args ...any) {
	r.mu.Lock()
	if now.Before(r.next) {
		r.more++
		r.mu.Unlock()
		return
	}
	more := r.more
	r.next, r.more = now.Add(seldomTime), 0
	r.mu.Unlock()
	if more > 0 {
		args = append(args, "more", more)
	}
	log.Warn(text, args...)
}
