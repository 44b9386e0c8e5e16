package session

import (
	"context"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// nameTime is how long the node may take to answer a request for a name.
const nameTime = 10 * time.Second

// channelNames asks the node for the names of a group's channel, one after the other, on a goroutine that there is as long as
// there is something to ask.
type channelNames struct {
	mu    sync.Mutex
	todo  []nameRequest        // guarded by mu
	busy  bool                 // guarded by mu: the goroutine runs
	taken map[wire.Name]uint64 // the goroutine's: subscription ids
}

type nameRequest struct {
	name      wire.NameText
	subscribe bool
}

func (c *channelNames) put(s *Session, r nameRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.todo = append(c.todo, r)
	if !c.busy {
		c.busy = true
		s.app.running.Go(func() { c.run(s) })
	}
}

func (c *channelNames) run(s *Session) {
	for {
		c.mu.Lock()
		if len(c.todo) == 0 {
			c.busy, c.todo = false, nil
			c.mu.Unlock()
			return
		}
		r := c.todo[0]
		c.todo = c.todo[1:]
		c.mu.Unlock()
		c.ask(s, r)
	}
}

func (c *channelNames) ask(s *Session, r nameRequest) {
	ctx, cancel := context.WithTimeout(s.app.life, nameTime)
	defer cancel()
	if !r.subscribe {
		if id, ok := c.taken[r.name.Name]; ok {
			delete(c.taken, r.name.Name)
			if err := s.app.routed.Unsubscribe(ctx, id); err != nil && ctx.Err() == nil {
				s.app.log.Debug("name not given back", "session", s.id, "error", err)
			}
		}
		return
	}
	id, err := s.app.routed.Subscribe(ctx, s.app.header(r.name, "")) // sessions ask without a token, as upstream's do
	if err == nil {
		if c.taken == nil {
			c.taken = map[wire.Name]uint64{}
		}
		c.taken[r.name.Name] = id
	}
	s.slot.Post(letter{ev: group.Subscribed{Name: r.name, Err: err}})
}
